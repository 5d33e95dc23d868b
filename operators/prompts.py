"""The task language: what a user writes, and the text that a model is given.

    semantic:car,person,road        one label per pixel, on an explicit background
    instances:car                   every car apart
    refer:the man with the red umbrella
    depth                           metres
    normals                         unit vectors, camera frame: +x right, +y up, +z to the viewer
    generate:a wet street at night  a new image
    detect:car,person               a box for each, from models that detect
    ask:how many cars are waiting?  words, from models that speak
    prompt[codec=depth]:any text    the model's prompt verbatim, decoded by the named codec

Options stand in square brackets after the task's name, separated by commas or, where a value has commas, by semicolons:

    depth[curve=street]                  curve: paper, street or lambda/c, such as -3/8.5
    depth[colormap=plasma]               cube, plasma, inferno, viridis, gray
    semantic[background=#10aa05]:car=#ff0000,road=#00ff00
    instances[score=0.5]:car             only what the model is so sure of

The paper's wording of the instructions is in Gabeur et al. 2026 (arXiv 2604.20329), project page and section 2.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from enum import StrEnum

from plantain.operators import colours
from plantain.operators.colours import BLACK, RGB
from plantain.operators.errors import PromptError


class Body(StrEnum):
    """What stands after a task's colon; the values show users its form."""

    NOTHING = ""
    CLASS = "CLASS"
    CLASSES = "CLASS,CLASS"
    EXPRESSION = "PHRASE"
    TEXT = "WORDS"


class Task(StrEnum):
    """What a prompt asks for; the values are what users write.

    Each line says what the task is called, the kind of its answer (`plantain.operators.answers`; empty where the
    prompt names it), and what stands after the colon.
    """

    codec: str
    body: Body

    def __new__(cls, name: str, codec: str, body: Body) -> Task:
        """A task that is its name."""
        task = str.__new__(cls, name)
        task._value_, task.codec, task.body = name, codec, body
        return task

    SEMANTIC = "semantic", "masks", Body.CLASSES
    INSTANCES = "instances", "instances", Body.CLASS
    REFER = "refer", "masks", Body.EXPRESSION
    DEPTH = "depth", "depth", Body.NOTHING
    NORMALS = "normals", "normals", Body.NOTHING
    GENERATE = "generate", "image", Body.TEXT
    DETECT = "detect", "boxes", Body.CLASSES
    ASK = "ask", "text", Body.TEXT
    PROMPT = "prompt", "", Body.TEXT


COLORMAPS = ("cube", "plasma", "inferno", "viridis", "gray")
CODECS = tuple(dict.fromkeys(task.codec for task in Task if task.codec))
"""Kinds of answers that a prompt may ask for."""

_ON_BACKGROUND = ("masks", "instances")
"""What is drawn in colours on a background of the prompt's own."""

_SCORED = ("masks", "instances", "boxes")
"""Answers made of things that have a score each."""

MAX_CLASSES = 64
"""Classes of one semantic prompt: the palette keeps 51 levels between them, twice what a generator misses by."""

_FORM = re.compile(r"^\s*(?P<task>[A-Za-z]+)\s*(?:\[(?P<options>[^\]]*)\])?\s*(?::(?P<body>.*))?$", re.DOTALL)
_TASKS: dict[str, Task] = {str(task): task for task in Task}
_FORMS = [
    f"{task}{'' if task.codec else '[codec=NAME]'}{':' if task.body else ''}{task.body}" for task in Task
]
_HOW = f"write {', '.join(_FORMS[:-1])} or {_FORMS[-1]}"


@dataclass(frozen=True, slots=True)
class DepthCurve:
    """Parameters of the power transform between metres and [0, 1): `f(d) = 1 - (1 - d / (lam * c)) ** (lam + 1)`.

    Vision Banana, equation 1. `c` is a length in metres; a larger one moves resolution from near to far.
    """

    lam: float = -3.0
    c: float = 10.0 / 3.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.lam) and math.isfinite(self.c)):
            raise PromptError(f"depth curve {self.lam:g}/{self.c:g}: lambda and c must be finite")
        if not (self.lam < -1.0 and self.c > 0.0):
            raise PromptError(f"depth curve {self.lam:g}/{self.c:g}: lambda must be below -1 and c above 0")

    def __str__(self) -> str:
        for name, curve in CURVES.items():
            if curve == self:
                return name
        return f"{self.lam!r}/{self.c!r}"


