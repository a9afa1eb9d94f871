import asyncio
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from hfdistill.errors import HFDistillError
from hfdistill.teacher.endpoints import Endpoint, Identity, same_model
from hfdistill.teacher.plan import Request
from hfdistill.teacher.probing import Probing
from hfdistill.teacher.protocols import CHAT, COMPLETIONS, TGI, Decoding, Protocol
from hfdistill.teacher.session import prepare


PROMPT = "Q: What is 1 + 1?\nA:"


def use(url, work, decoding=None, patience=5.0, **options):
    async def run():
        endpoint = Endpoint(url, decoding or Decoding(64, ("\nQ:",)), **options)
        try:
            await prepare([endpoint], patience)
            return await work(endpoint)
        finally:
            await endpoint.close()

    return asyncio.run(run())


async def identity(endpoint):
    return endpoint.identity


async def probe(endpoint):
    probing = Probing(endpoint)
    asked = [Request("q", PROMPT, 0.0, 0, None), Request("q", PROMPT, 1.0, 4, 2**52)]
    await probing.check_temperature(await probing.find_accepted([asked]), drawn=True)
    probing.settle()


async def probed(endpoint):
    await probe(endpoint)
    return endpoint.identity


async def responses(endpoint):
    await probe(endpoint)
    return [
        await endpoint.complete(PROMPT, temperature, seed) for temperature, seed in ((0, None), (1.0, 5), (1.0, 6))
    ]


def test_tgi_is_found_by_info(stand_in):
    found = use(stand_in(limit=77).url, identity)
    assert found.protocol.kind == TGI
    assert (found.model_id, found.model_sha, found.limit) == ("stand-in/teacher", "a" * 40, 77)
    assert found.engine == "tgi 3.3.7"


def test_chat_goes_to_the_route_that_renders_the_template(stand_in):
    endpoint = stand_in()
    found = use(endpoint.url, probed, chat=True)
    assert found.protocol.kind == CHAT
    assert {body["route"] for body in endpoint.control()["bodies"]} == {"/v1/chat/completions"}


@pytest.mark.parametrize(
    ("owned_by", "engine"), [("vllm", "vllm 0.20.1"), ("llamacpp", "llama.cpp b1"), ("someone", "openai")]
)
def test_openai_style_servers_are_found_by_their_models(stand_in, owned_by, engine):
    found = use(stand_in(kind="openai", owned_by=owned_by).url, identity, model="stand-in/teacher")
    assert found.protocol.kind == COMPLETIONS
    assert found.engine == engine


def test_llama_cpp_is_asked_for_as_many_at_once_as_it_has_slots(stand_in):
    found = use(stand_in(kind="openai", owned_by="llamacpp", limit=3).url, identity)
    assert (found.limit, found.engine) == (3, "llama.cpp b1")


def test_the_only_model_of_a_server_is_taken_and_several_are_not(stand_in):
    endpoint = stand_in(kind="openai", model="local-name")
    assert use(endpoint.url, identity, model="meta-llama/Llama-3.1-8B").model_id == "local-name"


@pytest.mark.parametrize("status", [308, 400, 403])
def test_gateways_that_know_no_info_are_asked_for_their_models(stand_in, status):
    found = use(stand_in(kind="openai", info_status=status).url, identity, chat=True)
    assert (found.protocol.kind, found.model_id) == (CHAT, "stand-in/teacher")


@pytest.mark.parametrize("prefix", ["/v1", "/v1beta/openai", "/v1/openai", "/api/paas/v4"])
def test_base_urls_as_their_owners_write_them(stand_in, prefix):
    endpoint = stand_in(kind="openai", prefix=prefix)
    for end in ("", "/", "/chat/completions"):
        assert len(use(endpoint.url + prefix + end, responses, chat=True)) == 3


@pytest.mark.parametrize("settings", [{}, {"kind": "openai"}, {"headers": False}])
@pytest.mark.parametrize("chat", [False, True])
def test_greedy_is_greedy_and_drawn_is_drawn(stand_in, settings, chat):
    endpoint = stand_in(**settings)
    greedy, first, second = use(endpoint.url, responses, chat=chat)
    assert len({greedy.text, first.text, second.text}) == 3
    assert "Q:" not in greedy.text
    assert greedy.completion_tokens == len(greedy.text.split()) + (settings.get("kind") != "openai" and not chat)


