"""`hfdistill doctor`: what this machine has, and what it lacks for which stage."""

import argparse
import os
import shutil
from dataclasses import replace
from importlib import metadata, util

from .. import __version__
from ..errors import HFDistillError
from .estimate import add_memory_flags, print_fits


PACKAGES = ("torch", "transformers", "trl", "datasets", "accelerate", "huggingface_hub", "gradio")
SECONDS = 10.0  # that an endpoint may take
EXTRAS = {"deepspeed": "ZeRO", "vllm": "fast rollouts", "peft": "LoRA"}


def add_parser(verbs: argparse._SubParsersAction) -> None:
    """Add the verb."""
    parser = verbs.add_parser("doctor", help="what this machine has, and what it lacks for which stage")
    parser.add_argument("--endpoint", nargs="*", default=[], help="teacher endpoints to look at")
    parser.add_argument("--config", help="YAML file of a run: its endpoints, and whether its stages fit into memory")
    parser.add_argument("--set", nargs="*", default=[], metavar="section.key=value", help="settings on top of it")
    add_memory_flags(parser)
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Print a table of checks; exit status 1 if one failed."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, show_header=False, pad_edge=False)
    failed = False

    def row(right: bool | None, name: str, value: str) -> None:
        nonlocal failed
        failed = failed or right is False
        table.add_row({True: "[green]ok[/]", False: "[red]no[/]", None: "[dim]–[/]"}[right], name, value)

    row(True, "hfdistill", __version__)
    for package in PACKAGES:
        row(True, package, metadata.version(package))
    for module, use in EXTRAS.items():
        there = util.find_spec(module) is not None
        row(True if there else None, module, use if there else f"not installed; only for {use}")

    import torch

    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    row(True if gpus else None, "GPU", ", ".join(gpus) or f"none; {os.cpu_count()} CPU cores")
    row(True if shutil.which("c++") else None, "C++ compiler", shutil.which("c++") or "none; only DeepSpeed needs it")

    from huggingface_hub import HfApi, constants, get_token

    from ..artifacts.errors import hub_errors
    from ..sections import TeacherConfig
    from ..teacher.now import say_of_endpoints

    try:
        if get_token() is None:
            row(None, "Hub", f"{constants.ENDPOINT}; no token: reading public repositories only")
        else:
            with hub_errors("account", constants.ENDPOINT):
                row(True, "Hub", f"{constants.ENDPOINT} as {HfApi().whoami()['name']}")
    except HFDistillError as error:
        row(False, "Hub", str(error))
    teacher, fitting = TeacherConfig(""), None
    if args.config:
        from ..runs.validation import stage_config

        teacher = stage_config("label", args.config, args.set).teacher
    others = replace(teacher, endpoints=args.endpoint)
    for right, said in (*say_of_endpoints(teacher, SECONDS), *say_of_endpoints(others, SECONDS, of_a_run=False)):
        row(right, "endpoint", said)
    if args.config:
        from ..runs.fitting import fit_run

        try:
            fitting = fit_run(args.config, args.set, args.accelerate_config, args.device_memory)
            wrong = [fit.need.stage for fit in fitting.fits if not (fit.fits and fit.disk_fits)]
            row(not wrong, "memory", f"too little for {', '.join(wrong)}" if wrong else "enough for every stage")
        except HFDistillError as error:
            row(False, "memory", str(error))
    Console().print(table)
    if fitting is not None:
        print_fits(fitting)
    return int(failed)
