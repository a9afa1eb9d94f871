"""`hfdistill extract`: adds the final answer, or why there is none, to every row of a file."""

import argparse
from collections import Counter
from pathlib import Path

from ..errors import HFDistillError


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Adds the verb to the command line."""
    parser = subparsers.add_parser(
        "extract",
        help="add the final answer to every row of a JSON-lines file",
        description="Adds `answer` (or null) and `reason` (why it is null) to every row. Rows that cannot be used are "
        "reported in a file of their own. Exit status: 0, 1 when rows were rejected, 2 for a mistake.",
    )
    parser.add_argument("--task", required=True, help="a name, `{name: …, options}` in YAML, or a run's YAML file")
    parser.add_argument("--input", required=True, help="JSON lines, Parquet, a folder of them, or a Hub dataset")
    parser.add_argument("--output", required=True, type=Path, help="JSON lines to write")
    parser.add_argument("--field", default="response", help="where the response stands (default: %(default)s)")
    parser.add_argument("--rejects", type=Path, help="rows that could not be used (default: OUTPUT.rejects.jsonl)")
    parser.set_defaults(func=_extract)


def _extract(args: argparse.Namespace) -> int:
    import orjson

    from ..labels.foreign import foreign_rows, found
    from ..labels.rejects import RejectedRow, RejectsFile
    from ..tasks import load_task
    from .tasks import section_of

    task = load_task(section_of(args.task))
    reasons: Counter[str] = Counter()
    rows = 0
    args.output.parent.mkdir(parents=True, exist_ok=True)
    with RejectsFile(args.rejects or args.output.with_name(args.output.name + ".rejects.jsonl")) as rejects:
        with args.output.open("wb") as output:
            for number, row in foreign_rows(args.input):
                rows += 1
                if isinstance(row, RejectedRow):
                    rejects.add(row)
                    continue
                values = found(row, args.field)
                question = _question(task, row, number)
                if not values or values[0] is None:
                    rejects.add(RejectedRow(number, "no_response", f"nothing at '{args.field}'", row))
                elif not isinstance(values[0], str):
                    rejects.add(RejectedRow(number, "response_not_text", f"a {type(values[0]).__name__}", row))
                elif isinstance(question, str):
                    rejects.add(RejectedRow(number, "no_options", question, row))
                else:
                    answer = task.extract(values[0], question)
                    reasons[answer.reason or "answered"] += 1
                    row |= {"answer": answer.value, "reason": answer.reason}
                    output.write(orjson.dumps(row, default=str) + b"\n")
        if rows == 0:
            raise HFDistillError(f"{args.input} holds no rows")
        print(f"{args.output}: {rows - rejects.count:,} of {rows:,} rows")
        for reason, count in reasons.most_common():
            print(f"  {reason:16} {count:,}")
        return rejects.report()


def _question(task, row: dict, number: int):
    """The question as far as extraction needs it, or what is missing of its options."""
    from ..tasks import Question

    options = row.get("options")
    if options is None and isinstance(row.get("n_options"), int):
        options = [""] * row["n_options"]
    if options is not None and not (isinstance(options, list) and options):
        return f"options are {options!r}"[:200]
    if options is None and task.needs_options:
        return "neither options nor n_options"
    return Question(
        str(row.get("question_id", number)),
        str(row.get("question", "")),
        "train",
        None if options is None else tuple(map(str, options)),
    )
