"""`hfdistill relabel`: labels with some of them wrong, withheld, or replaced by golds, for studies."""

import argparse
import tempfile
import time
from pathlib import Path

from .label import check_place


def add_parser(verbs: argparse._SubParsersAction) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "relabel",
        help="labels with some of them wrong, withheld, or replaced by gold answers",
        description="Makes a labelled dataset of another one, for studies of what labels are worth. Every stage reads "
        "it by --labels. What was made before with the same settings is found and left alone.",
    )
    parser.add_argument("labels", help="the labelled dataset: a repository or a folder")
    parser.add_argument("--output", required=True, help="folder to write, or with --push a repository")
    parser.add_argument("--push", action="store_true", help="publish to the Hub as the repository OUTPUT")
    parser.add_argument("--private", action="store_true", help="make that repository private")
    parser.add_argument(
        "--overwrite_edits", action="store_true", help="replace a dataset there whose data was edited by hand"
    )
    parser.add_argument("--noise", type=float, default=0.0, metavar="SHARE", help="share of the labels to make wrong")
    parser.add_argument("--seed", type=int, default=0, help="of which labels those are (0)")
    parser.add_argument(
        "--withhold",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="share of the questions that are to have no label, the least sure ones first",
    )
    parser.add_argument(
        "--gold", action="store_true", help="take gold answers for the labels of training questions: the ceiling"
    )
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> None:
    """Derive and publish, unless it is there already."""
    from ..artifacts.figures import text
    from ..artifacts.manifest import fingerprint, manifest
    from ..artifacts.references import open_artifact
    from ..artifacts.store import Store
    from ..config import Config
    from ..errors import HFDistillError
    from ..kinds import LABELS
    from ..labels.derived import RelabelConfig, relabel_and_write
    from ..labels.questions import take_questions
    from ..sections import RunConfig, TeacherConfig
    from ..tasks import load_task

    settings = RelabelConfig(args.gold, args.noise, args.withhold)
    check_place(args.output, args.push)
    name = args.output.rstrip("/")
    run = RunConfig(
        name.rpartition("/")[2],
        seed=args.seed,
        push=args.push,
        private=args.private,
        overwrite_edits=args.overwrite_edits,
    )
    store = Store(run, name)
    parent = open_artifact(args.labels, LABELS.repo_type)
    if parent.manifest.get("kind") != LABELS.name:
        raise HFDistillError(f"{args.labels} holds no labels that hfdistill made: name a dataset of labels")
    if Path(name).resolve() == parent.path.resolve():
        raise HFDistillError(f"--output is {args.output}, the labels themselves: give another place")
    section, teacher = parent.manifest["config"]["task"], parent.manifest["teacher"]
    config = Config(run, section, TeacherConfig(**teacher) if teacher else None, None, settings, vars(settings))
    parents = {"labels": parent}
    if found := store.find(LABELS, fingerprint(LABELS, config, parents)):
        print(f"{found.repo_id} is complete at {found.revision[:12]}")
        return
    store.prepare(LABELS, manifest(LABELS, config, parents))
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        task = take_questions(load_task(section), parent.path)
        metrics = relabel_and_write(folder, parent.path, task, settings, args.seed)
        known = parent.manifest["metrics"]
        told = {name: known[name] for name in ("served", "overlap") if name in known}
        cost = {"seconds": round(time.monotonic() - started, 1)}
        made = manifest(LABELS, config, parents, {**metrics, **told}, cost)
        plots = sorted(path.relative_to(folder).as_posix() for path in Path(folder).glob("plots/*.png"))
        published = store.publish(folder, LABELS, made, plots=plots)
    print(f"{published.repo_id} is published at {published.revision[:12]}")
    for figure in ("changed", "right_before", "right_after"):
        if figure in metrics["relabelled"]:
            print(f"  {figure.replace('_', ' '):13} {text(metrics['relabelled'][figure])}")
    print(f"  {'without label':13} {text(metrics['without_label'])}")
