"""What is saved of a trained model, and which checkpoint a training goes on from."""

import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from zipfile import BadZipFile, ZipFile

from accelerate import PartialState
from safetensors import SafetensorError, safe_open
from transformers import PreTrainedModel, PreTrainedTokenizerBase, Trainer
from transformers.trainer import TRAINER_STATE_NAME
from transformers.utils import logging

from ..errors import NO_ROOM, HFDistillError
from .adapters import merged


logger = logging.get_logger(__name__)

# What begins the names of an optimizer's files: the Trainer's and FSDP's, and DeepSpeed's folder.
OPTIMIZER = ("optimizer", "global_step")
# torch tells a full disk by where its writer stood, safetensors by the system's words.
FULL_DISK = re.compile(r"inline_container|PytorchStreamWriter|No space left|File too large|quota exceeded")


def last_checkpoint(output_dir: str | Path) -> str | None:
    """The newest checkpoint in a folder that a training can go on from, or `None`; what is passed over is said."""
    folders = checkpoints(output_dir)
    for folder in reversed(folders):
        fault = why_not_resumed(folder)
        if fault is None:
            return str(folder)
        say(f"{folder} is passed over: {fault}")
    if folders:
        say(f"no checkpoint in {output_dir} can be gone on from: the training begins anew")
    return None


def checkpoints(output_dir: str | Path) -> list[Path]:
    """The checkpoints in a folder, whole or not, in their order."""
    folders = [path for path in Path(output_dir).glob("checkpoint-*") if path.name.split("-")[-1].isdigit()]
    return sorted(folders, key=lambda path: int(path.name.split("-")[-1]))


def remove_checkpoints(output_dir: str | Path, keep: bool = False) -> None:
    """Remove a training's checkpoints, of which none is needed once its model is published, and say how much disk
    that gave back; with `keep` they stay.
    """
    folders = [] if keep else checkpoints(output_dir)
    if not folders:
        return
    size = sum((folder / name).stat().st_size for folder in folders for name in file_names(folder))
    try:
        for folder in folders:
            shutil.rmtree(folder)
        if not any(Path(output_dir).iterdir()):
            Path(output_dir).rmdir()
    except OSError as error:
        say(f"checkpoints in {output_dir} cannot be removed: {error}")
        return
    print(f"{size / 1e6:,.0f} MB of checkpoints in {output_dir} are removed (run.keep_checkpoints keeps them)")


def why_not_resumed(checkpoint: Path) -> str | None:
    """What keeps a training from going on from a checkpoint, or `None`."""
    fault = damage(checkpoint)
    if fault is None and not any(name.startswith(OPTIMIZER) for name in file_names(checkpoint)):
        fault = "it holds no optimizer, as save_only_model leaves it"
    return fault


def damage(checkpoint: Path) -> str | None:
    """Which file of a checkpoint is missing or cut off, or `None`. Headers and sizes are read, not the weights.

    `trainer_state.json` is the last file that a checkpoint gets, and names the others (see [`read_note`]).
    """
    if not checkpoint.is_dir():
        return "it is not there"
    present = file_names(checkpoint)
    if TRAINER_STATE_NAME not in present:
        return f"{TRAINER_STATE_NAME}, which is written last, is missing"
    for name in sorted(present):
        if not _is_whole(checkpoint / name):
            return f"{name} is damaged"
    missing = sorted({*read_note(checkpoint).get("files", ())} - present)
    return f"{missing[0]} is missing" if missing else None


def _is_whole(path: Path) -> bool:
    try:
        if path.suffix == ".json":
            json.loads(path.read_bytes())
        elif path.suffix == ".safetensors":
            safe_open(path, "pt")
        elif path.suffix in (".pt", ".pth", ".bin"):
            ZipFile(path).close()
    except (ValueError, SafetensorError, BadZipFile):
        return False
    return True


def read_note(checkpoint: Path) -> dict:
    """What [`~hfdistill.training.resuming.Note`] left in a checkpoint; nothing in those of other trainers."""
    state = json.loads((checkpoint / TRAINER_STATE_NAME).read_bytes())
    return state.get("stateful_callbacks", {}).get("Note", {}).get("attributes", {})


def file_names(folder: Path) -> set[str]:
    """The files in a folder and below, relative to it."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def say(text: str) -> None:
    """Warn once, not on every process."""
    if PartialState().is_main_process:
        logger.warning(text)


@contextmanager
def writing(folder: str | Path) -> Iterator[None]:
    """Tell in one sentence that the disk is full."""
    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:
        full = error.errno in NO_ROOM if isinstance(error, OSError) else FULL_DISK.search(str(error))
        if not full:
            raise
        place = next(path for path in (Path(folder), *Path(folder).absolute().parents) if path.exists())
        free = shutil.disk_usage(place).free / 2**20
        raise HFDistillError(
            f"{folder} cannot be written, {free:.0f} MiB are free there: make room and start the same command again; "
            "what was saved before is whole"
        ) from error


def save_model(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: str | Path) -> None:
    """Save what others load: safetensors, config and tokenizer, and nothing pickled."""
    with writing(folder):
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)


def save_trained(trainer: Trainer, folder: str | Path) -> None:
    """Save a trainer's model like [`save_model`], its adapter merged, also where its weights are spread over the
    processes.

    Every process calls it.
    """
    if not isinstance(trainer.whole.model, PreTrainedModel):
        model = merged(trainer.whole.gather())
        if trainer.args.should_save:
            save_model(model, trainer.processing_class, folder)
        return
    with writing(folder):
        trainer.save_model(str(folder))
    if trainer.args.should_save:
        # Pickled, and of use to nobody but the trainer.
        (Path(folder) / "training_args.bin").unlink()
