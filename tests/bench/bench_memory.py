"""Peak memory of the whole process tree, which must not depend on how long the clips are, or how many."""

import shutil
import tempfile
from pathlib import Path

from tests.bench.material import make_clip, report
from tests.bench.processes import watch

MIB = 1 << 20


def main() -> None:
    """Prints the figures."""
    for executor, limit_gb in (("threads", 1.5), ("ray", 2.5)):
        peaks = {}
        for num_frames in (300, 3000):
            out = tempfile.mkdtemp(prefix="plantain-bench-")
            try:
                command = ["tests.bench.bench_pipeline", executor, str(num_frames), out]
                usage = watch(command, memory=True)
            finally:
                shutil.rmtree(out, ignore_errors=True)
            peaks[num_frames] = usage.peak_bytes
            mib = {name: round(size / MIB) for name, size in sorted(usage.by_name.items())}
            report(f"{executor}_peak_gb_{num_frames}", usage.peak_bytes / 1e9, limit_gb, mib_by_process=mib)
        report(f"{executor}_peak_ratio_3000_to_300", peaks[3000] / peaks[300], 1.15)
    few, many = (_of_clips(count) for count in (20, 1000))
    report("peak_ratio_1000_to_20_clips", many / few, 1.1, mib=[round(each / MIB) for each in (few, many)])


def _of_clips(count: int) -> int:
    """Bytes that a run over clips of one picture takes, with their annotated videos."""
    with tempfile.TemporaryDirectory(prefix="plantain-bench-") as name:
        root = Path(name)
        clip = make_clip(root / "one.mp4", 1, (180, 320), b_frames=0, bit_rate=500_000)
        folder = root / "clips"
        folder.mkdir()
        for number in range(count):
            shutil.copy(clip, folder / f"{number}.mp4")
        command = ["plantain.deploy.cli", "run", str(folder), "--task", "instances:car", "--model", "fake"]
        return watch([*command, "--overlay", "--out", str(root / "out")], memory=True).peak_bytes


if __name__ == "__main__":
    main()
