"""`hfdistill validate`: check a configuration, and open the student without its weights."""

import argparse


SECONDS = 3.0  # that an endpoint may take


def add_parser(verbs: argparse._SubParsersAction) -> None:
    """Add the verb."""
    parser = verbs.add_parser("validate", help="check a configuration and open its student, without a GPU or a weight")
    parser.add_argument("config", nargs="+", help="YAML files")
    parser.add_argument("--set", nargs="*", default=[], metavar="section.key=value", help="settings on top of them")
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> None:
    """Validate each file, and say what it makes and how its models will be asked."""
    from huggingface_hub.utils import disable_progress_bars

    from ..runs.opening import describe_teacher, say_of_student
    from ..runs.validation import validate
    from ..tasks import load_task
    from ..teacher.now import say_of_endpoints

    disable_progress_bars()  # what is fetched is small
    for path in args.config:
        configs = validate(path, args.set)
        label, student = configs["label"], configs["reward"].student
        task = load_task(label.task)
        told = say_of_student(student, task)
        print(f"{path}: valid. Run {label.run.name!r}, task {label.task['name']}")
        print(f"  {describe_teacher(label.teacher, task)}\n  {told}")
        for _, said in say_of_endpoints(label.teacher, SECONDS):
            print(f"  {said}")
