"""A stand-in for a TGI or OpenAI-style endpoint, with fixed latency, a limit, and faults on demand.

    python tests/teacher/standin.py '{"latency": 5, "limit": 128}'

prints its port. Answers depend on the prompt and the seed alone. `POST /control` changes settings while it runs,
`GET /control` tells what it saw. It is written on bare asyncio so that it costs less than the client it measures.
"""

import asyncio
import hashlib
import json
import random
import sys
import time
from collections import Counter
from contextlib import suppress
from dataclasses import asdict, dataclass, field

import orjson


TEXT_OF_FAULT = {
    429: {"error": "Model is overloaded", "error_type": "overloaded"},
    424: {"error": "Request failed during generation", "error_type": "generation"},
    500: {"error": "Incomplete generation", "error_type": "incomplete_generation"},
    503: {"error": "unhealthy", "error_type": "healthcheck"},
}
REASONS = {200: "OK", 302: "Found", 404: "Not Found", 422: "Unprocessable Entity", 429: "Too Many Requests"}


@dataclass
class Settings:
    kind: str = "tgi"  # or "openai"
    owned_by: str = "vllm"
    model: str = "stand-in/teacher"
    sha: str | None = "a" * 40
    latency: float = 0.0
    limit: int = 128
    rate: float | None = None  # a second, beyond a burst of as many; more is a 429
    retry_after: str | None = None  # header of it
    queues: bool = False  # what is beyond the limit waits instead of being refused
    told_limit: int | None = None  # what /info says, if not the truth
    headers: bool = True  # x-generated-tokens and the like
    greedy_only: bool = False
    always_drawn: bool = False
    token: str | None = None  # demanded in Authorization
    words: int = 8  # of an answer
    answer: str | None = None  # the same text always
    final: bool = True  # whether a text ends in a final answer
    refuse: str = ""  # prompts that hold this text are a 422
    faults: dict[str, float] = field(default_factory=dict)  # kind to probability
    fault_seed: int = 0
    hang_seconds: float = 3600.0
    down: bool = False  # every connection is dropped at once
    starting: int = 0  # status of everything while it loads
    redirect: str | None = None
    tell_seen: bool = False  # which completions were given, in /control
    refuse_status: int = 422
    refuse_after: int | None = None  # every request after so many completions
    refused_fields: list[str] = field(default_factory=list)  # of an OpenAI-style body
    refused_fields_status: int = 400
    exclusive_fields: list[str] = field(default_factory=list)  # of which a body may hold one
    largest_seed: int | None = None
    other_model: str = ""  # who answers instead
    other_after: int = 0  # completions
    other_share: float = 1.0
    fallback: bool = False  # a gateway's header tells of the other model, the body does not
    fingerprint: str | None = None
    thought: str = ""  # "beside" or "only" in a field of its own, "opened" in the prompt
    thought_field: str = "reasoning_content"
    odd: str = ""  # what is odd about the answers of an OpenAI-style server
    info_status: int = 404  # of /info, where it is no TGI
    prefix: str = "/v1"


