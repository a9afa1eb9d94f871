"""Which checkpoint a training goes on from, and what is saved of a trained model."""

import json
from pathlib import Path

from transformers import PreTrainedModel, PreTrainedTokenizerBase, Trainer


def last_checkpoint(output_dir: str | Path) -> str | None:
    """The newest whole checkpoint in a folder, or `None`.

    `trainer_state.json` is the last file that a checkpoint gets, so a folder without a readable one was cut off while
    it was written, and is passed over.
    """
    folders = [path for path in Path(output_dir).glob("checkpoint-*") if path.name.split("-")[-1].isdigit()]
    for folder in sorted(folders, key=lambda path: int(path.name.split("-")[-1]), reverse=True):
        try:
            json.loads((folder / "trainer_state.json").read_text(encoding="utf-8"))
        except (FileNotFoundError, json.JSONDecodeError):
            continue
        return str(folder)
    return None


def save_model(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: str | Path) -> None:
    """Save what others load: safetensors, config and tokenizer, and nothing pickled."""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def save_trained(trainer: Trainer, folder: str | Path) -> None:
    """Save a trainer's model like [`save_model`], also where its weights are spread over the processes.

    Every process calls it.
    """
    trainer.save_model(str(folder))
    if trainer.args.should_save:
        # Pickled, and of use to nobody but the trainer.
        (Path(folder) / "training_args.bin").unlink()
