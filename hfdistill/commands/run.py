"""`hfdistill run`: the stages of a configuration in order."""

import argparse
import signal
from pathlib import Path

from ..kinds import CHAIN


def add_parser(verbs: argparse._SubParsersAction) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "run",
        help="run the stages of a configuration in order",
        description="Launch the recipes one after another by `accelerate launch`. A stage whose artifact is "
        "complete says so and does nothing; one that was cut off goes on from its journal or checkpoint. Ctrl-C lets "
        "the stage put away what it has begun; a second one ends it at once.",
    )
    parser.add_argument("config", help="YAML file of the run")
    parser.add_argument("--accelerate_config", help="accelerate's configuration for the training stages")
    parser.add_argument("--cpu", action="store_true", help="train on the CPU, in one process")
    first, *_, last = CHAIN
    parser.add_argument("--from", dest="first", default=first, help="first stage to run (%(default)s)")
    parser.add_argument("--to", dest="last", default=last, help="last stage to run (%(default)s)")
    parser.add_argument(
        "--overwrite_edits", action="store_true", help="replace data that somebody edited by hand in an artifact"
    )
    parser.add_argument("--set", nargs="*", default=[], metavar="section.key=value", help="settings on top of it")
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> None:
    """Validate the configuration, then run the stages."""
    from ..flags import stage_flags
    from ..runs.runner import Runner
    from ..runs.stages import ON_CPU, between, stages
    from ..runs.validation import validate

    names = between(args.first, args.last)
    settings = [*args.set, *(["run.overwrite_edits=true"] if args.overwrite_edits else [])]
    run = validate(args.config, settings, names)[names[0]].run
    configured = ["--config_file", args.accelerate_config] if args.accelerate_config else []
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    flags = {name: stage_flags(settings, name) for name in names}
    steps = stages(args.config, names, flags, ON_CPU if args.cpu else configured)
    Runner(Path(run.output_dir), {}, keep_finished=False).run(steps, f"Run {args.config}")
