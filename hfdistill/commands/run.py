"""`hfdistill run`: the stages of a configuration in order, here, on a Slurm cluster or as a job of Hugging Face."""

import argparse
import signal
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import HFDistillError
from ..kinds import CHAIN


if TYPE_CHECKING:
    from ..config import Config

Configs = dict[str, "Config"]
Flags = dict[str, list[str]]
LOCAL, SLURM, JOBS = "local", "slurm", "jobs"
# The flags of each place, with what they are where they are not given.
ONLY_ON = {
    SLURM: {"shards": 1, "teachers": 0, "sbatch": [], "write": False},
    JOBS: {"flavor": "a100-large", "timeout": "1d", "package": None},
}


def add_parser(verbs: argparse._SubParsersAction) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "run",
        help="run the stages of a configuration in order",
        description="Launch the recipes one after another by `accelerate launch`. A stage whose artifact is "
        "complete says so and does nothing; one that was cut off goes on from its journal or checkpoint. Ctrl-C lets "
        "the stage put away what it has begun; a second one ends it at once. --on slurm writes a script for each job "
        "into OUTPUT_DIR/slurm and puts them into the queue; --on jobs runs the stages as one job on Hugging Face.",
    )
    parser.add_argument("config", help="YAML file of the run")
    parser.add_argument("--on", choices=(LOCAL, SLURM, JOBS), default=LOCAL, help="where (%(default)s)")
    parser.add_argument("--accelerate_config", help="accelerate's configuration for training and evaluation")
    parser.add_argument("--cpu", action="store_true", help="train on the CPU, in one process")
    first, *_, last = CHAIN
    parser.add_argument("--from", dest="first", default=first, help="first stage to run (%(default)s)")
    parser.add_argument("--to", dest="last", default=last, help="last stage to run (%(default)s)")
    parser.add_argument(
        "--overwrite_edits", action="store_true", help="replace data that somebody edited by hand in an artifact"
    )
    parser.add_argument("--set", nargs="*", default=[], metavar="section.key=value", help="settings on top of it")
    slurm, jobs = parser.add_argument_group("--on slurm"), parser.add_argument_group("--on jobs")
    slurm.add_argument("--shards", type=int, help="jobs that share the labelling (1)")
    slurm.add_argument("--teachers", type=int, help="jobs that serve the teacher, on a GPU each (0)")
    slurm.add_argument("--sbatch", nargs="*", metavar="option=value", help="for all jobs: partition=gpu time=12:00:00")
    slurm.add_argument("--write", action="store_true", default=None, help="write the scripts, and submit nothing")
    jobs.add_argument("--flavor", help="hardware, as `hf jobs hardware` lists it (a100-large)")
    jobs.add_argument("--timeout", help="longest duration of the job (1d)")
    jobs.add_argument("--package", help="hfdistill as a wheel, or as what pip installs: git+https://…@COMMIT")
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> None:
    """Validate the configuration, then run the stages."""
    from ..flags import stage_flags
    from ..runs.stages import between
    from ..runs.validation import validate

    names = between(args.first, args.last)
    for place, flags in ONLY_ON.items():
        for flag, value in flags.items():
            if place != args.on and vars(args)[flag] is not None:
                raise HFDistillError(f"--{flag} goes with --on {place}, and this is --on {args.on}: leave it out")
            setattr(args, flag, value if vars(args)[flag] is None else vars(args)[flag])
    settings = [*args.set, *(["run.overwrite_edits=true"] if args.overwrite_edits else [])]
    asked = [] if args.teachers else names
    configs = validate(args.config, settings, asked)
    flags = {name: stage_flags(settings, name) for name in names}
    {LOCAL: _here, SLURM: _on_slurm, JOBS: _on_jobs}[args.on](args, configs, names, flags)


def _here(args: argparse.Namespace, configs: Configs, names: list[str], flags: Flags) -> None:
    from ..runs.memory import read_spread
    from ..runs.runner import Runner
    from ..runs.stages import ON_CPU, stages

    if args.accelerate_config and read_spread(args.accelerate_config).machines > 1:
        raise HFDistillError(
            f"{args.accelerate_config} is for several machines, and --on local starts processes on this one: take its "
            "twin for one machine, --on slurm, or launch each recipe on every machine"
        )
    configured = ["--config_file", args.accelerate_config] if args.accelerate_config else []
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    steps = stages(args.config, names, flags, ON_CPU if args.cpu else configured)
    Runner(Path(configs[names[0]].run.output_dir), {}, keep_finished=False).run(steps, f"Run {args.config}")


def _on_slurm(args: argparse.Namespace, configs: Configs, names: list[str], flags: Flags) -> None:
    from ..places.slurm import Cluster, plan_jobs, slurm_folder, submit, write_scripts

    cluster = Cluster(args.shards, args.teachers, args.accelerate_config, args.cpu, args.sbatch)
    jobs, config = plan_jobs(configs, args.config, names, flags, cluster), configs[names[0]]
    folder = slurm_folder(config)
    for name in write_scripts(config, jobs):
        print(f"{folder / name} was edited, and stays as it is")
    if args.write:
        print(f"{len(jobs)} scripts are in {folder}; the same command without --write submits them")
        return
    for job, number in submit(config, jobs):
        waits = ", ".join([*job.after, *([job.while_runs] if job.while_runs else [])])
        print(f"job {number}: {job.name}" + (f", after {waits}" if waits else ""), flush=True)
    print(f"their output comes into {folder / 'logs'}; `squeue --me` shows them")


def _on_jobs(args: argparse.Namespace, configs: Configs, names: list[str], flags: Flags) -> None:
    from ..places.jobs import Order, run_as_job

    arguments = ["--from", args.first, "--to", args.last, *(["--cpu"] if args.cpu else [])]
    arguments += ["--overwrite_edits"] if args.overwrite_edits else []
    arguments += ["--set", *args.set] if args.set else []
    order = Order(args.config, arguments, args.flavor, args.timeout, args.package, args.accelerate_config)
    run_as_job(configs[names[0]], order)
