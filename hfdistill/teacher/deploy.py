"""The teacher as a Hugging Face Inference Endpoint: made for a run, found by it, paused when its labels are there."""

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..artifacts.errors import hub_errors
from ..config import Config, RunConfig
from ..errors import HFDistillError
from .engines import LLAMACPP, MOST_TOKENS, Serving
from .local import urls_here
from .sizes import only_gguf


if TYPE_CHECKING:
    from huggingface_hub import InferenceEndpoint

LONGEST_NAME = 32
START_SECONDS = 3600  # with the download of a large model
_ALLOWED = frozenset("abcdefghijklmnopqrstuvwxyz0123456789")


@dataclass(frozen=True)
class Hardware:
    """Where the endpoint runs; the values belong together, as `hf endpoints hardware` lists them."""

    vendor: str
    region: str
    instance_type: str
    instance_size: str
    accelerator: str = "gpu"

    @property
    def accelerators(self) -> int:
        """How many there are, which an `instance_size` such as `x4` says."""
        count = self.instance_size.removeprefix("x")
        return int(count) if count.isdecimal() else 1


def endpoint_name(run: RunConfig) -> str:
    """Name of a run's endpoint, in the form that the service allows: the run's, and where that has to be changed or
    cut for it, with a digest, so that no other run's becomes the same.
    """
    plain = "".join(letter if letter in _ALLOWED else "-" for letter in run.name.lower()).strip("-")
    if plain != run.name or len(plain) > LONGEST_NAME - len("-teacher"):
        digest = hashlib.sha256(run.name.encode()).hexdigest()[:6]
        plain = plain[: LONGEST_NAME - len("-123456-teacher")].rstrip("-")
        plain = f"{plain}-{digest}" if plain else f"run-{digest}"
    return f"{plain}-teacher"


def deploy(
    config: Config,
    hardware: Hardware,
    engine: str = "tgi",
    image: str | None = None,
    max_total_tokens: int = MOST_TOKENS,
    pause_when_done: bool = False,
    refresh_every: int = 10,
    *,
    tensor_parallel: int | None = None,
    revision: str | None = None,
    scale_to_zero: int | None = None,
    gguf: str | None = None,
) -> str:
    """Create the endpoint, or wake the one that is there, wait until it serves, and note its URL in the run.

    Args:
        config ([`~hfdistill.config.Config`]): names the run and the teacher.
        hardware ([`Hardware`]): what it runs on.
        engine (`str`, *optional*, defaults to `"tgi"`): one of [`~hfdistill.teacher.engines.IMAGES`].
        image (`str`, *optional*): another image of that engine.
        max_total_tokens (`int`, *optional*, defaults to 4096): of prompt and response, which decides the memory.
        pause_when_done (`bool`, *optional*, defaults to `False`): pause it when the labelled dataset is published.
        refresh_every (`int`, *optional*, defaults to 10): seconds between two looks meanwhile.
        tensor_parallel (`int`, *optional*): accelerators that share the weights; all of the hardware by default.
        revision (`str`, *optional*): of the teacher's repository; its newest by default.
        scale_to_zero (`int`, *optional*): minutes without a request after which it costs nothing until the next one.
        gguf (`str`, *optional*): the repository's file that llama.cpp serves; its only one by default.

    Returns:
        `str`: its URL.

    Raises:
        [`~hfdistill.errors.HFDistillError`]: if the service refuses, the endpoint does not start, or one of this name
            is there that differs from what is asked.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import InferenceEndpointError, InferenceEndpointTimeoutError

    name = endpoint_name(config.run)
    if engine == LLAMACPP and gguf is None:
        gguf = only_gguf(config.teacher.model, revision)
    parallel = hardware.accelerators if tensor_parallel is None else tensor_parallel
    serving = Serving(engine, config.teacher.model, max_total_tokens, parallel, revision, gguf)
    asked = {
        "repository": serving.model,
        "framework": "pytorch",
        "task": "text-generation",
        **dataclasses.asdict(hardware),
        **serving.container(image),
    }
    if revision is not None:
        asked["revision"] = revision
    if scale_to_zero is not None:
        asked |= {"min_replica": 0, "scale_to_zero_timeout": scale_to_zero}
    found = find(config.run)
    with hub_errors("endpoint", name):
        if found is None:
            found = HfApi().create_inference_endpoint(name, **asked, namespace=config.run.namespace)
        else:
            _check_same(found, asked)
            if found.status in ("paused", "scaledToZero"):
                found.resume()
        # Noted before it serves, so that an interrupted deployment can still be paused and is never forgotten.
        _note(config.run, found, pause_when_done)
        try:
            found.wait(START_SECONDS, refresh_every)
        except (InferenceEndpointError, InferenceEndpointTimeoutError) as error:
            raise HFDistillError(
                f"endpoint {name!r} did not start: {error} It may cost money all the same: `hfdistill teacher delete`"
            ) from error
    _note(config.run, found, pause_when_done)
    return found.url


def _check_same(found: "InferenceEndpoint", asked: dict[str, Any]) -> None:
    """Raises: [`HFDistillError`]: with everything in which an endpoint differs from what is asked."""
    raw = found.raw
    model, compute, scaling = raw["model"], raw.get("compute", {}), raw.get("compute", {}).get("scaling", {})
    image = model.get("image", {}).get("custom", {})
    there = {
        "model": model.get("repository"),
        "revision": model.get("revision"),
        "image": image.get("url"),
        "arguments": model.get("args"),
        "environment": model.get("env"),
        "vendor": raw.get("provider", {}).get("vendor"),
        "region": raw.get("provider", {}).get("region"),
        "instance type": compute.get("instanceType"),
        "instance size": compute.get("instanceSize"),
        "minutes to zero": scaling.get("scaleToZeroTimeout"),
    }
    wanted = {
        "model": asked["repository"],
        "revision": asked.get("revision"),
        "image": asked["custom_image"]["url"],
        "arguments": asked.get("container_args"),
        "environment": asked.get("env"),
        "vendor": asked["vendor"],
        "region": asked["region"],
        "instance type": asked["instance_type"],
        "instance size": asked["instance_size"],
        "minutes to zero": asked.get("scale_to_zero_timeout"),
    }
    # The service fixes what was not asked for: a commit, a default.
    differing = [
        f"{name} {_shown(there[name])}, asked {_shown(value)}"
        for name, value in wanted.items()
        if there[name] != value and value is not None and not (name == "revision" and _same_commit(there, value))
    ]
    if differing:
        raise HFDistillError(
            f"there is an endpoint {found.name!r} that differs from what is asked: {'; '.join(differing)}. Ask for "
            "what it is, or make it anew: `hfdistill teacher delete`, then deploy"
        )


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}={text}" for key, text in sorted(value.items())) or "none"
    return " ".join(value) if isinstance(value, list) else str(value or "none")


def _same_commit(there: dict[str, Any], revision: str) -> bool:
    """Whether a branch or tag is the commit that the endpoint has."""
    from huggingface_hub import HfApi

    return there["revision"] == HfApi().model_info(there["model"], revision=revision).sha


def find(run: RunConfig) -> "InferenceEndpoint | None":
    """The run's endpoint, or `None` if there is none."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    name = endpoint_name(run)
    with hub_errors("endpoint", name):
        try:
            return HfApi().get_inference_endpoint(name, namespace=run.namespace)
        except HfHubHTTPError as error:
            if error.response.status_code == 404:
                return None
            raise


