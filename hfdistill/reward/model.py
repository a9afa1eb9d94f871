"""The reward model: a language model with one scalar read at a response's last token, and how it is asked."""

from collections.abc import Sequence
from contextlib import nullcontext
from types import MethodType

import torch
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.modeling_outputs import SequenceClassifierOutputWithPast
from transformers.utils import logging

from ..encoding import Encoder, right_pad
from ..errors import HFDistillError
from ..llama import Passage, hidden_states
from ..training.shares import cut_into_passes
from .heads import load_heads, spread


class Float32Head(nn.Linear):
    """A linear head that computes in fp32, whatever the backbone's type and outside autocast.

    In bf16 two scores of size 4 to 8 are equal or 0.03 apart, which is as much as differs between responses.
    """

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        with torch.autocast(hidden_states.device.type, enabled=False):
            return nn.functional.linear(hidden_states.float(), self.weight.float())


def set_float32_head(model: PreTrainedModel) -> None:
    """Put the head of a sequence classification model in fp32, with the weights that it has."""
    head = Float32Head(model.score.in_features, len(model.score.weight), bias=False, device=model.score.weight.device)
    with torch.no_grad():
        head.weight.copy_(model.score.weight)
    model.score = head


def initialise_reward_model(model_path: str, pad_token_id: int, heads: int = 1, **kwargs) -> PreTrainedModel:
    """Make an untrained reward model from a causal language model: its backbone, and a scalar head of zeros, or
    several, which are trained together and published as one, see [`~hfdistill.reward.heads.publish_heads`].

    The first scores are 0 and the first loss (2 + lambda) log 2, whatever the size of the backbone's states, which
    differs by family. The first step then moves the head alone, towards what tells right from wrong, and the backbone
    follows from the second. A head drawn at random would give all responses of a prompt nearly one score, since most
    of a state is common to them, and send a random direction through the backbone before it is unlearnt: on the
    demo's triples, with states 7.3 times as large, the first ten losses are 3.1 in the mean against 1.70 from zero
    (three seeds). A head drawn for the size of the states gives 1.71; after three epochs all three are alike.

    The tokenizer's pad token goes into the config, where every reader looks for it, and `kwargs` to `from_pretrained`.
    """
    config = AutoConfig.from_pretrained(model_path, num_labels=1, problem_type="regression")
    # A model that sees images, too, has a config of its text within.
    config.pad_token_id = config.get_text_config().pad_token_id = pad_token_id
    verbosity = logging.get_verbosity()
    # The report of a missing head is no news here.
    logging.set_verbosity_error()
    model = AutoModelForSequenceClassification.from_pretrained(model_path, config=config, **kwargs)
    logging.set_verbosity(verbosity)
    model.score = nn.Linear(model.score.in_features, heads, bias=False, dtype=model.score.weight.dtype)
    nn.init.zeros_(model.score.weight)
    return prepare_reward_model(model)


def check_base(base_path: str, name: str, student_path: str, encoder: Encoder) -> None:
    """Refuse a model to start from that reads other ids than the student writes.

    Args:
        base_path (`str`): folder of the model.
        name (`str`): what messages call it.
        student_path (`str`): folder of the student.
        encoder ([`~hfdistill.encoding.Encoder`]): of the student.
    """
    try:
        sizes = [AutoConfig.from_pretrained(path).get_text_config().vocab_size for path in (base_path, student_path)]
        words = _words(AutoTokenizer.from_pretrained(base_path))
    except (OSError, ValueError, KeyError) as error:
        raise HFDistillError(f"reward.base {name!r} cannot be read: {' '.join(str(error).split())}") from error
    if sizes[0] != sizes[1] or words != _words(encoder.tokenizer):
        raise HFDistillError(
            f"reward.base {name!r} has another vocabulary than the student ({sizes[0]} and {sizes[1]} tokens): name a "
            "model of the student's family, or leave reward.base out to start from the warm-up"
        )


def _words(tokenizer: PreTrainedTokenizerBase) -> dict[str, int]:
    """The vocabulary but for added tokens, whose names differ between the models of a family."""
    added = set(tokenizer.added_tokens_decoder)
    return {word: index for word, index in tokenizer.get_vocab().items() if index not in added}


