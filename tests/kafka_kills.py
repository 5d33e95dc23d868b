"""A process that has its writing children killed at random moments, as the last step of a run would be.

    python -m tests.kafka_kills BOOTSTRAP PREFIX FOLDER SEED NUM_KILLS

Children are forked, so that each starts in no time; this process has no threads. A child writes one stream through the
step `Write` with transactions, and stores what is durable where the next one goes on. Prints the streams as JSON, last.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

from operators.sinks.kafka import KafkaSink
from operators.sinks.store import Store
from operators.sources.base import Start, StreamSpec
from operators.types import Durable, Position
from operators.write import Write
from pipeline.checkpoint import Checkpoints
from tests.results import DEPTH, result

NUM_FRAMES = 60
SEGMENT_FRAMES = 4
BATCH_FRAMES = 3


def write_stream(bootstrap: str, prefix: str, folder: Path, stream_id: str) -> None:
    """Writes a stream from where it is durable to its end."""
    checkpoints = Checkpoints(Store(str(folder)))
    spec = StreamSpec(stream_id, "hand")
    durable = checkpoints.load(stream_id) or Durable(stream_id, 0, Position())
    if durable.is_complete:
        return
    sink = KafkaSink(str(folder), "run", bootstrap, topic_prefix=prefix, transactional=True)
    write = Write([sink], SEGMENT_FRAMES)
    write.open(replace(Start.fresh(spec, (DEPTH,)), durable=durable))
    for begin in range(durable.position.frame_index, NUM_FRAMES, BATCH_FRAMES):
        frames = range(begin, min(begin + BATCH_FRAMES, NUM_FRAMES))
        for made in write([result(index, stream_id=stream_id) for index in frames]):
            checkpoints.save(made)
    checkpoints.save(write.finish(stream_id, is_complete=True))
    write.close()


def in_a_child(bootstrap: str, prefix: str, folder: Path, stream_id: str, kill_after_s: float | None) -> bool:
    """Whether the child was killed before its end."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            write_stream(bootstrap, prefix, folder, stream_id)
            code = 0
        finally:
            os._exit(code)
    if kill_after_s is not None:
        time.sleep(kill_after_s)
        os.kill(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    if not os.WIFSIGNALED(status) and os.WEXITSTATUS(status) != 0:
        raise SystemExit(f"writing {stream_id} failed")
    return os.WIFSIGNALED(status)


def main() -> None:
    bootstrap, prefix, folder, seed, num_kills = sys.argv[1:]
    chance = random.Random(int(seed))
    begun = time.monotonic()
    in_a_child(bootstrap, prefix, Path(folder), "undisturbed", None)
    whole_s = time.monotonic() - begun
    streams, kills, lives = ["undisturbed", "killed0"], 0, 0
    while kills < int(num_kills):
        lives += 1
        if in_a_child(bootstrap, prefix, Path(folder), streams[-1], chance.uniform(0, 0.7 * whole_s)):
            kills += 1
        else:
            streams.append(f"killed{len(streams) - 1}")
    in_a_child(bootstrap, prefix, Path(folder), streams[-1], None)
    sys.stdout.write(
        json.dumps({"streams": streams, "kills": kills, "lives": lives, "whole_s": round(whole_s, 2)})
    )


if __name__ == "__main__":
    main()
