"""The demo: the whole method on this machine, each stage a process of its own, joined by a Hub and an endpoint."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from ..kinds import LABELS, RESULTS
from ..runs.ablation_plan import DONE, SeedPlan, StudyPlan, plan_study
from ..runs.runner import Runner
from ..servers.process import ServerProcess, free_port
from ..servers.recorded import record_processes
from .report import collect
from .steps import Demo


PORTS = 2


def run_demo(demo: Demo, jobs: int) -> None:
    """Run whatever is not done yet, so many steps at once, and collect what came out."""
    runner = Runner(demo.output_dir, demo.environment(), jobs)
    models, stages = demo.make_models(), demo.distil()
    with ExitStack() as servers:
        start_hub(demo, servers)
        seconds = runner.run(models, f"Models from scratch, seed {demo.seed}")
        if not all(runner.is_finished(step) for step in stages):
            _start_teacher(demo, servers)
        seconds |= runner.run(stages, f"Distillation, seed {demo.seed}")
        collect(demo, seconds)


def plan_table(demos: Sequence[Demo], table: str, without: Sequence[str], jobs: int) -> StudyPlan:
    """What a table takes on the demo's task; the Hub must run."""
    rows = demos[0].settings.table(table, without)
    models = [demo.make_models() for demo in demos]
    return plan_study("word-problems", [demo.grid(rows) for demo in demos], jobs, models)


@contextmanager
def teachers_for(demo: Demo, plan: SeedPlan) -> Iterator[None]:
    """Whoever answers the steps of a seed that are still to do, while they run."""
    asking = {made.stage for made in plan.grid.steps if plan.states[made.step.name] != DONE}
    with ExitStack() as servers:
        if asking & {LABELS.stage, RESULTS.stage}:
            _start_teacher(demo, servers)
        yield


def is_complete(demo: Demo) -> bool:
    """Whether every step ended well with the present settings, and its figures were collected."""
    if not (demo.output_dir / "summary.json").is_file():
        return False
    runner = Runner(demo.output_dir, demo.environment())
    return all(runner.is_finished(step) for step in [*demo.make_models(), *demo.distil()])


def start_hub(demo: Demo, servers: ExitStack) -> None:
    """Start the demo's Hub; it ends with the context."""
    command = ["hub", "serve", "--data", str(demo.folder / "hub")]
    _start(demo, servers, "hub", command, demo.hub_port, "/healthz", {})


def _start_teacher(demo: Demo, servers: ExitStack) -> None:
    # In float64 its answers do not depend on which others are decoded beside them.
    command = ["serve", demo.artifact("large"), "--dtype", "float64"]
    _start(demo, servers, "teacher", command, demo.teacher_port, "/health", demo.environment())


def _start(
    demo: Demo, servers: ExitStack, name: str, command: list[str], port: int, health: str, environment: dict[str, str]
) -> None:
    log = demo.folder / "logs" / f"{name}.log"
    command = [*command, "--host", "127.0.0.1", "--port", str(port)]
    server = ServerProcess(command, f"http://127.0.0.1:{port}", health, log, environment)
    servers.enter_context(server)
    record_processes(demo.folder, name, [server.pid])


def same_ports(folder: Path) -> list[int]:
    """The demo's ports, of Hub and teacher: chosen once, so that addresses stay what they were."""
    path = folder / "ports"
    known = list(map(int, path.read_text(encoding="utf-8").split())) if path.is_file() else []
    if len(known) < PORTS:
        known += [free_port() for _ in range(PORTS - len(known))]
        path.write_text(" ".join(map(str, known)), encoding="utf-8")
    return known
