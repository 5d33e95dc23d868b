"""The books of a run, as Prometheus and its report show them: every frame is somewhere."""

from __future__ import annotations

from typing import Any
from urllib.request import urlopen

from prometheus_client.parser import text_string_to_metric_families

Totals = dict[str, dict[str, float]]
"""By stream and name of a metric, over all other labels."""


def totals_of(url: str) -> Totals:
    """What the metrics at an address say of each stream."""
    with urlopen(url, timeout=30) as answer:
        families = text_string_to_metric_families(answer.read().decode())
    totals: Totals = {}
    for family in families:
        for sample in family.samples:
            of_stream = totals.setdefault(sample.labels.get("stream", ""), {})
            of_stream[sample.name] = of_stream.get(sample.name, 0.0) + sample.value
    totals.pop("")
    return totals


def assert_balanced(totals: Totals, *, has_taken_back: bool = False) -> None:
    """At this moment, too, every frame is somewhere.

    Args:
        totals: What the metrics say.
        has_taken_back: Whether results were taken back that were not committed: they are counted as lost then, and
            what Prometheus calls a counter cannot forget that they were answered.
    """
    for name, found in totals.items():
        gone = sum(
            found.get(f"plantain_frames_{what}_total", 0.0)
            for what in ("answered", "lost", "skipped", "failed")
        )
        decoded, in_flight = found["plantain_frames_decoded_total"], found["plantain_frames_in_flight"]
        assert in_flight >= 0, name
        assert decoded == gone + in_flight or (has_taken_back and decoded < gone + in_flight), (name, found)


def assert_closed(stream: dict[str, Any]) -> None:
    """At the end nothing is in flight: what the report says of a stream."""
    gone = sum(sum(stream[what].values()) for what in ("failed", "lost", "skipped"))
    assert stream["decoded"] == stream["results"] + gone, stream
