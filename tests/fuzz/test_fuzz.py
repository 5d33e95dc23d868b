"""Damaged inputs from a seed: /v1/predict and the configuration answer each with a reason, and keep nothing of it.

`PLANTAIN_FUZZ=10000` runs as many of each; the suite runs a few hundred.
"""

from __future__ import annotations

import asyncio
import base64
import gc
import json
import os
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random

import httpx
import psutil
import pytest
import yaml

from plantain.deploy.service.app import create_app
from plantain.operators.errors import UsageError
from plantain.pipeline.config import PipelineConfig, check, load
from tests.assets.clips import make, numbered
from tests.gateways import StepGateway
from tests.serving import image

NUM_INPUTS = int(os.environ.get("PLANTAIN_FUZZ", "400"))
SEED = 20261121
# What a run may grow by once it is warm: caches of fonts, numba and the allocator.
MAX_GROWTH_BYTES = 60 << 20

CONFIG = check(
    {
        "streams": [],
        "model": {"name": "fake", "canvas": {"width": 64, "height": 48}},
        "serve": {"max_pixels": 1_000_000, "max_clip_frames": 8, "max_body_bytes": 200_000, "timeout_s": 20},
    },
    may_be_idle=True,
)
TASKS = (
    "depth", "normals", "instances:car", "semantic:car,person,road", "refer:the red car", "depth[curve=street]",
    "semantic[background=#10aa05]:car=#ff0000,road=#00ff00", "prompt[codec=depth]:words", "generate:a street",
)  # fmt: skip
ACCEPTS = (
    "application/json", "*/*", "*/*", "*/*", "image/png", "image/jpeg", "application/x-npy", "multipart/mixed",
    "x/y;q=a",
)  # fmt: skip
EXPECTED = {200, 400, 401, 403, 404, 405, 406, 408, 411, 413, 415, 421, 422}


