"""The identity of a frame's W3C trace: derived from the frame's own, so that every process knows it without being told.

A frame that is made again keeps its trace, and a trace is recorded everywhere or nowhere.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from plantain.operators.types import Header


def trace_id_of(header: Header) -> str:
    """32 hex digits."""
    return hashlib.blake2b(_name(header).encode(), digest_size=16).hexdigest()


def span_id_of(header: Header, step: str) -> str:
    """16 hex digits, of what one step does with a frame."""
    return hashlib.blake2b(f"{_name(header)}/{step}".encode(), digest_size=8).hexdigest()


def traceparent_of(header: Header, step: str) -> str:
    """The context that a step hands on; its flag says whether the trace is recorded."""
    trace_id = trace_id_of(header)
    return f"00-{trace_id}-{span_id_of(header, step)}-{'01' if sampling.takes(trace_id) else '00'}"


@dataclass(slots=True)
class Sampling:
    """Which traces are recorded; of this process.

    Attributes:
        share: Of all frames. Where nobody records traces it is 1: whoever reads the results may begin there.
    """

    share: float = 1.0

    def takes(self, trace_id: str) -> bool:
        """Whether a trace is recorded; by the lower half of its id, as OpenTelemetry does it."""
        return int(trace_id[16:], 16) < round(self.share * 2**64)


sampling = Sampling()


def _name(header: Header) -> str:
    return f"{header.stream_id}/{header.epoch}/{header.frame_index}"
