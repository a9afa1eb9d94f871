"""`hfdistill estimate`: requests, tokens, hours and money of a run, before any is spent."""

import argparse


def add_parser(verbs: argparse._SubParsersAction) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "estimate",
        help="requests, tokens, hours and money of a run, before any is spent",
        description="Ask the teacher a few questions, measure, and say what the whole run asks for. Prices are the "
        "configuration's label.gpu_hour_price, label.input_price and label.output_price.",
    )
    parser.add_argument("config", help="YAML file of the run")
    parser.add_argument("--questions", type=int, default=8, help="questions to ask (8); 0 asks nothing and assumes")
    parser.add_argument("--samples", type=int, default=7, help="responses to each beside the greedy one (7)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--set", nargs="*", default=[], metavar="section.key=value", help="settings on top of it")
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Probe, estimate, print."""
    from ..config import load_config
    from ..tasks import load_task
    from ..teacher.config import LabelConfig
    from ..teacher.dataset import to_label
    from ..teacher.estimate import estimate, guess, probe

    flags = [f"--{setting.removeprefix('label.')}" for setting in args.set]
    config = load_config("label", LabelConfig, ["--config", args.config, *flags])
    task = load_task(config.task)
    if args.questions > 0:
        rates = probe(config, task, to_label(task)[: args.questions], args.samples)
    else:
        rates = guess(task, config.stage, len(config.teacher.endpoints))
    samples, episodes = _student(args.config) if config.student else (0, 0)
    rows = estimate(config, task, rates, samples, episodes)
    if args.json:
        import json

        from ..teacher.estimate import as_json

        print(json.dumps(as_json(rows, rates)))
    else:
        _print(rows, rates)
    return 0


def _student(path: str) -> tuple[int, int]:
    """Student responses a question and PPO episodes, as the configuration has them."""
    from ..config import load_config, stage_class

    reward, ppo = (load_config(stage, stage_class(stage), ["--config", path]).stage for stage in ("reward", "ppo"))
    return reward.samples, ppo.total_episodes or 0


def _print(rows: list, rates) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None)
    table.add_column("")
    for name in ("requests", "prompt tokens", "generated tokens", "hours", "cost"):
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(
            row.stage,
            f"{row.requests:,}",
            f"{row.prompt_tokens:,}",
            f"{row.completion_tokens:,}",
            "-" if row.hours is None else f"{row.hours:,.2f}",
            "-" if row.cost is None else f"{row.cost:,.2f}",
        )
    console = Console()
    console.print(table)
    console.print(f"Tokens and hours: {rates.measured}.", highlight=False, soft_wrap=True)
    if all(row.cost is None for row in rows):
        console.print("No price is known: set label.gpu_hour_price, or label.input_price and label.output_price.")
