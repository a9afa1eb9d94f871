"""Tables of a study: what they share, what they refuse, what their plan says; nothing is trained."""

import json
import sys
from pathlib import Path

import pytest
import yaml

from hfdistill.cli import main
from hfdistill.errors import HFDistillError
from hfdistill.flags import stage_flags
from hfdistill.kinds import KINDS, STAGES
from hfdistill.report.writing import is_up_to_date
from hfdistill.runs import ablation_grid, ablation_run
from hfdistill.runs.ablation_grid import AblationGrid, SeedSettings
from hfdistill.runs.ablation_plan import DONE, FOUND, START_SECONDS, TO_DO, plan_lines, plan_study
from hfdistill.runs.ablation_problems import lacks_vocabulary
from hfdistill.runs.ablation_run import run_study, show_plan, table_content
from hfdistill.runs.ablation_tables import ablation_tables
from hfdistill.runs.seeds import settings_of
from hfdistill.runs.stages import ON_CPU
from hfdistill.runs.steps import Step


# Rows whose settings this version may not know.
HEADS, MOVING = "pessimistic", "moving labels"
SECTIONS = {
    "run": {"name": "trial", "push": False},
    "task": {"name": "word_problems", "train": 20, "validation": 4, "test": 6},
    "teacher": {"model": "some/teacher", "endpoints": ["http://127.0.0.1:9"]},
    "student": {"model": "some/student", "chat": False},
    **{stage: {"use_cpu": True, "bf16": False} for stage in ("warmup", "reward", "ppo")},
}


@pytest.fixture
def config(tmp_path):
    def write(**sections) -> str:
        path = tmp_path / "run.yaml"
        made = {**SECTIONS, "run": {**SECTIONS["run"], "output_dir": str(tmp_path / "runs")}}
        path.write_text(
            yaml.safe_dump({name: {**made.get(name, {}), **sections.get(name, {})} for name in [*made, *sections]})
        )
        return str(path)

    return write


def settings(path: str, *settings: str, seeds: tuple[int, ...] = (0,)) -> list[SeedSettings]:
    return settings_of(path, seeds, {stage: stage_flags(settings, stage) for stage in STAGES}, ON_CPU)


def grid(path: str, table: str, *given: str, without: tuple[str, ...] = ()) -> AblationGrid:
    (of_seed,) = settings(path, *given)
    return AblationGrid(of_seed.table(table, without), of_seed)


def names(made: AblationGrid) -> list[str]:
    return [each.step.name for each in made.steps]


@pytest.mark.parametrize("table", list(ablation_tables()))
def test_steps_stand_behind_what_they_wait_for_and_write_apart(config, table):
    made = grid(config(), table)
    seen: set[str] = set()
    for each in made.steps:
        assert set(each.step.after) <= seen, each.step.name
        assert each.step.name not in seen
        seen.add(each.step.name)
    written = [ref for each in made.steps for ref in each.refs.values()]
    assert len(written) == len(set(written))
    rows = [made.row_of(row.name) for row in made.table.rows if made.wanted[row.name]]
    named = [name for name in rows if name]
    assert len(named) == len(set(named))
    if table in ("rm", "lambda", "ratio"):
        assert not named and made.evaluation is None
    known = {row.name for row in made.table.rows}
    assert all({*pair} <= known for pair in made.table.comparisons)


def test_what_two_tables_have_in_common_is_one_step_with_one_command(config):
    path = config()
    commands: dict[str, list[str]] = {}
    for table in ("main", "lambda", "rewards", "minus", "noise"):
        for each in grid(path, table).steps:
            assert commands.setdefault(each.step.name, list(each.step.command)) == list(each.step.command)
    assert {"label", "warm-up", "reward", "PPO", "PPO vote-groups", "reward lambda-2"} <= commands.keys()


def test_a_row_that_is_what_the_configuration_says_costs_nothing(config):
    assert "reward lambda-0.5" not in names(grid(config(), "lambda"))
    made = grid(config(), "lambda", "reward.classification_weight=2")
    assert "reward lambda-0.5" in names(made) and "reward lambda-2" not in names(made)
    assert made.artifacts("2")["reward"].endswith("trial-reward")
    grouped = grid(config(), "rewards", "ppo.num_generations=4", without=(HEADS, "delta"))
    assert "PPO" in names(grouped) and grouped.row_of("distilled") == "Ours"


