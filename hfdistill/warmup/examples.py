"""D_sft: the responses that the student learns from (Eq. 1), and their ids."""

import random
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from datasets import Dataset

from ..encoding import Encoder


def select_responses(
    responses: Iterable[Mapping[str, Any]],
    question_ids: Iterable[str],
    *,
    data: str = "labelled",
    deduplicate: bool = True,
    max_per_question: int | None = None,
    seed: int = 0,
) -> list[Mapping[str, Any]]:
    """D_sft: the teacher's responses to learn from (Eq. 1), question by question in the order of `question_ids`.

    Args:
        data (`str`, *optional*, defaults to `"labelled"`): `"labelled"` keeps the responses whose answer is the
            pseudo-label; `"all"` keeps every one, those to questions of D_fail too.
        deduplicate (`bool`, *optional*, defaults to `True`): keep identical texts of a question once.
        max_per_question (`int`, *optional*): draw so many of a question, uniformly without replacement. The draw
            depends on the seed and the question's id alone.
    """
    kept: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    seen = set()
    for row in responses:
        key = (row["question_id"], row["response"])
        if (data == "labelled" and row["label"] != "correct") or (deduplicate and key in seen):
            continue
        seen.add(key)
        kept[row["question_id"]].append(row)
    selected = []
    for question_id in question_ids:
        rows = kept.get(question_id, [])
        if max_per_question is not None and len(rows) > max_per_question:
            rows = random.Random(f"warm-up {seed} {question_id}").sample(rows, max_per_question)
        selected += rows
    return selected


def encode_examples(
    rows: Iterable[Mapping[str, Any]], prompt_ids: Mapping[str, list[int]], encoder: Encoder, max_length: int | None
) -> tuple[Dataset, int]:
    """Ids and labels of the examples; those of the prompts, given by question id, are no labels.

    A response that was cut off by length gets no end token: the student would learn to stop there.
    Examples of more than `max_length` tokens are left out.

    Returns:
        `tuple[Dataset, int]`: columns `input_ids` and `labels`; how many examples were left out.
    """
    input_ids, labels, too_long = [], [], 0
    for row in rows:
        prompt = prompt_ids[row["question_id"]]
        response = encoder.response_ids(row["response"], row["finish_reason"] != "length")
        if max_length is not None and len(prompt) + len(response) > max_length:
            too_long += 1
            continue
        input_ids.append(prompt + response)
        labels.append([-100] * len(prompt) + response)
    return Dataset.from_dict({"input_ids": input_ids, "labels": labels}), too_long