class Endpoint:
    def __init__(self, settings: Settings):
        self.settings = settings
        self.random = random.Random(settings.fault_seed)
        self.active = self.most = 0
        self.seen: Counter = Counter()  # completions by key
        self.statuses: Counter = Counter()
        self.tokens: Counter = Counter()  # Authorization headers
        self.bodies: list[dict] = []
        self.answered = 0
        self.busy_seconds = self.changed = 0.0  # slots in use, summed over time
        self.slots = asyncio.Semaphore(settings.limit)
        self.bucket, self.filled = settings.rate or 0.0, time.monotonic()

    def too_often(self) -> bool:
        s, now = self.settings, time.monotonic()
        self.bucket, self.filled = min(s.rate, self.bucket + (now - self.filled) * s.rate), now
        taken = self.bucket >= 1
        self.bucket -= taken
        return not taken

    def occupy(self, change: int) -> None:
        now = time.monotonic()
        self.busy_seconds += self.active * (now - self.changed)
        self.changed = now
        self.active += change
        self.most = max(self.most, self.active)

    def control(self, body: bytes) -> dict:
        self.occupy(0)
        for name, value in (orjson.loads(body) if body else {}).items():
            setattr(self.settings, name, value)
        return {
            "settings": asdict(self.settings),
            "most": self.most,
            "answered": self.answered,
            "busy_seconds": self.busy_seconds,
            "at": self.changed,
            "twice": sum(count > 1 for count in self.seen.values()),
            "keys": len(self.seen),
            "statuses": {str(status): count for status, count in self.statuses.items()},
            "tokens": dict(self.tokens),
            "bodies": self.bodies,
            "seen": dict(self.seen) if self.settings.tell_seen else None,
        }

    def info(self) -> dict:
        s = self.settings
        return {
            "model_id": s.model,
            "model_sha": s.sha,
            "max_concurrent_requests": s.told_limit or s.limit,
            "max_total_tokens": 4096,
            "max_input_tokens": 3072,
            "version": "3.3.7",
        }

    def text(self, prompt: str, temperature: float, seed: int | None) -> str:
        s = self.settings
        if s.answer is not None:
            return s.answer
        drawn = s.always_drawn or (temperature > 0 and not s.greedy_only)
        if s.always_drawn or (drawn and seed is None):
            seed = self.random.randrange(2**40)
        digest = hashlib.blake2b(f"{prompt}|{seed if drawn else None}".encode(), digest_size=16).digest()
        words = " ".join(f"w{digest[index % 16]}" for index in range(s.words))
        # Four of five texts agree on an answer, so that a vote settles for most questions.
        agreed = digest if digest[1] % 5 == 0 else hashlib.blake2b(prompt.encode()).digest()
        final = f"The answer is {agreed[0] % 7}." if s.final else "That is all."
        return f"{words} {digest.hex()} {final}"

    def tgi(self, body: dict) -> tuple[int, dict, dict]:
        parameters = body.get("parameters") or {}
        if parameters.get("temperature", 1) <= 0:
            message = "Input validation error: `temperature` must be strictly positive"
            return 422, {"error": message, "error_type": "validation"}, {}
        drawn = parameters.get("do_sample") or parameters.get("temperature", 1.0) != 1.0
        text = self.text(body["inputs"], 1.0 if drawn else 0.0, parameters.get("seed"))
        stops = parameters.get("stop") or []
        text += f"\n{stops[0]}" if stops else ""
        count = len(text.split())
        content = {"generated_text": text}
        if parameters.get("details"):
            content["details"] = {
                "finish_reason": "stop_sequence" if stops else "eos_token",
                "generated_tokens": count,
                "seed": parameters.get("seed"),
                "prefill": [],
                "tokens": [{"id": 1, "text": word, "logprob": -0.1, "special": False} for word in text.split()],
            }
        numbers = {"x-prompt-tokens": str(len(body["inputs"].split())), "x-generated-tokens": str(count)}
        return 200, content, numbers if self.settings.headers else {}

    def openai(self, route: str, body: dict) -> tuple[int, dict, dict]:
        chat = route == "/v1/chat/completions"
        prompt = body["messages"][-1]["content"] if chat else body["prompt"]
        s = self.settings
        refused = s.refused_fields + [name for name in s.exclusive_fields if name in body][1:]
        wrong = next((name for name in refused if name in body), None)
        if wrong or (s.largest_seed is not None and body.get("seed", 0) > s.largest_seed):
            message = f"Unrecognized request argument supplied: {wrong or 'seed'}"
            return s.refused_fields_status, {"error": {"message": message}}, {}
        text = self.text(prompt, body.get("temperature", 1.0), body.get("seed"))
        choice = {"index": 0, "finish_reason": "stop", "stop_reason": (body.get("stop") or [None])[0]}
        message = {"role": "assistant", "content": text}
        if s.thought == "opened":  # every third is cut off before it comes to an end
            cut = len(text.encode()) % 3 == 0
            message["content"] = f"The answer is 0? {text}" + ("" if cut else f"</think>{text}")
            choice["finish_reason"] = "length" if cut else "stop"
        elif s.thought:
            message[s.thought_field] = f"Well, {text}"
            message["content"] = None if s.thought == "only" else text.partition("The")[1] + text.partition("The")[2]
            choice["finish_reason"] = "length" if s.thought == "only" else "stop"
        choice.update({"message": message} if chat else {"text": message["content"]})
        usage = {"prompt_tokens": len(prompt.split()), "completion_tokens": len(text.split())}
        other = s.other_model and self.answered >= s.other_after and self.random.random() < s.other_share
        content = {
            "model": s.other_model if other and not s.fallback else s.model,
            "choices": [choice],
            "usage": usage,
        }
        if s.odd == "usage_list":
            content["usage"] = [1]
        elif s.odd == "no_usage":
            del content["usage"]
        elif s.odd == "no_reason":
            del choice["finish_reason"]
        elif s.odd == "half_a_character":
            choice["text"] += " HALF"
        if s.fingerprint:
            content["system_fingerprint"] = s.fingerprint
        return 200, content, {"x-litellm-attempted-fallbacks": str(int(bool(other)))} if s.fallback else {}

    def fault(self) -> str | None:
        point = self.random.random()
        for kind, share in self.settings.faults.items():
            point -= share
            if point < 0:
                return kind
        return None


