"""The embedded model alone and in the pipeline: size, work, time by part, what k prompts cost, frames a second.

Wall times say what this machine gives now; CPU times (user and system of all threads) hardly change when other
programs run beside, and the cores divided by them bound the frames a second.
"""

import os
import statistics
import tempfile
import time
from collections.abc import Callable

import av
import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from plantain.operators.answers import codec_for
from plantain.operators.models.plantain import painting, weights
from plantain.operators.models.plantain.fields import TASKS as WORDS
from plantain.operators.models.plantain.model import WEIGHTS, EmbeddedModel
from plantain.operators.models.plantain.network import Network
from plantain.operators.prompts import Prompt
from tests.bench.bench_pipeline import CACHE
from tests.bench.material import make_clip, report

TASKS = ("semantic:car,person,road,building,vegetation,sky", "instances:car", "depth", "normals")
BATCH = 8
ROUNDS = int(os.environ.get("PLANTAIN_BENCH_ROUNDS", "5"))


def pictures(count: int) -> np.ndarray:
    """Frames of the clip at the model's size."""
    with av.open(str(make_clip(CACHE / "clip-300.mp4", 300))) as container:
        frames = [
            frame.to_ndarray(width=384, height=216, format="rgb24")
            for _, frame in zip(range(count), container.decode(video=0), strict=False)
        ]
    return np.pad(np.stack(frames), ((0, 0), (4, 4), (0, 0), (0, 0)))


def best(work: Callable[[], object]) -> tuple[float, float]:
    """Wall and CPU milliseconds of the quickest of some rounds; the first one, which compiles, does not count."""
    work()
    rounds = []
    for _ in range(ROUNDS):
        wall, cpu = time.perf_counter(), time.process_time()
        work()
        rounds.append((time.perf_counter() - wall, time.process_time() - cpu))
    return min(each[0] for each in rounds) * 1e3, min(each[1] for each in rounds) * 1e3


def size() -> None:
    """Parameters, and multiplications and additions, by part."""
    network, vocabulary = weights.load(WEIGHTS)
    for name in ("encoder", "decoder", "phrases", "generator"):
        count = sum(each.numel() for each in getattr(network, name).parameters())
        report(f"{name}_parameters", count)
    report("weights_mib", WEIGHTS.stat().st_size / 2**20, 16.0)
    picture, ids = torch.rand(1, 3, 224, 384), vocabulary.tensor(["car"])
    with torch.inference_mode(), FlopCounterMode(display=False) as counted:
        features = network.encoder(picture)
    report("encoder_gflop", counted.get_total_flops() / 1e9)
    with torch.inference_mode():
        phrase = network.phrases(ids)[None]
        with FlopCounterMode(display=False) as counted:
            network.decoder(features, torch.tensor([0]), phrase, torch.ones(1, 1, dtype=torch.bool))
    report("decoder_gflop", counted.get_total_flops() / 1e9)
    with torch.inference_mode(), FlopCounterMode(display=False) as counted:
        network.generator.draw("street", vocabulary, 0)
    report("generator_gflop", counted.get_total_flops() / 1e9)


