"""What the page shows, as HTML from the templates beside this module."""

import base64
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ..artifacts import figures
from ..artifacts.cards import url
from ..artifacts.references import is_commit
from ..evaluation.paper_rows import BASE, MAIN_ROWS, PAPER_ROWS, PaperRow, in_order, row_in_words
from ..kinds import KINDS, RESULTS, REWARD
from ..labels.plurality import plurality, score_weight
from ..reward.vote import NO_ANSWER_REWARD
from ..tasks import Question
from .blind import Pair, tally
from .compare import Column, Comparison
from .mathematics import written
from .models import ShownAnswer
from .run import ShownRun, shown
from .settings import SHOWN
from .verdict import in_one_sentence


STYLE = Path(__file__).parent / "templates" / "style.css"
LARGEST_PLOT = 2 << 20

ORIGINS = {
    "test": "Test question: no model was trained on it",
    "validation": "Validation question: it helped to choose between checkpoints; no model was trained on it",
    "train": "Training question",
    "typed": "Your own question",
}


def script(name: str) -> str:
    """A script of the page."""
    return (STYLE.parent / name).read_text(encoding="utf-8")


def notice(message: str) -> str:
    """A box that says what is wrong and what to do."""
    return template("notice.html").render(message=message)


def intro(run: ShownRun) -> str:
    """Head of the page."""
    rows = next((table["rows"] for table in _tables(run)), [])
    results = run.manifests.get(RESULTS.name)
    figures_of_task = next(iter(results.manifest["metrics"].values()), {}) if results else {}
    return template("intro.html").render(
        run=run,
        rows=[row for row in rows if row["name"] in {main.name for main in MAIN_ROWS}],
        verdict=in_one_sentence(figures_of_task),
        teacher=_name(run.teacher_name).rpartition("/")[2],
    )


def comparison(run: ShownRun, now: Comparison) -> str:
    """The answers to one question side by side and their scores as bars, as far as they are known."""
    scored = [sample for sample in now.samples() if sample.score is not None]
    # The penalty for no answer is far off; on its scale nobody could compare the scores.
    values = [sample.score for sample in scored] + [sample.reward for sample in scored if sample.answer is not None]
    low, high = bar_range(values)
    return template("comparison.html").render(
        run=run,
        now=now,
        text=shown(now.question),
        origin=ORIGINS[now.question.split],
        verdict_of=lambda sample: verdict(run, now, sample),
        why=lambda sample: why(run, now, sample),
        written=written,
        ranked=ranked,
        ballots=lambda column: ballots(column, run.same),
        scored=bool(scored),
        place=lambda value: 100 * (min(max(value, low), high) - low) / (high - low),
        lowest=low,
        no_answer_reward=NO_ANSWER_REWARD,
        prefers_right=_prefers_right(run),
    )


def blind(run: ShownRun, pair: Pair | None, told: str | None, votes: Sequence[tuple[Pair, str]], kept: bool) -> str:
    """Two answers without names, or with them once it is `told` which is better, and the visitor's votes so far."""
    return template("blind.html").render(
        pair=pair,
        text=shown(Question("", **run.results.question(pair.task, pair.number), split="test")) if pair else "",
        told=told,
        names=[row_in_words(row) for row in pair.rows] if pair else [],
        counts=[(row_in_words(row), count) for row, count in tally(votes).items()],
        kept=kept,
        written=written,
    )


def run_page(run: ShownRun) -> str:
    """The page of a run: what was done, how well it worked, and where every artifact is."""
    return template("run.html").render(
        run=run,
        tables=list(_tables(run)),
        plots=list(_plots(run)),
        figures=[(KINDS[kind].note, lines) for kind in SHOWN if (lines := _figures(run, kind))],
        artifacts=[_artifact(run, kind) for kind in SHOWN],
    )


def bar_range(values: Sequence[float]) -> tuple[float, float]:
    """Ends of an axis that holds all values, with zero well inside it, so that each side shows what it is."""
    largest = max((abs(value) for value in values), default=0.0) or 1.0
    return min([*values, -0.2 * largest]) - 0.05 * largest, max([*values, 0.2 * largest]) + 0.05 * largest


def verdict(run: ShownRun, now: Comparison, sample: ShownAnswer) -> dict[str, Any] | None:
    """Whether an answer is right, or the one of the vote where nobody knows the right one."""
    if now.gold is not None or sample.correct is not None:
        right = run.same(sample.answer, now.gold) if sample.correct is None else sample.correct
        return {"right": right, "words": "✓ right" if right else "✗ wrong"}
    if now.vote is not None and now.vote.label is not None:
        right = run.same(sample.answer, now.vote.label)
        return {"right": right, "words": "✓ as the vote" if right else "✗ not as the vote"}
    return None


