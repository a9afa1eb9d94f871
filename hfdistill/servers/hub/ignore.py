"""Which paths a .gitignore leaves out."""

import fnmatch


MAX_TEXT = 100_000
MAX_PATTERNS = 1000


def ignored(text: str, paths: list[str]) -> list[bool]:
    """For each path, whether the .gitignore `text` leaves it out."""
    lines = [line.strip() for line in text[:MAX_TEXT].splitlines()]
    patterns = [line for line in lines if line and not line.startswith("#")][:MAX_PATTERNS]
    return [_ignored(path, patterns) for path in paths]


def _ignored(path: str, patterns: list[str]) -> bool:
    ignored = False
    parts = path.split("/")
    for pattern in patterns:
        negated = pattern.startswith("!")
        text = pattern.lstrip("!")
        folder_only = text.endswith("/")
        text = text.strip("/")
        above = ["/".join(parts[: depth + 1]) for depth in range(len(parts) - folder_only)]
        if "/" in text or pattern.lstrip("!").startswith("/"):
            matched = any(fnmatch.fnmatchcase(name, text) for name in above)
        else:
            matched = any(fnmatch.fnmatchcase(name.rpartition("/")[2], text) for name in above)
        if matched:
            ignored = not negated
    return ignored
