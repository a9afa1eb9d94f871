import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM

from hfdistill.generation import Sampling
from hfdistill.reward.student import label_samples, sample_student
from hfdistill.tasks.base import Question
from hfdistill.teacher.journal import DONE, Response

from .words import Words


ROOT = Path(__file__).parents[2]
QUESTIONS = [Question(f"q{i}", f"w{i % 7} w{i % 5}", "train") for i in range(23)]
IDENTITY = {"student": "test", "task": "words"}


@pytest.fixture
def sample(student_folder, encoder, tmp_path):
    model = AutoModelForCausalLM.from_pretrained(student_folder)

    def run(questions=QUESTIONS, journal="journal", **settings):
        defaults = {"samples": 3, "seed": 0, "batch_size": 16, "chunk_questions": 5}
        return sample_student(
            model,
            encoder,
            Words(),
            questions,
            Sampling(8, temperature=0.7),
            journal=tmp_path / journal,
            identity=IDENTITY,
            **{**defaults, **settings},
        )

    return run


def test_rows_are_complete_and_ordered(sample, encoder):
    rows = sample()
    assert [(row.question_id, row.sample) for row in rows] == [(q.question_id, s) for q in QUESTIONS for s in range(3)]
    assert all(row.status == DONE and row.temperature == 0.7 for row in rows)
    assert len({row.seed for row in rows}) == len(rows)
    assert len({row.text for row in rows}) > len(rows) // 2
    for row in rows:
        ids = encoder.response_ids(row.text, finished=row.finish_reason == "eos_token")
        # An untrained model also draws special tokens, which the text leaves out.
        assert len(ids) <= row.completion_tokens <= 8


def test_chunks_and_batches_do_not_change_a_response(sample):
    rows = sample()
    assert sample(journal="other", chunk_questions=23, batch_size=64) == rows
    assert sample(journal="third", chunk_questions=1, batch_size=2) == rows
    assert sample(QUESTIONS[::-1][:4], journal="fourth") == [
        row for question in QUESTIONS[::-1][:4] for row in rows if row.question_id == question.question_id
    ]
    assert sample(journal="fifth", seed=1) != rows


def test_a_finished_journal_is_not_sampled_again(sample, monkeypatch):
    rows = sample()
    monkeypatch.setattr("hfdistill.reward.student.generate", None)
    assert sample() == rows


def test_labels():
    rows = [
        Response("q0", 0.7, 0, "w1 answer w5", "eos_token", 2, 4, 11, token_ids="[4, 2, 9, 1]"),
        Response("q0", 0.7, 1, "answer w6", "eos_token", 2, 3, 12),
        Response("q0", 0.7, 2, "w6 w6", "length", 2, 2, 13),
    ]
    labelled = label_samples(rows, {"q0": QUESTIONS[0]}, {"q0": "w5"}, Words(), "student")
    assert [row["answer"] for row in labelled] == ["w5", "w6", None]
    assert [row["label"] for row in labelled] == ["correct", "incorrect", "incorrect"]
    assert labelled[0] == {
        "question_id": "q0",
        "question": "w0 w0",
        "response": "w1 answer w5",
        "answer": "w5",
        "temperature": 0.7,
        "sample": 0,
        "seed": 11,
        "confidence": None,
        "label": "correct",
        "finish_reason": "eos_token",
        "prompt_tokens": 2,
        "completion_tokens": 4,
        "model": "student",
        "endpoint_kind": "local",
        "thought": None,
        "token_ids": [4, 2, 9, 1],
    }


def test_a_killed_sampling_asks_nothing_twice(student_folder, tmp_path, sample):
    script = tmp_path / "sample.py"
    script.write_text(
        textwrap.dedent(
            f"""
            import os, signal, sys
            sys.path.insert(0, {str(ROOT)!r})
            from pathlib import Path
            from transformers import AutoModelForCausalLM, AutoTokenizer
            from hfdistill.encoding import Encoder
            from hfdistill.generation import Sampling
            from hfdistill.reward import student
            from hfdistill.tasks.base import Question
            from tests.reward.words import Words

            calls, generate = [], student.generate

            def counted(model, prompts, *args, **kwargs):
                if len(calls) == int(sys.argv[1]):
                    os.kill(os.getpid(), signal.SIGKILL)
                calls.append(len(prompts))
                return generate(model, prompts, *args, **kwargs)

            student.generate = counted
            rows = student.sample_student(
                AutoModelForCausalLM.from_pretrained({student_folder!r}),
                Encoder(AutoTokenizer.from_pretrained({student_folder!r})), Words(),
                [Question(f"q{{i}}", f"w{{i % 7}} w{{i % 5}}", "train") for i in range(23)],
                Sampling(8, temperature=0.7), samples=3, seed=0, batch_size=16, chunk_questions=5,
                journal=Path({str(tmp_path / "killed")!r}), identity={IDENTITY!r},
            )
            print("asked", sum(calls), "rows", len(rows), hash(tuple(row.text for row in rows)))
            """
        )
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "0"}

    def call(kill_after: int) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, str(script), str(kill_after)],
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
        )

    first = call(2)
    assert first.returncode == -signal.SIGKILL, first.stderr
    second = call(99)
    assert second.returncode == 0, second.stderr
    # Two chunks of five questions, three responses each, were in the journal.
    assert f"asked {(23 - 10) * 3} rows 69" in second.stdout
    assert sample(journal="killed") == sample(journal="whole")
