"""Responses shared through the Hub while sampling goes on: a lost machine loses minutes, a fresh one goes on."""

import asyncio
import hashlib
import json
import secrets
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..artifacts.errors import hub_errors
from ..errors import HFDistillError
from ..rows import write_parquet
from .claims import BRANCH, AskingClaim, ClaimLost
from .journal import Journal, Response


ROWS_A_SHARD = 100_000
INTERVALS = 3  # without a sign of it, after which a claim is lost


class PartialSync:
    """Pushes new rows of a journal to the branch `partial` of a dataset, and fetches those of other machines.

    Every push is one Parquet file with the rows since the last one, so that a push costs what is new.

    Args:
        repo_id (`str`): the dataset; it must exist.
        every (`float`): seconds between two pushes.
        shard (`str`, *optional*): which part of the questions is asked for.
        take_over (`bool`, *optional*, defaults to `False`): end the claims of others, see
            [`~hfdistill.teacher.claims.AskingClaim`].
    """

    def __init__(self, repo_id: str, every: float, shard: str | None = None, take_over: bool = False):
        self.repo_id, self.every = repo_id, every
        self._shard, self._take_over = shard, take_over

    @contextmanager
    def sharing(self, journal: Journal, wanted: dict[str, Any]) -> Iterator[None]:
        """Claim the responses of a plan while the body lasts, with what others pushed in the journal from the start,
        and what is in it pushed in the end.

        Args:
            journal ([`~hfdistill.teacher.journal.Journal`]): gets the rows.
            wanted (`dict`): prompts and parameters of this run; part of the fingerprint.

        Raises:
            [`~hfdistill.errors.HFDistillError`]: if another process asks for some of them.
        """
        from huggingface_hub import HfApi

        self._folder = f"partial/{hashlib.sha256(json.dumps(wanted, sort_keys=True).encode()).hexdigest()[:16]}"
        if (who := journal.note("claim")) is None:
            journal.set_note("claim", who := secrets.token_hex(8))
        self._claim = AskingClaim(HfApi(), self.repo_id, self._folder, who, self._shard, INTERVALS * self.every)
        with hub_errors("dataset", self.repo_id):
            self._claim.take(self._take_over)
        try:
            self._restore(journal)
            yield
        finally:
            try:
                self.push(journal)
                with hub_errors("dataset", self.repo_id):
                    self._claim.release()
            except HFDistillError as error:  # the rows are safe in the journal, and the claim ends by itself
                print(f"warning: responses were not pushed: {error}", file=sys.stderr)

    def _restore(self, journal: Journal) -> None:
        """Fetch rows that other machines pushed for the same prompts and parameters."""
        from huggingface_hub import HfApi, hf_hub_download

        known = set(journal.note("shards") or [])
        caught_up = journal.position() == (journal.note("shared") or 0)
        with hub_errors("dataset", self.repo_id):
            api = HfApi()
            branches = {branch.name for branch in api.list_repo_refs(self.repo_id, repo_type="dataset").branches}
            if BRANCH not in branches:
                return
            files = api.list_repo_files(self.repo_id, repo_type="dataset", revision=BRANCH)
            new = [file for file in sorted(files) if file.startswith(f"{self._folder}/") and file.endswith(".parquet")]
            new = [file for file in new if file not in known]
            for file in new:
                path = hf_hub_download(self.repo_id, file, repo_type="dataset", revision=BRANCH)
                _read_shard(path, journal)
        if new:
            journal.set_note("shards", sorted(known.union(new)))
            if caught_up:
                journal.set_note("shared", journal.position())

    async def keep_pushing(self, journal: Journal) -> None:
        """Push at intervals until cancelled. Trouble with the Hub does not stop the sampling.

        Raises:
            [`~hfdistill.teacher.claims.ClaimLost`]: if another process took over.
        """
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self.every)
            try:
                await loop.run_in_executor(None, self._claim.renew)
                await loop.run_in_executor(None, self.push, journal)
            except ClaimLost:
                raise
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
