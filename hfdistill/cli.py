"""The command `hfdistill`. Each verb is a module of hfdistill/commands that imports what is heavy when it runs."""

import argparse
import importlib
import sys

from . import __version__
from .errors import HFDistillError, exit_on_user_error


VERBS = (
    "demo",
    "run",
    "ablate",
    "validate",
    "estimate",
    "label",
    "relabel",
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
# Those of which a second call goes on where the first one was interrupted.
GO_ON = ("run", "ablate", "demo")


@exit_on_user_error
def main(argv: list[str] | None = None) -> int | None:
    """Run one verb; returns its exit status."""
    argv = sys.argv[1:] if argv is None else argv
    for word in argv:
        flag = word.partition("=")[0]
        if flag.startswith("--") and "-" in flag[2:]:
            raise HFDistillError(f"unknown flag {flag}: write --{flag[2:].replace('-', '_')}")
    args = make_parser().parse_args(argv)
    try:
        return args.func(args)
    except KeyboardInterrupt:
        if args.verb in GO_ON:
            raise
        print("interrupted", file=sys.stderr)
        return 130


def make_parser() -> argparse.ArgumentParser:
    """The parser of all verbs."""
    parser = argparse.ArgumentParser(
        prog="hfdistill",
        description="Distil a large language model's answers and rewards into a small one, on the Hugging Face Hub.",
    )
    parser.add_argument("--version", action="version", version=f"hfdistill {__version__}")
    verbs = parser.add_subparsers(dest="verb", metavar="verb", required=True)
    for verb in VERBS:
        importlib.import_module(f".commands.{verb}", __package__).add_parser(verbs)
    return parser
