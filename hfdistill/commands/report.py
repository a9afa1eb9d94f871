"""`hfdistill report`: the tables of a finished run, read back from its artifacts."""

import argparse
from pathlib import Path


def add_parser(verbs: argparse._SubParsersAction) -> None:
    """Add the verb."""
    parser = verbs.add_parser("report", help="the tables of a finished run, read back from its artifacts")
    parser.add_argument("run", nargs="+", help="namespace/run, or folder/run of a run that was not pushed")
    parser.add_argument("--task", help="whose rows to show; the only one by default")
    parser.add_argument("--output", type=Path, help="also write the report as this Markdown file")
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> None:
    """Print the table of accuracies and the figures of labels and reward model."""
    from rich.console import Console

    from ..artifacts.references import open_artifact
    from ..errors import HFDistillError, unknown
    from ..kinds import RESULTS
    from ..runs.report import REPORTED, accuracy_rows, accuracy_table, figure_lines, markdown_table, summarise

    runs = []
    for name in args.run:
        manifests = {kind.name: open_artifact(f"{name}-{kind.name}", kind.repo_type, []).manifest for kind in REPORTED}
        tasks = list(manifests[RESULTS.name]["metrics"])
        if args.task is None and len(tasks) > 1:
            raise HFDistillError(f"{name} has results of several tasks, choose one by --task: {', '.join(tasks)}")
        task = args.task or tasks[0]
        if task not in tasks:
            raise unknown(f"task in the results of {name}:", task, tasks)
        runs.append(summarise(task, manifests))
    Console().print(accuracy_table(runs))
    lines = [line for summary in runs for line in figure_lines(summary)]
    print("\n".join(["", *lines]))
    if args.output:
        text = markdown_table(*accuracy_rows(runs)) + "\n\n" + "\n".join(f"- {line}" for line in lines) + "\n"
        args.output.write_text(f"# {', '.join(args.run)}\n\n{text}", encoding="utf-8")
