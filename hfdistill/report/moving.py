"""Whether labels that moved are right: against golds, beside what the teacher said most often."""

from pathlib import Path
from typing import Any

from ..labels.plurality import plurality
from ..labels.references import golds_of
from ..rows import read_rows
from ..tasks.base import Task


MOVED = "moved_labels.parquet"  # beside a policy
CAREFUL = "high"


def judge_labels(policy: Path, labels: Path, task: Task) -> list[dict[str, Any]]:
    """The labels of one policy's training that might move, each with what is right of it.

    Args:
        policy (`Path`): files of the policy, of which `moved_labels.parquet` is read.
        labels (`Path`): files of the labels that it began with.
        task ([`~hfdistill.tasks.base.Task`]): tells when two answers are one.

    Returns:
        `list[dict]`: `question_id`, whether it was `labelled`, whether a label `stands` at the end, whether its gold
        answer was `bought`, and whether these are right: the label `before`, the label `moved`, the answer `leading`
        the student's last vote, and the one that the teacher gave most often where it is `careful` and at `all`
        temperatures. No label is not right. Empty without golds.
    """
    import pyarrow.parquet as pq

    golds = golds_of(labels)
    if not golds:
        return []
    rows = [row for row in pq.read_table(policy / MOVED).to_pylist() if row["question_id"] in golds]
    asked = {row["question_id"] for row in rows}
    careful: dict[str, list[str]] = {key: [] for key in asked}
    at_all: dict[str, list[str]] = {key: [] for key in asked}
    for response in read_rows(labels, "responses", ["question_id", "answer", "confidence"]):
        if response["question_id"] in asked:
            at_all[response["question_id"]].append(response["answer"])
            if response["confidence"] == CAREFUL:
                careful[response["question_id"]].append(response["answer"])
    judged = []
    for row in rows:
        key = row["question_id"]
        said = {
            "before": row["pseudo_label"],
            "moved": row["moved_label"],
            "leading": row["leading"],
            "careful": plurality(careful[key], task.same),
            "all": plurality(at_all[key], task.same),
        }
        right = {name: label is not None and task.same(label, golds[key]) for name, label in said.items()}
        has = {"labelled": said["before"] is not None, "stands": said["moved"] is not None, "bought": row["bought"]}
        judged.append({"question_id": key, **has, **right})
    return judged
