"""Asking on the page, when something comes between: cameras that go, lines that are cut, files that do not fit."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.chromium import Page
from tests.field.cameras import STATES
from tests.page.hands import ALL_SEEN, click, enter, http, log_in, says, select, served, text_of
from tests.serving import jpeg

STREET = {
    "id": "street",
    "url": "synthetic://street?seed=3&width=160&height=96&fps=5",
    "prompts": ["normals"],
}


@pytest.fixture(autouse=True)
def _no_thread_is_left_behind() -> None:
    """The service's stay until the last test of this file."""


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Iterator[str]:
    """Two cameras; one of them sees nothing."""
    cameras = [{"id": name, "fps": 2} for name in ("gate", "dark")]
    with served(tmp_path_factory.mktemp("out"), cameras, serve={"max_body_bytes": 100_000}) as base:
        yield base


@pytest.fixture
def page(base, tab) -> Iterator[Page]:
    STATES.clear()
    enter(tab, base)
    select(tab, "gate")
    tab.until(ALL_SEEN)
    yield tab
    STATES.clear()


def watch(page: Page, text: str = "instances:car") -> None:
    page.run(f"document.getElementById('tasks').value = '{text}'")
    click(page, "#watch")


def test_a_watch_goes_on_while_another_camera_is_looked_at_and_ends_with_a_word(page) -> None:
    watch(page)
    says(page, "answer-headline", "It is there")
    assert text_of(page, "answer-words").startswith("gate")
    select(page, "dark")
    STATES["gate"] = "silent"
    says(page, "answer-headline", "Nobody can tell just now")
    says(page, "watch-state", "'gate' is silent")
    STATES["gate"] = "live"
    says(page, "answer-headline", "It is there")
    page.run("document.getElementById('ask-form').requestSubmit()")
    says(page, "answer-headline", "Not there")
    assert text_of(page, "answer-words").startswith("dark")
    says(page, "watch-state", "No longer watching gate")


def test_a_watch_whose_line_was_cut_no_longer_says_that_nobody_can_tell(page) -> None:
    select(page, "dark")
    page.run(
        "window.kept = window.fetch; window.fetch = async (path, options) => {"
        " const response = await window.kept(path, options);"
        " if (!String(path).endsWith('/query')) return response;"
        " const line = new TransformStream({ start(end) { window.cut = () => end.error(new TypeError('cut')) } });"
        " return new Response(response.body.pipeThrough(line), response) }"
    )
    watch(page)
    page.until("window.cut")
    page.run("window.cut()")
    says(page, "watch-state", "still watching")
    page.until("document.getElementById('watch-state').textContent === 'Watching dark'")
    assert page.run("document.getElementById('answer').hidden")


def test_a_watch_of_what_cannot_be_asked_ends_at_once(page) -> None:
    watch(page, "semantic:a,,b")
    says(page, "ask-error", "empty class name")
    assert text_of(page, "watch").startswith("Tell me")


def test_a_watch_may_begin_while_its_camera_is_away(page) -> None:
    STATES["gate"] = "refused"
    page.until("document.querySelector('.tile[data-id=gate] .health').textContent === 'refused'")
    watch(page)
    says(page, "watch-state", "'gate' is refused")
    STATES["gate"] = "live"
    says(page, "answer-headline", "It is there")


def test_a_watch_of_a_camera_that_is_removed_says_so(page, base) -> None:
    with http(base) as calls:
        calls.post("/v1/streams", json=STREET).raise_for_status()
        select(page, "street")
        watch(page, "instances:unicorn")
        says(page, "watch-state", "Watching street")
        calls.delete("/v1/streams/street").raise_for_status()
    says(page, "ask-error", "street")
    assert text_of(page, "watch").startswith("Tell me")


def test_where_a_page_may_make_no_notification_that_is_said_and_the_watch_goes_on(page) -> None:
    page.run(
        "window.Notification = class { constructor() { throw new TypeError('Illegal constructor') } };"
        "window.Notification.permission = 'granted'"
    )
    watch(page)
    says(page, "answer-headline", "It is there")
    says(page, "watch-quiet", "no notifications")
    assert "Illegal" not in text_of(page, "watch-state")


def choose(page: Page, file) -> None:
    click(page, "[name=target][value=picture]")
    page.choose_file("#file", file)
    page.until(f"document.getElementById('file-name').textContent === '{file.name}'")
    page.run("document.getElementById('ask-form').requestSubmit()")


