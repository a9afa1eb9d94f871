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
            # In float64 its answers do not depend on which others are decoded beside them.
            serve = ["serve", demo.artifact("large"), "--dtype", "float64"]
            _start(demo, servers, "teacher", serve, demo.teacher_port, "/health", demo.environment())
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
    command = ["hub", "serve", "--data", str(demo.folder / "hub")]
    _start(demo, servers, "hub", command, demo.hub_port, "/healthz", {})


def _start(
    demo: Demo, servers: ExitStack, name: str, command: list[str], port: int, health: str, environment: dict[str, str]
) -> None:
    command, log = [*command, "--host", "127.0.0.1", "--port", str(port)], demo.folder / "logs" / f"{name}.log"
    server = ServerProcess(command, f"http://127.0.0.1:{port}", health, log, environment)
    servers.enter_context(server)
    record_processes(demo.folder, name, [server.pid])


def same_ports(folder: Path) -> tuple[int, int]:
    """The demo's two ports: chosen once, and kept as long as they are free, so that addresses stay what they were."""
    path = folder / "ports"
    if not path.is_file():
        path.write_text(f"{free_port()} {free_port()}", encoding="utf-8")
    hub, teacher = map(int, path.read_text(encoding="utf-8").split())
    return hub, teacher
