"""Training of the reward model on triples."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from transformers import EvalPrediction, PreTrainedModel, PreTrainedTokenizerBase, TrainerCallback

from ..errors import HFDistillError
from ..llama import computes_no_padding
from ..training.best_checkpoint import EarlyStopping
from ..training.global_batch import check_one_gpu
from ..training.resuming import ResumableTrainer
from ..training.whole import WholeModel
from ..training.windows import LengthSortedWindows, TellEpoch
from .batches import EncodedTriple, TripleCollator
from .config import RewardConfig
from .figures import reward_figures
from .losses import every_token_loss, reward_loss, term_counts


MODEL_INPUTS = ("input_ids", "attention_mask", "position_ids", "score_positions")


class TripletTrainer(ResumableTrainer):
    """Train a reward model by Eq. 6, and keep the checkpoint that orders validation pairs best.

    An update is the mean over its batch's triples, whatever the micro-batches, accumulation steps and processes.

    Args:
        model (`PreTrainedModel` or `peft.PeftModel`): from
            [`~hfdistill.reward.model.initialise_reward_model`], with an adapter or without.
        args ([`RewardConfig`]): settings.
        train_dataset (`Sequence[EncodedTriple]`), eval_dataset (`Sequence[EncodedTriple]`): triples of training and of
            validation questions. The latter give `eval_pos_neg`, `eval_pos_pos` and the other figures of
            [`~hfdistill.reward.figures.reward_figures`].
        processing_class (`PreTrainedTokenizerBase`): saved beside every checkpoint.
        callbacks (`list[TrainerCallback]`, *optional*): further callbacks.
    """

    # `compute_loss` divides by what the whole batch holds, see `_get_num_items_in_batch`.
    loss_is_scaled_for_ga = True

    def __init__(
        self,
        model: PreTrainedModel,
        args: RewardConfig,
        train_dataset: Sequence[EncodedTriple],
        eval_dataset: Sequence[EncodedTriple],
        processing_class: PreTrainedTokenizerBase,
        callbacks: list[TrainerCallback] | None = None,
    ):
        _check(model, args, train_dataset, eval_dataset, processing_class)
        callbacks = list(callbacks or [])
        if args.early_stopping_patience and args.load_best_model_at_end:
            callbacks.append(EarlyStopping(args.early_stopping_patience))
        # Rows that responses share need an attention mask, which costs more than their prompts where padding is free.
        longest = max(triple.longest for triple in (*train_dataset, *eval_dataset))
        masks = model.config._attn_implementation in ("sdpa", "eager")
        share_prefix = args.share_prefix and masks and not computes_no_padding(model.base_model, longest)
        # That mask takes the place of a layer's own, which looks no further than its window.
        window = model.config.get_text_config().to_dict().get("sliding_window")
        share_prefix = share_prefix and (window is None or longest <= window)
        super().__init__(
            model=model,
            args=args,
            data_collator=TripleCollator(
                processing_class.pad_token_id, share_prefix, args.every_token > 0, args.ensemble, args.seed
            ),
            train_dataset=train_dataset,
            eval_dataset=eval_dataset,
            processing_class=processing_class,
            compute_metrics=self._figures,
            callbacks=callbacks,
        )
        lengths, update = [len(triple) for triple in train_dataset], self.get_total_train_batch_size(args)
        self.sampler = LengthSortedWindows(lengths, update, args.seed, whole=args.global_batch_size is not None)
        self.add_callback(TellEpoch(self.sampler))
        self.whole = WholeModel(self.model, self.accelerator)
        self._seen: dict[str, torch.Tensor | float] = defaultdict(float)

    def _get_train_sampler(self, train_dataset: Sequence[EncodedTriple] | None = None) -> LengthSortedWindows:
        return self.sampler

    def _get_num_items_in_batch(self, batch_samples: list[dict[str, Any]], device: torch.device) -> torch.Tensor:
        counts = sum(term_counts(_learned(batch)) for batch in batch_samples).to(device)
        return self.accelerator.reduce(counts, reduction="sum")

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, torch.Tensor],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """A micro-batch's part of the loss (Eq. 6), a scalar."""
        scores, at_tokens = self._read(model, inputs, every_token=self.args.every_token > 0)
        loss = reward_loss(scores, _learned(inputs), self.args.classification_weight, num_items_in_batch)
        if self.args.every_token:
            shares = _of_rows(inputs) * inputs["token_shares"]
            correct = inputs["token_correct"].expand_as(at_tokens)
            loss = loss + self.args.every_token * every_token_loss(at_tokens, correct, shares, num_items_in_batch[2])
        self._count(scores.detach().mean(0), inputs["present"])
        # Gradients are averaged over the processes, and this loss is a share of the mean over all of them.
        return loss * self.args.world_size

    def _scores(self, model: torch.nn.Module, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        """What each head says of responses, `(triples, 4, heads)`."""
        return self._read(model, inputs, every_token=False)[0].movedim(0, -1)

    def _read(
        self, model: torch.nn.Module, inputs: dict[str, torch.Tensor], every_token: bool
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Scores at the ends of responses, `(heads, triples, 4)`, and, where they are wanted, at all their tokens,
        `(heads, rows, tokens)`.
        """
        present = inputs["present"]
        asked = {name: values for name, values in inputs.items() if name in MODEL_INPUTS}
        if self.model.config._attn_implementation == "eager" and "attention_mask" in asked:
            # The eager kernel adds its mask to the attention scores.
            visible, dtype = asked["attention_mask"], self.model.dtype
            asked["attention_mask"] = torch.zeros_like(visible, dtype=dtype).masked_fill(
                ~visible, torch.finfo(dtype).min
            )
        ends = asked["score_positions"].shape[1]
        if every_token:
            asked["score_positions"] = torch.cat([asked["score_positions"], inputs["token_positions"]], 1)
        logits = model(**asked).logits
        said = logits.movedim(-1, 0) if logits.dim() == 3 else logits[None]
        scores, at_tokens = said.tensor_split([ends], dim=2)
        if scores.shape[1:] != present.shape:
            target = torch.zeros(len(scores), *present.shape, dtype=present.dtype, device=present.device)
            scores = target.masked_scatter(present.bool().expand_as(target), scores)
        return scores, at_tokens

    def prediction_step(
        self, model: torch.nn.Module, inputs: dict[str, torch.Tensor], *args: Any, **kwargs: Any
    ) -> tuple[None, torch.Tensor, torch.Tensor]:
        """Return what each head says of validation triples, and presence; the loss is worked out over all of them at
        the end.
        """
        inputs = self._prepare_inputs(inputs)
        with torch.no_grad(), self.compute_loss_context_manager():
            scores = self._scores(model, inputs)
        return None, scores, inputs["present"]

    def _figures(self, prediction: EvalPrediction) -> dict[str, Any]:
        scores, present = prediction.predictions.mean(-1), prediction.label_ids
        loss = reward_loss(torch.tensor(scores), torch.tensor(present), self.args.classification_weight)
        return {"loss": loss.item(), **reward_figures(scores, present)}

    def predict_scores(self, triples: Sequence[EncodedTriple]) -> tuple[np.ndarray, np.ndarray]:
        """Scores and presence of triples, `(triples, 4)` each, in their order; of an ensemble its mean."""
        said, present = self.predict_heads(triples)
        return said.mean(-1), present

    def predict_heads(self, triples: Sequence[EncodedTriple]) -> tuple[np.ndarray, np.ndarray]:
        """What each head says of triples, `(triples, 4, heads)`, and their presence `(triples, 4)`."""
        if not triples:
            return np.empty((0, 4, self.args.ensemble)), np.empty((0, 4))
        output = self.predict(triples)
        return output.predictions, output.label_ids

    def _count(self, scores: torch.Tensor, present: torch.Tensor) -> None:
        right, wrong, taught, _ = scores.unbind(-1)
        has_right, has_wrong, has_taught, _ = present.unbind(-1)
        self._seen["pos_neg"] += ((right > wrong) * has_right * has_wrong).sum()
        self._seen["pos_pos"] += ((taught > right) * has_right * has_taught).sum()
        self._seen["counts"] += term_counts(present)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the accuracy on the training triples since the last log to the trainer's own figures."""
        if self._seen and "loss" in logs:
            seen = torch.stack([self._seen["pos_pos"], self._seen["pos_neg"], *self._seen["counts"][:2]])
            pos_pos, pos_neg, taught, pairs = self.accelerator.reduce(seen, reduction="sum").tolist()
            logs.update({"pos_neg": pos_neg / max(pairs, 1), "pos_pos": pos_pos / max(taught, 1)})
            self._seen.clear()
        super().log(logs, start_time)


def _learned(inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    """Which responses count in the loss: `present`, or of an ensemble for each head those that it learns from,
    `(heads, triples, 4)`.
    """
    present, learned = inputs["present"], inputs.get("learned")
    return present if learned is None else present * learned[:, :, None]


def _of_rows(inputs: dict[str, torch.Tensor]) -> torch.Tensor | float:
    """Which rows of a batch each head learns from, `(heads, rows, 1)`: those of its triples, or of their responses."""
    present, learned = inputs["present"], inputs.get("learned")
    if learned is None:
        return 1.0
    if len(inputs["input_ids"]) != len(present):
        learned = learned.repeat_interleave(present.sum(1).long(), dim=1)
    return learned[:, :, None]


def _check(
    model: PreTrainedModel,
    args: RewardConfig,
    train_dataset: Sequence[EncodedTriple],
    eval_dataset: Sequence[EncodedTriple],
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    if tokenizer.pad_token_id in (None, tokenizer.eos_token_id) or tokenizer.pad_token_id != model.config.pad_token_id:
        raise HFDistillError(
            f"the reward model needs one pad token in tokenizer ({tokenizer.pad_token_id}) and model "
            f"({model.config.pad_token_id}) that is not the end-of-sequence token ({tokenizer.eos_token_id})"
        )
    if not train_dataset:
        raise HFDistillError(
            "there are no triples to learn from: no training question has both a right and a wrong student response. "
            "Raise reward.samples or reward.temperature, or check what labels them"
        )
    if not eval_dataset and args.eval_strategy != "no":
        raise HFDistillError(
            "no validation question gives a triple: label more validation questions, raise reward.samples, or train "
            "without validation (--eval_strategy no)"
        )
    longest = max(triple.longest for triple in train_dataset)
    context = model.config.get_text_config().max_position_embeddings
    if longest > context:
        raise HFDistillError(
            f"a prompt with its response has {longest} tokens, the model's context {context}: lower max_new_tokens"
        )
    check_one_gpu(args)
