#!/usr/bin/env python3
"""mimalloc 2, walked from outside, against programs that know the truth.

alloc_truth keeps its own list of blocks: each must be a chunk in use, and as large as malloc_usable_size says; a block
that was aligned ends where its chunk ends. What the program gave back, by the thread that had it or by another, must not be
in use. leak_truth loses blocks on purpose. With mimalloc preloaded, and linked to.
"""
# timeout: 240
import glob
import os
import sys

sys.path.insert(0, os.path.join(os.environ["SRC"], "tests"))
sys.path.insert(0, os.path.join(os.environ["SRC"], "tests/live"))
import tap
import alloc_check

t = tap.Tap()
FACTORY = os.path.join(tap.BUILD, "tests/factory")
libraries = glob.glob("/usr/lib/*/libmimalloc.so.2*")
if not libraries:
    t.skip("mimalloc", "there is no libmimalloc.so.2")
    t.done()
check = alloc_check.Check(t, "mimalloc", hides_aligned=True, absent=("fastbin", "tcache", "trimmable"))
preload = {"LD_PRELOAD": libraries[0]}

check.truth("preloaded, one thread", [os.path.join(FACTORY, "alloc_truth")], 1, 20000, preload)
check.truth("preloaded, four threads", [os.path.join(FACTORY, "alloc_truth")], 4, 8000, preload)
linked = os.path.join(FACTORY, "alloc_truth-mimalloc")
if os.path.exists(linked):
    check.truth("linked, four threads", [linked], 4, 8000)
else:
    t.skip("mimalloc, linked", "there is no libmimalloc-dev")
check.leaks("preloaded", [os.path.join(FACTORY, "leak_truth")], preload)
check.tiny("preloaded", [os.path.join(FACTORY, "tiny_chain")], 6000000, preload)
check.busy("preloaded", [os.path.join(FACTORY, "heap_churn")], 20, preload)
t.done()
