#!/usr/bin/env python3
"""Runs in the guest, called by host_driver.py: `vmatlas pages` of a mapping of a buffer, of which the kernel shows no page."""
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.environ["SRC"], "tests"))
import tap  # noqa: E402

t = tap.Tap()
held = subprocess.Popen([os.path.join(tap.BUILD, "tests/kernel/driver_test"), "hold"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
truth = json.loads(held.stdout.readline())
PID, START = str(held.pid), truth["start"]


def pages(*operands, **more):
    ran = subprocess.run([tap.VMATLAS, "pages", "-J", *operands], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False, **more)
    return ran.returncode, json.loads(ran.stdout or "{}"), ran.stderr


status, found, said = pages("-o", "+PFN,PFN_RUNS", PID, f"{START:x}")
t.is_((status, said), (0, ""), "pages of a mapping of a buffer")
run = found["runs"][0] if len(found.get("runs", ())) == 1 else {}
t.is_((run.get("start"), run.get("end"), run.get("present")), (hex(START), hex(START + truth["bytes"]), True), "one run, present")
t.is_((run.get("pfn"), run.get("pfn_runs")), (truth["extents"][0][1], len(truth["extents"])), "its frames and pieces are what pagemap said of the owner")
offset = truth["extents"][3][0]
status, found, said = pages("-o", "+PFN,PFN_RUNS", PID, f"{START + offset + 4096:x}+1M")
t.is_([(r["pfn"], r["pfn_runs"]) for r in found["runs"]], [(truth["extents"][3][1] + 1, 1)], "a part within one piece")
table = subprocess.run([tap.VMATLAS, "pages", PID, f"{START:x}"], stdout=subprocess.PIPE, text=True, check=True).stdout
t.ok("present pinned" in table.replace(",", " "), "the table says that the pages are pinned", table)
held.stdin.write("close\n")
held.stdin.flush()
held.stdout.readline()
status, found, said = pages(PID, f"{START:x}")
t.ok(found["runs"][0]["present"] is None and "closed its descriptor" in json.dumps(found) + said, "without a descriptor it is invisible, and why is said",
     json.dumps(found) + said)
held.stdin.close()
t.is_(held.wait(), 0, "the process was not disturbed")
t.done()
