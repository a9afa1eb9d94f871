"""What a task is: questions, prompts, the final answer of a response, and when two answers are the same."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from ..errors import HFDistillError


SPLITS = ("train", "validation", "test")

REASONS = {
    "empty": "the response is blank, or nothing follows its thoughts",
    "unfinished_thought": "the response ends within a thought",
    "no_marker": "nothing announces a final answer",
    "no_value": "what follows the marker holds no answer of the task's kind",
    "several_answers": "two or more different answers stand after the marker",
    "out_of_range": "the letter is beyond the question's options",
    "expression": "an unknown or an unfinished calculation stands where the number should",
    "truncated": "the response ends right after the marker",
    "too_long": "what follows the marker goes on for longer than an answer that is read",
}


@dataclass(frozen=True)
class Question:
    """One question of a task. It never carries the gold answer.

    Args:
        question_id (`str`): unique within the task.
        question (`str`): the text, without options and without prompt.
        split (`str`): `"train"`, `"validation"` or `"test"`.
        options (`tuple[str, ...]`, *optional*): the choices, in the order of their letters.
        category (`str`, *optional*): what figures are broken down by.
    """

    question_id: str
    question: str
    split: str
    options: tuple[str, ...] | None = None
    category: str | None = None


@dataclass(frozen=True)
class Answer:
    """The final answer read out of a response.

    Args:
        value (`str`, *optional*): canonical form (`"5/2"`, `"-160"`, `"B"`); `None` exactly when `reason` is set.
        reason (`str`, *optional*): why there is no answer, a key of `REASONS`.
    """

    value: str | None
    reason: str | None = None


# What a reader says where it finds no answer.
EMPTY, UNFINISHED, NO_MARKER, NO_VALUE, SEVERAL, OUT_OF_RANGE, EXPRESSION, TRUNCATED, TOO_LONG = (
    Answer(None, reason) for reason in REASONS
)


@dataclass
class Task(ABC):
    """A kind of question. Subclasses are dataclasses whose fields are the options of the config's `task:` section.

    Args:
        shots (`int`): worked examples in front of the question, for the teacher and for in-context learning.
        max_new_tokens (`int`): longest response.
        stop (`tuple[str, ...]`): strings that end a response; sent to the endpoint, and cut again on receipt.
    """

    name: ClassVar[str] = ""
    # Whether the whole response is the answer, so that only a judge can tell right from wrong.
    open_ended: ClassVar[bool] = False
    # Whether answers can only be read with the question's options at hand.
    needs_options: ClassVar[bool] = False
    # Whether there are questions without the responses that are to be labelled.
    has_questions: ClassVar[bool] = True
    # The gold of questions that have no answer; accuracy is then also given without them.
    unanswerable: ClassVar[str | None] = None

    shots: int = 0
    max_new_tokens: int = 512
    stop: tuple[str, ...] = ()

    def __post_init__(self):
        self.stop = (self.stop,) if isinstance(self.stop, str) else tuple(self.stop)
        for option, value, least in (("shots", self.shots, 0), ("max_new_tokens", self.max_new_tokens, 1)):
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise HFDistillError(
                    f"task {self.name}: {option} must be a whole number from {least} up, not {value!r}"
                )

    @abstractmethod
    def questions(self) -> list[Question]:
        """Every question of every split, in a stable order."""

    @abstractmethod
    def prompt(self, question: Question, shots: int | None = None) -> str:
        """The text in front of the response; it never ends in a space. `shots=0` gives the bare prompt that the
        student sees, `None` the task's own number.
        """

    def worked_examples(self, question: Question, shots: int) -> list[tuple[str, str]]:
        """The first so many worked examples as turns of a conversation: what is asked, in the form of the bare prompt,
        and the response to it. None where a task knows its examples as one text only.
        """
        return []

    @abstractmethod
    def extract(self, response: str, question: Question) -> Answer:
        """The final answer of `response`; never raises, in time linear in its length. The readers of this package pass
        thoughts by; a task that reads by itself does so with [`~hfdistill.tasks.thoughts.spoken`].
        """

    def last_value(self, response: str, question: Question) -> Answer:
        """The last value of the answer's kind that stands anywhere in `response`, announced or not: the lenient
        reading of a model that was never told how to announce an answer.

        Raises:
            [`~hfdistill.errors.HFDistillError`]: if values of the task's answers cannot be told from other words.
        """
        raise HFDistillError(
            f"task {self.name!r} cannot tell an answer that nothing announces: leave evaluate.lenient out"
        )

    def question(
        self, text: str, split: str, question_id: str, options: Sequence[str] | None = None, category: object = None
    ) -> Question:
        """A question that came with a response, for a task that has none of its own."""
        return Question(
            question_id,
            text,
            split,
            None if options is None else tuple(str(option) for option in options),
            None if category is None else str(category),
        )

    def adopt(self, questions: Sequence[Question], golds: Mapping[str, str] | None = None) -> None:
        """Take questions that came with responses for the task's own, and with them canonical golds by question id.

        Raises:
            [`~hfdistill.errors.HFDistillError`]: if the task has questions of its own.
        """
        raise HFDistillError(f"task {self.name!r} has questions of its own, and takes none that came with responses")

    def read_gold(self, value: object, question: Question) -> str:
        """The canonical form of a gold answer that came with a response.

        Raises:
            [`~hfdistill.errors.HFDistillError`]: if it is none.
        """
        raise HFDistillError(
            f"task {self.name!r} has gold answers of its own, and takes none that came with responses"
        )

    def golds(self) -> dict[str, str]:
        """Canonical gold answers by question id; only evaluation and validation against gold call this."""
        return {}

    def same(self, a: str, b: str) -> bool:
        """Whether two canonical answers are one answer: an equivalence."""
        return a == b

    def correct(self, answer: str | None, gold: str) -> bool:
        """Whether an extracted answer, perhaps none, is right; what evaluation counts."""
        return answer is not None and self.same(answer, gold)

    def judge_prompt(self, question: Question, response: str, other: str | None = None) -> str:
        """What a judge is asked about one response, or about two: it ends its reply in `Verdict: yes` or `Verdict:
        no`, with two responses in `Verdict: A` or `Verdict: B`.
        """
        options = "".join(f"\n- {option}" for option in question.options or ())
        if other is None:
            return GRADE.format(question=question.question + options, response=response)
        return COMPARE.format(question=question.question + options, response=response, other=other)


GRADE = """You grade an answer to a question. Judge whether it is right, complete and does what was asked.