def load_reward_model(model_path: str, **kwargs) -> PreTrainedModel:
    """Load a trained reward model from a folder or a Hub repository, with its head in fp32, and the heads of its
    ensemble if it has one; `kwargs` are those of `from_pretrained`.
    """
    model, loading = AutoModelForSequenceClassification.from_pretrained(model_path, output_loading_info=True, **kwargs)
    if loading["missing_keys"]:
        raise HFDistillError(
            f"the reward model {model_path!r} lacks the weights of {', '.join(sorted(loading['missing_keys'])[:3])}: "
            "name one that was trained as a reward model"
        )
    check_scalar_model(model, "reward model")
    return prepare_reward_model(model, load_heads(model_path, kwargs.get("revision")))


def check_scalar_model(model: PreTrainedModel, role: str) -> None:
    """Refuse a reward or value model that says more than one number, or reads it elsewhere than at a token."""
    if "score" not in dict(model.named_children()):
        raise HFDistillError(
            f"the {role} {model.name_or_path!r} is a {type(model).__name__}: it must be the sequence classifier of a "
            "decoder, such as LlamaForSequenceClassification"
        )
    if model.config.num_labels != 1:
        raise HFDistillError(
            f"the {role} {model.name_or_path!r} has {model.config.num_labels} outputs instead of 1: name one that was "
            "trained as a reward model"
        )


def prepare_reward_model(model: PreTrainedModel, ensemble: torch.Tensor | None = None) -> PreTrainedModel:
    """Put the head in fp32, dropout off, and `score_positions` into `forward`; loaders have done so already.

    The heads of an `ensemble` `(heads, hidden_size)` stand beside the head, which is their mean.
    """
    set_float32_head(model)
    model.register_buffer("ensemble", ensemble, persistent=False)
    # Scores of a response must not depend on chance, neither in training nor in PPO.
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    model.forward = MethodType(_forward, model)
    return model


def _forward(
    model: PreTrainedModel,
    input_ids: torch.Tensor | None = None,
    attention_mask: torch.Tensor | None = None,
    position_ids: torch.Tensor | None = None,
    score_positions: torch.Tensor | None = None,
    pessimism: float = 0.0,
    **kwargs,
) -> SequenceClassifierOutputWithPast:
    """The model's own forward, or the scores at `score_positions` `(batch, k)` instead of one score a row: less
    `pessimism` standard deviations of its ensemble, and `(batch, k, heads)` while several heads are trained.

    It stands in for `forward`, on which DDP, FSDP and DeepSpeed hook; the class and the saved files stay those of
    `AutoModelForSequenceClassification`.
    """
    if score_positions is None:
        return type(model).forward(
            model, input_ids, attention_mask=attention_mask, position_ids=position_ids, **kwargs
        )
    passage = Passage(input_ids, score_positions, attention_mask, position_ids)
    hidden = hidden_states(model.base_model, passage)
    scores = model.score(hidden).squeeze(-1)
    if pessimism and model.ensemble is not None:
        scores = scores - pessimism * spread(hidden, model.ensemble)
    return SequenceClassifierOutputWithPast(logits=scores)


