"""Options of the stage that refines the student by PPO."""

from dataclasses import dataclass, field

from ..errors import HFDistillError
from ..fields import NO_EFFECT, PARENT, check_choices, check_positive, decides, section
from ..reward.rewards import asks_vote, check_rewards, resolved_entry
from ..tasks.base import Task, no_final_answers
from ..training.arguments import EFFECTS, validates
from ..training.best_checkpoint import ACCURACY, AGREEMENT, REWARD_SCORE
from ..training.loading import settle_bf16
from .config import PPOConfig


# What chooses the checkpoint beside labels, and by which figure.
YARDSTICKS = {"reward": REWARD_SCORE, "agreement": AGREEMENT}
OF_YARDSTICKS = decides(when=lambda asked: asked["yardstick"] != "labels" or asked["all_yardsticks"])
OF_MOVING_LABELS = decides(when=lambda asked: asked["moving_labels"] != "none")
REWARDS = decides(value=lambda asked: [resolved_entry(entry) for entry in asked["rewards"]])


@section(inherited=EFFECTS)
@dataclass
class DistillPPOConfig(PPOConfig):
    """Section `ppo`: the student refined by PPO against the distilled reward (Sec. 3.4).

    Every field of [`~hfdistill.ppo.PPOConfig`] is one too; those listed last have other defaults here, the paper's
    (Appendix B.2).

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
            on. In an open-ended task it is `"reward"`.
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

    def settle_task(self, task: Task) -> None:
        """Choose the checkpoint of an open-ended task by the reward model, and refuse what needs labels to compare
        answers with.

        Raises:
            [`~hfdistill.errors.HFDistillError`]: for a setting that has no meaning in an open-ended task.
        """
        if not task.open_ended:
            return
        needs_labels = {
            "rewards: vote": asks_vote(self.rewards),
            f"moving_labels: {self.moving_labels}": self.moving_labels != "none",
            "yardstick: agreement": self.yardstick == "agreement" or self.all_yardsticks,
            "validation_labels: gold": self.validation_labels == "gold",
            f"validation_gold: {self.validation_gold}": self.validation_gold > 0,
        }
        for setting in (setting for setting, given in needs_labels.items() if given):
            way_out = "leave it out; the reward model's score is the reward, and chooses the checkpoint"
            raise no_final_answers(f"ppo.{setting}", task, way_out)
        if self.yardstick == "labels" and self.eval_strategy != "no":
            self.yardstick = "reward"
            if self.metric_for_best_model in (None, ACCURACY):
                self.metric_for_best_model = REWARD_SCORE

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
