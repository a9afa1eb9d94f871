"""Reward models as reward functions: they read the ids that were sampled, or text through a tokenizer of their own."""

from contextlib import suppress
from typing import Any

from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import cached_file

from ..artifacts.digests import MANIFEST
from ..encoding import Encoder, check_vocabulary
from ..errors import HFDistillError
from ..reward.model import check_scalar_model, load_reward_model, prepare_reward_model, score_sequences


class ModelReward:
    """What a reward model says about completions.

    One that shares the policy's vocabulary reads the very ids that were sampled. Another one reads text and end token,
    and one of TRL's that was trained on conversations reads messages, as its own chat template lays them out. A score
    is read where the model was trained to give it: at the last token, or before an end token that it also pads with.

    Args:
        model (`PreTrainedModel`): sequence classification model with one output.
        tokenizer (`PreTrainedTokenizerBase`, *optional*): its own; the one that lies beside it by default, and the
            policy's if none does.
        encoder ([`~hfdistill.encoding.Encoder`]): of the policy.
        policy (`PreTrainedModel`): what it must share the vocabulary with, if it has no tokenizer.

    Attributes:
        knows_policy_tokens (`bool`): whether it has the policy's vocabulary.
        bf16 (`bool`): whether it computes in bf16, all but its head; not at first.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase | None,
        encoder: Encoder,
        policy: PreTrainedModel,
    ):
        self.bf16 = False
        self.model = prepare_reward_model(model).to(policy.device)
        self.encoder = encoder
        if tokenizer is None and lies_beside(model, "tokenizer_config.json"):
            tokenizer = AutoTokenizer.from_pretrained(model.name_or_path)
        if tokenizer is None:
            check_vocabulary(model, policy, "reward model")
            tokenizer = encoder.tokenizer
        self.tokenizer = tokenizer
        self.knows_policy_tokens = tokenizer.get_vocab() == encoder.tokenizer.get_vocab()
        # Our own reward models are trained on ids, TRL's on what a template makes of messages.
        self.reads_messages = tokenizer.chat_template is not None and not lies_beside(model, MANIFEST)
        if model.config.pad_token_id is None:
            own = tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
            model.config.pad_token_id = encoder.pad_token_id if self.knows_policy_tokens else own

    @property
    def __name__(self) -> str:
        """What logs call it."""
        return self.model.name_or_path.rstrip("/").split("/")[-1] or type(self.model).__name__

    def __call__(
        self, prompts: list[Any], completions: list[Any], completion_ids: list[list[int]], **columns: Any
    ) -> list[float]:
        """Scores of completions."""
        rows = zip(prompts, completions, completion_ids, strict=True)
        sequences = [self._ids(prompt, completion, ids) for prompt, completion, ids in rows]
        return score_sequences(self.model, sequences, self.model.config.pad_token_id, bf16=self.bf16).tolist()

    def _ids(self, prompt: Any, completion: Any, sampled: list[int]) -> list[int]:
        messages = not isinstance(prompt, str)
        if self.knows_policy_tokens and not (messages and self.reads_messages):
            ids = self.encoder.prompt_ids(prompt) + sampled
        elif messages:
            text = self.tokenizer.apply_chat_template([*prompt, *completion], tokenize=False)
            ids = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        else:
            ids = self.tokenizer(prompt + completion)["input_ids"]
            if self.encoder.ended(sampled) and ids[-1] != self.tokenizer.eos_token_id:
                ids.append(self.tokenizer.eos_token_id)
        # A model that pads with its end token has never seen its score at one.
        blind = self.model.config.pad_token_id == self.tokenizer.eos_token_id
        return ids[:-1] if blind and len(ids) > 1 and ids[-1] == self.tokenizer.eos_token_id else ids


def open_reward_model(model: PreTrainedModel | str) -> PreTrainedModel:
    """A reward model, loaded if it is the path or name of one."""
    if not isinstance(model, str):
        check_scalar_model(model, "reward model")
        return model
    try:
        return load_reward_model(model)
    except (OSError, ValueError) as error:
        raise HFDistillError(f"the reward model {model!r} cannot be loaded: {' '.join(str(error).split())}") from error


def lies_beside(model: PreTrainedModel, file: str) -> bool:
    """Whether a file is in the folder or repository that a model was loaded from."""
    found = None
    if model.name_or_path:
        with suppress(OSError):
            found = cached_file(model.name_or_path, file, _raise_exceptions_for_missing_entries=False)
    return found is not None
