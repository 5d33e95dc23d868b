"""Compiled loops, kept or not."""

import os
import subprocess
import sys
from pathlib import Path

SCRIPT = """
from plantain.operators.compiled import compiled

@compiled(fastmath=True)
def doubled(x):
    return 2 * x

print(doubled(21.0), doubled.stats.cache_path)
"""


def run(tmp_path: Path, **environment: str) -> str:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_they_are_kept_where_it_is_said(tmp_path):
    folder = tmp_path / "kept"
    told = run(tmp_path, NUMBA_CACHE_DIR=str(folder))
    assert told.split()[0] == "42.0"
    assert list(folder.rglob("script.doubled-*.nbi"))


def test_where_nothing_can_be_written_each_process_compiles_for_itself(tmp_path):
    told = run(tmp_path, NUMBA_CACHE_LOCATOR_CLASSES="ZipCacheLocator")  # one that finds no place for a file
    assert told.splitlines()[-1].split() == ["42.0", "None"]
    assert "NUMBA_CACHE_DIR" in told