def parts(model: EmbeddedModel, network: Network) -> None:
    """CPU milliseconds a frame of the encoder, of the decoder for each prompt, of drawing and of reading back.

    Runs on one of the model's own threads, whose operators do not spread over cores.
    """
    image = pictures(1)[0]
    sight = model.sight
    prompts = [Prompt.parse(text) for text in TASKS]
    names = prompts[0].classes
    with torch.inference_mode():
        _, vocabulary = weights.load(WEIGHTS)
        phrases = network.phrases(vocabulary.tensor([*names, ""]))
        rows = [list(range(len(names))), [0, *[len(names)] * 5], [len(names)] * 6, [len(names)] * 6]
        vectors = torch.stack([phrases[row] for row in rows])
        keep = torch.tensor([[True] * 6, [True] + [False] * 5, [False] * 6, [False] * 6])
        words = [prompt.task.value for prompt in prompts]
        heads = ["masks", *words[1:]]
        tasks = [WORDS.index(word) for word in words]
        report("encoder_cpu_ms", best(lambda: sight.encode([image]))[1])
        features = sight.encode([image])
        report(
            "decoder_cpu_ms", best(lambda: list(sight.decode(features, tasks, heads, vectors, keep)))[1] / 4
        )
        maps = [each for each, _ in sight.decode(features, tasks, heads, vectors, keep)]
    drawn, sure = np.empty_like(image), np.empty(image.shape[:2], np.uint8)
    for word, each, prompt in zip(words, maps, prompts, strict=True):
        painted = best(
            lambda each=each, word=word, prompt=prompt: painting.paint(word, each, prompt, drawn, sure)
        )
        read = best(lambda prompt=prompt: codec_for(prompt).decode(drawn, prompt))
        report(f"{word}_drawing_cpu_ms", painted[1], codec_cpu_ms=round(read[1], 4))
    with torch.inference_mode():
        wall, cpu = best(lambda: network.generator.draw("street at night", vocabulary, 0))
    report("generator_ms", wall, cpu_ms=round(cpu, 1))


def alone(model: EmbeddedModel) -> None:
    """What k prompts on each of a batch of frames cost."""
    images = pictures(BATCH)
    single = 0.0
    for k in (1, 2, 4, 8):
        asked = [Prompt.parse(text) for text in (TASKS * 2)[:k]]
        prompts = [prompt for _ in range(BATCH) for prompt in asked]
        image_of = [frame for frame in range(BATCH) for _ in range(k)]
        wall, cpu = best(lambda image_of=image_of, prompts=prompts: model.render(images, image_of, prompts))
        single = single or cpu
        report(
            f"render_{k}_prompts_ms",
            wall / BATCH,
            cpu_ms=round(cpu / BATCH, 2),
            saved_against_separate_passes=round(1 - cpu / (k * single), 3),
        )


def in_pipeline(tasks: tuple[str, ...], max_frames: int = 300) -> tuple[float, float]:
    """Frames a second from a 1080p file to Parquet, start-up left out, and CPU seconds of the whole run."""
    from plantain.deploy.job import run_job
    from plantain.pipeline.config import check

    config = check(
        {
            "streams": [{"url": str(make_clip(CACHE / "clip-300.mp4", 300)), "max_frames": max_frames}],
            "prompts": list(tasks),
            "output": {"out": tempfile.mkdtemp(prefix="plantain-bench-")},
            "executor": "threads",
        }
    )
    begin = time.process_time()
    outcome = run_job(config)
    assert outcome.exit_code == 0, outcome
    return outcome.streams[0].account.results / outcome.wall_s, time.process_time() - begin


def main() -> None:
    """Prints the figures."""
    size()
    model = EmbeddedModel()
    network, _ = weights.load(WEIGHTS)
    network.to(memory_format=torch.channels_last, dtype=model.dtype)  # type: ignore[call-overload]
    model.sight.pool.submit(parts, model, network).result()
    alone(model)
    model.close()
    for figure, tasks, target in (("four_tasks_fps", TASKS, 30.0), ("one_task_fps", TASKS[:1], 60.0)):
        in_pipeline(tasks, 16)  # compiles what numba has not yet
        runs = [in_pipeline(tasks) for _ in range(min(3, ROUNDS))]
        short = in_pipeline(tasks, 100)[1]  # loading the model falls out of the difference
        cpu_ms = (min(cpu for _, cpu in runs) - short) / 200 * 1e3
        rate = statistics.median(fps for fps, _ in runs)
        bound = (os.cpu_count() or 1) * 1e3 / cpu_ms
        report(
            figure,
            rate,
            target,
            at_most=False,
            cpu_ms_per_frame=round(cpu_ms, 2),
            at_most_fps=round(bound, 1),
        )


if __name__ == "__main__":
    main()
