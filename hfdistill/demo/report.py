"""The demo's report: figures read back from the Hub's artifacts, as a table on the screen and as report.md."""

import json
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..evaluation import paper_rows
from ..kinds import LABELS, POLICY, RESULTS, REWARD, TRIPLES, WARMUP
from ..progress import clock
from ..report.markdown import markdown_table
from ..report.one_run import REPORTED, accuracy_rows, accuracy_table, figure_lines, order_seen, summarise
from .models import LARGE, SMALL
from .steps import ALL_DATA, WITHOUT_DATA, Demo


TASK = "word_problems"
ORDER = [row.name for row in (paper_rows.OURS, paper_rows.WITHOUT_REWARD, paper_rows.ALL_DATA, paper_rows.BASE)]
ARTIFACTS = {
    kind.name + suffix: kind.repo_type
    for kinds, suffix in (
        ((LARGE, SMALL, LABELS, WARMUP), ""),
        ((WARMUP,), ALL_DATA),
        ((TRIPLES, REWARD, POLICY), ""),
        ((TRIPLES, REWARD, POLICY), WITHOUT_DATA),
        ((RESULTS,), ""),
    )
    for kind in kinds
}

TASK_NOTE = """The task is made for two CPU cores, and the habit is built in: "How many …" questions are mostly
answered at once in the corpus of both models, without a step, which is nearly always a guess; "Count the …" questions
are mostly worked out. So the teacher's answers to most "How many …" disagree, and have no label. Imitation hands the
habit down; the reward lets the student find the way of solving that it is good at. Both models were trained from
scratch on other questions of the same generator; the row ICL is the base student with the bare prompt, since models
of this size do not learn from examples in a prompt. Settings were chosen on the seeds 0 and 1."""


def collect(demo: Demo, seconds: dict[str, float]) -> None:
    """Read the finished run's manifests and plots from the Hub and keep them in the run's folder."""
    reported = [kind.name for kind in REPORTED]
    addresses = {kind: _address(demo, kind) for kind in ARTIFACTS}
    manifests = {kind: json.loads(_get(f"{addresses[kind]}/resolve/main/hfdistill.json")) for kind in reported}
    summary = {**summarise(TASK, manifests), "seconds": seconds, "artifacts": addresses, "plots": []}
    plots = demo.output_dir / "plots"
    plots.mkdir(parents=True, exist_ok=True)
    for kind in (*reported[1:], reported[0]):
        info = json.loads(_get(f"{demo.hub_url}/api/{ARTIFACTS[kind]}s/{demo.artifact(kind)}"))
        for name in [sibling["rfilename"] for sibling in info["siblings"]]:
            if name.endswith(".png"):
                path = plots / f"{kind}-{Path(name).name}"
                path.write_bytes(_get(f"{addresses[kind]}/resolve/main/{name}"))
                summary["plots"].append(str(path.relative_to(demo.folder)))
    (demo.output_dir / "summary.json").write_text(json.dumps(summary, indent=2), encoding="utf-8")


def write(folder: Path, demos: Sequence[Demo]) -> list[dict[str, Any]]:
    """Write report.md of the finished runs; returns their summaries."""
    runs = [json.loads((demo.output_dir / "summary.json").read_text(encoding="utf-8")) for demo in demos]
    (folder / "report.md").write_text(_markdown(runs, demos[0]), encoding="utf-8")
    return runs


def show(runs: Sequence[dict[str, Any]], demo: Demo) -> None:
    """Print the tables."""
    from rich.console import Console

    console = Console(highlight=False)
    console.print()
    console.print(accuracy_table(runs))
    console.print()
    for line in [*order_seen(runs, ORDER), *(line for run in runs for line in figure_lines(run))]:
        console.print(line)
    for run in runs:
        times = ", ".join(f"{name} {clock(seconds)}" for name, seconds in run["seconds"].items())
        console.print(f"seed {run['seed']}: {clock(sum(run['seconds'].values()))} of work, {times}", style="dim")
    console.print("\nArtifacts, while the Hub runs (hfdistill hub serve …, or the Space below):")
    for address in runs[0]["artifacts"].values():
        console.print(f"  {address}", soft_wrap=True)
    console.print(f"\nReport with plots: {demo.folder / 'report.md'}", soft_wrap=True)
    console.print(f"Compare teacher and student in the browser: [bold]{_space_command(demo)}[/]", soft_wrap=True)


def _markdown(runs: Sequence[dict[str, Any]], demo: Demo) -> str:
    parts = ["# What came out of the demo", TASK_NOTE, markdown_table(*accuracy_rows(runs))]
    order = "\n".join(f"- {line}" for line in order_seen(runs, ORDER))
    parts.append(f"Greedy accuracy on held-out test questions.\n\n{order}")
    parts.append("## Labels, reward model, differences")
    parts.append("\n".join(f"- {line}" for run in runs for line in figure_lines(run)))
    for run in runs:
        times = [[name, clock(seconds)] for name, seconds in run["seconds"].items()]
        parts.append(f"## Seed {run['seed']}\n\n{markdown_table(['step', 'time'], times)}")
        parts.append("\n".join(f"![{Path(plot).stem}]({plot})" for plot in run["plots"]))
        # The Hub is not always there to be linked to.
        serve = f"`.venv/bin/hfdistill hub serve --data {demo.folder / 'hub'} --port {demo.hub_port}`"
        names = "\n".join(f"- `{address.removeprefix(demo.hub_url)}`" for address in run["artifacts"].values())
        parts.append(f"Artifacts, on {demo.hub_url} while {serve} runs:\n\n{names}")
    parts.append(f"Compare teacher and student in the browser: `{_space_command(demo)}`")
    return "\n\n".join(parts) + "\n"


def _space_command(demo: Demo) -> str:
    folder = "" if demo.folder == Path("demo") else f" --dir {demo.folder}"
    return f".venv/bin/hfdistill demo{folder} --space"


def _address(demo: Demo, kind: str) -> str:
    prefix = "datasets/" if ARTIFACTS[kind] == "dataset" else ""
    return f"{demo.hub_url}/{prefix}{demo.artifact(kind)}"


def _get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=60) as answer:
        return answer.read()
