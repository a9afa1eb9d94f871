"""The first lines of a report: the intervals choose the words, and what no table can tell is left out."""

import random

from hfdistill.report.evidence import MeasuredRow
from hfdistill.report.tables import ReportedTable
from hfdistill.report.verdict import first_words

from .test_statistics import row


def answers(accuracy: float, seeds: int, n: int = 200) -> dict[int, list[bool]]:
    return {seed: [random.Random(f"{seed} {i}").random() < accuracy for i in range(n)] for seed in range(seeds)}


def measured(name: str, *rows: MeasuredRow) -> tuple[ReportedTable, list[MeasuredRow]]:
    return ReportedTable(name, name, "", "trial", "word_problems", (), True, (), (), {}), list(rows)


def main(ours: float, vote: float, seeds: int = 5) -> tuple[ReportedTable, list[MeasuredRow]]:
    refined = row("Ours", answers(ours, seeds), 0.8, "distilled")
    imitation, by_vote = row("Ours w/o R", answers(0.5, seeds)), row("PPO on the vote", answers(vote, seeds))
    imitation.manifests.clear()
    return measured("main", imitation, refined, by_vote)


def test_a_difference_that_is_shown_is_told_with_its_interval():
    better, brackets = first_words([main(ours=0.9, vote=0.7)])
    assert better.startswith("Distilling rewards is better than imitation alone (+")
    assert " and PPO on the vote's labels without a reward model (+" in better
    assert brackets == "In points of accuracy, with 95 % intervals over 5 seeds and their questions."


def test_worse_is_called_worse_and_no_difference_no_difference():
    better, worse, _ = first_words([main(ours=0.7, vote=0.9)])
    assert "imitation alone" in better
    assert worse.startswith("It is worse than PPO on the vote's labels without a reward model (−")
    _, same, _ = first_words([main(ours=0.7, vote=0.7)])
    assert same.startswith("It shows no difference to PPO on the vote's labels without a reward model (0.0 [")


def test_one_seed_is_said_to_say_nothing_of_others():
    assert first_words([main(0.9, 0.7, seeds=1)])[-1].endswith("of one seed, which say nothing of others.")


def test_with_wrong_labels_the_row_chosen_on_validation_is_compared():
    rows = [
        row("40 %: vote", answers(0.6, 3), 0.7),
        row("40 %: distilled", answers(0.9, 3), 0.6, "distilled"),
        row("40 %: stratified", answers(0.8, 3), 0.8, "stratified"),
    ]
    for each in rows:
        for made in each.manifests.values():
            made["labels"] = {"metrics": {"pseudo_labels_right": {"value": 0.6}}}
    better, _ = first_words([measured("noise", *rows)])
    against = "PPO on the vote's labels where some are wrong or missing"
    assert better.startswith(f"Distilling rewards is better than {against} (40 % wrong, greedy: “40 %: stratified” +")
    assert "40 %: distilled" not in better


def test_tables_that_cannot_tell_are_left_out():
    unknown = ["None of these tables compares a distilled reward with anything else."]
    assert first_words([]) == unknown
    assert first_words([measured("rm", row("as configured", answers(0.9, 2)))]) == unknown
    assert first_words([measured("main", row("PPO on the vote", answers(0.9, 2)))]) == unknown
