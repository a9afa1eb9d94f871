"""What is kept of a request: what was answered, or why nothing was."""

from .endpoints import Endpoint
from .journal import FAILED, PARKED, Response
from .plan import Request
from .protocols import Completion


def answered(endpoint: Endpoint, request: Request, completion: Completion, model: str | None = None) -> Response:
    """A row of an answer; `model` is who gave it, where that is another than the run's. The fingerprint of the system
    stands behind its engine.
    """
    return Response(
        *_key(request),
        text=completion.text,
        finish_reason=completion.finish_reason,
        prompt_tokens=completion.prompt_tokens,
        completion_tokens=completion.completion_tokens,
        seed=endpoint.identity.protocol.seed(request.seed),
        source=endpoint.url,
        engine=f"{endpoint.identity.engine} {completion.fingerprint or ''}".rstrip(),
        thought=completion.thought,
        model=model,
        counted_by=completion.counted_by,
    )


def refused(endpoint: Endpoint, request: Request, reason: str) -> Response:
    """A row of a request that was refused for good."""
    return _without(endpoint, request, FAILED, reason)


def parked(endpoint: Endpoint, request: Request, reason: str) -> Response:
    """A row of a request that went wrong at every try."""
    return _without(endpoint, request, PARKED, reason)


def _without(endpoint: Endpoint, request: Request, status: str, reason: str) -> Response:
    seed, engine = endpoint.identity.protocol.seed(request.seed), endpoint.identity.engine
    return Response(*_key(request), seed=seed, status=status, reason=reason, source=endpoint.url, engine=engine)


def _key(request: Request) -> tuple[str, float, int]:
    return request.question_id, request.temperature, request.sample
