"""What a teacher answered, out of the journal, as rows to be labelled."""

from collections.abc import Iterator
from typing import Any

from ..teacher.journal import Journal, Response
from ..teacher.plan import Plan


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
        for question in sorted(self._plan.questions, key=lambda question: question.question_id):
            for response in self._journal.of(question.question_id):
                cell = self._cells.get(response.temperature)
                if cell is None or response.sample >= cell.samples:
                    continue
                row = {**response_row(response), "confidence": cell.confidence, **self._constant}
                for copy in range(cell.copies):
                    yield {**row, "sample": response.sample + copy}


def response_row(response: Response) -> dict[str, Any]:
    """What the journal knows of a row of the config `responses`."""
    return {
        "question_id": response.question_id,
        "response": response.text,
        "temperature": response.temperature,
        "sample": response.sample,
        "seed": response.seed,
        "finish_reason": response.finish_reason,
        "prompt_tokens": response.prompt_tokens,
        "completion_tokens": response.completion_tokens,
    }
