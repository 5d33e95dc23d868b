"""What calls are called on Ray's dashboard."""

import pytest

from plantain.deploy.ray.executor import RayExecutor
from plantain.operators.types import Header
from plantain.pipeline.calls import Call, Finish, Poll, Run, Swap, Wanted


def header(stream_id: str) -> Header:
    return Header(stream_id, 0, 0)


@pytest.mark.parametrize(
    ("call", "title"),
    [
        (Call(0, "read", 0, Poll((Wanted("gate", 0, 2), Wanted("yard", 0, 2)), 0.0)),
         "read gate (live, 5 fps), yard (lost, 0 fps)"),
        (Call(0, "read", 0, Poll(tuple(Wanted(name, 0, 1) for name in ("gate", "yard", "a", "b", "c")), 0.0)),
         "read gate (live, 5 fps), yard (lost, 0 fps), a (live, 1 fps) and 2 more"),
        (Call(0, "write", 0, Finish(None), "gate"), "write gate (live, 5 fps)"),
        (Call(0, "infer", 0, Run(), headers=(header("gate"), header("q-7"), header("gate"))),
         "infer gate (live, 5 fps)"),
        (Call(0, "infer", 0, Swap({})), "infer"),
    ],
)  # fmt: skip
def test_a_call_is_called_after_its_streams(call, title):
    executor = RayExecutor()
    executor.entitle(
        {"gate": "live, 5 fps", "yard": "lost, 0 fps", **dict.fromkeys(("a", "b", "c"), "live, 1 fps")}
    )
    assert executor._title(call) == title