def test_samples_of_one_student_are_drawn_once_and_one_after_the_other(config):
    made = {each.step.name: each.step for each in grid(config(), "lambda").steps}
    rewards = [step for name, step in made.items() if name.startswith("reward")]
    chained = [name for step in rewards for name in step.after if name.startswith("reward")]
    assert len(chained) == len(set(chained)) == len(rewards) - 1
    folders = {
        step.command[step.command.index("--output_dir") + 1] for step in rewards if "--output_dir" in step.command
    }
    assert len(folders) == 1


def test_rows_on_wrong_labels_read_them_everywhere(config):
    made = grid(config(), "noise", without=tuple(f"{percent} %: {name}" for percent in (0, 10, 20, 40)
                                                  for name in (HEADS, MOVING)))  # fmt: skip
    relabel = next(each.step for each in made.steps if each.step.name == "relabel noise20")
    assert relabel.command[-4:] == ["--noise", "0.2", "--seed", "0"]
    noisy = made.artifacts("20 %: distilled")
    assert {kind: ref.rpartition("/")[2] for kind, ref in noisy.items()} == {
        "labels": "trial-labels-noise20",
        "teacher_labels": "trial-labels",
        "warmup": "trial-warmup-noise20",
        "triples": "trial-triples-noise20",
        "reward": "trial-reward-noise20",
        "policy": "trial-policy-noise20-distilled-groups",
    }
    ppo = next(each.step for each in made.steps if each.step.name == "PPO noise20-distilled-groups")
    for role in ("labels", "warmup", "triples", "reward"):
        assert ppo.command[ppo.command.index(f"--{role}") + 1] == noisy[role]


def test_ours_without_data_sees_worked_examples_where_the_base_student_does(config):
    bare = grid(config(), "main")
    assert not any("--few_shot" in each.step.command for each in bare.steps)
    shown = {each.step.name: each.step.command for each in grid(config(task={"shots": 2}), "main").steps}
    assert "--few_shot" in shown["reward wo-d"] and "--few_shot" in shown["PPO wo-d"]
    assert "--few_shot" not in shown["reward"]
    place = shown["evaluate main"].index("--few_shot")
    assert shown["evaluate main"][place + 1 : place + 3] == ["ICL", "Ours w/o D"]
    chat = config(task={"shots": 2}, student={"chat": True})
    assert not any("--few_shot" in each.step.command for each in grid(chat, "main").steps)


def test_a_teacher_without_endpoints_has_no_row(config):
    made = grid(config(teacher={"endpoints": []}), "main")
    assert "Teacher" not in [row.name for row in made.table.rows]
    assert not any("Teacher" in pair for pair in made.table.comparisons)


def test_votes_and_lenient_readings_are_of_the_rows_that_a_table_has(config):
    path = config(evaluate={"votes": [4, 8], "vote_rows": ["Ours", "PPO on the vote"], "lenient": ["SFT"]})
    main_table, minus, fail = (
        grid(path, table, without=without).evaluation
        for table, without in (("main", ()), ("minus", ()), ("fail", (HEADS, MOVING)))
    )
    asked = [(each.config.stage.votes, each.config.stage.vote_rows) for each in (main_table, minus)]
    assert asked == [([4, 8], ["Ours", "PPO on the vote"]), ([4], ["Ours", "PPO minus"])]
    assert fail.config.stage.votes == [4] and "PPO fail-vote-groups" in fail.config.stage.vote_rows
    assert [each.config.stage.lenient for each in (main_table, minus, fail)] == [["ICL", "SFT"], [], []]
    assert "reward" in main_table.reads
    rows = grid(path, "main")
    assert (rows.row_of("ICL"), rows.row_of("ICL (lenient)")) == ("ICL", "ICL (lenient)")


def test_a_task_that_cannot_be_read_leniently_has_no_such_row(config):
    sections = yaml.safe_load(Path(path := config()).read_text())
    sections["task"] = {"name": "generic", "answer": "exact"}
    Path(path).write_text(yaml.safe_dump(sections))
    assert "ICL (lenient)" not in [row.name for row in settings(path)[0].table("main").rows]


