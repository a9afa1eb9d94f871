"""The student's own responses, sampled in chunks that survive a kill, and labelled against the pseudo-labels."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from accelerate import PartialState
from accelerate.utils import broadcast_object_list
from transformers import PreTrainedModel

from ..encoding import Encoder, cut
from ..generation import Sampling, StopStrings, generate
from ..labels.dataset import labelled_dataset
from ..labels.labeler import Labeler
from ..labels.sampled import response_row
from ..labels.vote import response_label
from ..progress import Progress
from ..sections import TeacherConfig
from ..tasks.base import Question, Task
from ..teacher.journal import Journal, Response
from ..training.shares import gather_shares, my_share


# What labelling adds to a response.
JUDGED = ("question", "answer", "label")


def sample_student(
    model: PreTrainedModel,
    encoder: Encoder,
    task: Task,
    questions: Sequence[Question],
    sampling: Sampling,
    *,
    samples: int,
    seed: int,
    batch_size: int,
    chunk_questions: int,
    journal: Path,
    identity: Mapping[str, Any],
    shots: int = 0,
) -> list[Response]:
    """Sample the student on questions, and go on where an earlier call was cut off.

    The questions are cut into chunks; a chunk is in the journal whole or not at all, and one that is there is never
    sampled again. Each response has a seed of its own, made of `seed`, the question's id and the sample's number, so
    neither chunks, batches nor processes change it.

    Args:
        samples (`int`): responses a question.
        batch_size (`int`): responses generated at once.
        chunk_questions (`int`): questions a chunk.
        journal (`Path`): folder of the journal.
        identity (`Mapping`): what decides the responses besides these settings: the student and the task.
        shots (`int`, *optional*, defaults to 0): worked examples in front of a question.

    Returns:
        `list[Response]`: on the main process, question by question in the order given; elsewhere an empty list.
    """
    state = PartialState()
    settings = {**identity, "temperature": sampling.temperature, "max_new_tokens": sampling.max_new_tokens}
    settings |= {"samples": samples, "seed": seed, **({"shots": shots} if shots else {})}
    book, waiting = None, [None]
    if state.is_main_process:
        digest = hashlib.sha256(repr(sorted(settings.items())).encode()).hexdigest()[:16]
        # Several reward models may be learned at once from the same samples, which are drawn once.
        book = Journal(journal / f"student-{digest}.sqlite", settings, wait=True)
        chunks = [questions[first : first + chunk_questions] for first in range(0, len(questions), chunk_questions)]
        waiting = [[chunk for chunk in chunks if any(len(book.keys(each.question_id)) < samples for each in chunk)]]
    broadcast_object_list(waiting)
    done = len(questions) - sum(map(len, waiting[0]))
    with Progress(
        "student samples", len(questions) * samples, "responses", done=done * samples, enabled=state.is_main_process
    ) as progress:
        for chunk in waiting[0]:
            asked = [(question, sample) for question in chunk for sample in range(samples)]
            mine = my_share(asked, state.process_index, state.num_processes)
            drawn = _draw(model, encoder, task, mine, sampling, seed, batch_size, shots)
            everyone = gather_shares(drawn, state.num_processes)
            if book:
                book.add(everyone)
            progress.advance(len(asked))
    if not book:
        return []
    with book:
        return [row for question in questions for row in book.of(question.question_id)]


def label_samples(
    rows: Sequence[Response],
    questions: Mapping[str, Question],
    pseudo_labels: Mapping[str, str],
    task: Task,
    model: str,
) -> list[dict[str, Any]]:
    """Rows of the config `responses` of the triples: each response of `model` with its answer, right or wrong by the
    vote. Questions and pseudo-labels are by question id.
    """
    labelled = []
    for row in rows:
        question = questions[row.question_id]
        answer = task.extract(row.text, question).value
        label = response_label(answer, pseudo_labels[row.question_id], task.same)
        labelled.append({**_sampled_row(row, model), "question": question.question, "answer": answer, "label": label})
    return labelled


def judge_samples(
    rows: Sequence[Response],
    questions: Mapping[str, Question],
    task: Task,
    model: str,
    judge: Labeler,
    teacher: TeacherConfig | None,
    folder: Path,
) -> list[dict[str, Any]]:
    """The same for an open-ended task, whose responses have no final answer to compare: each is right or wrong by the
    judge, or neither. What it says is kept in `folder`; limits and prices are the teacher's.
    """
    sampled = [_sampled_row(row, model) for row in rows]
    made, _ = labelled_dataset(list(questions.values()), sampled, task, judge, teacher, folder)
    return [{**row, **{name: one[name] for name in JUDGED}} for row, one in zip(sampled, made, strict=True)]


def _sampled_row(row: Response, model: str) -> dict[str, Any]:
    """What is known of a response before it is labelled."""
    token_ids = json.loads(row.token_ids) if row.token_ids else None
    told = {"confidence": None, "token_ids": token_ids, "model": model, "endpoint_kind": "local"}
    return {**response_row(row), **told}


def _draw(
    model: PreTrainedModel,
    encoder: Encoder,
    task: Task,
    asked: Sequence[tuple[Question, int]],
    sampling: Sampling,
    seed: int,
    batch_size: int,
    shots: int,
) -> list[Response]:
    prompts = {question.question_id: encoder.question_ids(task, question, shots) for question, _ in asked}
    stop = encoder.stop(task, shots)
    seeds = [_seed(seed, question.question_id, sample) for question, sample in asked]
    generated = generate(
        model,
        [prompts[question.question_id] for question, _ in asked],
        [Sampling(sampling.max_new_tokens, sampling.temperature, seed=row_seed) for row_seed in seeds],
        eos_token_id=encoder.end_token_ids,
        pad_token_id=encoder.pad_token_id,
        batch_size=batch_size,
        stop=StopStrings(encoder.tokenizer, stop) if stop else None,
    )
    texts = [cut(encoder.decode(row.token_ids), stop) for row in generated]
    return [
        Response(
            question.question_id,
            sampling.temperature,
            sample,
            text=text,
            finish_reason=row.finish_reason,
            prompt_tokens=len(prompts[question.question_id]),
            completion_tokens=len(row.drawn_ids),
            seed=row_seed,
            token_ids=json.dumps(
                encoder.finished_ids(row.token_ids, text) if row.finish_reason == "stop_sequence" else row.drawn_ids
            ),
        )
        for (question, sample), row, text, row_seed in zip(asked, generated, texts, seeds, strict=True)
    ]


def _seed(seed: int, question_id: str, sample: int) -> int:
    digest = hashlib.sha256(f"student {seed} {question_id} {sample}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 2
