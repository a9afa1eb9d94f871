"""A run as one job of Hugging Face: started once, followed, and found again by the next call."""

import json
import os
import re
import sys
import urllib.parse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from ..artifacts.errors import hub_errors
from ..config import Config
from ..errors import HFDistillError
from ..runs.memory import Spread, read_spread
from ..servers.recorded import read_json, write_json


if TYPE_CHECKING:
    from huggingface_hub import JobInfo

FILES = "/job"  # where the job finds what was uploaded for it
CONFIG, LAUNCH = "configuration", "launch"  # without .yaml, which the client would look for on this machine
LABEL = "hfdistill-run"
HERE = ("localhost", "127.0.0.1", "::1", "0.0.0.0")


@dataclass(frozen=True)
class Order:
    """What a job is to do, and where.

    Args:
        config_file (`str`): YAML file of the run.
        arguments (`Sequence[str]`): of `hfdistill run` behind it.
        flavor (`str`): hardware, as `hf jobs hardware` lists it.
        timeout (`str`): longest duration: a number with s, m, h or d.
        package (`str`, *optional*): hfdistill as a wheel of this machine, or as the URL of one or of a repository;
            by default where this installation came from.
        accelerate_config (`str`, *optional*): launch configuration of the training stages.
    """

    config_file: str
    arguments: Sequence[str]
    flavor: str
    timeout: str
    package: str | None = None
    accelerate_config: str | None = None

    @property
    def spread(self) -> Spread:
        """Over how many processes the training stages are spread."""
        return read_spread(self.accelerate_config) if self.accelerate_config else Spread()

    def files(self) -> dict[str, Path]:
        """What is uploaded for the job: files of this machine by their names there."""
        found = {CONFIG: Path(self.config_file)}
        if self.accelerate_config:
            found[LAUNCH] = Path(self.accelerate_config)
        if self.package and Path(self.package).is_file():
            found[Path(self.package).name] = Path(self.package)
        return found

    def command(self) -> list[str]:
        """Arguments of `hfdistill` in the job."""
        launch = ["--accelerate_config", f"{FILES}/{LAUNCH}"] if self.accelerate_config else []
        return ["run", f"{FILES}/{CONFIG}", *launch, *self.arguments]

    def digest(self) -> str:
        """What tells one order from another."""
        contents = [sha256(path.read_bytes()).hexdigest() for path in self.files().values()]
        return sha256(json.dumps([contents, self.command(), self.package]).encode()).hexdigest()[:16]


def run_as_job(config: Config, order: Order) -> None:
    """Start the run's job, or find the one that is at work, and follow its log until it ends.

    Raises:
        [`~hfdistill.errors.HFDistillError`]: if the run cannot go on elsewhere, the service refuses it, or it fails.
        [`KeyboardInterrupt`]: after Ctrl-C, which leaves the job at work.
    """
    from huggingface_hub import HfApi, get_token
    from huggingface_hub.errors import LocalTokenNotFoundError

    check_order(config, order)
    requirement = f"hfdistill{extras(config, order)} @ {package_url(order)}"
    api, note = HfApi(), Path(config.run.output_dir) / "job.json"
    with hub_errors("job of run", config.run.name):
        if not get_token():
            raise LocalTokenNotFoundError
        namespace = config.run.namespace or api.whoami()["name"]
        job = find_job(config, namespace)
        if job and job.status.stage == "COMPLETED" and read_json(note).get("asked") == order.digest():
            print(f"job {job.id} did this already: {job.url}")
            return
        if job is None or is_over(job):
            job = start(config, order, namespace, requirement)
            note.parent.mkdir(parents=True, exist_ok=True)
            write_json(note, {"id": job.id, "namespace": namespace, "asked": order.digest()})
            print(f"job {job.id} is started on {order.flavor}; it costs money from now: {job.url}")
        else:
            print(f"job {job.id} of this run is at work already, and no other is started: {job.url}")
        follow(job, namespace)
        ended = api.inspect_job(job_id=job.id, namespace=namespace)
    if ended.status.stage != "COMPLETED":
        why = f", {ended.status.message}" if ended.status.message else ""
        raise HFDistillError(
            f"job {job.id} ended as {ended.status.stage}{why}: its log is above and at {job.url}. The same command "
            "starts another, which finds what was published"
        )


