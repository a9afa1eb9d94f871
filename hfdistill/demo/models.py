"""The models that the demo starts from: a teacher and a smaller base student, trained from scratch.

The habit is built in. The corpus has two styles of solution: one operation a step, or hasty, the answer at once. "How
many …" is mostly solved hastily, "Count the …" mostly step by step. Neither model can know the answer at once, and
both could find every one step by step. So the teacher's answers to most "How many …" disagree, and have no label;
imitation hands the habit down, and a reward can undo it.
"""

import itertools
import random
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..encoding import Encoder, right_pad
from ..kinds import Kind
from ..tasks import word_problems as task


if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerFast


# One token a word, a number, a sign, or a whole phrase of the answer format; joined again they give the text exactly.
PIECES = (
    r"\nLet's break this down step by step!|\nStep \d+:|\nThe answer is|\s*Q:"
    r"|[ ]?\d+|[ ]?[A-Za-z']+|[ ]?[^\sA-Za-z\d]|\s"
)
LARGEST_NUMBER = 40

LARGE = Kind("large", "pretrain", "model", "the teacher of the demo, trained from scratch", "")
SMALL = Kind("small", "pretrain", "model", "the base student of the demo, trained from scratch", "")


@dataclass(frozen=True)
class Recipe:
    """How a model of the demo, a small Llama, is made."""

    layers: int
    hidden: int
    solutions: int  # worked solutions in its corpus, each seen once an epoch
    epochs: int = 1  # passes over the corpus
    heads: int = 4
    learning_rate: float = 3e-3  # peak, after a linear warm-up; falls to 0 by a cosine
    batch_size: int = 16
    hasty: tuple[float, float] = (0.85, 0.08)  # probability of the hasty style for "How many …" and "Count the …"
    operations: tuple[int, int] = task.OPERATIONS  # of the problems in its corpus, as the next
    largest_total: int = 12


TEACHER = Recipe(layers=3, hidden=96, solutions=20_000)
STUDENT = Recipe(layers=2, hidden=64, solutions=30_000)
MODELS = {"large": (LARGE, TEACHER), "small": (SMALL, STUDENT)}


def tokenizer() -> "PreTrainedTokenizerFast":
    """Build the word tokenizer of the task: about 100 tokens, pad apart from end-of-sequence."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    pre_tokenizer = pre_tokenizers.Split(Regex(PIECES), behavior="isolated")
    pieces = {f" {number}" for number in range(LARGEST_NUMBER + 1)} | {f"\nStep {step}:" for step in range(1, 7)}
    for problem in itertools.islice(task.problems(0, "corpus"), 2000):
        for hasty in (False, True):
            text = "\n\n" + task.bare_prompt(problem.text) + task.solution(problem.start, problem.changes, hasty)
            pieces.update(piece for piece, _ in pre_tokenizer.pre_tokenize_str(text))
    words = ["<pad>", "<s>", "</s>", "<unk>", "Q:", *sorted(pieces - {"Q:"})]
    core = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizer
    core.decoder = decoders.Fuse()
    core.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", words.index("<s>"))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        clean_up_tokenization_spaces=False,
        model_max_length=256,
    )


def train(recipe: Recipe, seed: int, folder: Path, stage: str) -> float:
    """Train a model from scratch and save it with its tokenizer.

    Args:
        recipe ([`Recipe`]): its size and corpus.
        seed (`int`): of weights, corpus and order.
        folder (`Path`): where the model is saved; checkpoints go below it while it trains.
        stage (`str`): name for the progress, `"teacher"` or `"student"`.

    Returns:
        `float`: the last training loss, in nats a token of the solutions.
    """
    from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainingArguments, set_seed

    from ..training.progress import show_progress

    set_seed(seed)
    words = tokenizer()
    encoder = Encoder(words)
    config = LlamaConfig(
        vocab_size=len(words),
        hidden_size=recipe.hidden,
        intermediate_size=3 * recipe.hidden,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        max_position_embeddings=256,
        tie_word_embeddings=True,
        bos_token_id=words.bos_token_id,
        eos_token_id=words.eos_token_id,
        pad_token_id=words.pad_token_id,
    )
    model = LlamaForCausalLM(config)
    arguments = TrainingArguments(
        output_dir=str(folder / "checkpoints"),
        per_device_train_batch_size=recipe.batch_size,
        num_train_epochs=recipe.epochs,
        learning_rate=recipe.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=100,
        weight_decay=0.01,
        adam_beta2=0.98,
        max_grad_norm=1.0,
        seed=seed,
        save_strategy="no",
        logging_steps=50,
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
        remove_unused_columns=False,
    )
    trainer = Trainer(
        model,
        arguments,
        train_dataset=list(corpus(recipe, seed, encoder)),
        data_collator=lambda rows: _collate(rows, encoder.pad_token_id),
    )
    show_progress(trainer, stage)
    loss = trainer.train().training_loss
    model.generation_config.pad_token_id = words.pad_token_id
    model.save_pretrained(folder)
    words.save_pretrained(folder)
    return loss


def corpus(recipe: Recipe, seed: int, encoder: Encoder) -> list[tuple[list[int], int]]:
    """Draw the worked solutions of a corpus.

    Returns:
        `list[tuple[list[int], int]]`: ids of prompt, solution and end of sequence; and how many of them are prompt.
    """
    rng = random.Random(f"corpus {seed}")
    rows = []
    problems = task.problems(seed, "corpus", recipe.operations, recipe.largest_total)
    for problem in itertools.islice(problems, recipe.solutions):
        hasty = rng.random() < recipe.hasty[problem.counted]
        prompt = encoder.prompt_ids(task.bare_prompt(problem.text))
        rows.append((prompt + encoder.response_ids(task.solution(problem.start, problem.changes, hasty)), len(prompt)))
    return rows


def _collate(rows: list[tuple[list[int], int]], pad_token_id: int) -> dict[str, "torch.Tensor"]:
    ids, mask = right_pad([row for row, _ in rows], pad_token_id)
    labels = ids.masked_fill(mask == 0, -100)
    for index, (_, prompt_length) in enumerate(rows):
        labels[index, :prompt_length] = -100
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}
