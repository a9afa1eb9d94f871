"""The command `hfdistill`. Each verb is a module of hfdistill/commands that imports what is heavy when it runs."""

import argparse
import importlib

from . import __version__
from .errors import exit_on_user_error


VERBS = (
    "demo",
    "run",
    "validate",
    "estimate",
    "label",
    "extract",
    "tasks",
    "teacher",
    "serve",
    "hub",
    "lineage",
    "report",
    "space",
    "doctor",
    "install_hf_extension",
)


@exit_on_user_error
def main(argv: list[str] | None = None) -> int | None:
    """Run one verb; returns its exit status."""
    parser = argparse.ArgumentParser(
        prog="hfdistill",
        description="Distil a large language model's answers and rewards into a small one, on the Hugging Face Hub.",
    )
    parser.add_argument("--version", action="version", version=f"hfdistill {__version__}")
    verbs = parser.add_subparsers(metavar="verb", required=True)
    for verb in VERBS:
        importlib.import_module(f".commands.{verb}", __package__).add_parser(verbs)
    args = parser.parse_args(argv)
    return args.func(args)
