"""Ask a model, or the teacher behind its endpoints, for greedy answers to test questions."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..encoding import Encoder, cut
from ..generation import Sampling, StopStrings, generate
from ..progress import Progress
from ..sections import StudentConfig, TeacherConfig
from ..tasks.base import Question, Task
from .grading import Answered


if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from ..artifacts.references import Artifact

QUESTIONS_A_ROUND = 512


def greedy_answers(
    model: "PreTrainedModel",
    encoder: Encoder,
    task: Task,
    questions: Sequence[Question],
    *,
    shots: int = 0,
    batch_size: int = 256,
) -> list[Answered]:
    """Answer questions at temperature 0, behind so many worked examples."""
    return _answers(model, encoder, task, questions, Sampling(task.max_new_tokens), shots, batch_size)


def sampled_answers(
    model: "PreTrainedModel",
    encoder: Encoder,
    task: Task,
    asked: Sequence[tuple[Question, int]],
    *,
    temperature: float,
    shots: int = 0,
    batch_size: int = 256,
) -> list[Answered]:
    """Sample answers to questions, each the sample of a number: its noise depends on the question and that alone."""
    sampling = [
        Sampling(task.max_new_tokens, temperature, seed=_seed(question.question_id, sample))
        for question, sample in asked
    ]
    return _answers(model, encoder, task, [question for question, _ in asked], sampling, shots, batch_size)


def _seed(question_id: str, sample: int) -> int:
    digest = hashlib.sha256(f"evaluation {question_id} {sample}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 2


def _answers(
    model: "PreTrainedModel",
    encoder: Encoder,
    task: Task,
    questions: Sequence[Question],
    sampling: Sampling | list[Sampling],
    shots: int,
    batch_size: int,
) -> list[Answered]:
    stop_strings = encoder.stop(task, shots)
    generated = generate(
        model,
        [encoder.question_ids(task, question, shots) for question in questions],
        sampling,
        eos_token_id=encoder.end_token_ids,
        pad_token_id=encoder.pad_token_id,
        batch_size=batch_size,
        stop=StopStrings(encoder.tokenizer, stop_strings) if stop_strings else None,
    )
    responses = []
    for question, row in zip(questions, generated, strict=True):
        text = cut(encoder.decode(row.token_ids), stop_strings)
        cut_off = row.finish_reason == "stop_sequence"
        ids = encoder.finished_ids(row.token_ids, text) if cut_off else row.drawn_ids
        answer = task.extract(text, question).value
        responses.append(Answered(text, answer, row.finish_reason, len(row.token_ids), ids))
    return responses


def answer_locally(
    model: "Artifact",
    student: StudentConfig,
    task: Task,
    questions: Sequence[Question],
    name: str,
    encoder: Encoder,
    shots: int,
    batch_size: int,
) -> list[Answered]:
    """Greedy answers of a model, split among the processes: in the order of the questions, on every process.

    `name` is the row's, for the progress; `shots` worked examples stand in the prompts.
    """
    from accelerate import PartialState

    from ..training.shares import gather_shares, my_share

    state = PartialState()
    loaded = load_answering(model, student)
    mine = my_share(questions, state.process_index, state.num_processes)
    responses: list[Answered] = []
    with Progress(name, len(questions), "questions", enabled=state.is_main_process) as progress:
        for first in range(0, len(mine), QUESTIONS_A_ROUND):
            asked = mine[first : first + QUESTIONS_A_ROUND]
            responses += greedy_answers(loaded, encoder, task, asked, shots=shots, batch_size=batch_size)
            progress.update(min(len(responses) * state.num_processes, len(questions)))
    return gather_shares(responses, state.num_processes)


def load_answering(model: "Artifact", student: StudentConfig) -> "PreTrainedModel":
    """A model of the table on this process's device, as the configuration says how students are loaded."""
    from accelerate import PartialState
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(
        model.path, dtype=student.dtype, attn_implementation=student.attn_implementation
    ).to(PartialState().device)


def answer_by_teacher(
    teacher: TeacherConfig, task: Task, questions: Sequence[Question], folder: Path
) -> list[Answered]:
    """Greedy answers of the teacher, through its endpoints, to the prompts that label. What is in the journal in
    `folder` is not asked again.

    The main process asks; every process calls it.
    """
    from ..labels.sampled import responses_of
    from ..teacher.journal import Journal
    from ..teacher.plan import Grid, Plan, teacher_prompts
    from ..teacher.protocols import Decoding
    from ..teacher.session import collect
    from ..training.shares import on_main_process

    render, stop = teacher_prompts(teacher, task)
    plan = Plan(questions, render, Grid([0.0], 1))

    def ask() -> list[Answered]:
        with Journal(folder / f"{task.name}.sqlite") as journal:
            collect(journal, teacher, plan, Decoding(task.max_new_tokens, stop), retry_failed=True, stage="Teacher")
            of = responses_of(journal)
            responses = [of(question.question_id)[0] for question in questions]
        return [
            Answered(
                response.text,
                task.extract(response.text, question).value,
                response.finish_reason,
                response.completion_tokens,
            )
            for question, response in zip(questions, responses, strict=True)
        ]

    return on_main_process(ask)
