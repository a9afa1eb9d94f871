"""What is known about a run before any model is loaded: its task, questions, votes, stored answers and results."""

import re
from functools import cached_property
from pathlib import Path
from typing import Any

from pyarrow import ArrowInvalid

from ..artifacts.references import Artifact, open_artifact
from ..errors import HFDistillError
from ..evaluation.paper_rows import BASE, OURS, WITHOUT_REWARD, PaperRow
from ..labels.questions import question_of
from ..labels.vote import Vote
from ..reward.rewards import read_entry
from ..rows import read_rows
from ..sections import StudentConfig, TeacherConfig
from ..tasks import Question, Task, load_task
from ..teacher.journal import Response
from .results import StoredAnswers
from .settings import SHOWN, Settings
from .visitors import ForVisitors, log


OPTION = re.compile(r"^\(?([A-J])[).:]\s+(.*)$")
NO_TASK = (
    "Nothing can be asked here: what reads the answers of this run's task is not installed. All stored answers are "
    "under Explore."
)


class ShownRun:
    """A run as its artifacts tell it. Opening it downloads the manifests and the table of votes, no model.

    Args:
        settings ([`~hfdistill.space.settings.Settings`]): which run.

    Attributes:
        manifests (`dict[str, Artifact]`): the artifacts that exist, by kind.
        missing (`dict[str, str]`): those that cannot be read, with the reason.
        task_name (`str`): name of the run's task.
        results ([`~hfdistill.space.results.StoredAnswers`], *optional*): what the evaluation stored.
        teacher ([`~hfdistill.sections.TeacherConfig`]): how it was asked.
        teacher_name (`str`): its model.
        student (`str`, *optional*): the base student.
        asked ([`~hfdistill.sections.StudentConfig`], *optional*): how students are asked.
        reward_variant (`str`): variant of Eq. 7 that the policy was trained with.
        other_rewards (`str`, *optional*): what the policy was trained for, where that is not Eq. 7 alone.
        votes (`dict[str, Vote]`): what the teacher's answers to a training question agreed on, by question id.

    Raises:
        [`~hfdistill.errors.HFDistillError`]: if not one artifact can be read.
    """

    def __init__(self, settings: Settings):
        self.settings = settings
        self.manifests: dict[str, Artifact] = {}
        self.missing: dict[str, str] = {}
        for kind in SHOWN.values():
            try:
                self.manifests[kind.name] = _open_manifest(settings.ref(kind.name), kind.repo_type)
            except HFDistillError as error:
                self.missing[kind.name] = str(error)
        if not self.manifests:
            first = next(iter(self.missing.values()))
            raise HFDistillError(f"nothing of the run {settings.run!r} can be read. {first}")
        section = self._first("config", "task")
        self.task_name = section["name"] if isinstance(section, dict) else section
        self._task = _load_task(section)
        teacher = self._first("teacher") or {}
        self.teacher = TeacherConfig(**{"model": "teacher", **teacher})
        self.teacher_name = self.teacher.model
        student = self._first("student")
        self.asked = StudentConfig(**student) if student else None
        self.student = settings.student or (self.asked and self.asked.ref)
        policy = self.manifests.get("policy")
        stage = policy.manifest["config"]["stage"] if policy else {}
        self.reward_variant, self.other_rewards = trained_for(stage.get("rewards", ["distilled"]))
        table = self._rows("labels", "questions")
        self.votes = {
            row["question_id"]: Vote(row["pseudo_label"], row["vote_share"] or 0.0, row["votes"], row["voters"])
            for row in table
        }
        self._labelled = [question_of(row) for row in table]
        self.results = self._open_results()

    @property
    def task(self) -> Task:
        """The run's task.

        Raises:
            [`~hfdistill.space.visitors.ForVisitors`]: if what reads its answers is not installed here.
        """
        if self._task is None:
            raise ForVisitors(NO_TASK)
        return self._task

    @property
    def students(self) -> dict[PaperRow, str]:
        """Where each student is, by its row, in the order of their making."""
        places = {BASE: self.student, WITHOUT_REWARD: self.settings.ref("warmup"), OURS: self.settings.ref("policy")}
        return {row: ref for row, ref in places.items() if ref}

    def same(self, a: str, b: str) -> bool:
        """Whether two answers are one, as the task sees it."""
        return a == b if self._task is None else self._task.same(a, b)

    @cached_property
    def questions(self) -> dict[str, Question]:
        """Every question that the run asked, by id."""
        asked = list(self._labelled)
        for question_id, number in self._tested.items():
            known = {"question_id": question_id, "split": "test"}
            known["category"] = self.results.tasks[self.task_name].categories[number]
            asked.append(question_of({**self.results.question(self.task_name, number), **known}))
        if self._task is not None and self._task.needs_options and not all(question.options for question in asked):
            # Datasets of earlier releases have questions without their options.
            asked += self._own_questions()
        return {question.question_id: question for question in asked}

    @cached_property
    def _by_text(self) -> dict[str, Question]:
        return {_plain(shown(question)): question for question in self.questions.values()}

    @cached_property
    def _tested(self) -> dict[str, int]:
        tested = self.results.tasks.get(self.task_name) if self.results else None
        return {question_id: number for number, question_id in enumerate(tested.question_ids if tested else ())}

    def stored(self, question: Question) -> list[dict[str, Any]]:
        """What everybody answered to a test question in the evaluation: rows of its dataset."""
        number = self._tested.get(question.question_id)
        return [] if number is None else self.results.answers(self.task_name, number)

    def question(self, text: str) -> Question:
        """The run's question with this text, or a new one. Lines `A. …`, `B. …` at the end are its options."""
        known = self._by_text.get(_plain(text))
        if known is not None:
            return known
        stem, options = text.strip(), ()
        if any(question.options for question in self.questions.values()):
            stem, options = _split_options(text.strip())
        return Question("", stem, "typed", options=options or None)

    def examples(self, limit: int = 200) -> dict[str, list[Question]]:
        """Questions to pick from: those that the models were tested on, and those that the teacher voted on."""
        of_test = [question for question in self.questions.values() if question.split == "test"]
        of_training = [question for question in self.questions.values() if question.split == "train"]
        voted = [question for question in of_training if question.question_id in self.votes]
        return {"test": of_test[:limit], "train": voted[:limit]}

    def stored_answer(self, question: Question) -> Response | None:
        """What the teacher answered to this question, at its lowest temperature; `None` if it was not asked."""
        for row in self.stored(question):
            if row["row"] == "Teacher":
                return Response(question.question_id, 0.0, 0, row["response"], row["finish_reason"])
        if question.question_id not in self.votes:
            return None
        columns, where = ["response", "temperature", "sample", "finish_reason"], {"question_id": question.question_id}
        rows = self._rows("labels", "responses", columns, where)
        # Responses of one's own may tell neither.
        known = [(row["temperature"] or 0.0, row["sample"] or 0, row) for row in rows]
        temperature, sample, best = min(known, key=lambda entry: entry[:2], default=(0.0, 0, None))
        return best and Response(question.question_id, temperature, sample, best["response"], best["finish_reason"])

    def plots(self) -> list[tuple[str, Path]]:
        """Plots with the kind of artifact that each is of, those of the results first."""
        found = []
        for kind in sorted(self.manifests, key=lambda kind: kind != "results"):
            folder = open_artifact(self.settings.ref(kind), SHOWN[kind].repo_type, patterns=["*.png"]).path
            found += [(kind, path) for path in sorted(folder.rglob("*.png"))]
        return found

    def _first(self, *path: str) -> Any:
        for artifact in self.manifests.values():
            value: Any = artifact.manifest
            for key in path:
                value = (value or {}).get(key)
            if value:
                return value
        return None

    def _rows(
        self, kind: str, config: str, columns: list[str] | None = None, where: dict | None = None
    ) -> list[dict[str, Any]]:
        if kind not in self.manifests:
            return []
        folder = open_artifact(self.settings.ref(kind), "dataset", patterns=[f"{config}/*"]).path
        return read_rows(folder, config, columns, where)

    def _own_questions(self) -> list[Question]:
        try:
            return self.task.questions()
        except HFDistillError as error:
            # The benchmark may not be readable from here; the texts that the run asked are in its datasets.
            log(f"The questions of {self.task_name} cannot be read.", error)
            return []

    def _open_results(self) -> StoredAnswers | None:
        if "results" not in self.manifests:
            return None
        artifact = open_artifact(self.settings.ref("results"), "dataset", patterns=["responses/*"])
        try:
            return StoredAnswers(artifact.path)
        except (HFDistillError, ArrowInvalid) as error:
            log("The stored answers cannot be read.", error)
            return None


