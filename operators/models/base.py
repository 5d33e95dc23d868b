"""The contract of every model: frames and prompts in, answers out; or, for one that draws, pictures in, drawings out.

Answering.answer     values, one prompt at a time right or wrong: specialists, hosted models, combinations
ModelBackend.render  drawings, decoded by `drawn.Drawn`, which makes a model that draws one that answers
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from plantain.operators.answers.depth.value import Lens
from plantain.operators.geometry import Fit
from plantain.operators.prompts import Prompt, Task
from plantain.operators.types import Failure, Frame, Value

Pixels = NDArray[np.uint8]

Shown = Literal["real weights", "real architecture, tiny weights", "protocol only", "no weights"]
"""What a backend was tested with: what is published, its network small and random, a server that speaks alike; or it
has nothing to be tested with but itself."""


@dataclass(frozen=True, slots=True)
class Weights:
    """Where a backend's weights come from, and what they ask for.

    Attributes:
        source: Repository of the hub, `owner/name`; empty where they come with the package or by an option.
        commercial: Whether their licence allows commercial use; None where that depends on what is given.
        parameters_m: Size, millions of parameters, as published; 0 where it depends.
        is_gated: Terms must be accepted, and a token given, before they can be had.
        needs_gpu: It takes minutes a picture without.
        bytes_each: Memory for each parameter, with what passes through: float32, and half as much again; or bfloat16.
        shown: What it was tested with.
    """

    source: str = ""
    commercial: bool | None = None
    parameters_m: float = 0.0
    is_gated: bool = False
    needs_gpu: bool = False
    bytes_each: float = 6.0
    shown: Shown = "real architecture, tiny weights"


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """What can be said about a backend without loading it; a class of a user's own may carry one as `spec`.

    Attributes:
        target: `"module:Class"` of the backend; empty in a class's own.
        summary: One line for `plantain models`.
        tasks: What it can answer.
        licence: Of the weights.
        needs: Modules that must be importable.
        model_hw: The canvas it likes best, height and width in pixels.
        fit: How a picture lies on it: models that stretch every picture get it stretched, so that it is resized once.
        handful: Frames that it draws together on one core of the CPU, where copies of it in one process share the
            weights: a copy for each core is quicker then than one for all. 0 for a model that takes all cores itself.
        keeps_streams: It keeps something about each stream (a memory of objects, for instance), so that the frames of a
            stream go to one copy, in order; it is `Forgetful`, too.
        warms_up: Its first answers are slow, and cost nothing: each copy makes some before it counts as there.
        is_paid: Each answer costs money: what was asked once is never asked again because something else failed.
        is_hosted: It answers on other machines, many prompts at a time: one copy of it keeps the budget and the rate.
        by_options: What can be said depends on the options: the class tells it, as `Tailored`.
        drifts: It draws, and is known to draw some pixels beside the frame.
        takes_lens: What it says of distances follows from the field of view that a stream tells.
        needs_lens: It says nothing of distances where a stream tells none, unless the option `assume_hfov` does.
        extra: The extra of this package that brings what it needs; empty where each module is installed by its name.
        apart: Of `needs` those that no extra brings, since their packages ask for versions that nothing here runs with;
            each with the package, pinned, which is installed without what it asks for.
        preset: Options that it is made with unless they are given, for a target that several backends share.
        weights: Where they come from, and what they ask for.
        members: Backends whose weights it takes beside its own, as long as its options name no others.
    """

    target: str = ""
    summary: str = ""
    tasks: tuple[Task, ...] = ()
    licence: str = ""
    needs: tuple[str, ...] = ()
    model_hw: tuple[int, int] = (256, 256)
    fit: Fit = "letterbox"
    handful: int = 0
    keeps_streams: bool = False
    warms_up: bool = False
    is_paid: bool = False
    is_hosted: bool = False
    by_options: bool = False
    drifts: bool = False
    takes_lens: bool = False
    needs_lens: bool = False
    extra: str = ""
    apart: Mapping[str, str] = field(default_factory=dict)
    preset: Mapping[str, Any] = field(default_factory=dict)
    weights: Weights = Weights()
    members: tuple[str, ...] = ()


@runtime_checkable
class Described(Protocol):
    """A class that says about itself what the table of backends says about ours."""

    spec: ClassVar[ModelSpec]


@runtime_checkable
class Tailored(Protocol):
    """A class that says about itself what depends on its options; it loads nothing heavy."""

    @classmethod
    def spec_for(cls, options: Mapping[str, Any]) -> ModelSpec:
        """What can be said about a backend with these options.

        Raises:
            UsageError: If it does not take them.
        """
        ...


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model says to one prompt.

    Attributes:
        value: The answer, of the prompt's kind and of the size of the frame's picture without its bars
            (`Letterbox.crop`); or why there is none, which concerns no other prompt.
        model: Who answered, where a backend is several; empty for the backend itself.
        fingerprint: Of who answered; empty for the backend's own.
        model_ms: Time that it took, or this prompt's share of its batch, milliseconds.
        codec_ms: Time spent on decoding a drawing, milliseconds.
        cost_usd: Its price, US dollars; a failure may have one, too.
    """

    value: Value | Failure
    model: str = ""
    fingerprint: str = ""
    model_ms: float = 0.0
    codec_ms: float = 0.0
    cost_usd: float = 0.0