def test_the_configuration_s_own_seed_is_the_run_that_is_there(config):
    own, other = settings(config(), seeds=(0, 5))
    assert own.run.name == "trial" and own.shared == ()
    assert (other.run.name, other.run.seed) == ("trial-5", 5)
    assert other.folder == own.folder / "seed-5"


def make(refs: dict[str, str], made, seconds: float = 40.0) -> None:
    """The artifacts of a step, as it would have published them."""
    for kind, ref in refs.items():
        folder = Path(ref)
        folder.mkdir(parents=True)
        (folder / "data").write_text("some")
        content = {
            "format": 2,
            "config": made.config.identity(KINDS[kind]) if made.config else {},
            "cost": {"seconds": seconds},
            "fingerprint": "0" * 16,
            "files": {"data": {"sha256": "", "git": ""}},
        }
        (folder / "hfdistill.json").write_text(json.dumps(content))


def end_well(made, folder: Path, seconds: float) -> None:
    path = folder / "steps.json"
    ended = json.loads(path.read_text()) if path.is_file() else {}
    step = made.step
    ended[step.name] = {"command": list(step.command), "inputs": step.inputs, "seconds": seconds}
    path.write_text(json.dumps(ended))


def test_the_plan_knows_what_is_done_found_and_lost(config):
    path = config()
    made = grid(path, "minus")
    folder = made.settings.folder
    by_name = {each.step.name: each for each in made.steps}
    make(by_name["label"].refs, by_name["label"])
    end_well(by_name["label"], folder, 100.0)
    make(by_name["warm-up"].refs, by_name["warm-up"])
    end_well(by_name["reward"], folder, 50.0)
    (plan,) = plan_study("trial", [made], 1).seeds
    assert plan.states == {
        "label": DONE,
        "warm-up": FOUND,
        "reward": TO_DO,
        "PPO": TO_DO,
        "PPO minus": TO_DO,
        "evaluate minus": TO_DO,
    }
    assert plan.lost == ["reward"]
    study = plan_study("trial", [made], 2)
    assert "1 ended well before, and what they made is gone: reward." in plan_lines(study)
    # The reward model took 50 s before; what was never run takes what its stage is expected to.
    assert (plan.seconds["reward"], plan.seconds["PPO"]) == (50.0, 50.0)
    rows = 2 * 4  # of the evaluation
    assert plan.total(2) == 8 + 50 + 50 + rows
    assert plan.total(1) == 8 + 50 + 50 + 50 + rows
    assert study.requests == []  # the labels are there


def test_what_reads_something_that_is_made_anew_is_looked_at_again(config):
    path = config()
    made = grid(path, "lambda", without=("0", "2"))
    made.settings.folder.mkdir()
    for each in made.steps:
        make(each.refs, each, seconds=30.0)
        end_well(each, made.settings.folder, 3.0)
    assert set(plan_study("trial", [made], 1).seeds[0].states.values()) == {DONE}
    changed = grid(path, "lambda", "label.threshold=0.5", without=("0", "2"))
    study = plan_study("trial", [changed], 1)
    (plan,) = study.seeds
    assert set(plan.states.values()) == {TO_DO}
    assert sorted(plan.stale) == sorted(name for name in names(made) if name != "label")
    assert any(line.startswith("4 ended well before, and are looked at again") for line in plan_lines(study))
    # A reward model that waits for another one's journal reads nothing of it.
    more = plan_study("trial", [grid(path, "lambda", without=("2",))], 1).seeds[0]
    assert more.states["reward lambda-0"] == TO_DO and more.states["reward lambda-0.1"] == DONE
    # The artifacts tell what their stages took, whatever a call took that found them: and its start.
    assert more.seconds == {"reward lambda-0": 30.0 * 2 + START_SECONDS}


def test_seconds_are_those_of_the_same_step_of_another_seed(config):
    path = config()
    first, second = (AblationGrid(each.table("minus"), each) for each in settings(path, seeds=(0, 1)))
    by_name = {each.step.name: each for each in first.steps}
    for name, seconds in (("PPO", 200.0), ("PPO minus", 300.0)):
        first.settings.folder.mkdir(exist_ok=True)
        end_well(by_name[name], first.settings.folder, seconds)
    plan = plan_study("trial", [second], 1).seeds[0]
    assert (plan.seconds["PPO"], plan.seconds["PPO minus"]) == (200.0, 300.0)
    assert plan_study("trial", [second], 1).requests[0].requests == 24 * (1 + 3 * 5 + 7 * 5)


