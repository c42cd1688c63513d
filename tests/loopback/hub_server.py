"""A dataset hub on loopback: what huggingface_hub asks of one to create a repository and to send files to it.

with HubServer(token="secret") as hub:
    hub.url  # the endpoint
    hub.repositories  # name -> path -> bytes
"""

import base64
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self


@dataclass
class HubServer:
    """Knows one token; refuses all others with 401."""

    token: str
    repositories: dict[str, dict[str, bytes]] = field(default_factory=dict)
    private: dict[str, bool] = field(default_factory=dict)
    commits: int = 0

    @property
    def url(self) -> str:
        """The endpoint."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:  # noqa: N802  # the name is http.server's
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                status, answer = hub.answer(self.path, body, self.headers.get("authorization", ""))
                text = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, path: str, body: bytes, authorization: str) -> tuple[int, dict[str, Any]]:
        """Status and JSON for a POST."""
        if path == "/api/validate-yaml":
            return 200, {"errors": [], "warnings": []}
        if authorization != f"Bearer {self.token}":
            return 401, {"error": "Invalid username or password."}
        if path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked['organization']}/{asked['name']}" if asked.get("organization") else asked["name"]
            if name in self.repositories:
                return 409, {"error": "You already created this dataset repo", "url": f"{self.url}/datasets/{name}"}
            self.repositories[name] = {}
            self.private[name] = asked.get("private", asked.get("visibility") == "private")
            return 200, {"url": f"{self.url}/datasets/{name}"}
        name, _, action = path.removeprefix("/api/datasets/").partition("/commit/")
        if not action:
            name, _, action = name.partition("/preupload/")
            files = json.loads(body)["files"]
            answers = [{"path": file["path"], "uploadMode": "regular", "shouldIgnore": False} for file in files]
            return 200, {"files": answers}
        self.commits += 1
        for line in body.decode().splitlines():
            entry = json.loads(line)
            if entry["key"] == "file":
                self.repositories[name][entry["value"]["path"]] = base64.b64decode(entry["value"]["content"])
        oid = f"{self.commits:040x}"
        return 200, {"success": True, "commitOid": oid, "commitUrl": f"{self.url}/datasets/{name}/commit/{oid}"}