def test_a_file_that_is_too_large_is_not_sent(page, tmp_path) -> None:
    file = tmp_path / "long.mp4"
    file.write_bytes(bytes(150_000))
    before = len(page.requests)
    choose(page, file)
    says(page, "ask-error", "long.mp4 has 0.1 MB, more than")
    assert not any("predict" in address for address in page.requests[before:])


@pytest.mark.parametrize(("name", "said"), [("notes.mp4", "not a video"), ("mine.jpg", "not a JPEG")])
def test_a_file_that_is_none_is_refused(page, tmp_path, name: str, said: str) -> None:
    file = tmp_path / name
    file.write_text("milk, bread, plantains\n" * 100)
    choose(page, file)
    says(page, "ask-error", said)
    assert page.run("document.getElementById('answer').hidden")


def test_an_answer_that_takes_long_is_waited_for_once_and_may_be_given_up(page, tmp_path) -> None:
    file = tmp_path / "mine.jpg"
    file.write_bytes(jpeg(9))
    page.run(
        "window.asked = 0; window.kept = window.fetch; window.fetch = (path, options) =>"
        " !String(path).startsWith('/v1/predict') ? window.kept(path, options) : (window.asked += 1,"
        " new Promise((_, fail) => options.signal.addEventListener('abort', () => fail(options.signal.reason))))"
    )
    choose(page, file)
    page.run("document.getElementById('ask-form').requestSubmit()")
    says(page, "asking-what", "mine.jpg")
    assert page.run("window.asked") == 1
    assert page.run("document.getElementById('cancel').clientHeight") < 45, "its word in one line"
    click(page, "#cancel")
    page.until("document.getElementById('asking').hidden")
    assert not page.run("document.querySelector('#ask-form [type=submit]').disabled")
    assert page.run("document.getElementById('ask-error').hidden")
    page.run("window.fetch = window.kept; document.getElementById('ask-form').requestSubmit()")
    says(page, "answer-words", "mine.jpg")


def test_the_camera_that_is_enlarged_is_the_one_that_is_asked(page) -> None:
    click(page, ".tile[data-id=dark] .enlarge")
    says(page, "ask-camera", "camera dark")
    click(page, ".tile[data-id=dark] .edit")
    page.press("Escape")
    page.until("!document.getElementById('camera-dialog').open")
    assert page.run("document.querySelector('.tile.large') !== null"), "Escape closed the dialog alone"
    page.press("Escape")
    assert page.run("document.querySelector('.tile.large') === null")


def test_the_login_stays_until_somebody_is_logged_in(page) -> None:
    click(page, "#logout")
    page.until("document.getElementById('login-dialog').open")
    for _ in range(3):
        page.press("Escape")
    page.until("document.getElementById('login-dialog').open")
    page.run("window.kept = window.fetch; window.fetch = () => Promise.reject(new TypeError('gone'))")
    log_in(page)
    says(page, "login-error", "cannot be reached")
    page.run("window.fetch = window.kept")
    log_in(page)
    page.until("!document.getElementById('login-dialog').open && document.querySelector('.tile')")


def test_times_of_events_need_no_time_zones_of_the_service(page) -> None:
    page.run("document.getElementById('event-since').value = '2020-06-01T12:00'")
    page.run("document.getElementById('event-filter').onchange()")
    page.until("document.querySelectorAll('#event-list li').length > 0")
    asked = [address for address in page.requests if "/v1/events" in address]
    assert re.search(r"since=20\d\d-\d\d-\d\dT\d\d%3A00%3A00.000Z", asked[-1])
    assert not any("tz=" in address for address in asked)


def test_an_answer_about_a_camera_whose_picture_stands_still_says_so(page) -> None:
    STATES["gate"] = "frozen"
    page.until("document.querySelector('.tile[data-id=gate] .health').textContent === 'frozen'")
    page.run("document.getElementById('ask-form').requestSubmit()")
    says(page, "answer-words", "gate, frozen: the same picture since")


def test_whoever_comes_back_to_the_tab_sees_no_picture_of_before(page) -> None:
    ink = (
        "[...document.querySelectorAll('.picture')].some((c) => c.getContext('2d')"
        ".getImageData(0, 0, c.width, c.height).data.some((v, k) => k % 4 === 3 && v))"
    )
    page.until(ink)
    page.hide(is_hidden=True)
    assert not page.run(ink)
    page.hide(is_hidden=False)
    page.until(f"{ink} && [...document.querySelectorAll('.tile .veil')].every((veil) => veil.hidden)")