class RewardScorer:
    """Scores of responses, in process: length-sorted batches under a token budget, fp32 head, no gradient.

    PPO, evaluation and the Space ask the reward model through it, so that a response has one score everywhere.

    Args:
        model (`PreTrainedModel`): a reward model, see [`load_reward_model`].
        encoder ([`~hfdistill.encoding.Encoder`]): turns text into ids.
        token_budget (`int`, *optional*, defaults to 16384): most tokens, padding included, of one forward pass.
        bf16 (`bool`, *optional*, defaults to `False`): compute in bf16, all but the head.
    """

    def __init__(self, model: PreTrainedModel, encoder: Encoder, token_budget: int = 16384, bf16: bool = False):
        if model.config.pad_token_id != encoder.pad_token_id:
            raise HFDistillError(
                f"the reward model pads with token {model.config.pad_token_id}, the tokenizer with "
                f"{encoder.pad_token_id}: load the tokenizer that was saved with the model"
            )
        self.model = model
        self.encoder = encoder
        self.token_budget, self.bf16 = token_budget, bf16

    def __call__(
        self, prompts: Sequence[str], responses: Sequence[str], finished: Sequence[bool] | None = None
    ) -> list[float]:
        """Score responses to prompts, in the order given.

        Args:
            prompts (`Sequence[str]`): one prompt a response.
            responses (`Sequence[str]`): texts without end token.
            finished (`Sequence[bool]`, *optional*): `False` for a response that was cut off, which then is scored
                without end token. All finished if not given.
        """
        finished = [True] * len(responses) if finished is None else finished
        return self.score_ids(
            [
                self.encoder.prompt_ids(prompt) + self.encoder.response_ids(response, done)
                for prompt, response, done in zip(prompts, responses, finished, strict=True)
            ]
        ).tolist()

    def score_ids(self, sequences: Sequence[Sequence[int]], pessimism: float = 0.0) -> torch.Tensor:
        """Score whole sequences of ids (prompt, response, end token), each read at its last token.

        Args:
            sequences (`Sequence[Sequence[int]]`): of ids.
            pessimism (`float`, *optional*, defaults to 0.0): how many standard deviations of an ensemble are taken off
                its mean; those of a single head are 0.

        Returns:
            `torch.Tensor`: fp32 scores on the CPU, `(sequences,)`.
        """
        return score_sequences(
            self.model, sequences, self.encoder.pad_token_id, self.token_budget, self.bf16, pessimism
        )

    def score_at(
        self, sequences: Sequence[Sequence[int]], positions: Sequence[Sequence[int]], pessimism: float = 0.0
    ) -> list[list[float]]:
        """Scores of the beginnings of sequences: of each, read at these positions in one pass."""
        return [
            scores.tolist()
            for scores in read_scores(
                self.model, sequences, positions, self.encoder.pad_token_id, self.token_budget, self.bf16, pessimism
            )
        ]


def score_sequences(
    model: PreTrainedModel,
    sequences: Sequence[Sequence[int]],
    pad_token_id: int,
    token_budget: int = 16384,
    bf16: bool = False,
    pessimism: float = 0.0,
) -> torch.Tensor:
    """Score sequences of ids, each read at its last token, see [`read_scores`].

    Returns:
        `torch.Tensor`: fp32 scores on the CPU, `(sequences,)`.
    """
    last = [[len(sequence) - 1] for sequence in sequences]
    scores = read_scores(model, sequences, last, pad_token_id, token_budget, bf16, pessimism)
    return torch.cat(scores) if scores else torch.empty(0)


@torch.no_grad()
def read_scores(
    model: PreTrainedModel,
    sequences: Sequence[Sequence[int]],
    positions: Sequence[Sequence[int]],
    pad_token_id: int,
    token_budget: int = 16384,
    bf16: bool = False,
    pessimism: float = 0.0,
) -> list[torch.Tensor]:
    """Read scores at positions of sequences of ids, in length-sorted batches of at most so many tokens.

    Returns:
        `list[torch.Tensor]`: of each sequence fp32 scores on the CPU, `(positions,)`.
    """
    scores: list[torch.Tensor] = [torch.empty(0)] * len(sequences)
    was_training = model.training
    model.eval()
    lengths = [len(sequence) for sequence in sequences]
    longest_first = sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True)
    for batch in cut_into_passes(longest_first, lengths, token_budget):
        # Padding stands at the end, where no causal position looks, so attention needs no mask.
        input_ids, _ = right_pad([sequences[i] for i in batch], pad_token_id)
        wanted = max(len(positions[i]) for i in batch)
        rows = torch.tensor([[*positions[i], *positions[i][-1:] * (wanted - len(positions[i]))] for i in batch])
        with torch.autocast(model.device.type, torch.bfloat16) if bf16 else nullcontext():
            output = model(input_ids.to(model.device), score_positions=rows.to(model.device), pessimism=pessimism)
        logits = output.logits.float().cpu()
        # Several heads that are still trained are published as their mean.
        for i, read in zip(batch, logits if logits.dim() == 2 else logits.mean(-1), strict=True):
            scores[i] = read[: len(positions[i])]
    model.train(was_training)
    return scores
