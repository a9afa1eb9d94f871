"""`hfdistill install-hf-extension`: makes `hf distill …` the same as `hfdistill …`."""

import argparse
import datetime
import sys
from pathlib import Path

from ..errors import HFDistillError


SHORT_NAME = "distill"
# GitHub allows no such account: the `hf` command would update an extension from the repository that is named here.
OWNER = "_pip_"


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the verb."""
    parser = subparsers.add_parser(
        "install-hf-extension",
        help="make `hf distill …` the same as `hfdistill …`",
        description="Register this installation as the extension `distill` of the `hf` command, without a download. "
        "`hf extensions remove distill` takes it away again.",
    )
    parser.add_argument("--force", action="store_true", help="replace an extension of the same name")
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> None:
    """Write the extension's manifest where `hf` looks for extensions."""
    from importlib.metadata import metadata

    from huggingface_hub.cli.extensions import EXTENSIONS_ROOT, MANIFEST_FILENAME, ExtensionManifest

    script = Path(sys.executable).parent / ("hf-distill.exe" if sys.platform == "win32" else "hf-distill")
    if not script.is_file():
        raise HFDistillError(f"there is no '{script}': install hfdistill into this environment first, by pip install")
    folder = EXTENSIONS_ROOT.expanduser() / f"hf-{SHORT_NAME}"
    if folder.exists() and not args.force:
        known = (folder / MANIFEST_FILENAME).is_file()
        if not known or ExtensionManifest.load(folder).owner != OWNER:
            raise HFDistillError(f"'{folder}' holds another extension named {SHORT_NAME}: give --force to replace it")
    ExtensionManifest(
        owner=OWNER,
        repo=f"hf-{SHORT_NAME}",
        repo_id=f"{OWNER}/hf-{SHORT_NAME}",
        short_name=SHORT_NAME,
        executable_path=str(script),
        type="python",
        installed_at=datetime.datetime.now(datetime.UTC),
        description=metadata("hfdistill")["Summary"],
    ).save(folder)
    print(f"`hf {SHORT_NAME}` now runs {script}")
