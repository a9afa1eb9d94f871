"""The labelled dataset: the teacher's responses with labels, and its questions with pseudo-labels and D_fail."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import HFDistillError
from ..kinds import LABELS
from ..rows import COLUMNS, RESPONSE_COLUMNS, write_rows
from ..sections import TeacherConfig
from ..tasks.base import Question, Task
from .labeler import Candidate, Labeler
from .vote import VoteLabeler


def labelled_dataset(
    questions: Sequence[Question],
    responses: Iterable[Mapping[str, Any]],
    task: Task,
    labeler: Labeler | None = None,
    teacher: TeacherConfig | None = None,
    folder: Path | None = None,
) -> tuple[Iterator[dict[str, Any]], list[dict[str, Any]]]:
    """Extracts every answer, labels every question and every response (Section 3.1).

    Args:
        questions (`Sequence[Question]`): those that were asked.
        responses (`Iterable[Mapping]`): rows with at least `question_id`, `response` and `confidence`; iterated twice,
            so a list or something that reads its file anew each time, never a bare iterator.
        task ([`Task`]): extracts and compares answers.
        labeler ([`Labeler`], *optional*): what labels; the vote at its own threshold by default.
        teacher ([`~hfdistill.sections.TeacherConfig`], *optional*), folder (`Path`, *optional*): for a labeler that
            asks a model; see [`~hfdistill.labels.labeler.Labeler.prepare`].

    Returns:
        `tuple[Iterator[dict], list[dict]]`: the rows of the config `responses`, in the order given and made as they
        are read (one pass), and those of the config `questions`, in the order of `questions`.

    Raises:
        [`~hfdistill.errors.HFDistillError`]: if the labeler cannot label this task, or a response is to a question
            that was not asked.
    """
    if iter(responses) is responses:
        raise TypeError("responses are read twice: give a list or a re-iterable, not an iterator")
    labeler = labeler or VoteLabeler()
    labeler.check(task)
    by_id = {question.question_id: question for question in questions}
    known_answers: dict[str | None, str | None] = {}
    answers: list[str | None] = []
    tallies: dict[str, Counter[tuple]] = {question_id: Counter() for question_id in by_id}
    for row in responses:
        question = by_id.get(row["question_id"])
        if question is None:
            raise HFDistillError(f"a response belongs to the question '{row['question_id']}', which was not asked")
        answer = task.extract(row["response"], question).value
        # One string object an answer: a million responses hold a few thousand different ones.
        answers.append(known_answers.setdefault(answer, answer))
        tallies[question.question_id][_key(answer, row, labeler)] += 1

    def candidates(question_id: str) -> list[Candidate]:
        return [Candidate(*key, count=count) for key, count in tallies[question_id].items()]

    labeler.prepare(((question, candidates(question.question_id)) for question in questions), task, teacher, folder)
    verdicts = {
        question_id: labeler.label(question, candidates(question_id), task) for question_id, question in by_id.items()
    }
    labels = {
        question_id: dict(zip(tallies[question_id], verdict.labels, strict=True))
        for question_id, verdict in verdicts.items()
    }

    def response_rows() -> Iterator[dict[str, Any]]:
        for row, answer in zip(responses, answers, strict=True):
            question_id = row["question_id"]
            made = {column: row.get(column) for column in RESPONSE_COLUMNS}
            label = labels[question_id][_key(answer, row, labeler)]
            yield {**made, "question": by_id[question_id].question, "answer": answer, "label": label}

    question_rows = []
    for question_id, verdict in verdicts.items():
        known = {**vars(by_id[question_id]), **vars(verdict), "failed": verdict.failed}
        question_rows.append({column: known[column] for column in COLUMNS["labels"]["questions"]})
    return response_rows(), question_rows


def _key(answer: str | None, row: Mapping[str, Any], labeler: Labeler) -> tuple:
    """What makes responses to one question alike to the labeler."""
    if labeler.reads_text:
        return (answer, row["confidence"], row["response"])
    return (answer, row["confidence"])


def write_dataset(
    folder: str | Path,
    response_rows: Iterable[Mapping[str, Any]],
    question_rows: Sequence[Mapping[str, Any]],
    golds: Mapping[str, str] | None = None,
) -> dict[str, int]:
    """Writes the labelled dataset: the configs `responses`, `questions` (with `options` where there are some) and
    `gold`, where the task has golds.

    Args:
        folder (`str` or `Path`): written into; each config is a subfolder of Parquet files.
        response_rows, question_rows: what [`labelled_dataset`] returned.
        golds (`Mapping[str, str]`, *optional*): canonical golds by question id; only those of the questions written
            are kept, and only the config `gold` holds them.

    Returns:
        `dict[str, int]`: rows written, by config.
    """
    rows = {"responses": response_rows, "questions": question_rows}
    asked = [row["question_id"] for row in question_rows if golds and row["question_id"] in golds]
    if asked:
        rows["gold"] = [{"question_id": question_id, "gold": golds[question_id]} for question_id in asked]
    columns = dict.fromkeys(rows)
    if not any(row.get("options") for row in question_rows):
        columns["questions"] = [column for column in COLUMNS["labels"]["questions"] if column != "options"]
    return {config: write_rows(folder, LABELS, config, rows[config], columns[config]) for config in rows}
