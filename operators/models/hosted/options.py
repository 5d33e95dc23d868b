"""What every hosted model can be told."""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from plantain.operators.errors import ModelUnavailableError, UsageError
from plantain.operators.redaction import shown

# In capitals, as is the custom: so no key is taken for a name.
_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]{0,99}")
_KEY = re.compile(r"[!-~]{1,4096}")


@dataclass(frozen=True, kw_only=True)
class Hosting:
    """Where a hosted model is, and how much may be asked of it.

    Attributes:
        base_url: Of the API, `http://` or `https://`.
        key_env: Environment variable that holds the key, where the model's worker runs; empty for a server without one.
        at_once: Requests that are out at the same time, at most.
        requests_per_minute: On average; `at_once` of them may come together. 0 for any number.
        max_usd_per_hour: In any hour no more is spent, US dollars; None for any sum.
        ledger: File that keeps what was spent: without one a worker that is made anew begins an hour. Models that name
            the same one spend out of one budget. Empty for none.
        timeout_s: For one request, from its first byte to the answer's last, seconds.
        patience_s: Waits for a server that is busy, and for money, are no longer than this together, seconds.

    Raises:
        UsageError: If one is not possible.
    """

    base_url: str
    key_env: str = ""
    at_once: int = 8
    requests_per_minute: float = 0.0
    max_usd_per_hour: float | None = None
    ledger: str = ""
    timeout_s: float = 60.0
    patience_s: float = 30.0

    def __post_init__(self) -> None:
        _check_url(self.base_url)
        if self.key_env and not _VARIABLE.fullmatch(str(self.key_env)):  # not shown: it may be the key itself
            raise UsageError(
                "key_env must be the name of an environment variable, in capitals, such as GEMINI_API_KEY"
            )
        if (
            isinstance(self.at_once, bool)
            or not isinstance(self.at_once, int)
            or not 1 <= self.at_once <= 256
        ):
            raise UsageError(f"at_once is {self.at_once}: it must be a whole number from 1 to 256")
        number("requests_per_minute", self.requests_per_minute, or_none=True)
        if not isinstance(self.ledger, str):
            raise UsageError(f"ledger is '{self.ledger}': write the path of a file")
        number("timeout_s", self.timeout_s)
        number("patience_s", self.patience_s, or_none=True)
        if self.max_usd_per_hour is not None:
            number("max_usd_per_hour", self.max_usd_per_hour)

    @property
    def place(self) -> str:
        """The address as it may be shown."""
        return shown(self.base_url)

    def key(self) -> str:
        """The key; empty for a server without one.

        Raises:
            ModelUnavailableError: If the environment holds none.
        """
        if not self.key_env:
            return ""
        key = os.environ.get(self.key_env, "").strip()
        if not key:
            raise ModelUnavailableError(
                f"{self.place} needs a key: set the environment variable {self.key_env} where the workers run"
            )
        if not _KEY.fullmatch(key):
            raise ModelUnavailableError(
                f"{self.key_env} holds no key: blanks, or more than ASCII, are in it; set it again"
            )
        return key


@dataclass(frozen=True, kw_only=True)
class OwnPrice(Hosting):
    """Of a server that no list of prices knows.

    Attributes:
        usd_per_answer: What an answer costs at most, US dollars; 0 for a server of one's own.
    """

    usd_per_answer: float = 0.0

    def __post_init__(self) -> None:
        Hosting.__post_init__(self)
        number("usd_per_answer", self.usd_per_answer, or_none=True)
        if self.max_usd_per_hour is not None and not self.usd_per_answer:
            raise UsageError("max_usd_per_hour bounds nothing without a price: give usd_per_answer, too")
        affordable(self.usd_per_answer, self.max_usd_per_hour)


def number(name: str, value: object, *, or_none: bool = False) -> float:
    """An option that is a number above 0.

    Args:
        name: Of the option.
        value: What the user wrote.
        or_none: 0 will do, too.

    Raises:
        UsageError: If it is not.
    """
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not is_number or value < 0 or (value == 0 and not or_none):  # type: ignore[operator]  # it is a number
        raise UsageError(
            f"{name} is '{value}': it must be a number {'of at least' if or_none else 'above'} 0"
        )
    return float(value)  # type: ignore[arg-type]  # it is a number


def affordable(usd: float, max_usd_per_hour: float | None) -> None:
    """Refuses a budget that no answer fits into.

    Raises:
        UsageError: With both.
    """
    if max_usd_per_hour is not None and usd > max_usd_per_hour:
        raise UsageError(
            f"max_usd_per_hour is {max_usd_per_hour:g}, and a single answer may cost {usd:.3g} USD: allow more"
        )


def _check_url(url: object) -> None:
    try:
        parts = urlsplit(url) if isinstance(url, str) else None
    except ValueError:  # brackets that do not close
        parts = None
    if parts is None or parts.scheme not in ("http", "https") or not parts.hostname:
        said = shown(url) if isinstance(url, str) else type(url).__name__
        raise UsageError(f"base_url is '{said}': write an address such as http://10.0.0.7:8000/v1")
    if parts.query or parts.fragment:
        raise UsageError(f"base_url is '{shown(url)}': write it without a query; a key belongs into key_env")  # type: ignore[arg-type]
