#!/usr/bin/env python3
"""The same set of leaks as LeakSanitizer finds in a rebuilt copy of the program: block by block, by their numbers.

Each block of the program has a size of its own. LSan sees the copy from inside, at its exit; vmatlas the ordinary build, from outside.
"""
# timeout: 60
import json
import os
import re
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.environ["SRC"], "tests"))
import tap

SOURCE = os.path.join(tap.SRC, "tests/factory/leak_ids.c")
t = tap.Tap()


def by_lsan(folder):
    subprocess.run(["gcc", "-g", "-O1", "-fsanitize=leak", "-pthread", "-o", f"{folder}/lsan", SOURCE], check=True)
    done = subprocess.run([f"{folder}/lsan", "exit"], capture_output=True, text=True, timeout=30,
                          env=dict(os.environ, LSAN_OPTIONS="report_objects=1:exitcode=0:max_leaks=0"))
    return {int(size) for size in re.findall(r"^0x[0-9a-f]+ \((\d+) bytes\)$", done.stderr, re.M)}, done.stderr


def by_vmatlas(folder):
    subprocess.run(["gcc", "-g", "-O1", "-pthread", "-o", f"{folder}/plain", SOURCE], check=True)
    with subprocess.Popen([f"{folder}/plain"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        pid = process.stdout.readline().strip()
        blocks = []
        for line in process.stdout:
            if line == "ready\n":
                break
            blocks.append(line.split())
        found, states = set(), {}
        for first in range(0, len(blocks), 200):
            addrs = [addr for _, addr in blocks[first:first + 200]]
            done = subprocess.run([tap.VMATLAS, "explain", "-J", pid, *addrs], capture_output=True, text=True)
            for (size, _), place in zip(blocks[first:], json.loads(done.stdout)["places"]):
                states[int(size)] = (place["reach"], place["block_offset"], [r["root"] for r in place["referrers"]])
                if place["reach"] and place["reach"].startswith("leaked"):
                    found.add(int(size))
        totals = json.loads(subprocess.run([tap.VMATLAS, "leaks", "-J", pid], capture_output=True, text=True).stdout)["totals"]
        process.kill()
    return found, states, totals


with tempfile.TemporaryDirectory(prefix="vmatlas-lsan.") as folder:
    lsan, report = by_lsan(folder)
    ours, states, totals = by_vmatlas(folder)
t.ok(len(lsan) > 250 and "LeakSanitizer" in report, f"LSan finds {len(lsan)} of them", report[:500])
t.ok(all(offset == 0 for _, offset, _ in states.values()), "vmatlas finds each block at its address")
extra, missing = ours - lsan, lsan - ours
t.is_([(s, states[s]) for s in sorted(extra)], [], "vmatlas calls none leaked that LSan does not")
t.is_([(s, states[s]) for s in sorted(missing)], [], "LSan calls none leaked that vmatlas does not")
t.is_(totals["direct_count"] + totals["indirect_count"], len(ours), "leaks counts what explain says of each")
t.done()