def test_everything_that_cannot_work_is_said_at_once(config, capsys):
    path = config(teacher={"endpoints": []})
    made = grid(path, "minus", "ppo.learning_rate=1e-5")
    by_name = {each.step.name: each for each in made.steps}
    make(by_name["warm-up"].refs, by_name["warm-up"])
    (Path(by_name["warm-up"].refs["warmup"]) / "data").unlink()
    study = plan_study("trial", [made], 1)
    with pytest.raises(HFDistillError) as refused:
        show_plan(study)
    assert str(refused.value).startswith("this cannot work:\n  - step 'warm-up' of seed 0: ")
    assert "trial-warmup is broken, data is not there: delete it" in str(refused.value)
    assert "the labels of seed 0 are not there" in str(refused.value)
    assert "add teacher.endpoints" in str(refused.value)
    assert "In all about" in capsys.readouterr().out


def test_a_row_with_an_unknown_reward_or_stage_is_said_once_and_the_others_stay(config):
    made = grid(config(), "baselines", "ppo.rewards=[no_such]", without=("PPO on golds",))
    (said,) = [problem for problem in made.problems if "no_such" in problem]
    assert said.startswith("'Ours'") and "unknown reward 'no_such'" in said
    assert "PPO vote" in names(made)


@pytest.mark.parametrize(
    ("options", "table", "said"),
    [
        ({}, "noise", "task 'generic' has no test questions with gold answers"),
        (
            {},
            "baselines",
            "no gold answers to training questions: leave it out by --without 'PPO on golds'",
        ),
        (
            {"answer": "open"},
            "fail",
            "'relabel fail': a judge labels the responses of task 'generic'",
        ),
    ],
)
def test_a_task_that_lacks_what_a_table_needs(config, tmp_path, options, table, said):
    rows = [{"question": f"What is {number} + 1?"} for number in range(40)]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    sections = yaml.safe_load(Path(path := config()).read_text())
    sections["task"] = {"name": "generic", "path": str(tmp_path / "train.jsonl"), **options}
    Path(path).write_text(yaml.safe_dump(sections))
    assert any(said in problem for problem in plan_study("trial", [grid(path, table)], 1).problems)


def test_the_table_s_file_says_where_everything_is(config):
    path = config()
    grids = [AblationGrid(each.table("minus"), each) for each in settings(path, seeds=(0, 1))]
    for made in grids:
        for each in made.steps:
            make(each.refs, each)
            made.settings.folder.mkdir(exist_ok=True)
            end_well(each, made.settings.folder, 10.0)
    study = plan_study("trial", grids, 2)
    assert all(state == DONE for plan in study.seeds for state in plan.states.values())
    file = run_study(study, grids[0].settings.folder / "ablations", "hfdistill ablate run.yaml --table minus", {})
    content = json.loads(file.read_text())
    assert content["format"] == 1 and content["finished"] and content["seeds"] == [0, 1]
    assert (content["table"], content["run"], content["task"]) == ("minus", "trial", "word_problems")
    assert content["comparisons"] == [["min(r, 0)", "r - 1"]]
    row = content["rows"][1]["seeds"]["1"]
    assert row["row"] == "PPO minus"
    assert row["results"].endswith("trial-1-results-minus")
    assert row["artifacts"]["policy"].endswith("trial-1-policy-minus")
    assert content["rows"][0]["seeds"]["0"]["row"] == "Ours"
    part = table_content(study, study.seeds[:1], "", {})
    assert not part["finished"] and part["seeds"] == [0, 1] and list(part["rows"][0]["seeds"]) == ["0"]


