"""Secrets, which are written into the file or, better, into one of their own."""

from __future__ import annotations

from pathlib import Path

from pydantic import SecretStr

from plantain.operators.errors import UsageError


def secret_of(written: SecretStr | None, file: str | None, setting: str) -> str | None:
    """A secret in the clear; what its own file holds goes before what is written.

    Args:
        written: In the configuration.
        file: Path of its own file.
        setting: Path of the setting that names the file, for the message.

    Raises:
        UsageError: If the file cannot be read.
    """
    if file is None:
        return None if written is None else written.get_secret_value()
    try:
        return Path(file).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise UsageError(f"{setting} cannot be read: {error}") from error
