"""HTML for people: a card, files, commits, a dataset's first rows. No script anywhere."""

import nh3
from markdown_it import MarkdownIt


_markdown = MarkdownIt("commonmark", {"html": True, "linkify": False}).enable(["table", "strikethrough"])


def render_markdown(text: str) -> str:
    """Markdown as HTML that can run nothing: what is not known to be harmless is taken out."""
    return nh3.clean(_markdown.render(text))