CURVES = {"paper": DepthCurve(), "street": DepthCurve(-3.0, 25.0 / 3.0)}
"""`paper` reaches magenta (six sevenths of the code) at 16.5 m, `street` at 41 m."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """One question to a model, complete: everything that drawing and decoding depend on.

    Attributes:
        task: What is asked.
        classes: Names of the regions to draw: the classes of `semantic`, the one class of `instances`,
            the one expression of `refer`; empty for the others.
        palette: The colour of each class, as long as `classes` (for `instances` empty: the model picks).
        background: The colour of everything else.
        text: Words of `generate` and `prompt`.
        curve, colormap: How metres become colours.
        codec: The kind of the answer, and the codec of its drawing; follows from the task except for `prompt`.
        score: Regions and boxes of which the model is less sure are left out; 0 leaves it to the model.
    """

    task: Task
    classes: tuple[str, ...] = ()
    palette: tuple[RGB, ...] = ()
    background: RGB = BLACK
    text: str = ""
    curve: DepthCurve = DepthCurve()
    colormap: str = "cube"
    codec: str = ""
    score: float = 0.0
    _written: str = field(default="", init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.colormap not in COLORMAPS:
            raise PromptError(f"colormap '{self.colormap}' is unknown: use one of {', '.join(COLORMAPS)}")
        if self.codec not in CODECS:
            raise PromptError(f"codec '{self.codec}' is unknown: use one of {', '.join(CODECS)}")
        if self.codec == "masks" and len(self.palette) != len(self.classes):
            raise PromptError(f"{len(self.classes)} classes need as many colours, not {len(self.palette)}")
        if len({*self.palette, self.background}) != len(self.palette) + 1:
            raise PromptError(f"{self}: two classes, or a class and the background, have the same colour")

    @classmethod
    def parse(cls, written: str) -> Prompt:
        """The prompt that a user wrote (module docstring).

        Raises:
            PromptError: With what is wrong and what to write instead.
        """
        match = _FORM.match(written)
        task = None if match is None else _TASKS.get(match["task"].lower())
        if match is None or task is None:
            raise PromptError(f"task '{written}' is unknown: {_HOW}")
        options = _options(written, match["options"] or "")
        body = (match["body"] or "").strip()
        if task.body is Body.NOTHING:
            if body:
                raise PromptError(f"'{written}': {task} takes no words after a colon")
        elif not body:
            raise PromptError(f"'{written}' names nothing: {_HOW}")
        prompt = _build(written, task, options, body)
        if options:
            raise PromptError(f"'{written}': {task} has no option {', '.join(sorted(options))}")
        return prompt

    def __str__(self) -> str:
        """The canonical way to write this prompt; `parse` reads it back to an equal prompt."""
        if not self._written:  # of every frame it is asked for several times
            object.__setattr__(self, "_written", self._write())
        return self._written

    def _write(self) -> str:
        options = []
        if self.background != BLACK:
            options.append(f"background={colours.to_hex(self.background)}")
        if self.codec == "depth" and self.curve != DepthCurve():
            options.append(f"curve={self.curve}")
        if self.codec == "depth" and self.colormap != "cube":
            options.append(f"colormap={self.colormap}")
        if not self.task.codec:
            options.insert(0, f"codec={self.codec}")
        if self.task is Task.REFER and self.palette != _default_palette(self.task, 1, self.background):
            options.append(f"colour={colours.to_hex(self.palette[0])}")
        if self.score:
            options.append(f"score={self.score!r}")
        body = ",".join(self.classes) or self.text
        if self.task is Task.SEMANTIC and self.palette != _default_palette(
            self.task, len(self.classes), self.background
        ):
            body = ",".join(
                f"{name}={colours.to_hex(colour)}"
                for name, colour in zip(self.classes, self.palette, strict=True)
            )
        return self.task + (f"[{';'.join(options)}]" if options else "") + (f":{body}" if body else "")

    def instruction(self) -> str:
        """The text for a large generator, in the paper's wording (project page of arXiv 2604.20329)."""
        match self.task:
            case Task.SEMANTIC:
                legend = ", ".join(
                    f'"{name}": <{r}, {g}, {b}>'
                    for name, (r, g, b) in zip(
                        (*self.classes, "background"), (*self.palette, self.background), strict=True
                    )
                )
                return (
                    "Generate a visualization image of semantic segmentation, using this color mapping: "
                    f"{{{legend}}}"
                )
            case Task.INSTANCES:
                return (
                    "This image is a segmentation task derived from the input. The "
                    f'"{self.classes[0]}" instances are each represented by a unique, solid color. '
                    f"Background is RGB{self.background}."
                )
            case Task.REFER:
                return (
                    "This image shows segmentation masks from the given image. The background is "
                    f"RGB{self.background}. {self.classes[0][:1].upper()}{self.classes[0][1:]} is represented by a "
                    f"solid RGB{self.palette[0]}."
                )
            case Task.DEPTH:
                if self.colormap == "cube":
                    return "Generate a metric depth map of the input image."
                return (
                    "Predict the metric depth of this scene as an image. "
                    f"Visualized in the {self.colormap} colormap."
                )
            case Task.NORMALS:
                return "Generate a surface normal map of the input image."
            case _:
                return self.text or f"{self.task} {', '.join(self.classes)}"