def test_judges_from_the_teacher_s_weights_need_its_vocabulary(config, tmp_path):
    from transformers import LlamaConfig

    from hfdistill.demo.models import tokenizer

    for name, words in (("teacher", 32), ("student", len(tokenizer()))):
        tokenizer().save_pretrained(tmp_path / name)
        LlamaConfig(vocab_size=words, eos_token_id=2).save_pretrained(tmp_path / name)
    path = config(teacher={"model": str(tmp_path / "teacher")}, student={"model": str(tmp_path / "student")})
    (said,) = lacks_vocabulary(grid(path, "rm"))
    assert said.startswith("'reward base' reads the weights of ") and "has another vocabulary than the student" in said
    assert said.endswith('leave it out by --without "from the teacher\'s weights"')
    assert lacks_vocabulary(grid(path, "rm", without=("from the teacher's weights",))) == []
    same = config(teacher={"model": str(tmp_path / "student")}, student={"model": str(tmp_path / "student")})
    assert lacks_vocabulary(grid(same, "rm")) == []
    (said,) = lacks_vocabulary(grid(config(), "rm"))
    assert said.startswith("'reward base' reads the weights of some/teacher: model 'some/teacher' ")


def test_a_seed_that_fails_leaves_the_table_of_those_before_it(config, monkeypatch):
    """The recipes' places are taken by processes that write what a recipe would, and one that fails."""

    def recipe(stage, arguments, accelerate, name, after, expected, inputs):
        fails = name == "PPO minus" and "trial-1" in arguments
        return Step(name, [sys.executable, "-c", f"raise SystemExit({int(fails)})"], after, expected, inputs)

    monkeypatch.setattr(ablation_grid, "recipe_step", recipe)
    grids = [AblationGrid(each.table("minus"), each) for each in settings(config(), seeds=(0, 1))]
    folder = grids[0].settings.folder / "ablations"
    with pytest.raises(HFDistillError, match="step 'PPO minus' ended with status 1"):
        run_study(plan_study("trial", grids, 2), folder, "hfdistill ablate", {})
    content = json.loads((folder / "minus.json").read_text())
    assert not content["finished"] and content["seeds"] == [0, 1]
    assert all(list(row["seeds"]) == ["0"] for row in content["rows"])
    assert content["plan"]["steps"] == 12 and 0 < content["plan"]["seconds_taken"] < 30


def test_a_second_call_touches_nothing(config, monkeypatch):
    """The recipes' places are taken by processes that write nothing."""

    def recipe(stage, arguments, accelerate, name, after, expected, inputs):
        return Step(name, [sys.executable, "-c", ""], after, expected, inputs)

    monkeypatch.setattr(ablation_grid, "recipe_step", recipe)
    made = grid(config(), "minus")
    folder = made.settings.folder / "ablations"
    path = run_study(plan_study("trial", [made], 2), folder, "hfdistill ablate", {})
    assert not is_up_to_date(folder)
    for name in ("report.md", "report.html"):
        (folder / name).write_text("")
    written = path.stat().st_mtime_ns
    study = plan_study("trial", [made], 2)
    monkeypatch.setattr(ablation_run, "is_done", lambda plan: True)  # no artifact is on any Hub
    assert run_study(study, folder, "hfdistill ablate", {}) == path
    assert path.stat().st_mtime_ns == written and is_up_to_date(folder)
    run_study(study, folder, "hfdistill ablate --jobs 2", {})
    assert path.stat().st_mtime_ns > written and not is_up_to_date(folder)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--table", "mian"], "unknown table 'mian', did you mean 'main'"),
        (["--table", "main", "--seeds", "0"], "--seeds is 0: it must be at least 1"),
        (["--table", "main", "--without", "SFTT"], "unknown row of table 'main': 'SFTT', did you mean 'SFT'"),
        (["--table", "main", "--set", "task.trian=2"], "trian"),
    ],
)
def test_mistakes_end_with_one_line(config, capsys, arguments, message):
    with pytest.raises(SystemExit) as ended:
        main(["ablate", config(), *arguments, "--cpu", "--plan"])
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_the_plan_alone_runs_nothing(config, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["hfdistill", "ablate"])
    path = config()
    with pytest.raises(SystemExit) as ended:
        main(["ablate", path, "--table", "minus", "--cpu", "--plan", "--seeds", "2", "--jobs", "2"])
    out = capsys.readouterr().out
    assert ended.value.code == 0
    assert "The teacher: 2,448 requests for labels" in out and "2 steps at once" in out
    assert not (Path(path).parent / "runs").exists()
