"""The tables of a study, as data: which rows each has, how a row's model is made, and what is compared with what."""

from typing import Any

from ..evaluation import paper_rows
from ..evaluation.paper_rows import PPO_ON_THE_VOTE
from .ablations import AblationRow, AblationTable, Wanted, made_on, want


# Rewards that compare answers to one question need several of them; all rows beside such a one get as many.
GROUPS = ("--num_generations", "4")
ENSEMBLE = ("--ensemble", "4")
STRATIFIED = "stratified"
MOVING = "moving labels"
UNAIDED = f"{MOVING}, no model"
MOVES = ("--moving_labels",)
PLAIN = ("--label_weighting", "none")
SAMPLES = 4
# Which teacher's answers stand beside the student's is told for `both` alone.
OF_STUDENT = ("--source", "student", "--teacher_per_pair", "1")
OF_TEACHER = ("--source", "teacher", "--teacher_per_pair", "1")

TEACHER = want("teacher")
STUDENT = want("student")
LABELS = want("label")
# Until 40 % of the questions have no label; a teacher that leaves more without is taken as it is.
WITHHELD = want("relabel", "-fail", "--withhold", "0.4", labels=LABELS)
GOLDS = want("relabel", "-gold", "--gold", labels=LABELS)
# The run itself, whose models have no suffix.
MAIN = made_on(LABELS)
WARMUP = MAIN["warmup"]
OURS = want("ppo", **MAIN)
ALL_DATA = want("warmup", "-sft", "--data", "all", labels=LABELS)
VOTE = want("ppo", "-vote", "--rewards", "vote", **MAIN)

VOTE_NOTE = "the warm-up refined by PPO on the vote alone: 1 for its answer, -1 for another, no reward model"
LENIENT = f"{paper_rows.BASE.name} (lenient)"
NOTES = {row.name: row.words for row in paper_rows.PAPER_ROWS.values()}
FULL, NO_R, NO_D = paper_rows.OURS.name, paper_rows.WITHOUT_REWARD.name, paper_rows.WITHOUT_DATA.name
SFT = paper_rows.ALL_DATA.name


def ablation_tables(few_shot: bool = False, failing: Wanted = WITHHELD) -> dict[str, AblationTable]:
    """Every table by name.

    Args:
        few_shot (`bool`, *optional*, defaults to `False`): whether the base student is asked behind worked examples,
            so that the row "Ours w/o D" is trained behind them, too, with the paper's settings for it.
        failing ([`~hfdistill.runs.ablations.Wanted`], *optional*): the labels of `fail`.
    """
    tables = (
        main(few_shot),
        reward_models(),
        sources(),
        weights(),
        ratios(),
        minus(),
        rewards(),
        baselines(),
        noise(),
        fail(failing),
        yardsticks(failing),
    )
    return {table.name: table for table in tables}


def main(few_shot: bool) -> AblationTable:
    shots, gentle = (), ()
    if few_shot:
        shots, gentle = ("--few_shot", "true"), ("--learning_rate", "5e-5", "--kl_coef", "0.1")
    from_base = made_on(LABELS, "-wo-d", *shots, warmup=STUDENT)
    models = {
        paper_rows.TEACHER.name: TEACHER,
        paper_rows.BASE.name: STUDENT,
        SFT: ALL_DATA,
        NO_R: WARMUP,
        NO_D: want("ppo", "-wo-d", *shots, *gentle, **from_base),
        FULL: OURS,
    }
    return AblationTable(
        "main",
        "What the method gives (Table 2)",
        rows=(
            *(AblationRow(name, NOTES[name], wanted) for name, wanted in models.items()),
            AblationRow(LENIENT, "the answers of ICL, read where nothing announces them, too", STUDENT, lenient=True),
            AblationRow(PPO_ON_THE_VOTE, VOTE_NOTE, VOTE, baseline=True),
        ),
        comparisons=((FULL, NO_R), (FULL, SFT), (FULL, PPO_ON_THE_VOTE), (FULL, paper_rows.TEACHER.name)),
    )


