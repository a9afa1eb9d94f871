"""Options of PPO, and of the stage that runs it."""

from dataclasses import dataclass, field
from typing import ClassVar

from transformers import TrainingArguments

from ..errors import HFDistillError
from ..fields import NO_EFFECT, PARENT, Effect, check_choices, check_positive, decides, section
from ..reward.rewards import check_rewards, resolved_entry
from ..training.arguments import EFFECTS, validates
from ..training.best_checkpoint import ACCURACY, AGREEMENT, REWARD_SCORE
from ..training.loading import load_whole, settle_bf16


# What matters where episodes are not drawn from the very distribution that is trained.
OF_OTHER_SAMPLERS = decides(
    when=lambda asked: (
        asked["use_vllm"] or asked["use_transformers_continuous_batching"] or asked["top_k"] or asked["top_p"] < 1
    )
)
# The training's length in other units than episodes.
OF_THE_LENGTH = Effect(when=lambda asked: not asked["total_episodes"])
# What chooses the checkpoint beside labels, and by which figure.
YARDSTICKS = {"reward": REWARD_SCORE, "agreement": AGREEMENT}
OF_YARDSTICKS = decides(when=lambda asked: asked["yardstick"] != "labels" or asked["all_yardsticks"])
OF_MOVING_LABELS = decides(when=lambda asked: asked["moving_labels"] != "none")
REWARDS = decides(value=lambda asked: [resolved_entry(entry) for entry in asked["rewards"]])