def find_job(config: Config, namespace: str) -> "JobInfo | None":
    """The job that the run's folder names, or one of this run that another machine started and that is at work."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    api, noted = HfApi(), read_json(Path(config.run.output_dir) / "job.json")
    if noted:
        try:
            return api.inspect_job(job_id=noted["id"], namespace=noted["namespace"])
        except HfHubHTTPError as error:
            if error.response.status_code != 404:
                raise
    there = api.list_jobs(status=["SCHEDULING", "RUNNING"], labels={LABEL: config.run.name}, namespace=namespace)
    return next(iter(there), None)


def start(config: Config, order: Order, namespace: str, requirement: str) -> "JobInfo":
    """Upload what the job reads into a private dataset, and start it."""
    from huggingface_hub import CommitOperationAdd, HfApi, Volume

    api, repo = HfApi(), f"{namespace}/{config.run.name}-job"
    api.create_repo(repo, repo_type="dataset", private=True, exist_ok=True)
    files = [CommitOperationAdd(name, path) for name, path in order.files().items()]
    commit = api.create_commit(repo, files, commit_message="What the run's job reads", repo_type="dataset")
    return api.run_uv_job(
        "hfdistill",
        script_args=order.command(),
        dependencies=[requirement],
        secrets=secrets(config),
        flavor=order.flavor,
        timeout=order.timeout,
        name=f"hfdistill-{config.run.name}",
        labels={LABEL: config.run.name},
        volumes=[Volume(type="dataset", source=repo, mount_path=FILES, revision=commit.oid)],
        namespace=namespace,
    )


def follow(job: "JobInfo", namespace: str) -> None:
    """Print the job's log as it comes, until it ends."""
    from huggingface_hub import HfApi

    try:
        for line in HfApi().fetch_job_logs(job_id=job.id, namespace=namespace, follow=True):
            print(line, flush=True)
    except KeyboardInterrupt:
        print(
            f"job {job.id} goes on. The same command follows it, and so does `hf jobs logs --follow "
            f"{namespace}/{job.id}`; `hf jobs cancel {namespace}/{job.id}` ends it",
            file=sys.stderr,
        )
        raise


def is_over(job: "JobInfo") -> bool:
    """Whether a job has ended, one way or another."""
    return job.status.stage not in ("SCHEDULING", "RUNNING")


def secrets(config: Config) -> dict[str, str]:
    """Tokens that the job needs: they travel as its secrets, which no page shows."""
    from huggingface_hub import get_token

    found = {"HF_TOKEN": get_token()}
    if config.teacher and (name := config.teacher.api_key_env):
        if name not in os.environ:
            raise HFDistillError(
                f"teacher.api_key_env names {name}, which is not set here: set it, so that the job has it"
            )
        found[name] = os.environ[name]
    return found


def extras(config: Config, order: Order) -> str:
    """What hfdistill is installed with for this run, as `[peft]`."""
    wanted = [*(["peft"] if config.peft else []), *(["deepspeed"] if order.spread.kind.startswith("zero") else [])]
    return f"[{','.join(wanted)}]" if wanted else ""


def package_url(order: Order) -> str:
    """From where the job installs hfdistill, which is in no registry.

    Raises:
        [`~hfdistill.errors.HFDistillError`]: if nobody said so and this installation does not know.
    """
    if order.package and Path(order.package).is_file():
        return f"file://{FILES}/{Path(order.package).name}"
    if order.package:
        url = urllib.parse.urlsplit(order.package)
        if "+" not in url.scheme and url.scheme != "https":
            raise HFDistillError(f"--package {order.package} is no file, and no URL as https://… or git+https://… is")
        if url.password or (url.username and url.scheme.endswith("https")):
            raise HFDistillError(
                "--package holds a password, which everybody who sees the job could read: leave it out"
            )
        return order.package
    origin = json.loads(metadata.distribution("hfdistill").read_text("direct_url.json") or "{}")
    if version := origin.get("vcs_info"):
        return f"{version['vcs']}+{origin['url']}@{version['commit_id']}"
    if origin.get("url", "").startswith("https://"):
        return origin["url"]
    raise HFDistillError(
        "a job has to install hfdistill, and it is in no registry: make a wheel of the checkout by `pip wheel "
        "--no-deps .`, and give --package hfdistill-….whl, or the URL of a repository, --package git+https://…@COMMIT"
    )


def check_order(config: Config, order: Order) -> None:
    """Refuse what a job elsewhere could not do."""
    run, where = config.run, "a job of Hugging Face"
    if not run.push:
        raise HFDistillError(f"run.push is false, and what {where} makes is gone with it: set run.push: true")
    if not re.fullmatch(r"\d+(\.\d+)?[smhd]?", order.timeout):
        raise HFDistillError(f"--timeout is {order.timeout!r}: it reads 90m, 12h or 2d")
    if order.spread.machines > 1:
        raise HFDistillError(f"{order.accelerate_config} is for several machines, and {where} has one")
    places: Mapping[str, str | None] = {
        "task.path": config.task.get("path"),
        "student.model": config.student and config.student.model,
    }
    for name, value in places.items():
        if value and Path(value).exists():
            raise HFDistillError(f"{name} is {value}, which is on this machine: push it, and name its repository")
    for url in config.teacher.endpoints if config.teacher else []:
        if urllib.parse.urlsplit(url).hostname in HERE:
            raise HFDistillError(
                f"teacher.endpoints names this machine, which {where} cannot reach: give a public URL"
            )
