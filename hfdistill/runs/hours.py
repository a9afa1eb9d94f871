"""Hours that stages take on hardware on which nobody timed them: the work, counted, over speeds that are assumed.

The work is the most that it can be: every response of the teacher agrees with the vote, every question gives all its
triples, every batch has a response of the greatest length, nothing stops early.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from ..config import Config
from ..evaluation.config import EvaluateConfig
from ..evaluation.sampling import SAMPLES_A_ROUND
from ..labels.questions import held_out, load_benchmarks, questions_to_label
from ..tasks.base import Task
from ..teacher.plan import Grid
from .estimate import Rates
from .hardware import Machines
from .memory import RESPONSES_OF_A_TRIPLE, CountedModel, Settings, Spread


SHARE_OF_PEAK = 0.3  # that training, and reading prompts, reach of a GPU's operations
# Of a layer in a step of generation, whatever its rows: kernels are started one after another, by vLLM all at once.
LAYER_SECONDS, VLLM_LAYER_SECONDS = 1.4e-3, 0.2e-3
ASSUMED = (
    f"The hours are computed, not measured: {SHARE_OF_PEAK:.0%} of a GPU's operations in bf16 are assumed, and for a "
    f"step of generation {LAYER_SECONDS * 1000:g} ms a layer, {VLLM_LAYER_SECONDS * 1000:g} ms with ppo.use_vllm"
)
# Operations a weight and a token: of a forward pass, and with its backward pass.
FORWARD, TRAINING = 2, 6


@dataclass(frozen=True)
class Asked:
    """What stages work on.

    Attributes:
        train (`int`), validation (`int`), test (`int`): questions, those of benchmarks among the last.
        responses (`int`): of the teacher to a question.
        prompt (`float`), few_shot_prompt (`float`), response (`float`): tokens, in the mean.
        longest (`int`): tokens of the longest response.
    """

    train: int
    validation: int
    test: int
    responses: int
    prompt: float
    few_shot_prompt: float
    response: float
    longest: int


def asked_of(label: Config, evaluate: EvaluateConfig, task: Task, rates: Rates) -> Asked:
    """What the stages of a run work on.

    Args:
        label ([`~hfdistill.config.Config`]): the configuration as the label stage sees it.
        evaluate ([`~hfdistill.evaluation.config.EvaluateConfig`]): the section that names what is tested.
        task ([`~hfdistill.tasks.base.Task`]): the run's.
        rates ([`~hfdistill.runs.estimate.Rates`]): how long prompts and responses are.
    """
    stage, questions = label.stage, questions_to_label(task, label.stage.max_questions)
    train = sum(question.split == "train" for question in questions)
    tested = [task, *load_benchmarks(evaluate.benchmarks)]
    bare, few_shot = (
        sum(len(task.prompt(question, shots)) for question in questions) / len(questions) / rates.characters_per_token
        for shots in (0, None)
    )
    grid = Grid(stage.high_temperatures, stage.high_samples, stage.low_temperatures, stage.low_samples)
    return Asked(
        train,
        len(questions) - train,
        sum(len(held_out(each)[: evaluate.max_questions]) for each in tested),
        grid.requests,
        bare,
        few_shot,
        rates.completion_tokens,
        task.max_new_tokens,
    )


@dataclass(frozen=True)
class Speed:
    """How fast a spread of processes on some hardware is with a student."""

    student: CountedModel
    hardware: Machines
    processes: int

    def compute(self, operations: float) -> float:
        """Seconds of so many operations, of all processes together."""
        return operations / (self.hardware.operations * SHARE_OF_PEAK * self.processes)

    def generate(self, rows: float, at_once: int, prompt: float, asked: Asked, vllm: bool = False) -> float:
        """Seconds of responses, `at_once` in each process."""
        batches = math.ceil(rows / self.processes / at_once)
        steps = batches * asked.longest * self.student.layers * (VLLM_LAYER_SECONDS if vllm else LAYER_SECONDS)
        return steps + self.compute(rows * (prompt + asked.response) * FORWARD * self.student.parameters)


def stage_hours(
    stage: str, student: CountedModel, settings: Settings, asked: Asked, spread: Spread, hardware: Machines
) -> float:
    """Hours of a stage, without loading, saving and publishing.

    Args:
        stage (`str`): `"warmup"`, `"reward"`, `"ppo"` or `"evaluate"`.
        student ([`~hfdistill.runs.memory.CountedModel`]): the model.
        settings (`Mapping`): the stage's section, every field.
        asked ([`Asked`]): what it works on.
        spread ([`~hfdistill.runs.memory.Spread`]): how it is launched.
        hardware ([`~hfdistill.runs.hardware.Machines`]): on what.
    """
    return SECONDS[stage](Speed(student, hardware, spread.processes), settings, asked) / 3600


def _warmup(speed: Speed, settings: Settings, asked: Asked) -> float:
    responses = min(asked.responses, settings["max_per_question"] or asked.responses)
    examples = asked.train * responses * settings["num_train_epochs"]
    tokens = min(asked.prompt + asked.response, settings["max_length"] or math.inf)
    validation = speed.generate(
        min(asked.validation, settings["max_validation"] or asked.validation),
        settings["per_device_eval_batch_size"],
        asked.prompt,
        asked,
    )
    return (
        speed.compute(examples * tokens * _operations(settings) * speed.student.parameters)
        + _validations(settings, examples / _update(settings, speed)) * validation
    )


def _reward(speed: Speed, settings: Settings, asked: Asked) -> float:
    questions = asked.train + asked.validation
    prompt = asked.few_shot_prompt if settings["few_shot"] else asked.prompt
    sampling = speed.generate(questions * settings["samples"], settings["generation_batch_size"], prompt, asked)
    prompts = 1 if settings["share_prefix"] else RESPONSES_OF_A_TRIPLE
    tokens = prompts * asked.prompt + RESPONSES_OF_A_TRIPLE * asked.response
    triples = asked.train * settings["max_triples"] * settings["num_train_epochs"]
    return sampling + speed.compute(triples * tokens * _operations(settings) * speed.student.backbone)


def _ppo(speed: Speed, settings: Settings, asked: Asked) -> float:
    student, episodes = speed.student, settings["total_episodes"] or asked.train * settings["num_train_epochs"]
    update, at_once = settings["rollout_batch_size"], settings["generation_batch_size"]
    prompt = asked.few_shot_prompt if settings["few_shot"] else asked.prompt
    value = student.backbone if settings["value_backbone"] == "separate" else 0
    # Before an update the policy, the reference, the value model and the reward model read its episodes once.
    weights = FORWARD * (2 * student.parameters + value + student.backbone)
    weights += settings["num_ppo_epochs"] * _operations(settings) * (student.parameters + value)
    steps = episodes / update * settings["num_ppo_epochs"] * settings["num_mini_batches"]
    validated = min(asked.validation, settings["validation_questions"] or asked.validation)
    validation = speed.generate(validated, at_once, prompt, asked)
    return (
        math.ceil(episodes / update) * speed.generate(update, at_once, prompt, asked, settings["use_vllm"])
        + speed.compute(episodes * (prompt + asked.response) * weights)
        + _validations(settings, steps) * validation
    )


def _evaluate(speed: Speed, settings: Settings, asked: Asked) -> float:
    stage = EvaluateConfig(**settings)
    rows, voting = len(stage.row_names), sum(map(stage.votes_on, stage.row_names))
    samples = max(stage.votes, default=0) * asked.test
    at_once = min(stage.batch_size, math.ceil(SAMPLES_A_ROUND / speed.processes))
    scored = rows * asked.test + voting * samples if stage.scores else 0
    return (
        rows * speed.generate(asked.test, stage.batch_size, asked.prompt, asked)
        + voting * speed.generate(samples, at_once, asked.prompt, asked)
        + speed.compute(scored * (asked.prompt + asked.response) * FORWARD * speed.student.backbone)
    )


SECONDS: dict[str, Callable[[Speed, Settings, Asked], float]] = {
    "warmup": _warmup,
    "reward": _reward,
    "ppo": _ppo,
    "evaluate": _evaluate,
}


def _operations(settings: Settings) -> int:
    """Of a weight and a token that is learnt from."""
    return TRAINING + (FORWARD if settings["activation_checkpointing"] else 0)


def _update(settings: Settings, speed: Speed) -> float:
    return settings["global_batch_size"] or settings["per_device_train_batch_size"] * speed.processes


def _validations(settings: Settings, steps: float) -> float:
    """How often a training of so many optimizer steps validates."""
    if settings["eval_strategy"] == "no":
        return 0
    if settings["eval_strategy"] == "epoch":
        return settings["num_train_epochs"]
    every = settings["eval_steps"] or settings["logging_steps"]
    return 1 / every if every < 1 else steps / every
