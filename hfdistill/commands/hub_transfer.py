"""`hfdistill hub promote`, `hub export` and `hub import`: a run on its way from one Hub to another."""

import argparse
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit


if TYPE_CHECKING:
    from huggingface_hub import HfApi


def add_parsers(subparsers: argparse._SubParsersAction) -> None:
    """Add the three to the verbs of `hfdistill hub`."""
    promote = subparsers.add_parser(
        "promote",
        help="replay a run on another Hub, with its history, tags and Collection",
        description="Replay every commit and tag of a run's repositories, and of the sources in the same namespace, "
        "on another Hub. Links, pinned parents and fingerprints are rewritten, so that the run goes on there. A "
        "second call adds what is new. Branches other than main and pull requests stay behind. Contents pass through "
        "the folder for temporary files (TMPDIR).",
    )
    promote.add_argument("run", help="run, or namespace/run")
    promote.add_argument("--to", required=True, metavar="ENDPOINT", help="the other Hub, e.g. https://huggingface.co")
    promote.add_argument("--from", dest="source", metavar="ENDPOINT", help="the Hub it is on (default: HF_ENDPOINT)")
    promote.add_argument("--from_token_env", metavar="NAME", help="environment variable with the token to read")
    promote.add_argument("--to_token_env", metavar="NAME", help="environment variable with the token to write")
    _target(promote)
    promote.set_defaults(func=_promote)

    export = subparsers.add_parser("export", help="write a run with its history into one checksummed file")
    export.add_argument("run", help="run, or namespace/run")
    export.add_argument("file", type=Path, help="the file, e.g. run.tar")
    export.set_defaults(func=_export)

    load = subparsers.add_parser("import", help="replay a run from such a file on the Hub at HF_ENDPOINT")
    load.add_argument("file", type=Path, help="the file")
    _target(load)
    load.set_defaults(func=_import)


def _target(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--namespace", help="who will own the repositories (default: the token's user)")
    parser.add_argument("--private", action="store_true", help="make them private, whatever they were")


def _promote(args: argparse.Namespace) -> int:
    from huggingface_hub import constants

    from ..artifacts.history import HubHistory
    from ..errors import HFDistillError

    source = _client(args.source or constants.ENDPOINT, args.from_token_env)
    target = _client(args.to, args.to_token_env)
    if source.endpoint == target.endpoint:
        raise HFDistillError(f"--to names the Hub that the run is on already, {source.endpoint}: name another one")
    with tempfile.TemporaryDirectory(prefix="hfdistill-promote-") as folder:
        history = HubHistory(source, Path(folder))
        return _replay(history.run(args.run), history, target, args)


def _export(args: argparse.Namespace) -> int:
    from huggingface_hub import constants

    from ..artifacts.export import export_run
    from ..artifacts.history import HubHistory

    with tempfile.TemporaryDirectory(prefix="hfdistill-export-") as folder:
        history = HubHistory(_client(constants.ENDPOINT, None), Path(folder))
        run = history.run(args.run)
        path = export_run(run, history, args.file)
    print(f"{len(run.repositories)} repositories of {run.namespace}/{run.name} are in {path}")
    return 0


def _import(args: argparse.Namespace) -> int:
    from huggingface_hub import constants

    from ..artifacts.export import Archive

    with tempfile.TemporaryDirectory(prefix="hfdistill-import-") as folder:
        archive = Archive(args.file, Path(folder))
        return _replay(archive.run, archive, _client(constants.ENDPOINT, None), args)


def _replay(run, contents, target: "HfApi", args: argparse.Namespace) -> int:
    from ..artifacts.cards import url
    from ..artifacts.errors import hub_errors
    from ..artifacts.promote import Replay

    namespace = args.namespace
    if namespace is None:
        with hub_errors("account", target.endpoint, target.endpoint):
            namespace = target.whoami(token=target.token or "none")["name"]
    replay = Replay(run, contents, target, namespace, args.private)
    made = replay()
    print(f"{replay.written} commits are new on {target.endpoint}")
    for repo_type, repo_id in made:
        print(url(repo_type, repo_id, endpoint=target.endpoint))
    return 0


def _client(endpoint: str, token_env: str | None) -> "HfApi":
    """A client of one Hub. The saved Hugging Face token is not sent to a Hub on this machine."""
    from huggingface_hub import HfApi, constants, get_token

    from ..errors import HFDistillError

    endpoint = endpoint.rstrip("/")
    if urlsplit(endpoint).scheme not in ("http", "https"):
        raise HFDistillError(f"{endpoint!r} is no address of a Hub: write it like https://huggingface.co")
    if token_env:
        token = os.environ.get(token_env)
        if not token:
            raise HFDistillError(f"the environment variable {token_env} holds no token: set it, or leave the flag out")
    else:
        local = urlsplit(endpoint).hostname in ("127.0.0.1", "localhost", "::1")
        token = None if local and endpoint != constants.ENDPOINT else get_token()
    return HfApi(endpoint=endpoint, token=token or False)
