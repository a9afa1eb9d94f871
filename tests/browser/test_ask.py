"""Asking while others ask, while the teacher hangs, and again before the answer is there."""

import http.server
import json
import threading
import time

import pytest

from hfdistill.space.settings import Settings

from .conftest import serve
from .test_compare import TYPED, ask, card, open_space


pytestmark = pytest.mark.slow
ANOTHER = "Ben has 4 cards. Buys 5. Loses 3. Finds 6. How many cards are there now?"


class SlowTeacher(http.server.BaseHTTPRequestHandler):
    """Says who it is at once, and answers as late, or as badly, as a test wants."""

    delay, status, port, body = 0.0, 200, 0, None

    def do_GET(self):
        self._answer(200, {"model_id": "big/teacher", "max_total_tokens": 512, "max_concurrent_requests": 8})

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        time.sleep(self.delay)
        text = "<img src=x onerror=window.pwn=1> Step 1: $\\frac{10}{2} = 5$.\nThe answer is 5."
        details = {"finish_reason": "eos_token", "generated_tokens": 9}
        if self.status == "drop":
            self.connection.close()
        elif self.body:
            self._answer(self.status, self.body)
        elif self.status == 200:
            self._answer(200, {"generated_text": text, "details": details})
        else:
            self._answer(self.status, {"error": "invalid token hf_SECRETSECRET for /srv/secret/model"})

    def _answer(self, status, content):
        page = isinstance(content, str)
        data = content.encode() if page else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/html" if page else "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def slow_space(tiny, tmp_path_factory):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), SlowTeacher)
    server.daemon_threads, SlowTeacher.port = True, server.server_port
    threading.Thread(target=server.serve_forever, daemon=True).start()
    folder = tmp_path_factory.mktemp("slow")
    with serve(folder, Settings(tiny, teacher_endpoint=f"http://127.0.0.1:{server.server_port}")) as url:
        yield url, folder / "log"
    server.shutdown()


def test_students_answer_while_the_teacher_hangs_and_stop_ends_it(page, slow_space):
    SlowTeacher.delay, SlowTeacher.status = 100, 200
    open_space(page, slow_space[0])
    ask(page, TYPED)
    page.locator(".hfd-row[data-role=policy]").wait_for()
    assert "Answers" in card(page, "teacher").inner_text()
    page.get_by_role("button", name="Stop").click()
    page.locator(".hfd-card.is-stopped[data-role=teacher]").wait_for()
    assert card(page, "policy").locator(".hfd-answer").count() == 1


def test_a_question_asked_meanwhile_takes_the_place_of_the_first(page, slow_space):
    SlowTeacher.delay, SlowTeacher.status = 4, 200
    open_space(page, slow_space[0])
    ask(page, TYPED)
    page.locator("#answers .hfd-text", has_text="Tom has 7 pens").wait_for()
    ask(page, ANOTHER)
    page.locator("#answers .hfd-text", has_text="Ben has 4 cards").wait_for()
    page.locator(".hfd-scores.is-done").wait_for()
    page.wait_for_timeout(1500)
    assert page.locator("#answers .hfd-text").inner_text() == ANOTHER
    assert card(page, "teacher").locator("math").count() == 1
    assert page.evaluate("window.pwn") is None


def test_two_visitors_ask_and_one_leaves(page, browser, slow_space):
    SlowTeacher.delay, SlowTeacher.status = 2, 200
    other = browser.new_page()
    for visitor, text in ((page, TYPED), (other, ANOTHER)):
        open_space(visitor, slow_space[0])
        ask(visitor, text)
    other.locator("#answers .hfd-text").wait_for()
    other.close()
    page.locator(".hfd-scores.is-done").wait_for()
    assert page.locator("#answers .hfd-text").inner_text() == TYPED
    assert card(page, "teacher").locator(".hfd-answer").inner_text().startswith("5")


def test_nothing_of_the_inside_reaches_a_visitor_or_the_log(page, slow_space):
    SlowTeacher.delay, SlowTeacher.status = 0, 401
    url, log = slow_space
    open_space(page, url)
    ask(page, TYPED)
    page.locator(".hfd-card.is-failed[data-role=teacher]").wait_for()
    page.locator(".hfd-scores.is-done").wait_for()
    seen = page.content() + page.context.request.get(f"{url}/config").text() + log.read_text()
    for inside in ("SECRET", "/srv", str(SlowTeacher.port)):
        assert inside not in seen
    assert "answered 401" in log.read_text()


PAGE = "<html><script>window.pwn=9</script>Internal path /srv/secret/model</html>"


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        ("drop", None, "cannot be asked now"),
        (503, "overloaded", "busy or still starting"),
        (500, PAGE, ""),
        (200, PAGE, ""),
    ],
)
def test_an_endpoint_that_fails_leaves_the_students_to_answer(page, slow_space, status, body, words):
    SlowTeacher.delay, SlowTeacher.status, SlowTeacher.body = 0, status, body
    try:
        open_space(page, slow_space[0])
        ask(page, TYPED)
        teacher = page.locator(".hfd-card.is-failed[data-role=teacher]")
        teacher.wait_for(timeout=120_000)
    finally:
        SlowTeacher.body = None
    page.locator(".hfd-scores.is-done").wait_for()
    assert words in teacher.inner_text()
    assert card(page, "policy").locator(".hfd-answer").count() == 1
    assert "/srv" not in page.content()
    assert page.evaluate("window.pwn") is None


def test_a_megabyte_of_question_is_refused_and_the_page_goes_on(page, slow_space):
    SlowTeacher.delay, SlowTeacher.status = 0, 200
    open_space(page, slow_space[0])
    ask(page, "pens <b>&amp;{{ 7 * 7 }}</b> " * 40_000)
    page.locator(".hfd-notice", has_text="The question is too long").wait_for()
    ask(page, "W" * 7_900)
    page.locator("#answers .hfd-text").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= 1400
    hint = page.locator("#answers .hfd-hint")
    assert hint.evaluate("hint => hint.scrollWidth <= hint.clientWidth")
    ask(page, TYPED)
    page.locator("#answers .hfd-text", has_text="Tom has 7 pens").wait_for()
    page.locator(".hfd-scores.is-done").wait_for()
