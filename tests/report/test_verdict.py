"""The first lines of a report: the intervals choose the words, and what no table can tell is left out."""

import random

from hfdistill.report.document import Finding
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
    against = "PPO on the vote's labels without a reward model"
    assert better.text == f"Distilling rewards is better than imitation alone and {against}."
    assert better.figures[0].startswith("Against imitation alone: greedy answers +")
    assert better.figures[1].startswith(f"Against {against}: greedy answers +")
    assert brackets.text == "In points of accuracy, with 95 % intervals over 5 seeds and their questions."


def test_greedy_answers_and_samples_that_come_out_apart_are_told_apart():
    table, (imitation, ours, vote) = main(ours=0.9, vote=0.7)
    for each, right in ((ours, answers(0.6, 5)), (vote, answers(0.6, 5))):
        each.samples = {
            seed: [{"question_id": f"q{n}", "sample": 0, "correct": one} for n, one in enumerate(found)]
            for seed, found in right.items()
        }
    better, same, _ = first_words([(table, [imitation, ours, vote])])
    against = "PPO on the vote's labels without a reward model"
    assert better.text.endswith(f"imitation alone and {against} in greedy answers.")
    assert same.text == f"It shows no difference to {against} in one sample."


def test_worse_is_called_worse_and_no_difference_no_difference():
    better, worse, _ = first_words([main(ours=0.7, vote=0.9)])
    assert "imitation alone" in better.text
    against = "PPO on the vote's labels without a reward model"
    assert worse.text == f"It is worse than {against}."
    assert worse.figures[0].startswith(f"Against {against}: greedy answers −")
    _, same, _ = first_words([main(ours=0.7, vote=0.7)])
    assert same.text == f"It shows no difference to {against}."


def test_one_seed_is_said_to_say_nothing_of_others():
    assert first_words([main(0.9, 0.7, seeds=1)])[-1].text.endswith("of one seed, which say nothing of others.")


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
    assert better.text == "Distilling rewards is better than PPO on the vote's labels (40 % wrong)."
    (figure,) = better.figures
    assert ", by “40 %: stratified”, chosen on validation questions: greedy answers +" in figure


def test_what_moving_labels_do_without_a_model_is_not_told_as_the_models():
    rows = [
        row("vote", answers(0.6, 3), 0.7),
        row("moving labels", answers(0.9, 3), 0.8, "stratified"),
        row("moving labels, no model", answers(0.9, 3), 0.8),
    ]
    for moved, weighting in ((rows[1], "reward"), (rows[2], "none")):
        for made in moved.manifests.values():
            made["policy"]["config"]["stage"] |= {"moving_labels": "all", "label_weighting": weighting}
            made["labels"] = {"metrics": {"pseudo_labels_right": {"value": 0.6}}}
    same, _ = first_words([measured("noise", *rows)])
    assert same.text == "Distilling rewards shows no difference to the best without a reward model (40 % wrong)."
    assert ", by “moving labels” against “moving labels, no model”, chosen on validation" in same.figures[0]


def test_tables_that_cannot_tell_are_left_out():
    unknown = [Finding("None of these tables compares a distilled reward with anything else.")]
    assert first_words([]) == unknown
    assert first_words([measured("rm", row("as configured", answers(0.9, 2)))]) == unknown
    assert first_words([measured("main", row("PPO on the vote", answers(0.9, 2)))]) == unknown
