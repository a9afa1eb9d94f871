"""Settings of the methods that people would use instead."""

from dataclasses import dataclass, field, fields

from transformers import TrainingArguments

from ..errors import HFDistillError, unknown
from ..fields import NO_EFFECT, PARENT, check_choices, check_positive, decides, section
from ..reward.rewards import check_rewards, resolved_entry
from ..training.arguments import EFFECTS, validates
from ..training.best_checkpoint import ACCURACY
from ..training.loading import load_whole, settle_bf16
from .methods import METHODS


def of(*names: str, **how):
    """A field that these methods alone read."""
    return decides(when=lambda asked: asked["method"] in names, **how)


IN_GROUPS = tuple(name for name, method in METHODS.items() if method.in_groups)
REWARDED = tuple(name for name, method in METHODS.items() if method.rewarded)


@section(inherited=EFFECTS)
@dataclass
class BaselineConfig(TrainingArguments):
    """Section `baseline`: another method than PPO, by TRL's own trainer, on the same artifacts and for as many
    episodes.

    Every field of `transformers.TrainingArguments` that says nothing of the training's length is one too; those listed
    last have other defaults here. What an update takes is said as in the section `ppo`: `rollout_batch_size` episodes,
    in `num_mini_batches` optimizer steps a pass.

    Args:
        method (`str`, *optional*, defaults to `"grpo"`): `"grpo"` and `"rloo"` learn from groups of responses to a
            prompt and the run's rewards. `"sft_equal_compute"` goes on with the warm-up's imitation for as many tokens
            as the episodes would have. `"distillation"` draws the student to the probabilities of the teacher's
            weights, `teacher.model`, on the student's own responses, where both have one vocabulary. `"ttrl"` is
            `grpo` on the test questions, rewarded for agreement with the group's majority: nobody's label is read.
        labels (`str`, *optional*): the teacher's labelled responses; `{run}-labels` by default.
        warmup (`str`, *optional*): the model to train; `{run}-warmup` by default.
        triples (`str`, *optional*): the student's labelled responses, for D_S; `{run}-triples` by default.
        reward (`str`, *optional*): the reward model, where one of `rewards` asks it; `{run}-reward` by default.
        rewards (`list[str]`, *optional*, defaults to `["distilled"]`): as `ppo.rewards`; of `grpo` and `rloo`.
        total_episodes (`int`, *optional*, defaults to 200000): responses sampled in all, rounded up to whole rollouts.
            For `sft_equal_compute` the examples trained on have as many tokens as so many of the student's responses
            with their prompts, by the mean of those in the triples, times `num_iterations`.
        rollout_batch_size (`int`, *optional*, defaults to 40): responses sampled at once, over all processes.
        num_mini_batches (`int`, *optional*, defaults to 1): optimizer steps a pass over them. An optimizer step of
            `distillation` samples its own share anew, and one of `sft_equal_compute` takes as many examples.
        num_iterations (`int`, *optional*, defaults to 1): passes over them; one in `distillation`.
        num_generations (`int`, *optional*, defaults to 8): responses to a prompt of `grpo`, `rloo` and `ttrl`.
        beta (`float`, *optional*): of `grpo`, `rloo` and `ttrl`, weight of the KL to the warm-up; TRL's default
            without it.
        temperature (`float`, *optional*, defaults to 1.0): of sampling.
        max_completion_length (`int`, *optional*): most new tokens of a response; the task's `max_new_tokens` by
            default.
        trl (`dict`, *optional*): further fields of TRL's configuration of the method, `GRPOConfig`, `RLOOConfig` or
            `DistillationConfig`: `{loss_type: grpo, scale_rewards: batch}`.
        validation_labels (`str`, *optional*, defaults to `"pseudo"`): `"pseudo"` or `"gold"`.
        validation_questions (`int`, *optional*): only the first so many validation questions.
        early_stopping_patience (`int`, *optional*, defaults to 5): evaluations without a better accuracy before the
            training ends.
        learning_rate (`float`, *optional*, defaults to 1e-5): as in PPO, not TRL's.
        per_device_train_batch_size (`int`, *optional*, defaults to 20): most episodes of a forward pass.
        per_device_eval_batch_size (`int`, *optional*, defaults to 256): validation answers generated at once.
        eval_strategy (`str`, *optional*, defaults to `"steps"`): when to validate, at whole rollouts. With `"no"` the
            last checkpoint is published, and by `ttrl` always: it may know no label that would choose.
        bf16 (`bool`, *optional*): on where the processor is fast at it, by default.
    """

    labels: str | None = field(default=None, metadata=PARENT)
    warmup: str | None = field(default=None, metadata=PARENT)
    triples: str | None = field(default=None, metadata=PARENT)
    reward: str | None = field(default=None, metadata=PARENT)
    # The length follows from the episodes, and accumulation from the batch.
    max_steps: int = field(default=-1, init=False, metadata=NO_EFFECT)
    num_train_epochs: float = field(default=3.0, init=False, metadata=NO_EFFECT)
    gradient_accumulation_steps: int = field(default=1, init=False, metadata=NO_EFFECT)
    # Rewards read the columns, and TRL's trainers count the tokens.
    remove_unused_columns: bool = field(default=False, init=False, metadata=NO_EFFECT)
    include_num_input_tokens_seen: str = field(default="no", init=False, metadata=NO_EFFECT)

    method: str = "grpo"
    rewards: list[str] = field(
        default_factory=lambda: ["distilled"],
        metadata=of(*REWARDED, value=lambda asked: [resolved_entry(entry) for entry in asked["rewards"]]),
    )
    total_episodes: int = 200_000
    rollout_batch_size: int = 40
    num_mini_batches: int = 1
    num_iterations: int = field(default=1, metadata=of(*IN_GROUPS, "sft_equal_compute"))
    num_generations: int = field(default=8, metadata=of(*IN_GROUPS))
    beta: float | None = field(default=None, metadata=of(*IN_GROUPS))
    temperature: float = field(default=1.0, metadata=of(*IN_GROUPS, "distillation"))
    max_completion_length: int | None = None
    trl: dict | str | None = None
    validation_labels: str = "pseudo"
    validation_questions: int | None = None

    learning_rate: float = 1e-5
    logging_steps: float = 10
    per_device_train_batch_size: int = field(default=20, metadata=NO_EFFECT)
    per_device_eval_batch_size: int = 256
    eval_strategy: str = "steps"
    eval_steps: float | None = 0.05
    eval_on_start: bool = True
    save_steps: float = 0.05
    save_total_limit: int | None = 2
    load_best_model_at_end: bool = True
    metric_for_best_model: str | None = ACCURACY
    greater_is_better: bool | None = True
    early_stopping_patience: int | None = field(default=5, metadata=decides(when=validates))
    ddp_find_unused_parameters: bool | None = False
    bf16: bool | None = None

    def __post_init__(self):
        check_choices("baseline.", self, method=tuple(METHODS), validation_labels=("pseudo", "gold"))
        if self.eval_strategy == "no":  # nothing chooses a checkpoint, and the last one is published
            self.load_best_model_at_end = self.eval_on_start = False
        if self.eval_strategy == "no" or not METHODS[self.method].labelled:
            self.load_best_model_at_end, self.early_stopping_patience = False, None
        settle_bf16(self)
        super().__post_init__()
        load_whole()
        positive = "total_episodes rollout_batch_size num_mini_batches num_iterations num_generations temperature"
        check_positive("baseline.", self, *positive.split(), "max_completion_length", "validation_questions")
        check_rewards(self.rewards)
        self.trl = self._checked_options()
        self._check_batches()

    def _checked_options(self) -> dict:
        """The fields of `trl`, of which none may be one that this section has itself."""
        if isinstance(self.trl, str):
            import yaml

            self.trl = yaml.safe_load(self.trl)
        if not isinstance(self.trl, dict | None):
            raise HFDistillError(f"baseline.trl is {self.trl!r}: it must hold keys and values, as {{loss_type: grpo}}")
        if self.trl:
            theirs = {each.name for each in fields(METHODS[self.method].trl_class()) if each.init}
            known = theirs - {each.name for each in fields(self)}
            for name in self.trl:
                if name not in known:
                    raise unknown(f"field in baseline.trl for {self.method}:", name, known)
        return self.trl or {}

    def _check_batches(self) -> None:
        groups = self.num_generations if METHODS[self.method].in_groups else 1
        for what, parts in (
            ("num_mini_batches", self.num_mini_batches),
            ("num_generations", groups),
            ("processes", self.world_size),
            ("processes times num_generations", self.world_size * groups),
            ("processes times num_mini_batches", self.world_size * self.num_mini_batches),
        ):
            if self.rollout_batch_size % parts:
                raise HFDistillError(
                    f"baseline.rollout_batch_size is {self.rollout_batch_size}, which {parts} ({what}) does not "
                    f"divide: set it to {max(self.rollout_batch_size // parts, 1) * parts}"
                )

    @property
    def steps_per_rollout(self) -> int:
        """Optimizer steps that train on what was sampled at once."""
        return self.num_mini_batches * self.num_iterations if METHODS[self.method].in_groups else self.num_mini_batches
