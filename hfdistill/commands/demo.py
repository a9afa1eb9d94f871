"""`hfdistill demo`: the whole method on this machine, from nothing, and the study of it."""

import argparse
import os
import signal
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import HFDistillError
from .ablate import add_table_flags, check_table_flags, command_of, write_and_tell
from .space import open_space


if TYPE_CHECKING:
    from ..demo.steps import Demo


def add_parser(verbs: argparse._SubParsersAction) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "demo",
        help="run the whole method on this machine, from nothing",
        description="Train a small teacher and a smaller student from scratch on generated word problems, run the "
        "five recipes against a Hub and an endpoint on this machine, and report what came out. With --table a table "
        "of the study instead, as `hfdistill ablate` makes them. A second call goes on where the first was stopped.",
    )
    parser.add_argument("--dir", type=Path, default=Path("demo"), help="folder for everything it writes (demo)")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the work; below 1 the figures mean little")
    parser.add_argument("--space", action="store_true", help="open the comparison Space on the finished demo")
    add_table_flags(parser, needed=False, jobs=2)
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int | None:
    """Run the demo or a table of the study, or open the demo's Space."""
    from filelock import FileLock, Timeout

    from ..demo.pipeline import is_complete, same_ports, start_hub
    from ..demo.steps import FIRST_SEED, Demo
    from ..servers.recorded import end_leftovers

    check_table_flags(args)
    if not 0 < args.scale <= 1:
        raise HFDistillError(f"--scale is {args.scale}: it must be above 0 and at most 1")
    if args.table is None and (args.plan or args.without):
        raise HFDistillError("--plan and --without go with --table: name one")
    args.dir.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    first = FIRST_SEED if args.first_seed is None else args.first_seed
    ports = same_ports(args.dir)
    demos = [Demo(args.dir, seed, args.scale, *ports) for seed in range(first, first + args.seeds)]
    try:
        with FileLock(args.dir / "lock", timeout=0):
            for folder in (args.dir, *(demo.output_dir for demo in demos)):
                end_leftovers(folder)
            if args.space:
                if not is_complete(demos[0]):
                    raise HFDistillError(f"the demo in {args.dir} is not complete: run `hfdistill demo` first")
                with ExitStack() as servers:
                    start_hub(demos[0], servers)
                    return open_space(demos[0].run, demos[0].environment())
            if args.table:
                return _table(args, demos)
            _demo(demos, args.jobs)
    except Timeout:
        raise HFDistillError(f"another `hfdistill demo` is at work in {args.dir}") from None


def _demo(demos: Sequence["Demo"], jobs: int) -> None:
    from ..demo.pipeline import is_complete, run_demo
    from ..demo.report import show, write

    for demo in demos:
        if is_complete(demo):
            print(f"seed {demo.seed} is complete; delete {demo.output_dir} to make it anew")
        else:
            run_demo(demo, jobs)
    show(write(demos[0].folder, demos), demos[0])


def _table(args: argparse.Namespace, demos: Sequence["Demo"]) -> None:
    """A table of the study on the demo's task."""
    # This process looks at the artifacts, too: before anything of the Hub's client is imported.
    os.environ.update(demos[0].environment())
    from ..demo.pipeline import plan_table, start_hub, teachers_for
    from ..runs.ablation_run import run_study, show_plan

    by_seed = {demo.seed: demo for demo in demos}
    with ExitStack() as servers:
        start_hub(demos[0], servers)
        study = plan_table(demos, args.table, args.without, args.jobs)
        show_plan(study)
        if args.plan:
            return
        path = run_study(
            study,
            args.dir / "ablations",
            command_of(args),
            demos[0].environment(),
            lambda plan: teachers_for(by_seed[plan.seed], plan),
        )
        write_and_tell(path)
