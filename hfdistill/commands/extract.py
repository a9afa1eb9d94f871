"""`hfdistill extract`: adds the final answer, or why there is none, to every row of a file."""

import argparse
from collections import Counter
from pathlib import Path

from ..errors import HFDistillError
from .label import PLACES, SOURCES


# What is added to a row, and the part of an answer that it is.
ADDED = {"answer": "value", "reason": "reason"}


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Adds the verb to the command line."""
    parser = subparsers.add_parser(
        "extract",
        help="add the final answer to every row of a file",
        description="Adds `answer` (or null) and `reason` (why it is null) to every row, lists of them where the row "
        "holds several responses. Rows that cannot be used are "
        "reported in a file of their own. Exit status: 0, 1 when rows were rejected, 2 for a mistake.",
    )
    parser.add_argument("--task", required=True, help="a name, `{name: …, options}` in YAML, or a run's YAML file")
    parser.add_argument("--input", required=True, help=SOURCES)
    parser.add_argument("--output", required=True, type=Path, help="JSON lines to write")
    parser.add_argument("--columns", nargs="+", default=[], metavar="WORD", help=PLACES)
    parser.add_argument("--field", help="where the response stands: short for --columns response=FIELD")
    parser.add_argument("--rejects", type=Path, help="rows that could not be used (default: OUTPUT.rejects.jsonl)")
    parser.set_defaults(func=_extract)


def _extract(args: argparse.Namespace) -> int:
    import orjson

    from ..labels.columns import column_mapping, what_to_give
    from ..labels.foreign import foreign_rows, texts_at
    from ..labels.rejects import RejectedRow, RejectsFile
    from ..tasks import load_task
    from .tasks import section_of

    task = load_task(section_of(args.task))
    mapping = column_mapping([*args.columns, *([f"response={args.field}"] if args.field else [])])
    if args.output.exists() and args.output.resolve() == Path(args.input).resolve():
        raise HFDistillError(f"--output {args.output} is the file that is read: give another one")
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
                texts = texts_at(row, mapping["response"])
                question = _question(task, row, number, mapping)
                other = next((text for text in texts if not isinstance(text, str)), None)
                if not texts or None in texts:
                    detail = f"nothing at '{mapping['response']}'; {what_to_give(row, mapping, ['response'])}"
                    rejects.add(RejectedRow(number, "no_response", detail, row))
                elif other is not None:
                    rejects.add(RejectedRow(number, "response_not_text", f"a {type(other).__name__}", row))
                elif isinstance(question, str):
                    rejects.add(RejectedRow(number, "no_options", question, row))
                else:
                    answers = [task.extract(text, question) for text in texts]
                    reasons.update(answer.reason or "answered" for answer in answers)
                    made = {name: [vars(answer)[part] for answer in answers] for name, part in ADDED.items()}
                    row |= made if len(texts) > 1 else {name: values[0] for name, values in made.items()}
                    output.write(orjson.dumps(row, default=str) + b"\n")
        if rows == 0:
            raise HFDistillError(f"{args.input} holds no rows")
        print(f"{args.output}: {rows - rejects.count:,} of {rows:,} rows")
        for reason, count in reasons.most_common():
            print(f"  {reason:16} {count:,}")
        return rejects.report()


def _question(task, row: dict, number: int, mapping: dict[str, str]):
    """The question as far as extraction needs it, or what is missing of its options."""
    from ..labels.columns import found
    from ..tasks import Question

    options, count, question_id, text = (
        next(iter(found(row, mapping[name])), None) for name in ("options", "n_options", "question_id", "question")
    )
    if options is None and isinstance(count, int):
        options = [""] * count
    if options is not None and not (isinstance(options, list) and options):
        return f"options are {options!r}"[:200]
    if options is None and task.needs_options:
        return "neither options nor n_options"
    shown = None if options is None else tuple(map(str, options))
    return Question(str(number if question_id is None else question_id), str(text or ""), "train", shown)
