import asyncio
import json
import os

import pytest

from hfdistill.errors import HFDistillError
from hfdistill.teacher.transport import (
    Busy,
    Faulty,
    Gone,
    Rejected,
    Transport,
    authorization,
    base_url,
    proxy_of,
    redacted,
)


@pytest.fixture
def hub_token(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://host:8080/", "http://host:8080"),
        ("http://host/generate", "http://host"),
        ("https://router.huggingface.co/v1", "https://router.huggingface.co"),
        ("https://host/v1/chat/completions", "https://host"),
        ("https://host/team/model/v1/", "https://host/team/model"),
        ("https://host/v1beta/openai/", "https://host/v1beta/openai"),
        ("https://host/api/paas/v4/chat/completions", "https://host/api/paas/v4"),
    ],
)
def test_a_route_that_was_copied_along_is_dropped(url, expected):
    assert base_url(url) == expected


@pytest.mark.parametrize("url", ["host:8080", "ftp://host", "", "http://"])
def test_what_is_no_url_is_refused(url):
    with pytest.raises(HFDistillError, match="is no URL"):
        base_url(url)


@pytest.mark.parametrize(
    ("url", "sent"),
    [
        ("https://huggingface.co", True),
        ("https://router.huggingface.co", True),
        ("https://abc.us-east-1.aws.endpoints.huggingface.cloud", True),
        ("http://router.huggingface.co", False),
        ("https://huggingface.co.example.org", False),
        ("https://evilhuggingface.co", False),
        ("https://someone.hf.space", False),
        ("http://127.0.0.1:8080", False),
    ],
)
def test_the_saved_token_goes_to_hugging_face_by_https_only(hub_token, url, sent):
    assert authorization(url, None) == ("Bearer hf_secret" if sent else None)


def test_a_configured_token_goes_where_it_was_configured(hub_token, monkeypatch):
    monkeypatch.setenv("TEACHER_KEY", "key")
    assert authorization("http://127.0.0.1:8080", "TEACHER_KEY") == "Bearer key"
    with pytest.raises(HFDistillError, match="OTHER_KEY"):
        authorization("http://127.0.0.1:8080", "OTHER_KEY")


def test_proxies_are_those_of_the_environment_but_never_for_loopback(monkeypatch):
    monkeypatch.setenv("https_proxy", "http://proxy:3128")
    monkeypatch.setenv("http_proxy", "http://proxy:3128")
    monkeypatch.setenv("no_proxy", "inside.example.org")
    assert proxy_of("https://huggingface.co") == "http://proxy:3128"
    assert proxy_of("http://127.0.0.1:80") is None
    assert proxy_of("https://inside.example.org") is None


@pytest.mark.parametrize(
    ("variables", "url", "proxy"),
    [
        ({"ALL_PROXY": "http://p:3128"}, "https://host", "http://p:3128"),
        ({"ALL_PROXY": "http://p:1", "https_proxy": "http://p:2"}, "https://host", "http://p:2"),
        ({"http_proxy": "p:3128"}, "http://host", "http://p:3128"),
        ({"ALL_PROXY": "http://p:3128", "NO_PROXY": "10.0.0.0/8,host"}, "http://10.1.2.3", None),
        ({"ALL_PROXY": "http://p:3128", "NO_PROXY": "10.0.0.0/8,host"}, "http://11.1.2.3", "http://p:3128"),
        ({"ALL_PROXY": "http://p:3128"}, "http://127.0.0.2:80", None),
        ({"ALL_PROXY": "http://p:3128"}, "http://localhost:80", None),
        ({"ALL_PROXY": "http://p:3128"}, "http://[::1]:80", None),
    ],
)
def test_proxies_of_every_spelling(monkeypatch, variables, url, proxy):
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert proxy_of(url) == proxy


def test_a_proxy_of_another_kind_is_refused_without_its_password(monkeypatch):
    monkeypatch.setenv("all_proxy", "socks5://me:secret@p:1080")
    with pytest.raises(HFDistillError, match="a socks5 proxy, p:1080, for host: give an HTTP proxy in HTTP_PROXY"):
        proxy_of("http://host")


