"""Run a table seed by seed, and keep what a report needs of every seed that is finished."""

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

from ..errors import HFDistillError
from ..progress import clock
from ..servers.recorded import end_leftovers, read_json, write_json
from .ablation_grid import AblationGrid
from .ablation_plan import DONE, SeedPlan, StudyPlan, plan_lines, steps_table
from .runner import Runner


FORMAT = 1
# What a seed's steps need around them: it gets the seed's plan, and is entered before the first of them.
Surroundings = Callable[[SeedPlan], AbstractContextManager[None]]


def show_plan(study: StudyPlan) -> None:
    """Print the plan.

    Raises:
        [`~hfdistill.errors.HFDistillError`]: if something in it cannot work, with the list of that.
    """
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True)
    if study.seeds[0].states:
        console.print(steps_table(study))
        for line in plan_lines(study):
            console.print(line)
    if study.problems:
        raise HFDistillError("this cannot work:\n" + "\n".join(f"  - {problem}" for problem in study.problems))


def run_study(
    study: StudyPlan,
    folder: Path,
    command: str,
    environment: Mapping[str, str],
    surroundings: Surroundings = lambda plan: contextlib.nullcontext(),
) -> Path:
    """Run what is not done, seed by seed; after each the table's file is written.

    Args:
        study ([`~hfdistill.runs.ablation_plan.StudyPlan`]): from [`~hfdistill.runs.ablation_plan.plan_study`].
        folder (`Path`): gets `{table}.json`.
        command (`str`): what the report shows above the table.
        environment (`Mapping[str, str]`): variables for every step.
        surroundings (`Callable`, *optional*): what the steps of a seed need around them.

    Returns:
        `Path`: the file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    table = study.seeds[0].grid.table
    path = folder / f"{table.name}.json"
    for plan in study.seeds:
        end_leftovers(plan.grid.settings.folder)
    if all(map(is_done, study.seeds)):
        # What an earlier call took stands, and so does its file, by which a report knows that nothing is new.
        earlier = read_json(path)
        content = table_content(study, study.seeds, command, earlier.get("plan") or _told(study, 0.0))
        if content != earlier:
            write_json(path, content)
        return path
    finished: list[SeedPlan] = []
    started = time.monotonic()
    for plan in study.seeds:
        if not is_done(plan):
            _run_seed(plan, study.jobs, environment, surroundings)
        finished.append(plan)
        taken = time.monotonic() - started
        _say_what_is_left(study, finished, taken)
        write_json(path, table_content(study, finished, command, _told(study, taken)))
    return path


def _told(study: StudyPlan, taken: float) -> dict[str, Any]:
    """What the plan said, and how many seconds it took."""
    return {
        "seconds_estimated": round(study.seconds, 1),
        "seconds_taken": round(taken, 1),
        "steps": sum(len(seed.states) for seed in study.seeds),
    }


def _say_what_is_left(study: StudyPlan, finished: Sequence[SeedPlan], taken: float) -> None:
    """How long the other seeds will take, as fast as those before them were."""
    planned = sum(plan.total(study.jobs) for plan in finished)
    left = sum(plan.total(study.jobs) for plan in study.seeds[len(finished) :])
    if planned and left:
        rest = clock(left * taken / planned)
        print(f"seed {finished[-1].seed} is finished; the others take about {rest}", flush=True)


def is_done(plan: SeedPlan) -> bool:
    """Whether every step of a seed ended well."""
    return all(state == DONE for state in plan.states.values())


def table_content(
    study: StudyPlan, finished: Sequence[SeedPlan], command: str, took: Mapping[str, Any]
) -> dict[str, Any]:
    """A table's file: all its seeds, and in each row where everything of the finished ones is."""
    table = study.seeds[0].grid.table
    config = next(made.config for made in study.seeds[0].grid.steps if made.config)
    rows = []
    for row in table.rows:
        seeds = {str(plan.seed): _of_seed(plan.grid, row.name) for plan in finished}
        rows.append({"name": row.name, "note": row.note, "baseline": row.baseline, "seeds": seeds})
    return {
        "format": FORMAT,
        "table": table.name,
        "title": table.title,
        "command": command,
        "run": study.run,
        "task": config.task["name"],
        "seeds": [plan.seed for plan in study.seeds],
        "finished": len(finished) == len(study.seeds),
        "rows": rows,
        "comparisons": [list(pair) for pair in table.comparisons],
        "plan": dict(took),
    }


def _of_seed(grid: AblationGrid, row: str) -> dict[str, Any]:
    named = grid.row_of(row)
    (results,) = grid.evaluation.refs.values() if grid.evaluation and named else (None,)
    return {"results": results, "row": named, "artifacts": grid.artifacts(row)}


def _run_seed(plan: SeedPlan, jobs: int, environment: Mapping[str, str], surroundings: Surroundings) -> None:
    settings = plan.grid.settings
    title = f"{plan.grid.table.name}, seed {plan.seed}"
    with ExitStack() as around:
        runner = Runner(settings.folder, environment, jobs)
        runner.forget([*plan.lost, *plan.stale])
        if plan.models:
            runner.run(plan.models, f"Models for {title}")
        around.enter_context(surroundings(plan))
        runner.run(plan.steps, title.capitalize())
