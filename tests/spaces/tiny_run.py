"""Makes a tiny run with the project's own pieces: `python tests/spaces/tiny_run.py FOLDER`.

A script, so that the tests of several folders have the same run. With HF_ENDPOINT set, the artifacts are pushed to
that Hub, into the namespace of the token's user; otherwise they are folders.
"""

import os
import random
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path


NAME = "tiny"
TASK = {"name": "word_problems", "train": 12, "validation": 4, "test": 6}


@dataclass
class NoStage:
    """A stage without settings; the Space reads one field of the policy's."""

    rewards: tuple = ("distilled",)


def make_run(folder: Path, push: bool = False) -> None:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from hfdistill.artifacts.manifest import manifest
    from hfdistill.artifacts.references import Artifact
    from hfdistill.artifacts.store import Store
    from hfdistill.config import Config, RunConfig, StudentConfig, TeacherConfig
    from hfdistill.demo.models import LARGE, SMALL, tokenizer
    from hfdistill.encoding import Encoder
    from hfdistill.kinds import LABELS, POLICY, RESULTS, REWARD, WARMUP, Kind
    from hfdistill.reward.model import initialise_reward_model
    from hfdistill.tasks import load_task
    from hfdistill.training.saving import save_model

    torch.manual_seed(0)
    words = tokenizer()
    encoder, task = Encoder(words), load_task(TASK)
    run = RunConfig(NAME, output_dir=str(folder), push=push)
    store = Store(run)
    student = store.parent(SMALL)
    parents: dict[str, Artifact] = {}

    def publish(files: Path, kind: Kind, metrics: dict) -> None:
        config = Config(
            run, TASK, TeacherConfig(store.parent(LARGE), license="mit"), StudentConfig(student), NoStage(),
            {"rewards": ["distilled"]},
        )  # fmt: skip
        made = manifest(kind, config, dict(parents), metrics, {"seconds": 1.0})
        parents[kind.name] = store.publish(files, kind, made, f"---\nlicense: mit\n---\n# {kind.name}\n")

    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(words), hidden_size=48, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
            max_position_embeddings=160, tie_word_embeddings=True, bos_token_id=words.bos_token_id,
            eos_token_id=words.eos_token_id, pad_token_id=words.pad_token_id,
        )
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as place:
        for kind, steps in ((SMALL, 30), (WARMUP, 60), (POLICY, 60)):
            teach(model, encoder, steps)
            files = Path(place, kind.name)
            save_model(model, words, files)
            publish(files, kind, {"validation_accuracy": interval(2, 4)} if kind is POLICY else {})
            if kind is WARMUP:
                reward = initialise_reward_model(str(files), words.pad_token_id)
                torch.nn.init.normal_(reward.score.weight, std=1 / 7)
                save_model(reward, words, Path(place, "reward"))
                publish(Path(place, "reward"), REWARD, {"pos_neg": interval(30, 40)})
        save_model(model, words, Path(place, "large"))
        publish(Path(place, "large"), LARGE, {})
        write_teacher(task, Path(place, "labels"))
        publish(Path(place, "labels"), LABELS, {"label_coverage": 0.75})
        publish(Path(place, "results"), RESULTS, write_results(task, Path(place, "results")))


def teach(model, encoder, steps: int) -> None:
    """Some steps on worked solutions: enough to write in the answer format, not to be right."""
    import torch

    from hfdistill.encoding import right_pad
    from hfdistill.tasks import word_problems

    source = word_problems.problems(7, "corpus")
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3)
    model.train()
    for _ in range(steps):
        problems = [next(source) for _ in range(16)]
        rows = [
            encoder.prompt_ids(word_problems.bare_prompt(problem.text))
            + encoder.response_ids(word_problems.solution(problem.start, problem.changes))
            for problem in problems
        ]
        ids, mask = right_pad(rows, encoder.pad_token_id)
        model(input_ids=ids, attention_mask=mask, labels=ids.masked_fill(mask == 0, -100)).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.eval()


def write_teacher(task, folder: Path) -> None:
    """Twenty answers a training question, of which all, most or half agree."""
    from hfdistill.labels.dataset import labelled_dataset, write_dataset

    rng = random.Random(0)
    questions = [question for question in task.questions() if question.split != "test"]
    rows = []
    for number, question in enumerate(questions):
        for sample in range(20):
            right = rng.random() < (1.0, 0.9, 0.5)[number % 3]
            answer = int(task.golds()[question.question_id]) + (0 if right else rng.randint(1, 3))
            rows.append(
                {
                    "question_id": question.question_id,
                    "response": f"\nStep 1: it is easy.\nThe answer is {answer}.",
                    "temperature": (sample // 5) / 10,
                    "sample": sample % 5,
                    "confidence": "high",
                    "finish_reason": "eos_token",
                    "model": "large",
                    "endpoint_kind": "tgi",
                }
            )
    write_dataset(folder, *labelled_dataset(questions, rows, task))


def write_results(task, folder: Path) -> dict:
    from hfdistill.evaluation.grading import grade, summary
    from hfdistill.evaluation.results import write_results as write

    @dataclass
    class Said:
        text: str
        answer: str
        tokens: int = 9
        finish_reason: str = "eos_token"
        token_ids: list | None = None

    questions = [question for question in task.questions() if question.split == "test"][:5]
    golds, graded, metrics = task.golds(), [], {}
    for row, wrong in (("Teacher", 1), ("ICL", 4), ("Ours w/o R", 2), ("Ours", 1)):
        answers = [str(int(golds[q.question_id]) + (i < wrong)) for i, q in enumerate(questions)]
        said = [Said(f"\nStep 1: I count.\nThe answer is {answer}.", answer) for answer in answers]
        rows = grade(task, row, questions, golds, said)
        graded += rows
        metrics[row] = summary(rows)
    tables = {"word_problems": metrics}
    folder.mkdir()
    write(folder, graded, tables, "Ours", "Ours w/o R")
    return tables


def interval(correct: int, n: int) -> dict:
    from hfdistill.intervals import wilson_interval

    low, high = wilson_interval(correct, n)
    return {"value": correct / n, "low": low, "high": high, "n": n}


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    make_run(Path(sys.argv[1]), push="HF_ENDPOINT" in os.environ)