def _load_task(section: Any) -> Task | None:
    try:
        return load_task(section)
    except HFDistillError as error:
        log("The run's task cannot be loaded, so that only stored answers are shown.", error)
        return None


def _open_manifest(ref: str, repo_type: str) -> Artifact:
    if Path(ref).is_absolute() and not Path(ref).is_dir():
        raise HFDistillError(f"there is no folder {ref}: the stage that makes it has not run")
    artifact = open_artifact(ref, repo_type, patterns=[])
    if not artifact.manifest:
        raise HFDistillError(f"{ref} holds no hfdistill.json: hfdistill did not make it")
    return artifact


def trained_for(entries: list[Any]) -> tuple[str, str | None]:
    """The variant of Eq. 7 among a policy's rewards, and all of them in words where they are not Eq. 7 alone."""
    read = [read_entry(entry) for entry in entries]
    variants = [section.get("variant", "min") for section, _ in read if section["name"] == "distilled"]
    if len(variants) == len(read) == 1 and read[0][1] == 1 and not read[0][0].get("function"):
        return variants[0], None
    words = [f"{weight:g} × {section.get('function') or section['name']}" for section, weight in read]
    return (variants or ["min"])[0], " + ".join(words)


def shown(question: Question) -> str:
    """A question as a visitor reads and types it, with its options on lines of their own."""
    options = [f"{chr(ord('A') + index)}. {option}" for index, option in enumerate(question.options or ())]
    return "\n".join([question.question, *options])


def _plain(text: str) -> str:
    return " ".join(text.split()).casefold()


def _split_options(text: str) -> tuple[str, tuple[str, ...]]:
    """Cut lines `A. …`, `B. …` in a row off the end of a question."""
    lines = text.splitlines()
    for first in range(len(lines)):
        found = [OPTION.match(line.strip()) for line in lines[first:]]
        if all(found) and len(found) > 1 and [m[1] for m in found] == [chr(ord("A") + i) for i in range(len(found))]:
            return "\n".join(lines[:first]).strip(), tuple(m[2] for m in found)
    return text, ()
