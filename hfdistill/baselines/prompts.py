"""What TRL's trainers are given to answer: the same prompts as PPO, which they put into ids themselves."""

from collections.abc import Sequence
from typing import Any

from datasets import Dataset

from ..encoding import Encoder
from ..errors import HFDistillError
from ..ppo.prompts import usable_prompts


def prompt_dataset(rows: Sequence[dict[str, Any]], encoder: Encoder, max_length: int) -> Dataset:
    """Prompts with the columns that rewards read, without those that leave no room for a response.

    Args:
        rows (`Sequence[dict]`): with `prompt`, `prompt_ids` and further columns, see
            [`~hfdistill.ppo.questions.training_rows`].
        max_length (`int`): most tokens of a prompt.

    Raises:
        [`~hfdistill.errors.HFDistillError`]: if TRL would read a prompt as other ids than the rest of the run does.
    """
    kept = [row for row, _ in usable_prompts(rows, encoder, max_length, "the baseline's prompts")]
    for row, ids in zip(kept, _ids_by_trl([row["prompt"] for row in kept], encoder), strict=True):
        if list(ids) != list(row["prompt_ids"]):
            raise HFDistillError(
                f"TRL reads the prompt of question {row['question_id']!r} as other ids than hfdistill: TRL puts a "
                "special token that is written in a question into a prompt, adds what the tokenizer adds behind a "
                "text, and knows no student.prefill; compare with PPO without what is the cause, or leave such "
                "questions out"
            )
    return Dataset.from_list([{name: row[name] for name in row if name != "prompt_ids"} for row in kept])


def _ids_by_trl(prompts: list[Any], encoder: Encoder) -> list[list[int]]:
    """As `_tokenize_prompts` of TRL's trainers has it."""
    tokenizer = encoder.tokenizer
    if isinstance(prompts[0], str):
        return tokenizer(text=prompts)["input_ids"]
    options = {"add_generation_prompt": True, "tokenize": True, "return_dict": True}
    return tokenizer.apply_chat_template(conversation=prompts, **options, **encoder.chat.template_kwargs)["input_ids"]
