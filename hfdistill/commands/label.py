"""`hfdistill label`: the labelled dataset out of responses that someone else sampled."""

import argparse
import tempfile
from pathlib import Path

from ..errors import HFDistillError


SOURCES = "JSON in any form, CSV or Parquet, perhaps .gz or .zst; a folder of them, or a Hub dataset"
PLACES = "where columns are: distilabel, lm_eval, messages, openai_batch, sharegpt, trl, vllm, or pairs such as "
PLACES += "response=choices.-1.text"


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Adds the verb to the command line."""
    parser = subparsers.add_parser(
        "label",
        help="label responses that you already have",
        description="Writes the same dataset as the recipe label_teacher.py, from responses of your own. Rows need a "
        "question or question_id and a response; a confidence (high, low) or a temperature says which of them vote, "
        "without either all do. Exit status: 0, 1 when rows were rejected, 2 for a mistake.",
    )
    parser.add_argument("--task", required=True, help="a name, `{name: …, options}` in YAML, or a run's YAML file")
    parser.add_argument("--responses", required=True, help=SOURCES)
    parser.add_argument("--requests", metavar="FILE", help="the requests that an OpenAI batch answered, by custom_id")
    parser.add_argument("--split", default="train", help="of a Hub dataset (default: %(default)s)")
    parser.add_argument("--output", required=True, help="folder to write, or with --push a repository")
    parser.add_argument("--push", action="store_true", help="publish to the Hub as the repository OUTPUT")
    parser.add_argument("--private", action="store_true", help="make that repository private")
    parser.add_argument(
        "--overwrite_edits", action="store_true", help="replace a dataset there whose data was edited by hand"
    )
    parser.add_argument(
        "--columns",
        nargs="+",
        default=[],
        metavar="WORD",
        help=PLACES,
    )
    parser.add_argument("--labeler", default="vote", help="a name, or `{name: …, options}` in YAML")
    parser.add_argument("--threshold", type=float, help="share of votes to exceed (default: 0.7); 1 labels nothing")
    parser.add_argument(
        "--high_temperature", type=float, default=0.3, help="rows up to it vote (default: %(default)s)"
    )
    parser.add_argument(
        "--benchmarks", nargs="+", default=[], metavar="TASK", help="further tasks to look for training questions in"
    )
    parser.add_argument("--teacher", help="the model that responded, for the card; the column model by default")
    parser.add_argument("--license", help="licence of its outputs, for the card")
    parser.add_argument("--rejects", type=Path, help="rows that could not be used (default: OUTPUT.rejects.jsonl)")
    parser.set_defaults(func=_label)


def _label(args: argparse.Namespace) -> int:
    from ..artifacts.manifest import manifest
    from ..artifacts.store import Store
    from ..config import Config
    from ..kinds import LABELS
    from ..labels.checked import CheckedResponses
    from ..labels.columns import column_mapping
    from ..labels.foreign import RowReader, batch_requests, foreign_rows
    from ..labels.labelers import load_labeler
    from ..labels.labelling import label_and_write
    from ..labels.matching import QuestionMatcher
    from ..labels.questions import load_benchmarks
    from ..labels.rejects import RejectsFile
    from ..sections import RunConfig, TeacherConfig
    from ..tasks import load_task
    from .tasks import section_of

    # 1. Everything that can be wrong before a row is read.
    check_place(args.output, args.push)
    section, labeler_section = section_of(args.task), section_of(args.labeler)
    if args.threshold is not None:
        labeler_section["threshold"] = args.threshold
    task, labeler = load_task(section), load_labeler(labeler_section)
    benchmarks = load_benchmarks([section_of(text) for text in args.benchmarks])
    labeler.check(task)
    requests = batch_requests(args.requests) if args.requests else None
    mapping = column_mapping(args.columns or (["openai_batch"] if args.requests else []))
    reader = RowReader(mapping, args.high_temperature, requests, plain_text=task.open_ended)
    name = args.output.rstrip("/")
    run = RunConfig(
        name.rpartition("/")[2], push=args.push, private=args.private, overwrite_edits=args.overwrite_edits
    )
    store = Store(run, name)
    store.prepare(LABELS)
    output = args.output.replace("/", "-") if args.push else name
    with (
        RejectsFile(args.rejects or Path(output + ".rejects.jsonl")) as rejects,
        tempfile.TemporaryDirectory() as work,
    ):
        # 2. Rows, checked and matched with the task's questions.
        matcher = QuestionMatcher(task)
        responses = CheckedResponses(Path(work) / "responses.jsonl")
        responses.fill(foreign_rows(args.responses, args.split), reader, matcher, rejects.add)
        if responses.accepted == 0:
            rejects.report()
            why = f"all {rejects.count:,} were rejected" if rejects.count else "it holds none"
            raise HFDistillError(f"no row of {args.responses} can be labelled: {why}")
        responses.check_voters(args.high_temperature, labeler)
        asked = [question for question in matcher.by_id.values() if question.question_id in responses.question_ids]

        if not task.has_questions:
            task.adopt(asked, matcher.golds)

        # 3. Labels, figures, card.
        verdicts = Path(output + ".verdicts")
        folder = Path(work) / "dataset"
        metrics = label_and_write(folder, asked, responses, task, labeler, benchmarks, verdicts=verdicts)
        metrics["voters"] = {str(voters): count for voters, count in sorted(responses.voters().items())}
        teacher = TeacherConfig(
            args.teacher or ", ".join(metrics["models"]) or "an unnamed model", license=args.license
        )
        given = {"responses": args.responses, "labeler": labeler_section, "high_temperature": args.high_temperature}
        made = manifest(LABELS, Config(run, section, teacher, None, None, given), {}, metrics)
        plots = sorted(path.relative_to(folder).as_posix() for path in folder.glob("plots/*.png"))
        published = store.publish(folder, LABELS, made, plots=plots)
        _note(reader.repeated, matcher.bad_golds)
        _report(metrics, f"{published.repo_id}@{published.revision}" if args.push else published.repo_id)
        return rejects.report()


def check_place(output: str, push: bool) -> None:
    """Refuse a folder that holds something else, which writing a dataset would replace."""
    place = Path(output)
    replaceable = place.is_dir() and (not any(place.iterdir()) or (place / "hfdistill.json").is_file())
    if not push and place.exists() and not replaceable:
        raise HFDistillError(f"{place} holds other files: give --output a new folder, or one that hfdistill wrote")


def _note(repeated: int, bad_golds: dict[str, str]) -> None:
    if repeated:
        print(f"note: {repeated:,} rows hold the responses of earlier ones under another filter, and are left out")
    for question_id, why in list(bad_golds.items())[:1]:
        print(f"note: {len(bad_golds):,} questions have no gold answer that can be used; {question_id}: {why}")


def _report(made: dict, place: str) -> None:
    from ..artifacts.figures import text
    from ..labels.overlap import overlap_line

    print(f"{place}: {made['responses']:,} responses to {made['questions']:,} questions")
    for name in ("without_label", "pseudo_labels_right", "unextractable"):
        if name in made:
            print(f"  {name.replace('_', ' '):20} {text(made[name])}")
    if len(made["voters"]) > 1:
        spread = ", ".join(f"{count:,} with {voters}" for voters, count in made["voters"].items())
        print(f"  note: questions differ in their number of voters: {spread[:300]}")
    for name, figures in made.get("overlap", {}).items():
        print(f"  overlap with {overlap_line(figures, name)}")
