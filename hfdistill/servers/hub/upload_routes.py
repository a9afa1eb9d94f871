"""Routes of uploads: what kind of file, large contents by LFS or Xet, the commit itself."""

import posixpath
import re
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import BinaryIO

from .blobs import check_sha256, check_size
from .commits import MAX_REGULAR, Push, read_push
from .direct_files import PIECE, Receiver, put
from .direct_io import EXTENSION
from .errors import HubError, bad_request, revision_not_found
from .ignore import MAX_TEXT
from .places import Places
from .readers import ReadingError
from .repositories import Commit
from .rights import Right
from .routing import Call, Response, Routes, json_response
from .trees import FOLDER, LARGE, check_path
from .xet import MAX_SHARD, MAX_XORB, Unpacker


routes = Routes()

MAX_COMMIT = 2 * 1024**3
# Bytes of a commit after which the room on the disk is looked at again.
STEP = 8 * 1024**2
# Seconds that an upload address stays good: a 50 GB file over a slow line takes hours.
LIFETIME = 24 * 3600
# Shards that are worked on: a few bytes may name gigabytes to be hashed, so a user has one at a time.
_hashing = Places(4, 1)
# Endings that the real Hub's .gitattributes keep out of git, whatever their size.
LARGE_ENDINGS = re.compile(
    r"\.(7z|arrow|avro|bin|bz2|ckpt|flac|ftz|gguf|gif|gz|h5|joblib|jpe?g|lz4|mlmodel|model|mp3|mp4|msgpack|np[yz]"
    r"|ogg|onnx|ot|parquet|pb|pickle|pkl|png|pth?|rar|safetensors|tar|tflite|tgz|wasm|wav|webm|webp|xz|zip|zst)",
    re.IGNORECASE,
)
# And from this size on nothing goes into git.
LARGE_SIZE = 10 * 1000**2


@routes("POST", "/api/{type}/{repo}/preupload/{rev}", Right.PUSH, patient=True)
def preupload(call: Call) -> Response:
    hub = call.hub
    repo = call.repo
    body = call.json()
    files = body.get("files")
    if not isinstance(files, list):
        raise bad_request("'files' must be a list.")
    try:
        tree = hub.repositories.resolve(repo, call.params["rev"]).tree
    except HubError:
        if not call.flag("create_pr"):
            raise
        tree = hub.repositories.commit(repo, repo.head).tree
    answers, loaded, large_bytes = [], {}, 0
    for file in files:
        if not isinstance(file, dict):
            raise bad_request("Each file must be an object with 'path', 'size' and 'sample'.")
        path, size = file.get("path"), check_size(file.get("size"))
        check_path(path)
        entry = hub.trees.find(tree, path, loaded)
        large = size > 0 and (
            size >= LARGE_SIZE
            or LARGE_ENDINGS.fullmatch(posixpath.splitext(path)[1])
            or (entry is not None and entry.kind == LARGE and size > MAX_REGULAR)
        )
        if large and (entry is None or entry.size != size):
            large_bytes += size
        answer = {"path": path, "uploadMode": "lfs" if large else "regular"}
        # A client does not send again what it is told to be there.
        if entry is not None and entry.kind != FOLDER and not hub.blobs.damage(entry.sha256, entry.size, read=False):
            answer["oid"] = entry.sha256 if entry.kind == LARGE else entry.oid
        answers.append(answer)
    if large_bytes:
        # Said before anything is sent, since Xet clients do not show the words of the store's own refusal.
        hub.blobs.check_space(large_bytes)
    ignored = _ignored(call, tree, body.get("gitIgnore"), [answer["path"] for answer in answers])
    for answer, leaves_out in zip(answers, ignored, strict=True):
        answer["shouldIgnore"] = leaves_out
    return json_response({"files": answers})


def _ignored(call: Call, tree: str, text: object, paths: list[str]) -> list[bool]:
    """Which paths the .gitignore that is being pushed, or the repository's own, leaves out."""
    if text is None:
        entry = call.hub.trees.find(tree, ".gitignore")
        blob = call.hub.blobs.find(entry.sha256) if entry and entry.sha256 else None
        text = blob.read(MAX_TEXT).decode("utf-8", "replace") if blob else ""
    if not isinstance(text, str):
        raise bad_request("'gitIgnore' must be a string.")
    if not text:
        return [False] * len(paths)
    try:
        return call.hub.readers.read(call.caller, "ignored", text, paths)
    except ReadingError as error:
        raise HubError(413, f"The .gitignore cannot be compared with {len(paths)} paths: {error}.") from error