def ranked(column: Column) -> list[ShownAnswer]:
    """A model's answers, the one that the reward model likes best first."""
    return sorted(column.samples, key=lambda sample: (sample.score is None, -(sample.score or 0.0)))


def ballots(column: Column, same: Callable[[str, str], bool]) -> dict[str, str | None]:
    """What a model's answers vote for: each with one voice, and each with the sigmoid of its score."""
    answers = [sample.answer for sample in column.samples]
    votes = {"majority": plurality(answers, same)}
    if all(sample.score is not None for sample in column.samples):
        votes["weighted"] = plurality(answers, same, [score_weight(sample.score) for sample in column.samples])
    return votes


def why(run: ShownRun, now: Comparison, sample: ShownAnswer) -> str:
    """How Eq. 7 turns this answer's score into its reward, in a sentence."""
    label = now.vote and now.vote.label
    reward = f"reward {_signed(sample.reward)}"
    if sample.answer is None:
        return f"{reward}: no final answer, so the score does not matter"
    if label is None:
        return f"{reward}: there is no vote to compare with, so the score itself"
    if run.same(sample.answer, label):
        return f"{reward}: agrees with the vote, so the score itself"
    if now.variant == "minus":
        return f"{reward}: differs from the vote, so the score less 1"
    return f"{reward}: differs from the vote, so never more than 0"


def _prefers_right(run: ShownRun) -> float | None:
    """How often the reward model scores a right answer above a wrong one to the same question, on held-out pairs."""
    reward = run.manifests.get(REWARD.name)
    for path, value in figures.leaves(reward.manifest["metrics"]) if reward else ():
        if path[-1] == "pos_neg":
            return value["value"] if figures.is_interval(value) else value
    return None


def _tables(run: ShownRun) -> Iterator[dict[str, Any]]:
    """Accuracies by task, in the paper's order of rows, and the differences between rows."""
    results = run.manifests.get(RESULTS.name)
    for task, rows in results.manifest["metrics"].items() if results else ():
        table = []
        for name in in_order(rows):
            if figures.is_interval(rows[name]):
                row = PAPER_ROWS.get(name, PaperRow(name, BASE.role, name, ""))
                percents = {key: 100 * rows[name][key] for key in ("value", "low", "high")}
                table.append(
                    {
                        "name": name,
                        "role": row.role,
                        "title": row.title,
                        "words": row.words,
                        "n": rows[name]["n"],
                        **percents,
                    }
                )
        differences = [(name, row["difference"]) for name, row in rows.items() if "difference" in row]
        yield {"task": task, "rows": table, "differences": differences}


def _plots(run: ShownRun) -> Iterator[dict[str, str]]:
    """Plots within the page, so that the browser need not be allowed to read a private repository."""
    for kind, path in run.plots():
        if path.stat().st_size <= LARGEST_PLOT:
            content = base64.b64encode(path.read_bytes()).decode()
            name = path.stem.replace("_", " ").replace("-", " ")
            yield {"name": name, "words": KINDS[kind].note, "content": content}


def _figures(run: ShownRun, kind: str) -> list[tuple[str, str]]:
    if kind not in run.manifests or kind == RESULTS.name:  # which are the tables
        return []
    leaves = figures.leaves(run.manifests[kind].manifest["metrics"])
    return [(figures.label(path), figures.text(value)) for path, value in leaves]


def _artifact(run: ShownRun, kind: str) -> dict[str, Any]:
    if kind not in run.manifests:
        return {"words": KINDS[kind].note, "missing": True}
    artifact = run.manifests[kind]
    on_hub = is_commit(artifact.revision)
    return {
        "words": KINDS[kind].note,
        "missing": False,
        "name": artifact.repo_id if on_hub else _name(artifact.repo_id),
        "address": url(artifact.repo_type, artifact.repo_id, artifact.revision) if on_hub else None,
        "commit": artifact.revision[:8],
        "made": artifact.manifest["created"].partition("T")[0],
    }


def _signed(value: float) -> str:
    return "0" if abs(value) < 0.005 else f"{value:+.2f}".replace("-", "−")


def _capital(words: str) -> str:
    return words[:1].upper() + words[1:]


def _name(ref: str) -> str:
    """A repository without its commit, a folder without its path."""
    name = ref.partition("@")[0].rstrip("/")
    return name if name.count("/") <= 1 else name.rpartition("/")[2]


def template(name: str) -> Any:
    """A template of the page; what is filled in is escaped."""
    return _environment().get_template(name)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(STYLE.parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"name": _name, "signed": _signed, "capital": _capital, "figure": figures.text}
    return environment