def exchange(url, token=None, timeout=5.0, route="/generate", **options):
    async def work():
        transport = Transport(url, token, timeout, **options)
        try:
            if route == "/generate":
                return await transport.post(route, {"inputs": "Q: 1", "parameters": {}})
            return await transport.get(route)
        finally:
            await transport.close()

    return asyncio.run(work())


def test_no_token_is_on_the_wire_unless_configured(stand_in, hub_token):
    endpoint = stand_in()
    exchange(endpoint.url, authorization(endpoint.url, None))
    assert endpoint.control()["tokens"] == {"": 1}
    exchange(endpoint.url, "Bearer key")
    assert endpoint.control()["tokens"] == {"": 1, "Bearer key": 1}


def test_a_redirect_is_not_followed_and_takes_no_token_along(stand_in):
    elsewhere = stand_in()
    endpoint = stand_in(redirect=elsewhere.url)
    with pytest.raises(Gone, match="302"):
        exchange(endpoint.url, "Bearer key")
    assert elsewhere.control()["tokens"] == {}


@pytest.mark.parametrize(
    ("fault", "kind", "message"),
    [
        ("429", Busy, "overloaded"),
        ("503", Busy, "unhealthy"),
        ("500", Faulty, "Incomplete generation"),
        ("424", Faulty, "during generation"),
        ("reset", Faulty, "broke off"),
        ("truncated", Faulty, "invalid JSON"),
        ("invalid", Faulty, "invalid JSON"),
        ("array", Faulty, "list instead of an object"),
        ("type", Faulty, "'text/plain' instead of JSON"),
        ("html", Faulty, "502"),
        ("page", Faulty, "'text/html' instead of JSON"),
        ("large", Faulty, "more than 1048576 bytes"),
    ],
)
def test_each_trouble_has_its_kind(stand_in, fault, kind, message):
    endpoint = stand_in(faults={fault: 1.0})
    with pytest.raises(kind, match=message):
        exchange(endpoint.url)


def test_an_answer_that_never_comes_is_a_fault(stand_in):
    endpoint = stand_in(faults={"hang": 1.0})
    with pytest.raises(Faulty, match=r"did not answer within 0.3 s"):
        exchange(endpoint.url, timeout=0.3)


def test_nobody_there_is_gone(stand_in):
    endpoint = stand_in()
    endpoint.kill()
    with pytest.raises(Gone, match="cannot be reached"):
        exchange(endpoint.url)


def test_a_wrong_token_is_gone_and_a_wrong_request_rejected(stand_in):
    endpoint = stand_in(token="right", refuse="Q: 1")
    with pytest.raises(Gone, match="401"):
        exchange(endpoint.url, "Bearer wrong")
    with pytest.raises(Rejected, match="Input validation error"):
        exchange(endpoint.url, "Bearer right")


def test_an_answer_just_below_the_bound_is_read(stand_in):
    endpoint = stand_in(faults={"large": 1.0})
    answer = exchange(endpoint.url, largest=2_100_000)
    assert len(json.dumps(answer.content)) > 2_000_000


def test_no_parameters_in_a_url():
    with pytest.raises(HFDistillError, match=r"endpoint at teacher.example holds parameters behind a '\?'") as refused:
        base_url("https://teacher.example/v1?api_key=secret")
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("Incorrect API key provided: sk-abcd1234efgh", "Incorrect API key provided: …"),
        ("via http://me:pw@proxy:3128 failed", "via http://… failed"),
        ("header Bearer abc.def is wrong", "header Bearer … is wrong"),
        ("the task-specific prompt", "the task-specific prompt"),
        ("upstream http://tgi-7:8080/generate is down", "upstream http://…/generate is down"),
        ("no route to 10.2.0.17:8000 or 172.20.1.2", "no route to … or …"),
        ("host teacher.svc.cluster.local:80 and db.internal", "host … and …"),
        (
            "see https://platform.openai.com/docs, version 10.1.2",
            "see https://platform.openai.com/docs, version 10.1.2",
        ),
    ],
)
def test_the_words_of_others_are_kept_without_their_secrets(said, kept):
    assert redacted(said) == kept


def test_no_password_in_a_url():
    with pytest.raises(HFDistillError, match="endpoint at teacher.example holds a user name or password") as refused:
        base_url("https://me:secret@teacher.example/v1")
    assert "secret" not in str(refused.value)
