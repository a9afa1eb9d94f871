import re

import pytest

from .conftest import findings


TYPED = "Tom has 7 pens. Buys 5. Loses 3. Finds 6. How many pens are there now?"


def open_space(page, url, tab="Ask"):
    page.goto(url)
    page.get_by_role("heading", name="tiny: can the small model pass the large one?").wait_for()
    page.get_by_role("tab", name=tab).click()


def ask(page, text):
    page.get_by_placeholder("Type a question").fill(text)
    page.get_by_role("button", name="Ask all").click()


def finish(page):
    page.locator(".hfd-scores.is-done").wait_for()


def card(page, role):
    return page.locator(f".hfd-card[data-role={role}]")


def test_the_first_page_has_no_serious_finding(page, space):
    open_space(page, space, "Explore")
    page.locator(".hfd-list").wait_for()
    assert findings(page) == []


def test_a_typed_question_gets_answers_and_scores(page, space):
    open_space(page, space)
    ask(page, TYPED)
    finish(page)
    assert page.locator(".hfd-question .hfd-text").inner_text() == TYPED
    assert "Was not asked this question" in card(page, "teacher").inner_text()
    for role in ("student", "warmup", "policy"):
        assert card(page, role).locator(".hfd-answer").count() == 1
        assert card(page, role).locator(".hfd-response").first.inner_text()
        row = page.locator(f".hfd-row[data-role={role}]")
        assert re.fullmatch(r"0|[+−]\d+\.\d\d", row.locator(".hfd-value").inner_text())
        assert "reward" in row.locator(".hfd-why").inner_text()
    page.get_by_text("How a score becomes a reward").click()
    assert page.get_by_text("the score, but never more than 0").is_visible()


def test_a_picked_training_question_shows_vote_and_teacher(page, space):
    open_space(page, space)
    page.get_by_text("Training questions").click()
    page.get_by_label("Pick one").click()
    page.get_by_role("option").first.click()
    finish(page)
    shown = page.locator("#answers .hfd-text").inner_text()
    assert page.get_by_placeholder("Type a question").input_value().startswith(shown)
    assert card(page, "teacher").locator(".hfd-response").first.inner_text().startswith("Step 1: it is easy.")
    assert "of the teacher's 20 careful answers" in page.locator(".hfd-vote").inner_text()
    assert page.locator(".hfd-row").count() == 4


def test_a_test_question_shows_the_right_answer(page, space):
    open_space(page, space)
    page.get_by_label("Pick one").click()
    page.get_by_role("option").first.click()
    finish(page)
    assert "Right answer" in page.locator(".hfd-facts").inner_text()
    assert card(page, "teacher").locator(".is-right, .is-wrong").count() == 1


def test_several_answers_are_drawn_above_temperature_0(page, space):
    open_space(page, space)
    page.get_by_text("Draw several answers").click()
    page.get_by_label("number input for Temperature").fill("0.9")
    page.get_by_label("number input for Temperature").press("Enter")
    ask(page, TYPED)
    finish(page)
    assert card(page, "policy").locator(".hfd-sample").count() == 3
    assert page.locator(".hfd-row[data-role=policy]").count() == 3


@pytest.mark.slow
def test_raw_text_is_one_click_away(page, space):
    open_space(page, space)
    ask(page, TYPED)
    finish(page)
    response = card(page, "policy")
    assert response.locator(".is-written").is_visible()
    page.get_by_label("Raw text").check()
    response.locator(".is-raw").wait_for()
    assert not response.locator(".is-written").is_visible()


def test_an_empty_question_is_told_and_forgotten(page, space):
    open_space(page, space)
    ask(page, "   ")
    assert "Type a question first" in page.locator(".hfd-notice").inner_text()
    page.get_by_placeholder("Type a question").fill(TYPED)
    page.get_by_placeholder("Type a question").press("Enter")
    finish(page)
    assert not page.locator(".hfd-notice").is_visible()


@pytest.mark.slow
def test_a_question_too_long_is_told(page, space):
    open_space(page, space)
    ask(page, "pens " * 2000)
    assert "The question is too long: it has 9,999 characters" in page.locator(".hfd-notice").inner_text()


