"""A headless Chromium for tests of the page, spoken to over its debugging protocol."""

from __future__ import annotations

import base64
import itertools
import json
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx
from websockets.sync.client import connect

from tests import debian

PACKAGES = ("chromium", "fonts-dejavu-core")
PATIENCE_S = 60.0
_FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--disable-extensions", "--mute-audio",
    "--hide-scrollbars", "--disable-dev-shm-usage", "--remote-debugging-port=0",
)  # fmt: skip


def why_missing() -> str | None:
    """None where Chromium can be started; the reason where not."""
    return debian.why_missing(PACKAGES, lambda: shutil.which("chromium") is not None)


class Page:
    """One tab.

    Args:
        width, height: Of its window, pixels.
        is_dark: Whether it asks pages for their dark colours.

    Attributes:
        complaints: Errors and warnings that the page or the browser wrote to the console.
        requests: Addresses that were asked for.
    """

    def __init__(self, width: int = 1280, height: int = 860, *, is_dark: bool = False) -> None:
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self._numbers = itertools.count(1)
        self._folder = tempfile.TemporaryDirectory(prefix="plantain-chromium-", ignore_cleanup_errors=True)
        binary = shutil.which("chromium")
        assert binary is not None
        self._process = subprocess.Popen(
            [
                binary,
                *_FLAGS,
                f"--user-data-dir={self._folder.name}",
                f"--window-size={width},{height}",
                "about:blank",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            self._line = connect(self._address(), max_size=None, ping_interval=None).__enter__()
        except BaseException:
            self._kill()
            raise
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._ask(f"{domain}.enable")
        self.resize(width, height)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if is_dark else "light"}
        self._ask("Emulation.setEmulatedMedia", features=[scheme])

    def resize(self, width: int, height: int) -> None:
        """Changes the window, as a telephone has it below 500 pixels."""
        self._ask(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=width < 500,
        )  # fmt: skip

    def open(self, address: str) -> None:
        """Goes to an address and waits for the document."""
        self._ask("Page.navigate", url=address)
        self.until("document.readyState === 'complete' && location.href !== 'about:blank'")

    def run(self, script: str) -> Any:
        """What an expression comes to; promises are waited for."""
        answer = self._ask("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            raise AssertionError(answer["exceptionDetails"]["exception"].get("description", str(answer)))
        return answer["result"].get("value")

    def until(self, script: str, patience_s: float = PATIENCE_S) -> None:
        """Waits until an expression is true, or an element that it finds is there."""
        deadline_s = time.monotonic() + patience_s
        while True:
            try:
                value = self.run(f"Boolean({script})")
            except AssertionError:
                value = None
            if value:
                return
            assert time.monotonic() < deadline_s, f"not within {patience_s:g} s: {script}; {self.complaints}"
            time.sleep(0.1)

    def press(self, key: str, *, shift: bool = False) -> None:
        """Presses and releases a key, such as Tab or Enter."""
        codes = {"Tab": 9, "Enter": 13, "Escape": 27, " ": 32}
        common = {
            "key": key, "code": "Space" if key == " " else key, "windowsVirtualKeyCode": codes[key],
            "modifiers": 8 if shift else 0,
        }  # fmt: skip
        text = {"Enter": "\r", " ": " "}.get(key)
        down = {"type": "keyDown", "text": text} if text else {"type": "rawKeyDown"}
        self._ask("Input.dispatchKeyEvent", **down, **common)
        self._ask("Input.dispatchKeyEvent", type="keyUp", **common)

    def type(self, text: str) -> None:
        """Types into what has the focus."""
        self._ask("Input.insertText", text=text)

    def hover(self, selector: str) -> None:
        """Puts the pointer on an element."""
        box = f"document.querySelector({json.dumps(selector)}).getBoundingClientRect()"
        x, y = self.run(f"(({{x, y, width, height}}) => [x + width / 2, y + height / 2])({box})")
        self._ask("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def choose_file(self, selector: str, path: Path) -> None:
        """Puts a file into a file input."""
        root = self._ask("DOM.getDocument")["root"]["nodeId"]
        node = self._ask("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self._ask("DOM.setFileInputFiles", nodeId=node, files=[str(path)])

    def hide(self, *, is_hidden: bool) -> None:
        """As if the tab went to the background, or came back."""
        self.run(
            f"Object.defineProperty(document, 'hidden', {{value: {str(is_hidden).lower()}, configurable: true}});"
            "document.dispatchEvent(new Event('visibilitychange'))"
        )

    def screenshot(self, path: Path, *, quality: int = 82, whole: bool = False) -> Path:
        """Writes what is seen, or the whole page, as JPEG."""
        answer = self._ask(
            "Page.captureScreenshot", format="jpeg", quality=quality, captureBeyondViewport=whole
        )
        path.write_bytes(base64.b64decode(answer["data"]))
        return path

    def __enter__(self) -> Page:
        return self

    def __exit__(self, *_: object) -> None:
        self._line.close()
        self._kill()

    def _kill(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._folder.cleanup()

    def _address(self) -> str:
        """Where the tab's debugging socket is."""
        file = Path(self._folder.name) / "DevToolsActivePort"
        deadline_s = time.monotonic() + PATIENCE_S
        while not (file.exists() and file.read_text().strip()):
            assert time.monotonic() < deadline_s, "Chromium did not start"
            assert self._process.poll() is None, "Chromium ended"
            time.sleep(0.1)
        port = file.read_text().split()[0]
        while True:
            tabs = httpx.get(f"http://127.0.0.1:{port}/json", trust_env=False, timeout=PATIENCE_S).json()
            pages = [tab["webSocketDebuggerUrl"] for tab in tabs if tab["type"] == "page"]
            if pages:
                return str(pages[0])
            assert time.monotonic() < deadline_s, "Chromium opened no tab"
            time.sleep(0.1)

    def _ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self._numbers)
        self._line.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            answer: dict[str, Any] = json.loads(self._line.recv(PATIENCE_S))
            if answer.get("id") == number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                result: dict[str, Any] = answer["result"]
                return result
            self._hear(answer)

    def _hear(self, event: dict[str, Any]) -> None:
        told = event.get("params", {})
        match event.get("method"):
            case "Runtime.exceptionThrown":
                self.complaints.append(str(told["exceptionDetails"].get("exception", told)))
            case "Log.entryAdded" if told["entry"]["level"] in ("error", "warning"):
                self.complaints.append(f"{told['entry']['text']} {told['entry'].get('url', '')}".strip())
            case "Runtime.consoleAPICalled" if told["type"] in ("error", "warning"):
                self.complaints.append(str(told["args"]))
            case "Network.requestWillBeSent":
                self.requests.append(told["request"]["url"])
            case "Network.webSocketCreated":
                self.requests.append(told["url"])
