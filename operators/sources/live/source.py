"""Cameras: streams that come when they come, break, and are taken up again for ever."""

from __future__ import annotations

import threading
import traceback
from dataclasses import replace
from pathlib import Path
from random import Random
from time import perf_counter

import av

from plantain.operators.decode import PictureConverter
from plantain.operators.errors import NoVideoError, PlantainError, SourceError
from plantain.operators.health import HealthEvent, HealthState
from plantain.operators.segments import Position
from plantain.operators.sources.clock import Clock, SystemClock
from plantain.operators.sources.live.backoff import Backoff
from plantain.operators.sources.live.capture import captured
from plantain.operators.sources.live.connection import Connection, Opener, Picture
from plantain.operators.sources.live.held_back import HELD_BACK_S, HeldBack
from plantain.operators.sources.live.opening import Opening
from plantain.operators.sources.live.options import LiveOptions
from plantain.operators.sources.live.ring import Counts, Reason, Ring
from plantain.operators.sources.live.telling import Telling
from plantain.operators.sources.live.timeline import Timeline
from plantain.operators.sources.live.trouble import LASTING, Trouble, trouble_at_opening, trouble_at_reading
from plantain.operators.sources.sampler import Sampler
from plantain.operators.streams import StreamInfo, StreamSpec, View
from plantain.operators.types import Frame, FrameInfo, Header

# A stream without keyframes (intra refresh) is taken as it is after this long.
JOIN_LIMIT_S = 20.0
# A connection that held this long was a good one: the next pause is the first again.
STEADY_S = 5.0
# How long `close` waits beyond the timeout, for the camera to be told goodbye.
CLOSE_S = 1.0

_BROKEN = (OSError, ValueError, av.FFmpegError)