@section(inherited={**EFFECTS, "num_train_epochs": OF_THE_LENGTH, "max_steps": OF_THE_LENGTH})
@dataclass
class PPOConfig(TrainingArguments):
    """Options of [`~hfdistill.ppo.PPOTrainer`], beside those of `transformers.TrainingArguments`.

    One update samples `rollout_batch_size` episodes and trains on them for `num_ppo_epochs` passes of
    `num_mini_batches` optimizer steps each. A step of the Trainer (`logging_steps`, `eval_steps`, `save_steps`,
    `max_steps`) is an optimizer step. A mini-batch is cut into forward passes of at most
    `per_device_train_batch_size` episodes and `micro_batch_tokens` tokens; neither those nor the number of processes
    change the update, so `gradient_accumulation_steps` stays 1.

    Args:
        chat_template_kwargs (`dict`, *optional*): what the chat template is given beside messages, for example
            `{"enable_thinking": False}`.
        model_init_kwargs (`dict`, *optional*): how `from_pretrained` loads a policy that is given by its name; in
            float32, unless `dtype` is among them.
        rollout_batch_size (`int`, *optional*, defaults to 64): episodes an update, over all processes.
        num_generations (`int`, *optional*, defaults to 1): responses to each prompt of an update, which rewards may
            compare; `rollout_batch_size` is a multiple of it.
        total_episodes (`int`, *optional*): episodes in all, rounded up to whole updates; without it
            `num_train_epochs` passes over the dataset, or `max_steps` optimizer steps.
        num_ppo_epochs (`int`, *optional*, defaults to 4): passes over the episodes of an update.
        num_mini_batches (`int`, *optional*, defaults to 1): optimizer steps a pass.
        micro_batch_tokens (`int`, *optional*): most tokens of a forward pass, padding included.
        generation_batch_size (`int`, *optional*, defaults to 256): most rows a process generates at once.
        max_completion_length (`int`, *optional*, defaults to 512): most new tokens, end token included.
        max_prompt_length (`int`, *optional*): longer prompts are left out, and counted; by default those that leave
            no room for `max_completion_length` tokens in the model's context.
        temperature (`float`, *optional*, defaults to 1.0): of sampling; divides the logits in training, too.
        top_p (`float`, *optional*, defaults to 1.0), top_k (`int`, *optional*, defaults to 0): sample from the most
            likely tokens that together reach this probability, and from so many of them (0: all). What is trained is
            the policy over all tokens; each token weighs by its probability there over that at sampling, as with
            vLLM. The KL is then estimated from likely tokens alone, and may be negative.
        stop_strings (`list[str]`, *optional*): each ends a response, and is no part of its text.
        use_transformers_continuous_batching (`bool`, *optional*, defaults to `False`): sample by transformers'
            `generate_batch` instead of our own loop.
        transformers_continuous_batching_config (`dict`, *optional*): options of its `ContinuousBatchingConfig`.
        use_vllm (`bool`, *optional*, defaults to `False`): sample by vLLM (`pip install 'hfdistill[vllm]'`).
        vllm_mode (`str`, *optional*, defaults to `"colocate"`): `"colocate"` runs vLLM in the training processes,
            `"server"` asks a server, which TRL's documentation of vLLM tells how to start.
        vllm_server_base_url (`str`, *optional*): address of that server.
        vllm_server_timeout (`float`, *optional*, defaults to 240.0): seconds to wait for it to be up.
        vllm_group_port (`int`, *optional*, defaults to 51216): port that weights are sent to it by.
        vllm_gpu_memory_utilization (`float`, *optional*, defaults to 0.3): share of a GPU's memory for a colocated
            vLLM.
        vllm_max_model_length (`int`, *optional*): its context; the model's by default.
        vllm_tensor_parallel_size (`int`, *optional*, defaults to 1): GPUs that share a colocated model.
        vllm_enable_sleep_mode (`bool`, *optional*, defaults to `False`): free a colocated vLLM's memory in training.
        vllm_importance_sampling_correction (`bool`, *optional*, defaults to `True`): weigh the policy loss of a token
            by its probability in training over that at sampling, where vLLM or continuous batching sampled, or from
            the most likely tokens alone.
        vllm_importance_sampling_clip_max (`float`, *optional*, defaults to 3.0): the largest such weight.
        missing_eos_penalty (`float`, *optional*): subtracted from the score of an episode cut off by its length.
        reward_weights (`list[float]`, *optional*): weight of each reward function; 1 by default.
        kl_in (`str`, *optional*, defaults to `"reward"`): `"reward"` subtracts the KL to the reference from each
            token's reward; `"loss"` adds the KL to the policy before the update to the loss (Eq. 8).
        kl_coef (`float`, *optional*, defaults to 0.2): weight of that KL.
        kl_estimator (`str`, *optional*, defaults to `"k1"`): `"k1"` (unbiased) or `"k3"` (also never negative).
        kl_target (`float`, *optional*): KL an episode that `kl_coef` is adapted to reach; fixed without it.
        kl_horizon (`int`, *optional*, defaults to 10000): episodes that an adaptation takes; see
            [`~hfdistill.ppo.advantages.AdaptiveKL`].
        offload_ref_model (`bool`, *optional*, defaults to `False`): keep the reference in the CPU's memory; it comes
            to the accelerator only while a rollout is scored.
        gamma (`float`, *optional*, defaults to 1.0): discount.
        lam (`float`, *optional*, defaults to 0.95): lambda of generalised advantage estimation.
        whiten_rewards (`bool`, *optional*, defaults to `False`): scale token rewards to unit variance.
        cliprange (`float`, *optional*, defaults to 0.2): epsilon of the policy's clipping.
        cliprange_value (`float`, *optional*, defaults to 0.2): how far a value moves from its old one an update.
        vf_coef (`float`, *optional*, defaults to 0.1): weight of the value loss.
        value_backbone (`str`, *optional*, defaults to `"separate"`): `"separate"` is a value model of its own;
            `"shared"` is a value head on the policy's backbone: less memory and time, another method.
        value_head_init (`str`, *optional*, defaults to `"copy"`): `"copy"` keeps the head of the given value or
            reward model, `"zero"` clears it.
        value_learning_rate (`float`, *optional*): learning rate of the value model, or of the value head;
            `learning_rate` by default.
        value_warmup_updates (`int`, *optional*, defaults to 0): first updates that train the value alone.
        early_stopping_patience (`int`, *optional*): evaluations without a better `metric_for_best_model` before
            training ends.
        log_completions (`bool`, *optional*, defaults to `False`): with each log, print a table of the last episodes
            and their rewards, and write it into the folder `completions` of `output_dir`.
        num_completions_to_print (`int`, *optional*): how many of them are printed, drawn at random; all by default.
        num_processes (`int`, *optional*): how many processes must take part. A launch configuration that means two
            and starts one is refused.
    """

    _VALID_DICT_FIELDS: ClassVar[list[str]] = [
        *TrainingArguments._VALID_DICT_FIELDS,
        "chat_template_kwargs",
        "model_init_kwargs",
        "transformers_continuous_batching_config",
    ]

    learning_rate: float = 1e-5
    adam_epsilon: float = 1e-5
    logging_steps: float = 10
    metric_for_best_model: str | None = None
    use_cache: bool = True
    ddp_find_unused_parameters: bool | None = False

    chat_template_kwargs: dict | str | None = field(default=None, metadata=NO_EFFECT)
    model_init_kwargs: dict | str | None = field(default=None, metadata=NO_EFFECT)
    rollout_batch_size: int = 64
    num_generations: int = field(default=1, metadata=decides(if_changed=True))
    total_episodes: int | None = None
    num_ppo_epochs: int = 4
    num_mini_batches: int = 1
    micro_batch_tokens: int | None = field(default=None, metadata=NO_EFFECT)
    generation_batch_size: int = field(default=256, metadata=NO_EFFECT)
    max_completion_length: int = 512
    max_prompt_length: int | None = None
    temperature: float = 1.0
    top_p: float = field(default=1.0, metadata=decides(if_changed=True))
    top_k: int = field(default=0, metadata=decides(if_changed=True))
    stop_strings: list[str] | None = None
    use_transformers_continuous_batching: bool = False
    transformers_continuous_batching_config: dict | str | None = field(
        default=None, metadata=decides(when=lambda asked: asked["use_transformers_continuous_batching"])
    )
    use_vllm: bool = False
    vllm_mode: str = field(default="colocate", metadata=NO_EFFECT)
    vllm_server_base_url: str | None = field(default=None, metadata=NO_EFFECT)
    vllm_server_timeout: float = field(default=240.0, metadata=NO_EFFECT)
    vllm_group_port: int = field(default=51216, metadata=NO_EFFECT)
    vllm_gpu_memory_utilization: float = field(default=0.3, metadata=NO_EFFECT)
    vllm_max_model_length: int | None = field(default=None, metadata=NO_EFFECT)
    vllm_tensor_parallel_size: int = field(default=1, metadata=NO_EFFECT)
    vllm_enable_sleep_mode: bool = field(default=False, metadata=NO_EFFECT)
    vllm_importance_sampling_correction: bool = field(default=True, metadata=OF_OTHER_SAMPLERS)
    vllm_importance_sampling_clip_max: float = field(default=3.0, metadata=OF_OTHER_SAMPLERS)
    missing_eos_penalty: float | None = None
    reward_weights: list[float] | None = None
    kl_in: str = "reward"
    kl_coef: float = 0.2
    kl_estimator: str = "k1"
    kl_target: float | None = None
    kl_horizon: int = field(default=10000, metadata=decides(when=lambda asked: asked["kl_target"]))
    offload_ref_model: bool = field(default=False, metadata=NO_EFFECT)
    gamma: float = 1.0
    lam: float = 0.95
    whiten_rewards: bool = False
    cliprange: float = 0.2
    cliprange_value: float = 0.2
    vf_coef: float = 0.1
    value_backbone: str = "separate"
    value_head_init: str = "copy"
    value_learning_rate: float | None = None
    value_warmup_updates: int = 0
    early_stopping_patience: int | None = None
    log_completions: bool = field(default=False, metadata=NO_EFFECT)
    num_completions_to_print: int | None = field(default=None, metadata=NO_EFFECT)
    num_processes: int | None = field(default=None, metadata=NO_EFFECT)

    def __post_init__(self):
        if self.early_stopping_patience and self.eval_strategy == "no":
            raise HFDistillError(
                f"early_stopping_patience is {self.early_stopping_patience}, but nothing is evaluated: leave it "
                "out, or set eval_strategy to 'steps'"
            )
        if self.metric_for_best_model is None and (self.load_best_model_at_end or self.early_stopping_patience):
            self.metric_for_best_model = ACCURACY
        super().__post_init__()
        load_whole()
        check_choices(
            "",
            self,
            kl_in=("reward", "loss"),
            kl_estimator=("k1", "k3"),
            value_backbone=("separate", "shared"),
            value_head_init=("copy", "zero"),
            vllm_mode=("colocate", "server"),
        )
        check_positive("", self, "rollout_batch_size", "num_generations", "num_ppo_epochs", "num_mini_batches")
        check_positive("", self, "max_completion_length")
        if self.rollout_batch_size % self.num_generations:
            raise HFDistillError(
                f"rollout_batch_size is {self.rollout_batch_size}, no multiple of num_generations, "
                f"{self.num_generations}: an update has as many episodes as prompts times responses to each"
            )
        if self.temperature <= 0:
            raise HFDistillError(f"temperature is {self.temperature}: PPO learns from samples, it must be above 0")
        if not 0 < self.top_p <= 1:
            raise HFDistillError(
                f"top_p is {self.top_p}: it must be above 0 and at most 1, which samples from all tokens"
            )
        if self.top_k < 0:
            raise HFDistillError(f"top_k is {self.top_k}: it must be positive, or 0, which samples from all tokens")
        if self.num_mini_batches > self.rollout_batch_size:
            raise HFDistillError(
                f"num_mini_batches is {self.num_mini_batches}, more than the {self.rollout_batch_size} episodes of an "
                "update: raise rollout_batch_size"
            )
        if self.gradient_accumulation_steps != 1:
            raise HFDistillError(
                f"gradient_accumulation_steps is {self.gradient_accumulation_steps}: leave it 1 and set "
                "rollout_batch_size; mini-batches accumulate over passes of per_device_train_batch_size by themselves"
            )
        if self.use_vllm and self.use_transformers_continuous_batching:
            raise HFDistillError("use_vllm and use_transformers_continuous_batching are both set: keep one")
        if self.use_vllm and self.vllm_mode == "server" and self.vllm_server_base_url is None:
            raise HFDistillError("vllm_mode is 'server': set vllm_server_base_url, for example http://my-vllm:8000")
        if self.kl_target is not None and self.kl_in == "loss":
            raise HFDistillError("kl_target adapts the KL in the reward: leave it out, or set kl_in to 'reward'")

    @property
    def prompts_per_update(self) -> int:
        """Prompts that an update draws."""
        return self.rollout_batch_size // self.num_generations

    @property
    def filters(self) -> bool:
        """Whether unlikely tokens are never sampled."""
        return self.top_k > 0 or self.top_p < 1

    @property
    def steps_per_update(self) -> int:
        """Optimizer steps that train on the episodes of one update."""
        return self.num_ppo_epochs * self.num_mini_batches


