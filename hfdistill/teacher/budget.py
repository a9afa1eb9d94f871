"""What a sampling run may cost, and what it has cost so far, over all calls that its journal has seen."""

import time

from ..errors import HFDistillError
from ..sections import TeacherConfig
from .counting import TokenCounter
from .journal import Journal
from .plan import Prompt
from .protocols import Completion


class Budget:
    """Counts responses, tokens and endpoint hours, and says when to stop.

    Args:
        journal ([`~hfdistill.teacher.journal.Journal`]): what was bought before; also keeps the endpoints' hours.
        teacher ([`~hfdistill.sections.TeacherConfig`]): limits and prices.
        endpoints (`int`): endpoints that run meanwhile.
        longest (`int`, *optional*, defaults to 0): tokens that a response may have.
    """

    def __init__(self, journal: Journal, teacher: TeacherConfig, endpoints: int, longest: int = 0):
        self._journal, self._endpoints, self._longest = journal, endpoints, longest
        self._counter = TokenCounter(teacher.model, longest)
        self._longest_prompt = 0
        self.max_requests, self.max_cost = teacher.max_requests, teacher.max_cost
        self._prices = (teacher.gpu_hour_price or 0.0, teacher.input_price or 0.0, teacher.output_price or 0.0)
        self.requests = sum(journal.counts().values())
        self._beside = journal.note("tokens_beside") or [0, 0]  # paid for, and in no row
        self.prompt_tokens, self.completion_tokens = (
            int(count) + more for count, more in zip(journal.tokens(), self._beside, strict=True)
        )
        self._earlier_seconds = journal.note("endpoint_seconds") or 0.0
        self._started = time.monotonic()

    @property
    def has_price(self) -> bool:
        """Whether a cost can be told."""
        return any(self._prices)

    @property
    def endpoint_seconds(self) -> float:
        """Seconds that endpoints ran for this journal, all of them together."""
        return self._earlier_seconds + self._endpoints * (time.monotonic() - self._started)

    @property
    def cost(self) -> float:
        """What was spent so far, in the currency of the prices."""
        hour, prompt, completion = self._prices
        tokens = (prompt * self.prompt_tokens + completion * self.completion_tokens) / 1e6
        return hour * self.endpoint_seconds / 3600 + tokens

    def counted(self, prompt: Prompt, completion: Completion) -> Completion:
        """A response with its tokens, where they cost something and its server does not count them."""
        return self._counter.counted(prompt, completion) if any(self._prices[1:]) else completion

    def count(self, completion: Completion) -> None:
        """Count a response that becomes a row."""
        self.requests += 1
        self._add(completion)

    def count_beside(self, completion: Completion) -> None:
        """Count a response that becomes none.

        Raises:
            [`~hfdistill.errors.HFDistillError`]: if that is all that may be spent.
        """
        tokens = self._add(completion)
        self._beside = [before + more for before, more in zip(self._beside, tokens, strict=True)]
        if self.max_cost is not None and self.cost > self.max_cost:
            self.save()
            raise HFDistillError(
                f"teacher.max_cost is {self.max_cost:g}, and finding out what the endpoint takes has cost "
                f"{self.cost:.3g}: raise it"
            )

    def take_in(self, completion: Completion) -> None:
        """Count a response that was counted beside the rows, and has become one."""
        tokens = completion.prompt_tokens or 0, completion.completion_tokens or 0
        self._beside = [before - less for before, less in zip(self._beside, tokens, strict=True)]
        self.requests += 1

    def _add(self, completion: Completion) -> tuple[int, int]:
        prompt_tokens, completion_tokens = completion.prompt_tokens or 0, completion.completion_tokens or 0
        self.prompt_tokens += prompt_tokens
        self.completion_tokens += completion_tokens
        self._longest_prompt = max(self._longest_prompt, prompt_tokens)
        return prompt_tokens, completion_tokens

    def exhausted(self, in_flight: int) -> bool:
        """Whether another request, beside those in flight, may go beyond what is allowed."""
        if self.max_requests is not None and self.requests + in_flight >= self.max_requests:
            return True
        if self.max_cost is None:
            return False
        _, prompt, completion = self._prices
        if in_flight and not self.requests:
            return True  # the first one tells what a prompt costs
        most = (prompt * self._longest_prompt + completion * self._longest) / 1e6
        each = max(most, self.cost / self.requests if self.requests else 0.0)
        return self.cost + each * (in_flight + 1) > self.max_cost

    def save(self) -> None:
        """Keep in the journal what no row tells: the endpoints' hours, and what was paid for beside the rows."""
        self._journal.set_note("tokens_beside", self._beside)
        self._journal.set_note("endpoint_seconds", round(self.endpoint_seconds, 3))

    def figures(self) -> dict[str, float]:
        """For manifest and card: `requests`, `prompt_tokens`, `completion_tokens`, `endpoint_hours`, `cost`."""
        figures = {
            "requests": self.requests,
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "endpoint_hours": round(self.endpoint_seconds / 3600, 4),
        }
        return {**figures, "cost": round(self.cost, 4)} if self.has_price else figures