def reward_models() -> AblationTable:
    return AblationTable(
        "rm",
        "Reward models on held-out questions (Table 3)",
        rows=(
            AblationRow("as configured", "the run's own reward model", MAIN["reward"]),
            judge("without classification", "Eq. 5 alone: lambda 0", "-l0", "--classification_weight", "0"),
            judge("from the student", "learned from the student's answers alone", "-student", *OF_STUDENT),
            judge("from the teacher", "learned from the teacher's answers alone", "-teacher", *OF_TEACHER),
            judge("from both", "learned from both, in triples", "-both", "--source", "both"),
            judge("at every token", "the classification loss at every token, too", "-every", "--every_token", "0.5"),
            judge("nearer pairs", "wrong answers near the right one", "-near", "--pairs", "near"),
            judge("balanced", "pairs whose number of lines tells nothing", "-balanced", "--balance", "true"),
            judge("ensemble", "four heads, each on a bootstrap of its own", "-ensemble", *ENSEMBLE),
            AblationRow(
                "from the teacher's weights",
                "starts from the teacher's weights instead of the warm-up's",
                want("reward", "-base", labels=LABELS, warmup=WARMUP, base=TEACHER),
            ),
        ),
    )


def sources() -> AblationTable:
    def row(name: str, words: str, *flags: str) -> AblationRow:
        parents = made_on(LABELS, f"-{name}", *flags, warmup=WARMUP)
        return AblationRow(name, f"the reward model learns from {words}", want("ppo", f"-{name}", **parents))

    return AblationTable(
        "source",
        "Whose answers the reward model learns from (Table 4)",
        rows=(
            row("student", "the student's answers alone", *OF_STUDENT),
            row("teacher", "the teacher's answers alone", *OF_TEACHER),
            row("both", "both, in triples", "--source", "both"),
        ),
        comparisons=(("both", "student"), ("both", "teacher")),
        samples=SAMPLES,
    )


def weights() -> AblationTable:
    def row(value: str) -> AblationRow:
        return judge(value, f"lambda {value} in Eq. 6", f"-lambda-{value}", "--classification_weight", value)

    title = "The weight of the classification loss (Figure 5)"
    return AblationTable("lambda", title, tuple(map(row, ("0", "0.1", "0.5", "1", "2"))))


def ratios() -> AblationTable:
    def row(value: str) -> AblationRow:
        note = f"{value} of the teacher's right answers for each pair of the student's"
        return judge(value, note, f"-ratio-{value}", "--teacher_per_pair", value)

    title = "The teacher's answers for each pair of the student's (Figure 6)"
    return AblationTable("ratio", title, tuple(map(row, ("0", "0.25", "0.5", "1", "2"))))


def minus() -> AblationTable:
    def row(name: str, note: str, variant: str) -> AblationRow:
        flags = ("--rewards", f"{{name: distilled, variant: {variant}}}")
        return AblationRow(name, note, want("ppo", f"-{variant}", *flags, **MAIN))

    return AblationTable(
        "minus",
        "How the vote corrects the reward (Figure 7)",
        rows=(
            row("min(r, 0)", "Eq. 7: the score of a wrong answer is at most 0", "min"),
            row("r - 1", "the score of a wrong answer less 1", "minus"),
        ),
        comparisons=(("min(r, 0)", "r - 1"),),
        samples=SAMPLES,
    )


def rewards() -> AblationTable:
    rows = (
        on_reward("vote", "the vote alone, no reward model", "vote", baseline=True),
        on_reward("distilled", "Eq. 7: the score, at most 0 for a wrong answer", "distilled"),
        on_reward("distilled, minus", "Eq. 7 with the score less 1", "minus", "{name: distilled, variant: minus}"),
        on_reward("clipped", "the vote, and what the score is below a threshold", "clipped"),
        on_reward("delta", "the vote, and what each step adds to the score", "delta"),
        on_reward("stratified", "the vote decides, the score orders among the right and the wrong", "stratified"),
        on_reward("pessimistic", "Eq. 7 with the mean less the spread of four heads", "pessimistic", ensemble=True),
    )
    pairs = tuple((row.name, "vote") for row in rows[1:])
    return AblationTable("rewards", "Rewards by name", rows, pairs, SAMPLES)


