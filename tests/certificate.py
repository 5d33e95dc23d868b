"""A certificate for servers on loopback that nobody vouches for."""

from __future__ import annotations

import subprocess
from pathlib import Path

_COMMAND = (
    "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30",
    "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost",
)  # fmt: skip


def make_certificate(path: Path) -> Path:
    """A PEM with a new key and its certificate."""
    key = path.with_suffix(".key")
    subprocess.run([*_COMMAND, "-keyout", str(key), "-out", str(path)], check=True, capture_output=True)
    path.write_text(path.read_text() + key.read_text())
    return path
