"""The page tells the truth: whether it is there, whether a camera sees, what happened when."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.assets.clips import make
from tests.chromium import Page
from tests.field.cameras import STATES
from tests.page import hands
from tests.page.hands import ALL_SEEN, click, enter, select, served, text_of

SHOTS = os.environ.get("PLANTAIN_SCREENSHOTS")


@pytest.fixture(autouse=True)
def _no_thread_is_left_behind() -> None:
    """The service's stay until the last test of this file."""


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Iterator[str]:
    """Eight cameras."""
    cameras = [{"id": f"cam{k}", "url": "dark" if k == 6 else f"cam{k}", "fps": 5} for k in range(8)]
    presence = {"name": "presence", "options": {"min_s": 0.0}}
    with served(tmp_path_factory.mktemp("out"), cameras, analytics=[presence]) as base:
        yield base


@pytest.fixture
def page(base, tab) -> Iterator[Page]:
    STATES.clear()
    tab.resize(1400, 900)
    enter(tab, base)
    tab.until("document.querySelectorAll('.tile').length === 8")
    tab.until(ALL_SEEN)
    tab.complaints.clear()
    yield tab
    assert [text for text in tab.complaints if not re.search("401|403|422|getImageData", text)] == []


def ask(page: Page, text: str) -> None:
    """Asks, and waits for what comes of it."""
    hands.ask(page, text)
    page.until("!document.querySelector('#ask-form [type=submit]').disabled")


def shoot(page: Page, name: str, *, whole: bool = False) -> None:
    if SHOTS:
        page.screenshot(Path(SHOTS) / f"{name}.jpg", whole=whole)


INK = (
    "((c) => c.getContext('2d').getImageData(0, 0, c.width, c.height).data.some((v, k) => k % 4 === 3 && v))"
    "(document.querySelector('.tile[data-id={}] .picture'))"
)


@pytest.mark.parametrize("size", [(1400, 900), (1400, 800), (1920, 1080)])
def test_all_eight_cameras_are_seen_at_once(page, size: tuple[int, int]) -> None:
    page.resize(*size)
    page.run("window.dispatchEvent(new Event('resize'))")
    page.until(
        "[...document.querySelectorAll('.tile')].every((tile) =>"
        " tile.getBoundingClientRect().bottom <= innerHeight)"
    )
    assert page.run("document.documentElement.scrollWidth") <= size[0]
    shoot(page, f"wall-{size[0]}x{size[1]}")


@pytest.mark.parametrize("size", [(1400, 900), (1400, 700), (1920, 1080)])
def test_all_eight_are_seen_and_told_of_when_half_of_them_are_away(page, size: tuple[int, int]) -> None:
    page.resize(*size)
    for number, state in enumerate(("silent", "refused", "lost", "no_video")):
        STATES[f"cam{2 * number}" if number < 3 else "cam7"] = state
    page.until("[...document.querySelectorAll('.tile .trouble')].filter((each) => !each.hidden).length === 4")
    page.run("window.dispatchEvent(new Event('resize'))")
    page.until(
        "[...document.querySelectorAll('.tile')].every((tile) =>"
        " tile.getBoundingClientRect().bottom <= innerHeight)"
    )
    # Sentences of cameras are long, and tiles may be narrow.
    page.run(
        "document.querySelectorAll('.tile .trouble').forEach((each) => {"
        " each.textContent = 'rtsp://10.20.0.17:554/Streaming/Channels/101 refuses connections; '.repeat(4) })"
    )
    overlapping = page.run(
        "[...document.querySelectorAll('.tile:has(.trouble:not([hidden]))')].filter((tile) => {"
        " const [said, why, health, screen] = ['.veil', '.trouble', '.health', '.screen']"
        ".map((name) => tile.querySelector(name).getBoundingClientRect());"
        " const tools = tile.querySelector('.tools').getBoundingClientRect();"
        " return said.bottom > why.top || said.top < health.bottom || why.bottom > screen.bottom || why.height < 10"
        " || (tools.top > screen.top && tools.top < health.bottom)"
        " }).map((tile) => tile.dataset.id)"
    )
    assert overlapping == []
    shoot(page, f"away-wall-{size[0]}")


def test_that_brokers_are_away_is_said_above_the_cameras_and_no_longer_when_they_are_back(page) -> None:
    said = "kafka: 659 messages wait on disk"
    page.run(
        "window.kept = window.fetch; window.fetch = async (path, options) => {"
        " const response = await window.kept(path, options);"
        " if (!String(path).startsWith('/v1/streams?')) return response;"
        f" const page = await response.json(); page.items.forEach((item) => (item.behind = '{said}'));"
        " return new Response(JSON.stringify(page)) }"
    )
    page.until(
        f"document.getElementById('behind').textContent === '{said}' && !document.getElementById('behind').hidden"
    )
    page.run("window.fetch = window.kept")
    page.until("document.getElementById('behind').hidden")


