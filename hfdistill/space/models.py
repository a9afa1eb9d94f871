"""The students and the reward model, loaded when they are first asked."""

from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING, Any

from ..artifacts.references import open_artifact
from ..encoding import Encoder, cut
from ..errors import HFDistillError
from ..sections import StudentConfig
from ..student import load_encoder
from ..tasks import Question, Task
from ..tasks.base import REASONS
from .visitors import ForVisitors


if TYPE_CHECKING:
    from ..reward.model import RewardScorer


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

    def answer(
        self, task: Task, question: Question, shots: int, temperature: float, samples: int
    ) -> list[ShownAnswer]:
        """Answer one question; at temperature 0, which is greedy, there is one answer.

        Raises:
            [`~hfdistill.space.visitors.ForVisitors`]: if the question does not fit into the model's context.
        """
        from ..generation import Sampling, StopStrings, generate

        prompt = self.encoder.question_ids(task, question, shots)
        context = self.model.config.get_text_config().max_position_embeddings
        room = context - len(prompt)
        if room < min(task.max_new_tokens, context // 4):
            raise ForVisitors(
                f"The question is too long: with the prompt it takes {len(prompt)} tokens, and this model reads and "
                f"writes {context} in all. Shorten it."
            )
        stop = self.encoder.stop(task, shots)
        rows = generate(
            self.model,
            [prompt] * (samples if temperature > 0 else 1),
            Sampling(max_new_tokens=min(room, task.max_new_tokens), temperature=temperature),
            eos_token_id=self.encoder.end_token_ids,
            pad_token_id=self.encoder.pad_token_id,
            stop=StopStrings(self.encoder.tokenizer, stop) if stop else None,
        )
        return [
            read(
                task,
                question,
                cut(self.encoder.decode(row.token_ids), stop),
                row.finish_reason != "length",
                row.drawn_ids if row.finish_reason != "stop_sequence" else None,
            )
            for row in rows
        ]


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

    def has(self, ref: str) -> bool:
        """Whether a model is in memory already."""
        return ref in self.loaded

    def student(self, ref: str) -> Student:
        """The causal language model at `ref`.

        Raises:
            [`~hfdistill.errors.HFDistillError`]: if it does not exist or cannot be loaded.
        """
        from transformers import AutoModelForCausalLM

        return self._load(ref, Student, AutoModelForCausalLM.from_pretrained)

    def scorer(self, ref: str) -> "RewardScorer":
        """The reward model at `ref`; raises like [`Models.student`]."""
        from ..reward.model import RewardScorer, load_reward_model

        return self._load(ref, RewardScorer, load_reward_model)

    def _load(self, ref: str, kind: Callable[[Any, Encoder], Any], load: Callable[..., Any]) -> Any:
        import torch
        from safetensors import SafetensorError

        with self.lock:
            if ref not in self.loaded:
                folder = str(open_artifact(ref, "model").path)
                try:
                    model = load(folder, dtype="auto").to("cuda" if torch.cuda.is_available() else "cpu")
                    self.loaded[ref] = kind(model.eval(), load_encoder(folder, self.asked))
                except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
                    reason = " ".join(str(error).split())[:200]
                    raise HFDistillError(f"the model {ref} cannot be loaded: {reason}") from error
            return self.loaded[ref]
