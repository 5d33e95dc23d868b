from __future__ import annotations

import pickle

import pytest

from plantain.operators import errors
from plantain.operators.errors import (
    ModelBusyError,
    PlantainError,
    SinkBackpressureError,
    SourceLostError,
    WorkerDiedError,
)
from plantain.operators.retry import MAX_RETRIES, retry

ALL = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, PlantainError)]


def test_only_what_may_pass_by_itself_is_retryable():
    retryable = {each for each in ALL if each.retryable}
    assert retryable == {SourceLostError, ModelBusyError, SinkBackpressureError, WorkerDiedError}


def test_the_tree_in_the_docstring_has_every_class():
    for each in ALL:
        assert each.__name__ in (errors.__doc__ or "")


@pytest.mark.parametrize("kind", ALL)
def test_errors_survive_the_way_between_processes(kind):
    error = kind("full", 2.5) if kind is SinkBackpressureError else kind("full")
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is kind
    assert str(back) == "full"
    assert getattr(back, "retry_after_s", None) == (2.5 if kind is SinkBackpressureError else None)


class Flaky:
    """Fails with these errors, then answers."""

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)

    def __call__(self) -> str:
        if self.failures:
            raise self.failures.pop(0)
        return "done"


def test_work_is_retried_with_growing_pauses_or_as_long_as_the_sink_says():
    pauses: list[float] = []
    flaky = Flaky(SourceLostError("a"), SinkBackpressureError("b", 7.0), SourceLostError("c"))
    assert retry(flaky, "test", pauses.append) == "done"
    assert pauses == [0.2, 7.0, 0.4]


def test_the_last_error_is_raised_after_the_last_retry():
    pauses: list[float] = []
    with pytest.raises(SourceLostError, match=str(MAX_RETRIES)):
        retry(
            Flaky(*(SourceLostError(str(number)) for number in range(MAX_RETRIES + 1))), "test", pauses.append
        )
    assert len(pauses) == MAX_RETRIES


def test_an_error_that_will_not_pass_is_raised_at_once():
    with pytest.raises(errors.SinkError):
        retry(Flaky(errors.SinkError("no")), "test", lambda _: pytest.fail("slept"))
