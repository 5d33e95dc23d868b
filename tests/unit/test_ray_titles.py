"""What calls are called on Ray's dashboard."""

import pytest

from plantain.deploy.ray.executor import RayExecutor
from plantain.operators.types import Header
from plantain.pipeline.worker import Call


def header(stream_id: str) -> Header:
    return Header(stream_id, 0, 0)


@pytest.mark.parametrize(
    ("call", "title"),
    [
        (Call(0, "read", 0, "poll", argument=(("gate", 0, 2), ("yard", 0, 2))),
         "read gate (live, 5 fps), yard (lost, 0 fps)"),
        (Call(0, "read", 0, "poll", argument=tuple((name, 0, 1) for name in ("gate", "yard", "a", "b", "c"))),
         "read gate (live, 5 fps), yard (lost, 0 fps), a (live, 1 fps) and 2 more"),
        (Call(0, "write", 0, "finish", "gate"), "write gate (live, 5 fps)"),
        (Call(0, "infer", 0, "run", headers=(header("gate"), header("q-7"), header("gate"))),
         "infer gate (live, 5 fps)"),
        (Call(0, "infer", 0, "swap"), "infer"),
    ],
)  # fmt: skip
def test_a_call_is_called_after_its_streams(call, title):
    executor = RayExecutor()
    executor.entitle(
        {"gate": "live, 5 fps", "yard": "lost, 0 fps", **dict.fromkeys(("a", "b", "c"), "live, 1 fps")}
    )
    assert executor._title(call) == title
