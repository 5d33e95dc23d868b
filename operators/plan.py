"""The second step: which prompts are asked of which frame."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from math import floor

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from plantain.operators.answers import kind_of
from plantain.operators.geometry import Letterbox
from plantain.operators.prompts import Prompt
from plantain.operators.streams import Canvas, Ease, Sampling, Start
from plantain.operators.types import Frame, FrameInfo, Request, Result

# Models work on a grid of so many pixels.
GRID = 32


@dataclass(frozen=True, slots=True)
class Target:
    """A pool of models that frames may be for.

    Attributes:
        name: Of the pool.
        canvas: What its model sees; None for what the frame comes on.
        place: Where that canvas is among `Frame.canvases`; None for the frame's own.
    """

    name: str = ""
    canvas: Canvas | None = None
    place: int | None = None


@dataclass(slots=True)
class _Asked:
    """What is asked of a stream.

    Attributes:
        prompts: The most important first.
        cadences: Those that are not asked of every frame, and how often they are.
        pools: The pool that each prompt goes to, where that is not the first.
        count: Frames that came before, since the stream began.
        previous_pts: Time of the last of them; None where unknown.
        hfov_deg: Horizontal field of view of its camera, degrees; None where it is not known.
        eases: What is given up just now, by pool.
    """

    prompts: tuple[Prompt, ...]
    cadences: dict[str, Sampling]
    pools: dict[str, str]
    count: int = 0
    previous_pts: int | None = None
    hfov_deg: float | None = None
    eases: dict[str, Ease] = field(default_factory=dict)

    def due(self, info: FrameInfo) -> list[Prompt]:
        """The prompts that the next frame should be asked."""
        due = [prompt for prompt in self.prompts if self._is_due(str(prompt), info)]
        self.count += 1
        self.previous_pts = info.pts
        return due

    def split(
        self, pool: str, first: str, due: list[Prompt]
    ) -> tuple[tuple[Prompt, ...], tuple[Prompt, ...]]:
        """Of a pool's prompts that are due those that are asked, and those that would be but for overload."""
        mine = [prompt for prompt in self.prompts if self.pools.get(str(prompt), first) == pool]
        wanted = tuple(prompt for prompt in due if prompt in mine)
        ease = self.eases.get(pool, Ease())
        if (self.count - 1) % ease.frames:
            return (), wanted
        kept = mine[: -(-len(mine) // ease.tasks)]
        return tuple(p for p in wanted if p in kept), tuple(p for p in wanted if p not in kept)

    def _is_due(self, prompt: str, info: FrameInfo) -> bool:
        """Decided by the frame's place and time alone, so that a repeated run asks the same."""
        cadence = self.cadences.get(prompt)
        if cadence is None:
            return True
        if self.count % cadence.every:
            return False
        if cadence.fps is None or info.pts is None or self.previous_pts is None:
            return True
        rate = Fraction(cadence.fps).limit_denominator(1_000_000) * info.time_base
        return floor(info.pts * rate) != floor(self.previous_pts * rate)


class Plan:
    """Joins each frame with those of its stream's prompts that are due: a request for each pool that has some.

    Args:
        targets: The pools, the first one for prompts that name none.
    """

    def __init__(self, targets: tuple[Target, ...] = (Target(),)) -> None:
        self._targets = targets
        self._asked: dict[str, _Asked] = {}

    def open(self, start: Start) -> None:
        """Sets what is asked of a stream's frames from now on."""
        position = start.durable.position
        self._asked[start.spec.stream_id] = _Asked(
            start.prompts,
            dict(start.cadences),
            dict(start.pools),
            position.delivered,
            position.previous_pts,
            start.spec.hfov_deg,
        )

    def change(self, start: Start) -> None:
        """Asks something else of the frames that are still to be read."""
        asked = self._asked[start.spec.stream_id]
        asked.prompts, asked.cadences, asked.pools = start.prompts, dict(start.cadences), dict(start.pools)
        asked.hfov_deg = start.spec.hfov_deg

    def ease(self, stream_id: str, ease: Ease) -> None:
        """Gives something up from the next frame on, or takes it back."""
        self._asked[stream_id].eases[ease.pool] = ease

    def __call__(self, frames: Iterable[Frame]) -> list[Request | Result]:
        """Requests for each frame, one for each pool that is asked, or a result without answers if none is."""
        return [planned for frame in frames for planned in self._plan(frame)]

    def for_query(
        self, frames: Iterable[Frame], query_id: str, stream_id: str, prompts: tuple[Prompt, ...]
    ) -> list[Request]:
        """Requests that belong to a query and not to the frames' stream."""
        asked = self._asked.get(stream_id)
        pools = {} if asked is None else asked.pools
        told = [_told(frame, asked) for frame in frames]
        requests = [each for frame in told for each in requests_of(frame, prompts, pools, self._targets)]
        return [replace(each, header=replace(each.header, stream_id=query_id)) for each in requests]

    def close(self, stream_id: str | None = None) -> None:
        """Forgets one stream, or all."""
        for name in list(self._asked) if stream_id is None else [stream_id]:
            self._asked.pop(name, None)

    def _plan(self, frame: Frame) -> list[Request | Result]:
        asked = self._asked[frame.header.stream_id]
        frame = _told(frame, asked)
        due = asked.due(frame.info)
        first = self._targets[0].name
        requests: list[Request] = []
        spared: list[Prompt] = []
        for target in self._targets:
            prompts, given_up = asked.split(target.name, first, due)
            spared += given_up
            ease = asked.eases.get(target.name, Ease())
            if prompts:
                seen = seen_by(frame, target)
                if ease.rung:
                    seen = replace(seen, info=replace(seen.info, rung=ease.rung))
                    seen = smaller(seen, ease.shrink) if ease.shrink > 1 else seen
                requests.append(request_of(seen, prompts, target.name))
        names = tuple(map(str, spared))
        if not requests:
            frame = seen_by(frame, self._targets[0])
            rung = max((ease.rung for ease in asked.eases.values()), default=0)
            header = replace(request_of(frame, (), first).header, spared=names)
            return [Result(header, replace(frame.info, rung=rung), ())]
        return [*numbered(requests, names)]


def _told(frame: Frame, asked: _Asked | None) -> Frame:
    """The frame with what its stream's settings say about the camera."""
    if asked is None or asked.hfov_deg is None:
        return frame
    return replace(frame, info=replace(frame.info, hfov_deg=asked.hfov_deg))


def requests_of(
    frame: Frame, prompts: tuple[Prompt, ...], pools: Mapping[str, str], targets: tuple[Target, ...]
) -> list[Request]:
    """What a frame is asked, a request for each pool.

    Args:
        frame: What is looked at.
        prompts: At least one.
        pools: The pool of each prompt, by its text; the first of `targets` if it is not named.
        targets: The pools.
    """
    requests = []
    for target in targets:
        mine = tuple(p for p in prompts if pools.get(str(p), targets[0].name) == target.name)
        if mine:
            requests.append(request_of(seen_by(frame, target), mine, target.name))
    return numbered(requests, ())


def numbered(requests: list[Request], spared: tuple[str, ...]) -> list[Request]:
    """The requests of one frame, each knowing which part of it it is, and whether it waits for another."""
    kinds = [[kind_of(prompt) for prompt in request.prompts] for request in requests]
    gives = {part for part, own in enumerate(kinds) if any(kind.gives_metres for kind in own)}
    takes = {part for part, own in enumerate(kinds) if any(kind.takes_metres for kind in own)} - gives
    joined = gives | takes if gives and takes else set()
    return [
        replace(
            request,
            header=replace(
                request.header,
                part=part,
                parts=len(requests),
                joins=part in joined,
                spared=() if part else spared,
            ),
        )
        for part, request in enumerate(requests)
    ]


def request_of(frame: Frame, prompts: tuple[Prompt, ...], pool: str = "") -> Request:
    """What a frame is asked.

    The batch key is what a forward pass needs to be equal, the canvas, and never the task or the stream.
    """
    height, width = frame.info.fit.model_hw
    age_s = 0.0
    if frame.info.captured_ns is not None and frame.info.captured_by != "file":
        age_s = max(0.0, (time.time_ns() - frame.info.captured_ns) / 1e9)
    header = replace(
        frame.header,
        batch_key=f"{width}x{height}",
        cost=len(prompts),
        prompts=tuple(map(str, prompts)),
        age_s=age_s,
        pool=pool,
        pts=frame.info.pts,
    )
    return Request(header, frame, prompts)


def seen_by(frame: Frame, target: Target) -> Frame:
    """A frame on the canvas of a pool; where its source made only one, of the best picture that there is."""
    if target.place is None or target.canvas is None:
        return frame if frame.canvases is None else replace(frame, canvases=None)
    if frame.canvases is not None:
        fit, image = frame.canvases(target.place)
        return Frame(frame.header, replace(frame.info, fit=fit), image)
    fit = Letterbox.fit(frame.info.fit.source_hw, target.canvas.model_hw, target.canvas.fit)
    picture = frame.info.picture if frame.info.picture is not None else frame.info.fit.crop(frame.image)
    return _placed(frame, fit, picture)


def smaller(frame: Frame, shrink: int) -> Frame:
    """A frame on a canvas whose sides are about `shrink` times shorter, on the model's grid; 1 leaves it as it is."""
    fit = frame.info.fit
    model_hw = tuple(-(-side // (shrink * GRID)) * GRID for side in fit.model_hw)
    if model_hw[0] >= fit.model_hw[0] or model_hw[1] >= fit.model_hw[1]:
        return frame
    is_stretched = (fit.height, fit.width) == fit.model_hw
    small = Letterbox.fit(
        fit.source_hw, (model_hw[0], model_hw[1]), "stretch" if is_stretched else "letterbox"
    )
    return _placed(frame, small, fit.crop(frame.image))


def _placed(frame: Frame, fit: Letterbox, picture: NDArray[np.uint8]) -> Frame:
    """A frame whose picture is put on a canvas."""
    resized = Image.fromarray(picture).resize((fit.width, fit.height), Image.Resampling.BOX)
    image = np.ascontiguousarray(fit.place(np.asarray(resized)))
    return Frame(frame.header, replace(frame.info, fit=fit), image)
