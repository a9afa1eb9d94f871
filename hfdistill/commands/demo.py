"""`hfdistill demo`: the whole method on this machine, from nothing."""

import argparse
import signal
from contextlib import ExitStack
from pathlib import Path

from ..errors import HFDistillError
from .space import open_space


def add_parser(verbs: argparse._SubParsersAction) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "demo",
        help="run the whole method on this machine, from nothing",
        description="Train a small teacher and a smaller student from scratch on generated word problems, run the "
        "five recipes against a Hub and an endpoint on this machine, and report what came out. A second call goes on "
        "where the first was stopped.",
    )
    parser.add_argument("--dir", type=Path, default=Path("demo"), help="folder for everything it writes (demo)")
    parser.add_argument("--seeds", type=int, default=1, help="repeat it for this many seeds, from 2 on (1)")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the work; below 1 the figures mean little")
    parser.add_argument("--space", action="store_true", help="open the comparison Space on the finished demo")
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int | None:
    """Run the demo, or open its Space."""
    from filelock import FileLock, Timeout

    from ..demo.pipeline import is_complete, run_demo, same_ports, start_hub
    from ..demo.report import show, write
    from ..demo.steps import FIRST_SEED, Demo
    from ..runs.processes import end_leftovers

    if args.seeds < 1 or not 0 < args.scale <= 1:
        raise HFDistillError("--seeds must be at least 1, and --scale above 0 and at most 1")
    args.dir.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    ports = same_ports(args.dir)
    demos = [Demo(args.dir, seed, args.scale, *ports) for seed in range(FIRST_SEED, FIRST_SEED + args.seeds)]
    try:
        with FileLock(args.dir / "lock", timeout=0):
            end_leftovers(args.dir)
            if args.space:
                if not is_complete(demos[0]):
                    raise HFDistillError(f"the demo in {args.dir} is not complete: run `hfdistill demo` first")
                with ExitStack() as servers:
                    start_hub(demos[0], servers)
                    return open_space(demos[0].run, demos[0].environment())
            for demo in demos:
                if is_complete(demo):
                    print(f"seed {demo.seed} is complete; delete {demo.output_dir} to make it anew")
                else:
                    run_demo(demo)
            show(write(args.dir, demos), demos[0])
    except Timeout:
        raise HFDistillError(f"another `hfdistill demo` is at work in {args.dir}") from None