def test_a_long_name_fits_a_telephone_and_can_be_read(page, base) -> None:
    name = "c" * 100
    with http(base) as calls:
        calls.post("/v1/streams", json={**STREET, "id": name}).raise_for_status()
        page.resize(390, 844)
        select(page, name)
        says(page, "ask-camera", name)
        page.run("document.getElementById('ask-form').requestSubmit()")
        says(page, "answer-words", name)
        says(page, "event-list", name)
        click(page, f".tile[data-id={name}] .remove")
        too_wide = page.run(
            "[...document.querySelectorAll('html, .panel, #event-list, .tile, dialog[open]')]"
            ".filter((each) => each.scrollWidth > each.clientWidth).map((each) => each.id || each.className)"
        )
        page.press("Escape")
        calls.delete(f"/v1/streams/{name}").raise_for_status()
    page.resize(1400, 900)
    assert too_wide == []


def test_of_a_clip_it_is_said_in_how_many_pictures_it_is_there_and_when(page) -> None:
    page.run(
        "import('/web/answer.js').then(({Answer}) => {"
        " const car = {label: 'car', distance_m: null, area_px: 9, score: 1};"
        " const frame = (objects, k) => ({answers: [{prompt: 'instances:car', status: 'ok', said: '1 found',"
        " model_ms: 1, objects}], drawn: '', width: 9, height: 9, time_s: k / 2, captured_at: null, age_s: null});"
        " new Answer().show([[], [car], []].map(frame), {of: 'street.mp4'}) })"
    )
    says(page, "answer-headline", "There: car (in 1 of 3 pictures)")
    says(page, "answer-number", "picture 2 of 3")
    says(page, "answer-words", "street.mp4 · at 0.5 s")


def test_a_veil_can_be_read_under_the_pointer(page) -> None:
    STATES["gate"] = "lost"
    page.until("document.querySelector('.tile[data-id=gate] .veil').textContent.startsWith('lost')")
    ground = "getComputedStyle(document.querySelector('.tile[data-id=gate] .screen')).backgroundColor"
    before = page.run(ground)
    page.hover(".tile[data-id=gate] .screen")
    assert page.run("document.querySelector('.tile[data-id=gate] .screen').matches(':hover')")
    assert page.run(ground) == before


@pytest.mark.parametrize("width", [390, 1400])
def test_the_whole_time_of_a_filter_can_be_read(page, width: int) -> None:
    page.resize(width, 844)
    page.until(f"innerWidth === {width}")
    assert page.run("document.getElementById('event-since').clientWidth") > 220, "12/01/2026, 12:30 AM"
    page.resize(1400, 900)


def test_cameras_are_in_the_order_of_their_numbers(page, base) -> None:
    names = [f"street{number}" for number in (10, 2)]
    with http(base) as calls:
        for name in names:
            calls.post("/v1/streams", json={**STREET, "id": name, "paused": True}).raise_for_status()
        page.until("document.querySelectorAll('.tile').length === 4")
        shown = page.run("[...document.querySelectorAll('.tile')].map((tile) => tile.dataset.id)")
        for name in names:
            calls.delete(f"/v1/streams/{name}").raise_for_status()
    assert shown == ["dark", "gate", "street2", "street10"]


def test_the_question_stays_in_sight_beside_a_high_wall(page) -> None:
    page.run("document.getElementById('wall').style.minHeight = '4000px'")
    page.run("scrollTo({top: 1e6, behavior: 'instant'})")
    page.until("scrollY > 2000")
    top, bottom = page.run(
        "(({top, bottom}) => [top, bottom])(document.getElementById('ask-form').getBoundingClientRect())"
    )
    assert 56 <= top < bottom <= 900
    page.run("scrollTo({top: 0, behavior: 'instant'}); location.hash = '#events'")
    page.until("document.getElementById('events-title').getBoundingClientRect().top < innerHeight - 100")


def test_an_event_is_not_told_twice_in_the_same_word(page, base) -> None:
    with http(base) as calls:
        for is_paused in (True, False):
            calls.patch("/v1/streams/dark", json={"paused": is_paused}).raise_for_status()
    says(page, "event-list", "dark paused")
    told = page.run(
        "[...document.querySelectorAll('#event-list li')].find((li) => li.innerText.includes('dark paused'))"
        ".querySelector('p').textContent"
    )
    assert told != "paused"
