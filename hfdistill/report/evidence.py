"""What stands behind the rows of a table: answers by question, samples and manifests, read from the artifacts."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from statistics import mean
from typing import Any

from ..artifacts.digests import MANIFEST
from ..artifacts.references import open_artifact, read_manifest
from ..errors import HFDistillError
from ..evaluation.config import EvaluateConfig
from ..kinds import KINDS, LABELS, POLICY, RESULTS, Kind
from ..reward.rewards import Reward, is_path, load_reward, read_entry
from ..rows import read_rows
from ..tasks import load_task
from .moving import MOVED, judge_labels
from .tables import ReportedRow, ReportedSeed, ReportedTable


VOTE = "vote"
TRAINED = ("policy", "baseline")
TEACHER_LABELS = "teacher_labels"  # what a row's labels were derived from, where they were


@dataclass
class MeasuredRow:
    """A row with what its runs left.

    Attributes:
        name (`str`), note (`str`), baseline (`bool`): as in the table.
        answers (`dict[int, list[dict]]`): by seed, a row of the results' config `responses` for each question; empty
            where the row is about reward models alone.
        samples (`dict[int, list[dict]]`): by seed, rows of the config `samples`, where the evaluation drew some.
        votes (`tuple[int, ...]`): of how many samples a vote was held.
        vote_temperature (`float`, *optional*): of these samples.
        same (`Callable`): whether two answers are one, as the task sees it.
        manifests (`dict[int, dict[str, dict]]`): by seed, the manifests of what it was made with, by the kind's name.
        refs (`dict[int, dict[str, str]]`): by seed, where these are.
        teacher_tokens (`dict[int, int]`): by seed, prompt and completion tokens of the teacher behind its labels.
        moved (`dict[int, list[dict]]`): by seed, labels that the student's vote might move, as
            [`~hfdistill.report.moving.judge_labels`] has them.
    """

    name: str
    note: str
    baseline: bool
    answers: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    samples: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    votes: tuple[int, ...] = ()
    vote_temperature: float | None = None
    same: Callable[[str, str], bool] = str.__eq__
    manifests: dict[int, dict[str, dict[str, Any]]] = field(default_factory=dict)
    refs: dict[int, dict[str, str]] = field(default_factory=dict)
    teacher_tokens: dict[int, int] = field(default_factory=dict)
    moved: dict[int, list[dict[str, Any]]] = field(default_factory=dict)

    @cached_property
    def right(self) -> dict[int, dict[str, bool]]:
        """By seed, whether each question was answered right, or so that a judge calls it good, by its id."""
        return {
            seed: {row["question_id"]: bool(row["correct"]) for row in rows} for seed, rows in self.answers.items()
        }

    @cached_property
    def sampled_right(self) -> dict[int, dict[str, float]]:
        """By seed, the share of the samples to each question that are right, by its id."""
        found: dict[int, dict[str, float]] = {}
        for seed, samples in self.samples.items():
            by_question: dict[str, list[bool]] = defaultdict(list)
            for sample in samples:
                by_question[sample["question_id"]].append(sample["correct"])
            if by_question:
                found[seed] = {question_id: mean(right) for question_id, right in by_question.items()}
        return found

    @property
    def rewards(self) -> list[dict[str, Any]]:
        """What its policy maximised: entries of `ppo.rewards`; none where it has no policy."""
        return self.settings.get("rewards", [])

    @property
    def settings(self) -> Mapping[str, Any]:
        """Those of the stage that made its policy, as far as they have an effect; the same with every seed."""
        policy = next((made["policy"] for made in self.manifests.values() if "policy" in made), {})
        return policy.get("config", {}).get("stage", {})

    @property
    def labels(self) -> str | None:
        """Which labels it learned from, those of its first seed: rows with the same are compared with one another."""
        return next((made["labels"] for made in self.refs.values() if "labels" in made), None)

    @property
    def moves_labels(self) -> bool:
        """Whether the student's own vote gave labels between rounds of PPO."""
        return self.settings.get("moving_labels", "none") != "none"

    @property
    def is_vote(self) -> bool:
        """Whether it is PPO on the vote's labels alone, what every reward with a model is to be better than."""
        return [entry["name"] for entry in self.rewards] == [VOTE] and not self.moves_labels

    @property
    def asks_model(self) -> bool:
        """Whether the reward model had a part in its policy, as a reward or as a weight in moving labels."""
        weighted = self.moves_labels and self.settings.get("label_weighting", "reward") == "reward"
        return weighted or any(_asks_model(entry) for entry in self.rewards)

    @property
    def reads_golds(self) -> bool:
        """Whether gold answers had a part in its policy: bought labels, or the choice of its checkpoint."""
        asked = self.settings
        bought = asked.get("gold_budget", 0) + asked.get("validation_gold", 0)
        return bought > 0 or asked.get("validation_labels") == "gold"

    def figure(self, kind: str, *keys: str) -> dict[int, Any]:
        """A figure of the manifests of one kind by seed, where it is there: `figure("labels", "cost", "requests")`."""
        return self._figure((kind,), keys)

    def trained(self, *keys: str) -> dict[int, Any]:
        """The same of what reinforcement, or another method in its place, made: `trained("metrics", "episodes")`."""
        return self._figure(TRAINED, keys)

    def _figure(self, kinds: Sequence[str], keys: Sequence[str]) -> dict[int, Any]:
        found = {}
        for seed, made in self.manifests.items():
            value: Any = next((made[kind] for kind in kinds if kind in made), None)
            for key in keys:
                value = value.get(key) if isinstance(value, dict) else None
            if value is not None:
                found[seed] = value
        return found


