"""Tables of ablations whose answers are drawn, not trained for: real datasets and manifests in folders."""

import json
import random
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hfdistill.artifacts.manifest import manifest
from hfdistill.artifacts.store import Store
from hfdistill.config import Config, RunConfig, StudentConfig, TeacherConfig
from hfdistill.intervals import interval
from hfdistill.kinds import KINDS, LABELS, POLICY, RESULTS, REWARD
from hfdistill.rows import COLUMNS, write_rows


TASK = "word_problems"
ONE = {"name": "vote", "weight": 1.0}
EQ7 = {"name": "distilled", "variant": "min", "function": None, "weight": 1.0}


@dataclass
class NoStage:
    """A stage without settings."""


@dataclass
class Run:
    """A seed's artifacts: of each that is asked for, one."""

    folder: Path
    seed: int
    questions: int = 60
    made: dict[str, str] = field(default_factory=dict)

    def publish(
        self, kind: str, name: str, metrics: dict[str, Any], cost=None, files=None, parents=None, **asked
    ) -> str:
        """Where the artifact lies."""
        run = RunConfig(f"trial-{self.seed}", output_dir=str(self.folder), push=False, suffix=f"-{name}")
        task = {"name": TASK, "seed": self.seed}
        settings = Config(run, task, TeacherConfig("t/large"), StudentConfig("s/small"), NoStage(), asked)
        store = Store(run)
        with tempfile.TemporaryDirectory() as place:
            for path, content in (files or {"weights.safetensors": b"0"}).items():
                if callable(content):
                    content(Path(place))
                else:
                    Path(place, path).write_bytes(content)
            content = manifest(KINDS[kind], settings, parents or {}, metrics, cost or {"seconds": 30.0})
            return store.publish(place, KINDS[kind], content, f"# {name}\n").repo_id

    def labels(self, name: str, right: float) -> str:
        metrics = {"pseudo_labels_right": interval(round(100 * right), 100), "without_label": interval(9, 100)}
        cost = {"requests": 10, "prompt_tokens": 70_000, "completion_tokens": 30_000}
        return self.publish(LABELS.name, name, metrics, cost)

    def reward(self, name: str, pos_neg: float) -> str:
        held_out = {"auc": pos_neg + 0.05, "one": 0.6, "best": interval(round(100 * pos_neg), 100), "length": -0.2}
        figures = {"validation": {"pos_neg": interval(round(100 * pos_neg), 100)}, "all_answers": held_out}
        return self.publish(REWARD.name, name, figures)

    def policy(self, name: str, validated: float, rewards: list[dict]) -> str:
        curve = [
            {"step": 0, "episodes": 0, "accuracy": 0.4, "score": None, "kl": None},
            {"step": 40, "episodes": 1280, "accuracy": (0.4 + validated) / 2, "score": 0.3, "kl": 0.4},
            {"step": 80, "episodes": 2560, "accuracy": validated, "score": 0.9, "kl": 1.1},
        ]
        metrics = {"episodes": 2560, "curve": curve, "validation_accuracy": interval(round(100 * validated), 100)}
        return self.publish(POLICY.name, name, metrics, None, None, None, rewards=rewards, rollout_batch_size=256)

    def results(self, name: str, accuracies: dict[str, float], sampled: tuple[str, ...] = ()) -> str:
        """Answers of each row, right where the question's own luck is below the accuracy, so that rows are paired."""
        lots = random.Random(f"{self.seed}")
        luck = [lots.random() for _ in range(self.questions)]
        answers, samples = [], []
        for row, accuracy in accuracies.items():
            for number, lot in enumerate(luck):
                noise = random.Random(f"{self.seed} {row} {number}")
                right = min(max(lot + noise.gauss(0, 0.1), 0), 1) < accuracy
                answers.append(self._answer(row, number, right, noise))
                if row in sampled:
                    p = accuracy if lot < accuracy else 0.3
                    samples += [
                        {**self._answer(row, number, noise.random() < p, noise), "sample": index} for index in range(8)
                    ]

        def write(place: Path) -> None:
            write_rows(place, RESULTS, "results", [])
            write_rows(place, RESULTS, "responses", [known(answer, "responses") for answer in answers])
            if samples:
                write_rows(place, RESULTS, "samples", [known(sample, "samples") for sample in samples])

        votes = {row: {"votes": {"4": {}, "8": {}}} for row in sampled}
        return self.publish(RESULTS.name, name, {TASK: votes}, files={"rows": write})

    def _answer(self, row: str, number: int, right: bool, noise: random.Random) -> dict[str, Any]:
        answer = "15" if right else str(noise.choice([12, 13, 17]))
        response = f"Step 1: 7 + {number} = {answer} .\nThe answer is {answer} ."
        return {
            "task": TASK, "row": row, "question_id": f"q{number}", "question": f"Tom has 7 pens and buys {number} .",
            "response": response, "answer": answer, "gold": "15", "correct": right, "tokens": 20,
            "category": ("now", "count")[number % 2], "finish_reason": "eos_token",
            "score": noise.gauss(0.8 if right else -0.2, 1.0),
        }  # fmt: skip


