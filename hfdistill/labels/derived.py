"""Labels derived from others: some made wrong, some withheld, or gold answers in their place."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import HFDistillError
from ..fields import decides, section
from ..rows import read_rows, scan_rows
from ..tasks.base import Task
from .dataset import write_dataset
from .plots import draw
from .references import golds_of
from .statistics import LabelStatistics, share
from .vote import response_label


QuestionRow = dict[str, Any]
OF_CHANGES = decides(if_changed=True)


@section()
@dataclass
class RelabelConfig:
    """What is done to the labels, in this order. Each share is one of each split, so that validation suffers as
    training does.

    Args:
        gold (`bool`, *optional*, defaults to `False`): gold answers stand in for the labels of training questions:
            the ceiling of what labels can give.
        noise (`float`, *optional*, defaults to 0): share of the labels that become wrong: the answer that is most
            frequent among the other answers to the question, or the label of another question where there is none.
        withhold (`float`, *optional*, defaults to 0): share of the questions that are without a label in the end. The
            least sure ones lose theirs first, by their vote's share.
    """

    gold: bool = field(default=False, metadata=OF_CHANGES)
    noise: float = field(default=0.0, metadata=OF_CHANGES)
    withhold: float = field(default=0.0, metadata=OF_CHANGES)

    def __post_init__(self):
        for name in ("noise", "withhold"):
            if not 0 <= vars(self)[name] <= 1:
                raise HFDistillError(f"--{name} is {vars(self)[name]}: it is a share, from 0 to 1")
        if not (self.gold or self.noise or self.withhold):
            raise HFDistillError("nothing is to be changed: give --noise, --withhold or --gold")


def relabel_and_write(
    folder: str | Path, source: Path, task: Task, settings: RelabelConfig, seed: int
) -> dict[str, Any]:
    """Write the labelled dataset with other labels: every response is right or wrong by the new ones.

    Args:
        folder (`str` or `Path`): written into.
        source (`Path`): files of the dataset that it is derived from.
        task ([`~hfdistill.tasks.base.Task`]): tells when two answers are one.
        settings ([`RelabelConfig`]): what is done.
        seed (`int`): of which labels become wrong. Those of a smaller share are among those of a larger one.

    Returns:
        `dict`: what [`~hfdistill.labels.statistics.LabelStatistics.result`] returns, and `relabelled`: what was done,
        the share of labels that `changed`, and where there are golds how many labels were `right_before` and are
        `right_after`.

    Raises:
        [`~hfdistill.errors.HFDistillError`]: if a judge labelled, there are no golds where they are asked for, or no
            other answer that could stand for a wrong one.
    """
    if task.open_ended:
        raise HFDistillError(
            f"the responses of task {task.name!r} were judged one by one: labels of a vote alone can be changed"
        )
    before = read_rows(source, "questions")
    golds = golds_of(source)
    after = change(before, lambda: answers_of(scan_rows(source, "responses")), golds, task, settings, seed)
    statistics = LabelStatistics(after, golds, task.same)
    labels = {row["question_id"]: row["pseudo_label"] for row in after}

    def relabelled() -> Iterator[dict[str, Any]]:
        for row in scan_rows(source, "responses"):
            made = {**row, "label": response_label(row["answer"], labels[row["question_id"]], task.same)}
            statistics.add(made)
            yield made

    write_dataset(folder, relabelled(), after, golds)
    figures = statistics.result()
    draw(figures, Path(folder) / "plots")
    return {**figures, "relabelled": {**_asked(settings, seed), **_compared(before, after, golds, task.same)}}


def change(
    rows: Sequence[QuestionRow],
    answers: Callable[[], Mapping[str, Counter[str]]],
    golds: Mapping[str, str],
    task: Task,
    settings: RelabelConfig,
    seed: int,
) -> list[QuestionRow]:
    """Rows of the config `questions` with other labels; `answers` counts those to each question, where needed."""
    if settings.gold:
        rows = with_golds(rows, golds)
    if settings.noise:
        options = None
        if task.needs_options:
            options = {question.question_id: len(question.options or ()) for question in task.questions()}
        rows = with_noise(rows, answers(), settings.noise, seed, task.same, options)
    if settings.withhold:
        rows = with_fewer(rows, settings.withhold, seed)
    return [{**row, "failed": row["pseudo_label"] is None} for row in rows]


def with_golds(rows: Sequence[QuestionRow], golds: Mapping[str, str]) -> list[QuestionRow]:
    """Training questions with their gold answers as labels."""
    missing = [row["question_id"] for row in rows if row["split"] == "train" and row["question_id"] not in golds]
    if missing:
        raise HFDistillError(f"--gold: the labels hold no gold answer to {missing[0]!r}: name a task that has golds")
    return [
        {**row, "pseudo_label": golds[row["question_id"]]} if row["split"] == "train" else dict(row) for row in rows
    ]


def with_noise(
    rows: Sequence[QuestionRow],
    answers: Mapping[str, Counter[str]],
    noise: float,
    seed: int,
    same: Callable[[str, str], bool],
    options: Mapping[str, int] | None = None,
) -> list[QuestionRow]:
    """Rows of which a share of the labels, in each split, is wrong: another answer than the label was.

    A label that was wrong before may become right by that, as seldom as the teacher's second answer is.

    Args:
        rows (`Sequence[dict]`): of the config `questions`.
        answers (`Mapping[str, Counter[str]]`): how often each answer was given, by question id.
        noise (`float`): share of the labels of each split, rounded to whole questions.
        seed (`int`): of the choice.
        same (`Callable`): whether two answers are one.
        options (`Mapping[str, int]`, *optional*): how many options each question has; only labels of questions with
            as many are taken from elsewhere.
    """
    chosen = {row["question_id"] for split in _splits(rows) for row in _first(_labelled(rows, split), noise, seed)}
    made = []
    for row in rows:
        label = row["pseudo_label"]
        if row["question_id"] in chosen:
            given = answers.get(row["question_id"], Counter())
            likely = next((answer for answer, _ in given.most_common() if not same(answer, label)), None)
            label = likely or _of_another(row, rows, seed, same, options)
        made.append({**row, "pseudo_label": label})
    return made


def with_fewer(rows: Sequence[QuestionRow], withhold: float, seed: int) -> list[QuestionRow]:
    """Rows of which a share of the questions, in each split, has no label: those that had none, and the least sure."""
    taken = set()
    for split in _splits(rows):
        mine = [row for row in rows if row["split"] == split]
        least_sure = sorted(
            _labelled(rows, split), key=lambda row: (row["vote_share"], _place(seed, row["question_id"]))
        )
        count = round(withhold * len(mine)) - (len(mine) - len(least_sure))
        taken |= {row["question_id"] for row in least_sure[: max(count, 0)]}
    return [{**row, "pseudo_label": None} if row["question_id"] in taken else dict(row) for row in rows]


def answers_of(responses: Iterable[Mapping[str, Any]]) -> dict[str, Counter[str]]:
    """How often each answer was given, by question id; answers in the order in which they came up."""
    found: dict[str, Counter[str]] = {}
    for row in responses:
        counts = found.setdefault(row["question_id"], Counter())
        if row["answer"] is not None:
            counts[row["answer"]] += 1
    return found


def _splits(rows: Sequence[QuestionRow]) -> list[str]:
    return sorted({row["split"] for row in rows})


def _labelled(rows: Sequence[QuestionRow], split: str) -> list[QuestionRow]:
    return [row for row in rows if row["split"] == split and row["pseudo_label"] is not None]


def _first(rows: Sequence[QuestionRow], part: float, seed: int) -> list[QuestionRow]:
    """A share of the rows, by their places."""
    return sorted(rows, key=lambda row: _place(seed, row["question_id"]))[: round(part * len(rows))]


def _place(seed: int, question_id: str, purpose: str = "") -> bytes:
    """Where a question stands in an order that depends on the seed and its id alone."""
    return hashlib.sha256(f"relabel {seed} {purpose} {question_id}".encode()).digest()


def _of_another(
    row: QuestionRow,
    rows: Sequence[QuestionRow],
    seed: int,
    same: Callable[[str, str], bool],
    options: Mapping[str, int] | None,
) -> str:
    others = [
        other
        for other in rows
        if other["pseudo_label"] is not None
        and not same(other["pseudo_label"], row["pseudo_label"])
        and (options is None or options.get(other["question_id"]) == options.get(row["question_id"]))
    ]
    if not others:
        raise HFDistillError(
            f"--noise: there is no other answer that could stand for a wrong one to {row['question_id']!r}: label "
            "more questions, or sample more responses"
        )
    purpose = f"instead of {row['question_id']}"
    return min(others, key=lambda other: _place(seed, other["question_id"], purpose))["pseudo_label"]


def _asked(settings: RelabelConfig, seed: int) -> dict[str, Any]:
    asked = {name: value for name, value in vars(settings).items() if value}
    return asked | ({"seed": seed} if settings.noise else {})


def _compared(
    before: Sequence[QuestionRow],
    after: Sequence[QuestionRow],
    golds: Mapping[str, str],
    same: Callable[[str, str], bool],
) -> dict[str, Any]:
    changed = [old["pseudo_label"] != new["pseudo_label"] for old, new in zip(before, after, strict=True)]
    figures = {"changed": share(sum(changed), len(changed))}
    for name, rows in (("right_before", before), ("right_after", after)):
        graded = [row for row in rows if row["pseudo_label"] is not None and row["question_id"] in golds]
        right = sum(same(row["pseudo_label"], golds[row["question_id"]]) for row in graded)
        figures |= {name: share(right, len(graded))} if graded else {}
    return figures
