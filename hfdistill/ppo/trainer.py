"""PPO on `transformers.Trainer`: one Trainer step is one optimizer step, the first of each update samples."""

import math
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from accelerate import DistributedType
from accelerate.utils import gather_object
from torch.utils.data import DataLoader
from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainerCallback
from transformers.trainer_utils import EvalLoopOutput

from ..encoding import Encoder
from ..errors import HFDistillError
from ..training.adapters import merged
from ..training.best_checkpoint import EarlyStopping, enter_untrained
from ..training.resuming import ResumableTrainer
from ..training.whole import WholeModel
from . import saving
from .actor_critic import ActorCritic, Scored
from .advantages import AdaptiveKL
from .batching import in_order
from .config import PPOConfig
from .episodes import Episodes
from .figures import RunningFigures
from .inputs import check_metric, complete_inputs, settle_args
from .losses import update_loss
from .moving_labels import MovingLabels
from .optimizer import forget_warmup, keep_value_gradients, parameter_groups
from .prompts import PromptDataset, usable_prompts
from .rollout import Rollouts
from .samplers import make_sampler
from .scoring import RewardFunction
from .shown import ShownEpisode, log_completions, print_episode
from .validation import PolicyValidation
from .yardsticks import Yardsticks


class PPOTrainer(ResumableTrainer):
    """Train a causal language model by PPO; what it shares with TRL's `GRPOTrainer` has its names and its order.

    Args:
        model (`str`, `PreTrainedModel` or `peft.PeftModel`): the policy, or its path or name on the Hub, which is
            loaded with `args.model_init_kwargs`. It is trained in fp32, whatever its file holds; of a `PeftModel` the
            active adapter is.
        reward_funcs (`Callable`, `PreTrainedModel`, `str`, or a list of these): what is maximised; see
            [`~hfdistill.ppo.scoring.Rewards`]. A function is called as TRL's trainers call it: with `prompts`,
            `completions`, `completion_ids`, `trainer_state`, `log_extra`, `log_metric` and every other column of the
            dataset by name, and returns a number, or `None`, for each.
        args ([`PPOConfig`], *optional*): options; all by default.
        train_dataset (`datasets.Dataset` or `datasets.IterableDataset`): a column `prompt` (text or messages) and what
            the reward functions need; a column `prompt_ids`, if there is one, holds the tokens to ask with instead of
            the tokenizer's. Without a length it is read in its order, again and again, and `args` must say how long to
            train.
        eval_dataset (`datasets.Dataset`, `datasets.IterableDataset` or a dict of these, *optional*): the same, for
            greedy validation.
        processing_class (`PreTrainedTokenizerBase` or [`~hfdistill.encoding.Encoder`], *optional*): tokenizer of the
            policy; the one that lies beside it by default.
        reward_processing_classes (`PreTrainedTokenizerBase`, or a list of these, *optional*): the tokenizers of the
            reward models among `reward_funcs`, `None` for functions; by default those that lie beside the models.
        callbacks (`list[TrainerCallback]`, *optional*): passed on to the Trainer. What they get as `model` is the
            policy.
        peft_config (`peft.PeftConfig`, *optional*): trains an adapter of the policy instead of all of it, and one of
            the value model, where that is a model of its own, and its head.
        value_model (`PreTrainedModel`, *optional*): sequence classification model with one output that the value
            function starts from; by default a copy of the first reward model, else the policy's backbone with a new
            head. Without effect where `value_backbone` is `"shared"`.
        ref_model (`PreTrainedModel`, *optional*): what the KL is measured to; the policy as it starts by default. Of
            a policy with an adapter that is the policy with the adapter off, where `peft_config` begins a new one, or
            with a frozen copy of the adapter.
        eval_func (`Callable`, *optional*): `f(prompts, completions, **columns)` says for each greedy completion
            whether it is right, or `None`; the share is logged as `eval_accuracy`. Without it their mean score,
            `eval_reward`.
        yardsticks ([`~hfdistill.ppo.yardsticks.Yardsticks`], *optional*): further figures of validation, of sampled
            answers.
        moving_labels ([`~hfdistill.ppo.moving_labels.MovingLabels`], *optional*): moves the labels of the dataset's
            questions as it trains.

    Raises:
        [`~hfdistill.errors.HFDistillError`]: if the tokenizer has no token to pad with, vocabularies differ, no prompt
            is usable, nothing of the policy would be trained, its adapter does not fit, or the processes are not as
            many as `num_processes` asks for.
    """

    def __init__(
        self,
        model: PreTrainedModel | str,
        reward_funcs: RewardFunction | PreTrainedModel | str | Sequence[RewardFunction | PreTrainedModel | str],
        args: PPOConfig | None = None,
        train_dataset: Iterable[dict[str, Any]] | None = None,
        eval_dataset: Iterable[dict[str, Any]] | dict[str, Iterable[dict[str, Any]]] | None = None,
        processing_class: PreTrainedTokenizerBase | Encoder | None = None,
        reward_processing_classes: PreTrainedTokenizerBase | Sequence[PreTrainedTokenizerBase | None] | None = None,
        callbacks: list[TrainerCallback] | None = None,
        *,
        peft_config: Any = None,
        value_model: PreTrainedModel | None = None,
        ref_model: PreTrainedModel | None = None,
        eval_func: Callable[..., list[bool | None]] | None = None,
        yardsticks: Yardsticks | None = None,
        moving_labels: MovingLabels | None = None,
    ):
        args = settle_args(args, model)
        check_metric(args, eval_dataset, eval_func, () if yardsticks is None else yardsticks.names)
        inputs = complete_inputs(
            model,
            reward_funcs,
            args,
            train_dataset,
            processing_class,
            reward_processing_classes,
            value_model,
            ref_model,
            peft_config,
        )
        self.encoder, self.max_prompt_length = inputs.encoder, inputs.max_prompt_length
        self.steps_per_update = args.steps_per_update
        if args.total_episodes is not None:
            args.max_steps = math.ceil(args.total_episodes / args.rollout_batch_size) * self.steps_per_update

        actor_critic = ActorCritic(inputs.policy, inputs.value_model, args.temperature)
        super().__init__(
            actor_critic,
            args,
            train_dataset=inputs.prompts.dataset,
            eval_dataset=eval_dataset,
            processing_class=self.encoder.tokenizer,
            callbacks=callbacks,
        )
        if args.num_processes is not None and args.num_processes != self.accelerator.num_processes:
            raise HFDistillError(
                f"num_processes is {args.num_processes}, but {self.accelerator.num_processes} take part: start them "
                f"with `accelerate launch --multi_gpu --num_processes {args.num_processes}` or torchrun"
            )
        if self.is_deepspeed_enabled and args.value_warmup_updates and args.weight_decay:
            raise HFDistillError(
                f"weight_decay is {args.weight_decay}: DeepSpeed would apply it to the policy in the "
                "value_warmup_updates, too; set one of them to 0"
            )
        if args.early_stopping_patience is not None:
            self.add_callback(EarlyStopping(args.early_stopping_patience))
        reference = inputs.reference
        reward_models = [reward.model for reward in inputs.rewards.models]
        for reward in inputs.rewards.models:
            reward.bf16 = args.bf16
        for frozen in [*reward_models, *([] if reference is None else [reference])]:
            offloaded = frozen is reference and args.offload_ref_model
            frozen.requires_grad_(False).eval().to("cpu" if offloaded else self.accelerator.device)
        self.kl = AdaptiveKL(args.kl_coef, args.kl_target, args.kl_horizon)
        self.figures = RunningFigures()
        self.episodes: Episodes | None = None
        self.shown: list[ShownEpisode] = []
        self._logged_update: int | None = None
        self.skipped_steps = 0
        self._eval_prompts: list[PromptDataset] = []
        self.whole = WholeModel(inputs.policy, self.accelerator)
        self.rollouts = Rollouts(
            actor_critic,
            make_sampler(self.whole, self.encoder, args, self.accelerator),
            reference,
            inputs.rewards,
            inputs.prompts,
            self.encoder,
            args,
            self.accelerator,
            moving_labels,
        )
        self.validation = PolicyValidation(self.rollouts, eval_func, yardsticks)

    # ---- Training ----

    def get_train_dataloader(self) -> DataLoader:
        """One item an optimizer step of a pass over the dataset, or of the whole training where the dataset has no
        length; what a step trains on follows from its number.
        """
        prompts, steps = self.rollouts.prompts, self.args.max_steps
        if isinstance(prompts, PromptDataset):
            steps = math.ceil(len(prompts) / self.args.prompts_per_update) * self.steps_per_update
        return DataLoader([{}] * steps, batch_size=1, collate_fn=lambda rows: rows[0])

    def get_total_train_batch_size(self, args: PPOConfig) -> int:
        """Episodes a step, for the Trainer's figures of speed."""
        return max(1, args.rollout_batch_size // self.steps_per_update)

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """One group a learning rate (policy, value) and weight decay."""
        if self.optimizer is None:
            model = self.model if model is None else model
            optimizer_class, kwargs = self.get_optimizer_cls_and_kwargs(self.args, model)
            groups = parameter_groups(model, self.get_decay_parameter_names(model), self.args)
            self.optimizer = optimizer_class(groups, **kwargs)
        return self.optimizer

    def _prepare_for_training(self, *args: Any) -> tuple[torch.nn.Module, DataLoader]:
        """As the Trainer has it; callbacks then get the policy, a language model that they can read and copy."""
        # Those of a training before this one are nobody's.
        self.episodes, self._logged_update = None, None
        if self.rollouts.moving_labels is not None:
            self.rollouts.moving_labels.reset(self.rollouts.prompts)
        prepared = super()._prepare_for_training(*args)
        self.callback_handler.model = self.model.policy
        return prepared

    def training_step(self, model: torch.nn.Module, inputs: Any, num_items_in_batch: Any = None) -> torch.Tensor:
        """One optimizer step's backward passes; before the first step of an update, its rollout."""
        update, step = divmod(self.state.global_step, self.steps_per_update)
        first_pass = None
        if self.episodes is None or self.episodes.update != update:
            first_pass = self._roll_out(update)
        if step == 0 and update == self.args.value_warmup_updates > 0 and self.is_deepspeed_enabled:
            forget_warmup(self.optimizer.optimizer.optimizer)
        started = time.perf_counter()
        epoch, number = divmod(step, self.args.num_mini_batches)
        batch = self.rollouts.plan(self.episodes, epoch)[number]
        lengths = self.episodes.response_lengths
        tokens = sum(lengths[episode] for episode in batch.episodes)
        mine = batch.passes[self.accelerator.process_index]
        warming = update < self.args.value_warmup_updates
        loss = torch.zeros((), device=self.accelerator.device)
        for index, rows in enumerate(mine):
            last = index == len(mine) - 1
            self.accelerator.gradient_state._set_sync_gradients(last)
            with nullcontext() if last else self.accelerator.no_sync(model):
                share = self._loss(model, rows, tokens, warming, first_pass)
                # Processes average their gradients, and each holds a part of the mini-batch's mean.
                scaled = share * self.accelerator.num_processes
                deepspeed = self.accelerator.distributed_type == DistributedType.DEEPSPEED
                self.accelerator.backward(scaled, **({"scale_wrt_gas": False} if deepspeed else {}))
            loss = loss + scaled.detach()
        if warming:
            keep_value_gradients(self.model)
        self.figures.end_step(time.perf_counter() - started)
        return loss

    def _roll_out(self, update: int) -> Scored | None:
        """Make the episodes of an update; returns the forward pass that its training goes on from, if any."""
        rollout = self.rollouts.collect(update, self.kl.coefficient, self.state)
        self.episodes, self.shown = rollout.episodes, rollout.shown
        figures = {**rollout.figures, "objective/kl_coef": self.kl.coefficient}
        if "objective/kl" in figures:
            self.kl.update(figures["objective/kl"], len(self.episodes))
        tokens = sum(self.episodes.lengths)
        self.figures.add_rollout(figures, rollout.seconds, tokens, self.args.rollout_batch_size)
        return rollout.first_pass

    def _loss(
        self, model: torch.nn.Module, rows: list[int], tokens: int, warming: bool, scored: Scored | None = None
    ) -> torch.Tensor:
        """Part of a mini-batch's loss that these episodes make: sums over their tokens, divided by all its tokens."""
        # A process without episodes left takes part with a weight of zero.
        distributed, read = self.accelerator.num_processes > 1, rows or [0]
        if scored is None:
            passage = self.rollouts.passage(self.episodes, read)
            scored = model(passage, with_policy=not warming or distributed, only_value_head=warming)
        targets = self.episodes.targets(read, scored.values.shape[1], scored.values.device)
        weight = targets.mask * (1.0 / tokens if rows else 0.0)
        log_probs = None if warming else scored.log_probs
        loss, figures = update_loss(log_probs, scored.values, targets, weight, self.args)
        if warming and distributed:
            loss = loss + 0.0 * scored.log_probs.sum()
        self.figures.add_pass(figures)
        return loss

    def _get_grad_norm(self, model: torch.nn.Module, grad_norm: Any = None) -> Any:
        """The norm as the Trainer has it. Where it is not finite, the step is skipped: no gradient, no move."""
        norm = super()._get_grad_norm(model, grad_norm)
        if norm is not None and not math.isfinite(norm):
            self.skipped_steps += 1
            model.zero_grad()
            if self.is_deepspeed_enabled:
                # It skips by itself, and the Trainer then holds the schedule back, as nowhere else.
                self.lr_scheduler.step()
        return norm

    # ---- Validation ----

    def get_eval_dataloader(self, eval_dataset: Any = None) -> DataLoader:
        """The prompts of a dataset, encoded once."""
        if eval_dataset is None or isinstance(eval_dataset, str):
            eval_dataset = self.eval_dataset if eval_dataset is None else self.eval_dataset[eval_dataset]
        known = [prompts for prompts in self._eval_prompts if prompts.dataset is eval_dataset]
        if not known:
            usable = usable_prompts(eval_dataset, self.encoder, self.max_prompt_length, "eval_dataset")
            known = [PromptDataset(eval_dataset, usable)]
            self._eval_prompts += known
        return DataLoader(known[0], batch_size=None)

    def evaluation_loop(
        self, dataloader: DataLoader, description: str, *args: Any, metric_key_prefix: str = "eval", **kwargs: Any
    ) -> EvalLoopOutput:
        """What [`~hfdistill.ppo.validation.PolicyValidation`] says of the policy as it is."""
        dataset: PromptDataset = dataloader.dataset
        figures = self.validation.figures(dataset, self.state)
        metrics = {f"{metric_key_prefix}_{name}": value for name, value in figures.items()}
        if self.shown and self.is_world_process_zero():
            print_episode(self.state.global_step, self.shown[0])
        return EvalLoopOutput(predictions=None, label_ids=None, metrics=metrics, num_samples=len(dataset))

    def _evaluate(self, trial: Any, ignore_keys_for_eval: Any, skip_scheduler: bool = False) -> dict[str, float]:
        """The evaluation at the start (`eval_on_start`) takes part in the choice of the best checkpoint."""
        at_start = skip_scheduler
        metrics = super()._evaluate(trial, ignore_keys_for_eval, skip_scheduler)
        if at_start and metrics and self.args.load_best_model_at_end:
            enter_untrained(self, metrics, trial)
        return metrics

    # ---- Logs ----

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the figures of PPO to the log of training, by the names of TRL's classic trainer."""
        if "loss" in logs:
            logs = {**logs, **self.figures.flush(self.accelerator)}
            logs["episode"] = math.ceil(self.state.global_step / self.steps_per_update) * self.args.rollout_batch_size
            logs["lr"] = logs["learning_rate"]
            logs["policy/skipped_steps"] = self.skipped_steps
            logs |= self._logged_by_rewards()
            if self.args.log_completions:
                self._log_completions()
        super().log(logs, start_time)

    def _logged_by_rewards(self) -> dict[str, float]:
        """Means of what reward functions logged, on whichever process they did."""
        logged = self.rollouts.rewards.logged
        everyone = gather_object([dict(logged)])
        logged.clear()
        values = {
            name: [value for mine in everyone for value in mine.get(name, ())] for one in everyone for name in one
        }
        return {name: sum(found) / len(found) for name, found in values.items()}

    def _log_completions(self) -> None:
        """Show the episodes of the last rollout, once."""
        if self.episodes is None or self.episodes.update == self._logged_update:
            return
        self._logged_update = self.episodes.update
        episodes = in_order(self.shown)
        if episodes and self.is_world_process_zero():
            log_completions(self.state.global_step, episodes, self.args.output_dir, self.args.num_completions_to_print)

    # ---- Checkpoints ----

    def whole_policy(self) -> PreTrainedModel:
        """The policy as a plain model, with its adapter merged into a copy of it; to be called by every process."""
        return merged(self.whole.gather())

    def _save(self, output_dir: str | None = None, state_dict: dict[str, torch.Tensor] | None = None) -> None:
        if self.args.should_save:
            folder = output_dir or self.args.output_dir
            saving.save_models(self.model, folder, state_dict)
            self.processing_class.save_pretrained(folder)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        super()._save_optimizer_and_scheduler(output_dir)
        self._forget_first_save()
        if self.args.should_save:
            # Within an update, the rest of its steps needs its episodes.
            within = self.state.global_step % self.steps_per_update
            state = {
                "episodes": vars(self.episodes) if within else None,
                "kl_coef": self.kl.coefficient,
                "skipped_steps": self.skipped_steps,
            }
            if self.rollouts.moving_labels is not None:
                state["moving_labels"] = self.rollouts.moving_labels.state()
            torch.save(state, Path(output_dir) / saving.STATE)

    def _forget_first_save(self) -> None:
        """Before there is a step, torch makes one of zeros to have moments of a sharded optimizer to save: undo it."""
        if self.is_fsdp_enabled and self.state.global_step == 0:
            self.optimizer.state.clear()

    def _load_optimizer_and_scheduler(self, checkpoint_folder: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint_folder)
        if checkpoint_folder is not None:
            self._forget_first_save()
            state = torch.load(Path(checkpoint_folder) / saving.STATE, map_location="cpu", weights_only=True)
            self.episodes = None if state["episodes"] is None else Episodes(**state["episodes"])
            self.kl.coefficient = state["kl_coef"]
            self.skipped_steps = state["skipped_steps"]
            if self.rollouts.moving_labels is not None:
                self.rollouts.moving_labels.restore(state["moving_labels"], self.rollouts.prompts)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: torch.nn.Module | None = None) -> None:
        if self.is_fsdp_enabled:
            super()._load_from_checkpoint(resume_from_checkpoint, model)
        else:
            saving.load_models(self.model, resume_from_checkpoint)

    def _load_best_model(self) -> None:
        if self.is_deepspeed_enabled or self.is_fsdp_enabled:
            super()._load_best_model()
        else:
            saving.load_models(self.model, self.state.best_model_checkpoint)
