"""Facts over time and between answers: one class for each analytic, named here and imported where it is used."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, cast

from plantain.operators.analytics.base import Analytic
from plantain.operators.errors import UsageError

ANALYTICS = {
    "track": "plantain.operators.analytics.track:Track",
    "distance": "plantain.operators.analytics.distance:Distance",
    "presence": "plantain.operators.analytics.presence:Presence",
}
"""Name of each analytic, and where its class is."""


def make_analytic(name: str, options: Mapping[str, Any]) -> Analytic:
    """The analytic called `name`, or the class that `module:Class` names, for one stream.

    Args:
        name: A key of `ANALYTICS`, or a dotted path.
        options: Keyword arguments for the class.

    Raises:
        UsageError: If there is no such analytic, or it does not take the options.
    """
    target = ANALYTICS.get(name, name)
    module, colon, attribute = target.partition(":")
    if not colon:
        raise UsageError(
            f"analytic '{name}' is unknown: use {', '.join(ANALYTICS)}, or a class of yours as "
            "my_pkg.my_module:MyAnalytic"
        )
    try:
        made = getattr(importlib.import_module(module), attribute)(**options)
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise UsageError(f"analytic '{name}' cannot be made: {error}") from error
    return cast(Analytic, made)
