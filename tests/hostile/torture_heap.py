#!/usr/bin/env python3
# timeout: 600
"""Each allocation and each system call of heap and leaks fails in turn: no crash, no hang, a text and an exit code, no sum that differs
from the truth unless the answer says that it is partial, and the target never left stopped or traced. TORTURE_SECONDS (default 20) is how
long each command is tried, widely spread first; TORTURE_SECONDS=0 visits all."""
import collections
import errno
import json
import os
import queue
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.environ["SRC"], "tests", "hostile"))
import _vmatlas  # noqa: E402
from _stop import held  # noqa: E402
from _vmatlas import FAIL_ALLOC, QUIET, is_asan, judge, parse, run, spread, tracer  # noqa: E402
from factory import Program  # noqa: E402
import tap  # noqa: E402

SECONDS = float(os.environ.get("TORTURE_SECONDS", 20)) or 1e9
LIMIT = 10
COMMANDS = {"heap": ("heap", "-J"), "leaks": ("leaks", "-J")}
TARGETS = 2
LOCK = threading.Lock()


def heap_problems(doc):
    if not doc["walked"]:
        return [] if doc["why_not"] else ["not walked, and no reason"]
    sums = {key: sum(a[key] for a in doc["arenas"] if a[key] is not None) for key in ("in_use", "free", "top", "mmapped")}
    return [f"{key}: arenas sum up to {value}, the total is {doc['totals'][key]}" for key, value in sums.items()
            if value != doc["totals"][key]]


def leaks_problems(doc):
    rows = sum(row["size"] for row in doc["leaks"])
    return [f"rows sum up to {rows}, the total is {doc['totals']['direct_bytes']}"] if rows != doc["totals"]["direct_bytes"] else []


_vmatlas.ROWS.update(heap="arenas", leaks="leaks")
_vmatlas._PROBLEMS.update(heap=heap_problems, leaks=leaks_problems)


class Target(Program):
    """leak_truth, and what is said of it when nothing fails."""

    def __init__(self):
        super().__init__([os.path.join(tap.BUILD, "tests/factory/leak_truth"), "1"])

    def started(self):
        self.pid = json.loads(self.lines[0])["pid"]
        self.truth = {command: parse(run(*words, self.pid, env=QUIET)) for command, words in COMMANDS.items()}


def judged(command, r, target, codes):
    """What is wrong with one answer, and with the target behind it."""
    with LOCK:
        codes[r.code] += 1
    is_verdict = command == "leaks" and r.code == 1
    found = judge(command, r._replace(code=0) if is_verdict else r)
    doc, truth = parse(r), target.truth[command]
    if not found and doc and r.code in (0, 1) and not doc["partial"] and doc.get("totals") != truth["totals"]:
        found.append(f"totals are {doc.get('totals')} ({doc.get('why_not')}), in truth {truth['totals']}")
    if b"Sanitizer" in r.err:
        found.append(r.err[-1500:].decode(errors="replace"))
    if held(target.pid, 10):
        found.append("the target is left stopped or traced, or with a child")
    return found


def report(t, what, result, count, codes, seconds):
    visited, wrong = result
    kinds = collections.Counter(w.partition(": ")[2][:160] for w in wrong)
    t.ok(not wrong, f"{what} fails in turn: no crash, no hang, nothing wrong",
         f"{len(wrong)} times\n" + "\n".join([f"{n} x {k}" for k, n in kinds.most_common(12)] + wrong[:12]))
    t.ok(visited >= min(count, 20), f"{what}: enough of them were visited", f"{visited} of {count}")
    t.diag(f"{what}: {visited} of {count} visited in {seconds:.0f} s, exit codes {dict(sorted(codes.items(), key=str))}")


def on_a_target(targets, function):
    """Only one may trace a process at a time, so each try has a target to itself."""
    target = targets.get()
    try:
        return function(target)
    finally:
        targets.put(target)


def torture_calls(t, command, targets, error, seconds):
    began, codes = time.monotonic(), collections.Counter()

    def logged(target):
        with tempfile.NamedTemporaryFile("r") as log:
            run(*COMMANDS[command], target.pid, wrap=tracer("-l", log.name), env=QUIET, timeout=60)
            return [int(line.split(" ", 1)[0]) for line in log]

    numbers = on_a_target(targets, logged)

    def work(n):
        return on_a_target(targets, lambda target: [f"({numbers[n - 1]}) {w}" for w in judged(
            command, run(*COMMANDS[command], target.pid, wrap=tracer("-n", n, "-e", error), env=QUIET, timeout=LIMIT), target, codes)])

    report(t, f"{command}: each system call, {errno.errorcode[error]},", spread(work, len(numbers), seconds), len(numbers), codes,
           time.monotonic() - began)


def torture_allocations(t, command, targets, goes_on, seconds):
    began, codes = time.monotonic(), collections.Counter()
    preload = {**QUIET, "LD_PRELOAD": FAIL_ALLOC}

    def counted(target):
        with tempfile.NamedTemporaryFile("r") as file:
            run(*COMMANDS[command], target.pid, env={**preload, "FAIL_ALLOC_COUNT": file.name})
            return int(file.read())

    count = on_a_target(targets, counted)

    def work(n):
        env = {**preload, "FAIL_ALLOC_AT": str(n), **({"FAIL_ALLOC_ON": "1"} if goes_on else {})}
        return on_a_target(targets, lambda target: judged(command, run(*COMMANDS[command], target.pid, env=env, timeout=LIMIT), target,
                                                          codes))

    report(t, f"{command}: each allocation{' and all after it' if goes_on else ''}", spread(work, count, seconds), count, codes,
           time.monotonic() - began)


def torture(t, command, targets):
    end = time.monotonic() + SECONDS
    torture_allocations(t, command, targets, False, SECONDS / 5)
    torture_allocations(t, command, targets, True, SECONDS / 5)
    errors = [errno.EIO, errno.ENOMEM, errno.EACCES, errno.EINTR]
    for i, error in enumerate(errors):
        torture_calls(t, command, targets, error, max(2, (end - time.monotonic()) / (len(errors) - i)))


t = tap.Tap()
if is_asan():
    for name in COMMANDS:
        t.skip(name, "the sanitizer dies when its own allocation for a thread fails")
    t.done()
pool, programs = queue.Queue(), [Target() for _ in range(TARGETS)]
try:
    for program in programs:
        program.__enter__()
        pool.put(program)
        t.ok(all(truth and not truth["partial"] for truth in program.truth.values()), "the truth is known", program.truth)
    for name in COMMANDS:
        t.section(torture, name, pool)
finally:
    for program in programs:
        program.__exit__(None, None, None)
t.done()
