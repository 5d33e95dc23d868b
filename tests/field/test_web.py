"""A server that breaks off is asked again; if that does not help, the stream has failed, and goes on another time."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from plantain.operators.decode import container
from plantain.operators.errors import UsageError
from plantain.operators.sinks.store import Store
from plantain.operators.sources import identity, web
from plantain.operators.sources.live.connection import AvConnection
from plantain.operators.sources.live.options import LiveOptions
from plantain.pipeline.checkpoint import Checkpoints
from plantain.pipeline.config import check
from plantain.pipeline.video import starts_of
from tests.assets.clips import hole, make
from tests.field.runs import indices, run
from tests.field.test_joined import Noting
from tests.field.web import Flaky, serving

FRAMES = 300


@pytest.fixture(autouse=True)
def _little_patience(monkeypatch) -> None:
    monkeypatch.setitem(container.WEB_PATIENCE, "reconnect_max_retries", "2")
    monkeypatch.setitem(container.WEB_PATIENCE, "reconnect_delay_max", "1")


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("web")
    options = {"mp4": {"movflags": "faststart"}}
    return {
        container: make(
            folder / f"a.{container}", FRAMES, size=(192, 108), container_options=options.get(container)
        ).read_bytes()
        for container in ("mp4", "ts", "mkv")
    }


@pytest.mark.parametrize("form", ["mp4", "ts", "mkv"])
def test_one_that_breaks_off_once_costs_nothing(tmp_path: Path, clip, form: str) -> None:
    data = clip[form]
    with serving(Flaky(data, len(data) // 2, breaks=1), f"a.{form}") as url:
        outcome = run([url], tmp_path)
    assert outcome.exit_code == 0
    assert indices(tmp_path) == list(range(FRAMES))
    assert outcome.streams[0].num_damaged == 0


@pytest.mark.parametrize("form", ["mp4", "ts", "mkv"])
def test_one_that_breaks_off_for_good_fails_and_goes_on_another_time(tmp_path: Path, clip, form: str) -> None:
    data = clip[form]
    flaky = Flaky(data, len(data) // 2)
    with serving(flaky, f"a.{form}") as url:
        outcome = run([url], tmp_path)
        assert outcome.exit_code == 1
        assert "broke off" in outcome.streams[0].error
        assert outcome.streams[0].num_damaged == 0
        first = indices(tmp_path)
        assert first == list(range(len(first)))
        assert 0 < len(first) < FRAMES
        assert flaky.asked < 30, "bounded"
        assert run([url], tmp_path).exit_code == 1, "never complete"
        flaky.breaks_at = None
        assert run([url], tmp_path).exit_code == 0
        assert indices(tmp_path) == list(range(FRAMES))


def test_what_is_damaged_is_damage_and_no_error_of_the_disk(tmp_path: Path, clip) -> None:
    whole = tmp_path / "whole.mp4"
    whole.write_bytes(clip["mp4"])
    outcome = run([hole(whole, tmp_path / "a.mp4", 0.5, 3000)], tmp_path / "out")
    assert outcome.exit_code == 0
    assert outcome.streams[0].num_damaged > 0


def test_servers_are_asked_beside_one_another_which_files_they_have(tmp_path: Path, monkeypatch) -> None:
    together = threading.Barrier(8)

    def told_of(url: str) -> dict[str, str] | None:
        together.wait(timeout=20)
        return None if "5" in url else {"etag": url}

    monkeypatch.setattr(identity, "told_of", told_of)
    urls = [f"http://10.0.0.1/{number}.mp4" for number in range(8)]
    config = check({"streams": [{"url": url} for url in urls] + [{"url": "a.mp4"}], "prompts": ["depth"]})
    checkpoints = Checkpoints(Store(str(tmp_path)))
    assert len(starts_of(config, checkpoints)) == 9
    noted = [checkpoints.identity(str(stream.id)) for stream in config.named()]
    assert noted == [None if "5" in url else {"etag": url} for url in urls] + [None]


DATED = {"Last-Modified": "Sat, 28 Nov 2026 10:00:00 GMT"}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"ETag": '"1"'}, {"ETag": '"2"'}),
        (DATED, {"Last-Modified": "Sun, 29 Nov 2026 10:00:00 GMT"}),
        ({**DATED, "ETag": '"1"'}, {"Last-Modified": "Sun, 29 Nov 2026 10:00:00 GMT", "ETag": '"2"'}),
        ({}, {}),
    ],
)
def test_another_file_at_the_same_address_is_told_and_done_anew_if_asked_for(
    tmp_path: Path, clip, before: dict, after: dict
) -> None:
    server = Flaky(clip["mp4"], None)
    server.head = before
    with serving(server, "a.mp4") as url:
        assert run([url], tmp_path).exit_code == 0
        assert run([url], tmp_path).exit_code == 0
        server.data = make(tmp_path / "b.mp4", 40, size=(64, 48)).read_bytes() if not after else clip["mp4"]
        server.head = after
        with pytest.raises(UsageError, match=r"is not what it was.*--replace"):
            run([url], tmp_path)
        assert run([url], tmp_path, replace=True).exit_code == 0
        assert indices(tmp_path) == list(range(FRAMES if after else 40))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({**DATED, "ETag": '"1"'}, {**DATED, "ETag": '"of-another-mirror"'}),
        ({"ETag": '"1"'}, {"ETag": 'W/"1"'}),
        ({"ETag": '"1"'}, DATED),
        (DATED, None),
    ],
)
def test_the_same_file_is_done_whatever_its_server_tells_of_it(tmp_path: Path, clip, before, after) -> None:
    server = Flaky(clip["mp4"], None)
    server.head = before
    with serving(server, "a.mp4") as url:
        run([url], tmp_path)
        server.head = after
        assert run([url], tmp_path).exit_code == 0


def test_what_is_asked_of_a_server_knows_the_login_and_shows_it_to_nobody_else() -> None:
    asked = web._question("https://me:p%40ss@host.example:8443/a.mp4?x=1#t=3")
    assert asked.full_url == "https://host.example:8443/a.mp4?x=1"
    assert asked.get_method() == "HEAD"
    assert asked.headers["Authorization"] == "Basic bWU6cEBzcw=="


def test_a_damaged_av1_stream_goes_on_behind_the_damage(tmp_path: Path) -> None:
    clip = make(
        tmp_path / "a.mp4",
        30,
        size=(64, 64),
        codec="libsvtav1",
        gop=5,
        b_frames=0,
        codec_options={"preset": "12"},
    )
    data = hole(clip, tmp_path / "hole.mp4", 0.25, 20).read_bytes()
    with serving(Flaky(data, None), "a.mp4") as url:
        connection = AvConnection(url, "http", LiveOptions(), Noting())
        try:
            seen = [picture.pts for picture in connection.pictures() if picture is not None]
        finally:
            connection.close()
    assert connection.num_damaged > 0
    assert len(seen) >= 20
