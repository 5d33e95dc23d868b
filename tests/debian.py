"""Programs of Debian's that tests need and that have no wheels: installed when they are missing and that is allowed."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

_TIMEOUT_S = 280.0
_APT = ("apt-get", "-qq", "-o", f"DPkg::Lock::Timeout={_TIMEOUT_S:.0f}")
# Several processes run tests at the same time, and each of them may find something missing.
LOCKS = Path(tempfile.gettempdir()) / f"plantain-locks-{os.geteuid()}"


def why_missing(packages: tuple[str, ...], is_there: Callable[[], bool]) -> str | None:
    """None where a program is there, after installing it if need be and allowed; the reason where not.

    Args:
        packages: What it comes with.
        is_there: Whether it can be used.
    """
    if is_there():
        return None
    if shutil.which("apt-get") is None or (os.geteuid() != 0 and shutil.which("sudo") is None):
        return f"install {' '.join(packages)}"
    LOCKS.mkdir(exist_ok=True)
    with FileLock(LOCKS / "debian"):
        if is_there():
            return None
        install = ("install", "-y", "--no-install-recommends", *packages)
        # The lists of packages may be missing or old.
        said = _run(*install) and (_run("update") or _run(*install))
        if not said and not is_there():
            said = "installed, and cannot be used"
    return f"{' '.join(packages)}: {said}" if said else None


def _run(*words: str) -> str:
    """What goes wrong; nothing if all is well."""
    root = () if os.geteuid() == 0 else ("sudo", "-n")
    command = [*root, "env", "DEBIAN_FRONTEND=noninteractive", *_APT, *words]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        return f"apt-get {words[0]} took more than {_TIMEOUT_S:g} s"
    return f"apt-get {words[0]} failed: {done.stderr.strip()[-300:]}" if done.returncode else ""
