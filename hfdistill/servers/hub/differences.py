"""What a commit or a pull request changes, as text."""

from .readers import ReadingError
from .routing import Call
from .trees import FILE, Change, Entry


MAX_FILE = 256 * 1024
MAX_FILES, MAX_SHOWN = 500, 1024 * 1024


def difference(call: Call, changes: dict[str, Change]) -> str:
    """Changes in git's form; in front of a gate only which files, as their list is for everybody."""
    readable = call.hub.repositories.has_access(call.user, call.repo)
    shown, size = [], 0
    for path, (before, after) in changes.items():
        names = ("/dev/null" if before is None else f"a/{path}", "/dev/null" if after is None else f"b/{path}")
        if readable:
            lines = _lines(call, before, after, names)
        else:
            lines = f"Files {names[0]} and {names[1]} differ (gated: ask for access to see how)\n"
        shown.append(f"diff --git a/{path} b/{path}\n{lines}")
        size += len(shown[-1])
        if size > MAX_SHOWN or len(shown) == MAX_FILES:
            break
    return "".join(shown)


def _lines(call: Call, before: Entry | None, after: Entry | None, names: tuple[str, str]) -> str:
    entries = [entry for entry in (before, after) if entry]
    if all(entry.kind == FILE and entry.size <= MAX_FILE for entry in entries):
        blobs = [call.hub.blobs.find(entry.sha256) if entry else None for entry in (before, after)]
        key = " ".join([*names, *(entry.sha256 for entry in entries)])
        try:
            return call.hub.page_readers.read(call.user.name, "difference", *blobs, names, key=key)
        except ReadingError:
            pass  # no text, or too tangled to be compared
    return f"Binary files {names[0]} and {names[1]} differ\n"
