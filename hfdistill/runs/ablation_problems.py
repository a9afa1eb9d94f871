"""What a table needs and a configuration may lack: endpoints, gold answers, one vocabulary; told before all else."""

from ..artifacts.references import open_artifact
from ..errors import HFDistillError
from ..kinds import LABELS
from ..student import load_encoder
from ..tasks import load_task
from ..teacher.deploy import use_deployed
from .ablation_grid import RELABEL, AblationGrid, GridStep
from .opening import FILES


DISTILLATION = "distillation"  # the baseline that learns from the teacher's probabilities


def lacks_endpoint(made: GridStep) -> list[str]:
    """Why labels that are still to do cannot be asked for."""
    if use_deployed(made.config).teacher.endpoints:
        return []
    return [
        f"the labels of seed {made.config.run.seed} are not there ({made.refs[LABELS.name]}), and the configuration "
        "names no endpoint of the teacher: add teacher.endpoints, or give --set teacher.endpoints=http://host:port"
    ]


def lacks_golds(grid: AblationGrid) -> list[str]:
    """Which golds a table needs and the task has not, and which labels cannot be derived."""
    config = next((made.config for made in grid.steps if made.config), None)
    if config is None:
        return []
    try:
        task = load_task(config.task)
        with_gold = {question.split for question in task.questions() if question.question_id in task.golds()}
    except HFDistillError as error:
        return [str(error)]
    problems = []
    if grid.evaluation and "test" not in with_gold:
        problems.append(
            f"task {task.name!r} has no test questions with gold answers, which accuracies need: name a task that has"
        )
    derived = [made for made in grid.steps if made.stage == RELABEL]
    if derived and task.open_ended:
        problems.append(
            f"{derived[0].step.name!r}: a judge labels the responses of task {task.name!r}, and labels of a vote "
            f"alone can be changed: {_way_out(grid, derived[0])}"
        )
    for made in derived:
        if "--gold" in made.step.command and "train" not in with_gold:
            problems.append(f"task {task.name!r} has no gold answers to training questions: {_way_out(grid, made)}")
    return problems


def lacks_vocabulary(grid: AblationGrid) -> list[str]:
    """Which rows need a teacher of the student's vocabulary, and whose weights can be opened, and have none."""
    return [problem for made in grid.steps if _takes_weights(made) for problem in _vocabulary(grid, made)]


def _takes_weights(made: GridStep) -> bool:
    """Whether a step reads the teacher's weights: its probabilities are distilled, or a judge starts from them."""
    return bool({DISTILLATION, "--base"} & {*made.step.command})


def _vocabulary(grid: AblationGrid, made: GridStep) -> list[str]:
    from transformers import AutoTokenizer

    from ..reward.model import check_base

    teacher, student = made.config.teacher, made.config.student
    if teacher is None:
        return [f"{made.step.name!r} needs the teacher's weights, and no teacher is named: {_way_out(grid, made)}"]
    try:
        theirs, ours = (open_artifact(ref, "model", FILES).path for ref in (teacher.model, student.ref))
        if DISTILLATION not in made.step.command:
            check_base(str(theirs), teacher.model, str(ours), load_encoder(ours, student))
        elif AutoTokenizer.from_pretrained(theirs).get_vocab() != AutoTokenizer.from_pretrained(ours).get_vocab():
            raise HFDistillError(f"{teacher.model} and {student.model} have different vocabularies")
    except (HFDistillError, OSError, ValueError) as error:
        said = " ".join(str(error).split())
        return [f"{made.step.name!r} reads the weights of {teacher.model}: {said}; or {_way_out(grid, made)}"]
    return []


def _way_out(grid: AblationGrid, made: GridStep) -> str:
    rows = [repr(row.name) for row in grid.table.rows if grid.needs(row.name, made)]
    return f"leave it out by --without {' '.join(rows)}"
