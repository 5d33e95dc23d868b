"""One camera's writing, told when it goes and when it comes back, by a clock that a test sets."""

from __future__ import annotations

from dataclasses import replace

from plantain.operators.health import HealthEvent, HealthState
from plantain.operators.segments import Barrier, Durable, Position
from plantain.operators.sinks.memory import MemorySink
from plantain.operators.streams import Start, StreamSpec
from plantain.operators.types import CapturedBy, Result
from plantain.operators.write import Write
from tests.results import CARS, result

S = 1_000_000_000
BEGUN = 1_700_000_000 * S
SPEC = StreamSpec("gate", "rtsp://camera/1")


class Clock:
    """The clock on the wall, which a test sets; seconds since it began."""

    def __init__(self) -> None:
        self.at_s = 0.0

    def __call__(self) -> int:
        return BEGUN + round(self.at_s * S)


class Written:
    """One camera's writing, with what it stored.

    Args:
        durable: Where it goes on; a camera that was never read if left out.
        write: The worker; a new one if left out.
        clock: The clock on the wall.
        skew_s: What the camera's own clock is ahead of it.
        by: Whose clock says when a picture was taken.
    """

    def __init__(
        self,
        durable: Durable | None = None,
        *,
        write: Write | None = None,
        clock: Clock | None = None,
        skew_s: float = 0.0,
        by: CapturedBy = "arrival",
    ) -> None:
        self.sink, self.clock, self.skew_s, self.by = MemorySink(), clock or Clock(), skew_s, by
        self.write = write or Write([self.sink], "run", wall_ns=self.clock)
        fresh = Start.fresh(SPEC, (CARS,), is_live=True)
        self.write.open(fresh if durable is None else replace(fresh, durable=durable))
        self.num_cuts = 0

    def frame(self, at_s: float, index: int, epoch: int = 0, *, answered_s: float | None = None) -> None:
        self.clock.at_s = at_s
        made = result(index, stream_id="gate", epoch=epoch)
        at_ns = self.clock() + round(self.skew_s * S)
        self.clock.at_s = at_s if answered_s is None else answered_s
        info = replace(made.info, captured_ns=at_ns, captured_by=self.by)
        list(self.write([replace(made, info=info)]))

    def tell(self, state: HealthState, at_s: float, epoch: int = 0) -> None:
        self.clock.at_s = at_s
        self.write.tell(HealthEvent("gate", epoch, state, f"stream 'gate': {state}", self.clock()))

    def cut(self, at_s: float, epoch: int = 0) -> Durable:
        self.clock.at_s = at_s
        self.num_cuts += 1
        promise = Durable("gate", epoch, Position(0))
        (durable,) = self.write.cut([Barrier(self.num_cuts, promise)])
        assert isinstance(durable, Durable)
        return durable

    def rows(self, prompt: str = str(CARS)) -> list[tuple[str, float, float | None]]:
        """State or `ok`, since when and until when of each stored row, seconds since the test began."""
        found = []
        for row in self.sink.rows("frames"):
            if row["prompt"] == prompt:
                since, until = (
                    None if moment is None else round(moment.timestamp() - BEGUN / S - self.skew_s, 3)
                    for moment in (row["captured_at"], row["gap_until"])
                )
                state = "ok" if row["status"] == "ok" else row["reason"].partition(":")[0]
                assert since is not None
                assert (row["status"] == "gap") == (until is not None)
                found.append((state, since, until))
        return found


def away(at_s: float = 0.0, until_s: float = 60.0) -> Result:
    """A gap."""
    camera = Written()
    camera.tell("connecting", at_s)
    camera.tell("lost", at_s)
    camera.cut(until_s)
    (gap,) = camera.sink.results
    return gap