def existing(run: RunConfig) -> "InferenceEndpoint":
    """The run's endpoint.

    Raises:
        [`~hfdistill.errors.HFDistillError`]: if there is none.
    """
    found = find(run)
    if found is None:
        raise HFDistillError(f"there is no endpoint {endpoint_name(run)!r}: make it by `hfdistill teacher deploy`")
    return found


def pause(run: RunConfig) -> None:
    """Pause the run's endpoint: it costs nothing then, and the next deployment wakes it."""
    with hub_errors("endpoint", endpoint_name(run)):
        existing(run).pause()


def delete(run: RunConfig) -> None:
    """Delete the run's endpoint."""
    with hub_errors("endpoint", endpoint_name(run)):
        existing(run).delete()
    note_of(run).unlink(missing_ok=True)


def note_of(run: RunConfig) -> Path:
    """File in which a run notes its endpoint."""
    return Path(run.output_dir) / "endpoint.json"


def _note(run: RunConfig, found: "InferenceEndpoint", pause_when_done: bool) -> None:
    note_of(run).parent.mkdir(parents=True, exist_ok=True)
    content = {"name": found.name, "url": found.url, "pause_when_done": pause_when_done}
    note_of(run).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def use_deployed(config: Config) -> Config:
    """The configuration with the URLs of this machine's teachers, or else the deployed endpoint's, where it names no
    endpoint itself.
    """
    if config.teacher.endpoints:
        return config
    urls = urls_here(config.run)
    if not urls and note_of(config.run).is_file():
        url = json.loads(note_of(config.run).read_text(encoding="utf-8"))["url"]
        urls = [url] if url else []
    return dataclasses.replace(config, teacher=dataclasses.replace(config.teacher, endpoints=urls)) if urls else config


def pause_when_done(run: RunConfig) -> bool:
    """Pause the run's endpoint if that was asked for at its deployment; returns whether it was."""
    if not note_of(run).is_file() or not json.loads(note_of(run).read_text(encoding="utf-8"))["pause_when_done"]:
        return False
    pause(run)
    return True
