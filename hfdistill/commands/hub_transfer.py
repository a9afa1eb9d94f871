"""`hfdistill hub promote`, `hub export` and `hub import`: a run on its way from one Hub to another."""

import argparse
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ..errors import HFDistillError


if TYPE_CHECKING:
    from huggingface_hub import HfApi

    from ..artifacts.versions import VersionSet


def add_parsers(subparsers: argparse._SubParsersAction) -> None:
    """Add the three to the verbs of `hfdistill hub`."""
    promote = subparsers.add_parser(
        "promote",
        help="publish a run again on another Hub, with its Collection",
        description="Publish the newest complete version of each of a run's artifacts again on another Hub, and the "
        "sources in the same namespace, parents first. Data and fingerprints stay as they are; pinned commits, links "
        "and names become those of the other Hub, so that the run goes on there. A second call adds what is new and "
        "leaves the rest alone. Contents pass through the folder for temporary files (TMPDIR).",
    )
    promote.add_argument("run", help="run, or namespace/run")
    promote.add_argument("--to", required=True, metavar="ENDPOINT", help="the other Hub, e.g. https://huggingface.co")
    promote.add_argument("--from", dest="source", metavar="ENDPOINT", help="the Hub it is on (default: HF_ENDPOINT)")
    promote.add_argument("--from_token_env", metavar="NAME", help="environment variable with the token to read")
    promote.add_argument("--to_token_env", metavar="NAME", help="environment variable with the token to write")
    _target(promote)
    promote.set_defaults(func=_promote)

    export = subparsers.add_parser("export", help="write what would be promoted into one checksummed file")
    export.add_argument("run", help="run, or namespace/run")
    export.add_argument("file", type=Path, help="the file, e.g. run.tar")
    export.set_defaults(func=_export)

    load = subparsers.add_parser("import", help="promote a run from such a file to the Hub at HF_ENDPOINT")
    load.add_argument("file", type=Path, help="the file")
    _target(load)
    load.set_defaults(func=_import)


def _target(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--namespace", help="who will own the repositories (default: the token's user)")
    parser.add_argument("--private", action="store_true", help="make them private, whatever they were")


def _promote(args: argparse.Namespace) -> int:
    from ..artifacts.versions import HubVersions

    source = client(args.source, args.from_token_env)
    target = client(args.to, args.to_token_env)
    if source.endpoint == target.endpoint:
        raise HFDistillError(f"--to names the Hub that the run is on already, {source.endpoint}: name another one")
    with tempfile.TemporaryDirectory(prefix="hfdistill-promote-") as folder:
        return _publish(HubVersions(source, args.run, Path(folder)), target, args)


def _export(args: argparse.Namespace) -> int:
    from ..artifacts.export import export_run
    from ..artifacts.versions import HubVersions

    with tempfile.TemporaryDirectory(prefix="hfdistill-export-") as folder:
        run = HubVersions(client(), args.run, Path(folder))
        export_run(run, args.file)
    print(f"{len(run.places)} repositories of {run.namespace}/{run.name} are in {args.file}")
    return 0


def _import(args: argparse.Namespace) -> int:
    from ..artifacts.export import Archive

    with tempfile.TemporaryDirectory(prefix="hfdistill-import-") as folder:
        return _publish(Archive(args.file, Path(folder)), client(), args)


def _publish(run: "VersionSet", target: "HfApi", args: argparse.Namespace) -> int:
    from ..artifacts.cards import url
    from ..artifacts.errors import hub_errors
    from ..artifacts.promote import Promotion

    namespace = args.namespace
    if namespace is None:
        with hub_errors("account", target.endpoint, target.endpoint):
            namespace = target.whoami(token=target.token or "none")["name"]
    promotion = Promotion(run, target, namespace, args.private)
    print(f"{promotion()} commits are new on {target.endpoint}")
    for repo_type, repo_id in run.places:
        print(url(repo_type, promotion.new_id(repo_id), endpoint=target.endpoint))
    return 0


def client(endpoint: str | None = None, token_env: str | None = None) -> "HfApi":
    """A client of one Hub. The saved Hugging Face token is not sent to a Hub on this machine."""
    from huggingface_hub import HfApi, constants, get_token

    endpoint = (endpoint or constants.ENDPOINT).rstrip("/")
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
