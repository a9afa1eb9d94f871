"""Parts of a document that is written as Markdown and as HTML: the words are told once."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Prose:
    """A paragraph of plain text."""

    text: str


@dataclass(frozen=True)
class Command:
    """What to type."""

    text: str


@dataclass(frozen=True)
class Figures:
    """A table; the first cell of each row is its heading.

    Attributes:
        caption (`str`): what it shows.
        headings (`tuple[str, ...]`): of the columns.
        rows (`list[list[str]]`): cells as text.
        bold (`str`, *optional*): heading of the row that the table is about.
        words (`bool`): whether the cells hold words rather than numbers.
    legend (`str`): what the columns are, where their headings do not say it.
    """

    caption: str
    headings: tuple[str, ...]
    rows: list[list[str]]
    bold: str | None = None
    words: bool = False
    legend: str = ""


@dataclass(frozen=True)
class Picture:
    """A drawing.

    Attributes:
        name (`str`): of its file, without the ending.
        svg (`str`): with `INK` as its dark colour, on nothing.
        alt (`str`): what one sees in it.
        caption (`str`): what it shows.
    """

    name: str
    svg: str
    alt: str
    caption: str


@dataclass(frozen=True)
class Example:
    """A question with responses to it.

    Attributes:
        question (`str`), gold (`str`, *optional*): and its right answer.
        responses (`tuple[tuple[str, str], ...]`): who says it and how it fared, and the text.
    """

    question: str
    gold: str | None
    responses: tuple[tuple[str, str], ...]


Block = Prose | Command | Figures | Picture | Example


@dataclass
class Section:
    """A part of the document.

    Attributes:
        anchor (`str`): its name in links.
        title (`str`): its heading.
        blocks (`list[Block]`): in order.
    """

    anchor: str
    title: str
    blocks: list[Block] = field(default_factory=list)


@dataclass(frozen=True)
class Finding:
    """A sentence of the summary, and the figures that bear it out, a line each."""

    text: str
    figures: tuple[str, ...] = ()


@dataclass
class Document:
    """A report: `title`, the `summary` that stands first, a `note` below it, and `sections`."""

    title: str
    summary: list[Finding]
    note: str
    sections: list[Section]
