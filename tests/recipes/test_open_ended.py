"""A task without final answers through the five recipes: a judge labels teacher and student, and grades the table."""

import itertools
import json
import re
from pathlib import Path

import pytest
import yaml
from accelerate.state import AcceleratorState

from hfdistill.rows import read_rows
from hfdistill.tasks.word_problems import problems, solution

from ..labels.test_llm_judge import Judge
from ..reward.test_recipes import make_base, recipe
from .short_runs import ON_CPU, SHORT_REINFORCEMENT


DRAWN = {problem.text: problem for problem in itertools.islice(problems(0, "train"), 90)}
CHAIN = ("label_teacher", "warm_up", "train_reward", "train_ppo", "evaluate")


class TeacherAndJudge(Judge):
    """Solves problems rightly or not by the request's seed, and likes answers that end in an even number."""

    def reply(self, prompt: str, seed: int) -> str:
        if "[Answer]" not in prompt:
            problem = DRAWN[prompt.strip()]
            text = solution(problem.start, problem.changes, hasty=False)
            return text.replace(f"answer is {problem.answer}.", f"answer is {problem.answer + seed % 2}.")
        response = prompt.partition("[Answer]")[2].partition("Give a short reason")[0]
        numbers = re.findall(r"\d+", response)
        return f"<think>Verdict: no?</think>Verdict: {'yes' if numbers and int(numbers[-1]) % 2 == 0 else 'no'}"


class OpenRun:
    """A configuration over questions alone, in a folder of its own."""

    def __init__(self, folder: Path, url: str, **sections):
        self.folder = folder
        folder.mkdir(exist_ok=True)
        make_base(folder / "base")
        lines = [json.dumps({"id": f"p{number}", "question": text}) for number, text in enumerate(DRAWN)]
        (folder / "questions.jsonl").write_text("\n".join(lines))
        task = {"name": "generic", "answer": "open", "path": str(folder / "questions.jsonl"), "id_column": "id"}
        content = {
            "run": {"name": "run", "push": False, "output_dir": str(folder)},
            "task": {**task, "validation_share": 0.2, "test_share": 0.15, "max_new_tokens": 48},
            "teacher": {"model": "teacher", "endpoints": [url], "chat": True, "input_price": 1.0, "output_price": 1.0},
            "student": {"model": str(folder / "base")},
            "label": {
                "high_temperatures": [0.3],
                "high_samples": 4,
                "low_temperatures": [],
                "labeler": "llm_judge",
                "labeler_options": {"verdicts": 1},
            },
            "warmup": {
                "num_train_epochs": 12,
                "learning_rate": 1e-2,
                "per_device_train_batch_size": 16,
                "early_stopping_patience": 0,
                **ON_CPU,
            },
            **SHORT_REINFORCEMENT,
            "evaluate": {"reward": str(folder / "artifacts" / "run-reward")},
        }
        for name, section in sections.items():
            content[name].update(section)
        self.config = folder / "config.yaml"
        self.config.write_text(yaml.safe_dump(content))

    def launch(self, name: str, *flags: str) -> int:
        AcceleratorState._reset_state(reset_partial_state=True)
        with pytest.MonkeyPatch.context() as monkeypatch:
            return recipe(name, self.config, monkeypatch, *flags)

    def manifest(self, kind: str) -> dict:
        return json.loads((self.folder / "artifacts" / f"run-{kind}" / "hfdistill.json").read_text())


@pytest.fixture
def endpoint():
    with TeacherAndJudge() as endpoint:
        yield endpoint


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_questions_and_a_judge_make_a_policy_and_a_table(tmp_path, endpoint, capsys):
    run = OpenRun(tmp_path / "run", endpoint.url)
    for name in CHAIN:
        assert run.launch(name) == 0, f"{name}\n{capsys.readouterr()}"
    artifacts = run.folder / "artifacts"
    labels, triples, policy = (run.manifest(kind)["metrics"] for kind in ("labels", "triples", "policy"))
    assert labels["judge"]["replies"] > 0 and labels["judge"]["unreadable"] == {} and labels["judge"]["cost"] > 0
    assert 0 < run.manifest("warmup")["metrics"]["validation_likelihood"] < 1
    sampled = read_rows(artifacts / "run-triples", "responses")
    assert {row["label"] for row in sampled} == {"correct", "incorrect"} and all(row["token_ids"] for row in sampled)
    for row in sampled:
        last = re.findall(r"\d+", row["response"])[-1:]
        assert (row["label"] == "correct") == (last != [] and int(last[0]) % 2 == 0)
    assert triples["train"]["drawn"]["triples"] > 0 and 0 < triples["train"]["right_by_the_judge"] < 1
    assert triples["judge"]["replies"] == len(
        {(row["question_id"], row["response"]) for row in sampled if row["answer"]}
    )
    assert policy["validation_reward_score"] > 0 and "validation_accuracy" not in policy
    (table,) = run.manifest("results")["metrics"].values()
    assert {"Teacher", "ICL", "Ours w/o R", "Ours", "Ours minus Ours w/o R"} == table.keys()
    assert all(table[row]["undecided"] == 0 and table[row]["n"] > 5 for row in ("Teacher", "ICL", "Ours"))
    answers = read_rows(artifacts / "run-results", "responses")
    assert {row["gold"] for row in answers} == {None} and all(row["score"] is not None for row in answers)
    for name in ("labels", "triples", "policy", "results"):
        card = (artifacts / f"run-{name}" / "README.md").read_text()
        assert "judge" in card and "majority" not in card, name
    # Nothing is bought twice.
    endpoint.asked.clear()
    for name in CHAIN:
        assert run.launch(name) == 0
    assert endpoint.asked == []
