"""Options of PPO."""

from dataclasses import dataclass, field
from typing import ClassVar

from transformers import TrainingArguments

from ..errors import HFDistillError
from ..fields import NO_EFFECT, Effect, check_choices, check_positive, decides, section
from ..training.arguments import EFFECTS
from ..training.best_checkpoint import ACCURACY
from ..training.loading import load_whole


# What matters where episodes are not drawn from the very distribution that is trained.
OF_OTHER_SAMPLERS = decides(
    when=lambda asked: (
        asked["use_vllm"] or asked["use_transformers_continuous_batching"] or asked["top_k"] or asked["top_p"] < 1
    )
)
# The training's length in other units than episodes.
OF_THE_LENGTH = Effect(when=lambda asked: not asked["total_episodes"])


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
