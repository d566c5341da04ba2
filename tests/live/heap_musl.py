#!/usr/bin/env python3
"""musl's mallocng, walked from outside, against programs that know the truth.

alloc_truth keeps its own list of blocks: each must be a chunk in use, begin where the program got it, and be as large
as malloc_usable_size says. What the program gave back must not be in use. leak_truth loses blocks on purpose. All of it
with musl as a shared library, within a static program, and within a stripped one.
"""
# timeout: 240
import os
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.environ["SRC"], "tests"))
sys.path.insert(0, os.path.join(os.environ["SRC"], "tests/live"))
import tap
import alloc_check

t = tap.Tap()
FACTORY = os.path.join(tap.BUILD, "tests/factory")
if not os.path.exists(os.path.join(FACTORY, "alloc_truth-musl")):
    t.skip("musl", "there is no musl-gcc")
    t.done()
check = alloc_check.Check(t, "musl mallocng")

with tempfile.TemporaryDirectory(prefix="vmatlas-musl-") as folder:
    stripped = os.path.join(folder, "stripped")
    shutil.copy(os.path.join(FACTORY, "alloc_truth-musl-static"), stripped)
    subprocess.run(["strip", stripped], check=True)
    check.truth("shared, one thread", [os.path.join(FACTORY, "alloc_truth-musl")], 1, 20000)
    check.truth("shared, four threads", [os.path.join(FACTORY, "alloc_truth-musl")], 4, 8000)
    check.truth("static, one thread", [os.path.join(FACTORY, "alloc_truth-musl-static")], 1, 20000)
    check.truth("static and stripped, four threads", [stripped], 4, 8000)


def donated():
    """The loader gives malloc what is left of the pages of a file's data: a block there is one for explain, too."""
    with tempfile.NamedTemporaryFile(prefix="vmatlas-musl-") as file, \
            subprocess.Popen([os.path.join(FACTORY, "alloc_truth-musl"), "1", "20000", file.name], stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, text=True) as process:
        process.stdout.readline()
        with open(file.name) as lines:
            blocks = [int(line.split()[0], 16) for line in lines]
        with open(f"/proc/{process.pid}/maps") as maps:
            files = [[int(x, 16) for x in line.split()[0].split("-")] for line in maps if "rw-p" in line and "/" in line]
        inside = [addr for addr in blocks if any(start <= addr < end for start, end in files)]
        if t.ok(inside, "musl: some blocks lie in the data of a file", files):
            place = check.vmatlas("explain", process.pid, operands=[hex(inside[0])])["places"][0]
            t.is_((place["block"], place["kind"] in ("data", "bss")), (hex(inside[0]), True), "musl: explain knows a block in the data of a file")
        process.stdin.close()


donated()
for variant in ("musl", "musl-static"):
    check.leaks(variant, [os.path.join(FACTORY, f"leak_truth-{variant}")])
    check.busy(variant, [os.path.join(FACTORY, f"heap_churn-{variant}")], 20)
t.done()
