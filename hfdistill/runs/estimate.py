"""What a run will ask for, take and cost, from its configuration and a probe of a few questions."""

import dataclasses
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from ..artifacts.references import open_artifact
from ..config import Config, TeacherConfig
from ..errors import HFDistillError
from ..kinds import LABELS, POLICY, TRIPLES
from ..labels.config import LabelConfig
from ..labels.labeler import Labeler
from ..labels.llm_judge import LLMJudge
from ..labels.questions import questions_to_label
from ..tasks.base import Question, Task
from ..teacher.journal import Journal
from ..teacher.plan import Grid, Plan, Prompt, teacher_prompts
from ..teacher.protocols import Decoding


CHARACTERS_PER_TOKEN = 4.0  # of English text, where nothing could be measured
PROBE_TEMPERATURE = 0.7


@dataclass(frozen=True)
class Rates:
    """What one request takes."""

    characters_per_token: float  # of prompts
    completion_tokens: float  # mean length of a response
    requests_per_hour: float | None  # of all endpoints together
    endpoints: int  # how many those are
    measured: str  # how the figures came about, as a sentence


@dataclass(frozen=True)
class StudentRates:
    """What the later stages ask of the student, and how fast its machine is, as far as anybody measured that."""

    samples: int  # responses a question that the reward model learns from
    episodes: int  # of PPO
    epochs: int  # passes of PPO over each of them
    tokens_per_second: float | None = None  # that the machine generates
    episodes_per_second: float | None = None  # of PPO, generation and training together
    hour_price: float | None = None  # price of an hour of the machine


@dataclass(frozen=True)
class Demand:
    """What making one artifact asks for; `hours` and `cost` are `None` where they cannot be told."""

    kind: str
    requests: int
    prompt_tokens: int
    completion_tokens: int
    trained_tokens: int = 0
    hours: float | None = None
    cost: float | None = None


def probe(config: Config, task: Task, questions: Sequence[Question], samples: int) -> Rates:
    """Ask the teacher a few questions, each once greedily and `samples` times at temperature 0.7, and measure.

    Raises:
        [`~hfdistill.errors.HFDistillError`]: if no endpoint answers.
    """
    from ..teacher.session import collect

    unlimited = {"max_requests": None, "max_cost": None}
    teacher = dataclasses.replace(config.teacher, **unlimited, gpu_hour_price=1.0, input_price=None, output_price=None)
    render, _ = teacher_prompts(config.teacher, task)
    plan = Plan(questions, render, Grid([0.0], 1, [PROBE_TEMPERATURE], samples), config.run.seed)
    with tempfile.TemporaryDirectory() as folder, Journal(Path(folder) / "probe.sqlite") as journal:
        decoding = decoding_of(config.teacher, task, config.stage)
        cost = collect(journal, teacher, plan, decoding, max_missing=config.stage.max_missing, show=False)["cost"]
        responses = [sample for question in questions for sample in journal.of(question.question_id)]
        counted = [sample for sample in responses if sample.prompt_tokens and sample.completion_tokens]
        endpoints = len(dict.fromkeys(config.teacher.endpoints))
        hours = (journal.note("endpoint_seconds") or 0.0) / 3600 / endpoints
    if not counted:
        raise HFDistillError("the endpoints count no tokens: give prices by the hour, or use another engine")
    characters = {question.question_id: length(render(question)) for question in questions}
    return Rates(
        sum(characters[sample.question_id] for sample in counted) / sum(sample.prompt_tokens for sample in counted),
        sum(sample.completion_tokens for sample in counted) / len(counted),
        cost["requests"] / hours if hours else None,
        endpoints,
        f"measured on {len(responses)} responses to {len(questions)} questions at {endpoints} endpoint(s); a long run "
        "keeps the endpoints fuller and is faster, and so does a probe of more --questions",
    )


def guess(task: Task, settings: LabelConfig, endpoints: int) -> Rates:
    """Rates without any request: four characters a token, responses half as long as they may be."""
    half = (settings.max_new_tokens or task.max_new_tokens) / 2
    assumed = f"{CHARACTERS_PER_TOKEN:g} characters a token and responses of {half:g} tokens"
    return Rates(CHARACTERS_PER_TOKEN, half, None, endpoints, f"nothing was asked: {assumed} are assumed")


def decoding_of(teacher: TeacherConfig, task: Task, settings: LabelConfig) -> Decoding:
    """How the teacher's responses are decoded."""
    _, stop = teacher_prompts(teacher, task)
    return Decoding(settings.max_new_tokens or task.max_new_tokens, stop, settings.top_p, settings.top_k)


def length(prompt: Prompt) -> int:
    """Characters of a prompt."""
    return len(prompt) if isinstance(prompt, str) else sum(len(turn["content"]) for turn in prompt)


