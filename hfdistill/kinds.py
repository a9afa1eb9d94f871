"""The table of what a run makes. Whoever lists stages or kinds of artifacts reads them here.

A new stage is its folder, its recipe, its row in `STAGES`, and for each artifact that it makes a row in `KINDS` and a
card template.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Stage:
    """A stage of a run: a section of the configuration, and a script.

    Attributes:
        name (`str`): of the stage, and of its section.
        settings (`str`): `module:class` of the dataclass whose fields are the section's keys.
        recipe (`str`): its script in `recipes/`.
        in_chain (`bool`): whether `hfdistill run` starts it, in the order of the table; others are started by name.
    """

    name: str
    settings: str
    recipe: str
    in_chain: bool = True


@dataclass(frozen=True)
class Kind:
    """A kind of artifact; a run has one of each, `{run}-{name}`.

    Attributes:
        name (`str`): what the repository's name ends in; its card's template is `artifacts/templates/{name}.md`.
        stage (`str`): what makes it.
        repo_type (`str`): `"dataset"`, `"model"` or `"space"`.
        note (`str`): what it is, in a phrase, for Collections and pages.
        parents (`tuple[str, ...]`): roles of what it is made from: kinds, and `"student"`, the base model. The models
            that `results` compares are named by the configuration, and a `baseline` has those that its method needs.
        hub_tasks (`tuple[str, ...]`): `task_categories` of a dataset, or the `pipeline_tag` of a model.
        configs (`tuple[str, ...]`): of a dataset, each a folder of Parquet files.
        split (`str`): the one split of these.
    """

    name: str
    stage: str
    repo_type: str
    note: str
    parents: tuple[str, ...] = ()
    hub_tasks: tuple[str, ...] = ()
    configs: tuple[str, ...] = ()
    split: str = "train"


STAGES = {
    stage.name: stage
    for stage in (
        Stage("label", "hfdistill.labels.config:LabelConfig", "label_teacher.py"),
        Stage("warmup", "hfdistill.warmup.config:WarmupConfig", "warm_up.py"),
        Stage("reward", "hfdistill.reward.config:RewardConfig", "train_reward.py"),
        Stage("ppo", "hfdistill.ppo.stage:DistillPPOConfig", "train_ppo.py"),
        Stage("evaluate", "hfdistill.evaluation.config:EvaluateConfig", "evaluate.py"),
        Stage("baseline", "hfdistill.baselines.config:BaselineConfig", "train_baseline.py", in_chain=False),
    )
}
# The stages of a run, in order.
CHAIN = tuple(name for name, stage in STAGES.items() if stage.in_chain)

LABELS = Kind(
    "labels",
    stage="label",
    repo_type="dataset",
    note="the teacher's responses, labelled by their majority",
    hub_tasks=("text-generation", "question-answering"),
    configs=("responses", "questions", "gold"),
)
WARMUP = Kind(
    "warmup",
    stage="warmup",
    repo_type="model",
    note="the student after imitation: fine-tuned on the responses that agree with the vote",
    parents=("labels", "student"),
    hub_tasks=("text-generation",),
)
TRIPLES = Kind(
    "triples",
    stage="reward",
    repo_type="dataset",
    note="the student's own right and wrong responses, and the triples drawn from them",
    parents=("labels", "warmup"),
    hub_tasks=("text-generation", "reinforcement-learning"),
    configs=("responses", "triples"),
)
REWARD = Kind(
    "reward",
    stage="reward",
    repo_type="model",
    note="the reward model, learnt from the triples",
    parents=("triples", "warmup"),  # and "base", where it starts from another model than the warm-up
    hub_tasks=("text-classification",),
)
POLICY = Kind(
    "policy",
    stage="ppo",
    repo_type="model",
    note="the student after reward: refined by PPO against the reward model",
    parents=("warmup", "reward", "triples", "labels"),
    hub_tasks=("text-generation",),
)
BASELINE = Kind(
    "baseline",
    stage="baseline",
    repo_type="model",
    note="the student after another method, to compare with: GRPO, RLOO, more imitation, distillation or test-time RL",
    parents=("warmup", "reward", "triples", "labels"),
    hub_tasks=("text-generation",),
)
RESULTS = Kind(
    "results",
    stage="evaluate",
    repo_type="dataset",
    note="accuracies on held-out questions, with every answer",
    hub_tasks=("text-generation", "question-answering"),
    configs=("results", "responses", "samples"),
    split="test",  # answers to test questions: nothing to learn from
)
COMPARE = Kind(
    "compare",
    stage="compare",
    repo_type="space",
    note="teacher and students side by side",
)

# In the order in which a run makes them.
KINDS = {kind.name: kind for kind in (LABELS, WARMUP, TRIPLES, REWARD, POLICY, BASELINE, RESULTS, COMPARE)}
