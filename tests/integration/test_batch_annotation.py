"""Batch annotation from recordings to rows, ended and begun again, with a server that speaks Gemini's batch mode."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from plantain.deploy.batches import annotate
from plantain.deploy.cli.app import app
from plantain.operators.errors import ModelError, UsageError
from plantain.operators.models.hosted import batch as batches
from plantain.operators.prompts import Prompt
from plantain.operators.sinks.parquet.reading import read_frames
from plantain.pipeline.config import PipelineConfig, check
from plantain.pipeline.runner import Outcome
from tests.hosted_servers import KEY, KEY_ENV, Asked, Painting, Reply, Server, gemini, gemini_picture, serving

PROMPTS = ("instances:car", "depth")
PAINTING = Painting([Prompt.parse(prompt) for prompt in PROMPTS])
USAGE = {"promptTokenCount": 600, "candidatesTokenCount": 1120}


class Google:
    """Batches that are done at the second look.

    Args:
        loses: Numbers of the submissions whose answer never arrives, though the batch is there.
        refuses: Numbers of requests of each batch that have an error.
        forgets_keys: Answers come without their metadata.
    """

    def __init__(
        self, loses: tuple[int, ...] = (), refuses: tuple[int, ...] = (), *, forgets_keys: bool = False
    ) -> None:
        self.loses, self.refuses, self.forgets_keys = loses, refuses, forgets_keys
        self.batches: list[dict[str, Any]] = []
        self.looks: dict[str, int] = {}

    def __call__(self, asked: Asked) -> Reply:
        if asked.method == "POST":
            assert asked.path == "/v1/models/gemini-3.1-flash-image:batchGenerateContent"
            name = f"batches/{len(self.batches)}"
            self.batches.append({"name": name, **asked.json["batch"]})
            return Reply(hangs_up=True) if len(self.batches) - 1 in self.loses else Reply({"name": name})
        if asked.path.startswith("/v1/batches?"):
            listed = [
                {"name": each["name"], "metadata": {"displayName": each["displayName"]}}
                for each in self.batches
            ]
            return Reply({"operations": listed})
        name = asked.path.removeprefix("/v1/")
        self.looks[name] = self.looks.get(name, 0) + 1
        if self.looks[name] < 2:
            return Reply({"name": name, "metadata": {"state": "BATCH_STATE_RUNNING"}})
        return Reply(
            {
                "name": name,
                "done": True,
                "response": {"inlinedResponses": {"inlinedResponses": self.answers(name)}},
            }
        )

    def answers(self, name: str) -> list[dict[str, Any]]:
        (batch,) = (each for each in self.batches if each["name"] == name)
        told = []
        for number, each in enumerate(batch["inputConfig"]["requests"]["requests"]):
            metadata = {} if self.forgets_keys else {"metadata": each["metadata"]}
            if number in self.refuses:
                told.append({"error": {"code": 3, "status": "INVALID_ARGUMENT"}, **metadata})
                continue
            asked = Asked("POST", "", {}, json.dumps(each["request"]).encode(), 0.0)
            told.append({"response": gemini_picture(PAINTING, asked, **USAGE).body, **metadata})
        return told


def config_of(url: str, out: Path, frames: int = 3, **model: Any) -> PipelineConfig:
    street = f"synthetic://street?seed=6&frames={frames}&width=96&height=64&stamp=1"
    options = {"base_url": url, "key_env": KEY_ENV, "max_usd_per_hour": 0.1}
    return check(
        {
            "streams": [{"url": street, "id": "street"}],
            "prompts": list(PROMPTS),
            "model": {
                "name": "gemini-image",
                "options": options,
                "canvas": {"width": 96, "height": 64},
                **model,
            },
            "output": {"out": str(out), "segment_frames": 2, "rasters": False},
        }
    )


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_ENV, KEY)


def rows_of(out: Path) -> Any:
    return read_frames(out, ["prompt", "frame_index", "status", "cost_usd", "model", "reason"])


def posts(server: Server) -> list[Asked]:
    return [asked for asked in server.asked if asked.method == "POST"]


@pytest.mark.parametrize("forgets_keys", [False, True])
def test_recordings_become_rows_at_half_the_price(
    forgets_keys: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "MAX_BYTES", 60_000)  # several batches
    said: list[str] = []
    pauses: list[float] = []
    with serving(Google(forgets_keys=forgets_keys)) as server:
        outcome = annotate(config_of(server.url, tmp_path), 1.0, say=said.append, sleep=pauses.append)
        assert isinstance(outcome, Outcome)
        assert outcome.exit_code == 0
        assert len(posts(server)) > 1
        requests = sum(
            len(asked.json["batch"]["inputConfig"]["requests"]["requests"]) for asked in posts(server)
        )
        assert requests == 6
        assert all(asked.headers["x-goog-api-key"] == KEY for asked in server.asked)
    rows = rows_of(tmp_path)
    assert sorted(zip(rows["frame_index"], rows["prompt"], strict=True)) == sorted(
        (k, p) for k in range(3) for p in PROMPTS
    )
    assert {*rows["status"]} == {"ok"}
    assert {*rows["model"]} == {"gemini-image"}
    assert {round(cost, 6) for cost in rows["cost_usd"]} == {
        round(0.5 * (0.067 + 600 * 0.5e-6 + 1024 * 3e-6), 6)
    }
    assert pauses == [60.0]
    assert re.fullmatch(r"6 requests are sent; they may cost up to 0\.2\d USD", said[0])
    assert not any(KEY.encode() in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


def test_words_are_annotated_so_too(tmp_path: Path) -> None:
    def say(asked: Asked) -> Reply:
        if asked.method == "POST":
            posted.append(asked)
            return Reply({"name": "batches/7"})
        words = gemini({"text": "two cars"}, promptTokenCount=600, candidatesTokenCount=4).body
        output = {"inlinedResponses": [{"response": words}] * 3}
        return Reply({"name": "batches/7", "metadata": {"state": "BATCH_STATE_SUCCEEDED", "output": output}})

    posted: list[Asked] = []
    with serving(say) as server:
        told = config_of(server.url, tmp_path, name="gemini").model_dump(mode="json", exclude={"prompts"})
        annotate(check({**told, "prompts": ["ask:how many cars?"]}), 1.0, sleep=lambda _: None)
    assert [asked.path for asked in posted] == ["/v1/models/gemini-3.5-flash-lite:batchGenerateContent"]
    rows = read_frames(tmp_path, ["text", "cost_usd"])
    assert [*rows["text"]] == ["two cars"] * 3
    assert rows["cost_usd"][0] == pytest.approx(0.5 * (600 * 0.30e-6 + 4 * 2.50e-6))


def test_begun_again_it_goes_on_and_sends_nothing_twice(tmp_path: Path) -> None:
    with serving(Google()) as server:
        config = config_of(server.url, tmp_path)
        assert annotate(config, 1.0, waits=False) == "out"
        assert annotate(config, 1.0, sleep=lambda _: None) != "out"
        assert annotate(config, 0.0, sleep=lambda _: None) != "out"
        assert len(posts(server)) == 1
        more = config_of(server.url, tmp_path / "more", frames=4)
        (tmp_path / "more" / ".plantain").mkdir(parents=True)
        (tmp_path / ".plantain" / "batch").rename(tmp_path / "more" / ".plantain" / "batch")
        assert annotate(more, 1.0, sleep=lambda _: None) != "out"
        assert len(posts(server)) == 2
        last = posts(server)[1].json["batch"]["inputConfig"]["requests"]["requests"]
        assert len(last) == 2, "only what is new"


def test_a_batch_whose_receipt_is_lost_is_found_again(tmp_path: Path) -> None:
    with serving(Google(loses=(0,))) as server:
        config = config_of(server.url, tmp_path)
        with pytest.raises(ModelError, match="broke off its answer"):
            annotate(config, 1.0)
        outcome = annotate(config, 1.0, sleep=lambda _: None)
        assert isinstance(outcome, Outcome)
        assert len(posts(server)) == 1, "it is paid for once"
    assert {*rows_of(tmp_path)["status"]} == {"ok"}


def test_what_one_request_is_refused_is_its_own_row(tmp_path: Path) -> None:
    with serving(Google(refuses=(1,))) as server:
        annotate(config_of(server.url, tmp_path), 1.0, sleep=lambda _: None)
    rows = rows_of(tmp_path)
    assert sorted(rows["status"]) == ["failed"] + ["ok"] * 5
    (reason,) = (reason for reason in rows["reason"] if reason)
    assert reason == "infer: refused in the batch (INVALID_ARGUMENT)"


def test_more_than_allowed_is_not_sent(tmp_path: Path) -> None:
    with serving(Google()) as server:
        with pytest.raises(UsageError, match=r"may cost up to 0\.2\d USD, and --max-usd is 0.05"):
            annotate(config_of(server.url, tmp_path), 0.05)
        assert not server.asked


def test_what_batches_are_not_for_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="model 'fake' has no batch mode: use gemini or gemini-image here"):
        annotate(config_of("http://127.0.0.1:1", tmp_path, name="fake", options={}), 1.0)
    camera = config_of("http://127.0.0.1:1", tmp_path).model_dump(mode="json", exclude={"prompts"})
    camera["streams"] = [{"url": "rtsp://127.0.0.1:1/x", "id": "cam"}]
    with pytest.raises(UsageError, match="a camera cannot be read twice"):
        annotate(check({**camera, "prompts": ["depth"]}), 1.0)


def test_the_command_says_what_to_do_next(tmp_path: Path) -> None:
    with serving(Google()) as server:
        out = tmp_path / "out"
        file = tmp_path / "batch.yaml"
        options = {"base_url": server.url, "key_env": KEY_ENV, "max_usd_per_hour": 0.1}
        file.write_text(
            json.dumps(
                {
                    "streams": [
                        {"url": "synthetic://street?seed=6&frames=2&width=96&height=64&stamp=1", "id": "s"}
                    ],
                    "prompts": ["depth"],
                    "model": {
                        "name": "gemini-image",
                        "options": options,
                        "canvas": {"width": 96, "height": 64},
                    },
                    "output": {"out": str(out)},
                }
            )
        )
        told = CliRunner().invoke(app, ["annotate", str(file), "--max-usd", "1", "--no-wait"])
        assert "answers are still to come: the same command goes on" in told.output
        told = CliRunner().invoke(app, ["annotate", str(file), "--max-usd", "1", "--every", "0"])
        assert told.exit_code == 0, told.output
        assert "results in" in told.output
    assert {*rows_of(out)["status"]} == {"ok"}
