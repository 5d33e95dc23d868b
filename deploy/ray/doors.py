"""Who is let into a cluster, asked before Ray is: it takes a minute and says nothing but that it has failed (2.60).

The names are Ray's own. In a version that has them elsewhere nothing is asked, and its own words come instead of ours.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

from ray.exceptions import AuthenticationError, RpcError

from plantain.operators.errors import UsageError
from plantain.operators.redaction import first_line

try:
    from ray._common.network_utils import build_address  # type: ignore[attr-defined]  # re-exported
    from ray._private.authentication import authentication_token_setup as tokens
    from ray._private.services import canonicalize_bootstrap_address
    from ray._raylet import AuthenticationTokenLoader, GcsClient  # type: ignore[attr-defined]  # in no stub
except ImportError:
    CAN_ASK = False
else:
    CAN_ASK = True


def ask(host: str, port: int) -> None:
    """Asks a cluster for its name.

    Raises:
        UsageError: If it does not let us in, or is none.
    """
    if CAN_ASK:
        _ask(build_address(host, port))


def ask_known() -> None:
    """Asks the one that Ray finds by itself (`auto`), where there is one.

    Raises:
        UsageError: As `ask`.
    """
    if not CAN_ASK:
        return
    with contextlib.suppress(ConnectionError, ValueError):  # there is none, or not one of ours: Ray says it
        if found := canonicalize_bootstrap_address("auto"):
            _ask(found)


def make_token() -> None:
    """A token for whoever has none and may not write to the home, where Ray puts one for all of a user's processes."""
    home = Path.home()
    folder = home / ".ray"
    if not CAN_ASK or os.access(folder if folder.exists() else home, os.W_OK | os.X_OK):
        return
    loader = AuthenticationTokenLoader.instance()
    if not loader.has_token(ignore_auth_mode=True):
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)  # for its processes; nobody else is to join them
        loader.reset_cache()


def _ask(place: str) -> None:
    tokens.maybe_enable_token_auth_if_token_available(warn_if_disabled=False)
    try:
        GcsClient(address=place)
    except AuthenticationError as error:
        raise UsageError(
            f"the Ray cluster at {place} asks for a token that is not ours: write that of its machines into "
            "~/.ray/auth_token, or name its file by RAY_AUTH_TOKEN_PATH"
        ) from error
    except RpcError as error:
        raise UsageError(
            f"what listens at {place} does not answer as a Ray cluster does ({first_line(error)}): give the port of "
            "its head (6379 where ray start --port names no other)"
        ) from error
