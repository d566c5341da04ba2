#!/usr/bin/env python3
"""heap_truth of 32 bit, seen by a vmatlas of 64: headers of 8 bytes, blocks at multiples of 16, heaps of 1 MiB."""
import os
import sys

sys.path.insert(0, os.path.join(os.environ["SRC"], "tests"))
import tap
from heap_check import PROGRAM, settings, trim, truth

ONE = "arena_max=1"
THIS = [PROGRAM + "-32"]
t = tap.Tap()

if not os.path.exists(THIS[0]):
    t.skip("32 bit", "heap_truth-32 is not built")
    t.done()
    sys.exit(0)
truth(t, "one thread", 1, 50000, "-", program=THIS)
truth(t, "eight threads, mixed", 8, 8000, "m", program=THIS)
truth(t, "eight threads, small", 8, 30000, "s", program=THIS)
truth(t, "forked child", 4, 8000, "fm", program=THIS)
truth(t, "low mmap threshold", 2, 10000, "m", ["mmap_threshold=65536"], THIS)
truth(t, "no tcache", 2, 10000, "-", ["tcache_count=0"], THIS)
truth(t, "aligned to more than a page, and resized", 3, 8000, "am", program=THIS)
truth(t, "brk moved by others by odd numbers", 1, 20000, "um", [ONE], THIS)
truth(t, "brk moved, then blocked", 1, 20000, "oBm", [ONE], THIS)
truth(t, "two copies of libc", 2, 10000, "dm", program=THIS)
trim(t, "32 bit", 10000, THIS)
settings(t, "32 bit", THIS)
t.done()
