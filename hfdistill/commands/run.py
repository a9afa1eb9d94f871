"""`hfdistill run`: the five stages of a configuration in order."""

import argparse
from pathlib import Path


def add_parser(verbs: argparse._SubParsersAction) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "run",
        help="run the five stages of a configuration in order",
        description="Launch the five recipes one after another by `accelerate launch`. A stage whose artifact is "
        "complete says so and does nothing; one that was cut off goes on from its journal or checkpoint.",
    )
    parser.add_argument("config", help="YAML file of the run")
    parser.add_argument("--accelerate_config", help="accelerate's configuration for the training stages")
    parser.add_argument("--cpu", action="store_true", help="train on the CPU, in one process")
    parser.add_argument("--from", dest="first", default="label", help="first stage to run (label)")
    parser.add_argument("--to", dest="last", default="evaluate", help="last stage to run (evaluate)")
    parser.add_argument("--set", nargs="*", default=[], metavar="section.key=value", help="settings for every stage")
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Validate the configuration, then run the stages."""
    from ..config import RunConfig, read_sections
    from ..errors import HFDistillError, unknown
    from ..kinds import STAGES
    from ..runs.stages import stages
    from ..runs.steps import Runner
    from ..runs.validation import validate

    for stage in (args.first, args.last):
        if stage not in STAGES:
            raise unknown("stage", stage, STAGES)
    names = list(STAGES)
    wanted = names[names.index(args.first) : names.index(args.last) + 1]
    if not wanted:
        raise HFDistillError(f"--from {args.first} comes after --to {args.last}: the order is {', '.join(names)}")
    flags = [f"--{setting}" for setting in args.set]
    validate(args.config, flags)
    accelerate = ["--config_file", args.accelerate_config] if args.accelerate_config else []
    if args.cpu:
        accelerate = ["--cpu", "--num_processes", "1", "--mixed_precision", "no"]
    steps = [step for step in stages(args.config, flags, accelerate) if step.name in wanted]
    folder = Path(RunConfig(**read_sections(args.config)["run"]).output_dir)
    Runner(folder, {}, keep_finished=False).run(steps, f"Run {args.config}")
    return 0
