"""SAM 2 and EdgeTAM on streams: they follow what another model has found, under a number for each thing."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from plantain.operators.answers.boxes.value import Boxes
from plantain.operators.geometry import Letterbox, iou
from plantain.operators.models.base import Answering
from plantain.operators.models.specialists import sessions
from plantain.operators.models.specialists.base import Parts, Picture, in_float32
from plantain.operators.models.specialists.sam3 import value_of
from plantain.operators.models.specialists.video import VideoModel, rows_of
from plantain.operators.prompts import Prompt
from plantain.operators.types import Failure, Frame, Header, Value

# A thing that is found where one is followed already is the same.
SAME_IOU = 0.5


Found = tuple[str, float, list[float]]
"""A thing that a finder sees: what it is, how sure that is, and its box."""


@dataclass(slots=True)
class Followed:
    """A stream's session.

    Attributes:
        session: The library's, with an end to it.
        names: What each object is, and how sure its finder was.
        looked_at: By phrase, on which frame it was last looked for.
        asked_at: By phrase, on which frame it was last asked about.
        places: Where each object was on the last frame, `x1, y1, x2, y2` in pixels of the picture.
        numbers: Of objects to come.
    """

    session: Any
    names: dict[int, tuple[str, float]] = field(default_factory=dict)
    looked_at: dict[str, int] = field(default_factory=dict)
    asked_at: dict[str, int] = field(default_factory=dict)
    places: dict[int, list[float]] = field(default_factory=dict)
    numbers: Any = field(default_factory=itertools.count)

    def drop(self, phrase: str) -> None:
        """Gives up a phrase, and all that was found of it."""
        self.give_up([each for each, (name, _) in self.names.items() if name == phrase])
        self.looked_at.pop(phrase, None)
        del self.asked_at[phrase]

    def give_up(self, numbers: Sequence[int]) -> None:
        """Follows some objects no longer."""
        for number in numbers:
            self.session.remove_object(number)
            del self.names[number]
            self.places.pop(number, None)

    def take_up(self, found: Sequence[Found], at_most: int) -> dict[int, list[float]]:
        """The boxes of those things that are followed from now on, by their numbers.

        Where there are more than a session may hold, the lost ones of it go, the longest unseen first, and of the new
        ones the least sure are left out.
        """
        beyond = len(self.session.obj_ids) + len(found) - at_most
        self.give_up(self.session.lost()[: max(0, beyond)])
        room = max(0, at_most - len(self.session.obj_ids))
        surest = sorted(range(len(found)), key=lambda k: -found[k][1])[:room]
        taken = {}
        for name, score, box in (found[k] for k in sorted(surest)):
            number = next(self.numbers)
            self.names[number] = (name, score)
            taken[number] = box
        return taken


class Sam2Video(VideoModel):
    """Looks for new things every few frames, and follows those that it knows on every one.

    The score of a thing is its finder's when it was found. Things are given up after `sessions.FORGET_AFTER` frames on
    which they are not seen, or on which nobody asks about their phrase.

    Args:
        parts: The checkpoint's.
        finder: What finds things, by `detect:`.
        look_every: Frames from one look to the next.
        max_objects: Things that are followed at once on a stream: each takes memory (some 10 MB) and time of its own.
    """

    def __init__(
        self, parts: Parts, *, finder: Answering, look_every: int = 5, max_objects: int = 64
    ) -> None:
        super().__init__(replace(parts, fingerprint=f"{parts.fingerprint}-{finder.fingerprint}"))
        self._finder = finder
        self._look_every, self._max_objects = max(1, int(look_every)), max(1, int(max_objects))

    def new_session(self) -> Followed:
        """A session without objects."""
        device = self.parts.device
        is_edge = self.parts.network.config.model_type == "edgetam_video"
        made = (sessions.EdgeTamSession if is_edge else sessions.Sam2Session)(
            inference_device=device,
            inference_state_device=device,
            video_storage_device=device,
            dtype=torch.float32,
        )
        return Followed(made)

    def step(
        self, session: Followed, first: int, picture: Picture, prompts: Sequence[Prompt]
    ) -> list[Value | Failure]:
        """See VideoModel; a prompt whose phrase could not be looked for is not answered, and looked for again."""
        phrases = list(dict.fromkeys(name for prompt in prompts for name in prompt.classes))
        held = session.session
        now = held.seen
        session.asked_at |= dict.fromkeys(phrases, now)
        for name in [name for name, when in session.asked_at.items() if now - when > sessions.FORGET_AFTER]:
            session.drop(name)
        due = [
            name
            for name in phrases
            if now - session.looked_at.get(name, -self._look_every) >= self._look_every
        ]
        looks = {name: self._found(name, picture) for name in due}
        failed = {name: look for name, look in looks.items() if isinstance(look, Failure)}
        seen = {name: look for name, look in looks.items() if isinstance(look, Boxes)}
        found = self._follow_on(session, picture, seen)
        session.looked_at |= dict.fromkeys(seen, now)
        shown = [number for number, row in found["rows"].items() if bool(found["masks"][row].any())]
        for number in held.forget(shown):
            session.names.pop(number, None)
        of_phrase = {}
        for name in phrases:
            mine = [number for number in shown if session.names.get(number, ("",))[0] == name]
            rows = [found["rows"][number] for number in mine]
            of_phrase[name] = rows_of(found, rows, [first + number for number in mine])
        return [
            next((failed[name] for name in p.classes if name in failed), None)
            or value_of([of_phrase[name] for name in p.classes], p, picture)
            for p in prompts
        ]

    def close(self) -> None:
        """Gives back the memory of both networks."""
        super().close()
        self._finder.close()

    def _found(self, name: str, picture: Picture) -> Boxes | Failure:
        """What the finder sees of one phrase, in pixels of the picture, or why it does not."""
        pixels = picture.pixels.permute(1, 2, 0).cpu().numpy()
        fit = Letterbox.fit(picture.size_hw, picture.size_hw, "stretch")
        seen = Frame(Header("?", 0, 0), replace(picture.info, fit=fit), np.ascontiguousarray(pixels))
        value = self._finder.answer([seen], [0], [Prompt.parse(f"detect:{name}")])[0].value
        assert isinstance(value, Boxes | Failure)  # which is what answers `detect:`
        return value

    def _follow_on(self, session: Followed, picture: Picture, looks: Mapping[str, Boxes]) -> dict[str, Any]:
        """Masks of all objects on a frame, those among them that are new there, too.

        An object is new where a look finds something that overlaps with none of its phrase on the frame before.
        """
        held = session.session
        found: list[Found] = []
        for name, look in looks.items():
            known = [
                box for number, box in session.places.items() if session.names.get(number, ("",))[0] == name
            ]
            overlaps = iou(np.array(known, np.float32).reshape(-1, 4), look.xyxy)
            for k, box in enumerate(look.xyxy):
                if not len(known) or overlaps[:, k].max() < SAME_IOU:
                    found.append((name, float(look.scores[k]), [float(each) for each in box]))
        fresh = session.take_up(found, self._max_objects)
        inputs = self.parts.processor(images=picture.pixels, return_tensors="pt")
        if fresh:
            self.parts.processor.add_inputs_to_inference_session(
                held,
                frame_idx=held.seen,
                obj_ids=list(fresh),
                input_boxes=[[*fresh.values()]],
                original_size=[*picture.size_hw],
            )
        pixels = inputs["pixel_values"].to(self.parts.device)
        if not held.obj_ids:
            held.add_new_frame(pixels)
            empty = torch.zeros((0, *picture.size_hw), dtype=torch.bool)
            return {"rows": {}, "masks": empty, "scores": torch.zeros(0), "boxes": torch.zeros(0, 4)}
        with self.computing():
            outputs = in_float32(self.parts.network(inference_session=held, frame=pixels))
        masks = self.parts.processor.post_process_masks(
            [outputs.pred_masks], original_sizes=[[*picture.size_hw]], binarize=True
        )[0].reshape(-1, *picture.size_hw)
        rows = {number: row for row, number in enumerate(held.obj_ids)}
        scores = torch.tensor([session.names[number][1] for number in rows])
        tight = _boxes_of(masks)
        session.places = {number: box for number, box in zip(rows, tight.tolist(), strict=True) if any(box)}
        return {"rows": rows, "masks": masks, "scores": scores, "boxes": tight}


def _boxes_of(masks: Tensor) -> Tensor:
    """Tight boxes (N, 4) of masks (N, H, W), in pixel edges; zeros for an empty one."""
    boxes = torch.zeros(len(masks), 4)
    for row, mask in enumerate(masks):
        ys, xs = torch.where(mask)
        if len(xs):
            edges = (int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1)
            boxes[row] = torch.tensor(edges, dtype=torch.float32)
    return boxes
