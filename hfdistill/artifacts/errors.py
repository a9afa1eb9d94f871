"""The Hub client's exceptions as one sentence that names what was asked for, and the way out."""

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import HFDistillError


STATUSES = {
    401: "the token is missing or not valid: `hf auth login`, or set HF_TOKEN",
    403: "the token may not do this: it needs write access to this namespace",
    412: "somebody else committed in the meantime: run the same command again",
    413: "it does not take that much: its disk is full, or a file is over its limit: ask whoever runs it",
    507: "its disk is full: ask whoever runs it for room, then run the same command again",
}
# hf_xet raises one kind of error for a network that is down and for a Hub that refuses.
XET_REFUSAL = re.compile(r"HTTP status (?:client|server) error \((\d{3}) ([^)]*)\)")


@contextmanager
def hub_errors(kind: str, name: str, endpoint: str | None = None) -> Iterator[None]:
    """Turn the Hub client's exceptions into [`~hfdistill.errors.HFDistillError`].

    Args:
        kind (`str`): what was asked for, for example `"dataset"`.
        name (`str`): its name.
        endpoint (`str`, *optional*): the Hub that was asked; HF_ENDPOINT by default.
    """
    try:
        yield
    except Exception as error:
        message = _explain(error, endpoint)
        if message is None:
            raise
        raise HFDistillError(f"{kind} {name!r} {message}") from error


def _explain(error: Exception, endpoint: str | None) -> str | None:
    """What went wrong, to stand behind the name of what was asked for; `None` for an error that is not the Hub's."""
    import httpx
    import httpx2
    from huggingface_hub import constants, errors

    hub = endpoint or constants.ENDPOINT
    if isinstance(error, errors.GatedRepoError):
        return f"is gated: ask for access on {hub}, then log in with `hf auth login`"
    if isinstance(error, errors.DisabledRepoError):
        return f"is disabled on {hub}: ask its owner"
    if isinstance(error, errors.RevisionNotFoundError):
        return f"has no such revision on {hub}: check what follows the @"
    if isinstance(error, errors.RepositoryNotFoundError):
        return f"does not exist on {hub}, or the token may not see it: run the stage that makes it, or log in"
    if isinstance(error, errors.HFValidationError):
        return f"is neither a folder nor a repository (namespace/name): {error}"
    if isinstance(error, errors.OfflineModeIsEnabled):
        return "needs the Hub, but HF_HUB_OFFLINE is set: unset it, or keep artifacts in folders with run.push false"
    if isinstance(error, errors.LocalEntryNotFoundError):
        return f"is not on this machine, and {hub} cannot be reached: check HF_ENDPOINT and the network"
    if isinstance(error, errors.LocalTokenNotFoundError):
        return f"needs a token for {hub}: `hf auth login`, or set HF_TOKEN"
    if isinstance(error, errors.HfHubHTTPError):
        status = error.response.status_code
        said = error.server_message or " ".join(str(error).split())
        if status not in STATUSES:
            return f"was refused by {hub} with {status}: {said}"
        return f"was refused by {hub} with {status} ({said.removesuffix('.')}): {STATUSES[status]}"
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"needs room on this machine's disk ({error}): make some, then run the same command again"
    if isinstance(error, ConnectionError) and (refused := XET_REFUSAL.search(str(error))):
        status = int(refused[1])
        return f"was refused by {hub} with {status}: {STATUSES.get(status, refused[2].lower())}"
    if isinstance(error, httpx.TransportError | httpx2.TransportError | ConnectionError):
        reason = " ".join(str(error).split())[:200]
        return f"cannot be reached at {hub} ({type(error).__name__}: {reason}): check HF_ENDPOINT and the network"
    return None
