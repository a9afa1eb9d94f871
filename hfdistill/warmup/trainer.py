"""The warm-up: supervised fine-tuning of the student on the teacher's responses that agree with the vote."""

import torch.nn.functional as F
from datasets import Dataset
from torch.utils.data import Sampler
from transformers import PreTrainedModel, TrainerCallback
from transformers.trainer_utils import EvalLoopOutput
from trl import SFTTrainer

from ..errors import HFDistillError
from ..llama import LOGITS_AT_ONCE
from ..training.adapters import inner_model
from ..training.best_checkpoint import EarlyStopping
from ..training.global_batch import check_one_gpu
from ..training.resuming import ResumableTrainer
from ..training.whole import WholeModel
from ..training.windows import LengthSortedWindows, TellEpoch
from .config import WarmupConfig
from .validation import LikelihoodValidation, Validation


class WarmupTrainer(ResumableTrainer, SFTTrainer):
    """[`~trl.SFTTrainer`] on ready ids, which chooses its checkpoint by a figure of its own.

    Args:
        model (`PreTrainedModel` or `peft.PeftModel`): the base student, with an adapter or without.
        args ([`WarmupConfig`]): settings.
        train_dataset (`Dataset`): from [`encode_examples`].
        validation ([`Validation`] or [`LikelihoodValidation`]): gives `eval_accuracy`, or `eval_likelihood`, and
            other figures.
        callbacks (`list[TrainerCallback]`, *optional*): further callbacks.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        args: WarmupConfig,
        train_dataset: Dataset,
        validation: Validation | LikelihoodValidation,
        callbacks: list[TrainerCallback] | None = None,
    ):
        if not len(train_dataset):
            raise HFDistillError(
                "no teacher response is left to learn from: the teacher's answers agree with no pseudo-label, no "
                "judge calls one good, or all examples are longer than warmup.max_length"
            )
        if not validation.questions and args.eval_strategy != "no":
            raise HFDistillError(
                "no validation question has an answer to compare with: label more validation questions, or train "
                "without validation (--eval_strategy no)"
            )
        check_one_gpu(args)
        self.validation = validation
        encoder = validation.encoder
        prompts = [encoder.question_ids(validation.task, question) for question in validation.questions]
        args.dataset_kwargs = {"skip_prepare_dataset": True}
        callbacks = list(callbacks or [])
        if args.early_stopping_patience and args.load_best_model_at_end:
            callbacks.append(EarlyStopping(args.early_stopping_patience))
        super().__init__(
            model=model,
            args=args,
            train_dataset=train_dataset,
            eval_dataset=Dataset.from_dict({"input_ids": prompts, "labels": prompts}),
            processing_class=encoder.tokenizer,
            callbacks=callbacks,
        )
        self.whole = WholeModel(self.model, self.accelerator)
        if self.whole.copy is not None:
            # TRL wraps `forward` of the model it was given, and a copy's would run that one.
            vars(inner_model(self.whole.copy)).pop("forward", None)
        self.sampler = None
        if args.global_batch_size is not None and args.train_sampling_strategy == "random":
            lengths, update = [len(ids) for ids in train_dataset["input_ids"]], self.get_total_train_batch_size(args)
            self.sampler = LengthSortedWindows(lengths, update, args.seed, whole=True)
            self.add_callback(TellEpoch(self.sampler))

    def _get_train_sampler(self, train_dataset: Dataset | None = None) -> Sampler:
        return self.sampler or super()._get_train_sampler(train_dataset)

    def evaluation_loop(self, dataloader, description, *args, metric_key_prefix: str = "eval", **kwargs):
        """Ask `validation`; the data loader's batches would only give a loss."""
        with self.whole.gathered() as model, self.accelerator.autocast():
            figures = self.validation.figures(model, self.args.process_index, self.args.world_size)
        metrics = {f"{metric_key_prefix}_{name}": value for name, value in figures.items()}
        return EvalLoopOutput(None, None, metrics, len(self.validation.questions))

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        """Mean loss of the response tokens (Eq. 2).

        On a CPU the logits of the positions in front of all responses are not computed; TRL's tiled head, which keeps
        memory low, is slower there and serves where there are many.
        """
        plain = self.args.loss_type == "nll" and self.label_smoother is None and not return_outputs
        if self.args.device.type != "cpu" or not plain or not model.training:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        labels = inputs["labels"][:, 1:]
        scored = labels != -100
        keep = labels.shape[1] - int(scored.any(0).nonzero()[0]) + 1
        if len(labels) * keep * self.model.config.get_text_config().vocab_size > LOGITS_AT_ONCE:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        # Padding stands at the end, where no causal position looks: without a mask attention is faster and the same.
        logits = model(input_ids=inputs["input_ids"], use_cache=False, logits_to_keep=keep).logits[:, :-1]
        targets = labels[:, 1 - keep :]
        loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-100, reduction="sum")
        if num_items_in_batch is None:
            return loss / scored.sum()
        return loss / num_items_in_batch * (self.args.world_size if self.args.average_tokens_across_devices else 1)

    def create_model_card(self, *args, **kwargs) -> None:
        """Write no card: the stage's own goes with what it publishes."""

    def _send_telemetry(self) -> None:
        """Send none."""
