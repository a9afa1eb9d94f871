"""`hfdistill estimate`: requests, tokens, hours, money and memory of a run, before any is spent."""

import argparse
import json
from dataclasses import asdict
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from ..runs.fitting import Fitting
    from ..runs.hardware import Machines


def add_parser(verbs: argparse._SubParsersAction) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "estimate",
        help="requests, tokens, hours, money and memory of a run, before any is spent",
        description="Ask the teacher a few questions, measure, and say what the whole run asks for. The teacher's "
        "prices are teacher.gpu_hour_price, teacher.input_price and teacher.output_price of the configuration. How "
        "fast the student is nobody knows before it ran: say so, or name a run that did. Which memory and disk each "
        "stage takes is counted from the student's config, without its weights.",
    )
    parser.add_argument("config", help="YAML file of the run")
    parser.add_argument("--questions", type=int, default=8, help="questions to ask (8); 0 asks nothing and assumes")
    parser.add_argument("--samples", type=int, default=7, help="responses to each beside the greedy one (7)")
    for flag, metavar, what in (
        ("--student_tokens_per_second", "RATE", "tokens a second that the student's machine generates"),
        ("--ppo_episodes_per_second", "RATE", "episodes a second of PPO there, which logs them as `eps`"),
        ("--student_hour_price", "PRICE", "price of an hour of that machine"),
    ):
        parser.add_argument(flag, type=_positive, metavar=metavar, help=what)
    parser.add_argument("--like", metavar="RUN", help="take both rates from an earlier run that was not cut off")
    add_memory_flags(parser)
    parser.add_argument(
        "--hardware",
        metavar="GPUS",
        help="plan for these instead, a100x8 or 2xh100x8: how to launch, and about how long",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--set", nargs="*", default=[], metavar="section.key=value", help="settings on top of it")
    parser.set_defaults(func=run)


def add_memory_flags(parser: argparse.ArgumentParser) -> None:
    """Flags that say how and where the training stages are to run."""
    parser.add_argument(
        "--accelerate_config", metavar="FILE", help="launch configuration of the training stages; one process without"
    )
    parser.add_argument(
        "--device_memory", type=_positive, metavar="GB", help="memory of the device that is planned for; this one's"
    )


def _positive(text: str) -> float:
    value = float(text)
    if value <= 0:
        raise argparse.ArgumentTypeError(f"{text} is not positive")
    return value


def run(args: argparse.Namespace) -> None:
    """Probe, estimate, print."""
    from ..errors import HFDistillError
    from ..labels.questions import questions_to_label
    from ..runs.estimate import estimate, guess, probe
    from ..runs.fitting import fit_run, plan_launch
    from ..runs.hardware import Machines
    from ..runs.hours import asked_of
    from ..runs.validation import stage_config
    from ..tasks import load_task

    hardware = Machines.read(args.hardware) if args.hardware else None
    if hardware and (args.accelerate_config or args.device_memory):
        raise HFDistillError("--hardware says how to launch, and what memory there is: leave the other two out")
    config = stage_config("label", args.config, args.set)
    task = load_task(config.task)
    if args.questions > 0:
        rates = probe(config, task, questions_to_label(task)[: args.questions], args.samples)
    else:
        rates = guess(task, config.stage, len(config.teacher.endpoints))
    student = _student(args, rates.completion_tokens) if config.student else None
    rows = estimate(config, task, rates, student, _judges(args, config, task))
    fitting, unknown = None, ""
    if config.student:
        try:
            if hardware:
                asked = asked_of(config, stage_config("evaluate", args.config, args.set).stage, task, rates)
                fitting = plan_launch(args.config, args.set, hardware, asked)
            else:
                fitting = fit_run(args.config, args.set, args.accelerate_config, args.device_memory)
        except HFDistillError as error:
            unknown = f"What memory the student takes cannot be told: {error}"
    if args.json:
        made = {"rows": [asdict(row) for row in rows], "rates": asdict(rates), "student": student and asdict(student)}
        made |= {"device": fitting and asdict(fitting.device), "launch": fitting and asdict(fitting.spread)}
        made["memory"] = [asdict(fit) for fit in fitting.fits] if fitting else []
        print(json.dumps(made))
        return
    _print(rows, rates, student)
    if fitting is not None:
        print_fits(fitting, hardware)
    elif unknown:
        print(unknown)


def _judges(args: argparse.Namespace, config, task) -> dict:
    """Who labels the teacher's responses, and in an open-ended task the student's."""
    from ..kinds import LABELS, TRIPLES
    from ..labels.judges import open_judge
    from ..labels.labelers import load_labeler
    from ..runs.validation import stage_config

    labeler = load_labeler(config.stage.labeler_section())
    labeler.check(task)
    judges = {LABELS.name: labeler}
    if task.open_ended and config.student:
        judges[TRIPLES.name] = open_judge("reward", stage_config("reward", args.config, args.set), task, None)
    return judges


def _student(args: argparse.Namespace, completion_tokens: float):
    from ..runs.estimate import StudentRates, rates_of
    from ..runs.validation import stage_config

    tokens, episodes = rates_of(args.like, completion_tokens) if args.like else (None, None)
    reward, ppo = (stage_config(stage, args.config, args.set).stage for stage in ("reward", "ppo"))
    return StudentRates(
        reward.samples,
        ppo.total_episodes or 0,
        ppo.num_ppo_epochs,
        args.student_tokens_per_second or tokens,
        args.ppo_episodes_per_second or episodes,
        args.student_hour_price,
    )


def _print(rows: list, rates, student) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None)
    table.add_column("", no_wrap=True)
    for name in ("requests", "prompt tokens", "generated tokens", "trained tokens", "hours", "cost"):
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(
            row.kind,
            f"{row.requests:,}",
            f"{row.prompt_tokens:,}",
            f"{row.completion_tokens:,}",
            f"{row.trained_tokens:,}" if row.trained_tokens else "-",
            "-" if row.hours is None else f"{row.hours:,.2f}",
            "-" if row.cost is None else f"{row.cost:,.2f}",
        )
    console = Console()
    console.print(table)
    lines = [f"The teacher's tokens and hours: {rates.measured}."]
    if rows[0].cost is None:
        lines.append("For its cost set teacher.gpu_hour_price, or teacher.input_price and teacher.output_price.")
    if any(row.kind.endswith("judge") for row in rows):
        lines.append(
            "A judge's replies are taken to be half as long as they may be, at the teacher's prices; its grading of "
            "answers to test questions comes on top."
        )
    if student is not None:
        lines.append("The student's responses are taken to be as long as the teacher's.")
        if student.tokens_per_second is None:
            lines.append("For the hours of the triples give --student_tokens_per_second, or --like RUN.")
        if student.episodes_per_second is None:
            lines.append("For the hours of the policy give --ppo_episodes_per_second, or --like RUN.")
        if student.hour_price is None:
            lines.append("For the cost of both give --student_hour_price.")
    for line in lines:
        console.print(line, highlight=False, soft_wrap=True)


