"""A web server that has one file, and breaks off as it is told."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Flaky:
    """What the server does.

    Attributes:
        data: The file.
        breaks_at: No answer goes further than this byte, but after `breaks` of them; None for never.
        breaks: So many answers are broken off.
        has_ranges: It can begin anywhere.
        head: Headers that tell which file it is, besides its length; None where only its bytes can be asked for.
        asked: Requests so far.
    """

    def __init__(
        self, data: bytes, breaks_at: int | None, breaks: int = 10**9, *, has_ranges: bool = True
    ) -> None:
        self.data, self.breaks_at, self.breaks, self.has_ranges = data, breaks_at, breaks, has_ranges
        self.head: dict[str, str] | None = {}
        self.asked = 0


@contextmanager
def serving(flaky: Flaky, name: str) -> Iterator[str]:
    """Its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            if flaky.head is None:
                self.send_error(405)
                return
            self.send_response(200)
            for name, value in {"Content-Length": str(len(flaky.data)), **flaky.head}.items():
                self.send_header(name, value)
            self.end_headers()

        def do_GET(self) -> None:
            flaky.asked += 1
            begin, total = 0, len(flaky.data)
            asked = re.match(r"bytes=(\d+)-", self.headers.get("Range", ""))
            if asked and flaky.has_ranges:
                begin = int(asked[1])
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {begin}-{total - 1}/{total}")
            else:
                self.send_response(200)
            if flaky.has_ranges:
                self.send_header("Accept-Ranges", "bytes")
            self.send_header("Content-Length", str(total - begin))
            self.end_headers()
            end = total
            if flaky.breaks_at is not None and flaky.breaks > 0 and flaky.breaks_at < total:
                end = max(begin, flaky.breaks_at)
                flaky.breaks -= 1
            try:
                self.wfile.write(flaky.data[begin:end])
                self.wfile.flush()
            except OSError:
                pass
            self.close_connection = True

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, name="web")
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/{name}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
