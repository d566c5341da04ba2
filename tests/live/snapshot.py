#!/usr/bin/env python3
# timeout: 240
"""heap and leaks by a copy of the process (--snapshot) say what they say of the process itself, and hold to the limit of the stop."""
import json
import os
import re
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.environ["SRC"], "tests"))
import tap

FACTORY = os.path.join(tap.BUILD, "tests/factory")
SPARSE = """
import mmap, sys
m = mmap.mmap(-1, 64 << 30, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000)
for at in range(0, 64 << 30, 1 << 30):
    m[at] = 1
kept = [b"x" * 1000 for _ in range(1000)]
print("ready", flush=True)
sys.stdin.read()
"""
# A chunk whose size leads out of its heap: a finding in each walk, however often it is made.
BROKEN = """
import ctypes, sys
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
blocks = [libc.malloc(5000) for _ in range(8)]
ctypes.c_uint64.from_address(blocks[4] - 8).value = 0x7f0000000001
print("ready", flush=True)
import time
while True:
    time.sleep(1)
"""
# The only addresses of 100 blocks lie in shared memory; then, after a line of input, nowhere.
SHARED = """
import ctypes, mmap, sys
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
m = mmap.mmap(-1, 4096)
words = (ctypes.c_uint64 * 512).from_buffer(m)
for i in range(100):
    words[i] = libc.malloc(5432)
print("ready", flush=True)
sys.stdin.readline()
for i in range(100):
    words[i] = 0
print("ready", flush=True)
sys.stdin.read()
"""
# The heap is kept from forks, or empty in them.
ADVISED = """
import ctypes, sys
libc = ctypes.CDLL(None)
kept = [b"x" * 1000 for _ in range(1000)]
with open("/proc/self/maps") as file:
    heap = next(line for line in file if line.endswith("[heap]\\n"))
start, end = (int(word, 16) for word in heap.split()[0].split("-"))
assert libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), int(sys.argv[1])) == 0
print("ready", flush=True)
sys.stdin.read()
"""
FILTERED = """
import ctypes, struct, sys
libc = ctypes.CDLL(None)
code = ctypes.create_string_buffer(struct.pack("HBBI", 6, 0, 0, 0x7fff0000))
program = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", 1, ctypes.addressof(code)))
assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, program) == 0
print("ready", flush=True)
sys.stdin.read()
"""


def run(command, pid, *options):
    done = subprocess.run([tap.VMATLAS, command, "-J", *options, str(pid)], capture_output=True, text=True, timeout=60)
    return (json.loads(done.stdout) if done.stdout else None), done.returncode, done.stderr


def started(argv):
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    line = ""
    while not line.startswith("ready"):
        line = process.stdout.readline()
        if not line:
            raise RuntimeError(f"{argv} ended")
    return process


def ended(process):
    process.kill()
    process.wait()
    process.stdin.close()
    process.stdout.close()


def same(t, command, name, argv, keys):
    process = started(argv)
    plain, code, err = run(command, process.pid)
    copy, copy_code, copy_err = run(command, process.pid, "--snapshot")
    children = open(f"/proc/{process.pid}/task/{process.pid}/children").read()
    ended(process)
    if not t.ok(plain and copy, f"{name}: both are answered", f"{code} {err} {copy_code} {copy_err}"):
        return
    t.is_((copy["snapshot"], copy["no_snapshot_why"], copy["partial"]), (True, None, False), f"{name}: the copy was read")
    t.is_(copy_code, code, f"{name}: the same exit status")
    for key in keys:
        t.is_(copy[key], plain[key], f"{name}: the same {key}")
    t.is_(children, "", f"{name}: no child is left")
    t.ok(all(d["stopped_ns"] > 0 and d["stop_estimate_ns"] > 0 for d in (plain, copy)), f"{name}: the stop and its estimate are told")
    told = re.search(r"for about ([0-9.]+) ms", copy_err)
    t.ok(told and abs(float(told.group(1)) - copy["stop_estimate_ns"] / 1e6) < 0.1, f"{name}: the estimate is printed before", copy_err)
    t.diag(f"{name}: {plain['stopped_ns'] / 1e6:.1f} ms plain (expected {plain['stop_estimate_ns'] / 1e6:.1f}), "
           f"{copy['stopped_ns'] / 1e6:.1f} ms by a copy (expected {copy['stop_estimate_ns'] / 1e6:.1f})")


def check_same(t):
    heap_keys = ("arenas", "totals", "histogram", "pinned", "findings_total", "trim_threshold", "mmap_threshold")
    with tempfile.NamedTemporaryFile(prefix="vmatlas-snapshot-") as blocks:
        for threads, count in ((1, 60000), (8, 20000)):
            same(t, "heap", f"heap_truth, {threads} threads", [f"{FACTORY}/heap_truth", str(threads), str(count), "1", blocks.name],
                 heap_keys)
    for scale in (1, 50):
        same(t, "leaks", f"leak_truth, scale {scale}", [f"{FACTORY}/leak_truth", str(scale)], ("totals", "groups", "leaks"))


