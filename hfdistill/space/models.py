"""The students and the reward model, loaded when they are first asked."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING, Any

from ..artifacts.references import open_artifact
from ..encoding import Encoder, cut
from ..errors import HFDistillError
from ..generation import Generated, Sampling
from ..sections import StudentConfig
from ..student import load_encoder
from ..tasks import Question, Task
from ..tasks.base import REASONS
from .lanes import Turns
from .visitors import ForVisitors


if TYPE_CHECKING:
    from ..reward.model import RewardScorer


TEACHERS_AT_ONCE = 8
TOLD_EVERY = 0.1  # seconds


@dataclass
class ShownAnswer:
    """One answer, as it is shown.

    Attributes:
        text (`str`): what was written, exactly: the reward model's score depends on every blank.
        answer (`str`, *optional*): final answer in it, `None` if there is none.
        reason (`str`, *optional*): why there is none.
        finished (`bool`): `False` if it was cut off by the length limit.
        score (`float`, *optional*): of the reward model.
        reward (`float`, *optional*): what PPO would have given (Eq. 7).
        token_ids (`list[int]`, *optional*): as it was sampled here, end token included.
        correct (`bool`, *optional*): whether it is right, where an evaluation found out.
    """

    text: str
    answer: str | None
    reason: str | None
    finished: bool = True
    score: float | None = None
    reward: float | None = None
    token_ids: list[int] | None = None
    correct: bool | None = None


@dataclass
class Student:
    """A causal language model that answers questions."""

    model: object
    encoder: Encoder

    def unknown_words(self, text: str) -> list[str]:
        """Words of a prompt that the tokenizer has no token for; a small vocabulary of whole words has many."""
        tokenizer = self.encoder.tokenizer
        if tokenizer.unk_token_id is None or not tokenizer.is_fast:
            return []
        encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        pairs = zip(encoded["input_ids"], encoded["offset_mapping"], strict=True)
        words = [text[start:end].strip() for token, (start, end) in pairs if token == tokenizer.unk_token_id]
        return list(dict.fromkeys(word for word in words if word))

    def prompt(self, task: Task, question: Question, shots: int) -> tuple[list[int], int]:
        """Tokens of a question's prompt, and the most that an answer to it may have.

        Raises:
            [`~hfdistill.space.visitors.ForVisitors`]: if the question does not fit into the model's context.
        """
        prompt = self.encoder.question_ids(task, question, shots)
        context = self.model.config.get_text_config().max_position_embeddings
        room = context - len(prompt)
        if room < min(task.max_new_tokens, context // 4):
            raise ForVisitors(
                f"The question is too long: with the prompt it takes {len(prompt)} tokens, and this model reads and "
                f"writes {context} in all. Shorten it."
            )
        return prompt, min(room, task.max_new_tokens)

    def draw(
        self,
        prompts: list[list[int]],
        sampling: Sampling,
        stop: tuple[str, ...],
        written: Callable[[str], None] = lambda text: None,
    ) -> list[Generated]:
        """Responses to prompts.

        Args:
            prompts (`list[list[int]]`), sampling ([`~hfdistill.generation.Sampling`]): what to answer, and how.
            stop (`tuple[str, ...]`): strings that end a response.
            written (`Callable[[str], None]`, *optional*): told now and then what is written of one; what it raises
                ends the work.
        """
        from ..generation import StopStrings, generate

        ends = StopStrings(self.encoder.tokenizer, stop) if stop else None
        told = 0.0

        def watch(token_ids: list[int]) -> bool:
            nonlocal told
            if time.monotonic() - told > TOLD_EVERY:
                told = time.monotonic()
                written(cut(self.encoder.decode(token_ids), stop))
            return ends is not None and ends(token_ids)

        ends_and_pads = {"eos_token_id": self.encoder.end_token_ids, "pad_token_id": self.encoder.pad_token_id}
        return generate(self.model, prompts, sampling, **ends_and_pads, stop=watch)


def scores(scorer: "RewardScorer", sequences: list[list[int]]) -> list[float]:
    """The reward model's scores of whole sequences of ids."""
    return scorer.score_ids(sequences).tolist()


def read(task: Task, question: Question, text: str, finished: bool, token_ids: list[int] | None = None) -> ShownAnswer:
    """Read the final answer out of a response, by the run's task."""
    answer = task.extract(text, question)
    return ShownAnswer(text, answer.value, answer.reason and REASONS[answer.reason], finished, token_ids=token_ids)


