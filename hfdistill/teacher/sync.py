"""Responses shared through the Hub while sampling goes on: a lost machine loses minutes, a fresh one goes on."""

import asyncio
import hashlib
import json
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..artifacts.errors import hub_errors
from ..rows import write_parquet
from .journal import Journal, Response


BRANCH = "partial"
ROWS_A_SHARD = 100_000


class PartialSync:
    """Pushes new rows of a journal to the branch `partial` of a dataset, and fetches those of other machines.

    Every push is one Parquet file with the rows since the last one, so that a push costs what is new.

    Args:
        repo_id (`str`): the dataset; it must exist.
        every (`float`): seconds between two pushes.
    """

    def __init__(self, repo_id: str, every: float):
        self.repo_id, self.every = repo_id, every

    def restore(self, journal: Journal, wanted: dict[str, Any]) -> None:
        """Fetch rows that other machines pushed for the same prompts and parameters.

        Args:
            journal ([`~hfdistill.teacher.journal.Journal`]): gets the rows.
            wanted (`dict`): prompts and parameters of this run; part of the fingerprint.
        """
        from huggingface_hub import HfApi, hf_hub_download

        self._folder = f"partial/{hashlib.sha256(json.dumps(wanted, sort_keys=True).encode()).hexdigest()[:16]}"
        known = set(journal.note("shards") or [])
        caught_up = journal.position() == (journal.note("shared") or 0)
        with hub_errors("dataset", self.repo_id):
            api = HfApi()
            branches = {branch.name for branch in api.list_repo_refs(self.repo_id, repo_type="dataset").branches}
            if BRANCH not in branches:
                return
            files = api.list_repo_files(self.repo_id, repo_type="dataset", revision=BRANCH)
            new = [file for file in sorted(files) if file.startswith(f"{self._folder}/") and file not in known]
            for file in new:
                path = hf_hub_download(self.repo_id, file, repo_type="dataset", revision=BRANCH)
                _read_shard(path, journal)
        if new:
            journal.set_note("shards", sorted(known.union(new)))
            if caught_up:
                journal.set_note("shared", journal.position())

    async def keep_pushing(self, journal: Journal) -> None:
        """Push at intervals until cancelled. Trouble with the Hub does not stop the sampling."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self.every)
            try:
                await loop.run_in_executor(None, self.push, journal)
            except Exception as error:  # the rows are safe in the journal, and the next push takes them along
                print(f"warning: responses were not pushed: {' '.join(str(error).split())}", file=sys.stderr)

    def push(self, journal: Journal) -> None:
        """Push the rows since the last push."""
        from huggingface_hub import HfApi

        api = HfApi()
        while True:
            position = journal.note("shared") or 0
            rows, end = journal.rows_after(position, ROWS_A_SHARD)
            if not rows:
                return
            name = f"{self._folder}/{time.time_ns():x}-{position}-{end}.parquet"
            with tempfile.TemporaryDirectory() as folder, hub_errors("dataset", self.repo_id):
                path = Path(folder) / "shard.parquet"
                told = ({**asdict(row), "source": None} for row in rows)  # addresses stay on this machine
                write_parquet(path, told, shard_schema(journal.note("fingerprint")))
                api.create_branch(self.repo_id, branch=BRANCH, repo_type="dataset", exist_ok=True)
                api.upload_file(
                    path_or_fileobj=path,
                    path_in_repo=name,
                    repo_id=self.repo_id,
                    repo_type="dataset",
                    revision=BRANCH,
                    commit_message=f"{len(rows)} responses",
                )
            journal.set_note("shards", sorted({*(journal.note("shards") or []), name}))
            journal.set_note("shared", end)

    def forget(self) -> None:
        """Delete the branch: the whole dataset is published."""
        from huggingface_hub import HfApi

        with hub_errors("dataset", self.repo_id):
            api = HfApi()
            branches = {branch.name for branch in api.list_repo_refs(self.repo_id, repo_type="dataset").branches}
            if BRANCH in branches:
                api.delete_branch(self.repo_id, branch=BRANCH, repo_type="dataset")


def shard_schema(fingerprint: dict[str, Any]) -> Any:
    """Columns of a shard: those of a sample; the fingerprint is in the file's metadata."""
    import pyarrow as pa

    types = {"temperature": pa.float64(), "sample": pa.int64(), "seed": pa.int64()}
    types.update(prompt_tokens=pa.int64(), completion_tokens=pa.int64())
    columns = [(name, types.get(name, pa.string())) for name in Response.__dataclass_fields__]
    return pa.schema(columns, metadata={"fingerprint": json.dumps(fingerprint)})


def _read_shard(path: str, journal: Journal) -> None:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        journal.claim(json.loads(file.schema_arrow.metadata[b"fingerprint"]))
        for batch in file.iter_batches(10_000):
            journal.add(Response(**row) for row in batch.to_pylist())
