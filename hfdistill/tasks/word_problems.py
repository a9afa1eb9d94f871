"""Generated grade-school word problems in the paper's answer format: seeded, unlimited, no download.

A problem is a running total: "Tom has 7 pens. Buys 5. Loses 3. Finds 6. How many pens are there now?" It is solved
one operation a step, or hastily, with the answer at once, which is nearly always a guess. Questions of the kind "How
many …" and "Count the …" differ only in how the worked solutions of a corpus are written, see [`solution`].
"""

import functools
import itertools
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from ..errors import HFDistillError
from .base import Question, share_of
from .gsm8k import LEAD_IN, GradeSchoolMath


NAMES = ("Tom", "Ann", "Sam", "Mia", "Ben", "Eva", "Max", "Zoe")
THINGS = ("pens", "cards", "coins", "books", "shells", "apples", "stamps", "balls")
GAINS = ("Buys", "Finds", "Wins", "Gets")
LOSSES = ("Loses", "Sells", "Drops", "Lends")
OPERATIONS = (3, 4)
MOST_OPERATIONS = 6
MOST_FRUITLESS_DRAWS = 100_000
LARGEST_TOTAL = 20

# The hash of a question says what it may be used for; the corpus trains the models of the demo from scratch.
BUCKETS = {"test": range(0, 1), "validation": range(1, 2), "train": range(2, 6), "corpus": range(6, 10)}

SHOTS = (
    ("Ann has 4 coins. Finds 6. Sells 3. Wins 2. How many coins are there now?", 4, (6, -3, 2)),
    ("Sam has 9 books. Lends 5. Buys 7. Loses 1. Count the books.", 9, (-5, 7, -1)),
    ("Eva has 2 shells. Gets 8. Drops 6. Finds 9. How many shells are there now?", 2, (8, -6, 9)),
)


@dataclass(frozen=True)
class Problem:
    """A running total.

    Attributes:
        text (`str`): the question.
        start (`int`): first total.
        changes (`tuple[int, ...]`): what is added, negative for what is taken away.
        counted (`bool`): whether it asks "Count the …" rather than "How many …".
    """

    text: str
    start: int
    changes: tuple[int, ...]
    counted: bool

    @property
    def answer(self) -> int:
        """The total at the end."""
        return self.start + sum(self.changes)


def problems(
    seed: int, use: str, operations: Sequence[int] = OPERATIONS, largest_total: int = LARGEST_TOTAL
) -> Iterator[Problem]:
    """Yield problems without end, none twice.

    Args:
        seed (`int`): of the generator.
        use (`str`): `"train"`, `"validation"`, `"test"` or `"corpus"`; no question is ever in two of them, whatever
            the seeds, because its hash decides.
        operations (`Sequence[int]`, *optional*, defaults to `(3, 4)`): fewest and most operations.
        largest_total (`int`, *optional*, defaults to 20): no total on the way exceeds it.
    """
    rng = random.Random(f"word problems {seed} {use}")
    seen: set[str] = set()
    fruitless = 0
    while fruitless < MOST_FRUITLESS_DRAWS:
        problem = _draw(rng, operations, largest_total)
        fruitless += 1
        if bucket(problem.text) in BUCKETS[use] and problem.text not in seen:
            seen.add(problem.text)
            fruitless = 0
            yield problem
    raise HFDistillError(
        f"there are only {len(seen)} different {use} problems of {operations[0]} to {operations[1]} operations with "
        f"totals up to {largest_total}: ask for fewer, or raise task.operations or task.largest_total"
    )


def bucket(text: str) -> int:
    """Bucket 0 to 9 of a question, by its hash."""
    return int(10 * share_of(text))


