"""Measure the teacher's responses.

    accelerate launch recipes/measure_lengths.py --config FILE

Reads:   {run}-labels.
Writes:  {run}-lengths.
"""

import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from hfdistill.lengths.config import LengthsConfig

from hfdistill.artifacts.manifest import fingerprint, manifest
from hfdistill.artifacts.store import Store
from hfdistill.config import load_config
from hfdistill.errors import exit_on_user_error
from hfdistill.kinds import LENGTHS
from hfdistill.rows import read_rows


@exit_on_user_error
def main() -> None:
    config = load_config("lengths", LengthsConfig)
    store = Store(config.run)
    parents = store.open_parents(LENGTHS, config, {"labels": ["responses/*"]})
    if found := store.find(LENGTHS, fingerprint(LENGTHS, config, parents)):
        print(f"{found.repo_id} is complete at {found.revision[:12]}")
        return
    rows = read_rows(parents["labels"].path, "responses", ["question_id", "response"])
    lengths = [{"question_id": row["question_id"], "length": len(row["response"])} for row in rows]
    lengths = [row for row in lengths if row["length"] >= config.stage.shortest]
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "lengths").mkdir()
        pq.write_table(pa.Table.from_pylist(lengths), Path(folder) / "lengths" / "train-00000-of-00001.parquet")
        metrics = {"responses": len(lengths), "longest": max(row["length"] for row in lengths)}
        published = store.publish(folder, LENGTHS, manifest(LENGTHS, config, parents, metrics))
    print(f"{published.repo_id} is published at {published.revision[:12]}")


if __name__ == "__main__":
    main()
