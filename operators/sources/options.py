"""Which options and addresses our sources take, told without opening anything and without what decodes."""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction
from urllib.parse import parse_qsl, urlsplit

from plantain.operators.errors import UsageError
from plantain.operators.redaction import shown
from plantain.operators.sources.live.options import LiveOptions
from plantain.operators.streams import StreamSpec

_OF_FILES = {"stream", "threads", "deinterlace", "end_frame", "end_pts"}
_OF_HOSTS = ("rtsp", "rtsps", "http", "https")
# A decoder takes memory for each of its threads, and none is faster for more than some ten.
MAX_THREADS = 256
MAX_SIDE = 8192
"""Of a rendered street, pixels."""
_SPLITS = ("train", "heldout")
_NUMBER = re.compile(r"-?\d{1,12}(\.\d{1,12})?(/\d{1,12})?")
_NUMBERS = {"seed": "0", "frames": "250", "fps": "25"}
_FORM = "synthetic://street?seed=3&frames=100&fps=25&width=384&height=224&split=train&stamp=1"


def check_file(spec: StreamSpec) -> None:
    """Looks at the address and options of a file.

    Raises:
        UsageError: If one is unknown, or is not what it must be.
    """
    _check_host(spec)
    if unknown := sorted(set(spec.options) - _OF_FILES):
        raise UsageError(
            f"stream '{spec.stream_id}': files have no option {', '.join(unknown)}; "
            f"they have {', '.join(sorted(_OF_FILES))}"
        )
    for option in sorted(_OF_FILES - {"deinterlace"}):
        number = number_of(spec, option)
        if option in ("stream", "end_frame") and number is not None and number < 0:
            raise UsageError(f"stream '{spec.stream_id}': option {option} is not negative")
    if not 0 <= (number_of(spec, "threads") or 0) <= MAX_THREADS:
        raise UsageError(
            f"stream '{spec.stream_id}': option threads is at most {MAX_THREADS}, and not negative"
        )
    if (said := spec.options.get("deinterlace", "on")) not in ("on", "off"):
        raise UsageError(f"stream '{spec.stream_id}': option deinterlace is on or off, not '{said}'")


def check_images(spec: StreamSpec) -> None:
    """Looks at the options of images; raises as `check_file` does."""
    if unknown := sorted(set(spec.options) - {"fps"}):
        raise UsageError(
            f"stream '{spec.stream_id}': images have no option {', '.join(unknown)}; they have fps"
        )
    fraction_of(spec, "fps", spec.options.get("fps", "25"))


def check_street(spec: StreamSpec) -> None:
    """Looks at the address and options of a rendered street; raises as `check_file` does."""
    street_of(spec, {"height": "32", "width": "32"})


def check_live(spec: StreamSpec) -> None:
    """Looks at the address and options of a camera; raises as `check_file` does."""
    _check_host(spec)
    LiveOptions.of(spec)


def _check_host(spec: StreamSpec) -> None:
    url = urlsplit(spec.url)
    scheme = url.scheme.lower()
    if scheme in _OF_HOSTS and not url.hostname:
        raise UsageError(f"stream '{spec.stream_id}': its address names no host; write {scheme}://HOST/PATH")
    try:
        is_port = url.port != 0
    except ValueError:
        is_port = False
    if not is_port:
        raise UsageError(f"stream '{spec.stream_id}': its port is no number from 1 to 65535")


CHECKS: dict[str, Callable[[StreamSpec], None]] = {
    "file": check_file,
    "parts": check_file,
    "images": check_images,
    "synthetic": check_street,
    "live": check_live,
}
"""By the name of the source."""


def street_of(spec: StreamSpec, size: dict[str, str]) -> tuple[dict[str, str], dict[str, Fraction]]:
    """All parameters of a street as they are written, and those that are numbers."""
    url = urlsplit(spec.url)
    given = {**dict(parse_qsl(url.query)), **spec.options}
    parameters = {**_NUMBERS, **size, "split": "train", "stamp": "0"}
    unknown = sorted(set(given) - set(parameters))
    if unknown or url.netloc != "street":
        said = ", ".join(unknown) or "this place"
        raise UsageError(f"'{shown(spec.url)}': {said} is unknown; write {_FORM}")
    parameters.update(given)
    if parameters["split"] not in _SPLITS:
        said = f"split is {' or '.join(_SPLITS)}, not '{parameters['split']}'"
        raise UsageError(f"stream '{spec.stream_id}': {said}")
    numbers = {name: fraction_of(spec, name, parameters[name]) for name in (*_NUMBERS, *size)}
    for name in size:
        if numbers[name] > MAX_SIDE:
            raise UsageError(
                f"stream '{spec.stream_id}': {name} is at most {MAX_SIDE}, not {parameters[name]}"
            )
    return parameters, numbers


def number_of(spec: StreamSpec, option: str) -> int | None:
    """The whole number that an option holds; None where it is left out.

    Raises:
        UsageError: If it holds something else.
    """
    text = spec.options.get(option)
    try:
        return None if text is None else int(text)
    except ValueError as error:
        raise UsageError(f"stream '{spec.stream_id}': option {option} is a number, not '{text}'") from error


def fraction_of(spec: StreamSpec, name: str, text: str) -> Fraction:
    """The number that an option holds: `25`, `29.97` or `30000/1001`; but for a seed, it is above 0.

    Raises:
        UsageError: If it holds something else.
    """
    try:
        number = Fraction(text if _NUMBER.fullmatch(text) else "")
    except (ValueError, ZeroDivisionError) as error:
        raise UsageError(f"stream '{spec.stream_id}': {name} is a number, not '{text}'") from error
    if number <= 0 and name != "seed":
        raise UsageError(f"stream '{spec.stream_id}': {name} is above 0, not {text}")
    return number
