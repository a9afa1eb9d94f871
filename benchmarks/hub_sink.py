"""A sink for `benchmarks/hub.py`: it answers a pushing client like a Hub and forgets everything.

python benchmarks/hub_sink.py 8091
"""

import asyncio
import json
import sys
import time


class Sink(asyncio.Protocol):
    """Bodies are counted, not kept, and large ones not even looked at."""

    def connection_made(self, transport: asyncio.Transport) -> None:
        self.transport = transport
        self.pending = b""
        self.left = 0

    def data_received(self, data: bytes) -> None:
        if self.left > 0:
            taken = min(self.left, len(data))
            self.left -= taken
            data = data[taken:]
            if self.left == 0:
                self.respond()
        if not data:
            return
        self.pending += data
        head, found, rest = self.pending.partition(b"\r\n\r\n")
        if not found or self.left > 0:
            return
        self.request, *lines = head.decode("latin-1").split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines)
        self.host = headers["host"]
        length = int(headers.get("content-length", 0))
        small = length < 10_000_000 and ("preupload" in self.request or "objects/batch" in self.request)
        if headers.get("expect") == "100-continue":
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if small and len(rest) < length:
            return  # these bodies are answered from, so they are waited for
        self.pending = b""
        self.body = rest[:length]
        self.left = length - len(rest)
        if self.left <= 0:
            self.left = 0
            self.respond()

    def respond(self) -> None:
        method, path, _ = self.request.split(" ")
        status, answer = 200, self.answer(path)
        if answer is None:
            status, answer = 404, {}
        content = json.dumps(answer).encode()
        extra = ""
        if "xet-write-token" in path:
            extra = (
                f"X-Xet-Cas-Url: {answer['casUrl']}\r\nX-Xet-Access-Token: t\r\n"
                f"X-Xet-Token-Expiration: {answer['exp']}\r\n"
            )
        head = (
            f"HTTP/1.1 {status} OK\r\nContent-Type: application/json\r\nContent-Length: {len(content)}\r\n{extra}\r\n"
        )
        self.transport.write(head.encode() + (b"" if method == "HEAD" else content))

    def answer(self, path: str) -> dict | None:
        base = f"http://{self.host}"
        if "/preupload/" in path:
            files = json.loads(self.body)["files"]
            return {
                "files": [
                    {"path": f["path"], "uploadMode": "lfs" if f["size"] > 10**6 else "regular", "shouldIgnore": False}
                    for f in files
                ]
            }
        if path.endswith("/objects/batch"):
            objects = json.loads(self.body)["objects"]
            return {"objects": [{**o, "actions": {"upload": {"href": f"{base}/put"}}} for o in objects]}
        if "/xet-write-token/" in path:
            # A new address each time: the client remembers by address what it has sent.
            return {"accessToken": "t", "exp": int(time.time()) + 3600, "casUrl": f"{base}/cas/{time.time_ns()}"}
        if "/v1/xorbs/" in path:
            return {"was_inserted": True}
        if path.endswith("/v1/shards"):
            return {"result": 1}
        if "/commit/" in path:
            return {"commitOid": "0" * 40, "commitUrl": f"{base}/bench/up/commit/{'0' * 40}"}
        if path == "/api/repos/create":
            return {"url": f"{base}/bench/up"}
        return {} if path == "/put" else None


async def serve_sink(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Sink, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve_sink(int(sys.argv[1])))