def rates_of(run: str, completion_tokens: float) -> tuple[float, float]:
    """How fast an earlier run's student was, from the manifests of what it made.

    Args:
        run (`str`): the run: `namespace/name`, or the folder and name in front of `-triples` and `-policy`.
        completion_tokens (`float`): mean length of a response.

    Returns:
        `tuple[float, float]`: tokens a second while it was sampled, and episodes a second of PPO.

    Raises:
        [`~hfdistill.errors.HFDistillError`]: if the run has not come so far.
    """
    manifests = []
    for kind in (TRIPLES, POLICY):
        ref = f"{run}-{kind.name}"
        manifests.append(open_artifact(ref, kind.repo_type, []).manifest)
        if not manifests[-1]:
            raise HFDistillError(f"{ref} holds no hfdistill.json, so it tells no rates: name a run of hfdistill")
    sampled, trained = manifests
    responses = sum(sampled["metrics"][split]["responses"] for split in ("train", "validation"))
    return (
        responses * completion_tokens / sampled["cost"]["seconds"],
        trained["metrics"]["episodes"] / trained["cost"]["seconds"],
    )


def estimate(
    config: Config,
    task: Task,
    rates: Rates,
    student: StudentRates | None = None,
    judges: Mapping[str, Labeler] = MappingProxyType({}),
) -> list[Demand]:
    """Demand of labelling, and of the later stages that generate.

    Args:
        config ([`~hfdistill.config.Config`]): as the label stage sees it.
        task ([`~hfdistill.tasks.base.Task`]): has the questions.
        rates ([`Rates`]): from [`probe`] or [`guess`]. The student's responses are taken to be as long as the
            teacher's, from which it learns.
        student ([`StudentRates`], *optional*): adds the student's samples and PPO.
        judges (`Mapping[str, Labeler]`, *optional*): by the kind whose responses they label; those that are a model
            add what they are asked, at the teacher's prices.

    Returns:
        `list[Demand]`: an artifact each, and behind it its judge.
    """
    settings: LabelConfig = config.stage
    questions = questions_to_label(task, settings.max_questions)
    grid = Grid(settings.high_temperatures, settings.high_samples, settings.low_temperatures, settings.low_samples)
    render, _ = teacher_prompts(config.teacher, task)
    asked = sum(length(render(question)) for question in questions) / rates.characters_per_token
    requests = len(questions) * grid.requests
    teacher = Demand(LABELS.name, requests, round(asked * grid.requests), round(requests * rates.completion_tokens))
    rows = [_priced(teacher, rates, config.teacher)]
    rows += _judge_rows(LABELS.name, judges, task, questions, grid.requests, rates, config.teacher)
    if student is not None:
        bare = sum(len(task.prompt(question, shots=0)) for question in questions) / rates.characters_per_token
        samples, policy = _student_rows(
            student, len(questions), bare / max(len(questions), 1), rates.completion_tokens
        )
        judged = _judge_rows(TRIPLES.name, judges, task, questions, student.samples, rates, config.teacher)
        rows += [samples, *judged, policy]
    return rows


def _judge_rows(
    kind: str,
    judges: Mapping[str, Labeler],
    task: Task,
    questions: Sequence[Question],
    responses: int,
    rates: Rates,
    teacher: TeacherConfig,
) -> list[Demand]:
    """What a judge is asked about so many responses to each question; all are taken to differ, and its replies to be
    half as long as they may be. How fast it is nobody measured.
    """
    judge = judges.get(kind)
    if not isinstance(judge, LLMJudge) or not questions:
        return []
    shown = [""] if judge.mode == "grade" else ["", ""]
    asked = sum(len(task.judge_prompt(question, *shown)) for question in questions) / rates.characters_per_token
    requests = judge.requests(responses)
    prompts = requests * (asked + len(questions) * len(shown) * rates.completion_tokens)
    replies = requests * len(questions) * judge.max_new_tokens / 2
    row = Demand(f"{kind}: judge", requests * len(questions), round(prompts), round(replies))
    return [_priced(row, dataclasses.replace(rates, requests_per_hour=None), teacher)]


def _student_rows(student: StudentRates, questions: int, prompt: float, completion: float) -> list[Demand]:
    # All questions, though those without a label are not sampled: how many that are nobody knows yet.
    samples, episodes = student.samples * questions, student.episodes
    trained = round(episodes * (prompt + completion) * student.epochs)
    rows = []
    for kind, count, work, speed, tokens in (
        (TRIPLES, samples, samples * completion, student.tokens_per_second, 0),
        (POLICY, episodes, episodes, student.episodes_per_second, trained),
    ):
        hours = work / speed / 3600 if speed else None
        cost = None if hours is None or student.hour_price is None else hours * student.hour_price
        rows.append(Demand(kind.name, count, round(count * prompt), round(count * completion), tokens, hours, cost))
    return rows


def _priced(row: Demand, rates: Rates, teacher: TeacherConfig) -> Demand:
    hours = row.requests / rates.requests_per_hour if rates.requests_per_hour else None
    cost = None
    if teacher.input_price or teacher.output_price:
        tokens = row.prompt_tokens * (teacher.input_price or 0) + row.completion_tokens * (teacher.output_price or 0)
        cost = tokens / 1e6
    if teacher.gpu_hour_price and hours is not None:
        cost = (cost or 0.0) + hours * rates.endpoints * teacher.gpu_hour_price
    return dataclasses.replace(row, hours=hours, cost=cost)