def test_details_are_only_asked_for_where_headers_do_not_count_tokens(stand_in):
    assert not use(stand_in().url, probed).protocol.details
    assert use(stand_in(headers=False).url, probed).protocol.details


@pytest.mark.parametrize("settings", [{"greedy_only": True}, {"always_drawn": True}])
@pytest.mark.parametrize("kind", ["tgi", "openai"])
def test_a_server_that_cannot_vary_the_temperature_is_refused(stand_in, settings, kind):
    endpoint = stand_in(kind=kind, **settings)
    with pytest.raises(HFDistillError, match=r"cannot vary the temperature from request to request"):
        use(endpoint.url, probed)


def test_the_probe_waits_for_a_busy_server(stand_in):
    assert use(stand_in(limit=2, latency=0.01).url, probed).limit == 2


def test_a_server_of_no_known_kind_is_refused(stand_in):
    endpoint = stand_in(kind="openai")
    with pytest.raises(HFDistillError, match="no /info as TGI has"):
        use(endpoint.url, identity, kind="tgi")


def test_an_unreachable_server_is_one_clear_error(stand_in):
    endpoint = stand_in()
    endpoint.kill()
    with pytest.raises(HFDistillError, match=rf"endpoint {endpoint.url} cannot be reached.*check the URL"):
        use(endpoint.url, identity)


@pytest.mark.parametrize("status", [503, 502])
def test_a_server_that_starts_is_waited_for(stand_in, status):
    endpoint = stand_in(starting=status)

    async def run():
        one = Endpoint(endpoint.url, Decoding(64))
        waiting = asyncio.ensure_future(prepare([one], 30.0))
        await asyncio.sleep(0.3)
        assert not waiting.done()
        await asyncio.to_thread(endpoint.control, starting=0)
        await waiting
        await one.close()
        return one.identity.model_id

    assert asyncio.run(run()) == "stand-in/teacher"


def test_a_server_that_starts_for_too_long_is_one_clear_error(stand_in):
    with pytest.raises(HFDistillError, match="answered 503: loading for 0.5 s"):
        use(stand_in(starting=503).url, identity, patience=0.5)


def test_nobody_waits_for_one_that_starts_when_another_is_ready(stand_in, capsys):
    urls = [stand_in().url, stand_in(starting=503).url]

    async def run():
        both = [Endpoint(url, Decoding(64)) for url in urls]
        await prepare(both, 600.0)
        await asyncio.gather(*(endpoint.close() for endpoint in both))
        return [endpoint.identity is not None for endpoint in both]

    assert asyncio.run(run()) == [True, False]
    assert "going on without it" in capsys.readouterr().err


def test_a_wrong_token_is_one_clear_error(stand_in):
    with pytest.raises(HFDistillError, match=r"401.*token"):
        use(stand_in(token="secret").url, identity)


def test_a_response_longer_than_the_server_allows_is_refused(stand_in):
    with pytest.raises(HFDistillError, match=r"max_new_tokens is 4096.*takes 4096 tokens"):
        use(stand_in().url, identity, decoding=Decoding(4096))


def test_an_unknown_kind_is_refused_with_a_suggestion():
    with pytest.raises(HFDistillError, match="did you mean 'openai_chat'"):
        Endpoint("http://127.0.0.1:1", Decoding(8), kind="openai-chat")


def test_endpoints_of_one_run_serve_one_model():
    one = Identity(Protocol(TGI, "tgi", "a"), "a", "sha")
    other = Identity(Protocol(TGI, "tgi", "b"), "b", "sha")
    assert same_model({"x": one, "y": one})["model_id"] == "a"
    with pytest.raises(HFDistillError, match="differ in model_id: x says 'a', y says 'b'"):
        same_model({"x": one, "y": other})


def test_transformers_serve_is_known_by_its_own_route():
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_error(405 if self.path == "/load_model" else 404)

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        found = use(f"http://127.0.0.1:{server.server_port}", identity, model="org/model")
        server.shutdown()
    assert (found.engine, found.model_id) == ("transformers serve", "org/model")