class Evidence:
    """Reads what tables name; each artifact is opened once."""

    def __init__(self):
        self._manifests: dict[str, dict[str, Any]] = {}
        self._folders: dict[tuple[str, str], Path] = {}
        self._held: dict[tuple[str | None, ...], list[dict[str, Any]]] = {}

    def measure(self, table: ReportedTable) -> list[MeasuredRow]:
        """Every row of a table with what its finished runs left.

        Raises:
            [`~hfdistill.errors.HFDistillError`]: if an artifact cannot be read, or its results lack the row.
        """
        return [self._measure(table, row) for row in table.rows]

    def _measure(self, table: ReportedTable, row: ReportedRow) -> MeasuredRow:
        measured = MeasuredRow(row.name, row.note, row.baseline)
        for seed, made in row.seeds.items():
            try:
                measured.manifests[seed] = {
                    kind: self.manifest(ref, kind) for kind, ref in made.artifacts.items() if kind in KINDS
                }
                measured.refs[seed] = made.artifacts
                if tokens := self._teacher_tokens(made.artifacts):
                    measured.teacher_tokens[seed] = tokens
                if measured.moves_labels:
                    measured.moved[seed] = self._moved(made.artifacts, measured.manifests[seed])
                if made.results is not None:
                    measured.answers[seed] = self._answers(made, table.task)
                    measured.samples[seed] = self._samples(made, table.task)
                    self._read_votes(measured, made, table.task)
            except HFDistillError as error:
                raise HFDistillError(f"table {table.table}, row {row.name!r}, seed {seed}: {error}") from error
        return measured

    def manifest(self, ref: str, kind: str) -> dict[str, Any]:
        """The manifest of an artifact, without its files."""
        if ref not in self._manifests:
            repo_type, folder = KINDS[kind].repo_type, Path(ref)
            self._manifests[ref] = (
                read_manifest(folder / MANIFEST, ref, repo_type)
                if folder.is_dir()
                else open_artifact(ref, repo_type, patterns=[]).manifest
            )
        return self._manifests[ref]

    def _teacher_tokens(self, artifacts: Mapping[str, str]) -> int:
        """What the teacher read and wrote for the labels, or for those that they were derived from."""
        labels = artifacts.get(TEACHER_LABELS) or artifacts.get(LABELS.name)
        cost = self.manifest(labels, LABELS.name).get("cost", {}) if labels else {}
        return cost.get("prompt_tokens", 0) + cost.get("completion_tokens", 0)

    def _answers(self, made: ReportedSeed, task: str) -> list[dict[str, Any]]:
        rows = self._rows(made, task, "responses")
        if not rows:
            raise HFDistillError(f"{made.results} has no row {made.row!r} of the task {task!r}: evaluate it again")
        return rows

    def _samples(self, made: ReportedSeed, task: str) -> list[dict[str, Any]]:
        drawn = (self._files(made.results, RESULTS, RESULTS.configs) / "samples").is_dir()
        return self._rows(made, task, "samples") if drawn else []

    def _read_votes(self, row: MeasuredRow, made: ReportedSeed, task: str) -> None:
        results = self.manifest(made.results, RESULTS.name)
        held = results["metrics"].get(task, {}).get(made.row, {}).get("votes", {})
        row.votes, row.same = tuple(sorted(map(int, held))), load_task(results["config"]["task"]).same
        stage = results["config"].get("stage", {})
        row.vote_temperature = stage.get("vote_temperature", EvaluateConfig.vote_temperature)

    def _rows(self, made: ReportedSeed, task: str, config: str) -> list[dict[str, Any]]:
        """Rows of several tables are often the same, and are then held once."""
        key = made.results, made.row, task, config
        if key not in self._held:
            folder = self._files(made.results, RESULTS, RESULTS.configs)
            self._held[key] = read_rows(folder, config, where={"task": task, "row": made.row})
        return self._held[key]

    def _moved(self, artifacts: Mapping[str, str], manifests: Mapping[str, Any]) -> list[dict[str, Any]]:
        policy = self._files(artifacts[POLICY.name], POLICY, (MOVED,))
        labels = self._files(artifacts[LABELS.name], LABELS, ("gold", "responses"))
        return judge_labels(policy, labels, load_task(manifests[LABELS.name]["config"]["task"]))

    def _files(self, ref: str, kind: Kind, names: Sequence[str]) -> Path:
        """The folder with these files and folders of an artifact."""
        key = ref, kind.name
        if key not in self._folders:
            patterns = [pattern for name in names for pattern in (name, f"{name}/*")]
            folder = Path(ref)
            self._folders[key] = folder if folder.is_dir() else open_artifact(ref, kind.repo_type, patterns).path
        return self._folders[key]


def seeds_of(rows: Sequence[MeasuredRow]) -> list[int]:
    """Seeds with which every one of these rows has answers."""
    return sorted(set.intersection(*(set(row.answers) for row in rows))) if rows else []


def _asks_model(entry: Mapping[str, Any]) -> bool:
    section, _ = read_entry(dict(entry))
    if is_path(section["name"]):
        return False
    reward = load_reward(section)
    return isinstance(reward, Reward) and reward.asks_model
