"""`hfdistill lineage`: where an artifact comes from."""

import argparse


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the verb."""
    parser = subparsers.add_parser(
        "lineage",
        help="show what an artifact was made from, back to teacher, student and questions",
        description="Print the tree of an artifact's parents, each pinned to a commit, back to teacher, student and "
        "questions.",
    )
    parser.add_argument(
        "repo", help="namespace/name, namespace/name@revision, type:namespace/name@revision or a folder"
    )
    parser.add_argument("--type", choices=("model", "dataset", "space"), help="kind of repository; found by default")
    parser.add_argument("--output", metavar="FILE", help="draw it into this file too: .png, .svg or .pdf")
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Print the tree, and draw it if asked to."""
    from huggingface_hub.utils import disable_progress_bars

    from ..artifacts.lineage import lineage, text_tree

    disable_progress_bars()  # only manifests are fetched, a few hundred bytes each
    root = lineage(args.repo, args.type)
    print(text_tree(root))
    if args.output:
        from ..artifacts.drawing import draw

        print(f"\ndrawn into {draw(root, args.output)}")
    return 0
