"""Routes of downloads: contents with ranges, ETags and conditions."""

import mimetypes
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from urllib.parse import quote

from starlette.responses import Response

from .blobs import check_sha256
from .contents import Blob
from .direct_files import PIECE
from .direct_io import EXTENSION
from .errors import HubError, entry_not_found
from .rights import Right
from .routing import Call, Routes
from .trees import FOLDER, LARGE, check_path


routes = Routes()

# Types that a browser may show without running anything.
SHOWN = ("image/png", "image/jpeg", "image/gif", "image/webp", "image/svg+xml", "application/json", "application/pdf")


class BlobResponse(Response):
    """Sends (a part of) a blob, a large one past Python where the server can."""

    def __init__(self, blob: Blob, start: int, end: int, status: int, headers: dict[str, str], in_thread: Callable):
        super().__init__(None, status, headers)
        self.headers["content-length"] = str(end - start)
        self.blob, self.start, self.end = blob, start, end
        self.in_thread = in_thread

    async def __call__(self, scope: dict, receive: Callable, send: Callable) -> None:
        head = {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
        if scope["method"] == "HEAD" or self.end <= self.start or self.blob.data is not None:
            data = b""
            if scope["method"] != "HEAD" and self.blob.data is not None:
                data = self.blob.data[self.start : self.end]
            await send(head)
            await send({"type": "http.response.body", "body": data})
            return
        await send(head)
        direct = scope.get("extensions", {}).get(EXTENSION)
        for part in self.blob.between(self.start, self.end):
            with open(part.path, "rb", buffering=0) as file:
                if direct and self.end - self.start > PIECE:
                    await direct.send_file(file, part.start, part.end - part.start)
                    continue
                position = part.start
                while position < part.end:
                    length = min(PIECE, part.end - position)
                    data = await self.in_thread(os.pread, file.fileno(), length, position)
                    if not data:
                        raise RuntimeError(f"{part.path} is shorter than it was")
                    position += len(data)
                    await send({"type": "http.response.body", "body": data, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


@dataclass(frozen=True)
class Range:
    start: int
    end: int
    partial: bool


def wanted_range(header: str | None, size: int) -> Range:
    """The part of a content that a Range header asks for; several parts are answered by the whole.

    Raises:
        [`HubError`]: 416, the content ends before it.
    """
    match = re.fullmatch(r"bytes=\s*(\d{0,18})-(\d{0,18})\s*", header or "")
    if not match or match[0] == "bytes=-" or not (match[1] or match[2]):
        return Range(0, size, False)
    if not match[1]:
        start, end = max(0, size - int(match[2])), size
        unsatisfiable = int(match[2]) == 0 or size == 0
    else:
        start = int(match[1])
        end = min(size, int(match[2]) + 1) if match[2] else size
        if match[2] and int(match[2]) < start:
            return Range(0, size, False)
        unsatisfiable = start >= size
    if unsatisfiable:
        raise HubError(416, "The range lies outside of the file.")
    return Range(start, end, True)


@routes("GET", "/{prefix}{repo}/resolve/{rev}/{path}", Right.CONTENT)
def resolve(call: Call) -> Response:
    return _file(call, raw=False)


@routes("GET", "/{prefix}{repo}/raw/{rev}/{path}", Right.CONTENT)
def raw(call: Call) -> Response:
    """What git keeps: of a large file its pointer."""
    return _file(call, raw=True)


def _file(call: Call, raw: bool) -> Response:
    hub = call.hub
    path = call.params["path"]
    commit = hub.repositories.resolve(call.repo, call.params["rev"])
    check_path(path)
    entry = hub.trees.find(commit.tree, path)
    headers = {"X-Repo-Commit": commit.oid}
    if entry is None or entry.kind == FOLDER:
        response = entry_not_found(path).response()
        # Clients remember that a commit has no such file.
        response.headers.update(headers)
        return response
    pointer = raw and entry.kind == LARGE
    blob = Blob(len(entry.pointer), entry.pointer) if pointer else hub.blobs.find(entry.sha256)
    if blob is None:
        raise HubError(500, f"The content of '{path}' is missing: run `hfdistill hub fsck`.")
    etag = f'"{entry.sha256 if entry.kind == LARGE and not pointer else entry.oid}"'
    headers |= {"ETag": etag, "Accept-Ranges": "bytes", **content_headers(path, bool(call.query("download")))}
    headers["Last-Modified"] = http_date(commit.created_at)
    if pointer:
        headers["Content-Type"] = "text/plain; charset=utf-8"
    elif entry.kind == LARGE:
        headers |= {"X-Linked-Size": str(entry.size), "X-Linked-ETag": etag}
    known = call.request.headers.get("if-none-match")
    if known and (known.strip() == "*" or etag in [item.strip().removeprefix("W/") for item in known.split(",")]):
        return Response(status_code=304, headers=headers)
    return blob_response(call, blob, headers, etag)


def blob_response(call: Call, blob: Blob, headers: dict[str, str], etag: str) -> Response:
    asked = call.request.headers.get("range")
    condition = call.request.headers.get("if-range")
    try:
        part = wanted_range(asked if condition in (None, etag) else None, blob.size)
    except HubError as error:
        response = error.response()
        response.headers["Content-Range"] = f"bytes */{blob.size}"
        return response
    if part.partial:
        headers["Content-Range"] = f"bytes {part.start}-{part.end - 1}/{blob.size}"
    return BlobResponse(blob, part.start, part.end, 206 if part.partial else 200, headers, call.in_thread)


def http_date(time: str) -> str:
    moment = datetime.strptime(time, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
    return format_datetime(moment, usegmt=True)


def content_headers(path: str, download: bool = False) -> dict[str, str]:
    """Headers with which no file of a repository can run as a page of the Hub."""
    guessed = mimetypes.guess_type(path)[0] or "application/octet-stream"
    is_text = guessed.startswith("text/") or path.endswith((".yaml", ".yml", ".jsonl", ".toml", ".ipynb"))
    if guessed in SHOWN:
        content_type = guessed
    else:
        content_type = "text/plain; charset=utf-8" if is_text else "application/octet-stream"
    name = quote(path.rpartition("/")[2])
    shown = not download and content_type != "application/octet-stream"
    return {
        "Content-Type": content_type,
        "Content-Disposition": f"{'inline' if shown else 'attachment'}; filename*=UTF-8''{name}",
        "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox",
        "X-Content-Type-Options": "nosniff",
    }


@routes("GET", "/_lfs/{sha256}/{size}", Right.SIGNED)
def lfs_get(call: Call) -> Response:
    sha256 = check_sha256(call.params["sha256"])
    call.hub.accounts.verify("lfs-read", sha256, call.query("signature") or "")
    blob = call.hub.blobs.find(sha256)
    if blob is None:
        raise HubError(404, f"There is no object {sha256}.")
    headers = {"ETag": f'"{sha256}"', "Accept-Ranges": "bytes", "Content-Type": "application/octet-stream"}
    return blob_response(call, blob, headers, headers["ETag"])
