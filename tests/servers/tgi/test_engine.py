import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from hfdistill.generation import Sampling
from hfdistill.servers.tgi.engine import Done, Engine, EngineRequest, Failed, Load, Token
from hfdistill.servers.tgi.model import load_model
from hfdistill.servers.tgi.text import Text
from hfdistill.servers.tgi.validation import Job

from ...families import for_tokenizer
from .conftest import make_tokenizer


class Wire:
    """The server's end of the connection."""

    def __init__(self):
        self.news = []

    def send(self, news):
        self.news += news

    def of(self, kind):
        return [item for item in self.news if isinstance(item, kind)]

    def texts(self):
        return {done.number: done.token_ids for done in self.of(Done)}


def job(prompt_ids, seed=0, tokens=12, stream=False, stop=()):
    return Job(
        prompt_ids=prompt_ids,
        sampling=Sampling(max_new_tokens=tokens, temperature=1.0, seed=seed),
        stop=stop,
        seed=seed,
        likelihood=stream,
        top_tokens=0,
        prompt_likelihood=False,
        stream=stream,
    )


@pytest.fixture
def make_engine(model):
    def making(rows=8):
        loaded = AutoModelForCausalLM.from_pretrained(model, dtype="float64").eval()
        return Engine(loaded, AutoTokenizer.from_pretrained(model), [2], Wire(), rows)

    return making


def run(engine, jobs, turns=2000):
    for number, wanted in jobs.items():
        engine.waiting.append(engine._row(EngineRequest(number, wanted)))
    with torch.inference_mode():
        while engine.loop.rows or engine.waiting or engine.suspects:
            engine.turn()
            turns -= 1
            assert turns, "it does not end"
    return engine.wire


def test_a_request_that_makes_every_step_fail_fails_alone(make_engine):
    jobs = {number: job([1, 4, 5, 30 + number % 5], seed=number, stream=number % 2 == 0) for number in range(20)}
    undisturbed = run(make_engine(), jobs)
    engine = make_engine()
    new_loop, poison = engine._new_loop, 19

    def breaking_loop():
        loop = new_loop()
        decode = loop.forward.decode

        def breaking(tokens, positions, length, alike):
            if poison in tokens.tolist() and length > 5:
                raise RuntimeError("cannot digest this")
            return decode(tokens, positions, length, alike)

        loop.forward.decode = breaking
        return loop

    engine._new_loop = breaking_loop
    engine.loop = breaking_loop()
    wire = run(engine, {**jobs, 99: job([1, 4, 5, 6, 7, poison], stream=True)})
    expected = undisturbed.texts()
    failed = {failure.number: failure.reason for failure in wire.of(Failed)}
    assert failed[99] == "RuntimeError: cannot digest this"
    # Those whose own text comes to the poison fail as well; nobody else does.
    victims = {number for number, tokens in expected.items() if poison in tokens[:-1]}
    assert set(failed) == {99} | victims
    assert wire.texts() == {number: tokens for number, tokens in expected.items() if number not in victims}
    for number in range(0, 20, 2):
        if number not in victims:
            assert [token.token for token in wire.of(Token) if token.number == number] == expected[number]


def test_a_prompt_that_cannot_join_takes_nobody_along(make_engine):
    jobs = {number: job([1, 4, 5, 30 + number % 5], seed=number) for number in range(6)}
    expected = run(make_engine(), jobs).texts()
    wire = run(make_engine(), {**jobs, 7: job([1, 4, 99_999, 5])})
    assert wire.texts() == expected
    assert [failure.number for failure in wire.of(Failed)] == [7]


@pytest.mark.parametrize("llama", [True, False], ids=["joined", "model's own"])
def test_scores_that_are_not_numbers_fail_their_row_only(make_engine, model_maker, tmp_path, monkeypatch, llama):
    if not llama:
        monkeypatch.setattr("hfdistill.llama.is_small_llama", lambda model: False)
    jobs = {number: job([1, 5, 6, 30 + number % 15], seed=number) for number in range(30)}
    expected = run(make_engine(), jobs).texts()
    folder = model_maker(tmp_path / "broken", broken=True)
    loaded = AutoModelForCausalLM.from_pretrained(folder, dtype="float64").eval()
    # Few places, so that later rows sit where failed ones sat.
    engine = Engine(loaded, AutoTokenizer.from_pretrained(folder), [2], Wire(), 3)
    poison = 4
    greedy = Job([1, poison, 6], Sampling(max_new_tokens=5), (), None, False, 0, False, False)
    wire = run(engine, {97: job([1, 5, poison] * 10, stream=True), 98: greedy, **jobs})
    victims = {number for number, tokens in expected.items() if poison in tokens[:-1]}
    assert {failure.number for failure in wire.of(Failed)} == {97, 98} | victims
    assert all("not numbers" in failure.reason for failure in wire.of(Failed))
    assert not wire.of(Token)
    assert wire.texts() == {number: tokens for number, tokens in expected.items() if number not in victims}
    assert len(wire.texts()) > 10


def test_cancelled_requests_leave_no_trace(make_engine):
    jobs = {number: job([1, 4, 5, 30 + number], seed=number) for number in range(6)}
    expected = run(make_engine(), jobs).texts()
    engine = make_engine(rows=4)
    for number, wanted in {50: job([1, 4], tokens=100), **jobs, 51: job([1, 5], tokens=100)}.items():
        engine.waiting.append(engine._row(EngineRequest(number, wanted)))
    with torch.inference_mode():
        engine.turn()
        engine._cancel(50)
        engine._cancel(51)
        engine._cancel(12345)
    assert run(engine, {}).texts() == expected


def test_load_is_told(make_engine):
    wire = run(make_engine(rows=2), {number: job([1, 4], tokens=3) for number in range(5)})
    loads = wire.of(Load)
    assert (loads[0].running, loads[0].waiting) == (2, 3)
    assert (loads[-1].running, loads[-1].waiting) == (0, 0)


def test_tables_of_stop_strings_are_few(make_engine):
    engine = make_engine()
    run(engine, {number: job([1, 4], tokens=2, stop=(f"word{number}",)) for number in range(100)})
    assert len(engine.stops) == 64


def test_a_model_that_knows_no_sdpa_is_served(tmp_path):
    for_tokenizer("gemma2", make_tokenizer(), eos_token_id=[2, 9]).save_pretrained(tmp_path)
    make_tokenizer().save_pretrained(tmp_path)
    model, tokenizer, ends = load_model(str(tmp_path), "float32", "cpu")
    assert ends == [2, 9]
    wire = run(Engine(model, tokenizer, ends, Wire(), 4), {number: job([1, 4 + number]) for number in range(3)})
    assert len(wire.texts()) == 3


def test_tokens_beyond_the_tokenizer_are_drawn_and_are_no_text():
    tokenizer = make_tokenizer()
    model, text = for_tokenizer("qwen2", tokenizer, overhang=200), Text(tokenizer)
    jobs = {number: job([1, 4], seed=number, tokens=30, stream=number % 2 == 0, stop=("Q A",)) for number in range(8)}
    wire = run(Engine(model, tokenizer, [2], Wire(), 4), jobs)
    ids = [token for tokens in wire.texts().values() for token in tokens]
    beyond = [token for token in ids if token >= len(tokenizer)]
    assert len(beyond) > 20 and len(wire.texts()) == 8
    pieces = text.pieces([1, 4])
    assert text.decode(beyond) == "" and {pieces.add(token) for token in beyond} == {""}
    assert text.decode([4, beyond[0], 5]) == text.decode([4, 5])
