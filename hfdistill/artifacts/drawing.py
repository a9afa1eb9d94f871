"""The lineage as a picture: sources on the left, the artifact on the right, every artifact once."""

from collections import Counter
from pathlib import Path

from ..errors import HFDistillError
from .lineage import Node


COLOURS = {"model": "#dbe7ff", "dataset": "#dff3e0", "space": "#f1e0f7"}
SOURCE = "#ffe7c2"
EDITED = "#c0392b"  # the edge of what was edited by hand
FORMATS = (".png", ".svg", ".pdf")
# A lane is the height of a box or of an arrow that passes, with what is left free around it.
COLUMN, WIDTH, HEIGHT, LANE, PASSING = 4.6, 3.4, 1.0, 1.4, 0.3
LONGEST_NAME = 34
# Models begin above data.
TOP = ("model", "student", "teacher", "space")

Key = tuple[str, str, str]
# A box by its key, or an arrow from a box on its way past others, by that box's key and the column.
Slot = Key | tuple[Key, int]


def draw(root: Node, path: str | Path) -> Path:
    """Draw a tree from [`~hfdistill.artifacts.lineage.lineage`] into a `.png`, `.svg` or `.pdf`; returns that path."""
    path = Path(path)
    if path.suffix.lower() not in FORMATS:
        raise HFDistillError(f"cannot draw into {str(path)!r}: give a name that ends in {', '.join(FORMATS)}")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
    from matplotlib.path import Path as Curve

    nodes, levels, edges = _collect(root)
    place = lay_out(nodes, levels, edges)
    right = max(x for x, _ in place.values()) + WIDTH / 2
    low, high = (pick(y for _, y in place.values()) for pick in (min, max))
    figure = Figure(figsize=((right + WIDTH) * 0.62, (high - low + 2.4 * LANE) * 0.62))
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(-WIDTH, right + WIDTH / 2)
    axes.set_ylim(low - 1.2 * LANE, high + 1.2 * LANE)
    axes.axis("off")
    style = {"color": "#777777", "linewidth": 0.9, "zorder": 1}
    for parent, child in edges:
        through = [place[parent, level] for level in range(levels[parent] - 1, levels[child], -1)]
        x, y = place[parent]
        points, codes = [(x + WIDTH / 2, y)], [Curve.MOVETO]
        for next_x, next_y in [*through, place[child]]:
            (x, y), end = points[-1], next_x - WIDTH / 2
            points += [((x + end) / 2, y), ((x + end) / 2, next_y), (end, next_y)]
            codes += [Curve.CURVE4] * 3
            if (next_x, next_y) != place[child]:
                points.append((next_x + WIDTH / 2, next_y))
                codes.append(Curve.LINETO)
        path_of_arrow = Curve(points, codes)
        axes.add_patch(FancyArrowPatch(path=path_of_arrow, arrowstyle="-|>", mutation_scale=9, fill=True, **style))
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


def lay_out(nodes: dict, levels: dict, edges: dict) -> dict[Slot, tuple[float, float]]:
    """The middle of each box, a column a level, and where an arrow passes a column: in a lane of its own there, so
    that none runs behind a box. Each stands near what it comes from.
    """
    last = max(levels.values())
    columns: dict[int, list[Slot]] = {level: [] for level in range(last, -1, -1)}
    for key, level in levels.items():
        columns[level].append(key)
    before: dict[Slot, list[Slot]] = {key: [] for key in nodes}
    for parent, child in edges:
        slot: Slot = parent
        for level in range(levels[parent] - 1, levels[child], -1):
            passing = (parent, level)
            if passing not in before:
                before[passing] = [slot]
                columns[level].append(passing)
            slot = passing
        before[child].append(slot)
    place: dict[Slot, tuple[float, float]] = {}
    for level, slots in columns.items():
        wanted = {}
        for slot in slots:
            came = [place[each][1] for each in before[slot]]
            aside = 0.01 if slot in nodes and nodes[slot].kind in TOP else -0.01
            wanted[slot] = sum(came) / len(came) + aside if came else 100 * aside
        ordered = sorted(slots, key=wanted.__getitem__)
        heights = [LANE if slot in nodes else PASSING for slot in ordered]
        bottom = -sum(heights) / 2
        for slot, height in zip(ordered, heights, strict=True):
            place[slot] = ((last - level) * COLUMN, bottom + height / 2)
            bottom += height
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
