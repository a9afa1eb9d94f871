"""The teacher as a Hugging Face Inference Endpoint: made for a run, found by it, paused when its labels are there."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..artifacts.errors import hub_errors
from ..config import Config, RunConfig
from ..errors import HFDistillError, unknown


if TYPE_CHECKING:
    from huggingface_hub import InferenceEndpoint

LONGEST_NAME = 32
START_SECONDS = 3600  # with the download of a large model
ENGINES = {"tgi": "ghcr.io/huggingface/text-generation-inference:3.3.5", "vllm": "vllm/vllm-openai:v0.23.0"}


@dataclass(frozen=True)
class Hardware:
    """Where the endpoint runs; the values belong together, as `hf endpoints hardware` lists them."""

    vendor: str
    region: str
    instance_type: str
    instance_size: str
    accelerator: str = "gpu"


def endpoint_name(run: RunConfig) -> str:
    """Name of a run's endpoint, in the form that the service allows."""
    plain = "".join(letter if letter.isalnum() else "-" for letter in run.name.lower()).strip("-")
    return f"{plain[: LONGEST_NAME - len('-teacher')].rstrip('-')}-teacher"


def deploy(
    config: Config,
    hardware: Hardware,
    engine: str = "tgi",
    image: str | None = None,
    max_total_tokens: int = 4096,
    pause_when_done: bool = False,
    refresh_every: int = 10,
) -> str:
    """Create the endpoint, or wake the one that is there, wait until it serves, and note its URL in the run.

    Args:
        config ([`~hfdistill.config.Config`]): names the run and the teacher.
        hardware ([`Hardware`]): for a new endpoint.
        engine (`str`, *optional*, defaults to `"tgi"`): `"tgi"` or `"vllm"`.
        image (`str`, *optional*): another image of that engine.
        max_total_tokens (`int`, *optional*, defaults to 4096): of prompt and response, which decides the memory.
        pause_when_done (`bool`, *optional*, defaults to `False`): pause it when the labelled dataset is published.
        refresh_every (`int`, *optional*, defaults to 10): seconds between two looks meanwhile.

    Returns:
        `str`: its URL.

    Raises:
        [`~hfdistill.errors.HFDistillError`]: if the service refuses, or the endpoint does not start.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import InferenceEndpointError, InferenceEndpointTimeoutError

    if engine not in ENGINES:
        raise unknown("engine", engine, ENGINES)
    name = endpoint_name(config.run)
    found = find(config.run)
    with hub_errors("endpoint", name):
        if found is None:
            found = HfApi().create_inference_endpoint(
                name,
                repository=config.teacher.model,
                framework="pytorch",
                task="text-generation",
                **dataclasses.asdict(hardware),
                **_container(engine, image or ENGINES[engine], max_total_tokens),
                namespace=config.run.namespace,
            )
        elif found.status in ("paused", "scaledToZero"):
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


def _container(engine: str, image: str, max_total_tokens: int) -> dict[str, Any]:
    if engine == "tgi":
        return {
            "custom_image": {"url": image, "healthRoute": "/health"},
            "env": {"MODEL_ID": "/repository", "MAX_TOTAL_TOKENS": str(max_total_tokens)},
        }
    arguments = ["--model", "/repository", "--max-model-len", str(max_total_tokens)]
    return {"custom_image": {"url": image, "healthRoute": "/health", "port": 8000}, "container_args": arguments}


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
    """The configuration with the deployed endpoint's URL, where it names no endpoint itself."""
    if config.teacher.endpoints or not note_of(config.run).is_file():
        return config
    url = json.loads(note_of(config.run).read_text(encoding="utf-8"))["url"]
    return dataclasses.replace(config, teacher=dataclasses.replace(config.teacher, endpoints=[url] if url else []))


def pause_when_done(run: RunConfig) -> bool:
    """Pause the run's endpoint if that was asked for at its deployment; returns whether it was."""
    if not note_of(run).is_file() or not json.loads(note_of(run).read_text(encoding="utf-8"))["pause_when_done"]:
        return False
    pause(run)
    return True
