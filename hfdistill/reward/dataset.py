"""The triples dataset: the student's labelled responses, and the triples drawn from them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..kinds import TRIPLES
from ..rows import ROLES, write_rows
from .config import RewardConfig
from .triples import count_triples, make_triples, student_failures


# What is learnt from, and not what is validated on.
OF_TRAINING = ("source", "teacher_per_pair", "pairs", "balance")


def draw_triples(
    student: Sequence[Mapping[str, Any]],
    teacher: Sequence[Mapping[str, Any]],
    splits: Mapping[str, str],
    config: RewardConfig,
    seed: int,
    by: str = "vote",
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Draw the triples of training and of validation questions, `splits` by question id, from responses labelled `by`
    the `"vote"` or the `"judge"`: rows of the config `triples`, and figures for the card.

    Source, ratio and matching change what is learned from; what is validated on stays the same.
    """
    triples: list[dict[str, Any]] = []
    metrics: dict[str, Any] = {}
    options = {"max_triples": config.max_triples, "seed": seed, "deduplicate": config.deduplicate}
    for split in ("train", "validation"):
        mine = [row for row in student if splits[row["question_id"]] == split]
        ablation = {name: vars(config)[name] for name in OF_TRAINING} if split == "train" else {}
        drawn = make_triples(mine, teacher, **options, **ablation)
        triples += [{**triple, "split": split} for triple in drawn]
        metrics[split] = {
            "questions": len({row["question_id"] for row in mine}),
            "questions_failed_once": len(student_failures(mine)),
            "responses": len(mine),
            "no_answer": sum(row["answer"] is None for row in mine) / max(len(mine), 1),
            "cut_off": sum(row["finish_reason"] == "length" for row in mine) / max(len(mine), 1),
            "drawn": count_triples(drawn),
        }
        if mine:
            # Each response of a question counts, so the interval would be too narrow: it is left out.
            metrics[split][f"right_by_the_{by}"] = sum(row["label"] == "correct" for row in mine) / len(mine)
    return triples, metrics


def write_triples(folder: Path, responses: Sequence[Mapping[str, Any]], triples: Sequence[Mapping[str, Any]]) -> None:
    """Write the configs `responses` and `triples`; a role that no triple has gets no columns."""
    write_rows(folder, TRIPLES, "responses", responses)
    roles = [role for role in ROLES if any(triple[role] is not None for triple in triples)] or list(ROLES[:3])
    columns = ["question_id", "question", "split"]
    of_role = ("", "_id", "_finished", "_token_ids")
    columns += [role + ending for role in roles for ending in of_role]
    write_rows(folder, TRIPLES, "triples", triples, columns)