class Connection(asyncio.Protocol):
    def __init__(self, endpoint: Endpoint):
        self.endpoint, self.buffer, self.task = endpoint, b"", None

    def connection_made(self, transport) -> None:
        self.transport = transport
        if self.endpoint.settings.down:
            transport.abort()

    def connection_lost(self, error) -> None:
        if self.task:
            self.task.cancel()

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, found, rest = self.buffer.partition(b"\r\n\r\n")
        if not found:
            return
        lines = head.split(b"\r\n")
        headers = {name.strip().lower(): value.strip() for name, _, value in (x.partition(b":") for x in lines[1:])}
        length = int(headers.get(b"content-length", 0))
        if len(rest) < length:
            return
        self.buffer = rest[length:]
        method, route, _ = lines[0].decode().split(" ")
        self.handle(method, route, headers, rest[:length])

    def handle(self, method: str, route: str, headers: dict, body: bytes) -> None:
        endpoint, s = self.endpoint, self.endpoint.settings
        if route == "/control":
            self.send(200, endpoint.control(body))
            return
        token = headers.get(b"authorization", b"").decode()
        endpoint.tokens[token] += 1
        if s.down:
            self.transport.abort()
        elif s.starting:
            self.send(s.starting, {"error": "loading"})
        elif s.redirect:
            self.send(302, {}, {"Location": s.redirect + route})
        elif s.token and token != f"Bearer {s.token}":
            self.send(401, {"error": "unauthorized"})
        elif s.kind != "tgi" and route == "/info":
            self.send(s.info_status, {"message": "Missing Authentication Token"})
        elif method == "GET":
            route = "/v1" + route.removeprefix(s.prefix) if route.startswith(s.prefix) else route
            models = {"data": [{"id": s.model, "object": "model", "owned_by": s.owned_by}]}
            known = {"/info": endpoint.info()} if s.kind == "tgi" else {"/version": {"version": "0.20.1"}}
            if s.owned_by == "llamacpp":
                known = {"/props": {"build_info": "b1", "total_slots": s.limit}}
            known.update({"/health": {}, "/v1/models": models})
            self.send(200, known[route]) if route in known else self.send(404, {"error": "not found"})
        elif endpoint.active >= s.limit and not s.queues:
            self.refuse(429)
        elif s.rate and endpoint.too_often():
            self.refuse(429, {"Retry-After": s.retry_after} if s.retry_after else None)
        else:
            if not s.queues:
                endpoint.occupy(1)
            route = "/v1" + route.removeprefix(s.prefix) if route.startswith(s.prefix) else route
            self.task = asyncio.get_running_loop().create_task(self.complete(route, orjson.loads(body)))

    def refuse(self, status: int, headers: dict | None = None) -> None:
        self.endpoint.statuses[status] += 1
        self.send(status, TEXT_OF_FAULT[status], headers)

    async def complete(self, route: str, body: dict) -> None:
        endpoint, s = self.endpoint, self.endpoint.settings
        if s.queues:
            await endpoint.slots.acquire()
            asyncio.current_task().add_done_callback(lambda _: endpoint.slots.release())
            endpoint.occupy(1)
        fault = endpoint.fault()
        try:
            await asyncio.sleep(s.hang_seconds if fault == "hang" else s.latency)
        finally:
            endpoint.occupy(-1)
            self.task = None
        if len(endpoint.bodies) < 200:
            endpoint.bodies.append({"route": route, **body})
        if fault is not None:
            endpoint.statuses[fault] += 1
            self.misbehave(fault)
            return
        prompt = body.get("inputs") or body.get("prompt") or (body.get("messages") or [{"content": ""}])[-1]["content"]
        done = s.refuse_after is not None and endpoint.answered >= s.refuse_after
        if done or (s.refuse and s.refuse in prompt):
            message = "Input validation error: `inputs` must have less than 3072 tokens"
            endpoint.statuses[s.refuse_status] += 1
            self.send(s.refuse_status, {"error": message, "error_type": "validation"})
            return
        status, content, numbers = endpoint.tgi(body) if route == "/generate" else endpoint.openai(route, body)
        if status == 200:
            parameters = body.get("parameters") or body
            endpoint.answered += 1
            endpoint.seen[f"{prompt}|{parameters.get('temperature') or 0}|{parameters.get('seed')}"] += 1
        endpoint.statuses[status] += 1
        self.send(status, content, numbers)

    def misbehave(self, fault: str) -> None:
        whole = (
            b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 4000\r\n\r\n{"generated_text": "cut'
        )
        if fault.isdigit():
            self.send(int(fault), TEXT_OF_FAULT[int(fault)])
        elif fault == "reset":
            self.transport.write(whole)
            asyncio.get_running_loop().call_later(0.01, self.transport.abort)
        elif fault == "truncated":
            self.raw(b'{"generated_text": "cut', "application/json")
        elif fault == "invalid":
            self.raw(b"\xff\xfe not json", "application/json")
        elif fault == "array":
            self.raw(b'[{"generated_text": "in a list"}]', "application/json")
        elif fault == "shape":
            self.raw(b'{"text": "elsewhere"}', "application/json")
        elif fault == "null":
            self.raw(b'{"generated_text": null, "details": {}}', "application/json")
        elif fault == "type":
            self.raw(b'{"generated_text": "as text"}', "text/plain")
        elif fault == "html":
            self.raw(b"<html><body>502 Bad Gateway</body></html>", "text/html", 502)
        elif fault == "page":
            self.raw(b"<html><body>Welcome</body></html>", "text/html")
        elif fault == "large":
            self.send(200, {"generated_text": "x" * 2_000_000})
        else:  # an answer after a hang
            self.send(200, {"generated_text": "late"})

    def send(self, status: int, content: dict, headers: dict | None = None) -> None:
        self.raw(orjson.dumps(content).replace(b"HALF", b"\\ud83d"), "application/json", status, headers)

    def raw(self, body: bytes, kind: str, status: int = 200, headers: dict | None = None) -> None:
        lines = [
            f"HTTP/1.1 {status} {REASONS.get(status, 'X')}",
            f"Content-Type: {kind}",
            f"Content-Length: {len(body)}",
        ]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        self.transport.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)


async def serve(settings: Settings, port: int) -> None:
    endpoint = Endpoint(settings)
    server = await asyncio.get_running_loop().create_server(
        lambda: Connection(endpoint), "127.0.0.1", port, backlog=4096, reuse_address=True
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    import uvloop

    chosen = json.loads(sys.argv[1]) if len(sys.argv) > 1 else {}
    port = chosen.pop("port", 0)
    with suppress(KeyboardInterrupt):
        uvloop.run(serve(Settings(**chosen), port))