def known(row: dict[str, Any], config: str) -> dict[str, Any]:
    """The columns that a config has."""
    return {name: value for name, value in row.items() if name in COLUMNS["results"][config]}


def write_main(folder: Path, seeds: tuple[int, ...] = (2, 3), questions: int = 60) -> Path:
    """A table like Table 2; returns the folder `ablations`."""
    accuracies = {"Teacher": 0.7, "ICL": 0.2, "SFT": 0.5, "Ours w/o R": 0.55, "PPO on the vote": 0.86, "Ours": 0.85}
    rows = {
        name: {"name": name, "note": f"what {name} is", "baseline": name != "Ours", "seeds": {}} for name in accuracies
    }
    for seed in seeds:
        run = Run(folder, seed, questions)
        labels, reward = run.labels("all", 0.9), run.reward("all", 0.75)
        results = run.results("main", accuracies, ("Ours w/o R",))
        made = {
            "Ours": {"labels": labels, "reward": reward, "policy": run.policy("ours", 0.84, [EQ7])},
            "PPO on the vote": {"labels": labels, "reward": reward, "policy": run.policy("vote", 0.85, [ONE])},
        }
        for name, row in rows.items():
            row["seeds"][str(seed)] = {
                "results": results,
                "row": name,
                "artifacts": made.get(name, {"labels": labels}),
            }
    comparisons = [["Ours", "Ours w/o R"], ["Ours", "SFT"], ["Ours", "PPO on the vote"]]
    return write_table(folder, "main", "The paper's rows (Table 2)", seeds, list(rows.values()), comparisons)


def write_noise(folder: Path, seeds: tuple[int, ...] = (2, 3), questions: int = 60) -> Path:
    """Two levels of noise, three rewards each."""
    rewards = {"vote": [ONE], "distilled": [EQ7], "pessimistic": [{**EQ7, "name": "distilled", "variant": "minus"}]}
    rows = []
    for level, right in ((0, 0.9), (40, 0.6)):
        for name, rewarded in rewards.items():
            accuracy = 0.85 if level == 0 else {"vote": 0.5, "distilled": 0.8, "pessimistic": 0.7}[name]
            row = {"name": f"{name}, {level} % noise", "note": name, "baseline": name == "vote", "seeds": {}}
            for seed in seeds:
                run = Run(folder, seed, questions)
                labels = run.labels(f"noise-{level}", right)
                policy = run.policy(f"{name}-{level}", accuracy - 0.05, rewarded)
                results = run.results(f"{name}-{level}", {"Ours": accuracy})
                row["seeds"][str(seed)] = {
                    "results": results, "row": "Ours", "artifacts": {"labels": labels, "policy": policy},
                }  # fmt: skip
            rows.append(row)
    comparisons = [[f"distilled, {level} % noise", f"vote, {level} % noise"] for level in (0, 40)]
    return write_table(folder, "noise", "Wrong labels", seeds, rows, comparisons)


def write_table(
    folder: Path, table: str, title: str, seeds: tuple[int, ...], rows: list[dict], comparisons: list
) -> Path:
    content = {
        "format": 1, "table": table, "title": title, "command": f"hfdistill demo --table {table} --seeds {len(seeds)}",
        "run": "trial", "task": TASK, "seeds": list(seeds), "finished": True, "rows": rows, "comparisons": comparisons,
        "plan": {"seconds_estimated": 600.0, "seconds_taken": 640.0, "steps": 14},
    }  # fmt: skip
    place = folder / "ablations"
    place.mkdir(parents=True, exist_ok=True)
    (place / f"{table}.json").write_text(json.dumps(content), encoding="utf-8")
    return place
