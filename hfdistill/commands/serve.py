"""`hfdistill serve`: a TGI-compatible endpoint over transformers."""

import argparse

from ..plugins import need_extra
from .numbers import positive, whole


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Adds the verb to the command line."""
    parser = subparsers.add_parser(
        "serve", help="a TGI-compatible endpoint over transformers, where no TGI is at hand"
    )
    parser.add_argument("model", metavar="MODEL", help="a folder, or a repository of the Hub that HF_ENDPOINT names")
    parser.add_argument("--revision", help="branch, tag or commit of the repository")
    parser.add_argument("--model_id", help="the name that /info tells, instead of MODEL")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8080, help="port, 0 for a free one (default: %(default)s)")
    parser.add_argument(
        "--dtype",
        choices=("auto", "float64", "float32", "bfloat16", "float16"),
        default="auto",
        help="float64 makes a seed's text the same whatever else is decoded beside it, for every model on a CPU; "
        "small Llama models need it for that on few machines only (default: as stored)",
    )
    parser.add_argument("--device", default="auto", help="cuda, cuda:1, cpu (default: cuda where there is one)")
    parser.add_argument(
        "--max_concurrent_requests",
        type=positive,
        default=128,
        help="requests under way; more are refused with 429 (default: %(default)s)",
    )
    parser.add_argument(
        "--max_batch_size", type=positive, help="rows decoded together; the others wait (default: all under way)"
    )
    parser.add_argument(
        "--max_total_tokens", type=positive, help="prompt and response (default: the model's, <= 4096)"
    )
    parser.add_argument("--max_input_tokens", type=positive, help="prompt (default: one less than in all)")
    parser.add_argument(
        "--payload_limit", type=positive, default=2_000_000, help="largest body in bytes (default: %(default)s)"
    )
    parser.add_argument(
        "--prefix_cache_mb",
        type=whole,
        default=256,
        help="most memory for keys and values of how several prompts begin, as worked examples do: computed once; 0 "
        "keeps none (default: %(default)s)",
    )
    parser.add_argument("--api_key", help="bearer token that clients must send")
    parser.set_defaults(func=_serve)


def _serve(args: argparse.Namespace) -> None:
    need_extra("`hfdistill serve`", "serve", "starlette", "uvicorn")
    from ..servers.tgi.app import serve

    serve(**{name: value for name, value in vars(args).items() if name not in ("func", "verb")})