def baselines() -> AblationTable:
    def row(name: str, note: str, method: str) -> AblationRow:
        wanted = want("baseline", "-" + method.replace("_", "-"), "--method", method, **MAIN)
        return AblationRow(name, note, wanted, baseline=True)

    on_golds = want("ppo", "-gold", "--rewards", "vote", **made_on(GOLDS, "-gold", warmup=WARMUP))
    rows = (
        AblationRow(FULL, NOTES[FULL], OURS),
        AblationRow(PPO_ON_THE_VOTE, VOTE_NOTE, VOTE, baseline=True),
        row("GRPO", "the warm-up refined by TRL's GRPO on the same reward", "grpo"),
        row("RLOO", "the warm-up refined by TRL's RLOO on the same reward", "rloo"),
        row("SFT, equal compute", "the warm-up trained on for as many tokens as PPO trains", "sft_equal_compute"),
        row("On-policy distillation", "the student's answers under the teacher's probabilities", "distillation"),
        row("TTRL", "GRPO on the test questions, rewarded by the student's own vote", "ttrl"),
        AblationRow("PPO on golds", "the ceiling: PPO on gold answers instead of the vote", on_golds),
    )
    title = "Methods that people would use instead"
    return AblationTable("baselines", title, rows, tuple((FULL, row.name) for row in rows[1:]), SAMPLES)


def noise() -> AblationTable:
    tables = [on_labels(LABELS, "", "all", "0 %: ")]
    for percent in (10, 20, 40):
        suffix = f"-noise{percent}"
        labels = want("relabel", suffix, "--noise", f"{percent / 100:g}", labels=LABELS)
        tables.append(on_labels(labels, suffix, "all", f"{percent} %: "))
    rows = tuple(row for table in tables for row in table.rows)
    comparisons = tuple(pair for table in tables for pair in table.comparisons)
    return AblationTable("noise", "Wrong labels: 0, 10, 20 and 40 % of them", rows, comparisons, SAMPLES)


def fail(labels: Wanted) -> AblationTable:
    on = of_failing(labels)
    made = on_labels(labels, on["suffix"], "fail")
    unweighted, bought = "moving labels, unweighted", "moving labels, 50 bought"
    rows = (
        *made.rows,
        on_reward(
            *(unweighted, "stratified, and the student's own plain vote moves the missing labels", "unweighted"),
            *(STRATIFIED, *MOVES, "fail", *PLAIN),
            **on,
        ),
        on_reward(
            *(bought, "moving labels, and golds of the 50 least sure questions", "bought", STRATIFIED, *MOVES, "fail"),
            *("--gold_budget", "50"),
            **on,
        ),
    )
    pairs = (*made.comparisons, (MOVING, "stratified"), (MOVING, unweighted), (bought, MOVING))
    return AblationTable("fail", "No label for a third or more of the questions", rows, pairs, SAMPLES)


def yardsticks(labels: Wanted) -> AblationTable:
    def row(name: str, note: str, *flags: str) -> AblationRow:
        apart = f"yardstick-{name.replace(' ', '-')}"
        return on_reward(name, note, apart, STRATIFIED, *flags, **of_failing(labels))

    rows = (
        row("labels", "greedy agreement with the labels that there are", "--yardstick", "labels"),
        row("reward", "the reward model's word on sampled answers, labelled or not", "--yardstick", "reward"),
        row("agreement", "the student's agreement with itself", "--yardstick", "agreement"),
        row("50 golds", "labels, and 50 bought golds", "--yardstick", "labels", "--validation_gold", "50"),
        row("golds", "golds alone, which nobody has", "--yardstick", "labels", "--validation_labels", "gold"),
    )
    pairs = (*((row.name, "labels") for row in rows[1:]), *((row.name, "golds") for row in rows[1:4]))
    title = "What chooses the checkpoint where many questions have no label"
    return AblationTable("yardstick", title, rows, pairs, SAMPLES)


