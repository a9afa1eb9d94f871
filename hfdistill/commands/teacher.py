"""`hfdistill teacher`: the teacher as a Hugging Face Inference Endpoint."""

import argparse


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Adds the verb and its own verbs to the command line."""
    parser = subparsers.add_parser("teacher", help="deploy, look at, pause or delete the teacher's Inference Endpoint")
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    deploy = verbs.add_parser(
        "deploy",
        help="create or wake the endpoint and wait until it serves",
        description="The endpoint costs money from now until it is paused or deleted. Its URL is noted in the run's "
        "output_dir, where label_teacher.py finds it if the configuration names no endpoint.",
    )
    deploy.add_argument("--vendor", default="aws", help="cloud (default: %(default)s)")
    deploy.add_argument("--region", default="us-east-1", help="its region (default: %(default)s)")
    deploy.add_argument("--instance_type", default="nvidia-h100", help="accelerator (default: %(default)s)")
    deploy.add_argument("--instance_size", default="x1", help="how many of them (default: %(default)s)")
    deploy.add_argument("--engine", default="tgi", help="tgi or vllm (default: %(default)s)")
    deploy.add_argument("--image", help="another image of that engine")
    deploy.add_argument("--max_total_tokens", type=int, default=4096, help="prompt and response (default: 4096)")
    deploy.add_argument("--pause_when_done", action="store_true", help="pause it when the labels are published")
    _finish(deploy, _deploy)
    _finish(verbs.add_parser("status", help="state and URL"), _status)
    _finish(verbs.add_parser("pause", help="pause it: it costs nothing then"), _pause)
    _finish(verbs.add_parser("delete", help="delete it"), _delete)


def _finish(parser: argparse.ArgumentParser, func) -> None:
    parser.add_argument("config", help="YAML file of the run")
    parser.add_argument("--set", nargs="*", default=[], metavar="section.key=value", help="settings on top of it")
    parser.set_defaults(func=func)


def _config(args: argparse.Namespace):
    from ..runs.validation import stage_config

    return stage_config("label", args.config, args.set)


def _deploy(args: argparse.Namespace) -> None:
    from ..teacher.deploy import Hardware, deploy, endpoint_name

    config = _config(args)
    hardware = Hardware(args.vendor, args.region, args.instance_type, args.instance_size)
    print(
        f"starting {endpoint_name(config.run)} on {args.instance_size} {args.instance_type}; it costs money from now"
    )
    url = deploy(config, hardware, args.engine, args.image, args.max_total_tokens, args.pause_when_done)
    print(f"serving at {url}")


def _status(args: argparse.Namespace) -> None:
    from ..teacher.deploy import existing

    found = existing(_config(args).run)
    print(f"{found.name}: {found.status}" + (f" at {found.url}" if found.url else ""))


def _pause(args: argparse.Namespace) -> None:
    from ..teacher.deploy import endpoint_name, pause

    run = _config(args).run
    pause(run)
    print(f"{endpoint_name(run)} is paused")


def _delete(args: argparse.Namespace) -> None:
    from ..teacher.deploy import delete, endpoint_name

    run = _config(args).run
    delete(run)
    print(f"{endpoint_name(run)} is deleted")