def _options(written: str, inside: str) -> dict[str, str]:
    """`name=value` pairs of the square brackets."""
    options: dict[str, str] = {}
    parts = re.split(r"[;,]\s*(?=[A-Za-z]+\s*=)|;", inside)
    for part in (part for part in parts if part.strip()):
        name, equals, value = part.partition("=")
        if not equals or not value.strip():
            raise PromptError(f"'{written}': write options as [name=value;name=value]")
        options[name.strip().lower()] = value.strip()
    return options


def _build(written: str, task: Task, options: dict[str, str], body: str) -> Prompt:
    """The prompt of checked parts; takes what it understands out of `options`."""
    codec = task.codec or options.pop("codec", "")
    if not codec:
        raise PromptError(f"'{written}' must name its codec: {task}[codec=depth]:WORDS")
    if codec == "masks" and task.body is Body.TEXT:
        raise PromptError(f"'{written}': masks need a legend; write semantic:CLASS=#rrggbb,...")
    curve, colormap = DepthCurve(), "cube"
    if codec == "depth":
        curve = _curve(written, options.pop("curve", "paper"))
        colormap = options.pop("colormap", "cube")
    background = BLACK
    if codec in _ON_BACKGROUND and task.body is not Body.TEXT:
        background = colours.parse(options.pop("background", "black"))
    score = _score(written, options.pop("score", "0")) if codec in _SCORED else 0.0
    classes: tuple[str, ...] = ()
    palette: tuple[RGB, ...] = ()
    match task.body:
        case Body.CLASSES:
            classes, palette = _legend(written, body, background, is_coloured=codec in _ON_BACKGROUND)
        case Body.CLASS:
            if "," in body:
                raise PromptError(f"'{written}': one class per prompt; write one {task}:CLASS for each")
            classes = (body,)
        case Body.EXPRESSION:
            (default,) = _default_palette(task, 1, background)
            classes, palette = (body,), (colours.parse(options.pop("colour", colours.to_hex(default))),)
        case _:
            return Prompt(task, text=body, curve=curve, colormap=colormap, codec=codec, score=score)
    return Prompt(task, classes, palette, background, codec=codec, score=score)


def _legend(
    written: str, body: str, background: RGB, *, is_coloured: bool
) -> tuple[tuple[str, ...], tuple[RGB, ...]]:
    """Class names and colours of `a,b` or `a=#rrggbb,b=#rrggbb`; names alone where nothing is drawn."""
    entries = [part.strip() for part in re.split(r",(?![^()]*\))", body)]
    names = [entry.partition("=")[0].strip() for entry in entries]
    if not all(names):
        raise PromptError(f"'{written}' has an empty class name: write semantic:CLASS,CLASS")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise PromptError(f"'{written}' names {', '.join(twice)} twice: name each class once")
    if len(names) > MAX_CLASSES:
        raise PromptError(
            f"'{written[:40]}...' has {len(names)} classes: use at most {MAX_CLASSES} in a prompt"
        )
    if not is_coloured:
        return tuple(names), ()
    coloured = ["=" in entry for entry in entries]
    if not any(coloured):
        return tuple(names), _default_palette(Task.SEMANTIC, len(names), background)
    if not all(coloured):
        raise PromptError(f"'{written}': give a colour to every class or to none")
    return tuple(names), tuple(colours.parse(entry.partition("=")[2]) for entry in entries)


def _default_palette(task: Task, count: int, background: RGB) -> tuple[RGB, ...]:
    """The colours that classes get when the user names none."""
    if task is Task.REFER and background != colours.NAMED["yellow"]:
        return (colours.NAMED["yellow"],)  # "a solid yellow", as in the paper's referring prompts
    return colours.spread(count, (background,))


def _score(written: str, text: str) -> float:
    """A share from 0 to 1."""
    try:
        score = float(text)
    except ValueError:
        score = math.nan
    if not 0.0 <= score <= 1.0:
        raise PromptError(f"'{written}': score is a number from 0 to 1, not '{text}'")
    return score


def _curve(written: str, text: str) -> DepthCurve:
    """`paper`, `street` or `lambda/c`."""
    if text in CURVES:
        return CURVES[text]
    lam, slash, c = text.partition("/")
    try:
        if slash:
            return DepthCurve(float(lam), float(c))
    except ValueError:
        pass
    raise PromptError(f"'{written}': curve is paper, street or LAMBDA/C such as -3/8.5, not '{text}'")
