"""Settings of the reward stage."""

from dataclasses import dataclass, field

from transformers import TrainingArguments

from ..errors import HFDistillError
from ..fields import NO_EFFECT, PARENT, check_choices, check_positive, decides, section
from ..labels.judges import judge_identity
from ..training.arguments import EFFECTS_OF_BATCHES, validates
from ..training.best_checkpoint import POS_NEG
from ..training.global_batch import divide_global_batch
from ..training.loading import load_whole, settle_bf16
from .pairs import PAIRS
from .triples import SOURCES


# What decides the student's responses and the triples, and the reward model through their data.
OF_TRIPLES = decides("triples")
OF_THE_JUDGE = decides("triples", value=lambda asked: judge_identity(asked["judge"]), if_changed=True)


@section(inherited=EFFECTS_OF_BATCHES)
@dataclass
class RewardConfig(TrainingArguments):
    r"""Section `reward`: the student's samples, the triples, and the training of the reward model.

    Every field of [`~transformers.TrainingArguments`] is one too; those listed last have other defaults here, the
    paper's (Appendix B.2).

    Args:
        labels (`str`, *optional*): the teacher's labelled responses; `{run}-labels` by default.
        warmup (`str`, *optional*): the model that is sampled and that the reward model starts from; `{run}-warmup` by
            default. The base student here gives the paper's row "Ours w/o D".
        base (`str`, *optional*): the model that the reward model starts from instead: the teacher, or any larger one
            of the student's vocabulary. PPO's value model starts from the reward model, and is then as large.
        few_shot (`bool`, *optional*, defaults to `False`): sample the student behind the task's worked examples, and
            end responses at its stop strings: for a base student, which was not warmed up to bare prompts. The reward
            model reads responses behind the bare prompt all the same.
        judge (`dict`, *optional*): in an open-ended task, who labels the student's responses: a labeler and its
            options, as `{endpoint: http://host:port, model: NAME, verdicts: 3}`; by default section `label`'s, or the
            one that the labels were made by.
        samples (`int`, *optional*, defaults to 30): student responses a question.
        temperature (`float`, *optional*, defaults to 0.7): of the student's responses.
        max_new_tokens (`int`, *optional*): longest student response; the task's figure by default.
        generation_batch_size (`int`, *optional*, defaults to 256): responses generated at once.
        chunk_questions (`int`, *optional*, defaults to 128): questions sampled between two writes to the journal. A
            killed process loses one chunk.
        max_triples (`int`, *optional*, defaults to 4): most triples a question.
        source (`str`, *optional*, defaults to `"both"`): whose responses to learn from: `"both"`, `"student"` or
            `"teacher"`.
        teacher_per_pair (`float`, *optional*, defaults to 1.0): the teacher's right responses for each pair of a right
            and a wrong student response.
        pairs (`str`, *optional*, defaults to `"uniform"`): which of the student's wrong responses stands beside a
            right one: any, or with `"near"` the one that differs in the fewest tokens.
        balance (`bool`, *optional*, defaults to `False`): pair responses of as many lines alone, so that the number of
            steps tells nothing.
        deduplicate (`bool`, *optional*, defaults to `True`): draw identical texts of a question once.
        classification_weight (`float`, *optional*, defaults to 0.5): lambda of Eq. 6.
        every_token (`float`, *optional*, defaults to 0.0): weight of the same loss (Eq. 4) at every token of a
            response, as a token-level verifier has it (https://arxiv.org/abs/2110.14168).
        ensemble (`int`, *optional*, defaults to 1): heads on the one backbone. Each learns from questions of its own
            drawing, the score is their mean, and how far they are apart is what `pessimism` of a reward takes off.
        calibrate (`bool`, *optional*, defaults to `True`): divide scores by the temperature at which sigmoid(score) is
            the best probability of a right answer on validation triples. Without validation scores stay as they are.
        share_prefix (`bool`, *optional*, defaults to `True`): compute a prompt once for its triple. Without effect
            where the attention is neither `"sdpa"` nor `"eager"`, where a Llama on a CPU reads at most 512 tokens, in
            a pass without padding, and where a sequence is longer than a sliding window of the model.
        early_stopping_patience (`int`, *optional*, defaults to 2): evaluations without a better Pos/Neg accuracy after
            which the training stops; 0 never stops it.
        global_batch_size (`int`, *optional*): triples an update, over all processes. `per_device_train_batch_size` is
            then the most that a process computes at once, accumulation follows, and an epoch's last update is filled
            up with its first triples. Without it an update takes that many of each process, times
            `gradient_accumulation_steps`.
        learning_rate (`float`, *optional*, defaults to 5e-5), num_train_epochs (`float`, *optional*, defaults to 4),
            per_device_train_batch_size (`int`, *optional*, defaults to 48): as in `TrainingArguments`; a batch counts
            triples.
        per_device_eval_batch_size (`int`, *optional*, defaults to 64): validation triples a process scores at once.
        eval_strategy (`str`, *optional*, defaults to `"epoch"`): when to validate. With `"no"` the last checkpoint is
            published.
        bf16 (`bool`, *optional*): on where the processor is fast at it, by default.
    """

    labels: str | None = field(default=None, metadata=PARENT)
    warmup: str | None = field(default=None, metadata=PARENT)
    base: str | None = field(default=None, metadata=PARENT)
    few_shot: bool = field(default=False, metadata=decides("triples", if_changed=True))
    judge: dict | str | None = field(default=None, metadata=OF_THE_JUDGE)
    samples: int = field(default=30, metadata=OF_TRIPLES)
    temperature: float = field(default=0.7, metadata=OF_TRIPLES)
    max_new_tokens: int | None = field(default=None, metadata=OF_TRIPLES)
    generation_batch_size: int = field(default=256, metadata=NO_EFFECT)
    chunk_questions: int = field(default=128, metadata=NO_EFFECT)
    max_triples: int = field(default=4, metadata=OF_TRIPLES)
    source: str = field(default="both", metadata=OF_TRIPLES)
    teacher_per_pair: float = field(default=1.0, metadata=OF_TRIPLES)
    pairs: str = field(default="uniform", metadata=decides("triples", if_changed=True))
    balance: bool = field(default=False, metadata=decides("triples", if_changed=True))
    deduplicate: bool = field(default=True, metadata=OF_TRIPLES)
    classification_weight: float = 0.5
    every_token: float = field(default=0.0, metadata=decides(if_changed=True))
    ensemble: int = field(default=1, metadata=decides(if_changed=True))
    calibrate: bool = field(default=True, metadata=decides(if_changed=True, when=validates))
    share_prefix: bool = field(default=True, metadata=NO_EFFECT)
    early_stopping_patience: int = field(default=2, metadata=decides(when=validates))
    global_batch_size: int | None = field(default=None, metadata=decides(if_changed=True))

    learning_rate: float = 5e-5
    num_train_epochs: float = 4.0
    per_device_train_batch_size: int = 48
    per_device_eval_batch_size: int = 64
    logging_steps: float = 10
    eval_strategy: str = "epoch"
    save_strategy: str = "epoch"
    save_total_limit: int | None = 2
    load_best_model_at_end: bool = True
    metric_for_best_model: str | None = POS_NEG
    greater_is_better: bool | None = True
    bf16: bool | None = field(default=None, metadata=decides(also=("triples",)))
    ddp_find_unused_parameters: bool | None = False
    remove_unused_columns: bool = field(default=False, metadata=NO_EFFECT)

    def __post_init__(self):
        if self.eval_strategy == "no":  # nothing chooses a checkpoint, and the last one is published
            self.load_best_model_at_end = False
        settle_bf16(self)
        super().__post_init__()
        load_whole()
        divide_global_batch("reward", self)
        check_choices("reward.", self, source=SOURCES, pairs=PAIRS)
        check_positive(
            "reward.", self, "samples", "generation_batch_size", "chunk_questions", "max_triples", "ensemble"
        )
        self.calibrates = self.calibrate and self.eval_strategy != "no"
        if self.every_token < 0:
            raise HFDistillError(f"reward.every_token is {self.every_token}: it must be 0 or more")
        if self.source != "both" and self.teacher_per_pair != 1.0:
            raise HFDistillError("reward.teacher_per_pair needs reward.source: both")
        if self.source == "teacher" and (self.balance or self.pairs != "uniform"):
            raise HFDistillError(
                "reward.pairs and reward.balance match the student's responses, and reward.source is teacher: leave "
                "them out"
            )
        if self.temperature <= 0:
            raise HFDistillError(
                f"reward.temperature is {self.temperature}: at 0 all samples of a question are one; give 0.7"
            )
