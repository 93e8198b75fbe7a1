#!/usr/bin/env python3
"""Measures `cargo local` on a fresh clone: cold, warm, and after a change to the worker.

Each run clones HEAD, downloads the crates (untimed), and starts with an empty target directory and an empty
LANDFALL_CACHE. The crates of the local MongoDB and the Python packages are downloaded within the first timed run,
unless cargo's and pip's own caches already hold them.
"""

import argparse
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

WORKSPACE = pathlib.Path(__file__).resolve().parents[2]
WORKER = "functions/worker/src/handler.rs"
STACK_IS_UP = b"The stack is running."
COLUMNS = ["first line", "longest silence", "stack is up", "file ingested"]


def measure(clone: pathlib.Path, environment: dict[str, str]) -> list[float]:
    """Runs `cargo local --once` and returns the seconds of each of COLUMNS."""
    start = last = time.monotonic()
    first = up = None
    silence = 0.0
    process = subprocess.Popen(
        ["cargo", "local", "--once", "--sql", "sqlite"],
        cwd=clone,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    lines = []
    for line in process.stdout:
        now = time.monotonic()
        lines.append(line)
        silence = max(silence, now - last)
        first = first or now - start
        if up is None and line.startswith(STACK_IS_UP):
            up = now - start
        last = now
    if process.wait() != 0 or up is None:
        sys.stderr.buffer.write(b"".join(lines[-60:]))
        sys.exit("cargo local failed")
    return [first, silence, up, time.monotonic() - start]


def run(directory: pathlib.Path) -> dict[str, list[float]]:
    """Measures one fresh clone."""
    clone = directory / "clone"
    subprocess.run(["git", "clone", "--quiet", WORKSPACE, clone], check=True)
    subprocess.run(["cargo", "fetch", "--quiet", "--locked"], cwd=clone, check=True)
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in ("CARGO_TARGET_DIR", "LANDFALL_ZIPS")
    }
    environment["LANDFALL_CACHE"] = str(directory / "cache")
    results = {"cold": measure(clone, environment)}
    results["warm"] = measure(clone, environment)
    with open(clone / WORKER, "a", encoding="utf-8") as worker:
        worker.write("\n// Changed.\n")
    results["worker changed"] = measure(clone, environment)
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3, help="number of fresh clones [default: 3]")
    runs = []
    for number in range(parser.parse_args().runs):
        # In the target directory, because the system's temporary directory may be small or in memory.
        (WORKSPACE / "target").mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="first-run-", dir=WORKSPACE / "target") as directory:
            runs.append(run(pathlib.Path(directory)))
        print(f"run {number + 1}:", *(f"{case} {times[-1]:.1f} s;" for case, times in runs[-1].items()))
    print(f"\nMedians of {len(runs)} on {os.cpu_count()} cores, in seconds:\n")
    print("| |", " | ".join(COLUMNS), "|")
    print("|---|", "---|" * len(COLUMNS), sep="")
    for case in runs[0]:
        medians = [statistics.median(times) for times in zip(*(run[case] for run in runs))]
        print(f"| {case} |", " | ".join(f"{median:.1f}" for median in medians), "|")


if __name__ == "__main__":
    main()
