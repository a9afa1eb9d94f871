"""The `hf` command. Imports nothing of hfdistill."""

import os
import subprocess
import sys
from pathlib import Path

from report import attempt


hf = Path(sys.executable).with_name("hf")
repo = f"commands/model-{os.getpid()}"
folder = Path("folder")


def run(*arguments: str, contains: str = "") -> bool:
    done = subprocess.run([hf, *arguments], capture_output=True, text=True)
    if done.returncode or contains not in done.stdout + done.stderr:
        raise RuntimeError(f"{done.returncode}: {(done.stdout + done.stderr)[-300:]!r}")
    return True


(folder / "sub").mkdir(parents=True)
(folder / "weights.bin").write_bytes(os.urandom(1_000_000))
(folder / "sub" / "notes.txt").write_text("notes")

attempt("hf auth whoami", lambda: run("auth", "whoami", contains="local"))
attempt("hf repos create", lambda: run("repos", "create", repo))
attempt("hf upload (folder)", lambda: run("upload", repo, str(folder), "."))
attempt("hf upload (file, new repository)", lambda: run("upload", f"{repo}-2", str(folder / "weights.bin"), "w.bin"))
attempt("hf upload (create-pr)", lambda: run("upload", repo, str(folder / "sub"), "pr", "--create-pr"))
attempt("hf download", lambda: run("download", repo))
attempt("hf download (file, local-dir)", lambda: run("download", repo, "weights.bin", "--local-dir", "local"))
attempt("the same bytes", lambda: Path("local/weights.bin").read_bytes() == (folder / "weights.bin").read_bytes())
attempt("hf cp (a file)", lambda: run("cp", f"hf://{repo}/weights.bin", f"hf://{repo}-2/copy.bin"))
attempt("hf cp (a repository)", lambda: run("cp", f"hf://{repo}/", f"hf://{repo}-2/all/"))
attempt("hf download (copy)", lambda: run("download", f"{repo}-2", "all/weights.bin", "--local-dir", "copied"))
attempt(
    "the copy's bytes", lambda: Path("copied/all/weights.bin").read_bytes() == (folder / "weights.bin").read_bytes()
)
attempt("hf repos tag create", lambda: run("repos", "tag", "create", repo, "v1"))
attempt("hf repos tag list", lambda: run("repos", "tag", "list", repo, contains="v1"))
attempt("hf repos branch create", lambda: run("repos", "branch", "create", repo, "dev"))
attempt("hf models info", lambda: run("models", "info", repo, contains=repo))
attempt("hf models ls", lambda: run("models", "ls", "--author", "commands", "--format", "json", contains=repo))
attempt("hf datasets ls", lambda: run("datasets", "ls"))
attempt("hf discussions list", lambda: run("discussions", "list", repo))
attempt("hf repos delete-files", lambda: run("repos", "delete-files", repo, "sub/notes.txt"))
attempt("hf repos settings", lambda: run("repos", "settings", repo, "--private"))
attempt("hf repos move", lambda: run("repos", "move", repo, f"{repo}-moved"))
attempt("hf repos delete", lambda: run("repos", "delete", f"{repo}-moved", "--yes"))
