"""A web server for a page under test: named contents and one folder, for this machine only."""

import logging
import queue
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import unquote, urlsplit

KINDS = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".wasm": "application/wasm",
}
HEADERS = {
    # own address only; `map` is the nonce of the page's import map
    "Content-Security-Policy": "default-src 'self'; script-src 'self' 'nonce-map' "
    "'wasm-unsafe-eval'",
    # pages isolated like this have a clock with steps of 5 instead of 100 microseconds
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cache-Control": "no-store",
}

log = logging.getLogger("flopsmith")


class Server(ThreadingHTTPServer):
    """Serves `contents` by path, then files below `folder`; keeps what pages post."""

    daemon_threads = True

    def __init__(self, contents: Mapping[str, bytes], folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.contents = contents
        self.folder = folder.resolve()
        self.posted: queue.Queue[bytes] = queue.Queue()
        self.requested: list[str] = []  # paths, in order

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Keep the terminal clean: a browser that is ended leaves its connections open."""
        log.debug("a connection of %s ended", client_address, exc_info=True)

    def content(self, path: str) -> bytes | None:
        """What is at a path; None: nothing."""
        if path in self.contents:
            return self.contents[path]
        file = (self.folder / path.lstrip("/")).resolve()
        return file.read_bytes() if file.is_relative_to(self.folder) and file.is_file() else None


class _Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.server.requested.append(path)
        content = self.server.content(path)
        self._answer(HTTPStatus.NOT_FOUND if content is None else HTTPStatus.OK, path, content)

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        self.server.posted.put(self.rfile.read(length))
        self._answer(HTTPStatus.NO_CONTENT, self.path, None)

    def _answer(self, status: HTTPStatus, path: str, content: bytes | None) -> None:
        self.send_response(status)
        for name, value in HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Type", KINDS.get(Path(path).suffix, "application/octet-stream"))
        self.send_header("Content-Length", str(len(content or b"")))
        self.end_headers()
        self.wfile.write(content or b"")

    def log_message(self, format: str, *args: object) -> None:
        """Keep the terminal clean."""


@contextmanager
def serving(contents: Mapping[str, bytes], folder: Path) -> Iterator[Server]:
    """Serve from a thread for as long as the context lasts."""
    with Server(contents, folder) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
