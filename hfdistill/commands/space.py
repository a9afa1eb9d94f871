"""`hfdistill space`: the page that puts teacher and students side by side."""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from ..errors import HFDistillError
from ..kinds import POLICY
from ..space.settings import ENDPOINT_VARIABLE, TOKEN_VARIABLE, Settings


def add_parser(verbs: argparse._SubParsersAction) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "space",
        help="compare teacher and students in the browser",
        description="Show the page on this machine (open), or make it a Space of the Hub (deploy).",
    )
    actions = parser.add_subparsers(metavar="ACTION", required=True)

    show = actions.add_parser("open", help="serve the page on this machine until interrupted")
    _add_run(show)
    show.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    show.add_argument("--port", type=int, default=7860, help="port, 0 for a free one (default: %(default)s)")
    show.add_argument("--serve_teacher", action="store_true", help="serve the run's teacher on this machine, too")
    show.set_defaults(func=_open)

    deploy = actions.add_parser("deploy", help="create or renew the Space {run}-compare on the Hub of HF_ENDPOINT")
    _add_run(deploy)
    deploy.add_argument("--private", action="store_true", help="create it as private")
    deploy.add_argument(
        "--requirement", action="append", default=[], help="one more package it needs, such as the run's task"
    )
    deploy.add_argument(
        "--extra_index_url", help="a further index of packages, which has PyTorch's builds for CPUs: torch is then one"
    )
    deploy.add_argument(
        "--hardware", help="machine that its card suggests, such as zero-a10g (default: the smallest for its weights)"
    )
    deploy.set_defaults(func=_deploy)


def open_space(run: str, environment: Mapping[str, str]) -> int:
    """Show a run whose Hub and account are in `environment`, with its teacher, in a process of its own until it ends.

    Args:
        run (`str`): as after `hfdistill space open`.
        environment (`Mapping[str, str]`): variables such as HF_ENDPOINT, which huggingface_hub reads when imported.

    Returns:
        `int`: exit status.
    """
    command = [sys.executable, "-m", "hfdistill", "space", "open", run, "--port", "0", "--serve_teacher"]
    # In a session of its own, it ends once, by our word, however this process is interrupted.
    with subprocess.Popen(command, env={**os.environ, **environment}, start_new_session=True) as process:
        try:
            return process.wait()
        except KeyboardInterrupt:
            process.terminate()
            process.wait()
            return 0


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "run", help="namespace/name of the run, its configuration file, or {output_dir}/artifacts/{name}"
    )
    parser.add_argument("--teacher_endpoint", help="URL of a TGI or OpenAI-style server where the teacher answers")
    parser.add_argument("--stored_only", action="store_true", help="show stored answers alone, and load no model")
    parser.add_argument("--votes_repo", help="dataset that keeps blind votes, with the token in VOTES_TOKEN")
    parser.add_argument("--student", help="the base student; by default the one that the artifacts name")


def _settings(args: argparse.Namespace) -> Settings:
    return Settings(
        _place(args.run),
        student=args.student,
        teacher_endpoint=args.teacher_endpoint,
        stored_only=args.stored_only,
        votes_repo=args.votes_repo,
        teacher_token_env=TOKEN_VARIABLE if os.environ.get(TOKEN_VARIABLE) else None,
    )


def _place(run: str) -> str:
    """Where the artifacts of a run are, without the kind at the end."""
    from ..artifacts.store import Store
    from ..config import RunConfig, read_sections

    if run.endswith((".yaml", ".yml")):
        section = read_sections(run).get("run")
        if not section or "name" not in section:
            raise HFDistillError(f"{run} has no run.name: give the run's namespace/name instead")
        return Store(RunConfig(**section)).parent(POLICY).removesuffix("-policy")
    folder = Path(run).expanduser()
    if folder.parent.is_dir() and any(folder.parent.glob(f"{folder.name}-*")):
        return str(folder.absolute())
    return run if "/" in run else Store(RunConfig(run)).parent(POLICY).removesuffix("-policy")


def _open(args: argparse.Namespace) -> None:
    from ..servers.process import free_port
    from ..space.app import launch
    from ..space.run import ShownRun

    settings = _settings(args)
    # The page could say it, too; here whoever types the command sees it at once.
    run = ShownRun(settings)
    # So that the teacher ends with the page, however that is ended.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with ExitStack() as servers:
        if args.serve_teacher:
            if args.teacher_endpoint:
                raise HFDistillError("--serve_teacher and --teacher_endpoint exclude each other: give one")
            settings = replace(settings, teacher_endpoint=_serve_teacher(run.teacher_name, servers))
        try:
            port = args.port or free_port()
            page = launch(settings, server_name=args.host, server_port=port, quiet=True)
        except OSError as error:
            raise HFDistillError(
                f"port {args.port} of {args.host} is taken or not ours to use: --port 0 takes a free one"
            ) from error
        print(f"The page is at {page.local_url}", flush=True)
        page.block_thread()


def _serve_teacher(model: str, servers: ExitStack) -> str:
    from ..servers.process import ServerProcess, free_port

    port, folder = free_port(), servers.enter_context(tempfile.TemporaryDirectory())
    url = f"http://127.0.0.1:{port}"
    print(f"Serving the teacher {model} …", flush=True)
    servers.enter_context(ServerProcess(["serve", model, "--port", str(port)], url, "/health", Path(folder) / "log"))
    return url


def _deploy(args: argparse.Namespace) -> None:
    from huggingface_hub import HfApi

    from ..artifacts.cards import url
    from ..space.deploy import deploy, keep_endpoint

    settings = _settings(args)
    space = deploy(settings, args.private, args.requirement, args.extra_index_url, args.hardware)
    print(f"{url('space', space.repo_id)} is published at {space.revision[:12]}")
    if settings.teacher_endpoint and not keep_endpoint(space.repo_id, settings.teacher_endpoint):
        print(f"This Hub keeps no secrets: set {ENDPOINT_VARIABLE} where the Space runs, for no file holds it.")
    if settings.teacher_endpoint and settings.teacher_token_env:
        print(f"Its endpoint wants a token: add it as the secret {TOKEN_VARIABLE} in the Space's settings.")
    if HfApi().model_info(settings.ref("policy")).private:
        print("The run's repositories are private: add a token that may read them as the secret HF_TOKEN.")
    print(f"A Hub of `hfdistill hub serve` keeps Spaces but runs none: there, `hfdistill space open {args.run}`.")
