"""The report on tables, written from artifacts in folders: what stands in it, and that it needs nothing else."""

import re
import shutil
from html.parser import HTMLParser

import pytest

from hfdistill.artifacts.references import open_artifact
from hfdistill.errors import HFDistillError
from hfdistill.report.pushing import push_report
from hfdistill.report.tables import read_tables
from hfdistill.report.writing import write_report

from .made_tables import Run


class Page(HTMLParser):
    """Tags with their attributes, in order."""

    def __init__(self, text: str):
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def of(self, tag: str) -> list[dict]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def written(tables, tmp_path_factory):
    return write_report(tables, tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="module")
def page(written) -> Page:
    return Page((written.folder / "report.html").read_text())


def test_the_page_needs_nothing_else(page):
    assert not {"script", "link", "img", "iframe"} & {tag for tag, _ in page.tags}
    links = [value for _, attributes in page.tags for name, value in attributes.items() if name in ("href", "src")]
    links += [value for _, attributes in page.tags for name, value in attributes.items() if name == "xlink:href"]
    assert links and all(link.startswith("#") for link in links)


def test_ids_are_unique_and_links_lead_to_them(page):
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {link["href"][1:] for link in page.of("a")} <= set(ids)


def test_tables_have_captions_and_scopes_and_pictures_are_told(page):
    assert len(page.of("caption")) == len(page.of("table")) >= 8
    assert {heading["scope"] for heading in page.of("th")} == {"col", "row"}
    pictures = [svg for svg in page.of("svg") if "role" in svg]
    assert len(pictures) >= 8
    assert all(svg["role"] == "img" and len(svg["aria-label"]) > 40 for svg in pictures)


def test_every_table_stands_under_its_command(written):
    text = (written.folder / "report.md").read_text()
    for table, after in (("main", "## Wrong labels"), ("noise", "## Where the student beats the teacher")):
        part = text[text.index(f"hfdistill demo --table {table} --seeds 2") : text.index(after)]
        assert "| row | accuracy | 95 % interval | seed 2 | seed 3 |" in part
        assert "McNemar's p" in part
    assert "14 steps took 10:40 of work; the plan had said 10:00" in text


def test_the_markdown_shows_the_pictures_that_lie_beside_it(written):
    named = re.findall(r"\]\((pictures/[\w.-]+\.svg)\)", (written.folder / "report.md").read_text())
    there = {f"pictures/{path.name}" for path in (written.folder / "pictures").iterdir()}
    assert set(named) == there and len(named) == len(there)
    assert 'fill="#ffffff"' in (written.folder / named[0]).read_text()


def test_the_first_words_stand_first(written):
    text = (written.folder / "report.md").read_text()
    for first, then, *_ in (text.split("\n\n")[1:], written.summary.splitlines()):
        assert first.startswith("Distilling rewards is better than imitation alone, SFT on all answers")
        assert "Against imitation alone: greedy answers +" in then


def test_what_rows_cost_is_in_the_report(written):
    text = (written.folder / "report.md").read_text()
    # 70,000 tokens read and 30,000 written; 2,560 episodes in updates of 256; reward model and policy 30 s each
    assert "| Ours | 100,000 | 10 | 2,560 | 1:00 |" in text
    assert "| PPO on the vote, Ours | 0.750 \\[0.750, 0.750\\] |" in text


def test_samples_are_voted_on_and_misjudged_ones_are_shown(written):
    text = (written.folder / "report.md").read_text()
    assert re.search(r"\| Ours w/o R, 8 samples \| 0\.\d{3} \| 0\.\d{3} ", text)
    assert "| Ours w/o R: weighted of 4 − majority of 4 | +" in text
    assert "reward model is better than the majority of the samples of Ours w/o R." in text
    misjudged = text[text.index("## Where the reward model is wrong") :]
    wrong, right = (float(re.search(rf"{who}, score (-?[\d.]+)", misjudged)[1]) for who in ("Wrong", "Right"))
    assert wrong > right


def test_examples_are_of_the_teachers_wrong_answers(written):
    text = (written.folder / "report.md").read_text()
    part = text[text.index("## Where the student beats the teacher") :]
    assert re.search(r"Of 120 answers to test questions over all seeds the student alone is right in \d+,", part)
    assert "Student (Ours), right" in part and "Teacher, answers 1" in part


def test_the_same_tables_make_the_same_bytes(tables, written, tmp_path):
    again = write_report(tables, tmp_path)
    for name in ("report.md", "report.html"):
        assert (again.folder / name).read_bytes() == (written.folder / name).read_bytes()


def test_a_pushed_report_lies_beside_the_results_and_changes_no_identity(tables, written):
    places = {made.results for row in read_tables(tables)[0].rows for made in row.seeds.values()}
    before = {place: open_artifact(place, "dataset").digest for place in places}
    assert set(push_report(written)) == places
    for place, digest in before.items():
        artifact = open_artifact(place, "dataset")
        assert (artifact.path / "report.html").is_file() and list((artifact.path / "pictures").iterdir())
        assert artifact.digest == digest and not artifact.edited


def test_results_without_the_row_are_told_with_table_and_seed(tables, tmp_path):
    broken = shutil.copytree(tables, tmp_path / "ablations")
    other = Run(tmp_path, 9).results("other", {"Another": 0.5})
    text = (broken / "main.json").read_text()
    ours = read_tables(broken)[0].row("Ours").seeds[3].results
    (broken / "main.json").write_text(text.replace(ours, other))
    with pytest.raises(HFDistillError, match=r"table main, row 'Teacher', seed 3: .* has no row 'Teacher'"):
        write_report(broken)
