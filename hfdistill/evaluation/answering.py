"""Ask a model, or the teacher behind its endpoints, for greedy answers to test questions."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..encoding import Encoder, cut, load_tokenizer
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
    """Answer questions at temperature 0.

    The task's stop strings are heeded after a few-shot prompt, which a base model goes on writing; a student that saw
    bare prompts in training ends by itself.
    """
    stop_strings = task.stop if shots else ()
    generated = generate(
        model,
        [encoder.prompt_ids(task.prompt(question, shots=shots)) for question in questions],
        Sampling(max_new_tokens=task.max_new_tokens),
        eos_token_id=encoder.eos_token_id,
        pad_token_id=encoder.pad_token_id,
        batch_size=batch_size,
        stop=StopStrings(encoder.tokenizer, stop_strings) if stop_strings else None,
    )
    responses = []
    for question, row in zip(questions, generated, strict=True):
        text = cut(encoder.decode(row.token_ids), stop_strings)
        responses.append(Answered(text, task.extract(text, question).value, row.finish_reason, len(row.token_ids)))
    return responses


def answer_locally(
    model: "Artifact",
    student: StudentConfig,
    task: Task,
    questions: Sequence[Question],
    name: str,
    shots: int | None,
    batch_size: int,
) -> list[Answered]:
    """Greedy answers of a model, split among the processes: in the order of the questions, on every process.

    `name` is the row's, for the progress; without `shots` the prompts hold the task's own number of worked examples.
    """
    from accelerate import PartialState
    from transformers import AutoModelForCausalLM

    from ..training.shares import gather_shares, my_share

    state = PartialState()
    encoder = Encoder(load_tokenizer(model.path, student.pad_token))
    loaded = AutoModelForCausalLM.from_pretrained(
        model.path, dtype=student.dtype, attn_implementation=student.attn_implementation
    ).to(state.device)
    mine = my_share(questions, state.process_index, state.num_processes)
    responses: list[Answered] = []
    with Progress(name, len(questions), "questions", enabled=state.is_main_process) as progress:
        for first in range(0, len(mine), QUESTIONS_A_ROUND):
            asked = mine[first : first + QUESTIONS_A_ROUND]
            shown = task.shots if shots is None else shots
            responses += greedy_answers(loaded, encoder, task, asked, shots=shown, batch_size=batch_size)
            progress.update(min(len(responses) * state.num_processes, len(questions)))
    return gather_shares(responses, state.num_processes)


def answer_by_teacher(
    teacher: TeacherConfig, task: Task, questions: Sequence[Question], folder: Path
) -> list[Answered]:
    """Greedy answers of the teacher, through its endpoints, with the task's worked examples in the prompt. What is in
    the journal in `folder` is not asked again.
    """
    from ..teacher.journal import Journal
    from ..teacher.plan import Grid, Plan
    from ..teacher.protocols import Decoding
    from ..teacher.session import collect

    plan = Plan(questions, task.prompt, Grid([0.0], 1))
    with Journal(folder / f"{task.name}.sqlite") as journal:
        collect(journal, teacher, plan, Decoding(task.max_new_tokens, task.stop), retry_failed=True, stage="Teacher")
        responses = [journal.of(question.question_id)[0] for question in questions]
    return [
        Answered(
            response.text,
            task.extract(response.text, question).value,
            response.finish_reason,
            response.completion_tokens,
        )
        for question, response in zip(questions, responses, strict=True)
    ]