class LiveSource:
    """The newest frames of a camera; its trouble is told in `events` and never raised.

    A thread of its own opens, decodes, samples and converts into a ring (`Ring`), from which `read` takes what is
    there. A connection that breaks is opened again, for ever, with growing pauses; each connection after the first
    counts the epoch up. Frame indices go on counting. Only what has a length ends by itself: files, and recordings
    on the web; they are played at their own pace. Options: `LiveOptions`.

    Args:
        spec: Which camera: `rtsp://`, `rtsps://`, `http(s)://`, an HLS playlist, `udp://` or `tcp://` with MPEG-TS,
            `/dev/video0`, or with the option `realtime` a file.
        view: What the frames must look like.
        position: How frame indices and delivered frames go on counting; a camera has no past to go back to.
        opener: Opens a connection, in place of what the URL asks for.
        clock: Tells the time.

    Attributes:
        info: What is known of the stream; size 0 x 0 until its first frame.

    Raises:
        UsageError: If an option or the address makes no sense.
        SourceError: If a `realtime` file cannot be opened.
    """

    is_live = True

    def __init__(
        self,
        spec: StreamSpec,
        view: View,
        position: Position,
        *,
        opener: Opener | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._spec = spec
        self._view = view
        self._options = LiveOptions.of(spec)
        self._clock = clock or SystemClock()
        self._stop = threading.Event()
        if opener is None:
            opening = Opening(spec, self._options, self._clock, self._stop)
            self._open, self._is_realtime, self.info = (
                opening.__call__,
                opening.kind == "realtime",
                opening.info(),
            )
        else:
            unknown = StreamInfo(spec.stream_id, 0, 0, None, None)
            self._open, self._is_realtime, self.info = opener, False, unknown
        self._sampler = Sampler(replace(spec.sampling, max_frames=None))
        self._delivered_before = position.delivered
        self._next_index = self._position_index = position.frame_index
        self._ring = Ring(
            self._options.ring, self._options.policy, self._options.max_staleness_s, self._clock
        )
        self._told = Telling(spec, self._options, self._clock, is_realtime=self._is_realtime)
        chance = f"{self._options.seed}:{spec.stream_id}"
        self._pauses = Backoff(self._options.backoff_s, self._options.backoff_max_s, Random(chance))
        self._long_pauses = Backoff(self._options.patience_s, self._options.patience_max_s, Random(chance))
        self._timeline = Timeline()
        self._began_s = self._clock.monotonic_s()
        self._num_connections = 0
        self._num_damaged = 0
        self._failure: str | None = None
        self._shown_long_side = 0
        self._newest: tuple[float, Frame] | None = None
        self._told.say("connecting", "connecting")
        if self._remaining == 0:
            self.stop()
        self._thread = threading.Thread(target=self._run, name=f"plantain-live-{spec.stream_id}", daemon=True)
        self._thread.start()

    def read(self, max_frames: int) -> list[Frame]:
        """What is there, at most `max_frames` frames, oldest first; returns at once, perhaps with nothing.

        Raises:
            SourceError: If the stream ended for a reason that time does not heal, once all its frames were read.
        """
        remaining = self._remaining
        frames = self._ring.take(max_frames if remaining is None else min(max_frames, remaining))
        if frames:
            self._position_index = frames[-1].header.frame_index + 1
        if self._remaining == 0:
            self.stop()
            self._ring.clear()
        if not frames and self._failure is not None:
            raise SourceError(self._failure)
        return frames

    def wait(self, timeout_s: float) -> bool:
        """Sleeps until a frame is there or none will come; whether one is there."""
        return self._ring.wait(timeout_s)

    @property
    def ended(self) -> bool:
        """Whether it was told to stop, or cannot go on, and all its frames were read."""
        return self._ring.is_stopped and self._ring.counts.waiting == 0

    @property
    def position(self) -> Position:
        """The frame after the last one that was read."""
        return Position(self._position_index, None, self._delivered_before + self._ring.counts.delivered)

    @property
    def num_damaged(self) -> int:
        """Packets that could not be decoded so far."""
        return self._num_damaged

    @property
    def epoch(self) -> int:
        """Of the connection that is open, or was last."""
        return self._told.epoch

    @property
    def counts(self) -> Counts:
        """Where the decoded frames are, all at one moment."""
        return self._ring.counts

    @property
    def decoded(self) -> int:
        """Frames that came out of the decoder so far."""
        return self._ring.counts.decoded

    @property
    def dropped(self) -> dict[str, int]:
        """Decoded frames that will never be read, by reason, so far."""
        return self._ring.counts.dropped

    @property
    def newest(self) -> Frame | None:
        """The frame that came last, whether it was read or not, with how long ago that was; None before the first."""
        if self._newest is None:
            return None
        arrived_s, frame = self._newest
        waited_s = self._clock.monotonic_s() - arrived_s
        return replace(frame, header=replace(frame.header, waited_s=waited_s))

    @property
    def state(self) -> HealthState:
        """How the stream is doing now."""
        return self._told.state

    def events(self) -> list[HealthEvent]:
        """The changes of state since the last call, oldest first."""
        return self._told.events()

    def stop(self) -> None:
        """Ends the stream without waiting; what is in the ring can still be read."""
        self._stop.set()
        self._ring.stop()

    def close(self) -> None:
        """Ends the stream, counts what nobody read as dropped, and waits for the thread.

        A camera that is silent just then holds the thread until the timeout; a name that cannot be resolved may hold
        it longer, and it then ends by itself.
        """
        self.stop()
        self._ring.clear()
        self._thread.join(self._options.timeout_s + CLOSE_S)

    def listen(self, event: threading.Event) -> None:
        """Sets `event` whenever a frame arrives or the stream ends; at once if one is there."""
        self._ring.listen(event)

    def forget(self, event: threading.Event) -> None:
        """Undoes `listen`."""
        self._ring.forget(event)

    def show(self, long_side: int) -> None:
        """Keeps a display picture with each frame, its longer side at most this; 0 for none but what the view asks."""
        self._shown_long_side = long_side

    @property
    def _remaining(self) -> int | None:
        """Frames that may still be delivered; None without a limit."""
        limit = self._spec.sampling.max_frames
        if limit is None:
            return None
        return max(0, limit - self._delivered_before - self._ring.counts.delivered)

    # What follows runs in the thread.

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                trouble = self._attempt()
                if trouble is None:
                    break
                self._pause(trouble)
            self._told.say("ended", "ended")
        except PlantainError as error:
            self._fail(str(error))
        except Exception as error:  # noqa: BLE001 (the owner hears of it from `read`)
            where = traceback.extract_tb(error.__traceback__)[-1]
            what = f"{type(error).__name__} at {Path(where.filename).name}:{where.lineno}"  # its text may hold the URL
            self._fail(self._told.sentence(f"reading it broke ({what}); please report this"))
        finally:
            self._ring.stop()

    def _fail(self, sentence: str) -> None:
        self._failure = sentence
        self._told.fail(sentence)

    def _attempt(self) -> Trouble | None:
        """One connection from its opening to its loss; None if the stream is to end."""
        started_s = self._told.silent_since_s = self._clock.monotonic_s()
        try:
            connection = self._open()
        except (*_BROKEN, NoVideoError) as error:
            if self._is_realtime and isinstance(error, NoVideoError):
                raise
            elapsed_s, self._told.silent_since_s = self._clock.monotonic_s() - started_s, None
            return (
                None if self._stop.is_set() else trouble_at_opening(error, elapsed_s, self._options.timeout_s)
            )
        damaged_before = self._num_damaged
        if self._num_connections:
            self._told.epoch += 1
        self._num_connections += 1
        try:
            return self._watch(connection, damaged_before)
        finally:
            self._told.silent_since_s = None
            connection.close()

    def _watch(self, connection: Connection, damaged_before: int) -> Trouble | None:
        """Takes the connection's pictures until it is lost."""
        opened_s = self._clock.monotonic_s()
        converter = PictureConverter(
            self._view.model_hw, self._view.fit, self._view.picture_long_side, self._view.more
        )
        self._timeline.begin()
        held_back, waited_s, last_pts = HeldBack(), 0.0, None
        has_joined, num_skipped, turn_s = False, 0, opened_s
        pictures = connection.pictures()
        while not self._stop.is_set():
            silent_since_s = self._told.silent_since_s = self._clock.monotonic_s()
            try:
                picture = next(pictures)
            except StopIteration:
                return self._why_over(None, silent_since_s) if connection.is_endless else None
            except _BROKEN as error:
                return self._why_over(error, silent_since_s)
            now_s = self._clock.monotonic_s()
            self._told.silent_since_s = None
            self._told.unread(now_s - turn_s)
            turn_s = now_s
            self._num_damaged = damaged_before + connection.num_damaged
            if now_s - opened_s >= STEADY_S:
                self._pauses.reset()
            waited_s += now_s - silent_since_s - (0.0 if picture is None else picture.decode_s)
            if (news := connection.num_skipped - num_skipped) > 0:
                num_skipped += news
                self._next_index += news
                self._ring.drop(
                    "held back" if held_back.is_bursting or waited_s > HELD_BACK_S else "late", news
                )
            if picture is None:
                continue
            if picture.pts is not None and last_pts is not None:
                held_back.take(waited_s, float((picture.pts - last_pts) * connection.time_base))
            waited_s, last_pts = 0.0, picture.pts
            has_joined = has_joined or picture.is_keyframe or now_s - opened_s >= JOIN_LIMIT_S
            index, self._next_index = self._next_index, self._next_index + 1
            if not has_joined:
                self._ring.drop("before keyframe")
                continue
            lost_as: Reason = "held back" if held_back.is_bursting else "overtaken"
            self._take(picture, index, connection, converter, now_s, lost_as)
        return None

    def _why_over(self, error: Exception | None, silent_since_s: float) -> Trouble | None:
        """The trouble that ended a connection; None if the stream was stopped."""
        if self._stop.is_set():
            return None
        silent_s = self._clock.monotonic_s() - silent_since_s
        return trouble_at_reading(error, silent_s, self._options.timeout_s)

    def _take(
        self,
        picture: Picture,
        index: int,
        connection: Connection,
        converter: PictureConverter,
        now_s: float,
        lost_as: Reason,
    ) -> None:
        """Samples, converts and puts one picture into the ring."""
        if self._told.has_changed(picture, connection):
            width, height = picture.frame.width, picture.frame.height
            self.info = replace(self.info, width=width, height=height, fps=connection.fps)
        time, back_s = self._timeline.place(picture.pts, connection.time_base, now_s - self._began_s)
        if back_s:
            self._told.backwards(back_s, index, now_s)
        if not self._told.is_flowing:
            self._long_pauses.reset()
            rate = "" if connection.fps is None else f" at {connection.fps:g} fps"
            size = f"{self.info.width}x{self.info.height}"
            self._told.say("live", f"live, {connection.codec} {size}{rate}, epoch {self._told.epoch}")
        is_wanted = picture.is_keyframe or not self._options.keyframes_only
        if not (is_wanted and self._sampler.keeps(index, time)):
            self._ring.drop("not sampled")
            return
        started = perf_counter()
        try:
            converter.picture_long_side = (
                max(self._view.picture_long_side or 0, self._shown_long_side) or None
            )
            image = converter.canvas(picture.frame)
            display = converter.display(picture.frame)
            fit = converter.fit(picture.frame)
        except _BROKEN:
            self._num_damaged += 1
            self._ring.drop("damaged")
            return
        captured_ns, captured_by = captured(picture, connection, self._clock.wall_ns())
        info = FrameInfo(
            pts=picture.pts,
            time_base=connection.time_base,
            captured_ns=captured_ns,
            captured_by=captured_by,
            fit=fit,
            is_corrupt=picture.is_corrupt,
            decode_ms=(picture.decode_s + perf_counter() - started) * 1e3,
            picture=display,
        )
        self._told.compare(image, now_s)
        header = Header(self._spec.stream_id, self._told.epoch, index)
        self._newest = now_s, Frame(header, info, image, converter.canvases(picture.frame))
        self._ring.offer(self._newest[1], now_s, lost_as)

    def _pause(self, trouble: Trouble) -> None:
        """Tells of the trouble and waits before the next attempt."""
        pauses = self._long_pauses if trouble.state in LASTING else self._pauses
        self._told.trouble(trouble, pauses.cap_s)
        self._clock.sleep(pauses.next_s(), self._stop)
