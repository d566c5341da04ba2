#!/usr/bin/env python3
# timeout: 600
"""Each allocation and each system call of map, stacks, cow and pages fails in turn: no crash, no hang, a text and an exit code, and no
fact that differs from the truth unless the answer says that it is partial. TORTURE_SECONDS (default 25) is how long each command is
tried, widely spread first; TORTURE_SECONDS=0 visits all."""
import collections
import errno
import os
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.environ["SRC"], "tests", "hostile"))
from _vmatlas import COMMANDS, FAIL_ALLOC, QUIET, ROWS, is_asan, judge, parse, run, spread, tracer  # noqa: E402
from factory import Factory  # noqa: E402
import tap  # noqa: E402

SECONDS = float(os.environ.get("TORTURE_SECONDS", 25)) or 1e9
LIMIT = 10
LEAKS = {"ASAN_OPTIONS": "detect_leaks=1:verify_asan_link_order=0:allocator_may_return_null=1"}
# x86-64. What the sanitizer does for itself it cannot bear to fail.
MEMORY_CALLS = {9, 10, 11, 12, 13, 14, 25, 28, 56, 57, 131, 202, 218, 273, 302, 334, 435}
# Facts that stand in the documents and have to be right, or missing with a reason, or in an answer that is partial.
FACTS = {
    "map": ("size", "rss", "copied", "swap", "prot", "path", "offset", "page_size", "huge", "zero", "guard", "backing", "deleted"),
    "stacks": ("begin", "end", "size", "guard", "used", "resident", "high_water", "name", "state", "cached"),
    "pages": ("size", "present", "swapped", "file", "copied", "exclusive", "huge", "zero", "guard"),
    "cow": ("pages", "copied", "exclusive", "shared", "path"),
}
KEY = {"map": "start", "stacks": "tid", "pages": "start", "cow": "start"}


def by_page(doc):
    """The facts of each page: runs may be cut elsewhere where a fact is missing. Who else maps a file is not the target's affair."""
    return {a: [r[k] for k in FACTS["pages"] if k != "size" and not (k == "exclusive" and r["file"])]
            for r in doc["runs"] for a in range(int(r["start"], 16), int(r["end"], 16), 4096)}


def differences(command, doc, truth):
    """Facts of an answer that calls itself whole which are not those of the truth."""
    if doc["partial"]:
        return []
    if command == "pages":
        got, want = by_page(doc), by_page(truth)
        def fits(g, w):
            return g is not None and w is not None and len(g) == len(w) and all(x is None or x == y for x, y in zip(g, w))

        return [f"0x{a:x}: {got.get(a)}, in truth {want.get(a)}" for a in sorted(set(got) | set(want))
                if not fits(got.get(a), want.get(a))][:5]
    got = {r[KEY[command]]: r for r in doc[ROWS[command]]}
    want = {r[KEY[command]]: r for r in truth[ROWS[command]]}
    # Stacks that were found in another way say so: `method`, and `why` of each.
    is_other_way = doc.get("method") != truth.get("method")
    found = [f"{k}: {'missing' if k in want else 'made up'}" for k in set(got) ^ set(want) if not is_other_way or k in got]
    for k in set(got) & set(want):
        if command == "stacks" and got[k]["why"] != want[k]["why"]:
            continue
        found += [f"{k}: {fact} is {got[k].get(fact)!r}, in truth {want[k].get(fact)!r}" for fact in FACTS[command]
                  if got[k].get(fact) is not None and got[k].get(fact) != want[k].get(fact)]
    if "counters" in truth:
        found += [f"counters: {k} is {v}, in truth {truth['counters'][k]}" for k, v in doc["counters"].items()
                  if v is not None and k != "unknown" and v != truth["counters"][k]]
    return found[:5]


LOCK = threading.Lock()


