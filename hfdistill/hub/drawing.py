"""The lineage as a picture: sources on the left, the artifact on the right, every artifact once."""

from pathlib import Path

from ..errors import HFDistillError
from .lineage import Node


COLOURS = {
    "model": "#dbe7ff",
    "dataset": "#dff3e0",
    "space": "#f1e0f7",
    "teacher": "#ffe7c2",
    "student": "#ffe7c2",
    "questions": "#ffe7c2",
}
FORMATS = (".png", ".svg", ".pdf")
COLUMN, ROW = 4.2, 1.25


def draw(root: Node, path: str | Path) -> Path:
    """Draw a tree into a file.

    Args:
        root ([`~hfdistill.hub.lineage.Node`]): from [`~hfdistill.hub.lineage.lineage`].
        path (`str` or `Path`): ends in `.png`, `.svg` or `.pdf`.

    Returns:
        `Path`: the file.
    """
    path = Path(path)
    if path.suffix.lower() not in FORMATS:
        raise HFDistillError(f"cannot draw into {str(path)!r}: give a name that ends in {', '.join(FORMATS)}")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    nodes, levels, edges = _collect(root)
    columns: dict[int, list[tuple[str, str, str]]] = {}
    for key, level in levels.items():
        columns.setdefault(level, []).append(key)
    deepest, tallest = max(columns), max(map(len, columns.values()))
    place = {
        key: ((deepest - level) * COLUMN, ((len(keys) - 1) / 2 - index) * ROW)
        for level, keys in columns.items()
        for index, key in enumerate(keys)
    }
    figure = Figure(figsize=((deepest + 1) * COLUMN * 0.8, (tallest + 0.5) * ROW * 0.8))
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(-COLUMN / 2, deepest * COLUMN + COLUMN / 2)
    axes.set_ylim(-(tallest + 0.5) * ROW / 2, (tallest + 0.5) * ROW / 2)
    axes.axis("off")
    for parent, child in edges:
        start, end = place[parent], place[child]
        arrow = {"arrowstyle": "-|>", "color": "#777777", "shrinkA": 0, "shrinkB": 4}
        axes.annotate("", (end[0] - 1.7, end[1]), (start[0] + 1.7, start[1]), arrowprops=arrow)
    for key, node in nodes.items():
        box = {"boxstyle": "round,pad=0.5", "facecolor": COLOURS[node.kind], "edgecolor": "#555555"}
        axes.text(*place[key], _label(node), ha="center", va="center", fontsize=8, bbox=box)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    return path


def _collect(root: Node) -> tuple[dict, dict, list]:
    """Every artifact once, its longest distance to the root, and the pairs (parent, child)."""
    nodes: dict[tuple[str, str, str], Node] = {}
    levels: dict[tuple[str, str, str], int] = {}
    edges: list[tuple] = []

    def walk(node: Node, level: int) -> None:
        nodes.setdefault(node.key, node)
        levels[node.key] = max(level, levels.get(node.key, 0))
        for parent in node.parents:
            if (parent.key, node.key) not in edges:
                edges.append((parent.key, node.key))
            walk(parent, level + 1)

    walk(root, 0)
    return nodes, levels, edges


def _label(node: Node) -> str:
    name = node.name if len(node.name) <= 34 else "…" + node.name[-33:]
    revision = f"@{node.revision[:12]}" if node.revision else ""
    return "\n".join(line for line in (node.kind, name, revision) if line)
