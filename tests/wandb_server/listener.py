"""The stand-in as a server on loopback, in a thread of the tests' own process."""

import base64
import gzip
import json
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

from tests.wandb_server.graphql import Document, Execution, RefusedError
from tests.wandb_server.server import Server, strict


class Handler(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"
    state: Server

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        with self.state.lock:
            if path in ("/", "/healthz", "/ready"):
                self._answer(200, {"status": "ok"})
            elif self._cut():
                return
            else:
                self._unknown()

    def do_POST(self) -> None:
        body = self._body()
        path = unquote(urlsplit(self.path).path)
        with self.state.lock:
            if self._cut():
                return
            if path == "/graphql":
                self._graphql(json.loads(body))
            elif path.startswith("/sdk/otel/"):
                self._answer(200, {})
            elif match := re.fullmatch(r"/files/([^/]+)/([^/]+)/([^/]+)/file_stream", path):
                self._file_stream(match[3], json.loads(body))
            else:
                self._unknown()

    def do_PUT(self) -> None:
        body = self._body()
        match = re.fullmatch(r"/_storage/([^/]+)/([^/]+)/(.+)", unquote(urlsplit(self.path).path))
        with self.state.lock:
            if self._cut():
                return
            if match is None:
                self._unknown()
                return
            try:
                self.state.upload(match[2], match[3], body)
                self._answer(200, {})
            except RefusedError as refusal:
                self._answer(refusal.status, {"error": str(refusal)})

    def _graphql(self, request: dict[str, Any]) -> None:
        try:
            document = Document(request["query"])
            fields = [field[1] for field in document.fields]
            if not self._logged_in():
                if fields != ["viewer"] and fields != ["serverInfo"]:
                    raise RefusedError(401, "user is not logged in", "PERMISSION_ERROR")
                root = {**self.state.root(), "viewer": None}
            else:
                root = self.state.root()
            execution = Execution(document, request.get("variables") or {}, self.state.problems)
            self._answer(200, {"data": execution.select(root, document.fields, document.kind)})
        except RefusedError as refusal:
            path = [document.fields[0][1]] if "document" in locals() and document.fields else []
            error: dict[str, Any] = {"message": str(refusal), "path": path}
            if refusal.code:
                error["extensions"] = {"code": refusal.code}
            self.state.refused.append(f"{refusal.status} {'.'.join(path)}: {refusal}")
            self._answer(refusal.status, {"errors": [error], "data": dict.fromkeys(path)})
        except Exception as error:
            self.state.problems.append(f"own fault: {error!r} at {request.get('query', '')[:200]}")
            self._answer(500, {"errors": [{"message": repr(error)}]})
            raise

    def _file_stream(self, run: str, content: dict[str, Any]) -> None:
        if not self._logged_in():
            self._answer(401, {"error": "permission denied"})
            return
        try:
            self._answer(200, self.state.file_stream(run, content))
        except RefusedError as refusal:
            self.state.refused.append(f"{refusal.status} file_stream: {refusal}")
            self._answer(refusal.status, {"error": str(refusal)})

    def _logged_in(self) -> bool:
        kind, _, given = self.headers.get("Authorization", "").partition(" ")
        key = base64.b64decode(given).decode().rpartition(":")[2] if kind == "Basic" else given
        return key == self.state.key if self.state.key else len(key) >= 40

    def _cut(self) -> bool:
        """Behave as if there was nobody."""
        if not self.state.is_away:
            return False
        self.close_connection = True
        self.connection.shutdown(2)
        return True

    def _unknown(self) -> None:
        self.state.problems.append(f"unknown request {self.command} {self.path}")
        self._answer(404, {"error": "not found"})

    def _body(self) -> bytes:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        return gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body

    def _answer(self, status: int, content: Any) -> None:
        body = json.dumps(strict(content), allow_nan=False).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


class Listener(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], (ConnectionError, OSError)):
            super().handle_error(request, client_address)


@contextmanager
def serving(key: str, entity: str = "loop", seed: int = 0) -> Iterator[Server]:
    """Serve while the block runs; the server's ``url`` is its address."""
    state = Server(entity, key, seed)
    listener = Listener(("127.0.0.1", 0), type("BoundHandler", (Handler,), {"state": state}))
    state.url = f"http://127.0.0.1:{listener.server_address[1]}"
    threading.Thread(target=listener.serve_forever, daemon=True).start()
    try:
        yield state
    finally:
        listener.shutdown()
        listener.server_close()
