"""Checked responses on disk: as many as there are, read as often as needed, at the memory of one."""

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson

from ..errors import HFDistillError
from ..rows import RESPONSE_COLUMNS
from ..tasks.base import Question
from .foreign import RowReader
from .labeler import HIGH, Labeler
from .matching import QuestionMatcher
from .rejects import RejectedRow


class CheckedResponses:
    """Rows for [`labelled_dataset`], written to a file once and iterated any number of times."""

    def __init__(self, file: Path):
        self.file = file
        self.accepted = 0
        # By question: which of "high", "low" and "none" its rows say, and how many vote.
        self._says: dict[str, set[str]] = {}
        self._voters: Counter[str] = Counter()
        self._silent: Counter[str] = Counter()
        self._unnumbered: Counter[str] = Counter()
        self._lowest: float | None = None

    def fill(
        self,
        rows: Iterator[tuple[int, dict[str, Any] | RejectedRow]],
        reader: RowReader,
        matcher: QuestionMatcher,
        reject: Callable[[RejectedRow], None],
    ) -> None:
        """Checks rows, keeps the good ones and hands each of the others to `reject`."""
        with self.file.open("wb") as kept:
            for number, row in rows:
                for response in [row] if isinstance(row, RejectedRow) else reader.responses(number, row):
                    if isinstance(response, RejectedRow):
                        reject(response)
                        continue
                    question = matcher.find(response)
                    if not isinstance(question, Question):
                        reject(RejectedRow(number, *question, row))
                        continue
                    kept.write(orjson.dumps(self._keep(response, question, number)) + b"\n")
        mixed = self.mixed
        if mixed:
            for row in self._rows():
                if row["question_id"] in mixed and row.get("confidence") is None:
                    self.accepted -= 1
                    detail = f"question {row['question_id']}"
                    reject(RejectedRow(row["row"], "mixed_voters", detail, {"response": row["response"]}))

    def _keep(self, response: dict[str, Any], question: Question, number: int) -> dict[str, Any]:
        response = {name: value for name, value in response.items() if name in RESPONSE_COLUMNS}
        response |= {"question_id": question.question_id, "question": question.question, "row": number}
        if response.get("sample") is None:
            response["sample"] = self._unnumbered[question.question_id]
            self._unnumbered[question.question_id] += 1
        confidence, temperature = response.get("confidence"), response.get("temperature")
        if temperature is not None:
            self._lowest = min(temperature, temperature if self._lowest is None else self._lowest)
        self._says.setdefault(question.question_id, set()).add(confidence or "none")
        if confidence == HIGH:
            self._voters[question.question_id] += 1
        elif confidence is None:
            self._silent[question.question_id] += 1
        self.accepted += 1
        return response

    @property
    def mixed(self) -> set[str]:
        """Questions of which some rows say whether they vote and others do not."""
        return {question_id for question_id, says in self._says.items() if "none" in says and len(says) > 1}

    @property
    def question_ids(self) -> set[str]:
        """Questions with at least one row that counts."""
        return set(self._says)

    def voters(self) -> Counter[int]:
        """How many questions have how many voters."""
        mixed = self.mixed
        return Counter(
            self._voters[question_id] + (0 if question_id in mixed else self._silent[question_id])
            for question_id in self._says
        )

    def check_voters(self, high_temperature: float, labeler: Labeler) -> None:
        """Refuse responses of which none votes, where votes decide.

        Args:
            high_temperature (`float`): up to which they would.
            labeler ([`~hfdistill.labels.labeler.Labeler`]): what decides.
        """
        if labeler.reads_text or self.accepted == 0 or self.voters().keys() - {0}:
            return
        raise HFDistillError(
            f"none of {self.accepted:,} responses votes, since each has the confidence 'low' or a temperature above "
            f"--high_temperature {high_temperature:g}: raise it{' to ' + f'{self._lowest:g}' if self._lowest else ''}"
        )

    def _rows(self) -> Iterator[dict[str, Any]]:
        with self.file.open("rb") as kept:
            for line in kept:
                yield orjson.loads(line)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        mixed = self.mixed
        for row in self._rows():
            if row.get("confidence") is None:
                if row["question_id"] in mixed:
                    continue
                # Rows of which nothing tells the confidence all vote.
                row["confidence"] = HIGH
            yield row
