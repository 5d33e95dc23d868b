"""What live streams give up when frames come faster than they are answered, one step at a time, and get back."""

from __future__ import annotations

from dataclasses import dataclass

from plantain.operators.streams import Ease

# So many of the frames may be lost before it counts as overload.
MAX_LOST_SHARE = 0.1
# A stream that was overloaded again soon after it took a step back waits longer the next time, up to so many times.
MAX_PATIENCE = 16
# Where nobody has looked for so long the whole process was stopped, seconds: no call of a model that cameras wait for
# takes it.
STOPPED_S = 15.0


@dataclass(frozen=True, slots=True)
class Overload:
    """When a live stream takes a step, and what it gives up then.

    Attributes:
        ladder: What each step gives up: `frames`, `size` or `tasks`; empty for never.
        max_age_s: Overload is when a result comes so long after its frame, or a tenth of the frames is lost.
        window_s: Time that is looked at before a step.
        recover_s: Calm for so long, it takes a step back.
    """

    ladder: tuple[str, ...] = ()
    max_age_s: float = 2.0
    window_s: float = 3.0
    recover_s: float = 15.0

    def ease(self, rung: int, pool: str = "") -> Ease:
        """What is given up of a pool's prompts on a rung."""
        given = self.ladder[:rung]
        return Ease(
            pool, rung, 2 ** given.count("frames"), 2 ** given.count("size"), 2 ** given.count("tasks")
        )


@dataclass(slots=True)
class Strain:
    """How hard a stream finds it to keep up.

    Attributes:
        since_s: The window began, in the engine's clock; None before the first frame.
        oldest_s: Age of the oldest result in it that was read after the last step, seconds.
        num_read, num_lost: Frames that came, and that its source let go because nobody fetched them.
        stepped_s: When it last took a step, or had its first result; frames from before say nothing.
        calm_s: How long it has been calm.
        patience: Times `recover_s` that it must be calm.
        has_recovered: The last step was one back.
        has_results: One ever came; before, the model is warming up, and giving something up would help nobody.
        looked_s: When it was last time to take a step, in the engine's clock; None before.
        deaf_until_s: What comes before this waited for a process that was stopped.
    """

    since_s: float | None = None
    oldest_s: float = 0.0
    num_read: int = 0
    num_lost: int = 0
    stepped_s: float = float("-inf")
    calm_s: float = 0.0
    patience: int = 1
    has_recovered: bool = False
    has_results: bool = False
    looked_s: float | None = None
    deaf_until_s: float = float("-inf")

    def result(self, read_at: float, came_at: float, now: float) -> None:
        """A result came; one of a frame from before the last step, or from before the first result, says nothing.

        Its age is counted from the frame's arrival: by the clock of a camera that was never set, everything is old.

        Args:
            read_at: When its frame was read, in the engine's clock.
            came_at: When that had arrived.
            now: When the result came.
        """
        if not self.has_results:  # until now everything was being loaded
            self.has_results = True
            self.since_s, self.num_read, self.num_lost = None, 0, 0
            self.stepped_s = now
            return
        if read_at >= self.stepped_s:
            self.oldest_s = max(self.oldest_s, now - came_at)

    def pause(self, now: float) -> None:
        """Nothing comes just now: what was seen before says nothing about what will be."""
        self.since_s, self.oldest_s, self.num_read, self.num_lost = now, 0.0, 0, 0

    def step(self, overload: Overload, rung: int, now: float) -> int:
        """Which rung the stream should be on, once the window is over.

        Args:
            overload: When to step.
            rung: Where it is.
            now: The engine's clock.
        """
        if self.looked_s is not None and now - self.looked_s > STOPPED_S:
            self.stepped_s = self.deaf_until_s = now + overload.window_s
        self.looked_s = now
        if now < self.deaf_until_s:
            self.pause(now)
        if self.since_s is None:
            self.since_s = now
        if now < self.since_s + overload.window_s:
            return rung
        if not self.num_read + self.num_lost and self.oldest_s <= overload.max_age_s:
            self.pause(now)  # nothing came: that is neither haste nor calm
            return rung
        lost = self.num_lost > MAX_LOST_SHARE * (self.num_read + self.num_lost)
        is_strained = self.has_results and (self.oldest_s > overload.max_age_s or lost)
        window_s, self.since_s = now - self.since_s, now
        self.oldest_s, self.num_read, self.num_lost = 0.0, 0, 0
        if is_strained:
            self.calm_s = 0.0
            if rung == len(overload.ladder):
                return rung
            if self.has_recovered:
                self.patience = min(MAX_PATIENCE, 2 * self.patience)
            self.stepped_s, self.has_recovered = now, False
            return rung + 1
        self.calm_s += window_s
        if rung and self.calm_s >= overload.recover_s * self.patience:
            self.calm_s, self.stepped_s, self.has_recovered = 0.0, now, True
            return rung - 1
        return rung
