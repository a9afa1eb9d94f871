"""How large a teacher's weights are, and which files they are in, before anything is downloaded."""

from pathlib import Path

from ..artifacts.errors import hub_errors
from ..errors import HFDistillError


def files_of(model: str, revision: str | None = None) -> dict[str, int]:
    """Names and bytes of a model's files, in a folder or on the Hub."""
    folder = Path(model)
    if folder.is_dir():
        return {str(path.relative_to(folder)): path.stat().st_size for path in folder.rglob("*") if path.is_file()}
    from huggingface_hub import HfApi

    with hub_errors("model", model):
        found = HfApi().model_info(model, revision=revision, files_metadata=True)
    return {file.rfilename: file.size or 0 for file in found.siblings}


def weight_bytes(files: dict[str, int]) -> int:
    """Bytes of the weights among a model's files: one format's, as repositories often hold several."""
    for ending in (".safetensors", ".bin", ".gguf"):
        # `original/` is where some keep the same weights as they came.
        sizes = [size for name, size in files.items() if name.endswith(ending) and "/" not in name]
        if sizes:
            return sum(sizes)
    raise HFDistillError("the model has no weights in .safetensors, .bin or .gguf: is it the right repository?")


def only_gguf(model: str, revision: str | None = None) -> str:
    """The GGUF file of a model.

    Raises:
        [`~hfdistill.errors.HFDistillError`]: if there is none, or more than one to choose from.
    """
    found = sorted(name for name in files_of(model, revision) if name.endswith(".gguf"))
    if len(found) == 1:
        return found[0]
    if not found:
        raise HFDistillError(f"llama.cpp serves GGUF files, and {model} has none: name a repository that has, or vllm")
    raise HFDistillError(f"{model} has several GGUF files: choose one by --gguf: {', '.join(found)}")
