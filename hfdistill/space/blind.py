"""The blind vote: two stored answers to one question without their names, and what visitors think of them."""

import json
import random
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from ..errors import HFDistillError
from .results import StoredAnswers
from .visitors import ForVisitors, log


VERDICTS = {"a": "A is better", "b": "B is better", "tie": "Both are good", "bad": "Both are bad"}
TRIES = 200
COMMIT_MINUTES = 5


@dataclass(frozen=True)
class Pair:
    """Two answers of different text to one question, in random order.

    Attributes:
        task (`str`), number (`int`), question_id (`str`): the question.
        rows (`tuple[str, str]`): who wrote A, and who B.
        responses (`tuple[str, str]`): what they wrote.
        right (`tuple[bool, bool]`): whether they are right.
    """

    task: str
    number: int
    question_id: str
    rows: tuple[str, str]
    responses: tuple[str, str]
    right: tuple[bool, bool]


def draw_pair(results: StoredAnswers, shown: Sequence[str], rng: random.Random) -> Pair:
    """Two answers to a question drawn at random, of two models among those shown.

    Args:
        results ([`~hfdistill.space.results.StoredAnswers`]): where they are.
        shown (`Sequence[str]`): rows that take part.
        rng (`random.Random`): decides.

    Raises:
        [`~hfdistill.space.visitors.ForVisitors`]: if no two answers differ.
    """
    task = next(iter(results.tasks))
    for _ in range(TRIES):
        number = rng.randrange(len(results.tasks[task].question_ids))
        rows = [row for row in results.answers(task, number) if row["row"] in shown]
        pairs = [pair for pair in combinations(rows, 2) if pair[0]["response"].strip() != pair[1]["response"].strip()]
        if pairs:
            a, b = rng.sample(rng.choice(pairs), 2)
            return Pair(
                task,
                number,
                a["question_id"],
                (a["row"], b["row"]),
                (a["response"], b["response"]),
                (bool(a["correct"]), bool(b["correct"])),
            )
    raise ForVisitors("There are no two different answers to vote on.")


def tally(votes: Sequence[tuple[Pair, str]]) -> dict[str, Counter]:
    """Per row, how often it won, tied, lost or was called bad in these votes."""
    counts: dict[str, Counter] = {}
    outcomes = {"a": ("won", "lost"), "b": ("lost", "won"), "tie": ("tied", "tied"), "bad": ("bad", "bad")}
    for pair, verdict in votes:
        for row, outcome in zip(pair.rows, outcomes[verdict], strict=True):
            counts.setdefault(row, Counter())[outcome] += 1
    return counts


class Ledger:
    """Votes in a dataset of the Hub, pushed every few minutes; of a visitor nothing is kept.

    Args:
        repo_id (`str`): the dataset, which is created if it does not exist.
        token (`str`): may write to it.
        minutes (`float`, *optional*, defaults to 5): between two pushes.
    """

    def __init__(self, repo_id: str, token: str, minutes: float = COMMIT_MINUTES):
        from huggingface_hub import CommitScheduler

        self._folder = tempfile.TemporaryDirectory(prefix="hfdistill-votes-")
        # A file of its own for each start, so that none overwrites another's.
        self._path = Path(self._folder.name, f"votes-{time.time_ns()}.jsonl")
        try:
            self._scheduler = CommitScheduler(
                repo_id=repo_id,
                repo_type="dataset",
                folder_path=self._folder.name,
                every=minutes,
                path_in_repo="votes",
                token=token,
            )
        except (OSError, ValueError) as error:
            raise HFDistillError(f"votes cannot be kept in {repo_id}: {error}") from error

    def add(self, pair: Pair, verdict: str) -> None:
        """Note a vote."""
        row = {
            "task": pair.task,
            "question_id": pair.question_id,
            "a": pair.rows[0],
            "b": pair.rows[1],
            "verdict": verdict,
            "time": int(time.time()),
        }
        with self._scheduler.lock, self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    def push(self) -> None:
        """Push what is there now, and wait until it has arrived."""
        self._scheduler.trigger().result()


def open_ledger(repo_id: str | None, token: str | None) -> Ledger | None:
    """The ledger, where a dataset and a token that may write are given; a refused one is told in the log."""
    if not repo_id or not token:
        return None
    try:
        return Ledger(repo_id, token)
    except HFDistillError as error:
        log("Votes are kept in the visit alone.", error)
        return None
