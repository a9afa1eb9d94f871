"""GSM8K: grade-school word problems whose answer is a number (Cobbe et al. 2021; openai/gsm8k)."""

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from ..errors import HFDistillError
from .base import Answer, Question, Task, check_share, split_of
from .loading import column, load_rows, refuse_file
from .numbers import canonical_number, extract_number, last_number, same_number


# The three worked examples of Figure 8, Appendix A.
SHOTS = (
    """Q:
There are 15 trees in the grove. Grove workers will plant trees in the grove today. After they are done, \
there will be 21 trees. How many trees did the grove workers plant today?
A:
Let's break this down step by step!
Step 1: There are 15 trees originally.
Step 2: Then there were 21 trees after some more were planted.
Step 3: So there must have been 21 - 15 = 6.
The answer is 6.
""",
    """Q:
If there are 3 cars in the parking lot and 2 more cars arrive, how many cars are in the parking lot?
A:
Let's break this down step by step!
Step 1: There are originally 3 cars.
Step 2: 2 more cars arrive, 3 + 2 = 5.
The answer is 5.
""",
    """Q:
Leah had 32 chocolates and her sister had 42. If they ate 35, how many pieces do they have left in total?
A:
Let's break this down step by step!
Step 1: Originally, Leah had 32 chocolates.
Step 2: Her sister had 42.
Step 3: So in total they had 32 + 42 = 74.
Step 4: After eating 35, they had 74 - 35 = 39.
The answer is 39.
""",
)
LEAD_IN = "Let's break this down step by step!"


def gold_number(answer: str, source: str) -> str:
    """The canonical number after the last `####` of a gold solution, or of the whole where there is none."""
    value = canonical_number(answer.rpartition("####")[2])
    if value is None:
        raise HFDistillError(f"{source}: the gold answer {answer[-60:]!r} is no number")
    return value


@dataclass
class GradeSchoolMath(Task):
    """What GSM8K and its relatives share: the prompt of Figure 8 and numbers as answers."""

    shots: int = 3
    max_new_tokens: int = 512
    stop: tuple[str, ...] = ("\nQ:", "\nQuestion:")

    def prompt(self, question: Question, shots: int | None = None) -> str:
        shots = self.shots if shots is None else shots
        if shots > len(SHOTS):
            raise HFDistillError(f"the paper's prompt has {len(SHOTS)} worked examples, shots: {shots} is too many")
        return "".join(SHOTS[:shots]) + f"Q: {question.question.strip()}\n{LEAD_IN}"

    def worked_examples(self, question: Question, shots: int) -> list[tuple[str, str]]:
        self.prompt(question, shots)  # refuses more than there are
        asked_and_answered = [shot.removeprefix("Q:\n").split(f"\nA:\n{LEAD_IN}\n") for shot in SHOTS[:shots]]
        return [(f"Q: {asked}\n{LEAD_IN}", answered.strip()) for asked, answered in asked_and_answered]

    def extract(self, response: str, question: Question) -> Answer:
        return extract_number(response)

    def last_value(self, response: str, question: Question) -> Answer:
        return last_number(response)

    def same(self, a: str, b: str) -> bool:
        return same_number(a, b)


@dataclass
class Gsm8k(GradeSchoolMath):
    """GSM8K: its training questions are divided by hash, its test questions test.

    Args:
        dataset (`str`): repository on the Hub.
        subset (`str`): its configuration.
        revision (`str`, *optional*): commit, tag or branch of the dataset.
        path (`str`, *optional*): a folder with files of the splits `train` and `test`, instead of the Hub.
        validation_share (`float`): the part of the training questions that validates, chosen by hash.
    """

    name: ClassVar[str] = "gsm8k"

    dataset: str = "openai/gsm8k"
    subset: str | None = "main"
    revision: str | None = None
    path: str | None = None
    validation_share: float = 0.1

    def __post_init__(self):
        super().__post_init__()
        check_share(self.name, validation_share=self.validation_share)

    @cached_property
    def _rows(self) -> list[tuple[Question, str]]:
        """Every question with its gold solution, training rows first."""
        refuse_file(self.name, self.path)
        made = []
        for source in ("train", "test"):
            rows = load_rows(self.name, self.dataset, source, self.subset, self.revision, self.path)
            for number, row in enumerate(rows):
                text, answer = (column(row, name, number, f"{self.name} {source}") for name in ("question", "answer"))
                split = "test" if source == "test" else split_of(text, self.validation_share)
                made.append((Question(f"gsm8k-{source}-{number}", text, split), answer))
        return made

    def questions(self) -> list[Question]:
        return [question for question, _ in self._rows]

    def golds(self) -> dict[str, str]:
        return {question.question_id: gold_number(answer, question.question_id) for question, answer in self._rows}