@dataclass
class Models:
    """Every model that was loaded, by where it is; each is loaded once, by the first visitor who needs it. Students
    are asked as `asked` says, by default as their own files do.
    """

    asked: StudentConfig | None = None
    loaded: dict[str, object] = field(default_factory=dict)
    lock: Lock = field(default_factory=Lock)
    lanes: dict[str, Turns] = field(default_factory=dict)

    def turns(self, ref: str) -> Turns:
        """The lane of a model; of the teacher's endpoint, which answers several at once, under `"teacher"`."""
        return self.lanes.setdefault(ref, Turns(TEACHERS_AT_ONCE if ref == "teacher" else 1))

    def has(self, ref: str) -> bool:
        """Whether a model is in memory already."""
        return ref in self.loaded

    def student(self, ref: str) -> Student:
        """The causal language model at `ref`.

        Raises:
            [`~hfdistill.errors.HFDistillError`]: if it does not exist or cannot be loaded.
        """
        return self._load(ref, _load_student)

    def scorer(self, ref: str) -> "RewardScorer":
        """The reward model at `ref`; raises like [`Models.student`]."""
        return self._load(ref, _load_scorer)

    def compute(self, ref: str, work: Callable, *given: Any, **here: Any) -> Any:
        """Do work with a loaded model, given first: whatever reads its weights goes through here.

        Args:
            ref (`str`): where the model is.
            work (`Callable`), given: a function of a module and what it gets, which another process could be sent.
            here: what only this process can use.
        """
        return work(self.loaded[ref], *given, **here)

    def answer(
        self,
        ref: str,
        task: Task,
        question: Question,
        shots: int,
        temperature: float,
        samples: int,
        written: Callable[[str], None] = lambda text: None,
    ) -> list[ShownAnswer]:
        """A student's answers to one question; at temperature 0, which is greedy, there is one.

        Args:
            ref (`str`): where the student is.
            task ([`~hfdistill.tasks.Task`]), question ([`~hfdistill.tasks.Question`]): what to answer.
            shots (`int`): worked examples in the prompt.
            temperature (`float`), samples (`int`): how many answers are drawn, and how.
            written (`Callable[[str], None]`, *optional*): see [`Student.draw`].

        Raises:
            [`~hfdistill.errors.HFDistillError`]: if the model cannot be loaded, or the question is too long for it.
        """
        student = self.student(ref)
        prompt, most = student.prompt(task, question, shots)
        prompts, stop = [prompt] * (samples if temperature > 0 else 1), student.encoder.stop(task, shots)
        sampling = Sampling(max_new_tokens=most, temperature=temperature)
        return [
            read(
                task,
                question,
                cut(student.encoder.decode(row.token_ids), stop),
                row.finish_reason != "length",
                row.drawn_ids if row.finish_reason != "stop_sequence" else None,
            )
            for row in self.compute(ref, Student.draw, prompts, sampling, stop, written=written)
        ]

    def _load(self, ref: str, load: Callable[[str, Encoder], Any]) -> Any:
        if ref in self.loaded:
            return self.loaded[ref]
        # One after the other, imports included: transformers marks the whole process while it loads.
        with self.lock:
            from safetensors import SafetensorError

            if ref not in self.loaded:
                folder = str(open_artifact(ref, "model").path)
                try:
                    self.loaded[ref] = load(folder, load_encoder(folder, self.asked))
                except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
                    reason = " ".join(str(error).split())[:200]
                    raise HFDistillError(f"the model {ref} cannot be loaded: {reason}") from error
            return self.loaded[ref]


def _load_student(folder: str, encoder: Encoder) -> Student:
    from transformers import AutoModelForCausalLM

    from ..generation import generate  # noqa: F401  # with all that it needs, while nothing else is imported

    return Student(_placed(AutoModelForCausalLM.from_pretrained(folder, dtype="auto")), encoder)


def _load_scorer(folder: str, encoder: Encoder) -> "RewardScorer":
    from ..reward.model import RewardScorer, load_reward_model

    return RewardScorer(_placed(load_reward_model(folder, dtype="auto")), encoder)


def _placed(model: Any) -> Any:
    import torch

    return model.to("cuda" if torch.cuda.is_available() else "cpu").eval()