@section(inherited=EFFECTS)
@dataclass
class DistillPPOConfig(PPOConfig):
    """Section `ppo`: the student refined by PPO against the distilled reward (Sec. 3.4).

    Every field of [`PPOConfig`] is one too; those listed last have other defaults here, the paper's (Appendix B.2).

    Args:
        labels (`str`, *optional*): the teacher's labelled responses, for D_fail and validation; `{run}-labels` by
            default.
        warmup (`str`, *optional*): the model to train; `{run}-warmup` by default. The base student here, with
            `learning_rate: 5e-5` and `kl_coef: 0.1`, gives the paper's row "Ours w/o D".
        triples (`str`, *optional*): the student's labelled responses, for D_S; `{run}-triples` by default.
        reward (`str`, *optional*): the reward model, which the value model starts from; `{run}-reward` by default.
        few_shot (`bool`, *optional*, defaults to `False`): put the task's worked examples in front of each question,
            and end responses at its stop strings: for a base student, which was not warmed up to bare prompts. The
            reward model reads them behind the bare prompt. `evaluate.few_shot` is then to name the policy's row, too.
        rewards (`list[str]`, *optional*, defaults to `["distilled"]`): what is maximised, added up: each a name
            (`distilled` is Eq. 7; `hfdistill tasks` lists them), `module:function` of a function in TRL's protocol, or
            a mapping with options and a weight (`{name: distilled, variant: minus}`, `{name: brief, weight: 0.1}`).
        validation_labels (`str`, *optional*, defaults to `"pseudo"`): `"pseudo"` or `"gold"`.
        validation_gold (`int`, *optional*, defaults to 0): for so many validation questions without a label, drawn at
            random, the gold answer is bought and stands in for it.
        validation_questions (`int`, *optional*): only the first so many validation questions.
        yardstick (`str`, *optional*, defaults to `"labels"`): what chooses the checkpoint: `"labels"`, greedy
            accuracy on validation questions with a label; or on all, by sampled answers, `"reward"`, the mean sigmoid
            of the reward model's score (0 without an answer), or `"agreement"`, the share of answers that most agree
            on.
        yardstick_samples (`int`, *optional*, defaults to 8): answers to each question, at temperature 0.7.
        all_yardsticks (`bool`, *optional*, defaults to `False`): log the other ones, too, to tell which chooses best.
        moving_labels (`str`, *optional*, defaults to `"none"`): which training questions the student's own vote gives
            a label while it trains: `"none"`, `"fail"`, those without a label, or `"all"`, which also moves labels of
            the teacher. Labels move no more when the student falls away from labels that it is watched on.
        label_every (`int`, *optional*, defaults to 10): updates between two votes; the first is held after so many.
        label_samples (`int`, *optional*, defaults to 8): answers to each question for a vote, at temperature 0.7.
        label_threshold (`float`, *optional*, defaults to 0.5): share of the vote that a label must exceed.
        label_weighting (`str`, *optional*, defaults to `"reward"`): `"reward"` weighs an answer by the sigmoid of the
            reward model's score, `"none"` all alike.
        gold_budget (`int`, *optional*, defaults to 0): for so many training questions without a label, the least sure
            ones of the first vote, the gold answer is bought.
        total_episodes (`int`, *optional*, defaults to 200000), rollout_batch_size (`int`, *optional*, defaults to
            40), per_device_train_batch_size (`int`, *optional*, defaults to 20), max_completion_length (`int`,
            *optional*): the task's `max_new_tokens` by default.
        eval_strategy (`str`, *optional*, defaults to `"steps"`): when to validate. With `"no"` the last policy is
            published.
        bf16 (`bool`, *optional*): on where the processor is fast at it, by default.
    """

    labels: str | None = field(default=None, metadata=PARENT)
    warmup: str | None = field(default=None, metadata=PARENT)
    triples: str | None = field(default=None, metadata=PARENT)
    reward: str | None = field(default=None, metadata=PARENT)
    # The student's section tells how models are loaded, and `rewards` their weights.
    chat_template_kwargs: dict | str | None = field(default=None, init=False, metadata=NO_EFFECT)
    model_init_kwargs: dict | str | None = field(default=None, init=False, metadata=NO_EFFECT)
    reward_weights: list[float] | None = field(default=None, init=False, metadata=NO_EFFECT)
    few_shot: bool = False
    rewards: list[str] = field(default_factory=lambda: ["distilled"], metadata=REWARDS)
    validation_labels: str = "pseudo"
    validation_gold: int = field(default=0, metadata=decides(if_changed=True))
    validation_questions: int | None = None
    yardstick: str = field(default="labels", metadata=decides(if_changed=True))
    yardstick_samples: int = field(default=8, metadata=OF_YARDSTICKS)
    all_yardsticks: bool = field(default=False, metadata=decides(if_changed=True))
    moving_labels: str = field(default="none", metadata=decides(if_changed=True))
    label_every: int = field(default=10, metadata=OF_MOVING_LABELS)
    label_samples: int = field(default=8, metadata=OF_MOVING_LABELS)
    label_threshold: float = field(default=0.5, metadata=OF_MOVING_LABELS)
    label_weighting: str = field(default="reward", metadata=OF_MOVING_LABELS)
    gold_budget: int = field(default=0, metadata=decides(if_changed=True))

    total_episodes: int | None = 200_000
    rollout_batch_size: int = 40
    per_device_train_batch_size: int = field(default=20, metadata=NO_EFFECT)
    max_completion_length: int | None = None
    eval_strategy: str = "steps"
    eval_steps: float | None = 0.05
    eval_on_start: bool = True
    save_steps: float = 0.05
    save_total_limit: int | None = 2
    load_best_model_at_end: bool = True
    early_stopping_patience: int | None = field(default=5, metadata=decides(when=validates))
    bf16: bool | None = None

    def __post_init__(self):
        if self.eval_strategy == "no":  # nothing chooses a checkpoint, and the last policy is published
            self.load_best_model_at_end = self.eval_on_start = False
            self.early_stopping_patience = None
        check_choices(
            "ppo.",
            self,
            validation_labels=("pseudo", "gold"),
            yardstick=("labels", *YARDSTICKS),
            moving_labels=("none", "fail", "all"),
            label_weighting=("reward", "none"),
        )
        check_positive("ppo.", self, "yardstick_samples", "label_every", "label_samples")
        self._check_moving_labels()
        self._settle_yardstick()
        settle_bf16(self)
        super().__post_init__()
        for entry in self.rewards:
            if isinstance(entry, str) and "/" in entry and not entry.lstrip().startswith("{"):
                raise HFDistillError(
                    f"ppo.rewards holds {entry!r}, which is no reward: the student's labelled responses are "
                    "ppo.triples now, on the command line --triples"
                )
        self.reward_weights = check_rewards(self.rewards)

    @property
    def yardsticks(self) -> list[str]:
        """Figures of validation that are made of sampled answers."""
        return [name for stick, name in YARDSTICKS.items() if self.all_yardsticks or stick == self.yardstick]

    @property
    def reads_golds(self) -> bool:
        """Whether the gold answers of the labels are asked for."""
        return self.validation_labels == "gold" or self.validation_gold > 0 or self.gold_budget > 0

    def _check_moving_labels(self) -> None:
        if not 0 <= self.label_threshold < 1:
            raise HFDistillError(
                f"ppo.label_threshold is {self.label_threshold}: a label must exceed this share of the vote, at least "
                "0 and below 1"
            )
        if self.gold_budget < 0 or (self.gold_budget and self.moving_labels == "none"):
            raise HFDistillError(
                f"ppo.gold_budget is {self.gold_budget}, with moving_labels {self.moving_labels!r}: it is the number "
                "of gold answers bought for the questions that the student's vote is least sure of; set moving_labels "
                "to 'fail', or leave it out"
            )

    def _settle_yardstick(self) -> None:
        """Let the figure of the yardstick choose, and refuse what contradicts it."""
        if self.validation_gold < 0 or (self.validation_gold and self.validation_labels == "gold"):
            raise HFDistillError(
                f"ppo.validation_gold is {self.validation_gold}, with validation_labels {self.validation_labels!r}: "
                "it is the number of gold answers that are bought where the pseudo-label is missing; leave it out"
            )
        if self.yardsticks and self.eval_strategy == "no":
            raise HFDistillError(
                f"ppo.yardstick is {self.yardstick!r} and all_yardsticks {self.all_yardsticks}, but nothing is "
                "evaluated: leave them out, or set eval_strategy to 'steps'"
            )
        if self.yardstick == "labels":
            return
        if self.metric_for_best_model not in (None, YARDSTICKS[self.yardstick]):
            raise HFDistillError(
                f"ppo.yardstick is {self.yardstick!r}, and metric_for_best_model {self.metric_for_best_model!r} would "
                "choose, too: leave one out"
            )
        self.metric_for_best_model = YARDSTICKS[self.yardstick]
