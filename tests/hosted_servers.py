"""Servers on this machine that speak the HTTP of hosted models, well or badly, and note what they are asked."""

from __future__ import annotations

import base64
import io
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.parser import BytesParser
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
from PIL import Image

from plantain.operators.models.fake import FakeModel
from plantain.operators.prompts import Prompt

KEY_ENV, KEY = "PLANTAIN_TEST_KEY", "sk-Xy12secretsecret34Zw"


@dataclass(frozen=True)
class Asked:
    """A request.

    Attributes:
        fields: Of a form, by name; the picture is `image`.
        begin_s, end_s: Of the monotonic clock; the end is set by the answer.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    begin_s: float

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def fields(self) -> dict[str, bytes]:
        head = f"Content-Type: {self.headers['content-type']}\r\n\r\n".encode()
        parts = BytesParser(policy=HTTP).parsebytes(head + self.body).iter_parts()
        return {
            part.get_param("name", header="content-disposition"): part.get_payload(decode=True)
            for part in parts
        }


@dataclass(frozen=True)
class Reply:
    """An answer, or what is wrong with it.

    Attributes:
        body: Bytes as they are, anything else as JSON.
        delay_s: Before it begins.
        drip_s: Between any two bytes.
        cut: Bytes that it promises and does not send.
        hangs_up: It ends without a word.
    """

    body: Any = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    delay_s: float = 0.0
    drip_s: float = 0.0
    cut: int = 0
    hangs_up: bool = False


class Server:
    """Answers as it is told.

    Args:
        say: The reply to a request.

    Attributes:
        asked: All requests, in the order in which they came.
        most_at_once: Requests that were in work at the same time.
    """

    def __init__(self, say: Callable[[Asked], Reply]) -> None:
        self.say = say
        self.asked: list[Asked] = []
        self.most_at_once = 0
        self._in_work = 0
        self._lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                outer.serve(self)

            do_GET = do_POST  # noqa: N815 - its name is HTTP's

            def log_message(self, *args: object) -> None:
                pass

        class Quiet(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 64

            def handle_error(self, request: object, client_address: object) -> None:
                pass  # a client that gave up

        self._http = Quiet(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,))
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_port}"

    def serve(self, handler: BaseHTTPRequestHandler) -> None:
        length = int(handler.headers.get("Content-Length") or 0)
        headers = {name.lower(): value for name, value in handler.headers.items()}
        asked = Asked(handler.command, handler.path, headers, handler.rfile.read(length), time.monotonic())
        with self._lock:
            self.asked.append(asked)
            self._in_work += 1
            self.most_at_once = max(self.most_at_once, self._in_work)
        try:
            self._reply(handler, self.say(asked))
        finally:
            with self._lock:
                self._in_work -= 1

    def _reply(self, handler: BaseHTTPRequestHandler, reply: Reply) -> None:
        if reply.delay_s:
            time.sleep(reply.delay_s)
        if reply.hangs_up:
            handler.close_connection = True
            return
        body = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
        handler.send_response(reply.status)
        for name, value in {"Content-Type": "application/json", **reply.headers}.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(body) + reply.cut))
        handler.end_headers()
        if reply.drip_s:
            for byte in body:
                handler.wfile.write(bytes([byte]))
                handler.wfile.flush()
                time.sleep(reply.drip_s)
        else:
            handler.wfile.write(body)
        if reply.cut:
            handler.wfile.flush()
            handler.close_connection = True

    def close(self) -> None:
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()


@contextmanager
def serving(say: Callable[[Asked], Reply]) -> Iterator[Server]:
    """A server for as long as the block lasts."""
    server = Server(say)
    try:
        yield server
    finally:
        server.close()


class Painting:
    """Draws as the fake model does, for whoever asks for one of the prompts in the paper's words.

    Args:
        prompts: That may be asked.
    """

    def __init__(self, prompts: Sequence[Prompt]) -> None:
        self._prompts = {prompt.instruction(): prompt for prompt in prompts}

    def drawing(self, instruction: str, file: bytes, scale: float = 1.0) -> str:
        """A PNG in base64."""
        with Image.open(io.BytesIO(file)) as picture:
            canvas = np.asarray(picture.convert("RGB"))
        (drawn,) = FakeModel().render(canvas[None], [0], [self._prompts[instruction]])
        size = round(drawn.shape[1] * scale), round(drawn.shape[0] * scale)
        packed = io.BytesIO()
        Image.fromarray(drawn).resize(size, Image.Resampling.NEAREST).save(packed, "PNG")
        return base64.b64encode(packed.getvalue()).decode()


def images_edit(painting: Painting, asked: Asked, scale: float = 1.0) -> Reply:
    """What vLLM-Omni says to `POST /v1/images/edits`."""
    fields = asked.fields
    drawn = painting.drawing(fields["prompt"].decode(), fields["image"], scale)
    return Reply({"created": 1, "data": [{"b64_json": drawn}]})


def chat(text: str, *, finish: str = "stop", tops: Mapping[str, float] | None = None) -> Reply:
    """What an OpenAI-compatible server says; `tops` are log probabilities of first tokens."""
    choice: dict[str, Any] = {
        "index": 0,
        "message": {"role": "assistant", "content": text},
        "finish_reason": finish,
    }
    if tops is not None:
        each = [{"token": token, "logprob": logprob} for token, logprob in tops.items()]
        choice["logprobs"] = {"content": [{"token": text, "logprob": 0.0, "top_logprobs": each}]}
    return Reply({"id": "1", "object": "chat.completion", "choices": [choice]})


def gemini(*parts: Mapping[str, Any], finish: str = "STOP", **usage: Any) -> Reply:
    """What Gemini says; `usage` is its `usageMetadata`."""
    content = {"content": {"role": "model", "parts": list(parts)}} if parts else {}
    return Reply({"candidates": [{**content, "finishReason": finish}], "usageMetadata": usage})


def gemini_picture(painting: Painting, asked: Asked, scale: float = 2.0, **usage: Any) -> Reply:
    """What Gemini's image models say: a word first, then the picture, larger than what was sent."""
    file, words = asked.json["contents"][0]["parts"]
    drawn = painting.drawing(words["text"], base64.b64decode(file["inlineData"]["data"]), scale)
    return gemini({"text": "Here it is."}, {"inlineData": {"mimeType": "image/png", "data": drawn}}, **usage)


def gemini_error(code: int, status: str, message: str, **detail: Any) -> Reply:
    """An error in Google's form."""
    details = [{"@type": "type.googleapis.com/google.rpc.RetryInfo", **detail}] if detail else []
    return Reply({"error": {"code": code, "message": message, "status": status, "details": details}}, code)
