"""The comparison Space of a run, published on the Hub: page, package, pins and card in one commit."""

import shutil
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from ..artifacts.digests import listing
from ..artifacts.manifest import manifest
from ..artifacts.references import Artifact, is_commit, open_artifact
from ..artifacts.store import Store
from ..config import Config, RunConfig, StudentConfig, TeacherConfig
from ..errors import HFDistillError, unknown
from ..kinds import COMPARE
from .requirements import space_requirements
from .run import ShownRun
from .settings import ENDPOINT_VARIABLE, Settings


# Parts of the package that the page does not need.
NOT_SHOWN = ("baselines", "commands", "demo", "ppo", "runs", "servers", "warmup")
# Machines of the Hub by the GiB that a Space's weights may take there, with room to compute.
HARDWARE = ((8, "cpu-basic"), (13, "t4-small"), (21, "l4x1"), (70, "a100-large"))
ON_ZERO_GPU = "spaces"  # without a version: the Hub installs its own


def deploy(
    settings: Settings,
    private: bool = False,
    requirements: Sequence[str] = (),
    index: str | None = None,
    hardware: str | None = None,
) -> Artifact:
    """Create or renew the Space `{run}-compare`.

    It shows the artifacts at the commits that they have now, and carries the package that shows them, so that a later
    stage or release changes nothing until it is deployed again.

    Args:
        settings ([`~hfdistill.space.settings.Settings`]): the run, on the Hub, and perhaps a teacher's endpoint.
        private (`bool`, *optional*, defaults to `False`): create the Space as private.
        requirements (`Sequence[str]`, *optional*): further packages.
        index (`str`, *optional*): see [`~hfdistill.space.requirements.space_requirements`].
        hardware (`str`, *optional*): machine of the Hub that the card suggests; the smallest that holds the weights by
            default.

    Raises:
        [`~hfdistill.errors.HFDistillError`]: if the run is not on the Hub or not complete enough to show, the Space
            could not install what its task needs, or the Hub refuses.
    """
    if hardware is not None:
        requirements = [*requirements, *needed_on(hardware, index)]
    run = ShownRun(settings)
    if "policy" not in run.manifests:
        raise HFDistillError(f"the run cannot be shown yet: {run.missing['policy']}")
    if not is_commit(run.manifests["policy"].revision):
        raise HFDistillError(
            f"{settings.run!r} is a folder, and a Space reads from the Hub: run the stages with push: true, or look "
            f"at it here by `hfdistill space open {settings.run}`"
        )
    parents = dict(run.manifests)
    if run.student is not None:
        parents["student"] = open_artifact(run.student, "model", patterns=[])
    pinned = replace(
        settings,
        artifacts={kind: _pin(artifact) for kind, artifact in parents.items() if kind != "student"},
        student=_pin(parents["student"]) if run.student else None,
        teacher_token_env=None,
    )
    namespace, _, name = settings.run.rpartition("/")
    made_by = run.manifests["policy"].manifest
    config = Config(
        RunConfig(name, namespace=namespace, seed=made_by["config"]["seed"], private=private),
        made_by["config"]["task"],
        TeacherConfig(**made_by["teacher"]) if made_by["teacher"] else None,
        StudentConfig(**made_by["student"]) if made_by["student"] else None,
        None,  # a Space has no section in the configuration
        {},
    )
    made = manifest(COMPARE, config, parents)
    # Arguments of this command may hold the endpoint's address.
    made["command"] = f"hfdistill space deploy {settings.run}"
    models = {} if settings.stored_only else {k: v for k, v in parents.items() if v.repo_type == "model"}
    made["suggested_hardware"] = hardware or suggested_hardware(models.values())
    # A build reads no private repository; what it does not bring is loaded by the first who asks.
    made["preload_from_hub"] = [model.repo_id for model in models.values() if not _is_private(model)]
    with tempfile.TemporaryDirectory() as folder:
        lines = space_requirements(page_requirements(), made_by["config"]["task"], requirements, index)
        write_files(Path(folder), pinned, lines)
        return Store(config.run).publish(folder, COMPARE, made)


def keep_endpoint(space: str, url: str) -> bool:
    """Put the teacher's address among the secrets of a Space, which no visitor and no file sees.

    Returns:
        `bool`: whether this Hub keeps secrets.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    try:
        HfApi().add_space_secret(space, ENDPOINT_VARIABLE, url)
    except HfHubHTTPError as error:
        if error.response.status_code not in (404, 405, 501):
            raise HFDistillError(
                f"{space} is there, but its secret {ENDPOINT_VARIABLE} was refused: {error}"
            ) from error
        return False
    return True


def page_requirements() -> list[str]:
    """Packages that the page itself needs."""
    return (space_folder() / "requirements.txt").read_text(encoding="utf-8").split()


def write_files(folder: Path, settings: Settings, requirements: Sequence[str] = ()) -> None:
    """Write what a Space consists of, card apart: `app.py`, `space.json`, `requirements.txt` and the package."""
    source, package = space_folder(), Path(__file__).parents[1]
    shutil.copyfile(source / "app.py", folder / "app.py")
    (folder / "space.json").write_text(settings.to_json(), encoding="utf-8")
    (folder / "requirements.txt").write_text("\n".join(requirements) + "\n", encoding="utf-8")
    shutil.copytree(package, folder / package.name, ignore=shutil.ignore_patterns("__pycache__", *NOT_SHOWN))


def space_folder() -> Path:
    """Where the files of the Space are: beside the package in a checkout, under `share` when from a wheel.

    Raises:
        [`~hfdistill.errors.HFDistillError`]: if they are in neither place.
    """
    roots = Path(__file__).parents[2], Path(sys.prefix, "share", "hfdistill")
    places = [root / "spaces" / "compare" for root in roots]
    for place in places:
        if (place / "app.py").is_file():
            return place
    raise HFDistillError(f"the files of the Space are neither in {places[0]} nor in {places[1]}: reinstall hfdistill")


def _pin(artifact: Artifact) -> str:
    return f"{artifact.repo_id}@{artifact.revision}"


def needed_on(hardware: str, index: str | None) -> list[str]:
    """Packages that a Space needs on this machine of the Hub.

    Raises:
        [`~hfdistill.errors.HFDistillError`]: if the Hub has no such machine, or PyTorch's build from `index` could not
            use it.
    """
    from huggingface_hub import SpaceHardware

    names = [machine.value for machine in SpaceHardware]
    if hardware not in names:
        raise unknown("hardware", hardware, names)
    if index is not None and not hardware.startswith("cpu-"):
        raise HFDistillError(f"--extra_index_url brings PyTorch for CPUs, which could not use {hardware}: give one")
    return [ON_ZERO_GPU] if hardware == SpaceHardware.ZERO_A10G.value else []


def suggested_hardware(models: Iterable[Artifact]) -> str:
    """The smallest machine of the Hub that holds these models' weights together."""
    from huggingface_hub import HfApi

    files = (file for model in models for file in listing(HfApi(), model.repo_id, "model", model.revision).values())
    weights = sum(file.size for file in files if file.path.endswith(".safetensors"))
    return next((name for most, name in HARDWARE if weights <= most << 30), HARDWARE[-1][1])


def _is_private(model: Artifact) -> bool:
    from huggingface_hub import HfApi

    return bool(HfApi().model_info(model.repo_id, revision=model.revision).private)
