"""The lineage as a picture: sources on the left, the artifact on the right, every artifact once."""

from collections import Counter
from pathlib import Path

from ..errors import HFDistillError
from .lineage import Node


COLOURS = {"model": "#dbe7ff", "dataset": "#dff3e0", "space": "#f1e0f7"}
SOURCE = "#ffe7c2"
EDITED = "#c0392b"  # the edge of what was edited by hand
FORMATS = (".png", ".svg", ".pdf")
COLUMN, LANE, WIDTH, HEIGHT = 4.4, 1.4, 3.4, 1.0
LONGEST_NAME = 34
# Data runs along the bottom and models along the top, so that an arrow past a step does not cross its box.
TOP = ("model", "student", "teacher", "space")


def draw(root: Node, path: str | Path) -> Path:
    """Draw a tree from [`~hfdistill.artifacts.lineage.lineage`] into a `.png`, `.svg` or `.pdf`; returns that path."""
    path = Path(path)
    if path.suffix.lower() not in FORMATS:
        raise HFDistillError(f"cannot draw into {str(path)!r}: give a name that ends in {', '.join(FORMATS)}")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

    nodes, levels, edges = _collect(root)
    place = _places(nodes, levels)
    right = max(x for x, _ in place.values()) + WIDTH / 2
    low, high = (pick(y for _, y in place.values()) for pick in (min, max))
    figure = Figure(figsize=((right + WIDTH) * 0.62, (high - low + 2.4 * LANE) * 0.62))
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(-WIDTH, right + WIDTH / 2)
    axes.set_ylim(low - 1.2 * LANE, high + 1.2 * LANE)
    axes.axis("off")
    for parent, child in edges:
        (x, y), (end_x, end_y) = place[parent], place[child]
        # Past a box of the same lane the arrow bows outwards.
        side = (1 if y > 0 else -1) if end_y == y and end_x - x >= 1.5 * COLUMN else 0
        start, end = (x + WIDTH / 2, y + side * HEIGHT / 3), (end_x - WIDTH / 2, end_y)
        style = {"arrowstyle": "-|>", "mutation_scale": 10, "color": "#777777", "linewidth": 0.9, "zorder": 1}
        axes.add_patch(FancyArrowPatch(start, end, connectionstyle=f"arc3,rad={-0.16 * side}", **style))
    for key, node in nodes.items():
        x, y = place[key]
        look = {
            "facecolor": COLOURS[node.kind] if node.parents else SOURCE,
            "edgecolor": EDITED if node.edited else "#555555",
            "linewidth": 1.6 if node.edited else 0.8,
            "zorder": 2,
        }
        corner = (x - WIDTH / 2, y - HEIGHT / 2)
        axes.add_patch(FancyBboxPatch(corner, WIDTH, HEIGHT, boxstyle="round,pad=0,rounding_size=0.12", **look))
        axes.text(x, y, _label(node), ha="center", va="center", fontsize=7, zorder=3)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    return path


def _places(nodes: dict, levels: dict) -> dict[tuple[str, str, str], tuple[float, float]]:
    """Where each box stands: a column a level, two lanes, further boxes of a lane outwards."""
    taken: Counter[tuple[int, int]] = Counter()
    place = {}
    for key, level in levels.items():
        side = 1 if nodes[key].kind in TOP else -1
        place[key] = ((max(levels.values()) - level) * COLUMN, side * (0.5 + taken[level, side]) * LANE)
        taken[level, side] += 1
    return place


def _collect(root: Node) -> tuple[dict, dict, dict]:
    """Every artifact once, its longest distance to the root, and the pairs (parent, child)."""
    nodes: dict[tuple[str, str, str], Node] = {}
    levels: Counter[tuple[str, str, str]] = Counter()
    edges: dict[tuple, None] = {}

    def walk(node: Node, level: int) -> None:
        nodes.setdefault(node.key, node)
        levels[node.key] = max(level, levels[node.key])
        for parent in node.parents:
            edges[parent.key, node.key] = None
            walk(parent, level + 1)

    walk(root, 0)
    return nodes, levels, edges


def _label(node: Node) -> str:
    name = node.name if len(node.name) <= LONGEST_NAME else "…" + node.name[1 - LONGEST_NAME :]
    edited = node.edited if len(node.edited) <= LONGEST_NAME else node.edited[: LONGEST_NAME - 1] + "…"
    revision = f"@{node.revision[:12]}" if node.revision else ""
    return "\n".join(filter(None, (node.kind, name, revision, edited)))
