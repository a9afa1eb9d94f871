# /// script
# requires-python = ">=3.11"
# dependencies = ["hfdistill"]
#
# [tool.uv.sources]
# hfdistill = { path = ".." }
# ///
"""Answer the test questions at temperature 0 with every model of a run, and publish the table.

    accelerate launch recipes/evaluate.py --config recipes/configs/gsm8k/llama3-70b_to_1b.yaml

Reads:   the base student, {run}-warmup, {run}-policy (or what `models` names), and the teacher's endpoints; with
         `votes` {run}-reward. In an open-ended task a judge says which answers are good (`judge`).
Writes:  {run}-results, a dataset with the configs `results` (a row a model), `responses` (a row an answer) and, with
         `votes`, `samples` (a row a sample). The run's models that it asked get their test figures on their cards.
"""

import os
import tempfile
import time
from functools import partial
from pathlib import Path

from hfdistill.artifacts.manifest import fingerprint, manifest
from hfdistill.artifacts.references import Artifact, open_artifact
from hfdistill.artifacts.store import Store
from hfdistill.config import Config, load_config
from hfdistill.errors import HFDistillError, exit_on_user_error
from hfdistill.evaluation.config import EvaluateConfig
from hfdistill.evaluation.paper_rows import BASE, OURS, TEACHER, WITHOUT_REWARD
from hfdistill.evaluation.telling import tell_models
from hfdistill.fields import recorded
from hfdistill.kinds import LABELS, POLICY, RESULTS, REWARD, WARMUP
from hfdistill.labels.judges import open_judge
from hfdistill.labels.questions import held_out, take_questions
from hfdistill.sections import StudentConfig, TeacherConfig
from hfdistill.tasks import Task, distinct_names, load_task, task_section
from hfdistill.teacher.served import use_served


@exit_on_user_error
def main() -> None:
    config = use_served(load_config("evaluate", EvaluateConfig))
    stage, student, teacher = config.stage, config.student, config.teacher
    store = Store(config.run)

    # 1. The models of the table, pinned to a commit each.
    models = {name: open_artifact(ref, "model") for name, ref in rows(config, store).items()}
    parents = dict(models)
    if not load_task(config.task).has_questions:
        where = stage.labels or store.parent(LABELS)
        parents[LABELS.name] = open_artifact(where, LABELS.repo_type, ["questions/*", "gold/*"])
    tasks = open_tasks(config, parents.get(LABELS.name))
    if stage.scores:
        parents[REWARD.name] = open_artifact(stage.reward or store.parent(REWARD), "model")
    for task in tasks:
        stage.check_task(task)
    open_ended = [task for task in tasks if task.open_ended]
    judge = open_judge("evaluate", config, open_ended[0], labels_manifest(config, store)) if open_ended else None
    stage.check_rows([*([TEACHER.name] if stage.asks(teacher) else []), *models])
    key = fingerprint(RESULTS, config, parents)
    if found := store.find(RESULTS, key):
        print(f"{found.repo_id} is complete at {found.revision[:12]}")
        if os.environ.get("RANK", "0") == "0":  # a process that was killed may have left it out
            tell_models(found, anew=False)
        return

    from hfdistill.evaluation.answering import answer_by_teacher, answer_locally, load_answering
    from hfdistill.evaluation.finished import FinishedRows
    from hfdistill.evaluation.grading import grade, read_leniently, summary
    from hfdistill.evaluation.judging import Judging
    from hfdistill.evaluation.results import write_results
    from hfdistill.evaluation.sampling import sample_rounds
    from hfdistill.evaluation.votes import vote_figures
    from hfdistill.student import asked_as, load_encoder
    from hfdistill.training.shares import join_processes, on_main_process

    state = join_processes()
    on_main_process(lambda: store.prepare(RESULTS, manifest(RESULTS, config, parents)))
    finished = FinishedRows(Path(stage.output_dir))
    started = time.monotonic()
    graded, sampled, metrics = [], [], {}
    asker = teacher and recorded(TeacherConfig, vars(teacher), RESULTS.name)
    encoders = {
        name: load_encoder(model.path, asked_as(model.manifest, model.repo_id, student))
        for name, model in models.items()
    }

    judging = Judging(judge, teacher, Path(stage.output_dir)) if judge else None
    scores = open_scores(config, parents[REWARD.name], finished) if REWARD.name in parents else None

    # 2. Every model answers every task's test questions; rows that were answered in an earlier call are kept.
    for task, task_name in zip(tasks, distinct_names(tasks), strict=True):
        questions = held_out(task)[: stage.max_questions]
        golds = task.golds()
        check(task, questions, golds)
        by_id = {question.question_id: question for question in questions}
        asked = [(question.question, golds.get(question.question_id)) for question in questions]
        for name, model in {TEACHER.name: None, **models}.items():
            if model is None and not stage.asks(teacher):
                continue
            shots = stage.shots(name, task, encoders[name].chat is not None) if model else None
            who = [model.digest, recorded(StudentConfig, vars(student), RESULTS.name)] if model else asker
            row_key = [name, who, shots, repr(task), asked]
            if model is None:
                folder = Path(stage.output_dir) / ("teacher" + task_name.removeprefix(task.name))
                answer = partial(answer_by_teacher, teacher, task, questions, folder)
            else:
                how = encoders[name], shots, stage.batch_size
                answer = partial(answer_locally, model, student, task, questions, name, *how)
            grading = partial(grade, task, name, questions, golds)
            row = finished.find_or_make(row_key, lambda answer=answer, grading=grading: grading(answer()))
            if judging and task.open_ended:
                row = judging.add(row, questions, task)
            if scores:
                row = scores.add(row, row_key, by_id, task, encoders.get(name))
            figures = summary(row, task.unanswerable)
            if model and stage.votes_on(name):
                key = [*row_key, "samples", max(stage.votes), stage.vote_temperature]
                load = partial(load_answering, model, student)
                samples = sample_rounds(
                    load, encoders[name], task, questions, golds, name, stage, finished, key, shots
                )
                samples = scores.add(samples, key, by_id, task, encoders[name])
                sampled += [{**sample, "task": task_name} for sample in samples]
                figures["votes"] = vote_figures(samples, stage.votes, task.same)
            table = {name: (row, figures)}
            if name in stage.lenient:
                read = read_leniently(task, f"{name} (lenient)", questions, row)
                table[f"{name} (lenient)"] = read, summary(read, task.unanswerable)
            for title, (answered, shown) in table.items():
                graded += [{**one, "task": task_name} for one in answered]
                metrics.setdefault(task_name, {})[title] = shown

    # 3. Publish the table with its intervals, and the difference to the baseline on the same questions.
    if state.is_main_process:
        with tempfile.TemporaryDirectory() as folder:
            plots = write_results(Path(folder), graded, metrics, OURS.name, stage.baseline, sampled)
            cost = {"seconds": round(time.monotonic() - started, 1)}
            if judging:
                cost["judge"] = judging.judge.figures()
            made = manifest(RESULTS, config, parents, metrics, cost)
            published = store.publish(folder, RESULTS, made, plots=plots)
        for name in tell_models(published):
            print(f"the card of {name} has its test figures")
        for task_name, name, row in [(task, *entry) for task, table in metrics.items() for entry in table.items()]:
            if "value" in row:
                print_accuracy(task_name, name, row)
            if "answerable" in row:
                print_accuracy("  answerable", name, row["answerable"])
        print(f"{published.repo_id} is published at {published.revision[:12]}")
    state.wait_for_everyone()


