"""POST /v1/predict: pictures and clips in, answers out in the form that was asked for."""

from __future__ import annotations

import base64
import errno
import io
import json
import os
import socket
import time
from collections.abc import Iterator
from email import message_from_bytes
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from plantain.deploy.service.answers import Form, choose
from plantain.deploy.service.problems import HttpError
from plantain.operators.answers.masks.rle import decode_region
from plantain.pipeline.config import check
from tests.assets.clips import make, numbered
from tests.gateways import StepGateway
from tests.serving import client, eventually, image, jpeg, served

CONFIG = check(
    {
        "streams": [],
        "model": {"name": "fake", "canvas": {"width": 128, "height": 96}},
        "serve": {"max_clip_frames": 10, "max_pixels": 400_000, "max_body_bytes": 300_000, "timeout_s": 20},
    },
    may_be_idle=True,
)


@pytest.fixture(scope="module")
def gateway() -> StepGateway:
    return StepGateway(CONFIG)


@pytest.fixture(scope="module")
def base(gateway) -> Iterator[str]:
    with served(CONFIG, gateway) as base:
        yield base


@pytest.fixture(scope="module")
def http(base) -> Iterator[httpx.Client]:
    with client(base) as http:
        yield http


def ask(
    http, *tasks: str, picture: bytes | None = None, accept: str = "*/*", **fields: str
) -> httpx.Response:
    files = {"image": ("a.jpg", jpeg() if picture is None else picture)}
    return http.post(
        "/v1/predict", files=files, data={"task": list(tasks), **fields}, headers={"Accept": accept}
    )


