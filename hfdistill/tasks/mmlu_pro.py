"""MMLU-Pro: multiple choice with up to ten options in 14 subjects (Wang et al. 2024; TIGER-Lab/MMLU-Pro)."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from ..errors import HFDistillError
from .base import Answer, Question, Task, check_share, split_of
from .gsm8k import LEAD_IN
from .letters import extract_letter, last_letter
from .loading import column, load_rows, split_files


LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def options_block(options: tuple[str, ...]) -> str:
    """One option a line, each behind its letter as the worked examples name it: `(A) text`."""
    return "\n".join(f"({letter}) {option.strip()}" for letter, option in zip(LETTERS, options, strict=False))


def bare_prompt(question: str, options: Sequence[str]) -> str:
    """A question with its options, and the lead-in of the answer."""
    return f"Question: {question.strip()}\nOptions:\n{options_block(tuple(options))}\nAnswer:\n{LEAD_IN}"


def worked_answer(cot_content: str) -> str:
    """The dataset's reasoning as the prompt's answer: its own lead-in gives way to the one that the question gets."""
    return cot_content.strip().removeprefix("A:").strip().removeprefix("Let's think step by step.").strip()


@dataclass
class MmluPro(Task):
    """The dataset's `test` questions are divided by hash (Appendix B.1); its `validation` questions, five a subject,
    are only worked examples.

    Args:
        dataset (`str`): repository on the Hub.
        revision (`str`, *optional*): commit, tag or branch of the dataset.
        path (`str`, *optional*): a folder with the questions (`test.jsonl` or `mmlu_pro_sample.jsonl`) and, for worked
            examples, one named `validation`.
        test_share (`float`): the part of all questions that tests.
        validation_share (`float`): the part of the others that validates.
    """

    name: ClassVar[str] = "mmlu_pro"
    needs_options: ClassVar[bool] = True

    dataset: str = "TIGER-Lab/MMLU-Pro"
    revision: str | None = None
    path: str | None = None
    test_share: float = 0.15
    validation_share: float = 0.1
    shots: int = 2
    max_new_tokens: int = 1024
    stop: tuple[str, ...] = ("\nQuestion:",)

    def __post_init__(self):
        super().__post_init__()
        check_share(self.name, test_share=self.test_share, validation_share=self.validation_share)

    @cached_property
    def _rows(self) -> list[dict]:
        split = "sample" if self.path is not None and not split_files(self.name, self.path, "test") else "test"
        return load_rows(self.name, self.dataset, split, None, self.revision, self.path)

    @cached_property
    def _examples(self) -> dict[str, list[dict]]:
        """Worked examples by category, in the dataset's order."""
        if self.path is not None and not split_files(self.name, self.path, "validation"):
            raise HFDistillError(
                f"mmlu_pro takes its worked examples from the validation split, and {self.path} has no such file; "
                "add validation.jsonl or set shots: 0"
            )
        examples: dict[str, list[dict]] = {}
        for row in load_rows(self.name, self.dataset, "validation", None, self.revision, self.path):
            if row.get("cot_content"):
                examples.setdefault(row["category"], []).append(row)
        return examples

    def questions(self) -> list[Question]:
        questions = []
        for number, row in enumerate(self._rows):
            text = column(row, "question", number, self.name)
            options = column(row, "options", number, self.name)
            question_id = f"mmlu_pro-{column(row, 'question_id', number, self.name)}"
            if not options:
                raise HFDistillError(f"{self.name}, row {number} ({question_id}): no options")
            split = split_of(text, self.validation_share, self.test_share)
            questions.append(Question(question_id, text, split, tuple(options), row.get("category")))
        return questions

    def golds(self) -> dict[str, str]:
        golds = {}
        for number, row in enumerate(self._rows):
            letter = str(column(row, "answer", number, self.name)).strip()
            index = row.get("answer_index", LETTERS.find(letter))
            if index < 0 or LETTERS[index] != letter or index >= len(row["options"]):
                raise HFDistillError(
                    f"{self.name}, row {number}: answer '{letter}', index {index} and {len(row['options'])} options "
                    "do not agree"
                )
            golds[f"mmlu_pro-{row['question_id']}"] = letter
        return golds

    def prompt(self, question: Question, shots: int | None = None) -> str:
        examples = self.worked_examples(question, self.shots if shots is None else shots)
        text = "".join(
            f"{asked.removesuffix(LEAD_IN).rstrip()} {LEAD_IN}\n{answered}\n" for asked, answered in examples
        )
        return text + bare_prompt(question.question, question.options or ())

    def worked_examples(self, question: Question, shots: int) -> list[tuple[str, str]]:
        examples = self._examples.get(question.category or "", [])[:shots] if shots else []
        if len(examples) < shots:
            raise HFDistillError(
                f"mmlu_pro has {len(examples)} worked examples of '{question.category}', not the {shots} asked for"
            )
        return [(bare_prompt(row["question"], row["options"]), worked_answer(row["cot_content"])) for row in examples]

    def extract(self, response: str, question: Question) -> Answer:
        if not question.options:
            raise HFDistillError(f"question {question.question_id} of mmlu_pro has no options to choose from")
        return extract_letter(response, question.options)

    def last_value(self, response: str, question: Question) -> Answer:
        return last_letter(response, question.options or ())