def test_pictures_of_a_service_that_began_again_with_its_clock_set_back_are_shown(page) -> None:
    page.run(
        "import('/web/wall.js').then(({Wall}) => { const take = Wall.prototype.take;"
        " Wall.prototype.take = function (data) { window.shown = this; return take.call(this, data) } })"
    )
    page.until("window.shown")
    page.run("window.shown.tiles.forEach((tile) => { tile.number = 2 ** 53 })")
    page.run("window.shown.socket.close()")
    page.until("[...window.shown.tiles.values()].every((tile) => tile.number && tile.number < 2 ** 53)")


def test_a_camera_is_enlarged_and_put_back(page) -> None:
    click(page, ".tile[data-id=cam3] .enlarge")
    assert page.run("document.querySelector('.tile[data-id=cam3]').clientWidth") > 800
    assert page.run("[...document.querySelectorAll('.tile')].filter((t) => t.offsetParent).length") == 1
    page.until("document.querySelector('.tile[data-id=cam3] .picture').width >= 320")
    shoot(page, "enlarged")
    page.press("Escape")
    assert page.run("[...document.querySelectorAll('.tile')].filter((t) => t.offsetParent).length") == 8
    assert page.run("document.activeElement.getAttribute('aria-label')") == "enlarge cam3"


@pytest.mark.parametrize("state", ["silent", "refused", "unauthorised", "lost", "no_video"])
def test_a_camera_that_is_away_looks_so(page, state: str) -> None:
    tile = "document.querySelector('.tile[data-id=cam2] {}')"
    STATES["cam2"] = state
    word = state.replace("_", " ")
    page.until(f"{tile.format('.health')}.textContent === '{word}'")
    assert re.fullmatch(rf"{word}, last picture \d+ s ago", page.run(f"{tile.format('.veil')}.textContent"))
    assert not page.run(f"{tile.format('.veil')}.hidden")
    assert not page.run(INK.format("cam2")), "no picture, and no boxes on it"
    assert page.run(f"{tile.format('.trouble')}.textContent") == f"is {state}; look at it"
    select(page, "cam2")
    ask(page, "instances:car")
    assert re.search(rf"is {state}: its newest frame is \d+ s old", text_of(page, "ask-error"))
    assert page.run("document.getElementById('answer').hidden")
    shoot(page, f"away-{state}")
    STATES["cam2"] = "live"
    page.until(f"{tile.format('.veil')}.hidden && {INK.format('cam2')}")
    assert page.run(f"{tile.format('.health')}.textContent") == "live"


def test_a_camera_whose_picture_stands_still_says_so_over_the_picture(page) -> None:
    tile = "document.querySelector('.tile[data-id=cam2] {}')"
    STATES["cam2"] = "frozen"
    page.until(f"{tile.format('.health')}.textContent === 'frozen'")
    page.until(f"{tile.format('.veil')}.textContent.startsWith('frozen: the same picture since ')")
    page.until(f"!{tile.format('.veil')}.hidden")
    page.until(INK.format("cam2"))
    page.until(f"{tile.format('.veil')}.classList.contains('thin')")
    shoot(page, "frozen")
    STATES["cam2"] = "live"
    page.until(f"{tile.format('.veil')}.hidden")


def test_of_a_service_that_is_gone_no_picture_looks_current(page) -> None:
    veils = "[...document.querySelectorAll('.tile .veil')]"
    page.run("window.kept = window.fetch; window.fetch = () => Promise.reject(new TypeError('gone'))")
    page.until(
        f"{veils}.every((veil) => !veil.hidden && veil.textContent === 'the service cannot be reached')"
    )
    assert not page.run(INK.format("cam2"))
    assert page.run("document.querySelector('.tile[data-id=cam2] .health').textContent") == "unknown"
    assert page.run("document.querySelector('.tile[data-id=cam2] .fps').textContent") == "\u2013"
    assert text_of(page, "totals") == ""
    page.run("window.fetch = window.kept")
    page.until(f"{veils}.every((veil) => veil.hidden) && {INK.format('cam2')}")


def test_first_it_is_said_whether_it_is_there(page) -> None:
    select(page, "cam6")
    ask(page, "instances:car")
    assert text_of(page, "answer-headline").startswith("Not there: car")
    assert not re.search(r"[0-9.]+ m\b", text_of(page, "answer-headline") + text_of(page, "answer-words"))
    assert "depth" not in text_of(page, "answer-words")
    select(page, "cam1")
    ask(page, "instances:car")
    assert re.search(r"^There: (\d+ . )?car, .*m away", text_of(page, "answer-headline"))
    assert re.search(r"seen .*20\d\d.*\d\d:\d\d:\d\d", text_of(page, "answer-words"))
    shoot(page, "answer", whole=True)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("instance:car", "did you mean instances:car?"),
        ("Segment:car", "there is no task 'Segment'"),
        ("refr:the red car", "did you mean refer:the red car?"),
        ("", "write first what to look for"),
        ("   \\n ", "write first what to look for"),
        ("semantic:a,,b", "empty class name"),
    ],
)
def test_what_cannot_be_meant_is_said_and_no_old_answer_stays(page, text: str, said: str) -> None:
    ask(page, "instances:car")
    page.until("!document.getElementById('answer').hidden")
    page.run(f"document.getElementById('tasks').value = '{text}'")
    page.run("document.getElementById('ask-form').requestSubmit()")
    page.until("!document.getElementById('ask-error').hidden")
    assert said in text_of(page, "ask-error")
    assert page.run("document.getElementById('answer').hidden")


