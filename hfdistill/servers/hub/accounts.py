"""Who asks, and what they may do: users, organisations and tokens.

Without any token the Hub is open: whoever reaches it, which can only be this machine, is the user `local` and may do
everything. The first token closes it.
"""

import hashlib
import hmac
import re
import secrets
import sqlite3
import time
from dataclasses import dataclass, field

from .database import Database, now
from .errors import HubError, bad_request, forbidden


LOCAL_USER = "local"
NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_-])?")
# Names with which a namespace would hide a route of the server.
RESERVED = {
    "api",
    "datasets",
    "spaces",
    "models",
    "collections",
    "healthz",
    "login",
    "search",
    "static",
    "buckets",
    "papers",
    "uploads",
    "oauth",
    "_cas",
    "_lfs",
}


def check_name(name: object, what: str) -> str:
    """Checks the name of a namespace or repository by the rules that clients apply."""
    if not isinstance(name, str) or not NAME.fullmatch(name) or "--" in name or ".." in name:
        raise bad_request(
            f"Invalid {what} {name!r}: letters, digits, '-', '_' and '.', at most 96, no '--' or '..', "
            "and neither end may be '-' or '.'."
        )
    if name.endswith(".git") or (what != "repository name" and name.lower() in RESERVED):
        raise bad_request(f"Invalid {what} '{name}': this name is taken by the server.")
    return name


@dataclass(frozen=True)
class User:
    """Who a request comes from.

    `role` is `"admin"` (every namespace), `"write"`, `"read"` or `"anonymous"`; `orgs` maps the organisations to the
    user's role in each.
    """

    name: str
    role: str
    id: int | None = None
    token_name: str | None = None
    orgs: dict[str, str] = field(default_factory=dict)

    @property
    def anonymous(self) -> bool:
        return self.role == "anonymous"

    def belongs_to(self, namespace: str) -> bool:
        names = {self.name.lower(), *(org.lower() for org in self.orgs)}
        return self.role == "admin" or (not self.anonymous and namespace.lower() in names)

    def may_write(self, namespace: str) -> bool:
        if self.role == "admin":
            return True
        if self.role != "write":
            return False
        roles = {org.lower(): role for org, role in self.orgs.items()}
        return namespace.lower() == self.name.lower() or roles.get(namespace.lower()) in ("write", "admin")


ANONYMOUS = User("", "anonymous")
OPEN_USER = User(LOCAL_USER, "admin", token_name="open")


def hash_token(token: str) -> str:
    # Tokens carry 192 random bits, so a plain hash cannot be searched back.
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


