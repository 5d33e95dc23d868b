"""What every backend owes, whoever made it and wherever it runs: ours, hosted ones, combinations and a user's own."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from plantain.deploy.job import run_job
from plantain.operators.answers import kind_of
from plantain.operators.answers.masks.value import Masks
from plantain.operators.errors import UsageError
from plantain.operators.models import BACKENDS, load_model, spec_of
from plantain.operators.models.base import Answer, Answering
from plantain.operators.prompts import Prompt, Task
from plantain.operators.sinks.parquet.reading import read_frames
from plantain.operators.types import Failure
from plantain.pipeline.config import check
from plantain.pipeline.video import build_graph
from tests.hosted_frames import frame
from tests.hosted_servers import (
    KEY,
    KEY_ENV,
    Asked,
    Painting,
    Reply,
    Server,
    chat,
    gemini,
    gemini_picture,
    images_edit,
    serving,
)
from tests.scripted_models import Noted, named

DEPTH, CARS, QUESTION = (
    Prompt.parse(text) for text in ("depth", "instances:car", "ask:how many cars are waiting?")
)
PROMPTS = {
    Task.SEMANTIC: Prompt.parse("semantic:car,road"),
    Task.INSTANCES: CARS,
    Task.REFER: Prompt.parse("refer:a car"),
    Task.DEPTH: DEPTH,
    Task.NORMALS: Prompt.parse("normals"),
    Task.GENERATE: Prompt.parse("generate:a street"),
    Task.DETECT: Prompt.parse("detect:car,bus"),
    Task.ASK: QUESTION,
}
PAINTING = Painting([prompt for task, prompt in PROMPTS.items() if task not in (Task.ASK, Task.DETECT)])


def speak(asked: Asked) -> Reply:
    """All that the servers of the tests can do, by the path."""
    if asked.path.endswith("/images/edits"):
        return images_edit(PAINTING, asked)
    if asked.path.endswith("/chat/completions"):
        if asked.json.get("logprobs"):
            return chat("A", tops={"A": -0.01, "B": -5.0})
        return chat(spoken(asked.json["messages"][0]["content"][1]["text"]))
    if "-image:" in asked.path:
        return gemini_picture(PAINTING, asked, promptTokenCount=600, candidatesTokenCount=1120)
    words = spoken(asked.json["contents"][0]["parts"][1]["text"])
    return gemini({"text": words}, promptTokenCount=600, candidatesTokenCount=4)


def spoken(question: str) -> str:
    """What a model says that looks: to a gate, to a rewriter, to others."""
    if question.startswith("Is there "):
        return "A"
    return "the car" if "one short noun phrase" in question else "three"


class Case(NamedTuple):
    """A backend.

    Attributes:
        name: As the configuration has it.
        options: Of a server's address.
        usd: Least price of an answer.
        tasks: That it is asked here; those of its spec if left out.
        is_exact: A batch is bitwise what single calls are.
    """

    name: str
    options: Callable[[str], dict[str, Any]] = lambda url: {}
    usd: float = 0.0
    tasks: tuple[Task, ...] = ()
    is_exact: bool = True


def hosted(name: str, **more: Any) -> Callable[[str], dict[str, Any]]:
    base = "" if name.startswith("gemini") else "/v1"
    return lambda url: {"base_url": url + base, "key_env": KEY_ENV, **more}


PERCEIVED = (Task.SEMANTIC, Task.INSTANCES, Task.REFER, Task.DEPTH, Task.NORMALS)
DRAWN = hosted("images-api", usd_per_answer=0.01)
CHAT = hosted("chat", model="qwen", usd_per_answer=0.001)
GEMINI = hosted("gemini", max_usd_per_hour=50.0)
CASES = {
    "embedded": Case("embedded", lambda url: {"threads": 1}, tasks=PERCEIVED, is_exact=False),
    "fake": Case("fake"),
    "fake-video": Case("fake-video", tasks=PERCEIVED),
    "images-api": Case("images-api", DRAWN, 0.01, PERCEIVED),
    "chat": Case("chat", CHAT, 0.001),
    "gemini": Case("gemini", GEMINI, 1e-4),
    "gemini-image": Case("gemini-image", GEMINI, 0.06, PERCEIVED),
    "router": Case(
        "router",
        lambda url: {
            "routes": {
                "ask": {"name": "chat", "options": CHAT(url)},
                "depth": {"name": "images-api", "options": DRAWN(url)},
            },
            "rest": "fake",
        },
    ),
    "specialists": Case(
        "specialists",
        lambda url: {"routes": dict.fromkeys((*PERCEIVED, Task.DETECT), "fake"), "rest": "fake"},
        tasks=PERCEIVED,
    ),
    "gate": Case(
        "gate",
        lambda url: {"model": "fake", "presence": {"name": "chat", "options": CHAT(url)}},
        tasks=PERCEIVED,
    ),
    "gate by gemini": Case(
        "gate",
        lambda url: {"model": "fake", "presence": {"name": "gemini", "options": GEMINI(url)}},
        tasks=PERCEIVED,
    ),
    "rewriting": Case(
        "rewriting", lambda url: {"model": "fake", "rewriter": {"name": "gemini", "options": GEMINI(url)}}
    ),
    "rewriting by chat": Case(
        "rewriting",
        lambda url: {
            "model": "fake",
            "rewriter": {"name": "chat", "options": CHAT(url)},
            "what": "all",
        },
    ),
    "voting": Case("voting", lambda url: {"model": "fake"}),
    "nested": Case(
        "rewriting",
        lambda url: {
            "model": {
                "name": "gate",
                "options": {
                    "model": {
                        "name": "router",
                        "options": {
                            "routes": {"semantic": {"name": "voting", "options": {"model": "fake"}}},
                            "rest": named(Noted),
                        },
                    },
                    "presence": {"name": "chat", "options": CHAT(url)},
                },
            },
            "rewriter": {"name": "gemini", "options": GEMINI(url)},
        },
        tasks=PERCEIVED,
    ),
    "a user's own": Case(str(named(Noted)["name"]), tasks=(Task.DEPTH, Task.INSTANCES)),
}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving(speak) as made:
        yield made


@pytest.fixture(params=list(CASES))
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]


@pytest.fixture
def model(case: Case, server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Answering]:
    monkeypatch.setenv(KEY_ENV, KEY)
    with ExitStack() as stack:
        made = load_model(case.name, case.options(server.url))
        stack.callback(made.close)
        yield made


def prompts_of(case: Case, url: str) -> list[Prompt]:
    tasks = case.tasks or spec_of(case.name, case.options(url)).tasks
    return [PROMPTS[task] for task in tasks if task in PROMPTS and task is not Task.GENERATE]


def same(first: Answer, second: Answer, prompt: Prompt, *, is_exact: bool) -> None:
    kind = kind_of(prompt)
    assert not isinstance(first.value, Failure), first.value
    assert not isinstance(second.value, Failure), second.value
    ours, theirs = kind.array(first.value), kind.array(second.value)
    if ours is None or theirs is None:
        assert kind.summary(first.value) == kind.summary(second.value)
    elif is_exact:
        np.testing.assert_array_equal(ours, theirs)
    else:
        assert np.mean(~np.isclose(ours, theirs, rtol=1e-3, atol=1e-3)) < 0.01


def test_all_ours_are_here() -> None:
    """Those whose weights come from elsewhere have a suite of their own, with tiny ones."""
    ours = {name for name, spec in BACKENDS.items() if "huggingface_hub" not in spec.needs}
    assert ours <= {case.name for case in CASES.values()}


def test_it_says_who_it_is(model: Answering, case: Case, server: Server) -> None:
    assert isinstance(model, Answering)
    if case.name in BACKENDS:
        assert model.name == case.name
    again = load_model(case.name, case.options(server.url))
    assert again.fingerprint == model.fingerprint != ""
    assert KEY not in f"{model.fingerprint} {model!r} {vars(model)!r}"
    again.close()


def test_each_prompt_has_an_answer_of_its_kind_and_size(model: Answering, case: Case, server: Server) -> None:
    prompts = prompts_of(case, server.url)
    shown = frame(0)
    shown.image.flags.writeable = False  # as under Ray
    answers = model.answer([shown], [0] * len(prompts), prompts)
    assert len(answers) == len(prompts)
    for prompt, answer in zip(prompts, answers, strict=True):
        kind = kind_of(prompt)
        assert isinstance(answer.value, kind.value), answer.value
        assert kind.size_hw(answer.value) in (None, (shown.info.fit.height, shown.info.fit.width))
        assert answer.cost_usd >= case.usd


def test_a_batch_of_mixed_tasks_is_what_single_calls_are(
    model: Answering, case: Case, server: Server
) -> None:
    # Through a lens that is told: one that is estimated is averaged over the pictures that a stream showed before.
    frames = [replace(each, info=replace(each.info, hfov_deg=64.0)) for each in map(frame, range(3))]
    asked = [(k, prompt) for k in (2, 0, 1) for prompt in prompts_of(case, server.url)]
    together = model.answer(frames, [k for k, _ in asked], [prompt for _, prompt in asked])
    for (k, prompt), answer in zip(asked, together, strict=True):
        (alone,) = model.answer([frames[k]], [0], [prompt])
        same(answer, alone, prompt, is_exact=case.is_exact)


def test_what_it_cannot_answer_fails_alone_in_one_sentence(
    model: Answering, case: Case, server: Server
) -> None:
    """Each kind of prompt is answered as its kind wants it, or says why not."""
    possible = prompts_of(case, server.url)
    prompts = [*PROMPTS.values(), *possible]
    answers = model.answer([frame(0)], [0] * len(prompts), prompts)
    for prompt, answer in zip(prompts, answers, strict=True):
        if isinstance(answer.value, Failure):
            assert prompt not in possible
            assert "\n" not in answer.value.error
            assert 10 < len(answer.value.error) < 400
            assert KEY not in answer.value.error
        else:
            assert isinstance(answer.value, kind_of(prompt).value)


def test_it_can_be_closed_twice(case: Case, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_ENV, KEY)
    model = load_model(case.name, case.options(server.url))
    model.close()
    model.close()


@pytest.mark.parametrize(
    ("name", "prompt", "path", "words"),
    [
        ("gate", CARS, "/chat/completions", 'Is there "car" in'),
        ("gate by gemini", CARS, ":generateContent", 'Is there "car" in'),
        ("rewriting", Prompt.parse("refer:what drives?"), ":generateContent", 'is meant by "what drives?"'),
        ("rewriting by chat", PROMPTS[Task.REFER], "/chat/completions", 'is meant by "a car"'),
    ],
)
def test_who_looks_first_is_asked_over_http_in_its_own_words_and_paid(
    name: str, prompt: Prompt, path: str, words: str, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY_ENV, KEY)
    before, case = len(server.asked), CASES[name]
    model = load_model(case.name, case.options(server.url))
    (answer,) = model.answer([frame(0)], [0], [prompt])
    model.close()
    (asked,) = server.asked[before:]
    assert asked.path.endswith(path)
    assert words in asked.body.decode().replace('\\"', '"')
    meant = prompt if prompt is CARS else replace(prompt, classes=("the car",))
    (truth,) = load_model("fake").answer([frame(0)], [0], [meant])
    assert isinstance(truth.value, Masks)
    assert isinstance(answer.value, Masks)
    np.testing.assert_array_equal(answer.value.labels, truth.value.labels)
    assert answer.cost_usd > 0


STREET = "synthetic://street?seed={seed}&frames=4&width=96&height=64&stamp=1"
RUN = [name for name in CASES if name not in ("embedded", "fake", "fake-video")]


@pytest.mark.parametrize("name", RUN)
def test_a_run_names_it_and_its_rows_say_what_they_cost(
    name: str, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside a model of one's own, whose rows are free and complete."""
    monkeypatch.setenv(KEY_ENV, KEY)
    case = CASES[name]
    before = len(server.asked)
    mine = [str(prompt) for prompt in prompts_of(case, server.url) if prompt is not DEPTH][:2] or ["depth"]
    config = check(
        {
            "streams": [{"url": STREET.format(seed=seed), "id": f"s{seed}"} for seed in (6, 7)],
            "prompts": ["semantic:person,sky", *({"prompt": prompt, "model": "far"} for prompt in mine)],
            "models": {
                "near": {"name": "fake", "canvas": {"width": 96, "height": 64}},
                "far": {
                    "name": case.name,
                    "options": case.options(server.url),
                    "canvas": {"width": 96, "height": 64},
                },
            },
            "output": {"out": str(tmp_path), "segment_frames": 2},
        }
    )
    assert run_job(config).exit_code == 0
    rows = read_frames(
        tmp_path, ["stream_id", "frame_index", "prompt", "status", "cost_usd", "model_fingerprint"]
    )
    assert set(rows["status"]) == {"ok"}
    assert len(rows["status"]) == 2 * 4 * (1 + len(mine))
    for prompt in mine:
        costs = rows["cost_usd"][rows["prompt"] == prompt]
        assert all(cost >= case.usd for cost in costs)
    assert all(cost == 0 for cost in rows["cost_usd"][rows["prompt"] == "semantic:person,sky"])
    if case.usd:
        assert len(server.asked) - before == 2 * 4 * len(mine), "each answer is one request"
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert KEY.encode() not in written


def test_a_mistake_in_the_options_is_found_when_the_run_is_planned() -> None:
    def built(**model: Any) -> None:
        build_graph(
            check({"streams": [{"url": STREET.format(seed=1)}], "prompts": ["depth"], "model": model})
        )

    built(name="router", options={"rest": "fake"})
    with pytest.raises(UsageError, match="does not take these options"):
        built(name="gemini-image", options={"max_usd_per_hour": 1, "colour": 1})
    with pytest.raises(UsageError, match=r"has 2 copies: one keeps its budget and its rate"):
        built(name="gemini-image", options={"max_usd_per_hour": 1}, replicas=2)
    with pytest.raises(UsageError, match="give max_usd_per_hour"):
        built(name="router", options={"routes": {"depth": "gemini-image"}, "rest": "fake"})


def test_answers_travel_between_processes(model: Answering, case: Case, server: Server) -> None:
    (prompt, *_) = prompts_of(case, server.url)
    answers = model.answer([frame(0)], [0], [prompt])
    (again,) = pickle.loads(pickle.dumps(answers))
    same(again, answers[0], prompt, is_exact=True)
