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
from dataclasses import replace
from pathlib import Path

from plantain.operators.segments import Barrier, Durable, Position
from plantain.operators.sinks.kafka.sink import KafkaSink
from plantain.operators.sinks.store import Store
from plantain.operators.streams import Start, StreamSpec
from plantain.operators.write import Write
from plantain.pipeline.checkpoint import Checkpoints
from tests.moments import Progress
from tests.results import DEPTH, result

NUM_FRAMES = 60
SEGMENT_FRAMES = 4
BATCH_FRAMES = 3
# A kill comes after so many files were stored at most, 0 while it connects; a stream stores about 40.
MAX_STORED = 12


def write_stream(bootstrap: str, prefix: str, folder: Path, stream_id: str) -> None:
    """Writes a stream from where it is durable to its end."""
    checkpoints = Checkpoints(Store(str(folder)))
    spec = StreamSpec(stream_id, "hand")
    durable = checkpoints.load(stream_id) or Durable(stream_id, 0, Position())
    if durable.is_complete:
        return
    sink = KafkaSink(str(folder), "run", bootstrap, topic_prefix=prefix, transactional=True)
    write = Write([sink], "run")
    first = durable.position.frame_index
    start = replace(Start.fresh(spec, (DEPTH,)), durable=durable, segment=first // SEGMENT_FRAMES)
    write.open(start)
    for begin in range(first, NUM_FRAMES, BATCH_FRAMES):
        for index in range(begin, min(begin + BATCH_FRAMES, NUM_FRAMES)):
            if index > first and index % SEGMENT_FRAMES == 0:
                promise = Durable(stream_id, 0, Position(index, delivered=index))
                checkpoints.save(write.cut([Barrier(index // SEGMENT_FRAMES, promise)]))
            list(write([result(index, stream_id=stream_id)]))
    promise = Durable(stream_id, 0, Position(NUM_FRAMES, delivered=NUM_FRAMES), is_complete=True)
    checkpoints.save([write.finish(stream_id, promise)])
    write.close()


def in_a_child(
    bootstrap: str, prefix: str, folder: Path, stream_id: str, chance: random.Random | None
) -> bool:
    """Writes a stream in a child that is killed when it has stored a random number of checkpoints.

    Returns:
        Whether it was killed before its end; without a `chance` it is not.
    """
    progress = Progress(folder)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            write_stream(bootstrap, prefix, folder, stream_id)
            code = 0
        finally:
            os._exit(code)
    if chance is not None:
        if progress.wait(chance.randint(0, MAX_STORED), lambda: not has_ended(child)):
            progress.pause(chance)
        os.kill(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    if not os.WIFSIGNALED(status) and os.WEXITSTATUS(status) != 0:
        raise SystemExit(f"writing {stream_id} failed")
    return os.WIFSIGNALED(status)


def has_ended(child: int) -> bool:
    """Whether a child has come to its end; it is still to be waited for."""
    return os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def main() -> None:
    bootstrap, prefix, folder, seed, num_kills = sys.argv[1:]
    chance = random.Random(int(seed))
    in_a_child(bootstrap, prefix, Path(folder), "undisturbed", None)
    streams, kills, lives = ["undisturbed", "killed0"], 0, 0
    while kills < int(num_kills):
        lives += 1
        if in_a_child(bootstrap, prefix, Path(folder), streams[-1], chance):
            kills += 1
        else:
            streams.append(f"killed{len(streams) - 1}")
    in_a_child(bootstrap, prefix, Path(folder), streams[-1], None)
    sys.stdout.write(json.dumps({"streams": streams, "kills": kills, "lives": lives}))


if __name__ == "__main__":
    main()