def check_busy(t, walks):
    process = subprocess.Popen([f"{FACTORY}/heap_churn", "4"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    process.stdout.readline()
    answers = [run("heap", process.pid, "--snapshot") for _ in range(walks)]
    out, _ = process.communicate("", timeout=20)
    bad = [(doc and doc["findings"], err) for doc, _, err in answers if not doc or doc["findings_total"] or not doc["snapshot"]]
    t.is_(bad, [], f"{walks} copies of a program that allocates flat out in 4 threads: no findings")
    t.ok(int(out) > 1000, "it went on all the while")


def memory(pid):
    with open(f"/proc/{pid}/status", encoding="utf-8") as file:
        return {line.split()[0]: int(line.split()[1]) for line in file if line.startswith(("VmRSS", "VmPTE", "VmSwap"))}


def check_sparse(t):
    process = started(["/usr/bin/python3", "-c", SPARSE])
    # What it does itself when it goes on for the first time, it may touch pages for.
    run("heap", process.pid)
    run("heap", process.pid, "--snapshot")
    for options in ((), ("--snapshot",)):
        for command in ("heap", "leaks"):
            before, begin = memory(process.pid), time.monotonic()
            doc, code, err = run(command, process.pid, *options)
            took, after = time.monotonic() - begin, memory(process.pid)
            name = f"64 GiB sparse: {command} {' '.join(options)}"
            t.ok(doc and code in (0, 1), f"{name}: is answered", err)
            t.is_(after, before, f"{name}: resident memory and page tables are as before")
            t.ok(took < 10, f"{name}: at once", took)
            t.diag(f"{name}: {took:.2f} s, stopped for {doc['stopped_ns'] / 1e6:.1f} ms")
    ended(process)


def check_limit(t):
    with tempfile.NamedTemporaryFile(prefix="vmatlas-snapshot-") as blocks:
        process = started([f"{FACTORY}/heap_truth", "4", "60000", "1", blocks.name])
        for command in ("heap", "leaks"):
            _, code, err = run(command, process.pid, "--max-stop", "1")
            t.ok(code == 4 and "was not stopped" in err and "stops it" not in err,
                 f"{command}: what is expected to be above --max-stop is not begun", f"{code} {err}")
        ended(process)
    process = started(["/usr/bin/python3", "-c", BROKEN])
    limit_ms = 40
    doc, code, err = run("heap", process.pid, "--max-stop", str(limit_ms))
    t.ok(code == 4 or (doc["findings_total"] > 0 and doc["stopped_ns"] <= limit_ms * 1.5e6),
         "a broken heap is walked again only within the limit", f"{code} {err} {doc and doc['stopped_ns']}")
    ended(process)


def check_refused(t):
    process = started(["/usr/bin/python3", "-c", FILTERED])
    doc, code, err = run("heap", process.pid, "--snapshot")
    t.ok(code == 0 and doc["walked"] and not doc["snapshot"] and "seccomp" in doc["no_snapshot_why"],
         "with a filter of system calls: the process itself is read, and the reason is told", f"{code} {err}")
    ended(process)


def check_shared(t):
    """What is not copied is read from the process itself: memory that is shared."""
    process = started(["/usr/bin/python3", "-c", SHARED])
    lost = []
    for is_cleared in (False, True):
        if is_cleared:
            process.stdin.write("\n")
            process.stdin.flush()
            process.stdout.readline()
        doc, _, err = run("leaks", process.pid, "--snapshot")
        t.ok(doc and doc["snapshot"] and not doc["partial"], "addresses in shared memory: the copy was read", err)
        lost.append(sum(leak["size"] >= 5432 and leak["size"] < 5500 for leak in doc["leaks"]))
    t.is_(lost[0], 0, "blocks whose address lies in shared memory have not leaked")
    t.ok(lost[1] >= 95, "they have when it does not any more", lost)
    ended(process)


def check_advised(t):
    for name, advice in (("MADV_DONTFORK", 10), ("MADV_WIPEONFORK", 18)):
        process = started(["/usr/bin/python3", "-c", ADVISED, str(advice)])
        plain, _, _ = run("heap", process.pid)
        copy, code, err = run("heap", process.pid, "--snapshot")
        t.ok(copy and copy["snapshot"] and copy["partial"] and "MADV_DONTFORK" in copy["partial_why"],
             f"{name} on the heap: the answer is partial, with the reason", f"{code} {err} {copy and copy['partial_why']}")
        t.is_(copy["totals"], plain["totals"], f"{name} on the heap: it is read from the process itself")
        ended(process)


t = tap.Tap()
t.section(check_same)
t.section(check_shared)
t.section(check_advised)
t.section(check_busy, 20)
t.section(check_sparse)
t.section(check_limit)
t.section(check_refused)
t.done()