def open_tasks(config: Config, labels: Artifact | None) -> list[Task]:
    """The run's task and the benchmarks. A task whose questions are those of the labels, and none of them a test
    question with a gold answer, leaves the table to the benchmarks.
    """
    benchmarks = [load_task(task_section(entry)) for entry in config.stage.benchmarks]
    task = load_task(config.task)
    if labels is None:
        return [task, *benchmarks]
    take_questions(task, labels.path, golds=True)
    tested = {question.question_id for question in held_out(task)}
    if benchmarks and not (tested if task.open_ended else tested & task.golds().keys()):
        return benchmarks
    return [task, *benchmarks]


def open_scores(config: Config, reward: Artifact, finished):
    """The scores of a reward model."""
    from accelerate import PartialState

    from hfdistill.evaluation.scores import Scores
    from hfdistill.reward.model import RewardScorer, load_reward_model
    from hfdistill.student import asked_as, load_encoder

    student = config.student
    judge = load_encoder(reward.path, asked_as(reward.manifest, reward.repo_id, student))

    def load():
        how = {"dtype": student.dtype, "attn_implementation": student.attn_implementation}
        model = load_reward_model(str(reward.path), **how)
        scorer = RewardScorer(model.to(PartialState().device).eval(), judge)
        return lambda sequences: scorer.score_ids(sequences).tolist()

    return Scores(finished, reward.digest, judge, load)


def print_accuracy(task_name: str, name: str, figures: dict) -> None:
    interval = f"[{figures['low']:.3f}, {figures['high']:.3f}]"
    print(f"{task_name:14} {name:22} {figures['value']:.3f}  {interval}  n = {figures['n']}")


def rows(config: Config, store: Store) -> dict[str, str]:
    """Rows of the table: those that are named, or the paper's."""
    if config.stage.models:
        return dict(model.split("=", 1) for model in config.stage.models)
    return {BASE.name: config.student.ref, WITHOUT_REWARD.name: store.parent(WARMUP), OURS.name: store.parent(POLICY)}


def labels_manifest(config: Config, store: Store) -> dict | None:
    """Of the run's labels, which tell who judged them, where the configuration does not."""
    if config.asked["judge"] is not None:
        return None
    try:
        return open_artifact(store.parent(LABELS), LABELS.repo_type, []).manifest
    except HFDistillError as error:
        raise HFDistillError(f"{error}; they would say who judged them: give evaluate.judge instead") from error


def check(task: Task, questions: list, golds: dict[str, str]) -> None:
    if task.open_ended and not questions:
        raise HFDistillError(
            f"task {task.name!r} has no test questions, whose answers a judge could be shown: give "
            "task.test_split, or task.test_share for a share of the others before anything is labelled"
        )
    needed = [] if task.open_ended else questions
    missing = [question.question_id for question in needed if question.question_id not in golds]
    if not questions or missing:
        what = f"no gold answer for {missing[0]!r}" if missing else "no test questions"
        way_out = ""
        if not task.has_questions:
            way_out = "; label with golds (--columns gold=…) and task.test_share, or name evaluate.benchmarks"
        needs = "accuracy needs test questions with gold answers"
        raise HFDistillError(f"task {task.name!r} has {what}: {needs}{way_out}")


if __name__ == "__main__":
    main()
