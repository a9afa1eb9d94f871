"""What an endpoint is looked at for beside the requests of a run: which model it serves, and what it refuses."""

from dataclasses import replace

from ..errors import HFDistillError
from .endpoints import Identity
from .journal import DONE, Journal
from .limits import Lane
from .plan import Plan, Prompt
from .transport import Rejected
from .writer import Writer


TOKENS = 16  # of an answer that only shows that there is one


class Checks:
    """Looks at endpoints while a run asks them.

    Args:
        lanes (`list[Lane]`): of all endpoints of the run.
        journal ([`~hfdistill.teacher.journal.Journal`]): where their responses are kept.
    """

    def __init__(self, lanes: list[Lane], journal: Journal):
        self._lanes, self._journal = lanes, journal
        self._expected: Identity | None = next(
            (lane.endpoint.identity for lane in lanes if lane.endpoint.identity), None
        )

    async def same_model(self, lane: Lane, writer: Writer) -> None:
        """Look at which model an endpoint serves.

        Raises:
            [`~hfdistill.teacher.transport.Trouble`]: if it cannot be asked.
            [`~hfdistill.errors.HFDistillError`]: if it is another than at the start.
        """
        position = self._journal.position()
        identity = await lane.endpoint.identify()
        if self._expected is None:
            self._expected = identity
        was, now = self._expected.fingerprint(), identity.fingerprint()
        if was != now and not identity.is_one_of(lane.endpoint.accept_models):
            await writer.flush()
            apart = self._journal.set_apart_after(lane.checked, lane.endpoint.url, identity.named)
            changes = [f"{name} was {was[name]!r} and is {now[name]!r}" for name in was if was[name] != now[name]]
            raise HFDistillError(
                f"endpoint {lane.endpoint.url} serves another model now: {'; '.join(changes)}. {apart} responses "
                "since the last look at it are set apart; serve the first model again and run the same command, which "
                f"asks for them again, or keep them by --teacher.accept_models {identity.named!r}"
            )
        if lane.endpoint.identity is None:
            lane.endpoint.identity = replace(identity, protocol=self._expected.protocol)
            lane.endpoint.answers_as = next((other.endpoint.answers_as for other in self._lanes), None)
            lane.reset()
        lane.checked = position

    async def refuses_all(self, lane: Lane, plan: Plan, writer: Writer) -> str | None:
        """Why an endpoint that refused one question after another refuses everything; `None` if it does not: what was
        answered before is asked for once more, in a few tokens.

        Raises:
            [`~hfdistill.teacher.transport.Trouble`]: if it does not answer.
        """
        latest = lane.held[-1][1]
        prompt = await self._answered(plan, writer)
        if prompt is None:
            return latest
        few = replace(lane.endpoint.decoding, max_new_tokens=min(TOKENS, lane.endpoint.decoding.max_new_tokens))
        try:
            await lane.endpoint.complete(prompt, plan.grid.cells[0].temperature, None, few)
        except Rejected as trouble:
            return str(trouble)
        return None

    async def _answered(self, plan: Plan, writer: Writer) -> Prompt | None:
        """A prompt of the plan that was answered at some time."""
        await writer.flush()
        for question in plan.questions:
            if DONE in self._journal.keys(question.question_id).values():
                return plan.of(question)[0].prompt
        return None
