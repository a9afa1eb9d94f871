"""The route by which clients copy large files from one repository to another without sending them."""

from .blobs import check_sha256
from .errors import bad_request
from .repositories import is_repo_type
from .rights import Right
from .routing import Call, Response, Routes, json_response


routes = Routes()

MAX_FILES = 1000


@routes("POST", "/api/{type}/{repo}/lfs-files/duplicate", Right.CONTENT)
def duplicate(call: Call) -> Response:
    """Makes sure that a commit to another repository may name these contents; contents are shared by all."""
    hub = call.hub
    body = call.json()
    target, files = body.get("target"), body.get("files")
    if not isinstance(target, dict) or not is_repo_type(target.get("type")) or not isinstance(target.get("name"), str):
        raise bad_request("'target' needs a 'type' (model, dataset or space) and a 'name'.")
    if not isinstance(files, list) or not all(isinstance(file, dict) for file in files) or len(files) > MAX_FILES:
        raise bad_request(f"'files' must be a list of at most {MAX_FILES} objects with a 'sha256'.")
    # Whoever may open a pull request may bring the contents for it; the commit itself asks for more.
    hub.repositories.get(call.user, target["type"], target["name"], Right.PROPOSE)
    failed = []
    for file in files:
        sha256 = check_sha256(file.get("sha256"))
        if not hub.database.row("SELECT 1 FROM large_files WHERE repo_id = ? AND sha256 = ?", call.repo.id, sha256):
            failed.append({"sha256": sha256, "error": f"{call.repo.repo_id} holds no such file"})
            continue
        hub.blobs.touch(sha256)
    return json_response({"failed": failed})
