"""The table of docs/where-it-runs.md is what `hfdistill estimate --hardware` computes of the paper's eight."""

import re
from functools import cache
from pathlib import Path

from hfdistill.runs import fitting
from hfdistill.runs.hardware import Machines, launch_file
from hfdistill.runs.hours import Asked
from hfdistill.runs.memory import CountedModel, Lengths

from .test_memory import LLAMA_1B, LLAMA_3B


ROOT = Path(__file__).parents[2]
HARDWARE = ("h100x4", "a100x8", "2xl40sx4")
# Prompts as the tasks' questions have them, MMLU-Pro's by 1,500 of them and without its worked examples, which are
# guessed. The teacher's responses are taken to be half as long as they may be, as `--questions 0` takes them.
LENGTHS = {"gsm8k": Lengths(256, 493, 512), "mmlu_pro": Lengths(857, 1300, 1024)}
ASKED = {
    "gsm8k": Asked(6703, 770, 1319 + 2400, 51, 69, 306, 256, 512),
    "mmlu_pro": Asked(9204, 1023, 1805, 51, 182, 500, 512, 1024),
}


def rows(monkeypatch) -> list[str]:
    """The table's rows."""
    models = {"1b": CountedModel(LLAMA_1B), "3b": CountedModel(LLAMA_3B)}
    monkeypatch.setattr(fitting, "_configs", cache(fitting._configs))
    made = []
    for path in sorted((ROOT / "recipes" / "configs").glob("*/*_to_*b.yaml")):
        task = path.parent.name
        monkeypatch.setattr(fitting, "count_student", lambda config, name=path.stem[-2:]: models[name])
        monkeypatch.setattr(fitting, "prompt_lengths", lambda config, task=task: LENGTHS[task])
        for name in HARDWARE:
            planned = fitting.plan_launch(str(path), (), Machines.read(name), ASKED[task])
            assert all(fit.fits or fit.way_out.startswith("it fits with") for fit in planned.fits)
            launch, processes = Path(launch_file(planned.spread)).stem, planned.spread.processes
            cells = [f"{task}/{path.stem}", name, f"{launch}, {processes}", *map(cell, planned.fits)]
            made.append(f"| {' | '.join(cells)} |")
    return made


def cell(fit: fitting.Fit) -> str:
    hours = f"{fit.hours:.1f}" if fit.hours >= 0.1 else "< 0.1"
    return f"{fit.need.memory / 1e9:.0f} GB{'' if fit.fits else '*'}, {hours} h"


def test_the_table_is_what_is_computed(monkeypatch):
    page = (ROOT / "docs" / "where-it-runs.md").read_text(encoding="utf-8")
    told = re.findall(r"^\| (?:gsm8k|mmlu_pro)/.*$", page, re.MULTILINE)
    made = rows(monkeypatch)
    assert told == made, "the table is now:\n" + "\n".join(made)
