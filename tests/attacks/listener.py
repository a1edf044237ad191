"""A host of an attacker: takes every connection, writes down what it is sent, and answers as a provider that fails."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Listener(ThreadingHTTPServer):
    """`connections` counts all that was opened, `sent` holds the head of each request, headers included."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.connections = 0
        self.sent: list[str] = []

    @property
    def url(self) -> str:
        """Where it is reached."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Count the connection, and take it."""
        self.connections += 1
        return True

    def heard(self, secret: str) -> bool:
        """Whether this was in what it was sent."""
        return any(secret in head for head in self.sent)

    @contextmanager
    def running(self) -> Iterator[Listener]:
        """Listen until the end of the block."""
        thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self.shutdown()
            self.server_close()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    server: Listener

    def do_POST(self) -> None:
        """Fail, as a provider whose place another one is to take."""
        self.server.sent.append(f"{self.requestline}\n{self.headers}")
        self.rfile.read(int(self.headers.get("content-length", 0)))
        said = b'{"error": {"message": "down", "type": "server_error"}}'
        self.send_response(503)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    do_GET = do_POST

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""
