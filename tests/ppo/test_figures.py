"""A training's log as figures and plots."""

from hfdistill.artifacts.figures import rows
from hfdistill.ppo.figures import training_figures
from hfdistill.ppo.plots import curve, draw_diagnostics, draw_learning_curve


class State:
    global_step = 8
    best_global_step = 4
    log_history = (
        {"step": 0, "eval_accuracy": 0.5},
        {"step": 4, "objective/scores": 1.0, "objective/kl": 0.1, "policy/skipped_steps": 1},
        {"step": 4, "eval_accuracy": 0.75},
        {"step": 8, "eval_accuracy": 0.75},
    )


class Options:
    steps_per_update = 4
    rollout_batch_size = 16
    load_best_model_at_end = True


def test_figures_and_picture(tmp_path):
    assert curve(State.log_history, "eval_accuracy", 4, 16) == ([0.0, 16.0, 32.0], [0.5, 0.75, 0.75])
    metrics = training_figures(State, 100, Options)
    assert metrics["validation_accuracy"]["value"] == 0.75
    assert metrics["validation_accuracy_before"]["value"] == 0.5
    assert metrics["best_step"] == 4
    assert metrics["episodes"] == 32
    assert metrics["skipped_steps"] == 1
    assert metrics["curve"] == [
        {"step": 0, "episodes": 0, "accuracy": 0.5},
        {"step": 4, "episodes": 16, "accuracy": 0.75, "score": 1.0, "kl": 0.1},
        {"step": 8, "episodes": 32, "accuracy": 0.75, "score": 1.0, "kl": 0.1},
    ]
    assert not [label for label, _ in rows(metrics) if "curve" in label]
    for draw, words in ((draw_learning_curve, ("agreement with the vote",)), (draw_diagnostics, ())):
        for name in ("a.png", "b.png"):
            draw(State.log_history, 4, 16, tmp_path / name, *words)
        assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
