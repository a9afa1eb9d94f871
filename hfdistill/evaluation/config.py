"""Settings of the evaluation stage."""

from dataclasses import dataclass, field

from ..errors import HFDistillError
from ..fields import NO_EFFECT, check_positive, decides, section
from ..labels.config import TASKS
from ..sections import TeacherConfig
from ..tasks.base import Task
from .paper_rows import BASE, OURS, WITHOUT_REWARD


BY_DEFAULT = [row.name for row in (BASE, WITHOUT_REWARD, OURS)]
# Which models stand in the rows is said by the parents.
NAMES = decides(value=lambda asked: [row.partition("=")[0] for row in asked["models"]] or BY_DEFAULT)


@section()
@dataclass
class EvaluateConfig:
    """Section `evaluate`: which models answer which test questions. Every answer is greedy, at temperature 0.

    Args:
        output_dir (`str`, *optional*): folder for finished rows; `{run.output_dir}/evaluate` by default.
        models (`list[str]`, *optional*): rows of the table as `"name=namespace/repo[@revision]"`; by default the
            paper's rows of this run: `ICL` (base student), `Ours w/o R` (warm-up) and `Ours` (policy).
        few_shot (`list[str]`, *optional*): rows that get the task's worked examples in the prompt; the others get the
            bare prompt that they were trained on. By default `ICL`, but none where the base student is an instruct
            model, which is asked in a conversation.
        teacher (`bool`, *optional*, defaults to `True`): add the row `Teacher` where the configuration names
            endpoints.
        benchmarks (`list[str]`, *optional*): further tasks whose test questions are answered by the same models, each
            a name (`gsm_plus`) or a mapping with options (`{name: gsm_plus, shots: 3}`).
        max_questions (`int`, *optional*): only the first so many test questions of each task.
        batch_size (`int`, *optional*, defaults to 256): rows generated at once.
        baseline (`str`, *optional*, defaults to `"Ours w/o R"`): row that the row `Ours` is compared with, question by
            question.
    """

    output_dir: str | None = field(default=None, metadata=NO_EFFECT)
    models: list[str] = field(default_factory=list, metadata=NAMES)
    few_shot: list[str] | None = None
    teacher: bool = True
    benchmarks: list[str] = field(default_factory=list, metadata=TASKS)
    max_questions: int | None = None
    batch_size: int = field(default=256, metadata=NO_EFFECT)
    baseline: str = "Ours w/o R"

    def __post_init__(self):
        for model in self.models:
            if not all(model.partition("=")):
                raise HFDistillError(f"evaluate.models holds {model!r}: each row reads name=namespace/repo[@revision]")
        check_positive("evaluate.", self, "batch_size", "max_questions")

    def shots(self, row: str, task: Task, chat: bool) -> int:
        """How many worked examples a row of the table gets, whose model is asked in conversations or not."""
        few_shot = ([] if chat else [BASE.name]) if self.few_shot is None else self.few_shot
        return task.shots if row in few_shot else 0

    def asks(self, teacher: TeacherConfig | None) -> bool:
        """Whether the table has a row of the teacher's."""
        return bool(self.teacher and teacher and teacher.endpoints)
