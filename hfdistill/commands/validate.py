"""`hfdistill validate`: check a configuration without a GPU or a token."""

import argparse


def add_parser(verbs: argparse._SubParsersAction) -> None:
    """Add the verb."""
    parser = verbs.add_parser("validate", help="check a configuration without a GPU or a token")
    parser.add_argument("config", nargs="+", help="YAML files")
    parser.add_argument("--set", nargs="*", default=[], metavar="section.key=value", help="settings on top of them")
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> None:
    """Validate each file and say what it makes."""
    from ..runs.validation import validate

    for path in args.config:
        configs = validate(path, args.set)
        label, reward = configs["label"], configs["reward"]
        print(
            f"{path}: valid. Run {label.run.name!r}, task {label.task['name']}, teacher {label.teacher.model}, "
            f"student {reward.student.model}"
        )
