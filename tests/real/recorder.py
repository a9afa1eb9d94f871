"""A reverse proxy that keeps what passes: what an engine is really asked, also by a gateway in front of it."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx


class Recorder:
    """Stands in front of `upstream` until the context ends.

    Attributes:
        url (`str`): where it answers.
        answered (`list[dict]`): the bodies of requests that were answered with 200.
    """

    def __init__(self, upstream: str):
        self.answered: list[dict] = []
        recorder = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                self.forward()

            def do_POST(self):
                self.forward(self.rfile.read(int(self.headers["Content-Length"])))

            def forward(self, body=b""):
                told = {name: self.headers[name] for name in ("Authorization", "Content-Type") if name in self.headers}
                answer = httpx.request(self.command, upstream + self.path, content=body, headers=told, timeout=600)
                if body and answer.status_code == 200:
                    recorder.answered.append(json.loads(body))
                self.send_response(answer.status_code)
                for name, value in answer.headers.items():
                    if name == "content-type" or name.startswith("x-"):
                        self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer.content)))
                self.end_headers()
                self.wfile.write(answer.content)

            def log_message(self, *_):
                pass

        class Server(ThreadingHTTPServer):
            request_queue_size = 128
            daemon_threads = True

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> "Recorder":
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *error) -> None:
        self._server.shutdown()
        self._server.server_close()
