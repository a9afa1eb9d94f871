# /// script
# requires-python = ">=3.11"
# dependencies = ["hfdistill"]
#
# [tool.uv.sources]
# hfdistill = { path = ".." }
# ///
"""Ask the teacher for many responses to every question, and label them by their majority (section 3.1).

    accelerate launch recipes/label_teacher.py --config recipes/configs/gsm8k/llama3-70b_to_1b.yaml

Reads:   the task's training and validation questions, and the teacher's endpoints (TGI, or OpenAI-style servers).
Writes:  {run}-labels, a dataset with the configs `responses`, `questions` and, where the task has golds, `gold`.

What was answered is in {output_dir}/label/journal.sqlite: kill it at any moment, and the same command goes on. What
a judge said, where one labels, is in verdicts-*.sqlite beside it. One process samples; if several are launched, the
others end at once. Several machines share the questions by `--shard 1/8` to `--shard 8/8`; the same command without it
publishes what they asked for.
"""

import os
import tempfile
from pathlib import Path

from hfdistill.artifacts.manifest import fingerprint, manifest
from hfdistill.artifacts.references import Artifact
from hfdistill.artifacts.store import Store
from hfdistill.config import load_config
from hfdistill.errors import HFDistillError, exit_on_user_error
from hfdistill.kinds import LABELS
from hfdistill.labels.config import LabelConfig
from hfdistill.labels.first_look import look
from hfdistill.labels.labelers import load_labeler
from hfdistill.labels.questions import load_benchmarks, questions_to_label
from hfdistill.labels.sampled import SampledResponses
from hfdistill.tasks import Task, load_task
from hfdistill.teacher.deploy import pause_when_done, use_deployed
from hfdistill.teacher.journal import Journal
from hfdistill.teacher.now import warn_of_another_model
from hfdistill.teacher.plan import Grid, Plan, teacher_prompts
from hfdistill.teacher.protocols import Decoding
from hfdistill.teacher.served import use_served
from hfdistill.teacher.session import collect
from hfdistill.teacher.shards import Shard


@exit_on_user_error
def main() -> None:
    config = use_deployed(use_served(load_config("label", LabelConfig)))
    stage, run = config.stage, config.run
    if os.environ.get("RANK", "0") != "0":
        return

    # 1. Nothing to do if this dataset is published.
    store = Store(run)
    key = fingerprint(LABELS, config, {})
    if found := store.find(LABELS, key):
        warn_of_another_model(config.teacher, found.manifest["metrics"].get("served", {}), found.repo_id)
        print(f"{found.repo_id} is complete at {found.revision[:12]}")
        return
    task, labeler = load_task(config.task), load_labeler(stage.labeler_section())
    if not task.has_questions:
        own = open_own_labels(store, task)
        print(f"{own.repo_id} holds responses of your own at {own.revision[:12]}: there is nothing to ask the teacher")
        return
    labeler.check(task)
    store.prepare(LABELS, manifest(LABELS, config, {}))

    from hfdistill.labels.labelling import label_and_write
    from hfdistill.labels.statistics import warn_of_duplicates
    from hfdistill.runs.opening import describe_teacher, say_of_student

    # 2. What to ask: every temperature of the grid, for every question but those of the test split.
    print(describe_teacher(config.teacher, task))
    if config.student is not None:  # what the student lacks is found before the teacher is paid
        print(say_of_student(config.student, task))
    questions = questions_to_label(task, stage.max_questions)
    if not questions:
        raise HFDistillError(f"task {task.name!r} has no training questions: there is nothing to label")
    benchmarks = load_benchmarks(stage.benchmarks)
    grid = Grid(stage.high_temperatures, stage.high_samples, stage.low_temperatures, stage.low_samples)
    render, stop = teacher_prompts(config.teacher, task)
    plan = Plan(questions, render, grid, run.seed)
    shard, teacher, journal_file = None, config.teacher, Path(stage.output_dir) / "journal.sqlite"
    if stage.shard:
        shard = Shard.read(stage.shard)
        plan, teacher, journal_file = shard.of(plan), shard.share(teacher), shard.journal(stage.output_dir)
        if not plan.questions:
            print(f"shard {stage.shard} has none of the {len(questions)} questions")
            return
    decoding = Decoding(stage.max_new_tokens, stop, stage.top_p, stage.top_k)

    # 3. Ask. The first responses are looked at before the rest is bought.
    from hfdistill.teacher.sync import PartialSync

    sync = None
    if run.push and stage.sync_every:
        sync = PartialSync(store.name(LABELS), stage.sync_every, stage.shard, stage.take_over)
    with Journal(journal_file) as journal:
        looked_at = plan.questions[: stage.first_look]
        first_look = None if labeler.reads_text else lambda journal: look(journal, task, looked_at, teacher)
        asked = collect(
            journal,
            teacher,
            plan,
            decoding,
            look=first_look,
            first_look=stage.first_look,
            max_missing=stage.max_missing,
            retry_failed=stage.retry_failed,
            sync=sync,
            shards=None if shard else journal_file.parent,
        )
        if shard:
            print(f"shard {stage.shard} is complete: {len(plan) - asked['missing']} responses")
            return

        # 4. Vote and label, then publish. Gold answers are read here alone, for the config `gold`.
        with tempfile.TemporaryDirectory() as folder:
            responses = SampledResponses(journal, plan, config.teacher.model, asked["endpoint_kind"])
            metrics = label_and_write(
                folder, questions, responses, task, labeler, benchmarks, config.teacher, Path(stage.output_dir)
            )
            warn_of_duplicates(metrics)
            metrics["missing_responses"] = asked["missing"]
            metrics["served"] = {name: asked[name] for name in ("model_id", "model_sha", "engine")}
            made = manifest(LABELS, config, {}, metrics, asked["cost"])
            plots = sorted(path.relative_to(folder).as_posix() for path in Path(folder).glob("plots/*.png"))
            published = store.publish(folder, LABELS, made, plots=plots)
    if sync is not None:
        sync.forget()
    if pause_when_done(run):
        print("the teacher's endpoint is paused")
    print(
        f"{published.repo_id} is published at {published.revision[:12]}: {metrics['responses']} responses to "
        f"{metrics['questions']} questions, {metrics['without_label']['value']:.1%} of them without a label"
    )


def open_own_labels(store: Store, task: Task) -> Artifact:
    """The labels that `hfdistill label` made of a task without questions of its own."""
    if own := store.newest(LABELS):
        return own
    raise HFDistillError(
        f"task {task.name!r} names neither `dataset` nor `path`, so there is no question to ask: name one, or label "
        f"responses that you have by `hfdistill label --output {store.name(LABELS)}`"
    )


if __name__ == "__main__":
    main()
