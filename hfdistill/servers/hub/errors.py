"""What the Hub answers when it refuses."""

import errno
import json
import re
import sqlite3

from starlette.responses import Response


class HubError(Exception):
    """A refusal with its HTTP status.

    Args:
        status (`int`):
            HTTP status.
        message (`str`):
            One sentence for the user; clients show it.
        code (`str`, *optional*):
            Value of `X-Error-Code`. Over plain http it is the only way in which clients tell a missing repository
            from a missing revision, a missing file or a gated repository.
        body (`dict`, *optional*):
            Further keys of the JSON body.
    """

    def __init__(self, status: int, message: str, code: str | None = None, body: dict | None = None):
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.body = body or {}

    def response(self) -> Response:
        # A header takes one line of printable letters; a message may quote a user's path.
        header = re.sub(r"[^ -~]", " ", self.message.encode("ascii", "backslashreplace").decode())
        headers = {"X-Error-Message": header[:1000]}
        if self.code:
            headers["X-Error-Code"] = self.code
        if self.status == 401:
            # git asks its user for a name and a password only then; any name does, the password is the token.
            headers["WWW-Authenticate"] = 'Basic realm="hfdistill hub", charset="UTF-8"'
        content = json.dumps({"error": self.message, **self.body})
        return Response(content, self.status, headers, media_type="application/json")


def bad_request(message: str) -> HubError:
    return HubError(400, message)


def forbidden(message: str) -> HubError:
    return HubError(403, message)


def repo_not_found(repo_id: str, anonymous: bool = False) -> HubError:
    # The real Hub answers 401 to strangers so that a private name cannot be told from a free one.
    return HubError(401 if anonymous else 404, f"Repository not found: '{repo_id}'.", "RepoNotFound")


def revision_not_found(revision: str) -> HubError:
    return HubError(404, f"Invalid rev id: '{revision}'.", "RevisionNotFound")


def absent(what: str) -> HubError:
    """For what the real Hub has and this one has not; `what` follows the words "This Hub"."""
    return HubError(501, f"This Hub {what}.")


def entry_not_found(path: str) -> HubError:
    return HubError(404, f"Entry not found: '{path}'.", "EntryNotFound")


def disk_refusal(error: Exception) -> HubError | None:
    """The refusal that an error stands for if it comes of a full disk: 507, which clients do not retry."""
    if isinstance(error, sqlite3.OperationalError):
        # SQLite tells some full disks only as failed writes.
        full = "disk is full" in str(error) or "disk I/O error" in str(error)
    else:
        full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    return HubError(507, "The Hub's disk is full: nothing of this was kept.") if full else None
