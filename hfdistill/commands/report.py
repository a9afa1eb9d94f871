"""`hfdistill report`: the tables of a finished run, or of a study's ablations, read back from the artifacts."""

import argparse
from pathlib import Path


def add_parser(verbs: argparse._SubParsersAction) -> None:
    """Add the verb."""
    parser = verbs.add_parser("report", help="the tables of a finished run or of ablations, read from the artifacts")
    parser.add_argument("run", nargs="*", help="namespace/run, or folder/run of a run that was not pushed")
    parser.add_argument("--task", help="whose rows to show; the only one by default")
    parser.add_argument(
        "--tables", type=Path, metavar="FOLDER", help="instead of runs: the tables of ablations in this folder"
    )
    parser.add_argument(
        "--output",
        type=Path,
        help="of runs: also write the report as this Markdown file; of tables: the folder for report.md and "
        "report.html, theirs by default",
    )
    parser.add_argument(
        "--push", action="store_true", help="of tables: also put the report into the results of the first of them"
    )
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> None:
    """Print the tables of runs, or write the report on tables of ablations."""
    from ..errors import HFDistillError

    if args.tables and args.run:
        raise HFDistillError(
            f"--tables {args.tables} is a report of its own: give it, or runs ({', '.join(args.run)})"
        )
    if args.tables:
        _report_tables(args)
    elif args.push:
        raise HFDistillError("--push is for the report on tables of ablations: give their folder by --tables")
    elif not args.run:
        raise HFDistillError("nothing to report: name a run (namespace/run), or a folder of tables by --tables")
    else:
        _report_runs(args)


def _report_tables(args: argparse.Namespace) -> None:
    from ..report.pushing import push_report
    from ..report.writing import write_report

    written = write_report(args.tables, args.output)
    print(written.summary)
    print(f"\n{written.folder / 'report.html'} and report.md: {', '.join(table.title for table in written.tables)}")
    if args.push:
        print("\n".join(f"pushed into {place}" for place in push_report(written)))


def _report_runs(args: argparse.Namespace) -> None:
    from rich.console import Console

    from ..artifacts.references import open_artifact
    from ..errors import HFDistillError, unknown
    from ..kinds import RESULTS
    from ..report.markdown import markdown_table
    from ..report.one_run import REPORTED, accuracy_rows, accuracy_table, figure_lines, summarise

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