@routes("POST", "/api/{type}/{repo}/commit/{rev}", Right.PUSH, stream=True)
async def commit(call: Call) -> Response:
    # A commit of many files is long; it waits on disk, not in memory, until it has come in whole.
    too_long = f"A commit may weigh at most {MAX_COMMIT} bytes: upload large files as LFS."
    async with _spooled(call, MAX_COMMIT, too_long) as body:
        return await call.patiently(call.user.name, _commit, call, body)


@asynccontextmanager
async def _spooled(call: Call, limit: int, too_long: str) -> AsyncIterator[BinaryIO]:
    with tempfile.TemporaryFile(dir=call.hub.blobs.temporary) as body:
        size = 0
        async for chunk in call.request.stream():
            size += len(chunk)
            if size > limit:
                raise HubError(413, too_long)
            if size // STEP > (size - len(chunk)) // STEP:
                call.hub.blobs.check_space(0)
            body.write(chunk)
        body.seek(0)
        yield body


def _commit(call: Call, body: BinaryIO) -> Response:
    hub = call.hub
    repo = call.repo
    push = read_push(body, hub.blobs, call.user)
    push.read_metadata(hub.metadata, call.user)
    revision = call.params["rev"]
    if call.flag("create_pr"):
        pull, made = hub.discussions.open_with_commit(call.user, repo, revision, push)
        pull_url = f"{call.base_url}/{repo.url_path}/discussions/{pull}"
    else:
        made = _push(call, revision, push)
        pull_url = None
    commit_url = f"{call.base_url}/{repo.url_path}/commit/{made.oid}"
    answer = {"success": True, "commitOid": made.oid, "commitUrl": commit_url, "hookOutput": ""}
    if pull_url:
        answer["pullRequestUrl"] = pull_url
    return json_response(answer)


def _push(call: Call, revision: str, push: Push) -> Commit:
    """Commits to a branch or a pull request; a tag or commit id takes no commits."""
    ref = revision if revision.startswith("refs/") else f"refs/heads/{revision}"
    if ref.startswith("refs/pr/"):
        return call.hub.discussions.push(call.user, call.repo, ref, push)
    if not ref.startswith("refs/heads/"):
        raise revision_not_found(revision)
    return call.hub.committer.commit(call.user, call.repo, ref, push)


@routes("POST", "/{prefix}{repo}.git/info/lfs/objects/batch", Right.METADATA)
def lfs_batch(call: Call) -> Response:
    hub = call.hub
    body = call.json()
    upload = body.get("operation") == "upload"
    repo = call.repo
    # Whoever may open a pull request may bring the contents for it; they become visible only by the commit.
    hub.repositories.require(call.user, repo, Right.PROPOSE if upload else Right.CONTENT)
    objects = body.get("objects")
    if not isinstance(objects, list) or body.get("operation") not in ("upload", "download"):
        raise bad_request("'operation' must be upload or download and 'objects' a list.")
    answers = []
    for item in objects:
        if not isinstance(item, dict):
            raise bad_request("Each object needs an 'oid' and a 'size'.")
        sha256, size = check_sha256(item.get("oid")), check_size(item.get("size"))
        answer: dict = {"oid": sha256, "size": size}
        known = hub.committer.large_size(call.user, repo, sha256)
        if upload and known == size and hub.blobs.touch(sha256):
            pass
        elif upload:
            hub.blobs.check_space(size)
            subject = f"{sha256}:{size}"
            signature = hub.accounts.sign("lfs", subject, call.user.name, LIFETIME)
            href = f"{call.base_url}/_lfs/{sha256}/{size}?signature={signature}"
            verify = f"{call.base_url}/{repo.url_path}.git/info/lfs/verify"
            answer["actions"] = {"upload": {"href": href, "header": {}}, "verify": {"href": verify, "header": {}}}
        elif known is None:
            answer["error"] = {"code": 404, "message": "Object does not exist"}
        else:
            href = f"{call.base_url}/_lfs/{sha256}/{size}"
            signature = hub.accounts.sign("lfs-read", sha256, call.user.name, LIFETIME)
            answer["actions"] = {"download": {"href": f"{href}?signature={signature}"}}
        answers.append(answer)
    content = {"transfer": "basic", "objects": answers}
    response = json_response(content)
    response.headers["content-type"] = "application/vnd.git-lfs+json"
    return response