def damaged(data: bytes, chance: Random) -> bytes:
    """Bytes with something wrong: flipped, cut, repeated, swapped, or with numbers where they hurt."""
    whole = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 5, 30))):
        at = chance.randrange(len(whole)) if whole else 0
        match chance.randrange(8):
            case 0 if whole:
                whole[at] ^= 1 << chance.randrange(8)
            case 1:
                del whole[at:]
            case 2:
                whole[at:at] = chance.randbytes(chance.randrange(1, 40))
            case 3:
                length = chance.randrange(1, 200)
                whole[at:at] = whole[at : at + length] * chance.randrange(1, 5)
            case 4:
                whole[at : at + 4] = chance.choice((b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff"))
            case 5:
                del whole[at : at + chance.randrange(1, 50)]
            case 6:
                whole[at : at + 1] = chance.choice(
                    (b"\0", b'"', b"{", b"\\", b"\xc3\x28", "\u202e".encode(), b"\r\n")
                )
            case _:
                other = chance.randrange(len(whole)) if whole else 0
                whole[at : at + 8], whole[other : other + 8] = whole[other : other + 8], whole[at : at + 8]
    return bytes(whole)


def seeds(folder: Path) -> dict[str, bytes]:
    """Good files to be damaged."""
    picture = numbered(77, 96, 64)
    exif = image(
        "JPEG", picture, exif=b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"
    )
    return {
        "jpeg": image("JPEG", picture),
        "progressive": image("JPEG", picture, progressive=True),
        "exif": exif,
        "png": image("PNG", picture),
        "gray": image("PNG", picture[..., 0].astype("uint16") * 257),
        "webp": image("WEBP", picture, lossless=True),
        "lossy": image("WEBP", picture),
        "mp4": make(folder / "a.mp4", 6, size=(64, 48)).read_bytes(),
        "mkv": make(folder / "a.mkv", 6, size=(64, 48)).read_bytes(),
    }


def request_of(files: dict[str, bytes], chance: Random) -> dict[str, object]:
    """One request, good but for one thing or two."""
    wrong = {*chance.choices(("file", "tasks", "fields", "body"), (6, 2, 2, 3), k=chance.choice((1, 1, 2)))}
    name = chance.choice(list(files))
    data = damaged(files[name], chance) if "file" in wrong else files[name]
    kind = "clip" if name in ("mp4", "mkv") else "image"
    tasks = [
        damaged(task.encode(), chance).decode("utf-8", "replace") if "tasks" in wrong else task
        for task in chance.sample(TASKS, chance.choice((1, 1, 1, 2, 3)))
    ]
    headers = {"Accept": chance.choice(ACCEPTS)}
    if chance.random() < 0.4:
        body = {kind: base64.b64encode(data).decode(), "tasks": tasks}
        for field in chance.sample(
            ("fps", "resolution", "rasters", "drawn", "watch"), 2 * ("fields" in wrong)
        ):
            body[field] = chance.choice((True, -1, 1e308, "model", "source", None, [], {"a": 1}, "nan"))
        text = json.dumps(body).encode()
        if "body" in wrong:
            text = damaged(text, chance)
        return {"content": text, "headers": headers | {"Content-Type": "application/json"}}
    fields = {"task": tasks}
    for field in chance.sample(("fps", "resolution", "rasters", "drawn"), 2 * ("fields" in wrong)):
        fields[field] = chance.choice(("1", "-1", "nan", "model", "true", "1e400", "\0"))  # type: ignore[assignment]
    built = httpx.Request("POST", "http://127.0.0.1/", files={kind: ("f", data)}, data=fields)
    content = built.read()
    content_type = built.headers["Content-Type"]
    if "body" in wrong:
        content = damaged(content, chance)
    if chance.random() < 0.03:
        content_type = (
            damaged(content_type.encode(), chance).decode("latin-1").replace("\n", "").replace("\r", "")
        )
    return {
        "content": content,
        "headers": headers | {"Content-Type": content_type.encode("latin-1", "replace")},
    }


def held() -> tuple[int, int, int, int]:
    """Bytes, open files, threads of this process, and temporary folders of ours."""
    gc.collect()
    process = psutil.Process()
    folders = len(list(Path(tempfile.gettempdir()).glob("plantain-clip-*")))
    return process.memory_info().rss, process.num_fds(), process.num_threads(), folders


@pytest.mark.timeout(7200)
@pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # it says so of damaged EXIF data, and goes on without
@pytest.mark.filterwarnings(
    # Starlette leaves an upload that is cut off to the garbage collector; that nothing is kept is counted below.
    "ignore:Exception ignored in. <function SpooledTemporaryFile:pytest.PytestUnraisableExceptionWarning"
)
def test_damaged_questions_are_the_clients_mistake(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    files = seeds(tmp_path)
    chance = Random(SEED)
    transport = httpx.ASGITransport(create_app(CONFIG, StepGateway(CONFIG)), raise_app_exceptions=True)
    codes: Counter[int] = Counter()

    async def work() -> tuple[tuple[int, int, int, int], tuple[int, int, int, int]]:
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http:
            warm = held()
            for number in range(NUM_INPUTS):
                if number == NUM_INPUTS // 4:
                    warm = held()
                request = request_of(files, chance)
                response = await http.post("/v1/predict", **request)  # type: ignore[arg-type]
                codes[response.status_code] += 1
                assert response.status_code in EXPECTED, (
                    f"input {number}: {response.status_code} {response.text[:300]}"
                )
                if response.status_code != 200:
                    assert response.headers["content-type"] == "application/problem+json", f"input {number}"
                    assert response.json()["detail"], f"input {number}"
            return warm, held()

    warm, end = asyncio.run(work())
    assert codes[200] > NUM_INPUTS // 50, "some inputs must get through to the model"
    assert codes[422] > 0
    assert codes[415] > 0
    assert end[1] <= warm[1] + 4, f"open files: {warm[1]} and then {end[1]}"
    assert end[2] <= warm[2] + 8, f"threads: {warm[2]} and then {end[2]}"
    assert end[3] <= warm[3], "temporary folders are left behind"
    assert end[0] - warm[0] < MAX_GROWTH_BYTES, f"grew by {(end[0] - warm[0]) >> 20} MiB"
    print(dict(codes), f"grew by {(end[0] - warm[0]) / 2**20:.1f} MiB over {NUM_INPUTS * 3 // 4} inputs")  # noqa: T201 - with -s it is the report


EXAMPLES = sorted((Path(__file__).parents[2] / "deploy" / "configs").glob("*.yaml"))


def mutated(value: object, chance: Random) -> object:
    """A configuration with a wrong value somewhere."""
    odd: tuple[Callable[[], object], ...] = (
        lambda: None, lambda: -1, lambda: 1e308, lambda: float("nan"), list, dict, lambda: "",
        lambda: "\0", lambda: "x" * 1000, lambda: True, lambda: [[[]]], lambda: {"a": {"b": 1}}, lambda: 2**70,
        lambda: "s3://", lambda: "file:///etc/passwd", lambda: "a:b:c",
    )  # fmt: skip
    if chance.random() < 0.15:
        return chance.choice(odd)()
    if isinstance(value, dict) and value:
        key = chance.choice(list(value))
        changed = dict(value)
        match chance.randrange(6):
            case 0:
                del changed[key]
            case 1:
                changed[str(chance.choice((key, "x", "_", 3))) + "x"] = changed.pop(key)
            case _:
                changed[key] = mutated(value[key], chance)
        return changed
    if isinstance(value, list) and value:
        at = chance.randrange(len(value))
        return [*value[:at], mutated(value[at], chance), *value[at + chance.randrange(2) :]]
    return chance.choice(odd)()


@pytest.mark.timeout(7200)
def test_damaged_configurations_are_refused_in_words(tmp_path) -> None:
    chance = Random(SEED)
    sources = [path.read_text(encoding="utf-8") for path in EXAMPLES]
    file = tmp_path / "fuzz.yaml"
    outcomes: Counter[str] = Counter()
    warm = held()
    for number in range(NUM_INPUTS):
        if number == NUM_INPUTS // 4:
            warm = held()
        text = chance.choice(sources)
        if chance.random() < 0.5:
            file.write_bytes(damaged(text.encode(), chance))
        else:
            file.write_text(yaml.safe_dump(mutated(yaml.safe_load(text), chance), allow_unicode=True))
        try:
            outcomes["accepted" if isinstance(load(file), PipelineConfig) else "?"] += 1
        except UsageError as error:
            outcomes["refused" if 0 < len(str(error)) < 20_000 else "without words"] += 1
    assert outcomes["refused"] > NUM_INPUTS // 4
    assert not outcomes["without words"]
    end = held()
    assert end[0] - warm[0] < MAX_GROWTH_BYTES, f"grew by {(end[0] - warm[0]) >> 20} MiB"
    print(dict(outcomes), f"grew by {(end[0] - warm[0]) / 2**20:.1f} MiB")  # noqa: T201 - with -s it is the report