def test_a_question_is_asked_in_words_or_refused(page) -> None:
    ask(page, "how many cars are there?")
    assert text_of(page, "answer-headline") != ""
    assert "ask:how many cars are there?" in page.run("document.getElementById('answer-picture').alt")
    said = page.run(
        "import('/web/questions.js').then(({tasksOf}) => { try { return tasksOf('is it raining', false)[0] }"
        " catch (error) { return error.message } })"
    )
    assert "answers no questions in words" in said


@pytest.mark.parametrize(
    ("text", "task"),
    [
        ("how many cars are there", "ask"),
        ("count the cars", "ask"),
        ("number of cars", "ask"),
        ("the number of cars", "ask"),
        ("tell me how many cars there are", "ask"),
        ("can you see a dog", "ask"),
        ("can on the street", "refer"),
        ("can", "refer"),
        ("counter", "refer"),
        ("a number plate", "refer"),
    ],
)
def test_questions_without_their_mark_are_told_from_what_is_looked_for(page, text: str, task: str) -> None:
    said = page.run(f"import('/web/questions.js').then(({{tasksOf}}) => tasksOf('{text}', true)[0])")
    assert said == f"{task}:{text}"


def test_a_watch_goes_on_in_the_background_and_says_when_nobody_can_tell(page) -> None:
    page.run(
        "window.told = []; window.Notification = class { constructor(title) { window.told.push(title) } }"
    )
    page.run("window.Notification.permission = 'granted'")
    select(page, "cam5")
    page.run("document.getElementById('tasks').value = 'instances:car'")
    click(page, "#watch")
    page.until("document.getElementById('answer-headline').textContent === 'It is there'")
    page.hide(is_hidden=True)
    STATES["cam5"] = "silent"
    page.until("document.getElementById('answer-headline').textContent === 'Nobody can tell just now'")
    assert "'cam5' is silent" in text_of(page, "watch-state")
    assert page.run("getComputedStyle(document.querySelector('#answer .figure')).filter") != "none"
    shoot(page, "watch-away")
    STATES["cam5"] = "live"
    page.until("document.getElementById('answer-headline').textContent === 'It is there'")
    page.until("window.told.length >= 2")
    assert page.run("window.told[0]") == "cam5: it is there"
    page.hide(is_hidden=False)
    click(page, "#watch")
    assert text_of(page, "watch").startswith("Tell me")


def test_events_have_dates_and_can_be_filtered(page) -> None:
    page.until("document.querySelectorAll('#event-list li').length > 10")
    first = page.run("document.querySelector('#event-list time').textContent")
    assert re.search(r"20\d\d", first)
    assert not re.search(r"[AP]M", first)
    assert text_of(page, "event-zone").startswith("Times are those of ")
    # On a busy machine much happens, and what happened first is not kept for ever: the newest is looked for.
    name = page.run("document.querySelector('#event-list b').textContent").split()[0]
    page.run(f"document.getElementById('event-stream').value = '{name}'")
    page.run("document.getElementById('event-filter').onchange()")
    page.until(
        "((found) => found.length && found.every((b) => b.textContent.startsWith("
        f"'{name} ')))([...document.querySelectorAll('#event-list b')])"
    )
    page.run("document.getElementById('event-until').value = '2020-01-01T00:00'")
    page.run("document.getElementById('event-filter').onchange()")
    page.until("!document.getElementById('no-events').hidden")
    shoot(page, "events", whole=True)


def test_a_clip_is_asked(page, tmp_path) -> None:
    clip = make(tmp_path / "street.mp4", 50, size=(320, 180))
    click(page, "[name=target][value=picture]")
    page.choose_file("#file", clip)
    page.until("document.getElementById('file-name').textContent === 'street.mp4'")
    ask(page, "instances:car")
    page.until("!document.getElementById('answer').hidden")
    assert text_of(page, "answer-number") == "picture 1 of 4"
    page.run("document.getElementById('answer-frame').value = '2'")
    page.run("document.getElementById('answer-frame').oninput()")
    assert text_of(page, "answer-number") == "picture 3 of 4"


def test_one_can_log_out(page) -> None:
    assert not page.run("document.getElementById('logout').hidden")
    click(page, "#logout")
    page.until("document.getElementById('login-dialog').open")


def test_on_a_telephone_nothing_is_cut_off(page) -> None:
    page.resize(390, 844)
    page.run("window.dispatchEvent(new Event('resize'))")
    assert page.run("document.documentElement.scrollWidth") <= 390
    assert page.run("document.querySelector('.bar').clientHeight") < 110, "two lines, with a way to log out"
    shoot(page, "phone", whole=True)
