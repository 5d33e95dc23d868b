"""What a kind of answer is to everything around it: its rows, its files, its words and how it is drawn.

Each kind is a room, a folder beside this file: `value.py` says what the answer holds, `kind.py` derives `Kind`. Nothing
outside a room asks what type a value has: it asks the kind of the prompt (`plantain.operators.answers.kind_of`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from plantain.operators.answers.codec import Codec
from plantain.operators.answers.sketch import InTile, Key, OnFrame
from plantain.operators.geometry import Letterbox
from plantain.operators.prompts import Prompt
from plantain.operators.types import Value

V = TypeVar("V", bound=Value)

Row = dict[str, Any]
"""Values of a table's columns by name."""

Boxes4 = NDArray[np.float32]
"""(N, 4) `x1, y1, x2, y2` in pixel edges of the source picture."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    Attributes:
        name: Units are part of it.
        type: Of its values.
        meaning: For whoever reads the table, in a few words.
        is_nullable: Whether a row may lack it.
        values: All that it may hold; empty for anything.
    """

    name: str
    type: Literal["string", "int32", "int64", "float32", "float64", "binary", "timestamp"]
    meaning: str
    is_nullable: bool = True
    values: tuple[str, ...] = ()


class Raster(NamedTuple):
    """A dense answer as a file that describes itself (`plantain.operators.answers.rasters`).

    Attributes:
        format: One of the formats there.
        scale: Samples a unit; 1 for labels, normals and pictures.
        data: The file.
    """

    format: str
    scale: float
    data: bytes


class Thing(NamedTuple):
    """A thing of an answer.

    Attributes:
        label: What it is.
        track_id: Its identity over time; None for one without.
        distance_m: How far away it is, metres; None where that is not known.
    """

    label: str
    track_id: int | None
    distance_m: float | None


class Picture(NamedTuple):
    """An answer as a PNG file to look at or to compute with.

    Attributes:
        data: The file.
        notes: How to read it, by name; ASCII.
    """

    data: bytes
    notes: dict[str, str]


NUM_OBJECTS = Column("num_objects", "int32", "regions or boxes in this answer")
VALID_FRACTION = Column("valid_fraction", "float32", "share of the pixels that have a value")
OFF_PALETTE = Column(
    "off_palette",
    "float32",
    "share of pixels whose colour was far from every legal one: how well the model drew",
)


class Kind(ABC, Generic[V]):
    """One kind of answer; stateless, one object for each name in `plantain.operators.answers.KINDS`.

    Attributes:
        value: The type of its values.
        codec: Makes drawings of them and reads drawings; None for what cannot be drawn by a model.
        has_things: Its `num_objects` are single things, and no classes or areas.
        gives_metres, takes_metres: It says how far the picture is; it has places of which that is to be known.
        frame_columns: What it adds to `frames`; every name that `summary` gives is here.
        object_columns: What it adds to `objects` beside label, score, box, area, track and distance.
    """

    value: type[V]
    has_things: bool = False
    gives_metres: bool = False
    takes_metres: bool = False
    frame_columns: tuple[Column, ...] = ()
    object_columns: tuple[Column, ...] = ()

    @property
    def codec(self) -> Codec | None:
        """What reads and makes drawings of it; imported when it is first asked for."""
        return None

    # -- rows and files --

    @abstractmethod
    def summary(self, value: V) -> Row:
        """Its columns of `frames`; what is left out is null."""

    def objects(self, value: V, fit: Letterbox, size_hw: tuple[int, int]) -> list[Row]:  # noqa: ARG002
        """Its rows of `objects`, boxes and areas in source pixels.

        Args:
            value: The answer.
            fit: Where the picture lay on the model's canvas.
            size_hw: Of the grid over the picture on which masks are given, pixels.
        """
        return []

    def raster(self, value: V) -> Raster | None:  # noqa: ARG002
        """The dense part as a file; None for an answer without one."""
        return None

    @abstractmethod
    def read(self, row: Row, objects: Sequence[Row], raster: NDArray[Any] | None) -> V | None:
        """The value that rows stand for; None where what it needs was not stored.

        Args:
            row: Of `frames`.
            objects: Of `objects`, in their order.
            raster: The dense part, unpacked.
        """

    def sized(self, value: V, size_hw: tuple[int, int]) -> V:  # noqa: ARG002
        """The answer with its dense part at another size; as it is where it has none."""
        return value

    def size_hw(self, value: V) -> tuple[int, int] | None:  # noqa: ARG002
        """Height and width of the dense part; None for an answer without one."""
        return None

    def array(self, value: V) -> NDArray[Any] | None:  # noqa: ARG002
        """The dense part as numbers, 0 where there is nothing; None for an answer without one."""
        return None

    def picture(self, prompt: Prompt, value: V) -> Picture | None:  # noqa: ARG002
        """The answer as a PNG file; None for one that is none."""
        raster = self.raster(value)
        return raster and Picture(raster.data, {"Format": raster.format, "Scale": f"{raster.scale:g}"})

    # -- what it says --

    @abstractmethod
    def is_empty(self, value: V) -> bool:
        """Whether nothing was found."""

    def title(self, prompt: Prompt) -> str:
        """What was asked, in a few words."""
        return prompt.text or str(prompt.task)

    @abstractmethod
    def words(self, prompt: Prompt, value: V) -> str:
        """The answer in a few words."""

    def tally(self, value: V) -> str:  # noqa: ARG002
        """A figure behind the title, such as `(3)`; empty for none."""
        return ""

    # -- how it is drawn --

    def has_tile(self, prompt: Prompt) -> bool:  # noqa: ARG002
        """Whether it gets a tile beside the frame; else it is drawn on the frame."""
        return True

    def on_frame(self, prompt: Prompt, value: V, fit: Letterbox) -> OnFrame | None:  # noqa: ARG002
        """What of it is drawn over the frame; None for nothing."""
        return None

    def in_tile(self, prompt: Prompt, value: V) -> InTile:  # noqa: ARG002
        """What fills its tile."""
        return InTile()

    def key(self, prompt: Prompt, value: V | None, length: int) -> Key:  # noqa: ARG002
        """How to read its drawing.

        Args:
            prompt: The question.
            value: The answer; None for any answer to the question.
            length: Colours of a scale.
        """
        return Key()

    # -- what analytics need --

    def at_least(self, value: V, score: float) -> V:  # noqa: ARG002
        """The answer without the things of a lower score; as it is where things have none."""
        return value

    def places(self, value: V, fit: Letterbox) -> Boxes4 | None:  # noqa: ARG002
        """Where its things are, in source pixels; None for an answer that has no things apart from one another."""
        return None

    def things(self, value: V) -> list[Thing]:  # noqa: ARG002
        """What is known of each of its things, in the order of `places`."""
        return []

    def with_tracks(self, value: V, track_ids: tuple[int | None, ...]) -> V:  # noqa: ARG002
        """The answer with the identities of its things."""
        return value

    def metres(self, value: V) -> tuple[NDArray[np.float32], NDArray[np.bool_]] | None:  # noqa: ARG002
        """Depth (H, W) in metres of the picture, and where it is known; None for an answer without."""
        return None

    def with_distances(
        self,
        value: V,
        depth_m: NDArray[np.float32],  # noqa: ARG002
        valid: NDArray[np.bool_],  # noqa: ARG002
        fit: Letterbox,  # noqa: ARG002
    ) -> V:
        """The answer with the distances of its things; as it is where it has none.

        Args:
            value: The answer.
            depth_m: (H, W) metres of the same frame's picture.
            valid: (H, W), where they are known.
            fit: Where the picture lay on the model's canvas.
        """
        return value