class Accounts:
    """Users, organisations, tokens and the short-lived signatures of upload addresses."""

    def __init__(self, database: Database):
        self.database = database
        self._secret = bytes.fromhex(database.meta("secret"))

    def has_tokens(self) -> bool:
        return self.database.row("SELECT 1 FROM tokens LIMIT 1") is not None

    def authenticate(self, token: str | None) -> User:
        """The user whom a token stands for.

        Raises:
            [`HubError`]: 401, the token is unknown.
        """
        if not self.has_tokens():
            return OPEN_USER
        if token is None:
            return ANONYMOUS
        row = self.database.row(
            "SELECT users.id, users.name, tokens.role, tokens.name AS token_name FROM tokens "
            "JOIN accounts AS users ON users.id = tokens.user_id WHERE tokens.hash = ?",
            hash_token(token),
        )
        if row is None:
            raise HubError(401, "Invalid credentials in Authorization header")
        orgs = self.database.rows(
            "SELECT orgs.name, members.role FROM members JOIN accounts AS orgs ON orgs.id = members.org_id "
            "WHERE members.user_id = ?",
            row["id"],
        )
        return User(row["name"], row["role"], row["id"], row["token_name"], {org["name"]: org["role"] for org in orgs})

    def account(self, name: str, kind: str) -> int:
        """The id of a user or organisation, made where it does not exist yet."""
        check_name(name, "user name" if kind == "user" else "organisation name")
        with self.database.write() as write:
            row = write.execute("SELECT id, kind FROM accounts WHERE name = ?", (name,)).fetchone()
            if row is None:
                values = (name, kind, now())
                return write.execute(
                    "INSERT INTO accounts (name, kind, created_at) VALUES (?, ?, ?)", values
                ).lastrowid
        if row["kind"] != kind:
            raise bad_request(f"'{name}' is already {'a user' if row['kind'] == 'user' else 'an organisation'}.")
        return row["id"]

    def create_token(self, user: str, name: str, role: str) -> str:
        """Makes a token and returns it; only its hash is kept, so it is shown this one time."""
        user_id = self.account(user, "user")
        token = "hf_" + secrets.token_hex(24)
        with self.database.write() as write:
            if write.execute("SELECT 1 FROM tokens WHERE user_id = ? AND name = ?", (user_id, name)).fetchone():
                raise bad_request(f"User '{user}' already has a token named '{name}'.")
            write.execute(
                "INSERT INTO tokens (user_id, name, hash, role, created_at) VALUES (?, ?, ?, ?, ?)",
                (user_id, name, hash_token(token), role, now()),
            )
        return token

    def tokens(self) -> list[sqlite3.Row]:
        return self.database.rows(
            "SELECT accounts.name AS user, tokens.name, tokens.role, tokens.created_at FROM tokens "
            "JOIN accounts ON accounts.id = tokens.user_id ORDER BY accounts.name, tokens.name"
        )

    def revoke_token(self, user: str, name: str) -> bool:
        with self.database.write() as write:
            return bool(
                write.execute(
                    "DELETE FROM tokens WHERE name = ? AND user_id = (SELECT id FROM accounts WHERE name = ?)",
                    (name, user),
                ).rowcount
            )

    def add_member(self, org: str, user: str, role: str) -> None:
        org_id, user_id = self.account(org, "org"), self.account(user, "user")
        with self.database.write() as write:
            write.execute("INSERT OR REPLACE INTO members VALUES (?, ?, ?)", (org_id, user_id, role))

    def remove_member(self, org: str, user: str) -> bool:
        with self.database.write() as write:
            return bool(
                write.execute(
                    "DELETE FROM members WHERE org_id = (SELECT id FROM accounts WHERE name = ?) "
                    "AND user_id = (SELECT id FROM accounts WHERE name = ?)",
                    (org, user),
                ).rowcount
            )

    def sign(self, purpose: str, subject: str, user: str, lifetime: int) -> str:
        """A short-lived proof that `user` may do `purpose` with `subject`, for addresses that carry no token."""
        expires = int(time.time()) + lifetime
        return f"{expires}.{user}.{self._digest(purpose, subject, user, expires)}"

    def verify(self, purpose: str, subject: str, signature: str) -> str:
        """The user whom [`sign`] named.

        Raises:
            [`HubError`]: 403, the proof is wrong or too old.
        """
        expires, _, rest = signature.partition(".")
        user, _, digest = rest.rpartition(".")
        if not expires.isascii() or not expires.isdigit() or len(expires) > 12 or not digest.isascii():
            raise forbidden("Malformed upload signature.")
        if not hmac.compare_digest(digest, self._digest(purpose, subject, user, int(expires))):
            raise forbidden("Wrong upload signature.")
        if int(expires) < time.time():
            raise forbidden("The upload address has expired.")
        return user

    def _digest(self, purpose: str, subject: str, user: str, expires: int) -> str:
        text = "\n".join((purpose, subject, user, str(expires)))
        return hmac.new(self._secret, text.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()


def require_login(user: User) -> None:
    if user.anonymous:
        raise HubError(401, "Invalid username or password: this call needs a token.")


def require_namespace(user: User, namespace: str, what: str) -> None:
    """Refuses users who may not write in `namespace`."""
    require_login(user)
    if not user.may_write(namespace):
        right = "a token with the write role" if user.role == "read" else f"write access to '{namespace}'"
        raise forbidden(f"You don't have the rights to {what} under the namespace '{namespace}': {right} is needed.")
