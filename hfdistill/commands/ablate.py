"""`hfdistill ablate`: a table of a study, its plan first."""

import argparse
import signal
from pathlib import Path


def add_parser(verbs: argparse._SubParsersAction) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "ablate",
        help="a table of a study: rows that share whatever they have in common, for several seeds",
        description="Run the recipes for every row of a table, for one seed after another. The plan is printed first: "
        "steps, time, what is asked of the teacher, and what cannot work. What is finished is never made again, by "
        "whatever table or command it was made; kill it at any moment, and the same command goes on.",
    )
    parser.add_argument("config", help="YAML file of the run")
    add_table_flags(parser)
    parser.add_argument("--accelerate_config", help="accelerate's configuration for training and evaluation")
    parser.add_argument("--cpu", action="store_true", help="train on the CPU, in one process")
    parser.add_argument("--set", nargs="*", default=[], metavar="section.key=value", help="settings on top of it")
    parser.set_defaults(func=run)


def add_table_flags(parser: argparse.ArgumentParser, needed: bool = True, jobs: int = 1) -> None:
    """Flags that say which table, for which seeds; so many steps at once by default."""
    parser.add_argument(
        "--table",
        required=needed,
        help="main, rm, source, lambda, ratio or minus (the paper's), rewards, baselines, noise, fail or yardstick",
    )
    parser.add_argument("--seeds", type=int, default=1, help="how many seeds (1)")
    parser.add_argument("--first_seed", type=int, help="the first of them, by default the configuration's")
    parser.add_argument("--jobs", type=int, default=jobs, help=f"steps at once ({jobs})")
    parser.add_argument("--without", nargs="+", default=[], metavar="ROW", help="rows to leave out")
    parser.add_argument("--plan", action="store_true", help="print the plan, and run nothing")


def check_table_flags(args: argparse.Namespace) -> None:
    """Refuse a table that there is not, and numbers that make no sense."""
    from ..errors import HFDistillError, unknown
    from ..runs.ablation_tables import ablation_tables

    if args.table is not None and args.table not in (known := ablation_tables()):
        raise unknown("table", args.table, known)
    for name in ("seeds", "jobs"):
        if vars(args)[name] < 1:
            raise HFDistillError(f"--{name} is {vars(args)[name]}: it must be at least 1")


def run(args: argparse.Namespace) -> None:
    """Plan, and run what is not done."""
    from filelock import FileLock, Timeout

    from ..errors import HFDistillError
    from ..flags import stage_flags
    from ..kinds import LABELS, STAGES
    from ..runs.ablation_grid import AblationGrid
    from ..runs.ablation_plan import plan_study
    from ..runs.ablation_run import run_study, show_plan
    from ..runs.seeds import settings_of
    from ..runs.stages import ON_CPU
    from ..runs.validation import stage_config

    check_table_flags(args)
    run = stage_config(LABELS.stage, args.config, args.set).run
    configured = ("--config_file", args.accelerate_config) if args.accelerate_config else ()
    first = run.seed if args.first_seed is None else args.first_seed
    flags = {stage: stage_flags(args.set, stage) for stage in STAGES}
    accelerate = ON_CPU if args.cpu else configured
    settings = settings_of(args.config, range(first, first + args.seeds), flags, accelerate)
    table = settings[0].table(args.table, args.without)
    study = plan_study(run.name, [AblationGrid(table, each) for each in settings], args.jobs)
    show_plan(study)
    if args.plan:
        return
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    folder = Path(run.output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / "ablate.lock", timeout=0):
            path = run_study(study, folder / "ablations", command_of(args), {})
    except Timeout:
        raise HFDistillError(f"another `hfdistill ablate` is at work in {folder}: wait for it to end") from None
    write_and_tell(path)


def write_and_tell(path: Path) -> None:
    """Write the report on all tables beside this one, unless none is new, and say what it begins with."""
    from ..report.writing import is_up_to_date, write_report

    if is_up_to_date(path.parent):
        said = "nothing is new since the report was written"
    else:
        said = f"{write_report(path.parent).summary}\n"
    print(f"{said}\ntable in {path}, report in {path.parent / 'report.html'} and report.md")


def command_of(args: argparse.Namespace) -> str:
    """The command that makes the table, as the report shows it."""
    import shlex
    import sys

    return shlex.join(["hfdistill", *(word for word in sys.argv[1:] if word != "--plan")])
