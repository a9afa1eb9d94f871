"""`hfdistill hub`: a Hub of one's own."""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import HFDistillError
from ..plugins import need_extra
from . import hub_transfer


DATA = Path("~/.local/share/hfdistill/hub")
HUB_MODULES = ("anyio", "blake3", "markdown_it", "nh3", "starlette", "uvicorn")


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Adds the verb and its own verbs to the command line."""
    hub = subparsers.add_parser("hub", help="a Hub for this machine or site; every client works by HF_ENDPOINT alone")
    verbs = hub.add_subparsers(metavar="VERB", required=True)

    serve = verbs.add_parser("serve", help="serve a Hub until interrupted")
    serve.add_argument("--host", default="127.0.0.1", help="address; any but a loopback one needs a token to exist")
    serve.add_argument("--port", type=int, default=7070, help="port, 0 for a free one (default: %(default)s)")
    serve.add_argument("--quiet", action="store_true", help="no access log on stderr")
    _finish(serve, _serve)

    token = verbs.add_parser("token", help="create, list or revoke access tokens").add_subparsers(
        metavar="VERB", required=True
    )
    create = token.add_parser("create", help="make a token; it is shown once and kept as a hash")
    create.add_argument("user", help="whose token; the user is made if there is none")
    create.add_argument("--name", default="default", help="the token's name (default: %(default)s)")
    create.add_argument(
        "--role",
        choices=("read", "write", "admin"),
        default="write",
        help="read; write to the user's own and organisations' repositories; or admin of all (default: %(default)s)",
    )
    _finish(create, _create_token)
    _finish(token.add_parser("list", help="list tokens, without their secrets"), _list_tokens)
    revoke = token.add_parser("revoke", help="revoke a token")
    revoke.add_argument("user", help="whose token")
    revoke.add_argument("--name", default="default", help="the token's name (default: %(default)s)")
    _finish(revoke, _revoke_token)

    org = verbs.add_parser("org", help="add or remove an organisation's members").add_subparsers(
        metavar="VERB", required=True
    )
    add = org.add_parser("add", help="add a user, or change the user's role")
    add.add_argument("org", help="the organisation; made if there is none")
    add.add_argument("user", help="the user; made if there is none")
    add.add_argument("--role", choices=("read", "write", "admin"), default="write", help="(default: %(default)s)")
    _finish(add, _add_member)
    remove = org.add_parser("remove", help="remove a user")
    remove.add_argument("org", help="the organisation")
    remove.add_argument("user", help="the user")
    _finish(remove, _remove_member)

    for verb, what in (("disable", "take a repository from everybody but administrators"), ("enable", "give it back")):
        parser = verbs.add_parser(verb, help=what)
        parser.add_argument("repo", help="namespace/name")
        parser.add_argument(
            "--repo_type", choices=("model", "dataset", "space"), default="model", help="(default: %(default)s)"
        )
        _finish(parser, _disable)
        parser.set_defaults(disabled=verb == "disable")

    gc = verbs.add_parser("gc", help="remove contents that no branch, tag or pull request leads to")
    gc.add_argument("--grace", type=float, default=24, help="keep what is younger, in hours (default: %(default)s)")
    _finish(gc, _gc)
    fsck = verbs.add_parser("fsck", help="check the database and every content")
    fsck.add_argument("--quick", action="store_true", help="check sizes only, do not read the contents")
    _finish(fsck, _fsck)
    backup = verbs.add_parser("backup", help="copy the Hub's folder, also while it is served")
    backup.add_argument("target", type=Path, help="an empty folder or an earlier backup")
    _finish(backup, _backup)
    mirror = verbs.add_parser(
        "mirror",
        help="copy repositories of another Hub into this one's folder, with branches, tags and commits",
        description="Copy repositories of another Hub into this Hub's folder, also while it is served. Commits keep "
        "their ids, so that what pins them goes on working. A second call brings what is new; one after a kill goes "
        "on where that happened.",
    )
    mirror.add_argument(
        "names",
        nargs="+",
        metavar="NAME",
        help="namespace/name of a model, or datasets/…, spaces/…, collections/namespace/slug, runs/namespace/run",
    )
    mirror.add_argument("--from", dest="source", metavar="URL", help="the other Hub (default: HF_ENDPOINT)")
    mirror.add_argument("--from_token_env", metavar="NAME", help="environment variable with the token to read there")
    mirror.add_argument(
        "--revision",
        action="append",
        metavar="REV",
        help="only this branch, tag or commit, without the history before it; may be given several times",
    )
    _finish(mirror, _mirror)

    hub_transfer.add_parsers(verbs)


def _finish(parser: argparse.ArgumentParser, func) -> None:
    parser.add_argument("--data", type=Path, default=DATA, help="the Hub's folder (default: %(default)s)")
    parser.set_defaults(func=func)


def _serve(args: argparse.Namespace) -> None:
    need_extra("a Hub of one's own", "hub", *HUB_MODULES)
    from ..servers.hub.app import serve

    serve(args.host, args.port, args.data, access_log=not args.quiet)


def _hub(args: argparse.Namespace, make: bool = False):
    from ..servers.hub.service import Hub

    if not make and not (args.data.expanduser() / "hub.sqlite").exists():
        raise HFDistillError(f"there is no Hub in {args.data}: name its folder with --data")
    return Hub(args.data)


@contextmanager
def _user_errors() -> Iterator[None]:
    """The Hub's own refusals are the user's errors here."""
    from ..servers.hub.errors import HubError

    try:
        yield
    except HubError as error:
        raise HFDistillError(error.message) from error


def _create_token(args: argparse.Namespace) -> None:
    with _user_errors():
        print(_hub(args, make=True).accounts.create_token(args.user, args.name, args.role))


def _list_tokens(args: argparse.Namespace) -> None:
    for row in _hub(args).accounts.tokens():
        print(f"{row['user']}\t{row['name']}\t{row['role']}\t{row['created_at']}")


def _revoke_token(args: argparse.Namespace) -> None:
    if not _hub(args).accounts.revoke_token(args.user, args.name):
        raise HFDistillError(f"{args.user} has no token '{args.name}'")


def _add_member(args: argparse.Namespace) -> None:
    with _user_errors():
        _hub(args).accounts.add_member(args.org, args.user, args.role)


def _remove_member(args: argparse.Namespace) -> None:
    if not _hub(args).accounts.remove_member(args.org, args.user):
        raise HFDistillError(f"{args.user} is no member of {args.org}")


def _disable(args: argparse.Namespace) -> None:
    with _user_errors():
        _hub(args).repositories.disable(args.repo_type, args.repo, args.disabled)


def _gc(args: argparse.Namespace) -> None:
    from ..servers.hub.maintenance import collect

    removed = collect(_hub(args), args.grace * 3600)
    print(
        f"removed {removed.commits} commits, {removed.trees} trees, {removed.blobs} contents, "
        f"{removed.bytes / 1e6:.1f} MB"
    )


def _fsck(args: argparse.Namespace) -> int:
    from ..servers.hub.maintenance import check, leftovers

    hub = _hub(args)
    problems, harmless = check(hub, contents=not args.quick), leftovers(hub)
    for sentence in (*problems, *harmless):
        print(sentence)
    if harmless:
        print(f"{len(harmless)} leftovers: `hfdistill hub gc` removes them once they are old")
    print(f"{len(problems)} problems" if problems else "no problem found")
    return 1 if problems else 0


def _mirror(args: argparse.Namespace) -> None:
    need_extra("a Hub of one's own", "hub", *HUB_MODULES)
    from ..artifacts.mirror import Mirror

    with _user_errors():
        mirror = Mirror(hub_transfer.client(args.source, args.from_token_env), _hub(args, make=True), args.revision)
        for name in args.names:
            for sentence in mirror(name):
                print(sentence, flush=True)


def _backup(args: argparse.Namespace) -> None:
    from ..servers.hub.maintenance import backup

    print(f"copied {backup(_hub(args), args.target)} new contents to {args.target}")
