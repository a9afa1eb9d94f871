"""`hfdistill teacher`: the teacher on this machine's GPUs, or as a Hugging Face Inference Endpoint."""

import argparse
import signal
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from .numbers import positive


if TYPE_CHECKING:
    from ..sections import RunConfig
    from ..teacher.engines import Serving


ENGINES = ("tgi", "vllm", "sglang", "llamacpp")


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Adds the verb and its own verbs to the command line."""
    parser = subparsers.add_parser(
        "teacher", help="serve the teacher here, or deploy, look at, pause or delete its endpoint"
    )
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    up = verbs.add_parser(
        "up",
        help="serve the teacher on this machine until Ctrl-C",
        description="Starts one server a GPU, or one on as many as its weights need, by what is installed: vLLM, "
        "SGLang, TGI's container, llama-server, or else `hfdistill serve`. While it runs, the run finds the servers "
        "if its configuration names no endpoint.",
    )
    up.add_argument("--engine", choices=(*ENGINES, "hfdistill"), help="instead of the first that is installed")
    up.add_argument("--replicas", type=positive, metavar="N", help="servers (default: as many as the GPUs hold)")
    _serving(up, "prompt and response (default: the model's, <= 4096)")
    up.add_argument("what", metavar="CONFIG|MODEL", help="YAML file of the run, or a folder or repository of a model")
    up.add_argument("--set", nargs="*", default=[], metavar="section.key=value", help="settings on top of the file")
    up.set_defaults(func=_up)
    _finish(verbs.add_parser("down", help="end what `up` started, also after a crash"), _down)
    deploy = verbs.add_parser(
        "deploy",
        help="create or wake the endpoint and wait until it serves",
        description="The endpoint costs money from now until it is paused or deleted. Its URL is noted in the run's "
        "output_dir, where label_teacher.py finds it if the configuration names no endpoint.",
    )
    deploy.add_argument("--vendor", default="aws", help="cloud (default: %(default)s)")
    deploy.add_argument("--region", default="us-east-1", help="its region (default: %(default)s)")
    deploy.add_argument("--instance_type", default="nvidia-h100", help="accelerator (default: %(default)s)")
    deploy.add_argument("--instance_size", default="x1", help="how many of them (default: %(default)s)")
    deploy.add_argument("--engine", default="tgi", choices=ENGINES, help="(default: %(default)s, in maintenance mode)")
    deploy.add_argument("--image", help="another image of that engine")
    deploy.add_argument(
        "--scale_to_zero", type=positive, metavar="MINUTES", help="without a request; never by default"
    )
    _serving(deploy, "prompt and response (default: 4096)")
    deploy.add_argument("--pause_when_done", action="store_true", help="pause it when the labels are published")
    _finish(deploy, _deploy)
    _finish(verbs.add_parser("status", help="state and URL"), _status)
    _finish(verbs.add_parser("pause", help="pause it: it costs nothing then"), _pause)
    _finish(verbs.add_parser("delete", help="delete it"), _delete)


def _serving(parser: argparse.ArgumentParser, tokens: str) -> None:
    parser.add_argument("--max_total_tokens", type=positive, metavar="N", help=tokens)
    parser.add_argument("--tensor_parallel", type=positive, metavar="N", help="accelerators that share the weights")
    parser.add_argument("--revision", help="branch, tag or commit of the teacher's repository")
    parser.add_argument("--gguf", metavar="FILE", help="the repository's file for llama.cpp (default: its only one)")


def _finish(parser: argparse.ArgumentParser, func) -> None:
    parser.add_argument("config", help="YAML file of the run")
    parser.add_argument("--set", nargs="*", default=[], metavar="section.key=value", help="settings on top of it")
    parser.set_defaults(func=func)


def _config(args: argparse.Namespace):
    from ..runs.validation import stage_config

    return stage_config("label", args.config, args.set)


def _up(args: argparse.Namespace) -> None:
    from ..teacher.local import check_none_up, plan

    is_model = not args.what.endswith((".yaml", ".yml"))
    config = None if is_model else _config(argparse.Namespace(config=args.what, set=args.set))
    if config:
        check_none_up(config.run)
    model = config.teacher.model if config else args.what
    asked = (args.revision, args.engine, args.max_total_tokens, args.tensor_parallel, args.gguf, args.replicas)
    serving, servers = plan(model, *asked)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        _serve_until_interrupted(serving, servers, config.run if config else None)
    except KeyboardInterrupt:
        print("the teachers are down")


def _serve_until_interrupted(serving: "Serving", servers: int, run: "RunConfig | None") -> None:
    from ..teacher.local import check_all_running, note_of, serving_here, wait_until_ready, write_note

    with ExitStack() as ending:
        folder = Path(run.output_dir if run else ending.enter_context(tempfile.TemporaryDirectory()))
        print(f"starting {servers} x {serving.engine} for {serving.model}; logs in {folder}", flush=True)
        if run:
            ending.callback(note_of(run).unlink, missing_ok=True)
        teachers = ending.enter_context(serving_here(serving, servers, folder))
        if run:
            write_note(run, teachers, ready=False)
        wait_until_ready(teachers)
        if run:
            write_note(run, teachers, ready=True)
        urls = " ".join(teacher.url for teacher in teachers)
        found = "the run finds them" if run else f"name them by --teacher.endpoints {urls}"
        print(f"serving at {urls}; {found}. Ctrl-C ends them", flush=True)
        while True:
            check_all_running(teachers)
            time.sleep(1)


def _down(args: argparse.Namespace) -> None:
    from ..teacher.local import take_down

    run = _config(args).run
    take_down(run)
    print(f"the teachers of {run.name} are down")


def _deploy(args: argparse.Namespace) -> None:
    from ..teacher.deploy import Hardware, deploy, endpoint_name
    from ..teacher.engines import MAINTENANCE, MOST_TOKENS, TGI

    config = _config(args)
    hardware = Hardware(args.vendor, args.region, args.instance_type, args.instance_size)
    if args.engine == TGI:
        print(MAINTENANCE)
    print(
        f"starting {endpoint_name(config.run)} on {args.instance_size} {args.instance_type}; it costs money from now"
    )
    url = deploy(
        config,
        hardware,
        args.engine,
        args.image,
        args.max_total_tokens or MOST_TOKENS,
        args.pause_when_done,
        tensor_parallel=args.tensor_parallel,
        revision=args.revision,
        scale_to_zero=args.scale_to_zero,
        gguf=args.gguf,
    )
    print(f"serving at {url}")


def _status(args: argparse.Namespace) -> None:
    from ..teacher.deploy import existing

    found = existing(_config(args).run)
    print(f"{found.name}: {found.status}" + (f" at {found.url}" if found.url else ""))


def _pause(args: argparse.Namespace) -> None:
    from ..teacher.deploy import endpoint_name, pause

    run = _config(args).run
    pause(run)
    print(f"{endpoint_name(run)} is paused")


def _delete(args: argparse.Namespace) -> None:
    from ..teacher.deploy import delete, endpoint_name

    run = _config(args).run
    delete(run)
    print(f"{endpoint_name(run)} is deleted")