@routes("PUT", "/_lfs/{sha256}/{size}", Right.SIGNED, stream=True)
async def lfs_put(call: Call) -> Response:
    hub = call.hub
    sha256, size = check_sha256(call.params["sha256"]), _size(call.params["size"])
    user = hub.accounts.verify("lfs", f"{sha256}:{size}", call.query("signature") or "")
    with hub.blobs.receive() as incoming:
        await _receive(call, user, incoming, size)
        if incoming.size != size:
            raise bad_request(f"{incoming.size} bytes came, announced were {size}.")
        await call.patiently(user, hub.blobs.keep, incoming, sha256, user)
    return Response(status_code=200)


def _size(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 15:
        raise bad_request(f"Invalid size '{text}'.")
    return check_size(int(text))


async def _receive(call: Call, user: str, receiver: Receiver, limit: int) -> None:
    """Takes in a body, a large one of announced length past the event loop."""
    announced = call.request.headers.get("content-length", "")
    length = int(announced) if announced.isascii() and announced.isdigit() else None
    if length is not None and length > limit:
        raise HubError(413, f"{length} bytes are coming, at most {limit} were announced.")
    direct = call.request.scope.get("extensions", {}).get(EXTENSION)
    if direct and length is not None and length > PIECE:
        await direct.take_body(receiver, length, partial(call.uploading, user))
        return
    size = 0
    async for chunk in call.request.stream():
        size += len(chunk)
        if size > limit:
            raise HubError(413, f"More than the announced {limit} bytes came.")
        await call.in_thread(put, chunk, receiver)


@routes("POST", "/{prefix}{repo}.git/info/lfs/verify", Right.PROPOSE)
def lfs_verify(call: Call) -> Response:
    body = call.json()
    sha256, size = check_sha256(body.get("oid")), check_size(body.get("size"))
    if call.hub.committer.large_size(call.user, call.repo, sha256) != size:
        raise HubError(404, f"There is no object {sha256} of {size} bytes.")
    return json_response({})


@routes("GET", "/api/{type}/{repo}/xet-write-token/{rev}", Right.PROPOSE)
def xet_write_token(call: Call) -> Response:
    hub = call.hub
    expires = int(time.time()) + LIFETIME
    store = hub.xorbs.current(call.user.name)
    token = hub.accounts.sign("xet", store, call.user.name, LIFETIME)
    # The store's id is part of the address because clients remember by address what a store already has.
    url = f"{call.base_url}/_cas/{store}"
    hub.repositories.resolve(call.repo, "main")
    headers = {"X-Xet-Cas-Url": url, "X-Xet-Access-Token": token, "X-Xet-Token-Expiration": str(expires)}
    return json_response({"accessToken": token, "exp": expires, "casUrl": url}, headers=headers)


def _xet_user(call: Call) -> str:
    scheme, _, token = call.request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        raise HubError(401, "The Xet store needs the token of xet-write-token.")
    return call.hub.accounts.verify("xet", call.params["store"], token.strip())


@routes("POST", "/_cas/{store}/v1/xorbs/default/{hash}", Right.SIGNED, stream=True)
async def xorb(call: Call) -> Response:
    hub = call.hub
    user = _xet_user(call)
    hub.xorbs.path(call.params["store"], call.params["hash"])
    hub.blobs.check_space(MAX_XORB)
    # Its hash is made of its chunks' hashes, and files made of it are hashed as such.
    with hub.blobs.receive(hashed=False) as incoming:
        unpacker = Unpacker(incoming)
        await _receive(call, user, unpacker, MAX_XORB)
        await call.patiently(user, unpacker.finish, call.params["hash"])
        new = await call.patiently(user, hub.xorbs.keep, call.params["store"], call.params["hash"], incoming)
    return json_response({"was_inserted": new})


@routes("POST", "/_cas/{store}/v1/shards", Right.SIGNED, stream=True)
async def shard(call: Call) -> Response:
    user = _xet_user(call)
    async with _spooled(call, MAX_SHARD, f"A shard may weigh at most {MAX_SHARD} bytes.") as body, _hashing.one(user):
        await call.patiently(user, call.hub.xorbs.take_shard, call.params["store"], body, user)
    return json_response({"result": 1})
