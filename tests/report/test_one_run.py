"""Tables of the report: intervals, several seeds, the order of rows."""

from rich.console import Console

from hfdistill.report.one_run import accuracy_rows, accuracy_table, figure_lines, order_seen, summarise


def share(value: float, n: int = 100) -> dict:
    return {"value": value, "low": value - 0.1, "high": value + 0.1, "n": n}


def run(seed: int, ours: float, warm: float) -> dict:
    table = {
        "Ours": share(ours),
        "Ours minus Ours w/o R": {"difference": {"value": ours - warm, "low": 0.0, "high": 0.2, "n": 100}},
        "Ours w/o R": share(warm),
        "Teacher": share(0.7),
        "Another": share(0.5),
    }
    manifests = {
        "results": {"run": "trial", "config": {"seed": seed}, "metrics": {"gsm8k": table}},
        "labels": {"metrics": {"without_label": share(0.3), "pseudo_labels_right": share(0.9)}},
        "reward": {"metrics": {"validation": {"pos_neg": share(0.7), "pos_pos": share(0.6)}}},
        "policy": {"metrics": {}},
    }
    return summarise("gsm8k", manifests)


def test_rows_stand_in_the_papers_order_and_others_after_them():
    headings, rows = accuracy_rows([run(0, 0.8, 0.6)])
    assert headings == ["", "accuracy", "95 % interval", "n"]
    assert [row[0] for row in rows] == ["Teacher", "Ours w/o R", "Ours", "Another"]
    assert rows[2] == ["Ours", "0.800", "[0.700, 0.900]", "100"]


def test_several_seeds_show_their_mean_and_each_interval():
    headings, rows = accuracy_rows([run(0, 0.8, 0.6), run(1, 0.6, 0.7)])
    assert headings[1:] == ["mean", "seed 0 [95 % interval]", "seed 1 [95 % interval]"]
    assert rows[2] == ["Ours", "0.700", "0.800 [0.700, 0.900]", "0.600 [0.500, 0.700]"]


def test_the_order_is_counted_not_claimed():
    lines = order_seen([run(0, 0.8, 0.6), run(1, 0.6, 0.7)], ["Ours", "Ours w/o R", "SFT"])
    assert lines == ["Ours above Ours w/o R: in 1 of 2 seeds, by +0.050 on average"]


def test_figures_carry_their_intervals():
    lines = figure_lines(run(3, 0.8, 0.6))
    assert lines[0] == "seed 3: questions without a label (D_fail): 0.300 [0.200, 0.400], n = 100"
    assert "seed 3: reward model, Pos/Neg: 0.700 [0.600, 0.800], n = 100" in lines
    assert lines[-1] == "seed 3: Ours minus Ours w/o R on the same questions: +0.200 [+0.000, +0.200]"


def test_the_table_fits_a_terminal_of_eighty_columns(capsys):
    for seeds in (1, 5):
        Console(width=80).print(accuracy_table([run(20 + seed, 0.8, 0.6) for seed in range(seeds)]))
        shown = capsys.readouterr().out
        assert "Ours w/o R" in shown and "0.600" in shown and "…" not in shown