def problem(response: httpx.Response, status: int) -> str:
    """The detail of an RFC 9457 answer."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    document = response.json()
    assert document["status"] == status
    assert document["type"] == "about:blank"
    assert document["title"]
    return str(document["detail"])


def test_a_picture_and_two_tasks_give_json_with_masks_of_its_size(http) -> None:
    response = ask(http, "instances:car", "depth")
    assert response.headers["content-type"] == "application/json"
    document = response.json()
    (frame,) = document["frames"]
    assert (frame["width"], frame["height"]) == (320, 180)
    assert document["elapsed_ms"] > 0
    objects, depth = frame["answers"]
    assert (objects["task"], objects["status"], depth["task"]) == ("instances", "ok", "depth")
    assert objects["num_objects"] == len(objects["objects"]) > 0
    assert depth["depth_min_m"] < depth["depth_median_m"] < depth["depth_max_m"]
    for each in objects["objects"]:
        assert each["rle"]["size"] == [180, 320]
        mask = decode_region(each["rle"]["counts"], (180, 320))
        assert mask.sum() == pytest.approx(each["area_px"], rel=0.1)
        assert each["distance_m"] is not None


def test_the_models_own_resolution_can_be_asked_for(http) -> None:
    (frame,) = ask(http, "instances:car", resolution="model").json()["frames"]
    assert frame["answers"][0]["objects"][0]["rle"]["size"] == [72, 128]


def test_json_with_base64_is_the_same_question(http) -> None:
    body = {"image": base64.b64encode(jpeg()).decode(), "tasks": ["instances:car"], "rasters": True}
    (frame,) = http.post("/v1/predict", json=body).json()["frames"]
    (form,) = ask(http, "instances:car").json()["frames"]
    (answer,), (same,) = frame["answers"], form["answers"]
    assert answer["objects"] == same["objects"]
    labels = np.asarray(Image.open(io.BytesIO(base64.b64decode(answer["raster"]))))
    assert labels.shape == (180, 320)
    assert labels.max() == answer["num_objects"]
    assert same["raster"] is None


def test_masks_as_png_have_their_numbers_as_indexes(http) -> None:
    response = ask(http, "instances:car", accept="image/png")
    picture = Image.open(io.BytesIO(response.content))
    assert (picture.format, picture.mode, picture.size) == ("PNG", "P", (320, 180))
    names = json.loads(response.headers["Plantain-Labels"])
    assert set(np.unique(np.asarray(picture))) == set(range(len(names) + 1))


def test_depth_as_png_is_16_bit_and_says_its_scale(http) -> None:
    response = ask(http, "depth", accept="image/png, application/json;q=0.5")
    samples = np.asarray(Image.open(io.BytesIO(response.content)))
    assert samples.dtype == np.uint16
    metres = samples / float(response.headers["Plantain-Scale"])
    numbers = np.load(io.BytesIO(ask(http, "depth", accept="application/x-npy").content))
    assert numbers.dtype == np.float32
    assert np.abs(metres - numbers).max() < 0.01


def test_normals_as_numbers_are_unit_vectors(http) -> None:
    numbers = np.load(io.BytesIO(ask(http, "normals", accept="application/x-npy").content))
    assert numbers.shape == (180, 320, 3)
    lengths = np.linalg.norm(numbers, axis=-1)
    assert np.all((np.abs(lengths - 1) < 1e-3) | (lengths == 0))


def test_an_annotated_picture_shows_the_picture_itself(http) -> None:
    response = ask(http, "instances:car", accept="image/jpeg")
    shown = np.asarray(Image.open(io.BytesIO(response.content)))
    assert response.headers["content-type"] == "image/jpeg"
    assert shown.shape[1] >= 320
    assert shown.std() > 20


def test_json_may_hold_the_picture_with_the_first_answer_drawn_on_it(http) -> None:
    (frame,) = ask(http, "instances:car", "depth", drawn="true").json()["frames"]
    drawn = Image.open(io.BytesIO(base64.b64decode(frame["drawn"])))
    assert drawn.size == (320, 180)
    assert np.asarray(drawn).std() > 20
    assert ask(http, "instances:car").json()["frames"][0]["drawn"] is None


def test_the_key_says_what_the_colours_of_a_drawing_mean(http) -> None:
    depth = http.get("/v1/key", params={"prompt": "depth"}).json()
    assert depth["ticks"][0]["metres"] < depth["ticks"][-1]["metres"]
    places = [tick["place"] for tick in depth["ticks"]]
    assert places == sorted(places)
    assert places[0] > 0
    assert places[-1] < 1
    assert all(stop.startswith("#") for stop in depth["stops"])
    classes = http.get("/v1/key", params={"prompt": "semantic:car=#ff0000,road=#00ff00"}).json()["classes"]
    assert classes == [{"name": "car", "colour": "#ff0000"}, {"name": "road", "colour": "#00ff00"}]
    assert http.get("/v1/key", params={"prompt": "dept"}).status_code == 422


def test_several_pngs_come_as_multipart_with_the_json_first(http) -> None:
    response = ask(http, "instances:car", "depth", accept="multipart/mixed")
    head = f"Content-Type: {response.headers['content-type']}\r\n\r\n".encode()
    parts = message_from_bytes(head + response.content).get_payload()
    assert [part.get_content_type() for part in parts] == ["application/json", "image/png", "image/png"]
    document = json.loads(parts[0].get_payload(decode=True))
    assert [answer["task"] for answer in document["frames"][0]["answers"]] == ["instances", "depth"]
    assert Image.open(io.BytesIO(parts[2].get_payload(decode=True))).size == (320, 180)
    assert parts[2]["Plantain-Task"] == "1"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_jpeg_png_and_webp_are_pictures(http, kind: str) -> None:
    picture = image(kind, numbered(9, 100, 60))
    assert ask(http, "depth", picture=picture).json()["frames"][0]["width"] == 100


def test_a_picture_is_turned_as_its_exif_says(http) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    (frame,) = ask(http, "depth", picture=image("JPEG", numbered(9, 100, 60), exif=exif)).json()["frames"]
    assert (frame["width"], frame["height"]) == (60, 100)


def test_a_clip_gives_an_answer_for_each_frame(http, tmp_path) -> None:
    clip = make(tmp_path / "clip.mp4", 8, size=(64, 48)).read_bytes()
    response = http.post("/v1/predict", files={"clip": ("c.mp4", clip)}, data={"task": "depth"})
    frames = response.json()["frames"]
    assert [frame["frame_index"] for frame in frames] == list(range(8))
    assert frames[5]["time_s"] == pytest.approx(0.2)
    numbers = http.post(
        "/v1/predict",
        files={"clip": ("c.mp4", clip)},
        data={"task": "depth", "resolution": "model", "fps": "12.5"},
        headers={"Accept": "application/x-npy"},
    )
    assert np.load(io.BytesIO(numbers.content)).shape == (4, 96, 128)


@pytest.mark.parametrize(("number", "status"), [(errno.ENOSPC, 507), (errno.EIO, 500)])
def test_a_clip_without_room_for_it_is_said_so(http, tmp_path, monkeypatch, number: int, status: int) -> None:
    clip = make(tmp_path / "clip.mp4", 8, size=(64, 48)).read_bytes()

    def refuse(self: Path, data: bytes) -> int:
        raise OSError(number, os.strerror(number), str(self))

    monkeypatch.setattr(Path, "write_bytes", refuse)
    response = http.post("/v1/predict", files={"clip": ("c.mp4", clip)}, data={"task": "depth"})
    said = problem(response, status)
    assert ("no room" in said) == (status == 507)
    assert "plantain-clip" not in said


def test_a_clip_with_too_many_frames_is_refused(http, tmp_path) -> None:
    clip = make(tmp_path / "clip.mp4", 11, size=(64, 48)).read_bytes()
    response = http.post("/v1/predict", files={"clip": ("c.mp4", clip)}, data={"task": "depth"})
    assert "more than 10 frames" in problem(response, 413)


@pytest.mark.parametrize("accept", ["image/png", "image/jpeg"])
def test_one_picture_is_no_answer_to_a_clip(http, tmp_path, accept: str) -> None:
    clip = make(tmp_path / "clip.mp4", 3, size=(64, 48)).read_bytes()
    response = http.post(
        "/v1/predict", files={"clip": ("c", clip)}, data={"task": "depth"}, headers={"Accept": accept}
    )
    assert "clip" in problem(response, 406)


def test_a_picture_of_too_many_pixels_is_refused_before_it_is_decoded(http) -> None:
    bomb = image("PNG", np.zeros((3000, 3000, 3), np.uint8), compress_level=9)
    assert len(bomb) < 100_000
    assert "3000 x 3000" in problem(ask(http, "depth", picture=bomb), 413)


def test_a_picture_beyond_all_measure_is_refused_without_a_warning(http) -> None:
    bomb = image("PNG", np.zeros((10_000, 9_990), np.uint8), compress_level=9)
    assert ask(http, "depth", picture=bomb).status_code in (413, 415)


@pytest.mark.parametrize(
    ("picture", "status"),
    [(b"", 415), (b"GIF89a", 415), (b"\x89PNG\r\n\x1a\n", 415), (b"%PDF-1.4", 415), (jpeg()[:2000], 422)],
)
def test_what_is_no_picture_is_refused(http, picture: bytes, status: int) -> None:
    problem(ask(http, "depth", picture=picture), status)


@pytest.mark.parametrize("task", ["", "dept", "refer:", "depth:x", "semantic:a,,b", "instances:a,b", "\x00"])
def test_a_task_that_cannot_be_read_is_named(http, task: str) -> None:
    problem(ask(http, task), 422)
    assert ask(http, "depth", task).json()["errors"][0]["field"] == "tasks.1"


def test_a_task_that_the_model_cannot_draw_is_refused(http) -> None:
    assert "fake model" in problem(ask(http, "generate:a wet street"), 422)


def test_only_what_is_to_be_drawn_anew_needs_no_picture(http) -> None:
    refused = problem(http.post("/v1/predict", json={"tasks": ["generate:a street"]}), 422)
    assert "fake model" in refused, "it got as far as the model"
    for tasks in (["depth"], ["generate:a street", "depth"]):
        assert "image and clip" in problem(http.post("/v1/predict", json={"tasks": tasks}), 422)
    form = http.post("/v1/predict", files={"task": (None, "generate:a street")})
    assert "fake model" in problem(form, 422)


def test_a_question_without_a_task_is_refused(http) -> None:
    body = {"image": base64.b64encode(jpeg()).decode(), "tasks": []}
    problem(http.post("/v1/predict", json=body), 422)


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[]", b"null", b'{"tasks": ["depth"]}', b'{"image": "!", "tasks": ["depth"]}', b"\xff\xfe",
        b'{"image": "", "clip": "", "tasks": ["depth"]}', b'{"image": "aGk=", "tasks": "depth"}',
        b'{"image": "aGk=", "tasks": ["depth"], "fps": NaN}', b'{"image": "aGk=", "tasks": ["\\ud800"]}',
        b'{"image": "aGk=", "tasks": ["depth"], "more": 1}', b"[" * 100_000,
    ],
)  # fmt: skip
def test_damaged_json_is_the_clients_mistake(http, body: bytes) -> None:
    response = http.post("/v1/predict", content=body, headers={"Content-Type": "application/json"})
    assert response.status_code in (415, 422), response.text
    assert response.headers["content-type"] == "application/problem+json"


def test_a_body_of_another_kind_is_refused(http) -> None:
    response = http.post("/v1/predict", content=b"x", headers={"Content-Type": "text/plain"})
    assert "multipart" in problem(response, 415)


def test_an_answer_of_another_kind_is_refused(http) -> None:
    assert "text/html" in problem(ask(http, "depth", accept="text/html"), 406)
    assert "one task" in problem(ask(http, "depth", "normals", accept="image/png"), 406)


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("*/*", Form.JSON), ("", Form.JSON), ("image/*", Form.PNG), ("image/jpeg", Form.JPEG),
        ("image/png;q=0.3, application/json;q=0.9", Form.JSON), ("text/html, */*;q=0.1", Form.JSON),
        ("application/x-npy, */*;q=0.5", Form.NPY), ("image/png;q=0, */*", Form.JSON),
        ("MULTIPART/MIXED", Form.MIXED),
    ],
)  # fmt: skip
def test_the_best_form_is_chosen(accept: str, form: Form) -> None:
    assert choose(accept) is form


@pytest.mark.parametrize("accept", ["text/html", "image/gif", "image/png;q=0", "x;q=nan"])
def test_no_form_that_nobody_wants_is_chosen(accept: str) -> None:
    with pytest.raises(HttpError, match="no answer of the kind"):
        choose(accept)


def test_a_client_that_leaves_takes_its_query_back(base, gateway, monkeypatch) -> None:
    monkeypatch.setattr(gateway, "delay_s", 15.0)
    before = gateway.cancelled
    body = json.dumps({"image": base64.b64encode(jpeg()).decode(), "tasks": ["depth"]}).encode()
    host, port = base.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as line:
        head = f"POST /v1/predict HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
        line.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        time.sleep(0.5)
    eventually(lambda: gateway.cancelled == before + 1, "taken back")


def test_an_engine_that_is_gone_is_told_with_when_to_come_back(http, gateway, monkeypatch) -> None:
    monkeypatch.setattr(gateway, "is_down", True)
    response = ask(http, "depth")
    assert "again" in problem(response, 503)
    assert int(response.headers["Retry-After"]) >= 1
    assert http.get("/readyz").status_code == 503
    assert http.get("/healthz").status_code == 200


def test_a_query_that_takes_too_long_is_given_up(gateway) -> None:
    slow = StepGateway(CONFIG, delay_s=30.0)
    config = CONFIG.model_copy(update={"serve": CONFIG.serve.model_copy(update={"timeout_s": 0.5})})
    with served(config, slow) as base, client(base) as http:
        response = ask(http, "depth")
        assert "no answer within 0.5 s" in problem(response, 503)
        assert "Retry-After" in response.headers
    assert slow.cancelled == 1


def test_boxes_are_objects_without_masks(http):
    found, boxes = ask(http, "instances:thing", "detect:thing").json()["frames"][0]["answers"]
    assert boxes["num_objects"] == len(boxes["objects"]) > 0
    for box, mask in zip(boxes["objects"], found["objects"], strict=True):
        assert box["rle"] is None
        assert [box[name] for name in ("label", "x1", "y1", "x2", "y2")] == pytest.approx(
            [mask[name] for name in ("label", "x1", "y1", "x2", "y2")]
        )
    drawn = ask(http, "detect:thing", accept="image/jpeg")
    assert drawn.headers["content-type"] == "image/jpeg"


def test_words_are_a_field_of_the_answer(http):
    said, boxes = ask(http, "ask:how many?", "detect:thing").json()["frames"][0]["answers"]
    assert said["text"] == f"{boxes['num_objects']} thing"
    assert (said["objects"], boxes["text"]) == ([], None)


@pytest.mark.parametrize("accept", ["image/png", "application/x-npy"])
@pytest.mark.parametrize("task", ["detect:thing", "ask:how many?"])
def test_what_is_no_picture_is_not_given_as_one(http, task, accept):
    reply = ask(http, task, accept=accept)
    assert reply.status_code == 406
    assert task in reply.json()["detail"]


def test_several_files_leave_out_what_is_no_picture(http):
    reply = ask(http, "depth", "ask:how many?", accept="multipart/mixed")
    assert reply.content.count(b"Content-Type: image/png") == 1
