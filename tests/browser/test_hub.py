"""The embedded Hub's pages for everybody: axe-core's findings, both widths, light and dark, and a keyboard alone."""

import base64
import json

import pytest

from ..servers.hub.conftest import start
from .conftest import findings
from .test_access import LOOKS, tab_to


PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
WORD = "a_word_that_goes_on" * 12
CARD = f"""---
license: mit
tags: [short, {WORD[:90]}]
configs:
  - {{config_name: questions, data_files: questions.jsonl}}
  - {{config_name: answers, data_files: answers.jsonl}}
---
# About

See [the other one](https://huggingface.co) for `{WORD}` and {WORD}.

| {" | ".join(f"column {n}" for n in range(12))} |
|{" --- |" * 12}
| {" | ".join(f"{n},000.25" for n in range(12))} |

```python
model = load("{WORD}")
```

![A dot](dot.png)
"""
ROW = {"id": "train-2-000006", "share": 0.9345678, "text": "a long text of many words " * 9, "other": WORD}
PAGES = {
    "home": "/",
    "listing": "/models",
    "search": "/datasets?search=row",
    "collections": "/collections",
    "namespace": "/sec",
    "card": "/sec/words",
    "rows": "/datasets/sec/rows?config=answers",
    "files": "/sec/words/tree/main",
    "file": "/sec/words/blob/main/code/train.py",
    "picture": "/sec/words/blob/main/dot.png",
    "commits": "/sec/words/commits/main",
    "commit": "/sec/words/commit/main",
    "discussions": "/sec/words/discussions",
    "discussion": "/sec/words/discussions/1",
    "difference": "/sec/words/discussions/2",
    "gated": "/sec/gate",
    "missing": "/sec/nothing",
}


@pytest.fixture(scope="module")
def hub(browser, tmp_path_factory):
    """A Hub with a bit of everything that its pages show; not started where there is no browser."""
    hub = start(tmp_path_factory.mktemp("hub") / "data")
    words = hub.create("words")
    code = "\n".join(f"{name} = {name}" for name in "abcdef")
    files = {"README.md": CARD.encode(), "code/train.py": code.encode(), "dot.png": PIXEL, "weights.bin": bytes(9)}
    assert hub.commit(words, *(hub.file(*file) for file in files.items()))[0] == 200
    talk = {"title": f"Why {WORD[:90]}", "description": f"Because **of** `{WORD}`."}
    assert hub.request("POST", f"/api/models/{words}/discussions", talk)[0] == 200
    changed = [
        {"key": "header", "value": {"summary": "Another c"}},
        hub.file("code/train.py", b"c = 1\n" + code.encode()),
    ]
    body = "\n".join(map(json.dumps, changed)).encode()
    assert hub.request("POST", f"/api/models/{words}/commit/main?create_pr=1", body)[0] == 200
    hub.create("rows", type="dataset")
    rows = json.dumps(ROW).encode() + b"\n"
    changed = [{"key": "header", "value": {"summary": "rows"}}, hub.file("README.md", CARD.encode())]
    changed += [hub.file(f"{config}.jsonl", rows) for config in ("questions", "answers")]
    body = "\n".join(map(json.dumps, changed)).encode()
    assert hub.request("POST", "/api/datasets/sec/rows/commit/main", body)[0] == 200
    hub.create("gate")
    assert hub.request("PUT", "/api/models/sec/gate/settings", {"gated": "manual"})[0] == 200
    yield hub
    hub.stop()


def fits(page) -> bool:
    """Whether nothing sticks out of the page, and no number, date or size is broken in two."""
    return page.evaluate("""() => document.documentElement.scrollWidth <= innerWidth
        && [...document.querySelectorAll(".whole, .cell.number, .cell.short")]
            .every((shown) => shown.getBoundingClientRect().height < 36)""")


def test_a_datasets_page_on_a_phone_has_no_serious_finding(page, hub):
    page.set_viewport_size({"width": 390, "height": 900})
    page.emulate_media(color_scheme="dark")
    page.goto(hub.url + PAGES["rows"])
    assert findings(page) == []
    assert fits(page)
    assert page.locator("[aria-label='First rows'] [aria-current]").inner_text() == "answers"


@pytest.mark.slow
@pytest.mark.parametrize(("width", "scheme"), LOOKS)
def test_no_page_has_a_serious_finding_or_sticks_out(page, hub, width, scheme):
    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(color_scheme=scheme)
    found = {}
    for name, path in PAGES.items():
        page.goto(hub.url + path)
        found[name] = findings(page) + ([] if fits(page) else ["sticks out"])
    assert {name: each for name, each in found.items() if each} == {}


@pytest.mark.slow
def test_a_visit_by_keyboard_alone(page, hub):
    def follow(name):
        link = page.get_by_role("link", name=name, exact=True).first
        tab_to(page, link)
        assert link.evaluate("link => getComputedStyle(link).outlineStyle") == "solid"
        page.keyboard.press("Enter")
        page.wait_for_load_state()

    page.goto(hub.url)
    tab_to(page, page.get_by_label("Search"))
    page.keyboard.type("words")
    page.keyboard.press("Enter")
    page.wait_for_url("**/models?search=words")
    follow("sec/words")
    tab_to(page, page.locator("article table"))  # wider than the page: it scrolls by arrow keys
    for tab, heading in (("Files", "README.md"), ("Commits", "commit"), ("Discussions", "#2 Another c")):
        follow(tab)
        page.get_by_text(heading).first.wait_for()
    follow("#2 Another c")
    page.locator("pre", has_text="+c = 1").wait_for()
    follow("Datasets")
    follow("sec/rows")
    follow("answers")
    page.wait_for_url("**config=answers")
    tab_to(page, page.get_by_label("First rows of answers"))
