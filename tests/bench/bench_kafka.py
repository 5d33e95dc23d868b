"""Messages per second from one process to a broker on the same machine: written, sent and acknowledged."""

import statistics
import tempfile
import time
import uuid
from dataclasses import replace

import numpy as np

from plantain.operators.sinks.base import Segment
from plantain.operators.sinks.kafka.messages import Message, messages_of
from plantain.operators.sinks.kafka.sink import KafkaSink
from plantain.operators.sinks.rows import Rows
from plantain.operators.types import Result
from tests.bench.material import report
from tests.kafka_broker import Broker
from tests.results import CARS, DEPTH, depth, masks, result

SEGMENT_FRAMES = 500
NUM_SEGMENTS = 6
TARGET = 5000.0


def messages(given: Result) -> list[Message]:
    """The messages of one frame, rows included."""
    return [
        message
        for answer in Rows([given], "run").answers
        for message in messages_of(answer, rasters="drop", raster_ref=None, max_bytes=900_000)
    ]


def main() -> None:
    """Prints the figures."""
    broker = Broker.find()
    try:
        crowd = masks(8, size_hw=(64, 64))
        rng = np.random.default_rng(0)
        crowd = replace(
            crowd, labels=np.kron(rng.integers(0, 9, (4, 4)), np.ones((16, 16))).astype(np.uint16)
        )
        kinds = {
            "depth": [result(k, {DEPTH: depth(3.0)}) for k in range(SEGMENT_FRAMES)],
            "8_objects": [result(k, {CARS: crowd}, model_hw=(64, 64)) for k in range(SEGMENT_FRAMES)],
        }
        for name, results in kinds.items():
            size = statistics.mean(message.size for given in results[:20] for message in messages(given))
            for transactional in (False, True):
                rates = _rates(broker, results, transactional=transactional)
                kind = "transactional" if transactional else "idempotent"
                report(
                    f"kafka_messages_per_s_{name}_{kind}",
                    statistics.median(rates),
                    TARGET,
                    at_most=False,
                    bytes_per_message=round(size),
                    rates=[round(rate) for rate in rates],
                )
        begun = time.perf_counter()
        for given in kinds["8_objects"]:
            messages(given)
        report("kafka_8_objects_encode_us", (time.perf_counter() - begun) / SEGMENT_FRAMES * 1e6)
    finally:
        broker.close()


def _rates(broker: Broker, results: list[Result], *, transactional: bool) -> list[float]:
    """Messages per second of each segment after the first."""
    with tempfile.TemporaryDirectory() as folder:
        prefix = f"bench{uuid.uuid4().hex[:8]}"
        sink = KafkaSink(folder, "run", broker.bootstrap, topic_prefix=prefix, transactional=transactional)
        sink.begin("clip", is_resumed=False)
        rates = []
        for index in range(NUM_SEGMENTS):
            shifted = [
                replace(given, header=replace(given.header, frame_index=index * SEGMENT_FRAMES + k))
                for k, given in enumerate(results)
            ]
            segment = Segment("clip", 0, index)
            begun = time.perf_counter()
            for at in range(0, SEGMENT_FRAMES, 25):
                sink.write(segment, Rows(shifted[at : at + 25], "run"))
            sink.commit(segment)
            rates.append(SEGMENT_FRAMES / (time.perf_counter() - begun))
        sink.finish("clip")
        sink.close()
        return rates[1:]


if __name__ == "__main__":
    main()
