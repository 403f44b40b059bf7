"""Memory of `tpsctl train`'s reader against the length of a trajectory: a synthetic DCD file of the size asked for.

    python -m benchmarks.long_trajectory recipes/alanine_dipeptide/c7eq.pdb --gigabytes 10 --folder /tmp

The file is written frame by frame (a structure with noise), read as training reads it, and removed. Free space on the
disk is checked first. It prints size, frames, seconds and the peak of resident memory before and after.
"""

import argparse
import json
import resource
import shutil
import sys
import time
from pathlib import Path

import numpy as np

_FRAMES_AT_ONCE = 20_000


def write_trajectory(structure: Path, file: Path, gigabytes: float) -> int:
    """Write a DCD file of about this size, and return its number of frames."""
    import mdtraj
    from mdtraj.formats import DCDTrajectoryFile

    x = 10 * mdtraj.load(str(structure)).xyz[0]
    generator, frames = np.random.default_rng(0), 0
    with DCDTrajectoryFile(str(file), "w") as out:
        while frames * 12 * len(x) < gigabytes * 1e9:
            noise = 0.03 * generator.standard_normal((_FRAMES_AT_ONCE, *x.shape), dtype=np.float32)
            out.write(x + noise)
            frames += _FRAMES_AT_ONCE
    return frames


def peak_mb() -> float:
    """Largest resident memory of this process so far, MB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e6 if sys.platform == "darwin" else 1e3)


def main() -> None:
    """Write, read, report, remove."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("structure", type=Path)
    parser.add_argument("--gigabytes", type=float, default=10.0)
    parser.add_argument("--folder", type=Path, default=Path("."))
    parser.add_argument("--most-frames", type=int, default=100_000)
    options = parser.parse_args()
    free = shutil.disk_usage(options.folder).free / 1e9
    if free < 1.5 * options.gigabytes:
        raise SystemExit(f"{options.folder}: {free:.1f} GB free, expected at least {1.5 * options.gigabytes:.1f} GB.")
    file = options.folder / "long_trajectory.dcd"
    try:
        frames = write_trajectory(options.structure, file, options.gigabytes)
        from tpsctl.endpoints.streaming import stream_ensemble

        before, started = peak_mb(), time.monotonic()
        found = stream_ensemble([file], topology=options.structure, most_frames=options.most_frames)
        report = {
            "gigabytes": round(file.stat().st_size / 1e9, 2),
            "frames": frames,
            "kept": len(found.trajectories[0]),
            "stride": found.stride,
            "seconds": round(time.monotonic() - started, 1),
            "peak_mb_before": round(before),
            "peak_mb": round(peak_mb()),
        }
        print(json.dumps(report))
    finally:
        file.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
