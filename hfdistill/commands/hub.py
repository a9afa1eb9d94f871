"""`hfdistill hub`: a Hub of one's own."""

import argparse
from pathlib import Path


DATA = Path("~/.local/share/hfdistill/hub")


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Adds the verb and its own verbs to the command line."""
    hub = subparsers.add_parser("hub", help="a Hub for this machine or site; every client works by HF_ENDPOINT alone")
    verbs = hub.add_subparsers(metavar="VERB", required=True)

    serve = verbs.add_parser("serve", help="serve a Hub until interrupted")
    serve.add_argument("--host", default="127.0.0.1", help="address; any but a loopback one needs a token to exist")
    serve.add_argument("--port", type=int, default=7070, help="port, 0 for a free one (default: %(default)s)")
    serve.add_argument("--quiet", action="store_true", help="no access log on stderr")
    _finish(serve, _serve)


def _finish(parser: argparse.ArgumentParser, func) -> None:
    parser.add_argument("--data", type=Path, default=DATA, help="the Hub's folder (default: %(default)s)")
    parser.set_defaults(func=func)


def _serve(args: argparse.Namespace) -> int:
    from hfdistill.servers.hub.app import serve

    serve(args.host, args.port, args.data, access_log=not args.quiet)
    return 0
