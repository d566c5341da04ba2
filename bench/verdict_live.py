#!/usr/bin/env python3
"""Precision and recall of the verdicts over living processes: part of `make bench-verdict`.

Each behaviour of tests/factory/behaviour.c runs as a process, its time scaled from hours to seconds, and `vmatlas check` judges it
as it would any other: through the real sampler, the real maps and the real heap. --seeds N, --first N, --only REGEX, --for SECONDS,
--jobs N side by side. Prints each miss. Leaks are promised to be found from twice the stated floor on: a process says at its end how fast it
really lost memory, and who was slower than that is counted apart. A machine that is too busy to let the programs run makes misses that
are none of the judge's: the load stands in the last line.
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
    "leak": "leak", "leak_slow": "leak", "leak_faint": "leak", "leak_cycle": "leak", "fragment": "fragmentation", "arenas": "fragmentation",
    "threads": "stacks", "unjoined": "stacks", "mappings": "mappings", "touched": "mappings", "untouched": "mappings",
    "churn_mmap": "fault_churn", "churn_trim": "fault_churn", "churn_dontneed": "fault_churn", "churn_fork": "fault_churn",
    "churn_file": "fault_churn", "churn_stack": "fault_churn", "churn_split": "fault_churn",
}
GROWTH = {"leak", "fragmentation", "stacks", "mappings"}
CAUSES = {
    "churn_mmap": "mmap_churn", "churn_trim": "trim_churn", "churn_dontneed": "dontneed", "churn_fork": "fork_copy",
    "churn_file": "file_read", "churn_stack": "stack_growth", "churn_split": "huge_split",
}
FLOORS_PROMISED = 2
CANNOT = 77


def judge(mode, seed, seconds):
    """What `vmatlas check` says of a process of that behaviour, with the rate at which it really lost memory."""
    command = [BUILD / "tests/factory/behaviour", mode, "10", str(seed)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        if not process.stdout.readline():
            return {"verdict": "skipped" if process.wait() == CANNOT else "error", "sentence": process.stderr.read().strip(), "findings": []}
        done = subprocess.run([BUILD / "vmatlas", "check", "-J", "--for", f"{seconds}s", str(process.pid)], capture_output=True, text=True)
        process.stdin.close()
        end = process.stdout.read()
    try:
        doc, truth = json.loads(done.stdout), json.loads(end)
    except ValueError:
        return {"verdict": "error", "sentence": done.stderr.strip() or f"the process ended with: {end}", "findings": []}
    doc["lost_per_s"] = truth["lost_bytes"] / truth["seconds"]
    return doc


def cause_of(doc):
    """The weightiest cause of faults that was found."""
    causes = [finding["id"].removeprefix("faults.") for finding in doc["findings"] if finding["id"].startswith("faults.")]
    return next((cause for cause in causes if cause not in ("churn", "many")), "none")


def is_below_floor(mode, doc):
    """Is it a leak too slow for this span to be promised anything?"""
    return TRUTH[mode] == "leak" and "lost_per_s" in doc and doc["lost_per_s"] < FLOORS_PROMISED * (doc["floor_bytes_per_s"] or 0)


def rates(counts, name):
    """(precision, recall, true ones) of a name in counts of (truth, told)."""
    told = sum(n for (_, said), n in counts.items() if said == name)
    true = sum(n for (truth, _), n in counts.items() if truth == name)
    right = counts[name, name]
    return right / told if told else float("nan"), right / true if true else float("nan"), true


def table(head, counts, names):
    print(f"\n{head:18} {'PRECISION':>10} {'RECALL':>10} {'RUNS':>6}")
    for name in names:
        precision, recall, true = rates(counts, name)
        print(f"{name:18} {precision:10.3f} {recall:10.3f} {true:6}")


def report(verdicts, causes):
    """True when what is promised of series holds for processes, too."""
    table("VERDICT", verdicts, sorted({name for pair in verdicts for name in pair}))
    if causes:
        table("CAUSE OF CHURN", causes, sorted({name for pair in causes for name in pair}))
    good = sum(n for (truth, _), n in verdicts.items() if truth not in GROWTH)
    alarms = sum(n for (truth, said), n in verdicts.items() if truth not in GROWTH and said in GROWTH)
    _, recall, leaks = rates(verdicts, "leak")
    print(f"\nfalse alarms: {alarms} of {good} processes without growth; load average {os.getloadavg()[0]:.1f}")
    return (not leaks or recall >= 0.95) and alarms <= 0.02 * good


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
    verdicts, causes, right, judged, below = (collections.Counter() for _ in range(5))
    floors = collections.defaultdict(list)
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        for (mode, seed), doc in zip(runs, pool.map(lambda run: judge(*run, args.seconds), runs)):
            told = doc["verdict"]
            if told == "skipped":
                print(f"  skipped: {mode}, seed {seed}: {doc['sentence']}", flush=True)
                continue
            if is_below_floor(mode, doc):
                below[mode] += 1
                print(f"  below {FLOORS_PROMISED} floors: {mode}, seed {seed}: {doc['lost_per_s'] / 1024:.0f} KiB/s: {doc['sentence']}", flush=True)
                continue
            judged[mode] += 1
            if TRUTH[mode] == "leak" and doc.get("floor_bytes_per_s"):
                floors[mode].append(doc["lost_per_s"] / doc["floor_bytes_per_s"])
            verdicts[TRUTH[mode], told] += 1
            right[mode] += told == TRUTH[mode]
            if mode in CAUSES:
                causes[CAUSES[mode], cause_of(doc)] += 1
            if told != TRUTH[mode] or (mode in CAUSES and cause_of(doc) != CAUSES[mode]):
                print(f"  miss: {mode}, seed {seed}: {doc['sentence']}{', cause: ' + cause_of(doc) if mode in CAUSES else ''}", flush=True)
            if args.verbose:
                for finding in doc["findings"]:
                    print(f"    {mode} {finding['severity']} {finding['id']}: {finding['evidence']}", flush=True)
    for mode, truth in TRUTH.items():
        if judged[mode] or below[mode]:
            apart = f", by {min(floors[mode]):.1f} to {max(floors[mode]):.1f} floors" if floors[mode] else ""
            apart += f"; below {FLOORS_PROMISED} floors: {below[mode]}" if below[mode] else ""
            print(f"{mode:24} {truth:18} {right[mode]:3} of {judged[mode]}{apart}")
    return 0 if report(verdicts, causes) else 1


if __name__ == "__main__":
    raise SystemExit(main())
