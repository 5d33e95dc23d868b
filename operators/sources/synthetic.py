"""Rendered streets as a stream, with exact labels for whoever knows the seed."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Literal, cast
from urllib.parse import parse_qsl, urlsplit

from PIL import Image

from plantain.operators.errors import UsageError
from plantain.operators.redaction import shown
from plantain.operators.sources.sequence import Picture, SequenceSource, fraction_of
from plantain.operators.streams import StreamSpec, View
from plantain.operators.types import Position

if TYPE_CHECKING:
    from plantain.operators.scenes import Scene

_NUMBERS = {"seed": "0", "frames": "250", "fps": "25"}
_FORM = "synthetic://street?seed=3&frames=100&fps=25&width=384&height=224&split=train&stamp=1"


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
        parameters, number = _parameters(spec, size)
        self._size_hw = (int(number["height"]), int(number["width"]))
        self._rate = number["fps"]
        self._is_stamped = parameters["stamp"] != "0"
        self._seed = int(number["seed"])
        split = cast('Literal["train", "heldout"]', parameters["split"])  # Scene refuses others
        self._scene: Scene = Scene(self._seed, split=split, size_hw=self._size_hw)
        super().__init__(spec, view, position, int(number["frames"]), self._rate)

    @staticmethod
    def check(spec: StreamSpec) -> None:
        """See `Checking`."""
        _parameters(spec, {"height": "32", "width": "32"})

    def picture(self, index: int) -> Picture:
        """The street at `index / fps` seconds."""
        from plantain.operators.scenes import stamp

        image = self._scene.render(float(index / self._rate)).image
        return Picture.whole(Image.fromarray(stamp(image, self._seed, index) if self._is_stamped else image))

    def size_hw(self) -> tuple[int, int]:
        """Size of the rendered pictures, pixels."""
        return self._size_hw


def _parameters(spec: StreamSpec, size: dict[str, str]) -> tuple[dict[str, str], dict[str, Fraction]]:
    """All parameters of a street as they are written, and those that are numbers."""
    url = urlsplit(spec.url)
    given = {**dict(parse_qsl(url.query)), **spec.options}
    parameters = {**_NUMBERS, **size, "split": "train", "stamp": "0"}
    unknown = sorted(set(given) - set(parameters))
    if unknown or url.netloc != "street":
        said = ", ".join(unknown) or "this place"
        raise UsageError(f"'{shown(spec.url)}': {said} is unknown; write {_FORM}")
    parameters.update(given)
    return parameters, {name: fraction_of(spec, name, parameters[name]) for name in (*_NUMBERS, *size)}
