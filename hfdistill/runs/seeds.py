"""The seeds of a study of a user's configuration: the configuration's own run, and further ones beside it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ..artifacts.references import open_artifact
from ..artifacts.store import Store
from ..config import load_config
from ..errors import HFDistillError
from ..evaluation.paper_rows import TEACHER
from ..flags import stage_class
from ..kinds import RESULTS
from ..sections import StudentConfig
from ..student import load_encoder
from ..tasks import Question, Task, load_task
from .ablation_grid import SeedSettings
from .ablation_tables import LENIENT
from .opening import FILES


def settings_of(
    config: str, seeds: Sequence[int], flags: Mapping[str, Sequence[str]], accelerate: Sequence[str] = ()
) -> list[SeedSettings]:
    """How the steps of each seed are started.

    The configuration's own seed is the run that `hfdistill run` makes, so that what is there of it is shared. Another
    one has `-{seed}` behind the run's name, and a folder of its own in the run's.

    Args:
        config (`str`): path of the YAML file.
        seeds (`Sequence[int]`): which.
        flags (`Mapping[str, Sequence[str]]`): further arguments of each stage.
        accelerate (`Sequence[str]`, *optional*): options of `accelerate launch` for all stages but labelling.
    """
    read = load_config(RESULTS.stage, stage_class(RESULTS.stage), ["--config", config, *flags[RESULTS.stage]])
    run = replace(read.run, namespace=Store(read.run).namespace)
    task = load_task(read.task)
    few_shot = bool(task.shots) and not asked_in_chat(read.student)
    left_out = [] if read.stage.asks(read.teacher) else [TEACHER.name]
    left_out += [] if read_leniently(task) else [LENIENT]
    made = []
    for seed in seeds:
        own, shared = run, ()
        if seed != run.seed:
            own = replace(run, name=f"{run.name}-{seed}", seed=seed, output_dir=f"{run.output_dir}/seed-{seed}")
            shared = ("--run.name", own.name, "--run.seed", str(seed), "--run.output_dir", own.output_dir)
        made.append(SeedSettings(config, own, shared, flags, tuple(accelerate), few_shot, tuple(left_out)))
    return made


def read_leniently(task: Task) -> bool:
    """Whether a task can tell an answer that nothing announces."""
    try:
        task.last_value("1", Question("example", "How many?", "test", ("1", "2")))
    except HFDistillError:
        return False
    return True


def asked_in_chat(student: StudentConfig) -> bool:
    """Whether the base student is asked in conversations, without worked examples."""
    if student.chat is not None:
        return student.chat
    try:
        return load_encoder(open_artifact(student.ref, "model", FILES).path, student).chat is not None
    except (OSError, ValueError) as error:
        said = " ".join(str(error).split())
        raise HFDistillError(f"the student {student.model!r} cannot be opened: {said}") from error
