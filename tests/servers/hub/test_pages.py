"""Pages of cards, files and metadata that somebody wrote with bad intentions."""

import json

import pytest


CARD = """---
license: mit
---
# Title <script>alert(1)</script>
<img src=x onerror=alert(1)> <a href="javascript:alert(1)">a</a> <svg onload=alert(1)>
<iframe src="//evil"></iframe> <style>body{display:none}</style> <form action="//evil"><input></form>

[b](javascript:alert(1)) [c](data:text/html,x) ![plot](plots/a.png) [file](data.csv) <p style="position:fixed">p</p>
<math><mtext><table><mglyph><style><img src=x onerror=alert(1)>
"""


def test_cards_run_nothing(hub) -> None:
    repo = hub.create("card")
    assert hub.commit(repo, hub.file("README.md", CARD.encode()), hub.file("<script>.txt"))[0] == 200
    status, headers, content = hub.request("GET", f"/{repo}", headers={"Accept": "text/html"})
    page = content.decode()
    body = page.partition("<article>")[2]
    assert status == 200 and "<h1>Title" in body
    for bad in (
        "<script",
        "onerror",
        'href="javascript:',
        'href="data:',
        "<iframe",
        "<style",
        "<form",
        "<svg",
        "position:fixed",
    ):
        assert bad not in body
    assert f'src="/{repo}/resolve/main/plots/a.png"' in body and f'href="/{repo}/blob/main/data.csv"' in body
    assert "default-src 'none'" in headers["content-security-policy"]
    tree = hub.request("GET", f"/{repo}/tree/main")[2].decode()
    assert "&lt;script&gt;.txt" in tree and "<script>" not in tree


def test_a_datasets_card_stands_above_its_rows_and_the_chosen_config_is_marked(hub) -> None:
    repo = hub.create("rows", type="dataset")
    row = b'{"id": "train-2-000006", "share": 0.9345678, "text": "a long text of many words"}\n'
    lines = [{"key": "header", "value": {"summary": "rows"}}, hub.file("README.md", b"# About")]
    lines += [hub.file("a/x.jsonl", row), hub.file("b/x.jsonl", row)]
    body = "\n".join(map(json.dumps, lines)).encode()
    assert hub.request("POST", f"/api/datasets/{repo}/commit/main", body)[0] == 200
    page = hub.request("GET", f"/datasets/{repo}?config=b", headers={"Accept": "text/html"})[2].decode()
    assert page.index("<h1>About") < page.index("First rows")
    assert 'class="tag here" aria-current="true" href="?config=b"' in page
    assert page.count("aria-current") == 2  # the tab and the config
    assert '<div class="cell number">0.9345678</div>' in page
    assert '<div class="cell short">train-2-000006</div>' in page and '<div class="cell words">a long' in page


def test_files_run_nothing(hub) -> None:
    repo = hub.create("html")
    assert hub.commit(repo, hub.file("a.html", b"<script>alert(1)</script>"), hub.file("a.svg", b"<svg/>"))[0] == 200
    _, headers, _ = hub.request("GET", f"/{repo}/resolve/main/a.html")
    assert headers["content-type"].startswith("text/plain") and headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in hub.request("GET", f"/{repo}/resolve/main/a.svg")[1]["content-security-policy"]


@pytest.mark.parametrize(
    "card",
    [
        "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\n"
        "d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: [*e,*e,*e,*e,*e,*e,*e,*e,*e]",
        "a: &a [*a]",
        "a: !!python/object/apply:os.system ['true']",
        "- a\n- b",
        "a: [",
        "[" * 5000,
    ],
)
def test_hostile_metadata(hub, card: str) -> None:
    text = f"---\n{card}\n---\n# t"
    status, _, content = hub.request("POST", "/api/validate-yaml", {"content": text, "repoType": "model"})
    assert status == 400 and json.loads(content)["errors"]
    repo = hub.create("yaml")
    assert hub.commit(repo, hub.file("README.md", text.encode()))[0] == 200
    assert hub.request("GET", f"/api/models/{repo}")[0] == 200
    assert hub.request("GET", f"/{repo}")[0] == 200


def test_pages_of_others_cannot_speak_to_the_hub(hub) -> None:
    body = {"name": "csrf", "organization": "sec"}
    assert hub.request("POST", "/api/repos/create", body, {"Origin": "http://evil.example"})[0] == 403
    assert hub.request("POST", "/api/repos/create", body, {"Origin": hub.url})[0] == 200
    assert hub.request("GET", "/api/models", headers={"Host": "evil.example"})[0] == 403


def test_a_commits_page_shows_what_it_changed(hub) -> None:
    repo = hub.create("changed")
    assert hub.commit(repo, hub.file("a.txt", b"one\n<b>two\n"), hub.file("b.bin", b"\xff\0"))[0] == 200
    assert hub.commit(repo, hub.file("a.txt", b"one\n<b>three\n"))[0] == 200
    last = hub.request("GET", f"/{repo}/commit/main", headers={"Accept": "text/html"})[2].decode()
    assert "-&lt;b&gt;two\n+&lt;b&gt;three\n" in last and "b.bin" not in last
    first = last.partition(f'href="/{repo}/commit/')[2].partition('"')[0]
    before = hub.request("GET", f"/{repo}/commit/{first}")[2].decode()
    assert "+one\n" in before and "Binary files /dev/null and b/b.bin differ" in before
