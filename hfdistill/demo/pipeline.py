"""The demo: the whole method on this machine, each stage a process of its own, joined by a Hub and an endpoint."""

from contextlib import ExitStack
from pathlib import Path

from ..runs.processes import record_processes
from ..runs.runner import Runner
from ..servers.process import ServerProcess, free_port
from .report import collect
from .steps import Demo


def run_demo(demo: Demo) -> None:
    """Run whatever is not done yet, and collect what came out."""
    runner = Runner(demo.output_dir, demo.environment(), parallel=2)
    models, stages = demo.make_models(), demo.distil()
    with ExitStack() as servers:
        start_hub(demo, servers)
        seconds = runner.run(models, f"Models from scratch, seed {demo.seed}")
        if not all(runner.is_finished(step) for step in stages):
            start_teacher(demo, servers)
        seconds |= runner.run(stages, f"Distillation, seed {demo.seed}")
        collect(demo, seconds)


def is_complete(demo: Demo) -> bool:
    """Whether every step ended well with the present settings, and its figures were collected."""
    if not (demo.output_dir / "summary.json").is_file():
        return False
    runner = Runner(demo.output_dir, demo.environment())
    return all(runner.is_finished(step) for step in [*demo.make_models(), *demo.distil()])


def start_hub(demo: Demo, servers: ExitStack) -> None:
    """Start the demo's Hub; it ends with the context."""
    data = demo.folder / "hub"
    options = ["--host", "127.0.0.1", "--port", str(demo.hub_port), "--data", str(data)]
    server = ServerProcess(["hub", "serve", *options], demo.hub_url, "/healthz", demo.folder / "logs" / "hub.log")
    servers.enter_context(server)
    record_processes(demo.folder, "hub", [server.pid])


def start_teacher(demo: Demo, servers: ExitStack) -> None:
    """Serve the teacher in float64: its answers then do not depend on which others are decoded beside them."""
    options = ["--host", "127.0.0.1", "--port", str(demo.teacher_port), "--dtype", "float64"]
    server = ServerProcess(
        ["serve", demo.artifact("large"), *options],
        demo.teacher_url,
        "/health",
        demo.folder / "logs" / "teacher.log",
        demo.environment(),
    )
    servers.enter_context(server)
    record_processes(demo.folder, "teacher", [server.pid])


def same_ports(folder: Path) -> tuple[int, int]:
    """The demo's two ports: chosen once, and kept as long as they are free, so that addresses stay what they were."""
    path = folder / "ports"
    if path.is_file():
        hub, teacher = map(int, path.read_text(encoding="utf-8").split())
    else:
        hub, teacher = free_port(), free_port()
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{hub} {teacher}", encoding="utf-8")
    return hub, teacher
