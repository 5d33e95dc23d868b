"""Every error that Plantain raises on purpose.

    PlantainError                     retryable?
    |-- UsageError                    no    the command line or the configuration asks for something impossible
    |   `-- PromptError               no    a task that cannot be read
    |-- SourceError                   no    a stream cannot be opened or read
    |   |-- SourceNotFoundError       no    nothing is there
    |   |-- NoVideoError              no    something is there, but no video
    |   `-- SourceLostError           yes   it was there a moment ago
    |-- CodecError                    no    an image or a value that no codec can turn into the other
    |-- ModelError                    no    a backend refused or broke on an input
    |   |-- ModelUnavailableError     no    a backend that cannot run here
    |   |-- ModelBusyError            yes   a hosted backend asked us to wait; `retry_after_s` may say how long
    |   `-- ModelLostError            no    an answer of a hosted backend is lost, and may have been paid for
    |-- SinkError                     no    results cannot be stored
    |   `-- SinkBackpressureError     yes   not now; `retry_after_s` says when
    `-- WorkerDiedError               yes   a process that held a worker is gone

A message is one sentence that names the thing and says what to do. It never holds a secret: addresses pass
through `redaction.shown` first.
"""

from __future__ import annotations

from typing import ClassVar


class PlantainError(Exception):
    """Root of the tree above.

    Attributes:
        retryable: Whether the same call may succeed later without a change by the user.
    """

    retryable: ClassVar[bool] = False


class UsageError(PlantainError):
    """The command line or the configuration asks for something impossible."""


class PromptError(UsageError):
    """A task that cannot be read; the message shows the accepted form."""


class SourceError(PlantainError):
    """A stream cannot be opened or read."""


class SourceNotFoundError(SourceError):
    """Nothing is at the given path or address."""


class NoVideoError(SourceError):
    """The source exists but holds no video that can be decoded."""


class SourceLostError(SourceError):
    """A source that was delivering frames stopped."""

    retryable = True


class CodecError(PlantainError):
    """An image or a value that a codec cannot turn into the other."""


class ModelError(PlantainError):
    """A backend refused or broke on an input."""


class ModelUnavailableError(ModelError):
    """A backend that cannot run on this machine; the message says what it needs."""


class ModelBusyError(ModelError):
    """A hosted backend asked us to come back later, and has done nothing yet.

    Args:
        message: What it said.
        retry_after_s: When to try again, in seconds; None where it does not say.
    """

    retryable = True

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s

    def __reduce__(self) -> tuple[type[ModelBusyError], tuple[str, float | None]]:
        return type(self), (str(self), self.retry_after_s)


class ModelLostError(ModelError):
    """A hosted backend was asked, and its answer is lost: it may have done its work, and charge for it."""


class SinkError(PlantainError):
    """Results cannot be stored."""


class SinkBackpressureError(SinkError):
    """A sink that cannot take more just now.

    Args:
        message: What the sink said.
        retry_after_s: When to try again, in seconds.
    """

    retryable = True

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s

    def __reduce__(self) -> tuple[type[SinkBackpressureError], tuple[str, float]]:
        return type(self), (str(self), self.retry_after_s)


class WorkerDiedError(PlantainError):
    """A process that held a worker is gone (killed by the kernel, a crash in native code, a lost node)."""

    retryable = True
