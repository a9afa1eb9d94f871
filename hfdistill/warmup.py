"""The warm-up: supervised fine-tuning of the student on the teacher's responses that agree with the vote."""

import random
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from datasets import Dataset
from transformers import PreTrainedModel, TrainerCallback
from transformers.trainer_utils import EvalLoopOutput
from trl import SFTConfig, SFTTrainer

from .encoding import Encoder
from .errors import HFDistillError
from .evaluation.accuracy import greedy_answers
from .sharding import WholeModel, load_whole
from .tasks.base import Question, Task
from .training import EarlyStopping, gather_shares, my_share


DATA = ("labelled", "all")
VALIDATION_LABELS = ("pseudo", "gold")


@dataclass
class WarmupConfig(SFTConfig):
    r"""Section `warmup`: what the student learns from, and how.

    Every field of [`~trl.SFTConfig`] is one too; those listed last have other defaults here, the paper's
    (Appendix B.2).

    Args:
        teacher (`str`, *optional*): the labelled teacher dataset; `{run}-teacher` by default.
        data (`str`, *optional*, defaults to `"labelled"`): `"labelled"` takes the responses whose answer is the
            pseudo-label, of high and low confidence. `"all"` takes every response: the paper's row "SFT".
        deduplicate (`bool`, *optional*, defaults to `True`): keep identical responses to a question once.
        max_per_question (`int`, *optional*): most responses a question, drawn at random; all by default.
        validation_labels (`str`, *optional*, defaults to `"pseudo"`): what validation answers are compared with.
            `"gold"` reads the task's gold answers for that, and for nothing else.
        max_validation (`int`, *optional*): most validation questions; all by default.
        early_stopping_patience (`int`, *optional*, defaults to 2): validations without a better accuracy after which
            the training stops; 0 never stops it.
        learning_rate (`float`, *optional*, defaults to 5e-6), num_train_epochs (`float`, *optional*, defaults to 4),
            max_length (`int`, *optional*, defaults to 512): as in `SFTConfig`, but a longer example is left out
            instead of cut, since it would end without its answer.
        gradient_checkpointing (`bool`, *optional*): saves memory for about 30 % more computing.
        bf16 (`bool`, *optional*): on where the GPU knows it, by default.
    """

    teacher: str | None = field(default=None, metadata={"help": "Labelled teacher dataset."})
    data: str = field(default="labelled", metadata={"help": "labelled, or all: every response, unfiltered."})
    deduplicate: bool = field(default=True, metadata={"help": "Keep identical responses to a question once."})
    max_per_question: int | None = field(default=None, metadata={"help": "Most responses a question."})
    validation_labels: str = field(default="pseudo", metadata={"help": "pseudo or gold."})
    max_validation: int | None = field(default=None, metadata={"help": "Most validation questions."})
    early_stopping_patience: int = field(default=2, metadata={"help": "Validations without gain before the stop."})

    learning_rate: float = field(default=5e-6, metadata={"help": "Initial learning rate."})
    num_train_epochs: float = field(default=4.0, metadata={"help": "Passes over the examples."})
    max_length: int | None = field(default=512, metadata={"help": "Longest example in tokens."})
    per_device_eval_batch_size: int = field(default=256, metadata={"help": "Validation answers generated at once."})
    eval_strategy: str = field(default="epoch", metadata={"help": "When to validate: no, steps or epoch."})
    save_strategy: str = field(default="epoch", metadata={"help": "When to save a checkpoint."})
    save_total_limit: int | None = field(default=2, metadata={"help": "Checkpoints kept."})
    load_best_model_at_end: bool = field(default=True, metadata={"help": "Publish the best checkpoint."})
    metric_for_best_model: str | None = field(default="accuracy", metadata={"help": "Figure that chooses it."})
    greater_is_better: bool | None = field(default=True, metadata={"help": "Whether a larger figure is better."})
    ddp_find_unused_parameters: bool | None = field(default=False, metadata={"help": "All parameters are used."})
    gradient_checkpointing: bool | None = field(default=None, metadata={"help": "Save memory, compute more."})
    bf16: bool | None = field(default=None, metadata={"help": "bf16; where the GPU knows it, by default."})

    def __post_init__(self):
        if self.bf16 is None:
            self.bf16 = torch.cuda.is_available() and torch.cuda.is_bf16_supported() and not self.use_cpu
        super().__post_init__()
        load_whole()
        for name, known in (("data", DATA), ("validation_labels", VALIDATION_LABELS)):
            value = vars(self)[name]
            if value not in known:
                raise HFDistillError(f"warmup.{name} is {value!r}: it must be {' or '.join(map(repr, known))}")


