"""A hub on this machine: serves folders as repositories, and refuses as the real one does."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"
OLDER = "76543210fedcba9876543210fedcba9876543210"
"""Of each repository: the newest version, `main`, and one before it."""

REFUSALS = {
    "someone/gated": (403, "GatedRepo"),
    "someone/absent": (401, "RepoNotFound"),
    "someone/broken": (500, ""),
    "someone/busy": (429, ""),
    "someone/closed": (403, ""),
}
"""What is answered for repositories that cannot be had: status, and the header that says why."""


@contextmanager
def hub(repositories: dict[str, Path], older: dict[str, Path] | None = None) -> Iterator[str]:
    """The address of a hub with these repositories.

    Args:
        repositories: The files of each, by its name.
        older: The files of the version before; of others they are the same.
    """

    def files_of(name: str, commit: str) -> Path:
        return (older or {}).get(name, repositories[name]) if commit == OLDER else repositories[name]

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            parts = self.path.split("?")[0].strip("/").split("/")
            if parts[:2] == ["api", "models"]:
                self._api("/".join(parts[2:4]), parts[4:])
            elif parts[2:3] == ["resolve"]:
                self._file("/".join(parts[:2]), _commit(parts[3]), "/".join(parts[4:]))
            else:
                self._refuse(404, "")

        def _api(self, name: str, rest: list[str]) -> None:
            if name in REFUSALS:
                self._refuse(*REFUSALS[name])
            elif name not in repositories:
                self._refuse(404, "RepoNotFound")
            elif rest[1:2] not in ([], ["main"], [COMMIT], [OLDER]):
                self._refuse(404, "RevisionNotFound")
            else:
                commit = _commit(*rest[1:2])
                folder = files_of(name, commit)
                files = [each.relative_to(folder).as_posix() for each in folder.rglob("*") if each.is_file()]
                tree = [
                    {
                        "type": "file",
                        "path": each,
                        "size": (folder / each).stat().st_size,
                        "oid": _tag(folder / each),
                    }
                    for each in files
                ]
                about = {"id": name, "sha": commit, "siblings": [{"rfilename": each} for each in files]}
                self._send(json.dumps(tree if rest[:1] == ["tree"] else about).encode())

        def _file(self, name: str, commit: str, path: str) -> None:
            if name in REFUSALS:
                return self._refuse(*REFUSALS[name])
            file = files_of(name, commit) / path
            if not file.is_file():
                return self._refuse(404, "EntryNotFound")
            return self._send(file.read_bytes(), {"X-Repo-Commit": commit, "ETag": f'"{_tag(file)}"'})

        def _refuse(self, status: int, code: str) -> None:
            self._send(b"{}", {"X-Error-Code": code} if code else {}, status)

        def _send(self, body: bytes, headers: dict[str, str] | None = None, status: int = 200) -> None:
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, name="hub")
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _commit(revision: str = "main") -> str:
    return OLDER if revision == OLDER else COMMIT


def _tag(file: Path) -> str:
    return hashlib.sha1(file.read_bytes()).hexdigest()
