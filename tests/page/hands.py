"""What somebody does on the page, and what it then shows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from plantain.pipeline.config import check
from tests.chromium import Page
from tests.field.cameras import STATES
from tests.serving import client, eventually, served_with_engine

TOKEN = "correct horse battery staple"
ALL_SEEN = "[...document.querySelectorAll('.tile .veil')].every((veil) => veil.hidden)"


@contextmanager
def served(out: Path, cameras: list[dict[str, Any]], **settings: Any) -> Iterator[str]:
    """A service that asks for the token and whose cameras do what `STATES` says; its address, when all are at work."""
    STATES.clear()
    config = check(
        {
            "streams": [
                {"url": each["id"], "source": "tests.field.cameras:Camera", **each} for each in cameras
            ],
            "prompts": ["instances:car"],
            "model": {"name": "fake", "canvas": {"width": 160, "height": 96}},
            "output": {"out": str(out), "rasters": False},
            "executor": "threads",
            "overload": {"ladder": []},
            **settings,
            "serve": {"token": TOKEN, **settings.get("serve", {})},
        }
    )
    with served_with_engine(config) as base, http(base) as calls:
        eventually(
            lambda: all(each["results"] for each in calls.get("/v1/streams").json()["items"]), "all at work"
        )
        yield base
    STATES.clear()


def http(base: str) -> httpx.Client:
    return client(base, headers={"Authorization": f"Bearer {TOKEN}"})


def enter(tab: Page, base: str) -> None:
    """Opens the page of a service with the token, where it is asked for."""
    tab.open(base)
    tab.until("document.querySelector('.tile') || document.getElementById('login-dialog').open")
    if tab.run("document.getElementById('login-dialog').open"):
        log_in(tab)


def log_in(page: Page) -> None:
    page.run(f"document.getElementById('login-token').value = '{TOKEN}'")
    click(page, "#login-form .primary")


def click(page: Page, selector: str) -> None:
    page.run(f"document.querySelector('{selector}').click()")


def select(page: Page, name: str) -> None:
    page.until(f"document.querySelector('.tile[data-id={name}]')")
    click(page, f".tile[data-id={name}] .screen")


def ask(page: Page, text: str) -> None:
    page.run(f"document.getElementById('tasks').value = {text!r}")
    page.run("document.getElementById('ask-form').requestSubmit()")


def text_of(page: Page, name: str) -> str:
    return page.run(f"document.getElementById('{name}').textContent")


def says(page: Page, name: str, text: str) -> None:
    """Waits until an element says so."""
    page.until(f"document.getElementById('{name}').textContent.includes({text!r})")
    assert not page.run(f"document.getElementById('{name}').hidden")
