"""The temperature grid, and the requests that it makes of a list of questions."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from ..chat import Chat, Message
from ..errors import HFDistillError
from ..sections import TeacherConfig, own_shots
from ..tasks.base import Question, Task


Prompt = str | list[Message]


LARGEST_SEED = 2**53 - 1  # beyond it, servers that read numbers as floating point would round


@dataclass(frozen=True, slots=True)
class Cell:
    """One temperature of the grid.

    Attributes:
        temperature (`float`): 0 is greedy.
        samples (`int`): responses to ask for; 1 at temperature 0.
        copies (`int`): how often each of them counts.
        confidence (`str`): `"high"` (votes) or `"low"`.
    """

    temperature: float
    samples: int
    copies: int
    confidence: str


@dataclass(frozen=True, slots=True)
class Request:
    """One response to ask for; `(question_id, temperature, sample)` is its key everywhere."""

    question_id: str
    prompt: Prompt
    temperature: float
    sample: int
    seed: int | None


class Grid:
    """The paper's two groups of temperatures (sections 3.1 and 4.1).

    Args:
        high_temperatures (`Sequence[float]`), high_samples (`int`): the group that votes.
        low_temperatures (`Sequence[float]`), low_samples (`int`): the group that adds variety.
    """

    def __init__(
        self,
        high_temperatures: Sequence[float],
        high_samples: int,
        low_temperatures: Sequence[float] = (),
        low_samples: int = 0,
    ):
        self.cells: list[Cell] = []
        for confidence, temperatures, samples in (
            ("high", high_temperatures, high_samples),
            ("low", low_temperatures, low_samples),
        ):
            if temperatures and samples < 1:
                raise HFDistillError(f"label.{confidence}_samples is {samples}: ask for at least one response")
            for temperature in map(float, temperatures):
                if not 0 <= temperature <= 2:
                    raise HFDistillError(
                        f"label.{confidence}_temperatures holds {temperature}: temperatures lie between 0 and 2"
                    )
                if any(cell.temperature == temperature for cell in self.cells):
                    raise HFDistillError(f"temperature {temperature} is in the grid twice: list it once")
                greedy = temperature == 0
                self.cells.append(Cell(temperature, 1 if greedy else samples, samples if greedy else 1, confidence))
        self.cells.sort(key=lambda cell: cell.temperature)
        self.keys = {(cell.temperature, sample) for cell in self.cells for sample in range(cell.samples)}

    @property
    def requests(self) -> int:
        """Requests a question: 51 with the paper's settings, which count as 55 responses."""
        return sum(cell.samples for cell in self.cells)

    @property
    def responses(self) -> int:
        """Responses a question, each counted as often as it was asked for."""
        return sum(cell.samples * cell.copies for cell in self.cells)


class Plan:
    """Every request for some questions, in the order of the questions; nothing is held but the questions.

    Args:
        questions (`Sequence[Question]`): what to ask.
        render (`Callable[[Question], Prompt]`): a question's prompt, a text or messages.
        grid ([`Grid`]): temperatures and counts.
        seed (`int`, *optional*, defaults to 0): the run's seed; decides every request's.
    """

    def __init__(self, questions: Sequence[Any], render: Callable[[Any], Prompt], grid: Grid, seed: int = 0):
        self.questions, self.render, self.grid, self.seed = questions, render, grid, seed
        self.whole = self  # of a shard the plan that it is a part of
        if len({question.question_id for question in questions}) != len(questions):
            raise HFDistillError("two questions have the same question_id: a response could not be told apart")

    def __len__(self) -> int:
        return len(self.questions) * self.grid.requests

    def by_temperature(self) -> dict[float, int]:
        """Number of requests at each temperature."""
        return {cell.temperature: cell.samples * len(self.questions) for cell in self.grid.cells}

    def of(self, question: Any) -> list[Request]:
        """The requests for one question, lowest temperature first."""
        prompt, question_id = self.render(question), question.question_id
        return [
            Request(question_id, prompt, cell.temperature, sample, self.seed_of(question_id, cell.temperature, sample))
            for cell in self.grid.cells
            for sample in range(cell.samples)
        ]

    def seed_of(self, question_id: str, temperature: float, sample: int) -> int | None:
        """Seed of a request, in 1 … 2^53 − 1, from its key and the run's seed; `None` where nothing is drawn."""
        if temperature == 0:
            return None
        key = f"{self.seed}\n{question_id}\n{temperature!r}\n{sample}".encode()
        return 1 + int.from_bytes(hashlib.blake2b(key, digest_size=16).digest(), "big") % LARGEST_SEED

    def first_look(self, count: int) -> "Plan":
        """One response at the lowest temperature for the first few questions: what to look at before buying more."""
        lowest = self.grid.cells[0].temperature
        return Plan(self.questions[:count], self.render, Grid([lowest], 1), self.seed)

    def prompts_digest(self) -> str:
        """Hash over all prompts and the questions they belong to; a shard's is that of the whole plan."""
        digest = hashlib.blake2b(digest_size=16)
        for question in self.whole.questions:
            prompt = self.render(question)
            for text in (question.question_id, prompt if isinstance(prompt, str) else json.dumps(prompt)):
                digest.update(len(text).to_bytes(8, "big") + text.encode())
        return digest.hexdigest()


def teacher_prompts(teacher: TeacherConfig, task: Task) -> tuple[Callable[[Question], Prompt], tuple[str, ...]]:
    """How the teacher is asked: a question's prompt, and the texts that end a response. In a conversation each turn
    ends by itself.
    """
    shots = teacher_shots(teacher, task)
    if not teacher.chat:
        return partial(task.prompt, shots=shots), task.stop
    return partial(Chat(teacher.system_prompt).messages, task, shots=shots), ()


def teacher_shots(teacher: TeacherConfig, task: Task) -> int:
    """How many worked examples the teacher sees."""
    own = own_shots(vars(teacher))
    return task.shots if own is None else own
