"""Markdown as HTML that can run nothing."""

import nh3
from markdown_it import MarkdownIt


_markdown = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])


def render_markdown(text: str, base: str | None = None) -> str:
    """Markdown as HTML: what is not known to be harmless is taken out.

    Some texts keep this busy without end, so the Hub calls it through [`~readers.Readers`] alone.

    Args:
        text (`str`):
            The markdown.
        base (`str`, *optional*):
            Path of the repository whose files relative links and images mean.
    """

    def rewrite(tag: str, attribute: str, value: str) -> str:
        relative = base and attribute in ("src", "href") and not value.startswith(("/", "#")) and ":" not in value
        if not relative:
            return value
        return f"{base}/{'resolve' if tag == 'img' else 'blob'}/main/{value.removeprefix('./')}"

    # A wide table scrolls in its place, for whom has only a keyboard, too.
    focusable = {"table": {"tabindex": "0"}}
    return nh3.clean(_markdown.render(text), attribute_filter=rewrite, set_tag_attribute_values=focusable)
