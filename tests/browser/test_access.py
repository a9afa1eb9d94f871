"""The page for everybody: axe-core's findings on each view, and a visit with nothing but a keyboard."""

import pytest

from .conftest import findings
from .test_compare import TYPED, ask, finish, open_space


pytestmark = pytest.mark.slow
LOOKS = [(width, scheme) for width in (1280, 390) for scheme in ("light", "dark")]


def tab_to(page, locator, key="Tab", most=60):
    """Press Tab until an element has the focus."""
    for _ in range(most):
        page.keyboard.press(key)
        if locator.evaluate("element => element === document.activeElement"):
            return
    raise AssertionError(f"{locator} is not reached by {most} times {key}")


@pytest.mark.parametrize(("width", "scheme"), LOOKS)
def test_no_view_has_a_serious_finding(page, space, width, scheme):
    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(color_scheme=scheme)
    found = {}
    open_space(page, space, "Explore")
    page.locator(".hfd-list [data-question]").first.click()
    page.locator(".hfd-open").wait_for()
    page.get_by_text("Pictures of all answers").click()
    page.get_by_role("heading", name="Right answers by length").wait_for()
    found["explore"] = findings(page)
    page.get_by_role("button", name="Close").click()
    page.locator(".hfd-open").wait_for(state="detached")
    page.get_by_role("tab", name="Ask").click()
    page.get_by_text("Draw several answers").click()
    page.get_by_label("number input for Temperature").fill("0.9")
    ask(page, TYPED)
    finish(page)
    found["ask"] = findings(page)
    ask(page, "  ")
    page.locator(".hfd-notice").wait_for()
    found["notice"] = findings(page)
    page.get_by_role("tab", name="Vote blind").click()
    page.get_by_role("button", name="Both are good").click()
    page.get_by_text("You said").wait_for()
    found["vote"] = findings(page)
    page.get_by_role("tab", name="About").click()
    page.get_by_role("heading", name="Where everything is").wait_for()
    for summary in page.locator("#about summary").all():
        summary.click()
    found["about"] = findings(page)
    assert {view: each for view, each in found.items() if each} == {}


def test_a_visit_by_keyboard_alone(page, space):
    open_space(page, space, "Explore")
    page.locator(".hfd-list").wait_for()
    rows = page.locator(".hfd-list [data-question]")
    tab_to(page, rows.first)
    page.keyboard.press("Enter")
    opened = page.locator(".hfd-open")
    opened.wait_for()
    page.wait_for_function("document.activeElement.classList.contains('hfd-open')")
    tab_to(page, page.get_by_role("button", name="Next question"))
    page.keyboard.press("Enter")
    page.locator(".hfd-open", has_text="Question 2").wait_for()
    tab_to(page, page.get_by_role("button", name="Close"))
    page.keyboard.press("Enter")
    opened.wait_for(state="detached")
    page.wait_for_function("document.activeElement.closest('.hfd-list')")  # where the visitor was

    tab_to(page, page.get_by_role("tab", name="Ask"), "Shift+Tab")
    page.keyboard.press("Enter")
    question = page.get_by_placeholder("Type a question")
    tab_to(page, question)
    page.keyboard.type(TYPED)
    page.keyboard.press("Enter")
    finish(page)
    tab_to(page, page.get_by_text("How a score becomes a reward"))
    page.keyboard.press("Enter")
    assert page.get_by_text("the score, but never more than 0").is_visible()

    tab_to(page, page.get_by_role("tab", name="Vote blind"), "Shift+Tab")
    page.keyboard.press("Enter")
    tab_to(page, page.get_by_role("button", name="A is better"))
    page.keyboard.press("Enter")
    page.get_by_text("You said: A is better").wait_for()
    tab_to(page, page.get_by_role("button", name="Another pair"))
    page.keyboard.press("Enter")
    page.get_by_role("button", name="A is better").wait_for()
