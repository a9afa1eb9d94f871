"""Labels by a judge, for tasks without a final answer to vote on: a model behind an endpoint says several times
whether a response is good, or which of two is better, and the vote over its verdicts gives the label.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from ..errors import HFDistillError
from ..tasks.base import Question, Task, share_of
from ..teacher.journal import Journal, Response
from .labeler import CORRECT, INCORRECT, Candidate, Labeler, Verdict
from .vote import exact_threshold, vote


if TYPE_CHECKING:
    import httpx


MODES = ("grade", "compare")
VERDICT = re.compile(r"verdict\W{0,8}(yes|no|a|b)\b", re.IGNORECASE)
BUSY = (429, 500, 502, 503, 504)


@dataclass
class LLMJudge(Labeler):
    """A response is `"correct"` when more than `threshold` of its verdicts are for it, `"incorrect"` when more than
    `threshold` are against it, and has no label otherwise. A reply without a verdict counts as a voter for neither.
    Where the task has final answers, the pseudo-label is what more than `threshold` of the correct responses agree on;
    an open-ended task has none, and a question fails when no response is correct.

    Args:
        endpoint (`str`): base URL of a server with `/v1/chat/completions` (TGI, vLLM, `hfdistill serve`).
        model (`str`, *optional*): name that the server expects.
        mode (`str`): `"grade"`, one response at a time, or `"compare"`, against another response to the question,
            asked in both orders because judges prefer a position.
        verdicts (`int`): how often each response is judged; in mode `compare`, against how many others.
        threshold (`float`): share of the verdicts that must agree.
        temperature (`float`): of the judge; at 0 all verdicts would be one.
        max_new_tokens (`int`): longest reply.
        api_key_env (`str`, *optional*): environment variable with the endpoint's token.
        workers (`int`): questions judged at a time.
        tries (`int`): how often a request that the server is too busy for is sent.
    """

    name: ClassVar[str] = "llm_judge"
    reads_text: ClassVar[bool] = True

    endpoint: str
    model: str | None = None
    mode: str = "grade"
    verdicts: int = 5
    threshold: float = 0.7
    temperature: float = 0.7
    max_new_tokens: int = 256
    api_key_env: str | None = None
    workers: int = 16
    tries: int = 5

    def __post_init__(self):
        self._journal: Journal | None = None
        exact_threshold(self.threshold)
        if self.threshold < 0.5:
            raise HFDistillError(
                f"the judge's threshold must be 0.5 or more, not {self.threshold}: both sides could win"
            )
        if self.mode not in MODES:
            raise HFDistillError(f"the judge's mode is 'grade' or 'compare', not {self.mode!r}")
        for option, number in (("verdicts", self.verdicts), ("tries", self.tries)):
            if number < 1:
                raise HFDistillError(f"the judge's {option} must be at least one, not {number}")
        if self.api_key_env is not None and self.api_key_env not in os.environ:
            raise HFDistillError(f"the judge's token is expected in ${self.api_key_env}, which is not set")

    @contextmanager
    def keeping(self, file: Path) -> Iterator[None]:
        """Keep every reply in a journal, by request and try; other judges' replies may lie in it too."""
        with Journal(file) as self._journal:
            try:
                yield
            finally:
                self._journal = None

    def label(self, question: Question, candidates: Sequence[Candidate], task: Task) -> Verdict:
        judged = [
            vote(Counter(self._grades(question, candidates, place, task)), self.threshold)
            for place in range(len(candidates))
        ]
        labels = tuple({"yes": CORRECT, "no": INCORRECT, None: None}[result.label] for result in judged)
        answers: Counter[str | None] = Counter()
        for candidate, label in zip(candidates, labels, strict=True):
            if label == CORRECT and not task.open_ended:
                answers[candidate.answer] += candidate.count
        votes = sum(result.votes for result, label in zip(judged, labels, strict=True) if label == CORRECT)
        voters = sum(result.voters for result in judged)
        pseudo_label = vote(answers, self.threshold, task.same).label
        return Verdict(pseudo_label, votes / voters if voters else 0.0, votes, voters, labels)

    def _grades(self, question: Question, candidates: Sequence[Candidate], place: int, task: Task) -> list[str | None]:
        """Verdicts on one candidate: `"yes"` for it, `"no"` against it, `None` where the reply holds none."""
        response = candidates[place].response or ""
        if self.mode == "grade":
            prompt = task.judge_prompt(question, response)
            grades = [self.ask(prompt, seed) for seed in range(self.verdicts)]
            return [grade if grade in ("yes", "no") else None for grade in grades]
        others = [candidates[(place + step) % len(candidates)] for step in range(1, len(candidates))][: self.verdicts]
        grades = []
        for seed, other in enumerate(others):
            first = self.ask(task.judge_prompt(question, response, other.response), seed)
            second = self.ask(task.judge_prompt(question, other.response or "", response), seed)
            grades += [{"a": "yes", "b": "no"}.get(first or ""), {"b": "yes", "a": "no"}.get(second or "")]
        return grades

    def ask(self, prompt: str, seed: int) -> str | None:
        """One verdict, `"yes"`, `"no"`, `"a"` or `"b"`: the last one in the reply, if any; `seed` counts tries."""
        reply = self._bought(prompt, seed) if self._journal else self._reply(prompt, seed)
        found = VERDICT.findall(reply[-2000:])
        return found[-1].lower() if found else None

    def _bought(self, prompt: str, seed: int) -> str:
        """The judge's reply out of the journal, or into it. The prompt holds the question and the response."""
        model = self.model or self.endpoint
        request = "\n".join((model, str(self.max_new_tokens), prompt))
        key = hashlib.sha256(request.encode("utf-8", "surrogatepass")).hexdigest()
        for sample in self._journal.of(key):
            if (sample.temperature, sample.sample) == (self.temperature, seed):
                return sample.text
        # What is no text to the file is none to the next call, so it must be none to this one.
        reply = self._reply(prompt, seed).encode("utf-8", "replace").decode("utf-8")
        self._journal.add([Response(key, self.temperature, seed, reply, source=self.endpoint, engine=model)])
        return reply

    def _reply(self, prompt: str, seed: int) -> str:
        import httpx

        # A seed of the prompt's own, so that a verdict does not depend on what is asked beside it.
        body = {
            "model": self.model or "tgi",
            "messages": [{"role": "user", "content": prompt}],
            "max_tokens": self.max_new_tokens,
            "temperature": self.temperature,
            "seed": int(share_of(prompt, str(seed)) * 2**31),
        }
        for attempt in count(1):
            try:
                reply = self._client.post("/chat/completions", json=body)
                reply.raise_for_status()
                return reply.json()["choices"][0]["message"]["content"] or ""
            except (httpx.HTTPError, ValueError, KeyError, IndexError, TypeError) as error:
                answered = isinstance(error, httpx.HTTPStatusError)
                status = f", status {error.response.status_code}" if answered else ""
                refused = (
                    error.response.status_code not in BUSY if answered else not isinstance(error, httpx.HTTPError)
                )
                if refused or attempt == self.tries:
                    raise HFDistillError(
                        f"the judge at {self.endpoint} gave no verdict ({type(error).__name__}{status}): check "
                        "the URL, the model's name, the token and the log of the server"
                    ) from error
                time.sleep(min(30.0, 0.25 * 2**attempt))

    @cached_property
    def _client(self) -> httpx.Client:
        import httpx

        # A plain client: one of huggingface_hub would send the user's Hub token to any host.
        headers = {"Authorization": f"Bearer {os.environ[self.api_key_env]}"} if self.api_key_env else {}
        base = self.endpoint.rstrip("/").removesuffix("/v1") + "/v1"
        return httpx.Client(base_url=base, headers=headers, timeout=600)
