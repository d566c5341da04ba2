#!/usr/bin/env python3
"""Precision and recall of the verdicts over living processes: part of `make bench-verdict`.

Each behaviour of tests/factory/behaviour.c runs as a process, its time scaled from hours to seconds, and `vmatlas check` judges it
as it would any other: through the real sampler, the real maps and the real heap. --seeds N, --first N, --only REGEX, --for SECONDS,
--jobs N side by side. Prints each miss. A machine that is too busy to let the programs sleep evenly makes misses that are none
of the judge's: the load stands in the last line.
"""
import argparse
import collections
import concurrent.futures
import json
import os
import pathlib
import re
import subprocess

SRC = pathlib.Path(__file__).resolve().parent.parent
BUILD = SRC / os.environ.get("BUILD", "build")

TRUTH = {
    "flat": "stable", "noisy": "stable", "warm": "stable", "step": "stable", "cycle": "stable", "cache": "cache_filling",
    "leak": "leak", "leak_slow": "leak", "leak_cycle": "leak", "fragment": "fragmentation", "arenas": "fragmentation",
    "threads": "stacks", "unjoined": "stacks", "mappings": "mappings", "touched": "mappings", "untouched": "mappings",
    "churn_mmap": "fault_churn", "churn_trim": "fault_churn", "churn_dontneed": "fault_churn",
}
GROWTH = {"leak", "fragmentation", "stacks", "mappings"}


def judge(mode, seed, seconds):
    """What `vmatlas check` says of a process of that behaviour."""
    with subprocess.Popen([BUILD / "tests/factory/behaviour", mode, "10", str(seed)], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        done = subprocess.run([BUILD / "vmatlas", "check", "-J", "--for", f"{seconds}s", str(process.pid)], capture_output=True, text=True)
        process.stdin.close()
    try:
        return json.loads(done.stdout)
    except ValueError:
        return {"verdict": "error", "sentence": done.stderr.strip(), "findings": []}


def report(counts):
    """A row for each verdict; True when what is promised of series holds for processes, too."""
    good = alarms = 0
    recall_leak = 1.0
    print(f"\n{'VERDICT':18} {'PRECISION':>10} {'RECALL':>10} {'RUNS':>6}")
    for verdict in sorted(set(TRUTH.values()) | {told for _, told in counts}):
        told = sum(n for (_, said), n in counts.items() if said == verdict)
        true = sum(n for (truth, _), n in counts.items() if truth == verdict)
        right = counts[verdict, verdict]
        if verdict not in GROWTH:
            good += true
            alarms += sum(n for (truth, said), n in counts.items() if truth == verdict and said in GROWTH)
        if verdict == "leak" and true:
            recall_leak = right / true
        print(f"{verdict:18} {right / told if told else float('nan'):10.3f} {right / true if true else float('nan'):10.3f} {true:6}")
    print(f"false alarms: {alarms} of {good} processes without growth; load average {os.getloadavg()[0]:.1f}")
    return recall_leak >= 0.95 and alarms <= 0.02 * good


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--only", default="")
    parser.add_argument("--for", type=int, default=30, dest="seconds")
    parser.add_argument("--jobs", type=int, default=12)
    parser.add_argument("--verbose", action="store_true")
    args = parser.parse_args()
    runs = [(mode, seed) for seed in range(args.first, args.first + args.seeds) for mode in TRUTH if re.search(args.only, mode)]
    counts, right = collections.Counter(), collections.Counter()
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        for (mode, seed), doc in zip(runs, pool.map(lambda run: judge(*run, args.seconds), runs)):
            counts[TRUTH[mode], doc["verdict"]] += 1
            right[mode] += doc["verdict"] == TRUTH[mode]
            if doc["verdict"] != TRUTH[mode]:
                print(f"  miss: {mode}, seed {seed}: {doc['sentence']}", flush=True)
            if args.verbose:
                for finding in doc["findings"]:
                    print(f"    {mode} {finding['severity']} {finding['id']}: {finding['evidence']}", flush=True)
    for mode, truth in TRUTH.items():
        if any(mode == run[0] for run in runs):
            print(f"{mode:24} {truth:18} {right[mode]:3} of {args.seeds}")
    return 0 if report(counts) else 1


if __name__ == "__main__":
    raise SystemExit(main())
