"""What a teacher answered, out of the journal, as rows to be labelled."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from ..teacher.counting import BY_BYTES
from ..teacher.journal import Journal, Response
from ..teacher.plan import Plan
from ..teacher.protocols import OPENED_THOUGHT


class SampledResponses:
    """The finished responses of a plan, sorted by question, temperature and sample; read anew at each iteration.

    A response that counts several times is that many rows, numbered on.

    Args:
        journal ([`~hfdistill.teacher.journal.Journal`]): holds them.
        plan ([`~hfdistill.teacher.plan.Plan`]): says which belong to the dataset.
        model (`str`): the teacher's name.
        endpoint_kind (`str`): of the endpoints that answered.
    """

    def __init__(self, journal: Journal, plan: Plan, model: str, endpoint_kind: str):
        self._journal, self._plan = journal, plan
        self._constant = {"model": model, "endpoint_kind": endpoint_kind}
        self._cells = {cell.temperature: cell for cell in plan.grid.cells}

    def __iter__(self) -> Iterator[dict[str, Any]]:
        of = responses_of(self._journal)
        for question in sorted(self._plan.questions, key=lambda question: question.question_id):
            for response in of(question.question_id):
                cell = self._cells.get(response.temperature)
                if cell is None or response.sample >= cell.samples:
                    continue
                row = {**response_row(response), "confidence": cell.confidence, **self._constant}
                row["model"] = response.model or row["model"]
                for copy in range(cell.copies):
                    yield {**row, "sample": response.sample + copy}


def responses_of(journal: Journal) -> Callable[[str], list[Response]]:
    """The finished responses to a question, by its id, as they are to be read.

    Where the teacher's chat template opens a thought in the prompt, a response that was cut off before it closed the
    thought begins with the mark that opens one.
    """
    if not journal.opens_thoughts():
        return journal.of

    def of(question_id: str) -> list[Response]:
        return [
            replace(response, text=OPENED_THOUGHT + response.text)
            if response.finish_reason == "length" and "think>" not in response.text
            else response
            for response in journal.of(question_id)
        ]

    return of


def response_row(response: Response) -> dict[str, Any]:
    """What the journal knows of a row of the config `responses`."""
    counted = response.counted_by != BY_BYTES
    return {
        "question_id": response.question_id,
        "response": response.text,
        "temperature": response.temperature,
        "sample": response.sample,
        "seed": response.seed,
        "finish_reason": response.finish_reason,
        "prompt_tokens": response.prompt_tokens if counted else None,
        "completion_tokens": response.completion_tokens if counted else None,
        "thought": response.thought,
    }