@runtime_checkable
class Answering(Protocol):
    """Answers prompts.

    Attributes:
        name: What users call it; written into every row.
        fingerprint: Changes whenever the same input may be answered differently (weights, code version).
    """

    name: str
    fingerprint: str

    def answer(
        self, frames: Sequence[Frame], image_of: Sequence[int], prompts: Sequence[Prompt]
    ) -> list[Answer]:
        """One answer for each prompt.

        Whatever concerns one prompt alone (a refusal, a word that it does not know, a budget that is spent) is a
        Failure in that prompt's answer. What concerns the whole batch may be raised.

        Args:
            frames: M frames of one canvas; each is looked at once, however many prompts ask about it.
            image_of: Index into `frames` for each prompt, N of them.
            prompts: N prompts.

        Raises:
            ModelBusyError: If nothing was done yet, and it can be asked again later.
            ModelError: If it can answer nothing of the batch.
        """
        ...

    def close(self) -> None:
        """Gives back what it holds (GPU memory, connections)."""
        ...


@runtime_checkable
class Forgetful(Protocol):
    """What a model has, too, that keeps something about each stream (`ModelSpec.keeps_streams`).

    The frames of a stream come in order, as long as it lives; those of a query come under a name of their own, which
    begins with `?`, and are forgotten after.
    """

    def forget(self, stream_id: str) -> None:
        """Forgets what is kept about a stream: it has ended, begins anew, or a frame of it failed."""
        ...


@runtime_checkable
class ModelBackend(Protocol):
    """Draws answers.

    Attributes:
        name: What users call it; written into every row.
        fingerprint: Changes whenever the same input may be drawn differently (weights, code version).
    """

    name: str
    fingerprint: str

    def render(self, images: Pixels, image_of: Sequence[int], prompts: Sequence[Prompt]) -> Pixels:
        """One drawing for each prompt.

        Args:
            images: (M, H, W, 3) uint8 RGB; each is encoded once, however many prompts ask about it.
            image_of: Index into `images` for each prompt, N of them.
            prompts: N prompts.

        Returns:
            (N, H, W, 3) uint8 RGB.

        Raises:
            ModelError: If the backend cannot draw one of them.
        """
        ...

    def close(self) -> None:
        """Gives back what it holds (GPU memory, connections)."""
        ...


@runtime_checkable
class Checking(Protocol):
    """A model that draws, and can say of a prompt alone that it cannot be drawn."""

    def check(self, prompt: Prompt) -> None:
        """Refuses what cannot be drawn, whatever the picture; the others of its batch are drawn without it.

        Raises:
            ModelError: With what can be drawn instead.
        """
        ...


@runtime_checkable
class DrawsFrames(Protocol):
    """A model that draws, and makes use of what is known about a frame besides its pixels: its stream, its lens."""

    def draw(self, frames: Sequence[Frame], image_of: Sequence[int], prompts: Sequence[Prompt]) -> Pixels:
        """As `ModelBackend.render`, of frames on equal canvases."""
        ...


class Told(NamedTuple):
    """What a model knows of a drawing that its colours do not say.

    Attributes:
        sure: (H, W) uint8, how sure it is of each pixel of a region, 255 for wholly; None for no regions.
        lens: What distances follow from; None where there are none.
    """

    sure: Pixels | None = None
    lens: Lens | None = None


@runtime_checkable
class TellsMore(Protocol):
    """A model that draws frames, and knows more of its drawings than colours say."""

    def draw_told(
        self, frames: Sequence[Frame], image_of: Sequence[int], prompts: Sequence[Prompt]
    ) -> tuple[Pixels, list[Told]]:
        """As `DrawsFrames.draw`, and what more is known of each drawing."""
        ...

    def scores(
        self, prompt: Prompt, sure: NDArray[np.float32], shares: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """How likely each of R regions is right, (R,) float32 in [0, 1].

        Args:
            prompt: What they answer.
            sure: (R,), how sure it is of their pixels on average, in [0, 1].
            shares: (R,), how much of the picture they cover, in [0, 1].
        """
        ...


def drawings_of(
    model: ModelBackend, frames: Sequence[Frame], image_of: Sequence[int], prompts: Sequence[Prompt]
) -> Pixels:
    """One drawing (H, W, 3) for each prompt, by whichever of the two ways the model has."""
    if isinstance(model, DrawsFrames):
        return model.draw(frames, image_of, prompts)
    return model.render(np.stack([frame.image for frame in frames]), image_of, prompts)