def print_fits(fitting: "Fitting", hardware: "Machines | None" = None) -> None:
    """Memory and disk of each stage beside what there is, and the way out where it is too little; on hardware that is
    planned for its hours, and how to launch.
    """
    from rich.console import Console
    from rich.table import Table

    from ..runs.fitting import GIGABYTE
    from ..runs.hardware import describe_launch
    from ..runs.hours import ASSUMED

    table = Table(box=None)
    table.add_column("GB of a process", no_wrap=True)
    for name in ("memory", "disk", *(["hours"] if hardware else [])):
        table.add_column(name, justify="right")
    table.add_column("of which")
    for fit in fitting.fits:
        parts = sorted(fit.need.parts.items(), key=lambda part: -part[1])
        of_which = ", ".join(f"{name} {size / GIGABYTE:.1f}" for name, size in parts if size >= GIGABYTE / 20)
        figures = [fit.need.memory / GIGABYTE, fit.need.disk / GIGABYTE, *([fit.hours] if hardware else [])]
        table.add_row(fit.need.stage, *(f"{figure:.1f}" for figure in figures), of_which)
    console = Console()
    console.print(table)
    memory, disk = fitting.device.memory / GIGABYTE, fitting.device.disk / GIGABYTE
    lines = [
        "This is the most, if all responses are as long as they may be. "
        f"There are {memory:.1f} GB of memory on {fitting.device.name}, and {disk:.1f} GB of disk."
    ]
    if hardware:
        lines += [f"Launch it by {describe_launch(fitting.spread)}.", f"{ASSUMED}; `--like RUN` has measured rates."]
        if fitting.spread.processes < hardware.all_gpus:
            lines.append(f"More of the {hardware.all_gpus} GPUs cannot share every stage's update equally.")
    lines += [f"{fit.need.stage} does not fit into the memory: {fit.way_out}." for fit in fitting.fits if not fit.fits]
    for fit in fitting.fits:
        if not fit.disk_fits:
            lines.append(
                f"{fit.need.stage} does not fit on the disk: set run.output_dir to a larger one, or "
                f"{fit.need.stage}.save_total_limit=1."
            )
    for line in lines:
        console.print(line, highlight=False, soft_wrap=True)
