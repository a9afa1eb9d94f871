"""The named calls, by Gradio's own client, on a page in this process."""

from dataclasses import fields

import httpx
import pytest
from gradio_client import Client

from hfdistill.space.app import launch
from hfdistill.space.filters import Look
from hfdistill.space.settings import Settings


@pytest.fixture(scope="module")
def client(tiny):
    page = launch(Settings(tiny), server_name="127.0.0.1", quiet=True)
    yield Client(page.local_url, verbose=False)
    page.close()


def test_no_part_of_an_address_is_taken_by_gradio(client):
    for part in fields(Look):
        assert httpx.get(client.src, params={part.name: "1"}).status_code == 200, part.name


def test_stored_answers_are_read(client):
    found = client.predict(count=2, api_name="/results")
    assert found["total"] == 5
    assert len(found["questions"]) == 2
    assert [answer["role"] for answer in found["questions"][0]["answers"]] == [
        "teacher",
        "student",
        "warmup",
        "policy",
    ]
    assert client.predict(filter="passed", api_name="/results")["total"] == 0


def test_a_question_is_compared_a_response_scored_and_the_best_found(client):
    question = client.predict(count=1, api_name="/results")["questions"][0]
    found = client.predict(question["question"], api_name="/compare")
    assert found["gold"] == question["gold"]
    assert [model["role"] for model in found["models"]] == ["teacher", "student", "warmup", "policy"]
    policy = found["models"][-1]["answers"][0]
    scored = client.predict(question["question"], policy["text"], api_name="/score")
    assert scored["answer"] == policy["answer"]
    ranked = client.predict(question["question"], samples=4, temperature=1.0, api_name="/best_of_n")
    scores = [answer["score"] for answer in ranked["answers"]]
    assert len(scores) == 4
    assert scores == sorted(scores, reverse=True)
    assert {"majority", "weighted"} <= set(ranked)


def test_mistakes_are_one_sentence(client):
    for arguments, name, message in (
        (("  ",), "/compare", "Type a question first"),
        (({"a": 1},), "/compare", "Type a question first"),
        (("pens " * 200_000,), "/compare", "too long: it has 999,999 characters"),
        (("x", "nan", 3), "/compare", "temperature must be a number"),
        (("x", [3], 1), "/best_of_n", "samples must be a number"),
        (("", "all", "", "nobody"), "/results", "start must be a number"),
    ):
        with pytest.raises(Exception, match=message):
            client.predict(*arguments, api_name=name)


def test_what_lies_beyond_the_sliders_is_moved_to_their_ends(client):
    question = client.predict(count=1, api_name="/results")["questions"][0]["question"]
    ranked = client.predict(question, 5000, 99, api_name="/best_of_n")
    assert len(ranked["answers"]) == 8
    assert client.predict(start=1e308, count=-3, api_name="/results")["questions"] == []


def test_what_the_page_itself_asks_is_told_what_is_wrong(client):
    """Requests past the browser, whose sliders send nothing but numbers."""
    url = f"{client.src}gradio_api/queue"
    ask = next(each["id"] for each in client.config["dependencies"] if each["targets"][0][1] == "submit")
    for sliders, message in (
        (["nan", 3], "The temperature must be a number"),
        ([0, None], "The number of answers must be a number"),
        ([99, 5000], "Type a question first"),
    ):
        visitor = {"session_hash": message}
        httpx.post(f"{url}/join", json={"data": [" ", *sliders], "fn_index": ask, **visitor}).raise_for_status()
        assert message in httpx.get(f"{url}/data", params=visitor, timeout=60).text


def test_the_calls_are_documented(client):
    told = client.view_api(return_format="dict")["named_endpoints"]
    assert set(told) == {"/compare", "/score", "/best_of_n", "/results"}
    assert [each["parameter_name"] for each in told["/score"]["parameters"]] == ["question", "response"]
