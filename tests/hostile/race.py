#!/usr/bin/env python3
# timeout: 400
"""A target that maps, unmaps, moves, starts threads, forks and executes itself as fast as it can, read all the while: never a crash,
always a right document, sums that fit their rows, and what is not whole says so. RACE_SECONDS (default 20; CI takes 60)."""
import collections
import concurrent.futures
import os
import sys
import time

sys.path.insert(0, os.path.join(os.environ["SRC"], "tests", "hostile"))
from _vmatlas import COMMANDS, ROWS, judge, parse, run  # noqa: E402
from factory import Factory  # noqa: E402
import tap  # noqa: E402

SECONDS = float(os.environ.get("RACE_SECONDS", 20))
KINDS = [
    ("maps, threads and forks", {"pause_us": 0}),
    ("the same, with pauses", {"pause_us": 2000}),
    ("execs", {"exec": 1, "exec_every_ms": 10, "pause_us": 200}),
    ("execs of a process that holds still else", {"exec": 1, "exec_every_ms": 10, "maps": 0, "threads": 0, "forks": 0}),
]
MORE = {"map": ("--csv", "-O"), "cow": ("--ranges",)}


def statm_bytes(pid):
    with open(f"/proc/{pid}/statm", encoding="ascii") as file:
        return int(file.read().split()[0]) * 4096


def watch(command, pid, end):
    """Runs a command again and again. How often, how it ended, and what was wrong."""
    ends, wrong = collections.Counter(), []
    while time.monotonic() < end:
        r = run(*COMMANDS[command], pid)
        found = judge(command, r)
        if r.code not in (0, 3):
            found.append(f"exit code {r.code}: {r.err!r}")
        doc = parse(r) if r.code == 0 else None
        ends["gone" if r.code == 3 else "partial" if doc and doc["partial"] else "whole"] += 1
        # Amid an exec there is a stack, and perhaps what the kernel maps, and nothing else yet.
        if doc and command == "map" and not doc["partial"] and not any("/factory" in x["path"] for x in doc["regions"]) and \
                any(x["backing"] == "file" for x in doc["regions"]):
            found.append(f"whole, and without the program itself: {[(x['start'], x['path']) for x in doc['regions']]}")
        if doc and not doc["partial"] and not doc[ROWS[command]] and command != "cow":
            found.append("whole, and empty")
        wrong += found
        if command in MORE:
            r = run(command, *MORE[command], pid)
            if r.code not in (0, 3):
                wrong.append(f"{command} {MORE[command]}: exit code {r.code}: {r.err!r}")
    return ends, wrong


def check_kind(t, name, options):
    with Factory("churn", **options) as f:
        end = time.monotonic() + SECONDS / len(KINDS)
        with concurrent.futures.ThreadPoolExecutor(len(COMMANDS)) as pool:
            tasks = {c: pool.submit(watch, c, f.pid, end) for c in COMMANDS}
            for command, task in tasks.items():
                ends, wrong = task.result()
                t.ok(not wrong and sum(ends.values()), f"{name}: {command} is right every time",
                     f"{len(wrong)} times wrong\n" + "\n".join(wrong[:10]))
                t.diag(f"{name}: {command}: {dict(ends)}")
        made = f.cmd("s")
        want = [k for k in ("maps", "threads", "forks") if options.get(k, 1)] + (["execs"] if options.get("exec") else [])
        t.ok(all(made[k] > 5 for k in want), f"{name}: the target was not idle", made)
        t.diag(f"{name}: the target did {made}")


def check_still(t):
    """With a target that holds still every answer is whole: what is partial above is so because of the target."""
    with Factory("threads", n=5) as f:
        for command in COMMANDS:
            r = run(*COMMANDS[command], f.pid)
            t.ok(not judge(command, r) and not parse(r)["partial"], f"{command} of a target that holds still is whole", judge(command, r))
        doc = parse(run("map", "-J", f.pid))
        t.is_(sum(r["size"] for r in doc["regions"] if r["path"] != "[vsyscall]"), statm_bytes(f.pid), "and its sizes add up to statm")


t = tap.Tap()
t.section(check_still)
for kind in KINDS:
    t.section(check_kind, *kind)
t.done()