def of_failing(labels: Wanted) -> dict[str, Any]:
    """The suffix of what is made on the labels of `fail`, and what it is made on: the run's own where those are."""
    suffix = "" if labels == LABELS else "-fail"
    return {"suffix": suffix, "made": made_on(labels, suffix)}


def on_labels(labels: Wanted, suffix: str, moving: str, prefix: str = "") -> AblationTable:
    """What `noise` and `fail` compare, all of it made on these labels; `prefix` stands before the names of rows, and
    `moving` says which labels the student may move.
    """
    made = made_on(labels, suffix)
    moved = "all labels" if moving == "all" else "the missing labels"
    rows = (
        AblationRow(NO_R, NOTES[NO_R], made["warmup"]),
        on_reward("vote", "PPO on the vote alone, no reward model", "vote", baseline=True, suffix=suffix, made=made),
        on_reward(
            "distilled",
            "PPO on the score, at most 0 where the vote says otherwise (Eq. 7)",
            "distilled",
            suffix=suffix,
            made=made,
        ),
        on_reward(
            "stratified",
            "PPO: the vote decides, the score orders answers of one kind",
            "stratified",
            suffix=suffix,
            made=made,
        ),
        on_reward(
            *("pessimistic", "PPO on Eq. 7; the score is the mean less the spread of four heads", "pessimistic"),
            ensemble=True,
            suffix=suffix,
            made=made,
        ),
        on_reward(
            *(MOVING, f"stratified, and the student's own weighted vote moves {moved}", f"moving-{moving}"),
            *(STRATIFIED, *MOVES, moving),
            suffix=suffix,
            made=made,
        ),
        on_reward(
            *(UNAIDED, f"the vote alone, and the student's own plain vote moves {moved}", f"unaided-{moving}"),
            *("vote", *MOVES, moving, *PLAIN),
            suffix=suffix,
            made=made,
        ),
    )
    named = tuple(AblationRow(prefix + row.name, row.note, row.wanted, row.baseline) for row in rows)
    pairs = (*((row.name, f"{prefix}vote") for row in named[2:]), (prefix + MOVING, prefix + UNAIDED))
    return AblationTable("", "", named, pairs)


def judge(name: str, note: str, suffix: str, *flags: str) -> AblationRow:
    """A reward model that is learned after the run's own warm-up."""
    return AblationRow(name, note, made_on(LABELS, suffix, *flags, warmup=WARMUP)["reward"])


def on_reward(
    name: str,
    note: str,
    apart: str,
    reward: str = "",
    *flags: str,
    baseline: bool = False,
    ensemble: bool = False,
    suffix: str = "",
    made: dict[str, Wanted] = MAIN,
) -> AblationRow:
    """PPO on a reward, in groups of answers to one question.

    Args:
        name (`str`), note (`str`), baseline (`bool`, *optional*): of the row.
        apart (`str`): what keeps the policy apart.
        reward (`str`, *optional*): the entry of `ppo.rewards`; `apart` by default.
        flags (`str`): further ones.
        ensemble (`bool`, *optional*): whether several heads judge.
        suffix (`str`, *optional*), made (`dict[str, Wanted]`, *optional*): the labels' suffix, and what was made on
            them.
    """
    if ensemble:
        of_heads = want("reward", f"{suffix}-ensemble", *ENSEMBLE, labels=made["labels"], warmup=made["warmup"])
        made = {**made, "reward": of_heads}
    wanted = want("ppo", f"{suffix}-{apart}-groups", "--rewards", reward or apart, *GROUPS, *flags, **made)
    return AblationRow(name, note, wanted, baseline)
