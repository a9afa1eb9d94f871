"""Settings of the evaluation stage."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from ..errors import HFDistillError, unknown
from ..fields import NO_EFFECT, PARENT, check_positive, decides, section
from ..labels.config import TASKS
from ..labels.judges import judge_identity
from ..sections import TeacherConfig
from ..tasks.base import Task, no_final_answers
from .paper_rows import BASE, OURS, PPO_ON_THE_VOTE, WITHOUT_REWARD


BY_DEFAULT = [row.name for row in (BASE, WITHOUT_REWARD, OURS)]
# Which models stand in the rows is said by the parents.
NAMES = decides(value=lambda asked: [row.partition("=")[0] for row in asked["models"]] or BY_DEFAULT)

OF_THE_JUDGE = decides(value=lambda asked: judge_identity(asked["judge"]), if_changed=True)
OF_VOTES = decides(when=lambda asked: asked["votes"], if_changed=True)


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
        votes (`list[int]`, *optional*): also sample so many responses to each question, and report what one of them,
            their majority, the best by the reward model's score, a vote weighted by the sigmoid of the score, and any
            of them come to: `[4, 8, 16]`. The smaller numbers are the first samples of the largest.
        vote_rows (`list[str]`, *optional*): rows that are sampled for it; `Ours w/o R`, `Ours` and `PPO on the vote`
            by default, as far as the table has them.
        vote_temperature (`float`, *optional*, defaults to 0.7): of these samples.
        score (`bool`, *optional*, defaults to `False`): let the reward model score the greedy responses, a forward
            pass each, so that the Space shows what it thinks of every stored answer. With `votes` it does.
        reward (`str`, *optional*): the reward model that scores; `{run}-reward` by default. Naming one lets it score.
        labels (`str`, *optional*): labels with the test questions and golds of a task that has no questions of its
            own; `{run}-labels` by default.
        lenient (`list[str]`, *optional*): rows that are read a second time, as `"{row} (lenient)"`, in which the last
            value of the answer's kind counts where no answer is announced: what a base student gains by learning the
            format is no skill.
        judge (`dict`, *optional*): who tells good answers of an open-ended task from bad ones: a labeler and its
            options, as `{endpoint: http://host:port, model: NAME, verdicts: 3}`; by default section `label`'s, or the
            one that the labels were made by. It grades each answer by itself, whatever its `mode` in labelling.
    """

    output_dir: str | None = field(default=None, metadata=NO_EFFECT)
    models: list[str] = field(default_factory=list, metadata=NAMES)
    few_shot: list[str] | None = None
    teacher: bool = True
    benchmarks: list[str] = field(default_factory=list, metadata=TASKS)
    max_questions: int | None = None
    batch_size: int = field(default=256, metadata=NO_EFFECT)
    baseline: str = "Ours w/o R"
    votes: list[int] = field(default_factory=list, metadata=decides(if_changed=True))
    vote_rows: list[str] | None = field(default=None, metadata=OF_VOTES)
    vote_temperature: float = field(default=0.7, metadata=OF_VOTES)
    score: bool = field(default=False, metadata=PARENT)
    reward: str | None = field(default=None, metadata=PARENT)
    labels: str | None = field(default=None, metadata=PARENT)
    lenient: list[str] = field(default_factory=list, metadata=decides(if_changed=True))
    judge: dict | str | None = field(default=None, metadata=OF_THE_JUDGE)

    def __post_init__(self):
        for model in self.models:
            if not all(model.partition("=")):
                raise HFDistillError(f"evaluate.models holds {model!r}: each row reads name=namespace/repo[@revision]")
        check_positive("evaluate.", self, "batch_size", "max_questions", "vote_temperature")
        few = [count for count in self.votes if count < 2]
        if few:
            raise HFDistillError(f"evaluate.votes holds {few[0]}: a vote takes two samples or more")

    def shots(self, row: str, task: Task, chat: bool) -> int:
        """How many worked examples a row of the table gets, whose model is asked in conversations or not."""
        few_shot = ([] if chat else [BASE.name]) if self.few_shot is None else self.few_shot
        return task.shots if row in few_shot else 0

    @property
    def row_names(self) -> list[str]:
        """Rows of the table whose models this machine asks."""
        return [row.partition("=")[0] for row in self.models] or BY_DEFAULT

    @property
    def scores(self) -> bool:
        """Whether the reward model scores what is answered."""
        return bool(self.votes or self.score or self.reward)

    def votes_on(self, row: str) -> bool:
        """Whether a row of the table is sampled for votes."""
        rows = [WITHOUT_REWARD.name, OURS.name, PPO_ON_THE_VOTE] if self.vote_rows is None else self.vote_rows
        return bool(self.votes) and row in rows

    def check_rows(self, names: Sequence[str]) -> None:
        """Refuse rows that are asked for and that the table does not have."""
        for option in ("vote_rows", "lenient"):
            for row in vars(self)[option] or ():
                if row not in names:
                    raise unknown(f"row in evaluate.{option}:", row, names)

    def check_task(self, task: Task) -> None:
        """Refuse what needs final answers to compare, where a task is open-ended."""
        for option in ("votes", "lenient") if task.open_ended else ():
            if vars(self)[option]:
                raise no_final_answers(f"evaluate.{option}", task)

    def asks(self, teacher: TeacherConfig | None) -> bool:
        """Whether the table has a row of the teacher's."""
        return bool(self.teacher and teacher and teacher.endpoints)
