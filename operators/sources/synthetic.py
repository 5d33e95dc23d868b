"""Rendered streets as a stream, with exact labels for whoever knows the seed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, cast

from PIL import Image

from plantain.operators.segments import Position
from plantain.operators.sources.options import street_of
from plantain.operators.sources.sequence import Picture, SequenceSource
from plantain.operators.streams import StreamSpec, View

if TYPE_CHECKING:
    from plantain.operators.scenes import Scene


class SyntheticSource(SequenceSource):
    """The street that a `synthetic://street?...` address describes.

    Parameters, all of which may be left out: `seed`, `frames`, `fps`, `width` and `height`
    (else the model's), `split`, `stamp`. With `stamp=1` each picture carries a mark that says which moment of
    which scene it shows. `StreamSpec.options` may hold the same names.

    Args:
        spec: Which street.
        view: What the frames must look like.
        position: Where to begin.

    Raises:
        UsageError: If a parameter is unknown or no number.
    """

    def __init__(self, spec: StreamSpec, view: View, position: Position) -> None:
        # Rendering compiles for seconds and loads numba: only where a street is really drawn.
        from plantain.operators.scenes import Scene

        size = {"height": str(view.model_hw[0]), "width": str(view.model_hw[1])}
        parameters, number = street_of(spec, size)
        self._size_hw = (int(number["height"]), int(number["width"]))
        self._rate = number["fps"]
        self._is_stamped = parameters["stamp"] != "0"
        self._seed = int(number["seed"])
        split = cast('Literal["train", "heldout"]', parameters["split"])  # Scene refuses others
        self._scene: Scene = Scene(self._seed, split=split, size_hw=self._size_hw)
        super().__init__(spec, view, position, int(number["frames"]), self._rate)

    def picture(self, index: int) -> Picture:
        """The street at `index / fps` seconds."""
        from plantain.operators.scenes import stamp

        image = self._scene.render(float(index / self._rate)).image
        return Picture.whole(Image.fromarray(stamp(image, self._seed, index) if self._is_stamped else image))

    def size_hw(self) -> tuple[int, int]:
        """Size of the rendered pictures, pixels."""
        return self._size_hw