def solution(start: int, changes: tuple[int, ...], hasty: bool = False) -> str:
    """Write the worked solution: one operation a step, or the answer alone if `hasty`."""
    total, steps = start, []
    for change in changes:
        operation = f"{total} {'+' if change > 0 else '-'} {abs(change)}"
        steps.append(f"\nStep {len(steps) + 1}: {operation} = {total + change}.")
        total += change
    return ("" if hasty else "".join(steps)) + f"\nThe answer is {total}."


def _draw(rng: random.Random, operations: Sequence[int], largest_total: int) -> Problem:
    name, thing, counted = rng.choice(NAMES), rng.choice(THINGS), rng.random() < 0.5
    start = total = rng.randint(1, min(9, largest_total))
    changes, sentences = [], [f"{name} has {start} {thing}."]
    for _ in range(rng.randint(*operations)):
        change = 0
        while change == 0 or not 0 <= total + change <= largest_total:
            change = rng.randint(-9, 9)
        total += change
        changes.append(change)
        sentences.append(f"{rng.choice(GAINS if change > 0 else LOSSES)} {abs(change)}.")
    sentences.append(f"Count the {thing}." if counted else f"How many {thing} are there now?")
    return Problem(" ".join(sentences), start, tuple(changes), counted)


@dataclass
class WordProblems(GradeSchoolMath):
    """Word problems as a task.

    Args:
        seed (`int`, *optional*, defaults to 0): seed of the questions.
        train (`int`, *optional*, defaults to 4000), validation (`int`, *optional*, defaults to 400), test (`int`,
            *optional*, defaults to 1000): how many questions of each split.
        operations (`list[int]`, *optional*, defaults to `[3, 4]`): fewest and most operations of a problem.
        largest_total (`int`, *optional*, defaults to 20): no total on the way exceeds it.
        shots (`int`, *optional*, defaults to 0): worked examples in the teacher's prompt, 3 at most. The models of the
            demo are trained from scratch without any.
    """

    name: ClassVar[str] = "word_problems"

    seed: int = 0
    train: int = 4000
    validation: int = 400
    test: int = 1000
    operations: Sequence[int] = OPERATIONS
    largest_total: int = LARGEST_TOTAL
    shots: int = 0
    max_new_tokens: int = 64
    stop: tuple[str, ...] = ("\nQ:",)

    def __post_init__(self):
        super().__post_init__()
        self.operations = tuple(self.operations)
        if len(self.operations) != 2 or not 1 <= self.operations[0] <= self.operations[1] <= MOST_OPERATIONS:
            raise HFDistillError(
                f"task.operations is {list(self.operations)}: it must be the fewest and the most operations of a "
                f"problem, from 1 to {MOST_OPERATIONS}"
            )

    @functools.cached_property
    def _made(self) -> list[tuple[Question, str]]:
        """Every question with its gold."""
        made = []
        for split, count in (("train", self.train), ("validation", self.validation), ("test", self.test)):
            stream = problems(self.seed, split, self.operations, self.largest_total)
            for index, problem in enumerate(itertools.islice(stream, count)):
                category = "count" if problem.counted else "how many"
                question = Question(f"{split}-{self.seed}-{index:06d}", problem.text, split, category=category)
                made.append((question, str(problem.answer)))
        return made

    def questions(self) -> list[Question]:
        return [question for question, _ in self._made]

    def golds(self) -> dict[str, str]:
        return {question.question_id: gold for question, gold in self._made}

    def prompt(self, question: Question, shots: int | None = None) -> str:
        worked = SHOTS[: self.shots if shots is None else shots]
        blocks = [bare_prompt(text) + solution(start, changes) for text, start, changes in worked]
        return "\n\n".join([*blocks, bare_prompt(question.question)])

    def worked_examples(self, question: Question, shots: int) -> list[tuple[str, str]]:
        return [(bare_prompt(text), solution(start, changes).strip()) for text, start, changes in SHOTS[:shots]]


def bare_prompt(text: str) -> str:
    """The prompt of one question without worked examples."""
    return f"Q: {text}\n{LEAD_IN}"
