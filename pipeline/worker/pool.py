"""A worker of a pool of models: answers, and is told something about its model or a stream."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any, Protocol

from plantain.operators.errors import PlantainError
from plantain.operators.retry import in_halves, retry
from plantain.operators.types import Failure, Request, Result
from plantain.pipeline.calls import MARK, Call, Close, Fail, Finish, Note, Open, Refusal, Run, Swap
from plantain.pipeline.graph import Kind
from plantain.pipeline.worker.base import Operator, StageWorker

Waited = tuple[Request, float]
"""A request, and how long it waited, milliseconds."""


class Answerer(Operator, Protocol):
    """An operator that gives one result for each request (`operators.infer.Infer`)."""

    def __call__(self, requests: Sequence[Request], waits_ms: Sequence[float] = ()) -> Sequence[Result]:
        """Results in the order of the requests."""
        ...

    def fail(self, request: Request, failure: Failure) -> Result:
        """The result that announces that a request failed."""
        ...

    def swap(self, options: Mapping[str, Any] | None) -> None:
        """Answers with other weights from now on."""
        ...

    def forget(self, stream_id: str) -> None:
        """Forgets what is kept about a stream."""
        ...


class PoolWorker(StageWorker[Answerer]):
    """A worker of a pool of models."""

    def do(self, call: Call, payloads: Sequence[Sequence[Any]]) -> tuple[list[Result], list[Note]]:
        """Answers, or is told something about the model or a stream."""
        requests: list[Request] = [parts[0] for parts in payloads]
        match call.work:
            case Run() if self.stage.kind is Kind.PARALLEL:
                return self._answer(requests, call.waits_ms), []
            case Run():  # a model that keeps something about streams sees one at a time
                return self._answer_streams(list(zip(requests, call.waits_ms, strict=True))), []
            case Fail(failure):
                for header in call.headers:
                    self.note_failed(header, failure.error)
                return [self.operator.fail(request, failure) for request in requests], []
            case Swap(options):
                return [], self.about_stream(call, lambda: self.operator.swap(options))
            case Open() | Close() | Finish():
                return [], self.about_stream(call, lambda: self.operator.forget(call.stream_id))
            case _:
                return [], []

    def _answer_streams(self, asked: Sequence[Waited]) -> list[Result]:
        """Outputs of each stream's run of items; what a query showed is forgotten at once."""
        outputs: list[Result] = []
        for stream_id, group in groupby(asked, lambda pair: pair[0].header.stream_id):
            items, waits_ms = zip(*group, strict=True)
            outputs += self._answer(items, waits_ms)
            if stream_id.startswith(MARK):
                self.operator.forget(stream_id)
        return outputs

    def _answer(self, items: Sequence[Request], waits_ms: Sequence[float]) -> list[Result]:
        """One output for each item; a batch that fails is halved until the bad items stand alone."""
        waited = waits_ms or [0.0] * len(items)
        return in_halves(self._ask, list(zip(items, waited, strict=True)), self._announce) if items else []

    def _ask(self, asked: Sequence[Waited]) -> list[Result]:
        """What the model says to items."""
        items, waits_ms = zip(*asked, strict=True)
        try:
            outputs = retry(lambda: self.operator(items, waits_ms), self.stage.name, self.sleep)
        except Exception:
            if self.stage.kind is not Kind.PARALLEL:
                self.operator.forget(items[0].header.stream_id)
            raise
        if len(outputs) != len(items):
            raise PlantainError(
                f"stage {self.stage.name} gave {len(outputs)} outputs for {len(items)} inputs"
            )
        for output in outputs:
            self.failed += [Refusal(output.header, prompt, why.error) for prompt, why in output.failures]
            if output.cost_usd:
                self.costs.append((output.header, output.cost_usd))
        return list(outputs)

    def _announce(self, asked: Sequence[Waited], error: Exception) -> list[Result]:
        """Items that failed, said to be so."""
        failure = self.failure_of(error)
        for item, _ in asked:
            self.note_failed(item.header, failure.error)
        return [self.operator.fail(item, failure) for item, _ in asked]
