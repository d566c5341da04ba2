#!/usr/bin/env python3
"""The heap walk against programs that know the truth.

heap_truth keeps its own list of blocks and prints mallinfo2: every block must be a chunk in use of just its size,
and the walk's sums must be mallinfo2's. malloc_trim must give back what was foretold. A program that allocates flat out
must be walked without a finding, and a large sparse mapping must not be touched.
"""
# timeout: 240
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.environ["SRC"], "tests"))
import tap
from heap_check import heap, settings, trim, truth

t = tap.Tap()


def unchanged():
    """A sparse mapping of 64 GiB is as large in memory after the walk as before."""
    def resident(pid):
        return [line for line in open(f"/proc/{pid}/status") if line.startswith(("VmRSS", "VmPTE"))]

    with subprocess.Popen([os.path.join(tap.BUILD, "tests/factory/factory"), "sparse", "size=64g"], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, text=True) as process:
        process.stdout.readline()
        process.stdout.readline()
        before = resident(process.pid)
        doc = heap(t, process.pid)
        subprocess.run([tap.VMATLAS, "leaks", str(process.pid)], capture_output=True, timeout=60)
        after = resident(process.pid)
        process.stdin.close()
    t.ok(doc and (doc["walked"] or "ever used" in doc["why_not"]), "a program with a sparse mapping of 64 GiB: is answered")
    t.is_(after, before, "a program with a sparse mapping of 64 GiB: resident memory and page tables are as before")


def busy(walks):
    """A program that allocates flat out: it is stopped, so each walk is whole and without a finding."""
    with subprocess.Popen([os.path.join(tap.BUILD, "tests/factory/heap_churn"), "4"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          text=True) as process:
        process.stdout.readline()
        docs = [heap(t, process.pid) for _ in range(walks)]
        state = open(f"/proc/{process.pid}/status").read()
        out, _ = process.communicate("", timeout=20)
    bad = [d and d["findings"] for d in docs if not d or d["findings"] or not all(a["complete"] for a in d["arenas"] if a["kind"] != "mapped")]
    t.is_(bad, [], f"{walks} walks of a program that allocates flat out in 4 threads")
    t.ok("TracerPid:\t0" in state and int(out) > 10000, "it went on all the while")
    stops = sorted(d["stopped_ns"] / 1e6 for d in docs if d)
    t.diag(f"stopped for {stops[len(stops) // 2]:.1f} ms (median), {stops[-1]:.1f} ms (most)")


truth(t, "one thread", 1, 100000, "-")
truth(t, "one thread, mixed", 1, 60000, "m")
truth(t, "eight threads, mixed", 8, 30000, "m")
truth(t, "eight threads, small", 8, 60000, "s")
truth(t, "forked child", 4, 20000, "fm")
trim(t, "64 bit", 30000)
settings(t, "64 bit")
busy(60)
unchanged()
t.done()
