"""A report as one HTML file that needs nothing else: no script, no font, no picture from elsewhere."""

from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from .document import Command, Document, Example, Figures, Picture, Prose
from .pictures import as_part_of_a_page


TEMPLATES = Path(__file__).parent / "templates"
KINDS_OF_BLOCK = {Prose: "prose", Command: "command", Figures: "figures", Picture: "picture", Example: "example"}


def as_page(document: Document) -> str:
    """The whole page; pictures that follow one another stand side by side where there is room."""
    style = (TEMPLATES / "report.css").read_text(encoding="utf-8")
    return _environment().get_template("report.html").render(document=document, style=style)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["drawing"] = as_part_of_a_page
    environment.tests |= {
        name: (lambda block, kind=kind: isinstance(block, kind)) for kind, name in KINDS_OF_BLOCK.items()
    }
    return environment
