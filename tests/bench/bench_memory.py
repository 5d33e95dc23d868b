"""Peak memory of the whole process tree, which must not depend on how long the clips are."""

import shutil
import tempfile

from tests.bench.material import report
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


if __name__ == "__main__":
    main()
