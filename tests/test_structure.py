"""The shape of the house: imports without circles, arrows that point downwards, what each part may import."""

import ast
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement


ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "hfdistill"

# From the top floor down: a room may import from the rooms below it, never from one above or beside it.
FLOORS = (
    ("__main__",),
    ("cli",),
    ("commands",),
    ("demo",),
    ("space",),
    ("places",),
    ("runs",),
    ("report",),
    ("baselines",),
    ("ppo",),
    ("reward", "warmup"),
    ("evaluation",),
    ("labels",),
    ("teacher",),
    ("artifacts",),
    ("rows",),
    ("servers",),
    ("training", "generation"),
    ("llama",),
    ("student",),
    ("encoding",),
    ("chat", "config"),
    ("tasks",),
    ("flags",),
    ("sections",),
    ("fields", "kinds", "plots", "plugins", "progress"),
    ("errors", "intervals"),
    ("__init__",),
)
FLOOR = {room: -height for height, rooms in enumerate(FLOORS) for room in rooms}


def modules() -> dict[str, Path]:
    """Every module of the package by its dotted name, `hfdistill` itself included."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        words = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(words[:-1] if words[-1] == "__init__" else words)] = path
    return found


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imported(path: Path, name: str, known: dict[str, Path]) -> Iterator[str]:
    """Modules of the package that a module imports, wherever in it, and also for its annotations alone."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.ImportFrom):
            if node.level:
                base = ".".join(package.split(".")[: len(package.split(".")) - node.level + 1])
                source = f"{base}.{node.module}" if node.module else base
            else:
                source = node.module
            for alias in node.names:
                yield f"{source}.{alias.name}" if f"{source}.{alias.name}" in known else source
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def arrows() -> dict[str, set[str]]:
    known = modules()
    return {name: set(imported(path, name, known)) & known.keys() - {name} for name, path in known.items()}


def room(name: str) -> str:
    return name.split(".")[1] if "." in name else "__init__"


def test_no_circle_of_imports():
    try:
        list(TopologicalSorter(arrows()).static_order())
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_what_is_imported_from_the_package_is_there():
    known = modules()
    missing = [
        f"{name} imports {other}"
        for name, path in known.items()
        for other in imported(path, name, known)
        if other.split(".")[0] == "hfdistill" and other not in known
    ]
    assert not missing, "\n".join(missing)


def test_every_arrow_points_downwards():
    wrong = [
        f"{name} imports {other}"
        for name, others in arrows().items()
        for other in others
        if room(name) != room(other) and FLOOR[room(name)] <= FLOOR[room(other)]
    ]
    assert not wrong, "\n".join(wrong)


def test_the_hub_imports_the_error_class_alone():
    for name, others in arrows().items():
        if name.startswith("hfdistill.servers.hub"):
            outside = {other for other in others if not other.startswith("hfdistill.servers.hub")}
            assert outside <= {"hfdistill.errors"}, name


def test_no_import_in_the_package_is_absolute():
    for path in modules().values():
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.ImportFrom) and not node.level:
                assert node.module.split(".")[0] != "hfdistill", f"{path}:{node.lineno}"


def test_no_class_name_stands_for_two_things():
    seen: dict[str, Path] = {}
    for path in modules().values():
        for node in parsed(path).body:
            if isinstance(node, ast.ClassDef):
                assert node.name not in seen, f"{node.name} in {path} and in {seen[node.name]}"
                seen[node.name] = path


def test_what_is_imported_is_declared_and_the_other_way_round():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    core = {Requirement(line).name.replace("_", "-").lower() for line in project["dependencies"]}
    extras = {
        Requirement(line).name.replace("_", "-").lower()
        for name, lines in project["optional-dependencies"].items()
        if name != "dev"
        for line in lines
    }
    distributions = packages_distributions()
    used = set()
    for path in modules().values():
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module]
            else:
                continue
            for top in {name.split(".")[0] for name in names} - sys.stdlib_module_names - {"hfdistill"}:
                found = {name.replace("_", "-").lower() for name in distributions.get(top, [top])}
                assert found & (core | extras), (
                    f"{path.relative_to(ROOT)} imports {top}, which pyproject does not name"
                )
                used |= found
    # uvicorn imports httptools for the Hub, and DeepSpeed builds by ninja.
    assert core | extras <= used | {"httptools", "ninja"}