def select_responses(
    responses: Iterable[Mapping[str, Any]],
    question_ids: Iterable[str],
    *,
    data: str = "labelled",
    deduplicate: bool = True,
    max_per_question: int | None = None,
    seed: int = 0,
) -> list[Mapping[str, Any]]:
    """D_sft: the responses to learn from (Eq. 1).

    Args:
        responses (`Iterable[Mapping]`): rows of the teacher's responses, with `question_id`, `response`, `label`.
        question_ids (`Iterable[str]`): the training questions.
        data (`str`, *optional*, defaults to `"labelled"`): `"labelled"` keeps the responses whose answer is the
            pseudo-label; `"all"` keeps every one, those to questions of D_fail too.
        deduplicate (`bool`, *optional*, defaults to `True`): keep identical texts of a question once.
        max_per_question (`int`, *optional*): draw so many of a question, uniformly without replacement. The draw
            depends on the seed and the question's id alone.
        seed (`int`, *optional*, defaults to 0): of that draw.

    Returns:
        `list[Mapping]`: rows, question by question in the order of `question_ids`.
    """
    kept: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    seen = set()
    for row in responses:
        key = (row["question_id"], row["response"])
        if (data == "labelled" and row["label"] != "correct") or (deduplicate and key in seen):
            continue
        seen.add(key)
        kept[row["question_id"]].append(row)
    selected = []
    for question_id in question_ids:
        rows = kept.get(question_id, [])
        if max_per_question is not None and len(rows) > max_per_question:
            rows = random.Random(f"warm-up {seed} {question_id}").sample(rows, max_per_question)
        selected += rows
    return selected


def encode_examples(
    rows: Iterable[Mapping[str, Any]], prompts: Mapping[str, str], encoder: Encoder, max_length: int | None
) -> tuple[Dataset, int]:
    """Ids and labels of the examples; the prompt's ids are no labels.

    A response that was cut off by length gets no end-of-sequence token: the student would learn to stop there.

    Args:
        rows (`Iterable[Mapping]`): from [`select_responses`].
        prompts (`Mapping[str, str]`): prompt of each question id.
        encoder ([`~hfdistill.encoding.Encoder`]): turns text into ids.
        max_length (`int`, *optional*): longest example; longer ones are left out.

    Returns:
        `tuple[Dataset, int]`: columns `input_ids` and `labels`; how many examples were left out.
    """
    encoded = {question_id: encoder.prompt_ids(prompt) for question_id, prompt in prompts.items()}
    input_ids, labels, too_long = [], [], 0
    for row in rows:
        prompt = encoded[row["question_id"]]
        response = encoder.response_ids(row["response"], row["finish_reason"] != "length")
        if max_length is not None and len(prompt) + len(response) > max_length:
            too_long += 1
            continue
        input_ids.append(prompt + response)
        labels.append([-100] * len(prompt) + response)
    return Dataset.from_dict({"input_ids": input_ids, "labels": labels}), too_long


def references(
    asked: Iterable[Mapping[str, Any]], golds: Iterable[Mapping[str, Any]] | None = None, limit: int | None = None
) -> dict[str, str]:
    """What validation answers are compared with.

    Args:
        asked (`Iterable[Mapping]`): rows of the config `questions`.
        golds (`Iterable[Mapping]`, *optional*): rows of the config `gold`; with them, gold answers stand in for the
            pseudo-labels.
        limit (`int`, *optional*): most questions.

    Returns:
        `dict[str, str]`: canonical answer by question id, for validation questions that have one.
    """
    by_id = None if golds is None else {row["question_id"]: row["gold"] for row in golds}
    answers = {
        row["question_id"]: row["pseudo_label"] if by_id is None else by_id.get(row["question_id"])
        for row in asked
        if row["split"] == "validation"
    }
    return dict([(question_id, answer) for question_id, answer in answers.items() if answer is not None][:limit])


