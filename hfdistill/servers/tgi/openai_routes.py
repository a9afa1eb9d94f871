"""The routes under `/v1`, as TGI answers them."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from ... import __version__
from .bodies import ChatRequest, CompletionRequest, Parameters, chat_request, completion_request
from .chat import render
from .echo import completion_choice
from .engine import Token
from .errors import ServeError, ValidationError
from .native_routes import json, sse, top_tokens
from .service import Finished, Service
from .validation import Job


_DONE = b"data: [DONE]\n\n"
_REASONS = {"eos_token": "stop", "stop_sequence": "stop", "length": "length"}


async def models(request: Request) -> Response:
    """`GET /v1/models`."""
    name = request.app.state.service.info["model_id"]
    return json({"object": "list", "data": [{"id": name, "object": "model", "created": 0, "owned_by": name}]})


def _head(service: Service, kind: str) -> dict[str, Any]:
    return {
        "id": "",
        "object": kind,
        "created": int(time.time()),
        "model": service.info["model_id"],
        "system_fingerprint": f"{__version__}-hfdistill",
    }


def _usage(prompt: int, completion: int) -> dict[str, int]:
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


async def chat_completions(request: Request) -> Response:
    """`POST /v1/chat/completions`."""
    service: Service = request.app.state.service
    wanted = chat_request(await service.body(request))
    prompt = render(service.text.tokenizer, wanted)
    parameters = _of_each(service, wanted.parameters, wanted.n)
    if wanted.stream:
        if wanted.n > 1:
            raise ValidationError("`n` > 1 is not supported when streaming a chat")
        return StreamingResponse(_chat_events(service, prompt, wanted), media_type="text/event-stream")
    responses = await _all(service, request, [(prompt, each) for each in parameters], special_tokens=False)
    choices = [
        {
            "index": index,
            "message": {"role": "assistant", "content": _visible(service, response)},
            "logprobs": _logprobs(service, response) if wanted.logprobs else None,
            "finish_reason": _REASONS[response.done.finish_reason],
        }
        for index, response in enumerate(responses)
    ]
    return json({**_head(service, "chat.completion"), "choices": choices, "usage": _usage_of(responses, wanted.n)})


def _of_each(service: Service, parameters: Parameters, n: int) -> list[Parameters]:
    """The parameters of `n` responses to one prompt, whose seeds count up from the one given."""
    most = service.limits.max_concurrent_requests
    if not 0 < n <= most:
        raise ValidationError(f"`n` must be > 0 and <= {most}. Given: {n}")
    if parameters.seed is None:
        return [parameters] * n
    return [replace(parameters, seed=(parameters.seed + index) % 2**64) for index in range(n)]


async def _all(
    service: Service, request: Request, asked: list[tuple[str | list[int], Parameters]], special_tokens: bool
) -> list[Finished]:
    """The responses to all prompts, or the first refusal."""

    async def work() -> list[Finished | BaseException]:
        return await asyncio.gather(
            *(service.generate(*each, special_tokens=special_tokens) for each in asked), return_exceptions=True
        )

    responses = await service.answer(request, work)
    for response in responses:
        if isinstance(response, BaseException):
            raise response
    return responses


def _usage_of(responses: list[Finished], n: int) -> dict[str, int]:
    """A prompt counts once, however many responses to it there are."""
    prompt = sum(len(response.job.prompt_ids) for response in responses) // n
    return _usage(prompt, sum(response.tokens for response in responses))


def _visible(service: Service, response: Finished) -> str:
    """A message starts at its first word, whatever stands between words."""
    return response.text.removeprefix(" ")


def _logprobs(service: Service, response: Finished) -> dict[str, Any]:
    pieces = service.text.pieces(response.job.prompt_ids)
    return {
        "content": [
            _logprob(service, pieces.add(token), likelihood)
            for token, likelihood in zip(response.done.token_ids, response.done.likelihoods, strict=True)
        ]
    }


def _logprob(service: Service, text: str, likelihood) -> dict[str, Any]:
    top = [{"token": token["text"], "logprob": token["logprob"]} for token in top_tokens(service, likelihood.top)]
    return {"token": text, "logprob": likelihood.logprob, "top_logprobs": top}


async def _chat_events(service: Service, prompt: str, wanted: ChatRequest) -> AsyncIterator[bytes]:
    head = _head(service, "chat.completion.chunk")
    usage = {"usage": None} if wanted.include_usage else {}

    def chunk(delta: dict[str, Any], logprobs: dict | None = None, reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": reason}
        return sse({**head, "choices": [choice], **usage})

    try:
        started = False
        async for event in service.stream(prompt, wanted.parameters, special_tokens=False):
            if isinstance(event, Job):
                pieces = service.text.pieces(event.prompt_ids)
            elif isinstance(event, Token):
                piece = pieces.add(event.token)
                text = "" if service.text.is_special(event.token) else piece
                logprobs = {"content": [_logprob(service, piece, event.likelihood)]} if wanted.logprobs else None
                yield chunk({"role": "assistant", "content": text if started else text.removeprefix(" ")}, logprobs)
                started = True
            else:
                yield chunk({"role": "assistant", "content": ""}, reason=_REASONS[event.done.finish_reason])
                if wanted.include_usage:
                    total = _usage(len(event.job.prompt_ids), event.tokens)
                    yield sse({**head, "choices": [], "usage": total})
    except ServeError as error:
        yield _error_event(error)
    yield _DONE


def _error_event(error: ServeError) -> bytes:
    return b"data: " + orjson.dumps({"error": {"message": str(error), "http_status_code": error.status}}) + b"\n\n"


async def completions(request: Request) -> Response:
    """`POST /v1/completions`."""
    service: Service = request.app.state.service
    wanted = completion_request(await service.body(request))
    if wanted.suffix is not None:
        raise ValidationError("Suffix is not supported and can be achieved by preprocessing the prompt.")
    if len(wanted.prompts) > service.limits.max_client_batch_size:
        raise ValidationError(
            f"Number of prompts exceeds the maximum allowed batch size of {service.limits.max_client_batch_size}"
        )
    parameters = _of_each(service, wanted.parameters, wanted.n)
    asked = [(prompt, each) for prompt in wanted.prompts for each in parameters]
    if wanted.stream:
        if wanted.echo or wanted.logprobs:
            raise ValidationError("`echo` and `logprobs` are not supported when streaming completions")
        return StreamingResponse(_completion_events(service, asked, wanted), media_type="text/event-stream")
    responses = await _all(service, request, asked, special_tokens=True)
    choices = [
        {"index": index, **completion_choice(service.text, prompt, response, wanted), "finish_reason": reason}
        for index, ((prompt, _), response) in enumerate(zip(asked, responses, strict=True))
        for reason in [_REASONS[response.done.finish_reason] if wanted.drawn else "length"]
    ]
    usage = _usage_of(responses, wanted.n)
    if not wanted.drawn:
        usage = _usage(usage["prompt_tokens"], 0)
    return json({**_head(service, "text_completion"), "choices": choices, "usage": usage})


async def _completion_events(
    service: Service, asked: list[tuple[str | list[int], Parameters]], wanted: CompletionRequest
) -> AsyncIterator[bytes]:
    head = _head(service, "text_completion")
    queue: asyncio.Queue[bytes | Finished | None] = asyncio.Queue()
    usage = {"usage": None} if wanted.include_usage else {}

    async def one(index: int, prompt: str | list[int], parameters: Parameters) -> None:
        def chunk(text: str, reason: str | None = None) -> bytes:
            choice = {"index": index, "text": text, "logprobs": None, "finish_reason": reason}
            return sse({**head, "choices": [choice], **usage})

        try:
            async for event in service.stream(prompt, parameters):
                if isinstance(event, Job):
                    pieces = service.text.pieces(event.prompt_ids)
                elif isinstance(event, Token):
                    text = pieces.add(event.token)
                    queue.put_nowait(chunk("" if service.text.is_special(event.token) else text))
                else:
                    queue.put_nowait(chunk("", _REASONS[event.done.finish_reason]))
                    queue.put_nowait(event)
        except ServeError as error:
            queue.put_nowait(_error_event(error))
        finally:
            queue.put_nowait(None)

    tasks = [asyncio.ensure_future(one(index, *each)) for index, each in enumerate(asked)]
    running, prompt_tokens, completion_tokens = len(tasks), 0, 0
    try:
        while running:
            item = await queue.get()
            if item is None:
                running -= 1
            elif isinstance(item, Finished):
                prompt_tokens += len(item.job.prompt_ids)
                completion_tokens += item.tokens
            else:
                yield item
        if wanted.include_usage:
            yield sse({**head, "choices": [], "usage": _usage(prompt_tokens // wanted.n, completion_tokens)})
        yield _DONE
    finally:
        for task in tasks:
            task.cancel()