def judged(command, r, truth, codes):
    with LOCK:
        codes[r.code] += 1
    found = judge(command, r)
    if r.code == 0 and not found:
        found = differences(command, parse(r), truth)
    elif not found and parse(r):
        found = [f"counters: {k} is {v}" for k, v in parse(r).get("counters", {}).items()
                 if v is not None and k != "unknown" and v != truth.get("counters", {}).get(k, v)]
    if b"Sanitizer" in r.err:
        found.append(r.err[-1500:].decode(errors="replace"))
    return found


def report(t, what, result, count, codes, seconds):
    visited, wrong = result
    kinds = collections.Counter(w.partition(": ")[2][:160] for w in wrong)
    t.ok(not wrong, f"{what} fails in turn: no crash, no hang, nothing wrong",
         f"{len(wrong)} times\n" + "\n".join([f"{n} x {k}" for k, n in kinds.most_common(12)] + wrong[:12]))
    t.ok(visited >= min(count, 30), f"{what}: enough of them were visited", f"{visited} of {count}")
    t.diag(f"{what}: {visited} of {count} visited in {seconds:.0f} s, exit codes {dict(sorted(codes.items(), key=str))}")


def logged_calls(command, pid):
    """The numbers of the system calls of a command, in their order."""
    with tempfile.NamedTemporaryFile("r") as log:
        run(*COMMANDS[command], pid, wrap=tracer("-l", log.name), env=QUIET, timeout=60)
        return [int(line.split(" ", 1)[0]) for line in log]


def torture_calls(t, command, pid, truth, error, seconds):
    began, codes = time.monotonic(), collections.Counter()
    numbers = logged_calls(command, pid)

    def work(n):
        if is_asan() and numbers[n - 1] in MEMORY_CALLS:
            return []
        r = run(*COMMANDS[command], pid, wrap=tracer("-n", n, "-e", error), env=QUIET, timeout=LIMIT)
        return [f"({numbers[n - 1]}) {w}" for w in judged(command, r, truth, codes)]

    report(t, f"{command}: each system call, {errno.errorcode[error]},", spread(work, len(numbers), seconds), len(numbers), codes,
           time.monotonic() - began)


def torture_allocations(t, command, pid, truth, goes_on, seconds):
    began, codes = time.monotonic(), collections.Counter()
    preload = {**QUIET, **LEAKS, "LD_PRELOAD": FAIL_ALLOC}
    with tempfile.NamedTemporaryFile("r") as file:
        run(*COMMANDS[command], pid, env={**preload, "FAIL_ALLOC_COUNT": file.name})
        count = int(file.read())

    def work(n):
        env = {**preload, "FAIL_ALLOC_AT": str(n), **({"FAIL_ALLOC_ON": "1"} if goes_on else {})}
        return judged(command, run(*COMMANDS[command], pid, env=env, timeout=LIMIT), truth, codes)

    report(t, f"{command}: each allocation{' and all after it' if goes_on else ''}", spread(work, count, seconds), count, codes,
           time.monotonic() - began)


def torture(t, command, pid):
    end = time.monotonic() + SECONDS
    truth = parse(run(*COMMANDS[command], pid, env=QUIET))
    t.ok(truth and not truth["partial"], f"{command}: the truth is known", truth)
    torture_allocations(t, command, pid, truth, False, end - time.monotonic())
    torture_allocations(t, command, pid, truth, True, max(2, end - time.monotonic()))
    errors = [errno.EIO, errno.ENOMEM, errno.EACCES, errno.EINTR]
    for i, error in enumerate(errors):
        torture_calls(t, command, pid, truth, error, max(2, (end - time.monotonic()) / (len(errors) - i)))


t = tap.Tap()
with Factory("cow") as f:
    time.sleep(0.2)
    for command in COMMANDS:
        if command != "stacks":
            t.section(torture, command, f.pid)
with Factory("threads", n=3, cached=1) as f:
    time.sleep(0.2)
    t.section(torture, "stacks", f.pid)
t.done()
