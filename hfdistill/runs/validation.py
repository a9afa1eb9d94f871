"""Check the settings of a configuration, without a GPU, a token or a request."""

from collections.abc import Sequence

from ..config import Config, load_config
from ..errors import HFDistillError
from ..flags import stage_class, stage_flags
from ..kinds import CHAIN, STAGES
from ..labels.vote import VoteLabeler
from ..ppo.stage import DistillPPOConfig
from ..reward.config import RewardConfig
from ..reward.rewards import resolved_entry
from ..tasks import load_task, task_section


def stage_config(stage: str, path: str, settings: Sequence[str]) -> Config:
    """The configuration as a stage sees it, with `section.key=value` settings on top of the file."""
    return load_config(stage, stage_class(stage), ["--config", path, *stage_flags(settings, stage)])


def validate(path: str, settings: Sequence[str] = (), stages: Sequence[str] = CHAIN) -> dict[str, Config]:
    """Build every stage's settings and the tasks, as the recipes will: the configuration as each stage sees it, by
    stage. The first thing that is wrong is an error; the teacher's endpoints are missed where one of `stages` asks it.
    """
    configs = {stage: stage_config(stage, path, settings) for stage in STAGES}
    label = configs["label"]
    for entry in (label.task, *label.stage.benchmarks, *configs["evaluate"].stage.benchmarks):
        load_task(task_section(entry))
    if "label" in stages and load_task(label.task).has_questions and not label.teacher.endpoints:
        raise HFDistillError(
            f"{path} names no endpoint of the teacher: add teacher.endpoints, or give "
            "--set teacher.endpoints=http://host:port"
        )
    check_open_ended(configs)
    check_judge(configs["reward"].stage, configs["ppo"].stage)
    return configs


def check_open_ended(configs: dict[str, Config]) -> None:
    """Refuse what needs final answers to compare, where the task is open-ended."""
    label, evaluate = configs["label"], configs["evaluate"]
    task = load_task(label.task)
    if label.stage.labeler == "vote":
        VoteLabeler().check(task)
    for stage in ("warmup", "ppo"):
        configs[stage].stage.settle_task(task)
    for entry in (evaluate.task, *evaluate.stage.benchmarks):
        evaluate.stage.check_task(load_task(task_section(entry)))


def check_judge(reward: RewardConfig, ppo: DistillPPOConfig) -> None:
    """Refuse a pessimistic reward where the reward model, which the run makes itself, will have a single head."""
    pessimistic = [entry for entry in map(resolved_entry, ppo.rewards) if entry.get("pessimism")]
    if pessimistic and ppo.reward is None and reward.ensemble == 1:
        raise HFDistillError(
            f"the reward {pessimistic[0]['name']} takes {pessimistic[0]['pessimism']:g} standard deviations of an "
            "ensemble off, and reward.ensemble is 1: set it to 5, or the reward's pessimism to 0"
        )
