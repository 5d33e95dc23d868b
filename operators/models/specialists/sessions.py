"""What video models keep about a stream, with an end to it: the library's sessions keep every frame for ever.

The trackers look back over 16 frames (`max_object_pointers_in_encoder`), at the features of the few frames nearest to
now that began or confirmed an object (`max_cond_frame_num`), and at a pointer, a kilobyte, of each of those that ever
did. What is older, and the features of those, is forgotten, which changes no answer; pointers beyond the last 512 are,
too, which does: SAM 3 confirms every sixteenth frame, so that is after five minutes of 25 frames a second.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from typing import Any

from torch import Tensor
from transformers.models.edgetam_video.modeling_edgetam_video import EdgeTamVideoInferenceSession
from transformers.models.sam2_video.modeling_sam2_video import Sam2VideoInferenceSession
from transformers.models.sam3_video.modeling_sam3_video import Sam3VideoInferenceSession

LOOKS_BACK = 16
"""Frames of which something is kept."""

CONFIRMED = 512
"""Frames that confirmed an object of which a pointer is kept."""

FORGET_AFTER = 250
"""Frames after which an object that shows nothing, or a phrase that nobody asks about, is given up."""


class Bounded:
    """What is common to the library's sessions, each of which derives from it, too.

    Args:
        options: Of the library's session.

    Attributes:
        seen: Frames so far.
        inference_device, obj_ids, output_dict_per_obj, mask_inputs_per_obj, point_inputs_per_obj: The library's.
        frames_tracked_per_obj: The library's.
    """

    inference_device: Any
    obj_ids: list[int]
    output_dict_per_obj: dict[int, Any]
    mask_inputs_per_obj: dict[int, Any]
    point_inputs_per_obj: dict[int, Any]
    frames_tracked_per_obj: dict[int, Any]

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.seen = 0
        self._shown_at: dict[int, int] = {}

    @property
    def num_frames(self) -> int:
        """Frames so far, also those that are forgotten: the tracker looks at none beyond."""
        return self.seen

    def add_new_frame(self, pixel_values: Tensor, frame_idx: int | None = None) -> int:
        """Takes the next frame in the place of the one before."""
        del frame_idx
        number = self.seen
        self.processed_frames = {number: pixel_values.squeeze(0).to(self.inference_device)}
        self.seen += 1
        return number

    def forget(self, shown: list[int]) -> list[int]:
        """Lets go of what no later frame needs; the objects that were given up.

        Args:
            shown: The objects that the last frame shows.
        """
        oldest = self.seen - LOOKS_BACK
        for outputs in self.output_dict_per_obj.values():
            recent, sure = outputs["non_cond_frame_outputs"], outputs["cond_frame_outputs"]
            for number in [each for each in recent if each < oldest]:
                del recent[number]
            for number in sorted(sure)[:-CONFIRMED]:
                del sure[number]
            for number in sorted(sure)[:-LOOKS_BACK]:
                sure[number] = {"object_pointer": sure[number]["object_pointer"]}
        inputs = (self.mask_inputs_per_obj, self.point_inputs_per_obj, self.frames_tracked_per_obj)
        for by_object in (each for held in inputs for each in held.values()):
            for number in [each for each in by_object if each < oldest]:
                del by_object[number]
        self._shown_at.update(dict.fromkeys(shown, self.seen))
        gone = [each for each in self.obj_ids if self._is_gone(each)]
        for number in gone:
            self.remove_object(number)
        return gone

    def lost(self) -> list[int]:
        """Objects that the last frame does not show, the longest unseen first."""
        unseen = [(self._shown_at.get(each, self.seen), each) for each in self.obj_ids]
        return [each for when, each in sorted(unseen) if when < self.seen]

    def remove_object(self, obj_id: int, strict: bool = False) -> None:
        """Forgets an object; the others move up. One of the libraries has no such method."""
        del strict
        if obj_id not in self.obj_ids:
            return
        kept = [(k, each) for k, each in enumerate(self.obj_ids) if each != obj_id]
        for held in (
            self.output_dict_per_obj,
            self.mask_inputs_per_obj,
            self.point_inputs_per_obj,
            self.frames_tracked_per_obj,
        ):
            values = [held[k] for k, _ in kept]
            held.clear()
            held.update(enumerate(values))
        self.obj_ids = [each for _, each in kept]
        self._obj_id_to_idx = OrderedDict((each, k) for k, each in enumerate(self.obj_ids))
        self._obj_idx_to_id = OrderedDict(enumerate(self.obj_ids))
        self._shown_at.pop(obj_id, None)

    def _is_gone(self, number: int) -> bool:
        last = self._shown_at.setdefault(number, self.seen)
        return self.seen - last > FORGET_AFTER


class Sam2Session(Bounded, Sam2VideoInferenceSession):  # type: ignore[misc]  # the library is not typed
    """Objects that were begun with boxes."""


class EdgeTamSession(Bounded, EdgeTamVideoInferenceSession):  # type: ignore[misc]  # the library is not typed
    """The same of EdgeTAM, which is SAM 2 with a smaller memory and another backbone."""


class Sam3Session(Bounded, Sam3VideoInferenceSession):  # type: ignore[misc]  # the library is not typed
    """Objects that were found by phrases, which may come and go.

    Args:
        options: Of the library's session.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._given = 0
        self._asked_at: dict[int, int] = {}

    def add_prompt(self, prompt_text: str) -> int:
        """The number of a phrase, its own for as long as the session lives."""
        number = next((known for known, text in self.prompts.items() if text == prompt_text), None)
        if number is None:
            number, self._given = self._given, self._given + 1
            self.prompts[number] = prompt_text
        self._asked_at[number] = self.seen
        return number

    def ask(self, phrase: str, words: Any, attention: Tensor) -> None:
        """A phrase joins, or goes on.

        Args:
            phrase: In words.
            words: What the network's text encoder made of it.
            attention: (1, L), which of its L places are words.
        """
        number = self.add_prompt(phrase)
        self.prompt_embeddings[number], self.prompt_attention_masks[number] = words, attention

    def forget(self, shown: list[int]) -> list[int]:
        """See Bounded; phrases, too, that nobody asks about."""
        for by_frame in (self.obj_id_to_tracker_score_frame_wise, self.suppressed_obj_ids):
            for number in [each for each in by_frame if each < self.seen - LOOKS_BACK]:
                del by_frame[number]
        # These are read for videos that are known to their end, and copied on each frame.
        self.unmatched_frame_inds: dict[Any, Any] = defaultdict(list)
        self.overlap_pair_to_frame_inds: dict[Any, Any] = defaultdict(list)
        gone = super().forget(shown)
        for number in [k for k, when in self._asked_at.items() if self.seen - when > FORGET_AFTER]:
            self.drop(number)
        return gone

    def drop(self, prompt: int) -> None:
        """Gives up a phrase, and all that was found of it."""
        for number in [each for each, owner in self.obj_id_to_prompt_id.items() if owner == prompt]:
            self.remove_object(number)
        for held in (
            self.prompts,
            self.prompt_embeddings,
            self.prompt_attention_masks,
            self._asked_at,
        ):
            held.pop(prompt, None)

    def remove_object(self, obj_id: int, strict: bool = False) -> None:
        """Forgets an object, and all that is known of it."""
        super().remove_object(obj_id, strict)
        for held in (
            self.obj_id_to_prompt_id,
            self.obj_id_to_score,
            self.obj_id_to_last_occluded,
            self.obj_first_frame_idx,
            self.trk_keep_alive,
        ):
            held.pop(obj_id, None)
