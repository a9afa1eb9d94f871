"""One step of every stage on each family that students come from, saved in bf16 by its authors, as a user has it."""

import math

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from hfdistill.encoding import Encoder
from hfdistill.evaluation.answering import greedy_answers
from hfdistill.generation import Sampling
from hfdistill.ppo import PPOConfig, PPOTrainer
from hfdistill.ppo.questions import answers_match, training_rows, validation_rows
from hfdistill.reward.batches import encode_triples
from hfdistill.reward.config import RewardConfig
from hfdistill.reward.distilled import DistilledReward
from hfdistill.reward.model import RewardScorer, initialise_reward_model, load_reward_model
from hfdistill.reward.student import label_samples, sample_student
from hfdistill.reward.trainer import TripletTrainer
from hfdistill.reward.triples import make_triples
from hfdistill.runs.opening import open_student
from hfdistill.sections import StudentConfig
from hfdistill.student import load_encoder, settle_generation
from hfdistill.tasks import Answer, Question, Task, load_task
from hfdistill.training.saving import save_model, save_trained
from hfdistill.warmup.config import WarmupConfig
from hfdistill.warmup.examples import encode_examples
from hfdistill.warmup.trainer import WarmupTrainer
from hfdistill.warmup.validation import Validation

from .tokenizers_of_families import LAYOUTS, save_student


LENGTH = 12
QUIET = {"use_cpu": True, "bf16": False, "disable_tqdm": True, "report_to": "none", "logging_steps": 1}
ONCE = {"max_steps": 1, "eval_strategy": "no", "save_strategy": "no", **QUIET}


@pytest.fixture(scope="module")
def task() -> Task:
    task = load_task({"name": "word_problems", "train": 4, "validation": 2, "test": 3, "max_new_tokens": LENGTH})
    # What so small a model writes holds no answer: the number of letters stands in.
    task.extract = lambda text, question: Answer(str(len(text) % 2))
    return task


def of(task: Task, split: str) -> list[Question]:
    return [question for question in task.questions() if question.split == split]


def warm_up(base, folder, student: StudentConfig, task: Task) -> None:
    encoder = load_encoder(base, student)
    questions = of(task, "train")
    rows = [{"question_id": q.question_id, "response": "The answer is 9.", "finish_reason": "stop"} for q in questions]
    prompts = {question.question_id: encoder.question_ids(task, question) for question in questions}
    examples, too_long = encode_examples(rows, prompts, encoder, 512)
    assert not too_long and all(ids[-1] == encoder.eos_token_id for ids in examples["input_ids"])
    model = AutoModelForCausalLM.from_pretrained(base, dtype="float32")
    settle_generation(model, encoder, task.max_new_tokens)
    args = WarmupConfig(str(folder / "out"), per_device_train_batch_size=2, learning_rate=1e-3, **ONCE)
    trainer = WarmupTrainer(model, args, examples, Validation(task, encoder, [], [], 4))
    trainer.train()
    save_trained(trainer, folder / "model")


def sampled(folder, student: StudentConfig, task: Task, journal) -> list[dict]:
    encoder = load_encoder(folder, student)
    model = AutoModelForCausalLM.from_pretrained(folder)
    questions = {question.question_id: question for question in of(task, "train")}
    rows = sample_student(
        model,
        encoder,
        task,
        list(questions.values()),
        Sampling(LENGTH, 1.0),
        samples=6,
        seed=0,
        batch_size=8,
        chunk_questions=4,
        journal=journal,
        identity={},
    )
    return label_samples(rows, questions, dict.fromkeys(questions, "1"), task, "student")


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_stage_of_a_family(name, task, tmp_path):
    base, warm, judge, policy = (tmp_path / each for each in ("base", "warm/model", "judge", "policy"))
    save_student(name, base, max_position_embeddings=512, dtype=torch.bfloat16)
    student = StudentConfig(str(base))
    assert "trained in float32" in open_student(student, task)
    warm_up(base, warm.parent, student, task)

    # 1. The student's samples, and the reward model: known by the ids that were sampled.
    rows = sampled(warm, student, task, tmp_path)
    encoder = load_encoder(warm, student)
    triples = make_triples(rows, [], max_triples=2, seed=0, source="student")
    assert triples and all(triple["student_positive_token_ids"] for triple in triples)
    prompts = {question.question_id: encoder.question_ids(task, question) for question in of(task, "train")}
    encoded = encode_triples(triples, prompts, encoder)
    assert encoded[0].responses[0] == triples[0]["student_positive_token_ids"]
    model = initialise_reward_model(str(warm), encoder.pad_token_id, dtype="float32")
    args = RewardConfig(str(tmp_path / "out"), source="student", learning_rate=1e-3, **ONCE)
    trainer = TripletTrainer(model, args, encoded, [], encoder.tokenizer)
    trainer.train()
    first = next(entry["loss"] for entry in trainer.state.log_history if "loss" in entry)
    assert first == pytest.approx(1.5 * math.log(2), abs=0.05)  # of a judge that knows nothing, without a teacher
    save_trained(trainer, judge)

    # 2. PPO: before the first step the policy is the reference.
    labels = [
        {"question_id": q.question_id, "question": q.question, "split": q.split, "pseudo_label": "1"}
        for q in task.questions()
        if q.split != "test"
    ]
    scorer = RewardScorer(load_reward_model(str(judge), dtype="float32"), encoder)
    first_policy = AutoModelForCausalLM.from_pretrained(warm, dtype="float32")
    settle_generation(first_policy, encoder, LENGTH)
    length = {"max_completion_length": LENGTH, "total_episodes": 8, "rollout_batch_size": 8, "num_ppo_epochs": 1}
    trainer = PPOTrainer(
        first_policy,
        DistilledReward().prepare(task, scorer),
        PPOConfig(str(tmp_path / "ppo"), per_device_train_batch_size=8, save_strategy="no", **length, **QUIET),
        training_rows(
            task, encoder, labels, [{"question_id": row["question_id"], "label": "incorrect"} for row in rows]
        ),
        validation_rows(task, encoder, labels),
        processing_class=encoder,
        value_model=load_reward_model(str(judge), dtype="float32"),
        eval_func=answers_match(task),
    )
    trainer.train()
    log = trainer.state.log_history[0]
    assert log["val/ratio"] == pytest.approx(1, abs=1e-6) and log["objective/kl"] == pytest.approx(0, abs=1e-5)
    assert 0 <= trainer.evaluate()["eval_accuracy"] <= 1
    save_model(trainer.whole_policy(), trainer.processing_class, policy)

    # 3. The published policy answers as evaluation does, by its own generation_config alone.
    published, tokenizer = AutoModelForCausalLM.from_pretrained(policy), AutoTokenizer.from_pretrained(policy)
    again = load_encoder(policy)
    assert (again.eos_token_id, again.end_token_ids) == (encoder.eos_token_id, encoder.end_token_ids)
    answers = greedy_answers(published, again, task, of(task, "test"))
    for question, answer in zip(of(task, "test"), answers, strict=True):
        assert answer.text == by_transformers(published, tokenizer, again, task, question)


def by_transformers(model, tokenizer, encoder: Encoder, task: Task, question: Question) -> str:
    """What the code on the card gives."""
    if encoder.chat is None:
        inputs = tokenizer(task.prompt(question, shots=0), return_tensors="pt")
    else:
        messages = encoder.prompt(task, question)
        inputs = tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
    output = model.generate(**inputs)
    return tokenizer.decode(output[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
