"""Rows that were answered are kept under everything that decides them."""

from hfdistill.evaluation.finished import FinishedRows


def test_a_row_is_made_once(tmp_path):
    made = []

    def make():
        made.append([{"answer": "5", "token_ids": [1, 2]}])
        return made[-1]

    first, second = (["gsm_plus", "Ours", f"model:a/b@{revision}"] for revision in (1, 2))
    assert FinishedRows(tmp_path / "finished").find_or_make(first, make) == made[0]
    finished = FinishedRows(tmp_path / "finished")
    assert finished.find_or_make(first, make) == made[0] and len(made) == 1
    assert finished.find_or_make(second, make) == made[1] and len(made) == 2