[Question]
{question}

[Answer]
{response}

Give a short reason. Then end with one line, either "Verdict: yes" (a good answer) or "Verdict: no"."""

COMPARE = """You compare two answers to a question. Judge which one is more right, complete and useful.

[Question]
{question}

[Answer A]
{response}

[Answer B]
{other}

Give a short reason. Then end with one line, either "Verdict: A" or "Verdict: B"."""


def no_final_answers(what: str, task: Task, way_out: str = "leave it out") -> HFDistillError:
    """The error of what compares final answers, where a task is open-ended."""
    return HFDistillError(
        f"{what} compares final answers, and task {task.name!r} is open-ended, so that it has none: {way_out}"
    )


def check_share(task: str, **shares: float) -> None:
    """Refuses an option that is no share of the questions."""
    for option, share in shares.items():
        if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share < 1:
            raise HFDistillError(f"task {task}: {option} must be a share from 0 to below 1, not {share!r}")


def share_of(question: str, salt: str = "") -> float:
    """A number in [0, 1) that depends on the question's text alone (white space apart), so that a question keeps its
    split whatever is added, removed or reordered around it.
    """
    text = salt + "\n" + " ".join(question.split())
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:8], "big") / 2**64


def split_of(question: str, validation: float, test: float = 0.0) -> str:
    """The split of a question: `test` of all, then `validation` of the rest (B.1), each by a hash of its own."""
    if share_of(question, "test") < test:
        return "test"
    return "validation" if share_of(question, "validation") < validation else "train"
