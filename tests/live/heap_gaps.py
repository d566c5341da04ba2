#!/usr/bin/env python3
"""The programs of docs/cases/heap-gaps.md: what vmatlas says from outside is what they say of themselves, at each step."""
import json
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.environ["SRC"], "tests"))
import tap
from heap_check import heap

KIB = 1024
t = tap.Tap()


class Steps:
    """A program that stands at a step until it is told to go on."""

    def __init__(self, name, tunables=""):
        self.process = subprocess.Popen([os.path.join(tap.BUILD, "examples", name)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        env={**os.environ, "GLIBC_TUNABLES": tunables})
        self.pid = int(self.process.stdout.readline().split()[1])

    def __iter__(self):
        """Of each step its name, mallinfo2's six numbers, and the document."""
        while True:
            name = self.process.stdout.readline().strip()
            if not name:
                break
            numbers = [int(n) for n in re.findall(r"(?<!mallinfo)\b\d+", self.process.stdout.readline().split(":", 1)[1])]
            yield name, dict(zip(("arena", "in_use", "free", "chunks", "mapped", "blocks"), numbers)), heap(t, self.pid)
            self.process.stdin.write("\n")
            self.process.stdin.flush()
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()


def sums(doc):
    """The same six numbers of the walk. mallinfo2 counts what tcaches keep as in use."""
    main = doc["arenas"][0]
    mapped = [a for a in doc["arenas"] if a["kind"] == "mapped"]
    free = main["free"] + main["fastbin"] + main["top"]
    return {"arena": main["bytes"], "in_use": main["bytes"] - free, "free": free, "chunks": main["chunks_free"] + 1,
            "mapped": sum(a["bytes"] for a in mapped), "blocks": sum(a["chunks_in_use"] for a in mapped)}


def gaps():
    for i, (step, truth, doc) in enumerate(Steps("heap_gaps")):
        t.is_(sums(doc), truth, f"{step}: the sums are mallinfo2's")
        if i == 0:
            t.is_((doc["totals"]["free"], truth["blocks"]), (0, 72), "nothing is free, the 72 blocks of 128 KiB and more are mappings")
        else:
            # 64 odd blocks of 1 to 127 KiB, each with its header; what tcaches keep of them is not on a bin.
            kept = doc["totals"]["free"] + doc["totals"]["tcache"]
            in_top = sum(range(1, 128, 2)) * KIB + 64 * 16 - kept
            t.ok(0 <= in_top <= 128 * KIB, "the freed blocks are free, but for the last, which is part of the top", in_top)
            t.is_(len(doc["pinned"]), 16, "the gaps are shown, with what holds them")
            t.ok(doc["totals"]["trimmable"] <= 64 * KIB, "hardly a page of them could be given back: they were never written",
                 doc["totals"]["trimmable"])


def steps(tunables, name):
    seen = {}
    for step, truth, doc in Steps("heap_steps", tunables):
        t.is_(sums(doc), truth, f"{name}: {step}: the sums are mallinfo2's")
        seen[step] = doc
    return seen


def four_blocks():
    seen = steps("", "as it is")
    before, after = seen["D of 100 KiB"], seen["C is freed"]
    t.is_((before["trim_threshold"], before["mmap_threshold"]), (128 * KIB, 128 * KIB), "the thresholds begin at 128 KiB")
    size = [a["bytes"] for a in before["arenas"] if a["kind"] == "mapped"][0]
    t.is_((after["trim_threshold"], after["mmap_threshold"]), (2 * size, size), "C is freed: they rise to its size, and to twice that")
    last = seen["D is freed"]["arenas"][0]
    t.ok(last["top"] > 128 * KIB and last["bytes"] == before["arenas"][0]["bytes"], "D is freed: more than 128 KiB are free, and nothing goes back",
         json.dumps(last))
    fixed = steps("glibc.malloc.trim_threshold=131072", "M_TRIM_THRESHOLD is set")
    t.ok(fixed["C is freed"]["thresholds_fixed"] and fixed["C is freed"]["trim_threshold"] == 128 * KIB, "M_TRIM_THRESHOLD set: it stays")
    t.ok(fixed["D is freed"]["arenas"][0]["bytes"] < fixed["B is freed"]["arenas"][0]["bytes"], "D is freed: the top goes back")


gaps()
four_blocks()
t.done()
