"""A report as Markdown, its pictures as files beside it."""

import re
from collections.abc import Iterator, Sequence

from .document import Block, Command, Document, Example, Figures, Picture, Prose


PICTURES = "pictures"


def markdown_table(headings: Sequence[str], rows: Sequence[Sequence[str]], words: bool = False) -> str:
    """A table in Markdown; all but the first column are aligned to the right, unless they hold `words`."""
    lines = [
        "| " + " | ".join(headings) + " |",
        "|" + "|".join([" --- ", *[" --- " if words else " ---: "] * (len(headings) - 1)]) + "|",
        *("| " + " | ".join(row) + " |" for row in rows),
    ]
    return "\n".join(lines)


def as_markdown(document: Document) -> str:
    """The whole text; pictures are looked for in the folder `pictures` beside it."""
    parts = [f"# {plain(document.title)}"]
    for found in document.summary:
        parts += [plain(found.text), "\n".join(f"- {plain(figure)}" for figure in found.figures)]
    parts = [*filter(None, parts), plain(document.note)]
    for section in document.sections:
        parts.append(f"## {plain(section.title)}")
        parts += [part for block in section.blocks for part in _parts(block)]
    return "\n\n".join(parts) + "\n"


def plain(text: str) -> str:
    """Text that Markdown shows as it is, in a line and in a table's cell."""
    return re.sub(r"([\\`*_<>|\[\]])", r"\\\1", " ".join(text.split()))


def _parts(block: Block) -> Iterator[str]:
    if isinstance(block, Prose):
        yield plain(block.text)
    elif isinstance(block, Command):
        yield _fenced(block.text, "sh")
    elif isinstance(block, Figures):
        rows = [[plain(cell) for cell in row] for row in block.rows]
        shown = [
            [f"**{cell}**" if cell else "" for cell in row] if source[0] == block.bold else row
            for source, row in zip(block.rows, rows, strict=True)
        ]
        yield f"**{plain(block.caption)}**"
        if block.legend:
            yield plain(block.legend)
        yield markdown_table([plain(heading) for heading in block.headings], shown, block.words)
    elif isinstance(block, Picture):
        yield f"![{plain(block.alt)}]({PICTURES}/{block.name}.svg)"
        yield f"*{plain(block.caption)}*"
    elif isinstance(block, Example):
        right = "" if block.gold is None else f" (right: {plain(block.gold)})"
        yield f"Question{right}:\n\n{_fenced(block.question)}"
        for who, text in block.responses:
            yield f"{plain(who)}:\n\n{_fenced(text)}"


def _fenced(text: str, language: str = "text") -> str:
    """A block of code that no backtick in the text ends."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text.strip()}\n{fence}"
