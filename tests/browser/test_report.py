"""The report on tables in a browser: at every width, in light and dark, and on paper."""

import pytest

from hfdistill.report.writing import write_report

from ..report.made_tables import write_main, write_noise


@pytest.fixture(scope="module")
def address(browser, tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("study")
    write_main(folder)
    return (write_report(write_noise(folder)).folder / "report.html").as_uri()


def test_nothing_sticks_out_and_what_is_wide_scrolls_in_its_place(page, address):
    page.goto(address)
    grounds = set()
    for theme in ("light", "dark"):
        page.emulate_media(color_scheme=theme)
        grounds.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        ink = page.evaluate("getComputedStyle(document.body).color")
        assert page.locator("figure text").first.evaluate("text => getComputedStyle(text).fill") == ink
        for width in (390, 820, 1280):
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate("document.documentElement.scrollWidth") <= width, (theme, width)
    assert len(grounds) == 2
    page.set_viewport_size({"width": 390, "height": 900})
    wide = page.locator(".scroll").evaluate_all(
        "boxes => boxes.filter(box => box.scrollWidth > box.clientWidth).length"
    )
    assert wide > 0
    assert page.locator(".scroll").evaluate_all("boxes => boxes.every(box => box.tabIndex === 0 && box.ariaLabel)")


def test_on_paper_no_table_is_cut_off(page, address):
    page.goto(address)
    page.emulate_media(media="print")
    page.set_viewport_size({"width": 680, "height": 900})  # A4 less its margins
    assert page.evaluate("document.documentElement.scrollWidth") <= 680
    assert page.locator("nav").is_hidden()
