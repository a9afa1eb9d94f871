"""Any dataset of questions, without code: columns, splits, prompt and kind of answer come from the config."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar, NamedTuple

from ..errors import HFDistillError, unknown
from ..fields import decides
from .base import EMPTY, SPLITS, UNFINISHED, Answer, Question, Task, check_share, split_of
from .gsm8k import LEAD_IN, gold_number
from .languages import checked_markers, in_english
from .letters import extract_letter, last_letter
from .loading import column, load_rows, refuse_file
from .mmlu_pro import LETTERS, options_block
from .numbers import extract_number, last_number, same_number
from .symbolic import same_expression
from .texts import extract_expression, extract_phrase, gold_expression, same_phrase
from .thoughts import spoken


class AnswerKind(NamedTuple):
    """How one kind of answer is read, written as gold and compared, and found where nothing announces it."""

    extract: Callable[[str, Question], Answer]
    gold: Callable[[object, Question], str]
    same: Callable[[str, str], bool]
    last: Callable[[str, Question], Answer] | None = None


def extract_choice(response: str, question: Question) -> Answer:
    if not question.options:
        raise HFDistillError(f"question {question.question_id} has no options to choose from; set options_column")
    return extract_letter(response, question.options)


def gold_choice(value: object, question: Question) -> str:
    """A gold choice as its letter: a letter, an index from 0, or the text of the option."""
    options = [option.strip() for option in question.options or ()]
    text = str(value).strip()
    if isinstance(value, int) or (text.isdecimal() and text not in options):
        index = int(value)
    elif len(text) == 1 and text.upper() in LETTERS[: len(options)]:
        index = LETTERS.index(text.upper())
    else:
        index = options.index(text) if text in options else -1
    if not 0 <= index < len(options):
        raise HFDistillError(f"question {question.question_id}: gold {value!r} is none of its {len(options)} options")
    return LETTERS[index]


def extract_open(response: str, question: Question) -> Answer:
    text = spoken(response)
    if text is None:
        return UNFINISHED
    text = " ".join(text.split())
    return Answer(text) if text else EMPTY


KINDS = {
    "number": AnswerKind(
        lambda response, question: extract_number(response),
        lambda value, question: gold_number(str(value), question.question_id),
        same_number,
        lambda response, question: last_number(response),
    ),
    "choice": AnswerKind(
        extract_choice,
        gold_choice,
        str.__eq__,
        lambda response, question: last_letter(response, question.options or ()),
    ),
    "exact": AnswerKind(
        lambda response, question: extract_phrase(response),
        lambda value, question: " ".join(str(value).split()),
        same_phrase,
    ),
    "math": AnswerKind(
        lambda response, question: extract_expression(response),
        lambda value, question: gold_expression(str(value)),
        same_expression,
    ),
    # The whole response is the answer: for tasks that only a judge can label.
    "open": AnswerKind(extract_open, lambda value, question: str(value), str.__eq__),
}

PROMPTS = {
    "choice": f"Question: {{question}}\nOptions:\n{{options}}\nAnswer:\n{LEAD_IN}",
    "open": "{question}\n",
}
DEFAULT_PROMPT = f"Q: {{question}}\n{LEAD_IN}"
STOPS = {"choice": ("\nQuestion:",), "open": ()}
DEFAULT_STOP = ("\nQ:", "\nQuestion:")


@dataclass
class Generic(Task):
    """Any dataset of questions with a kind of answer.

    Args:
        dataset (`str`, *optional*): repository on the Hub. Without `dataset` and `path` the task has no questions of
            its own: those of the responses to be labelled are taken, and later stages read them from the labels.
        subset (`str`, *optional*): the dataset's configuration.
        revision (`str`, *optional*): commit, tag or branch of the dataset.
        path (`str`, *optional*): a file, or a folder with files named after the splits, instead of the Hub.
        question_column (`str`): the question.
        answer_column (`str`, *optional*): the gold answer, where there is one; only evaluation reads it.
        options_column (`str`, *optional*): the list of options, for `answer: choice`.
        category_column (`str`, *optional*): what figures are broken down by.
        id_column (`str`, *optional*): unique ids; the row's number within its split by default.
        answer (`str`): `number`, `choice`, `exact`, `math` or `open`.
        train_split (`str`): the split to train on.
        validation_split, test_split (`str`, *optional*): splits for these; without one, a share of `train_split`.
        validation_share, test_share (`float`): those shares, chosen by a hash of the question.
        prompt_template (`str`, *optional*): with `{question}` and, for choices, `{options}`.
        examples (`list[dict]`): worked examples, `question`, `response` and, for choices, `options`.
        judge_template (`str`, *optional*): what a judge is asked, with `{question}` and `{response}`.
        answer_markers (`list[str]`): languages in which responses announce their answers besides English (`de`, `es`,
            `fr`, `ja`, `ko`, `zh`), and phrases of your own in the place of "The answer is".
    """

    name: ClassVar[str] = "generic"

    dataset: str | None = None
    subset: str | None = None
    revision: str | None = None
    path: str | None = None
    question_column: str = "question"
    answer_column: str | None = None
    options_column: str | None = None
    category_column: str | None = None
    id_column: str | None = None
    answer: str = "number"
    train_split: str = "train"
    validation_split: str | None = None
    test_split: str | None = None
    validation_share: float = 0.1
    test_share: float = 0.0
    prompt_template: str | None = None
    examples: list[dict] = field(default_factory=list)
    judge_template: str | None = None
    answer_markers: Sequence[str] = field(default=(), metadata=decides(if_changed=True))
    stop: tuple[str, ...] | None = None

    def __post_init__(self):
        if self.answer not in KINDS:
            raise unknown("kind of answer", str(self.answer), KINDS)
        if self.answer == "choice" and self.options_column is None and (self.dataset or self.path):
            raise HFDistillError("answer: choice needs options_column, the column with the list of options")
        check_share(self.name, validation_share=self.validation_share, test_share=self.test_share)
        if self.stop is None:
            self.stop = STOPS.get(self.answer, DEFAULT_STOP)
        super().__post_init__()
        self.answer_markers = checked_markers(self.answer_markers)
        self._adopted: tuple[list[Question], dict[str, str]] = [], {}
        self.prompt_template = self.prompt_template or PROMPTS.get(self.answer, DEFAULT_PROMPT)
        if "{question}" not in self.prompt_template:
            raise HFDistillError("prompt_template must hold {question}, the place where the question goes")
        if self.prompt_template.endswith(" "):
            raise HFDistillError("prompt_template must not end in a space: tokenizers join it to the next word")
        for number, example in enumerate(self.examples):
            for key in ("question", "response", *(["options"] if self.answer == "choice" else [])):
                if key not in example:
                    raise HFDistillError(f"example {number} of task generic has no '{key}'")
        if self.shots > len(self.examples):
            raise HFDistillError(f"shots: {self.shots}, but the task section lists {len(self.examples)} examples")

    @cached_property
    def _rows(self) -> list[tuple[Question, dict]]:
        if not self.dataset and not self.path:
            return []
        if self.validation_split or self.test_split:
            refuse_file(self.name, self.path)
        sources = zip(SPLITS, (self.train_split, self.validation_split, self.test_split), strict=True)
        made = [pair for split, source in sources if source for pair in self._split(split, source)]
        if len({question.question_id for question, _ in made}) < len(made):
            raise HFDistillError(f"the column '{self.id_column}' of {self.path or self.dataset} repeats ids")
        return made

    def _split(self, split: str, source: str) -> list[tuple[Question, dict]]:
        rows = load_rows(self.name, self.dataset or "", source, self.subset, self.revision, self.path)
        where, made = f"{self.path or self.dataset} {source}", []
        for number, row in enumerate(rows):
            text, options, category, identity = (
                column(row, name, number, where) if name else None
                for name in (self.question_column, self.options_column, self.category_column, self.id_column)
            )
            if not isinstance(text, str) or not text.strip():
                raise HFDistillError(f"{where}, row {number}: the question is {text!r}, not a text")
            identity = str(identity) if self.id_column else f"{source}-{number}"
            made.append((self.question(text, split, identity, options, category), row))
        return made

    def question(
        self, text: str, split: str, question_id: str, options: Sequence[str] | None = None, category: object = None
    ) -> Question:
        """A question of this task; one of the training split may be moved by its hash."""
        if split == "train":
            validation = 0.0 if self.validation_split else self.validation_share
            split = split_of(text, validation, 0.0 if self.test_split else self.test_share)
        return super().question(text, split, question_id, options, category)

    @property
    def open_ended(self) -> bool:
        return self.answer == "open"

    @property
    def needs_options(self) -> bool:
        return self.answer == "choice"

    @property
    def has_questions(self) -> bool:
        return bool(self.dataset or self.path)

    def adopt(self, questions: Sequence[Question], golds: Mapping[str, str] | None = None) -> None:
        if self.has_questions:
            super().adopt(questions, golds)
        self._adopted = list(questions), dict(golds or {})

    def read_gold(self, value: object, question: Question) -> str:
        return KINDS[self.answer].gold(value, question)

    def questions(self) -> list[Question]:
        return [question for question, _ in self._rows] if self.has_questions else list(self._adopted[0])

    def golds(self) -> dict[str, str]:
        if not self.has_questions:
            return dict(self._adopted[1])
        if self.answer_column is None:
            return {}
        return {
            question.question_id: KINDS[self.answer].gold(
                column(row, self.answer_column, number, self.path or self.dataset or ""), question
            )
            for number, (question, row) in enumerate(self._rows)
        }

    def prompt(self, question: Question, shots: int | None = None) -> str:
        shown = self.worked_examples(question, self.shots if shots is None else shots)
        examples = "".join(f"{asked}\n{answered}\n" for asked, answered in shown)
        return examples + self._render(question.question, question.options)

    def worked_examples(self, question: Question, shots: int) -> list[tuple[str, str]]:
        if shots > len(self.examples):
            raise HFDistillError(
                f"{shots} worked examples were asked for, the task section lists {len(self.examples)}"
            )
        return [
            (self._render(example["question"], example.get("options")), example["response"].strip())
            for example in self.examples[:shots]
        ]

    def _render(self, text: str, options: list[str] | tuple[str, ...] | None) -> str:
        values = {"question": text.strip(), "options": options_block(tuple(options or ()))}
        return fill(self.prompt_template or "", values)

    def judge_prompt(self, question: Question, response: str, other: str | None = None) -> str:
        if self.judge_template is None or other is not None:
            return super().judge_prompt(question, response, other)
        return fill(self.judge_template, {"question": question.question, "response": response})

    def extract(self, response: str, question: Question) -> Answer:
        text = self._in_english(response)
        return UNFINISHED if text is None else KINDS[self.answer].extract(text, question)

    def last_value(self, response: str, question: Question) -> Answer:
        last = KINDS[self.answer].last
        text = self._in_english(response)
        if last is None:
            return super().last_value(response, question)
        return UNFINISHED if text is None else last(text, question)

    def _in_english(self, response: str) -> str | None:
        """The response as readers take it; `None` where other markers are looked for and it ends within a thought."""
        if not self.answer_markers or self.open_ended:
            return response
        text = spoken(response)
        return None if text is None else in_english(text, self.answer_markers, self.answer)

    def same(self, a: str, b: str) -> bool:
        return KINDS[self.answer].same(a, b)


def fill(template: str, values: dict[str, str]) -> str:
    """Puts the values into `{name}` places at once, so that braces within a value mean nothing."""
    places = "|".join(map(re.escape, values))
    return re.sub(rf"\{{({places})\}}", lambda place: values[place[1]], template)
