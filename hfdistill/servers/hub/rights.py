"""One door: what a route lets its caller have, and whether this visitor may have it.

A route declares its right; the door checks it before a body is read. Where the address does not say yet what is asked
(a repository's name or an LFS operation in the body), the handler asks the same functions.
"""

from enum import StrEnum

from .accounts import User, require_login, require_namespace
from .errors import HubError, forbidden


class Right(StrEnum):
    """What a route lets its caller have."""

    # Of the Hub as a whole.
    OPEN = "open"  # what everybody may have; lists show each caller what that one may see
    SIGNED = "signed"  # the address, or a token of the store's own, is the proof
    LOGIN = "login"  # needs a token
    ACT = "act"  # needs a token that may write; in which namespace is said in the body
    # Of one repository, for whoever may see it.
    METADATA = "metadata"  # names, sizes, history, card, discussions
    CONTENT = "content"  # what the files hold, behind the gate
    ASK = "ask"  # to knock at the gate
    DISCUSS = "discuss"  # to take part in discussions
    PROPOSE = "propose"  # to bring contents for a pull request
    PUSH = "push"  # to propose if the push goes to a pull request, else to write
    WRITE = "write"  # to change it


def check_user(user: User, right: Right) -> None:
    """Refuses whoever lacks the token, or the role of the token, that a right needs.

    Raises:
        [`HubError`]: 401 for strangers, 403 for a token that may only read.
    """
    if right in (Right.LOGIN, Right.ACT, Right.ASK, Right.DISCUSS, Right.PROPOSE, Right.WRITE):
        require_login(user)
    if right in (Right.ACT, Right.DISCUSS, Right.PROPOSE) and user.role == "read":
        raise forbidden("This token may only read: one with the write role is needed.")


def check_repo(user: User, right: Right, repo, gate_open: bool) -> None:
    """Refuses whoever may see a repository but has not the right that is asked of it.

    Raises:
        [`HubError`]: 401 for strangers, 403 where a right is missing.
    """
    check_user(user, right)
    if right is Right.WRITE:
        require_namespace(user, repo.namespace, f"write to {repo.type} '{repo.repo_id}'")
    if right in (Right.CONTENT, Right.PROPOSE) and not gate_open:
        message = f"Access to {repo.type} {repo.repo_id} is restricted: ask for it on the repository's page."
        raise HubError(401 if user.anonymous else 403, message, "GatedRepo")


def visible(user: User) -> tuple[str, list[str]]:
    """SQL for the rows with a namespace and a mark `private` that a user may see, and its values."""
    if user.role == "admin":
        return "1", []
    names = [] if user.anonymous else [user.name, *user.orgs]
    return f"(private = 0 OR namespace IN ({','.join('?' * len(names))}))", names


def visible_repos(user: User) -> tuple[str, list[str]]:
    """[`visible`] for repositories: a disabled one is in no list."""
    where, names = visible(user)
    return where if user.role == "admin" else f"({where} AND disabled = 0)", names