@pytest.mark.slow
def test_a_dead_endpoint_and_a_missing_model_are_told(page, space_without_teacher):
    open_space(page, space_without_teacher)
    ask(page, TYPED)
    finish(page)
    assert "The teacher cannot be asked now" in card(page, "teacher").inner_text()
    assert "127.0.0.1:9" not in page.content()
    assert "cannot be loaded here now" in card(page, "policy").inner_text()
    assert card(page, "warmup").locator(".hfd-answer").count() == 1
    assert "Traceback" not in page.content()


def test_a_stored_question_opens_and_its_address_opens_it_again(page, space):
    open_space(page, space, "Explore")
    assert "Of 100 test questions the student answers" in page.locator(".hfd-lead").inner_text()
    page.get_by_label("Show").select_option("Student lost what it knew")
    page.locator("[role=status]", has_text="0 of 5 questions").wait_for()
    page.get_by_label("Show").select_option("All test questions")
    rows = page.locator(".hfd-list [data-question]")
    rows.first.wait_for()
    rows.first.press("Enter")
    opened = page.locator(".hfd-open")
    opened.wait_for()
    assert opened.locator(".hfd-card").count() == 4
    assert "question=" in page.url
    text = opened.locator(".hfd-text").inner_text()
    page.goto(page.url)
    opened.wait_for()
    assert opened.locator(".hfd-text").inner_text() == text
    page.get_by_role("button", name="Next question").click()
    page.locator(".hfd-open", has_text="Question 2").wait_for()
    page.go_back()
    page.locator(".hfd-open", has_text="Question 1").wait_for()
    page.get_by_role("button", name="Close").click()
    opened.wait_for(state="detached")


@pytest.mark.slow
def test_a_blind_vote_tells_who_wrote_what(page, space):
    open_space(page, space, "Vote blind")
    blind = page.locator("#blind")
    blind.locator(".hfd-card").first.wait_for()
    assert "Student" not in blind.inner_text()
    page.get_by_role("button", name="Both are good").press("Enter")
    blind.get_by_text("You said: Both are good").wait_for()
    assert blind.locator("tbody tr").count() == 2
    page.get_by_role("button", name="Another pair").click()
    page.get_by_role("button", name="A is better").wait_for()


@pytest.mark.slow
def test_twenty_clicks_a_second_leave_the_last(page, space):
    open_space(page, space, "Explore")
    rows = page.locator(".hfd-list [data-question]")
    rows.first.wait_for()
    page.evaluate("""async () => {
        const rows = [...document.querySelectorAll(".hfd-list [data-question]")];
        for (let at = 0; at < 40; at++) {
            rows[at % rows.length].click();
            await new Promise((go) => setTimeout(go, 50));
        }
        rows[2].click();
    }""")
    page.locator(".hfd-open", has_text="Question 3").wait_for()
    page.wait_for_timeout(500)
    assert "Question 3" in page.locator(".hfd-open .hfd-pages").inner_text()


def test_the_run_page(page, space):
    open_space(page, space, "About")
    page.get_by_role("heading", name="Where everything is").wait_for()
    assert page.locator("#about .hfd-results tr").count() == 5
    assert page.locator(".hfd-plots img").evaluate("image => image.naturalWidth") > 100
    assert "not there" in page.locator("#about").inner_text()


@pytest.mark.slow
def test_nothing_sticks_out_at_any_width_in_light_and_dark(page, space):
    open_space(page, space)
    page.get_by_role("button", name="Surprise me").click()
    finish(page)
    assert "Test question" in page.locator(".hfd-facts").inner_text()
    panels = set()
    for tab in ("Explore", "Ask", "Vote blind", "About"):
        page.get_by_role("tab", name=tab).click()
        for theme in ("light", "dark"):
            page.emulate_media(color_scheme=theme)
            for width in (360, 820, 1400):
                page.set_viewport_size({"width": width, "height": 900})
                assert page.evaluate("document.documentElement.scrollWidth") <= width, (tab, theme, width)
                assert page.get_by_role("tab").count() == 4, width  # none in a menu
            shown = page.locator(".hfd:visible .hfd-panel, .hfd:visible .hfd-question").first
            panels.add(shown.evaluate("panel => getComputedStyle(panel).backgroundColor"))
    assert len(panels) == 2