@dataclass(frozen=True)
class Validation:
    """Greedy accuracy on validation questions.

    Attributes:
        task ([`~hfdistill.tasks.base.Task`]), encoder ([`~hfdistill.encoding.Encoder`]): prompts and answers.
        questions (`Sequence[Question]`): what is asked.
        references (`Sequence[str]`): canonical answer to each: pseudo-label or gold.
        batch_size (`int`): answers generated at once.
    """

    task: Task
    encoder: Encoder
    questions: Sequence[Question]
    references: Sequence[str]
    batch_size: int

    def figures(self, model: PreTrainedModel, rank: int = 0, processes: int = 1) -> dict[str, float]:
        """Ask every process its share, and return `accuracy`, `no_answer` (shares) and `tokens` (mean)."""
        pairs = my_share(list(zip(self.questions, self.references, strict=True)), rank, processes)
        answers = greedy_answers(
            model, self.encoder, self.task, [question for question, _ in pairs], batch_size=self.batch_size
        )
        mine = [
            (self.task.correct(answer.answer, reference), answer.answer is None, len(answer.tokens))
            for answer, (_, reference) in zip(answers, pairs, strict=True)
        ]
        correct, no_answer, tokens = zip(*gather_shares(mine, processes), strict=True)
        n = len(self.questions)
        return {"accuracy": sum(correct) / n, "no_answer": sum(no_answer) / n, "tokens": sum(tokens) / n}


class WarmupTrainer(SFTTrainer):
    """[`~trl.SFTTrainer`] on ready ids, which chooses its checkpoint by greedy accuracy.

    Args:
        model (`PreTrainedModel`): the base student.
        args ([`WarmupConfig`]): settings.
        train_dataset (`Dataset`): from [`encode_examples`].
        validation ([`Validation`]): gives `eval_accuracy` and the other figures.
        callbacks (`list[TrainerCallback]`, *optional*): further callbacks.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        args: WarmupConfig,
        train_dataset: Dataset,
        validation: Validation,
        callbacks: list[TrainerCallback] | None = None,
    ):
        if not len(train_dataset):
            raise HFDistillError(
                "no teacher response is left to learn from: the teacher's answers agree with no pseudo-label, or all "
                "examples are longer than warmup.max_length"
            )
        if not validation.questions and args.eval_strategy != "no":
            raise HFDistillError(
                "no validation question has an answer to compare with: label more validation questions, or train "
                "without validation (--eval_strategy no --load_best_model_at_end false)"
            )
        self.validation = validation
        encoder = validation.encoder
        prompts = [encoder.prompt_ids(validation.task.prompt(question, shots=0)) for question in validation.questions]
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

    def evaluation_loop(self, dataloader, description, *args, metric_key_prefix: str = "eval", **kwargs):
        """Answer the validation questions greedily; the data loader's batches would only give a loss."""
        with self.whole.gathered() as model:
            figures = self.validation.figures(model, self.args.process_index, self.args.world_size)
        metrics = {f"{metric_key_prefix}_{name}": value for name, value in figures.items()}
        return EvalLoopOutput(None, None, metrics, len(self.validation.questions))

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        """Mean loss of the response tokens (Eq. 2).

        On a CPU the logits of the positions in front of all responses are not computed; TRL's tiled head, which keeps
        memory low on GPUs, is slower there.
        """
        plain = self.args.loss_type == "nll" and self.label_smoother is None and not return_outputs
        if self.args.device.type != "cpu" or not plain or not model.training:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        labels = inputs["labels"][:, 1:]
        scored = labels != -100
        keep = labels.shape[1] - int(scored.any(0).nonzero()[0]) + 1
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
