"""TGI's own routes."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from .bodies import GenerateRequest, chat_request, generate_request
from .chat import render
from .engine import Token
from .errors import ServeError, UnhealthyError, ValidationError
from .service import Finished, Service
from .validation import Job, check_best_of


async def generate(request: Request) -> Response:
    """`POST /generate`."""
    service: Service = request.app.state.service
    return await _generate(service, request, generate_request(await service.body(request)), wrap=False)


async def root(request: Request) -> Response:
    """`POST /`: the same in a list, or a stream. `GET /`: health."""
    if request.method != "POST":
        return await health(request)
    service: Service = request.app.state.service
    wanted = generate_request(await service.body(request))
    if wanted.stream:
        return _stream(service, wanted)
    return await _generate(service, request, wanted, wrap=True)


async def generate_stream(request: Request) -> Response:
    """`POST /generate_stream`."""
    service: Service = request.app.state.service
    return _stream(service, generate_request(await service.body(request)))


async def _generate(service: Service, request: Request, wanted: GenerateRequest, wrap: bool) -> Response:
    arrived = time.monotonic()
    responses = await service.answer(request, lambda: _responses(service, wanted))
    best = max(responses, key=lambda response: response.mean_logprob) if len(responses) > 1 else responses[0]
    before = wanted.inputs if wanted.parameters.return_full_text else ""
    body: dict[str, Any] = {"generated_text": before + best.text}
    if wanted.parameters.details or wanted.parameters.decoder_input_details:
        body["details"] = _details(service, best)
        if len(responses) > 1:
            body["details"]["best_of_sequences"] = [
                {"generated_text": before + other.text, **_details(service, other)}
                for other in responses
                if other is not best
            ]
    total = time.monotonic() - arrived
    headers = {
        "x-compute-type": service.info["model_device_type"],
        "x-compute-time": _milliseconds(total),
        "x-compute-characters": str(len(wanted.inputs)),
        "x-total-time": _milliseconds(total),
        "x-prompt-tokens": str(len(best.job.prompt_ids)),
        "x-generated-tokens": str(best.tokens),
        "x-validation-time": _milliseconds(best.validation),
        "x-queue-time": _milliseconds(best.queue),
        "x-inference-time": _milliseconds(best.inference),
        "x-time-per-token": _milliseconds(best.inference / best.tokens),
    }
    return Response(orjson.dumps([body] if wrap else body), headers=headers, media_type="application/json")


def _milliseconds(seconds: float) -> str:
    return str(int(seconds * 1000))


async def _responses(service: Service, wanted: GenerateRequest) -> list[Finished]:
    def one():
        return service.generate(wanted.inputs, wanted.parameters, special_tokens=wanted.add_special_tokens)

    best_of = wanted.parameters.best_of or 1
    if best_of == 1:
        return [await one()]
    check_best_of(best_of, service.limits)
    responses = await asyncio.gather(*(one() for _ in range(best_of)), return_exceptions=True)
    for response in responses:
        if isinstance(response, BaseException):
            raise response
    return responses


def _details(service: Service, response: Finished) -> dict[str, Any]:
    job, done = response.job, response.done
    pieces = service.text.pieces(job.prompt_ids)
    tokens = [
        {
            "id": token,
            "text": pieces.add(token),
            "logprob": likelihood.logprob,
            "special": service.text.is_special(token),
        }
        for token, likelihood in zip(done.token_ids, done.likelihoods, strict=True)
    ]
    details = {
        "finish_reason": done.finish_reason,
        "generated_tokens": response.tokens,
        "seed": job.seed,
        "prefill": _prefill(service, response) if job.prompt_likelihood else [],
        "tokens": tokens,
    }
    if job.top_tokens:
        details["top_tokens"] = [top_tokens(service, likelihood.top) for likelihood in done.likelihoods]
    return details


def _prefill(service: Service, response: Finished) -> list[dict[str, Any]]:
    pieces = service.text.pieces([])
    return [
        {"id": token, "text": pieces.add(token), "logprob": likelihood and likelihood.logprob}
        for token, likelihood in zip(response.job.prompt_ids, [None, *response.done.prompt], strict=True)
    ]


def top_tokens(service: Service, top: list[tuple[int, float]]) -> list[dict[str, Any]]:
    """The most likely tokens with their texts."""
    return [
        {
            "id": token,
            "text": service.text.pieces([]).add(token),
            "logprob": logprob,
            "special": service.text.is_special(token),
        }
        for token, logprob in top
    ]


def _stream(service: Service, wanted: GenerateRequest) -> Response:
    headers = {
        "x-compute-type": service.info["model_device_type"],
        "x-compute-characters": str(len(wanted.inputs)),
        "x-accel-buffering": "no",
        "cache-control": "no-cache",
    }
    return StreamingResponse(_events(service, wanted), headers=headers, media_type="text/event-stream")


async def _events(service: Service, wanted: GenerateRequest) -> AsyncIterator[bytes]:
    try:
        # The status is sent already, so a refusal comes as an event.
        if (wanted.parameters.best_of or 1) != 1:
            raise ValidationError("`best_of` != 1 is not supported when streaming tokens")
        if wanted.parameters.decoder_input_details:
            raise ValidationError("`decoder_input_details` == true is not supported when streaming tokens")
        pending: dict[str, Any] | None = None
        pieces, index = None, 0
        async for event in service.stream(wanted.inputs, wanted.parameters, special_tokens=wanted.add_special_tokens):
            if isinstance(event, Job):
                pieces = service.text.pieces(event.prompt_ids)
            elif isinstance(event, Token):
                if pending is not None:
                    yield sse(pending)
                index += 1
                pending = {
                    "index": index,
                    "token": {
                        "id": event.token,
                        "text": pieces.add(event.token),
                        "logprob": event.likelihood.logprob,
                        "special": service.text.is_special(event.token),
                    },
                    "generated_text": None,
                    "details": None,
                }
                if event.likelihood.top:
                    pending["top_tokens"] = top_tokens(service, event.likelihood.top)
            else:
                before = wanted.inputs if wanted.parameters.return_full_text else ""
                pending["generated_text"] = before + event.text
                if wanted.parameters.details:
                    pending["details"] = {
                        "finish_reason": event.done.finish_reason,
                        "generated_tokens": event.tokens,
                        "seed": event.job.seed,
                        "input_length": len(event.job.prompt_ids),
                    }
                yield sse(pending)
    except ServeError as error:
        yield b"data:" + error.body() + b"\n\n"


def sse(value: Any) -> bytes:
    """A server-sent event."""
    return b"data:" + orjson.dumps(value) + b"\n\n"


async def info(request: Request) -> Response:
    """`GET /info`."""
    return json(request.app.state.service.info)


async def health(request: Request) -> Response:
    """`GET /health` and `/ping`."""
    return Response() if request.app.state.service.backend.alive else UnhealthyError().response()


async def metrics(request: Request) -> Response:
    """`GET /metrics`."""
    service: Service = request.app.state.service
    text = service.metrics.text(service.backend.load)
    return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")


async def tokenize(request: Request) -> Response:
    """`POST /tokenize`."""
    service: Service = request.app.state.service
    wanted = generate_request(await service.body(request))
    return json(service.text.spans(wanted.inputs, wanted.add_special_tokens))


async def chat_tokenize(request: Request) -> Response:
    """`POST /chat_tokenize`."""
    service: Service = request.app.state.service
    templated = render(service.text.tokenizer, chat_request(await service.body(request)))
    return json({"tokenize_response": service.text.spans(templated, False), "templated_text": templated})


def json(value: Any) -> Response:
    """A JSON response."""
    return Response(orjson.dumps(value), media_type="application/json")
