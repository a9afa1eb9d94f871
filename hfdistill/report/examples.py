"""Where the student beats its teacher, and where the reward model is wrong: counts, and a few questions to read."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..evaluation.paper_rows import OURS, TEACHER
from .document import Block, Example, Figures, Prose, Section
from .evidence import MeasuredRow, seeds_of


SHOWN = 3
Answer = Mapping[str, Any]


def sections_of_examples(rows: Sequence[MeasuredRow]) -> Iterator[Section]:
    """What can be shown of one table: both sections, one or none."""
    by_name = {row.name: row for row in rows}
    ours, teacher = by_name.get(OURS.name), by_name.get(TEACHER.name)
    if ours and teacher and seeds_of([ours, teacher]):
        yield Section("student", "Where the student beats the teacher", list(_student_and_teacher(ours, teacher)))
    judged = next((row for row in (ours, *rows) if row and any(map(_scored, _drawn(row).values()))), None)
    if judged:
        yield Section("judge", "Where the reward model is wrong", list(_misjudged(judged)))


def _student_and_teacher(ours: MeasuredRow, teacher: MeasuredRow) -> Iterator[Block]:
    pairs = []
    for seed in seeds_of([ours, teacher]):
        taught = {answer["question_id"]: answer for answer in teacher.answers[seed]}
        pairs += [(answer, taught[answer["question_id"]]) for answer in ours.answers[seed]]
    won = [pair for pair in pairs if pair[0]["correct"] and not pair[1]["correct"]]
    lost = [pair for pair in pairs if pair[1]["correct"] and not pair[0]["correct"]]
    silent = sum(taught["answer"] is None for _, taught in won)
    told = f"In {silent:,} of the former the teacher gave no answer that could be read." if silent else ""
    yield Prose(
        f"Of {len(pairs):,} answers to test questions over all seeds the student alone is right in {len(won):,}, the "
        f"teacher alone in {len(lost):,}. {told}"
    )
    kinds = Counter(answer["category"] for answer, _ in pairs if answer["category"] is not None)
    if len(kinds) > 1:
        gained, spoilt = (Counter(answer["category"] for answer, _ in side) for side in (won, lost))
        cells = [[kind, f"{n:,}", f"{gained[kind]:,}", f"{spoilt[kind]:,}"] for kind, n in sorted(kinds.items())]
        yield Figures("By kind of question", ("kind", "answers", "student alone", "teacher alone"), cells)
    for answer, taught in _spread([pair for pair in won if pair[1]["answer"] is not None]):
        yield Example(
            answer["question"],
            answer["gold"],
            (
                (f"Teacher, answers {taught['answer']}, wrong", taught["response"]),
                (f"Student ({ours.name}), right{_score(answer)}", answer["response"]),
            ),
        )


def _misjudged(row: MeasuredRow) -> Iterator[Block]:
    """Pairs of samples to one question of which the wrong one has the higher score."""
    pairs, wrong_order = 0, []
    for seed, samples in _drawn(row).items():
        for right, wrong in _right_and_wrong(samples):
            pairs += len(right) * len(wrong)
            wrong_order += [(seed, a, b) for a in right for b in wrong if b["score"] > a["score"]]
    if not pairs:
        yield Prose(f"{row.name} has no question with both a right and a wrong answer that has a score.")
        return
    yield Prose(
        f"Among the samples of {row.name} to test questions there are {pairs:,} pairs of a right and a wrong answer "
        f"to one question; in {len(wrong_order):,} of them ({len(wrong_order) / pairs:.1%}) the wrong one has the "
        "higher score. Below are those that it got most wrong, one a question."
    )
    shown: dict[tuple[int, str], tuple[Answer, Answer]] = {}
    for seed, right, wrong in sorted(wrong_order, key=lambda each: each[1]["score"] - each[2]["score"]):
        shown.setdefault((seed, right["question_id"]), (right, wrong))
        if len(shown) == SHOWN:
            break
    for (seed, question_id), (right, wrong) in shown.items():
        told = next(answer for answer in row.answers[seed] if answer["question_id"] == question_id)
        judged = (f"Wrong{_score(wrong)}", wrong["response"]), (f"Right{_score(right)}", right["response"])
        yield Example(told["question"], told["gold"], judged)


def _drawn(row: MeasuredRow) -> dict[int, list[dict[str, Any]]]:
    return {seed: samples for seed, samples in row.samples.items() if samples}


def _scored(samples: Sequence[Answer]) -> bool:
    return any(sample["score"] is not None for sample in samples)


def _right_and_wrong(samples: Sequence[Answer]) -> Iterator[tuple[list[Answer], list[Answer]]]:
    """Scored samples of each question, the right and the wrong ones."""
    by_question: dict[str, list[Answer]] = defaultdict(list)
    for sample in samples:
        if sample["score"] is not None:
            by_question[sample["question_id"]].append(sample)
    for asked in by_question.values():
        yield [each for each in asked if each["correct"]], [each for each in asked if not each["correct"]]


def _spread(pairs: Sequence[tuple[Answer, Answer]]) -> list[tuple[Answer, Answer]]:
    """A few of them from everywhere in the list, always the same."""
    step = max(1, len(pairs) // SHOWN)
    return list(pairs[::step][:SHOWN])


def _score(answer: Answer) -> str:
    return "" if answer.get("score") is None else f", score {answer['score']:.2f}"
