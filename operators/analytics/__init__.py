"""Facts over time and between answers: one class for each analytic, named here and imported where it is used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from plantain.operators import naming
from plantain.operators.analytics.base import Analytic
from plantain.operators.arguments import check_arguments

ANALYTICS = {
    "track": "plantain.operators.analytics.track:Track",
    "distance": "plantain.operators.analytics.distance:Distance",
    "presence": "plantain.operators.analytics.presence:Presence",
}
"""Name of each analytic, and where its class is."""


def check_analytic(name: str, options: Mapping[str, Any]) -> None:
    """Finds what making an analytic would find; one of the user's own is imported, not made.

    Raises:
        UsageError: If there is no such analytic, or it does not take the options.
    """
    check_arguments("analytic", name, ANALYTICS.get(name, name), options)
    if name in ANALYTICS:
        make_analytic(name, options)
    else:
        naming.class_of("analytic", name, name, ANALYTICS)


def make_analytic(name: str, options: Mapping[str, Any]) -> Analytic:
    """The analytic called `name`, or the class that `module:Class` names, for one stream.

    Args:
        name: A key of `ANALYTICS`, or a dotted path.
        options: Keyword arguments for the class.

    Raises:
        UsageError: If there is no such analytic, or it does not take the options.
    """
    return cast(Analytic, naming.make("analytic", name, options, ANALYTICS))
