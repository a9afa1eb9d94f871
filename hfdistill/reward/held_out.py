"""What a reward model says of all answers to validation questions, whether a triple has them or not."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ..encoding import Encoder
from ..tasks.base import Task
from ..training.shares import gather_shares, my_share
from .figures import response_figures
from .model import RewardScorer
from .trainer import TripletTrainer


def held_out_figures(
    trainer: TripletTrainer, encoder: Encoder, task: Task, responses: Iterable[Mapping[str, Any]], temperature: float
) -> dict[str, Any]:
    """Score the student's answers to validation questions, a share on each process; every process calls it.

    Args:
        trainer ([`~hfdistill.reward.trainer.TripletTrainer`]): has the model.
        encoder ([`~hfdistill.encoding.Encoder`]): turns questions and answers into ids.
        task ([`~hfdistill.tasks.base.Task`]): has the questions.
        responses (`Iterable[Mapping]`): rows of the config `responses` of the triples. Those without an answer, which
            no reward asks the model about, and those without a label are left out.
        temperature (`float`): what scores are divided by.

    Returns:
        `dict`: [`~hfdistill.reward.figures.response_figures`]; empty where there are no such answers.
    """
    asked = {question.question_id: question for question in task.questions() if question.split == "validation"}
    rows = [row for row in responses if row["answer"] is not None and row["label"] and row["question_id"] in asked]
    if not rows:
        return {}
    prompts = {key: encoder.question_ids(task, asked[key]) for key in {row["question_id"] for row in rows}}
    ids = [row["token_ids"] or encoder.response_ids(row["response"], row["finish_reason"] != "length") for row in rows]
    sequences = [prompts[row["question_id"]] + response for row, response in zip(rows, ids, strict=True)]
    rank, processes = trainer.args.process_index, trainer.args.world_size
    with trainer.whole.gathered() as model:
        scorer = RewardScorer(model, encoder, bf16=trainer.args.bf16)
        scores = gather_shares(scorer.score_ids(my_share(sequences, rank, processes)).tolist(), processes)
    return response_figures(
        np.array(scores) / temperature,
        np.array([row["label"] == "correct" for row in rows]),
        np.array([len(response) for response in ids]),
        [row["question_id"] for row in rows],
    )
