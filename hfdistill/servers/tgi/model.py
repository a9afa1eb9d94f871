"""The model to serve: from a folder or from a Hub, and what identifies it."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from ...errors import HFDistillError


_WEIGHTS = ("*.safetensors", "*.bin")
_BLOCK = 1 << 20
_WANTED = ["*.json", "*.safetensors", "*.model", "*.jinja", "*.txt"]
# A pass of a model of fewer parameters is too short to be shared among cores.
_SHARED_FROM = 20_000_000


@dataclass(frozen=True)
class ModelFiles:
    """Where a model lies.

    Attributes:
        model_id (`str`): its name, as it was given.
        sha (`str`): the Hub's commit, or a hash of the files in a local folder.
        folder (`Path`): the files.
    """

    model_id: str
    sha: str
    folder: Path


def find_model(model: str, revision: str | None = None) -> ModelFiles:
    """A folder, or else a repository of the Hub that HF_ENDPOINT names.

    Raises:
        [`HFDistillError`]: neither exists, or it holds no model.
    """
    folder = Path(model)
    if folder.is_dir():
        files = ModelFiles(model, _hash(folder), folder)
    else:
        files = _download(model, revision)
    if not (files.folder / "config.json").is_file():
        raise HFDistillError(f"{model} holds no config.json, so it is no model of transformers")
    return files


def _download(model: str, revision: str | None) -> ModelFiles:
    import httpx2
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(model, revision=revision, allow_patterns=_WANTED))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, httpx2.HTTPError) as error:
        reason = str(error).strip().splitlines()[0]
        raise HFDistillError(
            f"no model {model!r}: there is no such folder, and the Hub says: {reason}. "
            "Check name, --revision, HF_ENDPOINT and HF_TOKEN"
        ) from error
    return ModelFiles(model, folder.name, folder)


def _hash(folder: Path) -> str:
    digest = hashlib.sha1(usedforsecurity=False)
    names = [path for pattern in (*_WEIGHTS, "*.json") for path in folder.glob(pattern)]
    for path in sorted(names):
        digest.update(path.name.encode())
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
    return digest.hexdigest()


def load_tokenizer(folder: Path):
    """The tokenizer of a model."""
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(folder)
    except (OSError, ValueError) as error:
        raise HFDistillError(f"{folder} holds no tokenizer that transformers can read: {error}") from error


def load_model(folder: str, dtype: str, device: str):
    """Returns: The model in eval mode, its tokenizer, and the ids of the tokens that end a response."""
    import torch
    from transformers import AutoModelForCausalLM

    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    tokenizer = load_tokenizer(Path(folder))
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).to(device).eval()
    if device == "cpu" and sum(parameter.numel() for parameter in model.parameters()) < _SHARED_FROM:
        torch.set_num_threads(1)
    configured = model.generation_config.eos_token_id
    ending = {tokenizer.eos_token_id, *(configured if isinstance(configured, list) else [configured])}
    return model, tokenizer, sorted(token for token in ending if token is not None)
