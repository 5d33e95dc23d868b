"""The page in headless Chromium: the wall, questions, cameras added and removed, events; by keyboard and on a phone."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from plantain.pipeline.config import PipelineConfig, check
from tests.assets.clips import make
from tests.chromium import Page
from tests.page.hands import TOKEN, ask, click, text_of
from tests.serving import client, jpeg, served_with_engine


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    return make(tmp_path_factory.mktemp("clips") / "good.mp4", 100, size=(320, 180))


def config_of(out: Path, clip: Path, num_cameras: int, **serve: object) -> PipelineConfig:
    camera = {"url": str(clip), "fps": 5, "options": {"realtime": "yes", "loop": "yes"}}
    return check(
        {
            "streams": [{"id": f"cam{k}", **camera} for k in range(num_cameras)],
            "prompts": ["instances:car", "depth"],
            "model": {"name": "fake", "canvas": {"width": 160, "height": 96}},
            "output": {"out": str(out), "rasters": False},
            "executor": "threads",
            "serve": serve,
        },
        may_be_idle=True,
    )


@pytest.fixture
def service(tmp_path, clip) -> Iterator[str]:
    """Two cameras."""
    with served_with_engine(config_of(tmp_path, clip, 2)) as base:
        yield base


@pytest.fixture
def page() -> Iterator[Page]:
    with Page() as page:
        yield page
        assert page.complaints == []


SHOWN = "((veils) => veils.length && veils.every((veil) => veil.hidden))([...document.querySelectorAll('.tile .veil')])"


def test_the_wall_shows_every_camera_over_one_line_and_asks_no_other_site(service, page) -> None:
    page.open(service)
    page.until(f"document.querySelectorAll('.tile').length === 2 && {SHOWN}")
    pixels = page.run(
        "(() => { const c = document.querySelector('.tile .picture'); const d = c.getContext('2d')"
        ".getImageData(0, 0, c.width, c.height).data; let [low, high] = [255, 0];"
        " for (let k = 0; k < d.length; k += 4) { low = Math.min(low, d[k]); high = Math.max(high, d[k]) }"
        " return [c.width, low, high] })()"
    )
    assert pixels[0] >= 320
    assert pixels[2] - pixels[1] > 100, "a picture, not a plain colour"
    page.until("Number(document.querySelector('.tile .fps').textContent) > 0")
    page.until("/ms/.test(document.querySelector('.tile .latency').textContent)")
    page.until("document.querySelectorAll('#event-list li').length >= 2")
    assert sum(address.startswith("ws") for address in page.requests) == 1
    for address in page.requests:
        if not address.startswith(("data:", "blob:")):
            assert address.split("://")[1].startswith(service.split("://")[1])


def test_depth_has_a_key_in_metres(service, page) -> None:
    page.open(service)
    page.until(SHOWN)
    assert page.run("document.querySelector('.tile .key').hidden")
    page.run(
        "(() => { const s = document.querySelector('.tile select'); s.value = 'depth'; s.onchange() })()"
    )
    page.until("!document.querySelector('.tile .key').hidden")
    assert "/v1/key?prompt=depth" in page.requests[-1] or any(
        "/v1/key" in address for address in page.requests
    )


def test_a_camera_is_added_changed_paused_and_removed(service, page) -> None:
    page.open(service)
    page.until("document.querySelectorAll('.tile').length === 2")
    click(page, "#add")
    page.run("document.getElementById('camera-id').value = 'street'")
    page.run("document.getElementById('camera-url').value = 'file:///etc/passwd'")
    click(page, "#camera-form .primary")
    page.until("!document.getElementById('camera-error').hidden")
    assert "synthetic" in text_of(page, "camera-error")
    page.run(
        "document.getElementById('camera-url').value = 'synthetic://street?seed=3&width=160&height=96&fps=5'"
    )
    page.run("document.getElementById('camera-fps').value = '3'")
    click(page, "#camera-form .primary")
    page.until("document.querySelector('.tile[data-id=street].selected')")
    assert text_of(page, "ask-camera").startswith("camera street")
    click(page, ".tile[data-id=street] .edit")
    page.run("document.getElementById('camera-prompts').value = 'normals'")
    click(page, "#camera-form .primary")
    page.until("document.querySelector('.tile[data-id=street] select').value === 'normals'")
    click(page, ".tile[data-id=cam0] .pause")
    page.until("document.querySelector('.tile[data-id=cam0] .health').textContent === 'paused'")
    click(page, ".tile[data-id=cam0] .pause")
    page.until("document.querySelector('.tile[data-id=cam0] .health').textContent === 'live'")
    click(page, ".tile[data-id=street] .remove")
    click(page, "#remove-dialog .danger")
    page.until("!document.querySelector('.tile[data-id=street]')")
    with client(service) as http:
        assert {item["id"] for item in http.get("/v1/streams").json()["items"]} == {"cam0", "cam1"}
    page.complaints[:] = [text for text in page.complaints if "403" not in text]


ANSWERED = (
    "!document.getElementById('answer').hidden && document.getElementById('answer-picture').naturalWidth > 0"
)


def test_the_selected_camera_is_asked(service, page) -> None:
    page.open(service)
    page.until(SHOWN)
    page.run("document.getElementById('ask-form').requestSubmit()")
    page.until(ANSWERED)
    words = text_of(page, "answer-words")
    assert "found" in words
    assert "answered in" in words
    assert "m" in page.run("document.querySelector('#answer-table td.number').textContent")


def test_a_picture_is_asked(service, page, tmp_path) -> None:
    file = tmp_path / "mine.jpg"
    file.write_bytes(jpeg(9, 400, 300))
    page.open(service)
    page.until("document.querySelectorAll('.tile').length === 2")
    click(page, "[name=target][value=picture]")
    page.choose_file("#file", file)
    page.until("document.getElementById('file-name').textContent === 'mine.jpg'")
    ask(page, "instances:car")
    page.until(ANSWERED)
    assert page.run("document.getElementById('answer-picture').naturalWidth") == 400
    assert page.run("document.querySelectorAll('#answer-table tbody tr').length") > 0


def test_what_cannot_be_asked_is_said(service, page) -> None:
    page.open(service)
    page.until(SHOWN)
    ask(page, "semantic:a,,b")
    page.until("!document.getElementById('ask-error').hidden")
    assert "empty class name" in text_of(page, "ask-error")
    page.complaints[:] = [text for text in page.complaints if "422" not in text]


def test_a_tab_in_the_background_costs_nothing(service, page) -> None:
    page.open(service)
    page.until(SHOWN)
    page.hide(is_hidden=True)
    time.sleep(1.0)
    page.run("1")
    before = len(page.requests)
    time.sleep(5.0)
    page.run("1")
    assert len(page.requests) == before
    page.hide(is_hidden=False)
    page.until(
        "performance.getEntriesByType('resource').length > 0 && document.querySelector('.status.good')"
    )
    page.until("Boolean(document.querySelector('.tile'))")
    time.sleep(1.0)
    page.run("1")
    assert len(page.requests) > before


def test_it_can_be_used_with_the_keyboard_alone(service, page) -> None:
    page.open(service)
    page.until("document.querySelectorAll('.tile').length === 2")
    reached = []
    for _ in range(60):
        page.press("Tab")
        reached.append(
            page.run("document.activeElement.getAttribute('aria-label') || document.activeElement.id")
        )
        if "tasks" in reached:
            break
    assert {"add", "Select cam0", "pause cam0", "remove cam1", "tasks"} <= set(reached)
    page.type(" ")
    page.press("Enter")
    page.until("!document.getElementById('answer').hidden || !document.getElementById('ask-error').hidden")
    page.run("document.getElementById('add').focus()")
    page.press("Enter")
    page.until("document.getElementById('camera-dialog').open")
    assert page.run("document.activeElement.id") == "camera-id"
    page.press("Escape")
    page.until("!document.getElementById('camera-dialog').open")


@pytest.mark.parametrize("width", [320, 390, 768, 1280])
def test_nothing_is_cut_off_at_any_width(service, page, width: int) -> None:
    page.resize(width, 844)
    page.open(service)
    page.until("document.querySelectorAll('.tile').length === 2")
    assert page.run("document.documentElement.scrollWidth") <= width
    page.open(service + "/docs")
    page.until("document.querySelectorAll('.docs .panel').length > 10")
    assert page.run("document.documentElement.scrollWidth") <= width


def test_it_says_when_the_service_is_gone(tmp_path, clip) -> None:
    with Page() as page:
        with served_with_engine(config_of(tmp_path, clip, 1)) as base:
            page.open(base)
            page.until(SHOWN)
        page.until("document.querySelector('.status.bad')")
        assert "reached" in page.run("document.querySelector('.status').textContent")


def test_a_service_with_a_token_asks_for_it(tmp_path, clip) -> None:
    with served_with_engine(config_of(tmp_path, clip, 1, token=TOKEN)) as base, Page() as page:
        page.open(base)
        page.until("document.getElementById('login-dialog').open")
        for token in ("wrong", TOKEN):
            page.run(f"document.getElementById('login-token').value = {json.dumps(token)}")
            click(page, "#login-form .primary")
            if token == "wrong":
                page.until("!document.getElementById('login-error').hidden")
        page.until("!document.getElementById('login-dialog').open")
        page.until(f"document.querySelectorAll('.tile').length === 1 && {SHOWN}")
        assert TOKEN not in page.run(
            "document.cookie + JSON.stringify(localStorage) + document.body.innerHTML"
        )


def test_an_empty_service_says_what_to_do(tmp_path, clip) -> None:
    with served_with_engine(config_of(tmp_path, clip, 0)) as base, Page() as page:
        page.open(base)
        page.until("!document.getElementById('empty').hidden")
        click(page, "#add-street")
        page.until("document.querySelector('.tile[data-id=street]')")
        assert page.complaints == []
