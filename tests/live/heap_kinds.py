#!/usr/bin/env python3
"""heap_truth with malloc tuned, and with main heaps that are not in one piece: the walk must find all the same."""
# timeout: 240
import os
import sys

sys.path.insert(0, os.path.join(os.environ["SRC"], "tests"))
import tap
from heap_check import PROGRAM, truth

ONE = "arena_max=1"  # all threads use the main arena
t = tap.Tap()

truth(t, "low mmap threshold", 2, 20000, "m", ["mmap_threshold=131072"])
truth(t, "no tcache", 2, 20000, "-", ["tcache_count=0"])
truth(t, "long tcaches of small blocks", 4, 20000, "-", ["tcache_count=2000", "tcache_max=100"])
truth(t, "no fastbins", 2, 20000, "-", ["mxfast=0"])
truth(t, "at most 3 mapped blocks", 1, 20000, "m", ["mmap_max=3"])
truth(t, "no mapped blocks", 2, 20000, "m", ["mmap_max=0"])
truth(t, "no mapped blocks, all in the main arena", 2, 20000, "m", ["mmap_max=0", ONE])
truth(t, "two arenas for six threads", 6, 10000, "m", ["arena_max=2"])
truth(t, "large pad of the top", 2, 20000, "m", ["top_pad=10000000", ONE])
truth(t, "small trim threshold", 2, 20000, "m", ["trim_threshold=1", "mmap_threshold=1000000", ONE])
truth(t, "aligned to more than a page, and resized", 3, 20000, "am")
truth(t, "transparent huge pages", 3, 20000, "m", ["hugetlb=1"])
truth(t, "brk moved by others", 1, 40000, "om", [ONE])
truth(t, "brk moved by others by odd numbers", 1, 40000, "um", [ONE])
truth(t, "brk blocked from the start", 2, 40000, "bm", [ONE])
truth(t, "brk blocked later", 2, 40000, "Bm", [ONE])
truth(t, "brk moved, then blocked", 1, 40000, "oBm", [ONE])
truth(t, "brk blocked, no mapped blocks", 2, 20000, "bm", [ONE, "mmap_max=0"])
truth(t, "two copies of libc", 2, 20000, "dm")
if os.path.exists(PROGRAM + "-static"):
    truth(t, "static program", 3, 20000, "m", program=[PROGRAM + "-static"])
    truth(t, "static program, brk moved, then blocked", 1, 20000, "oBm", [ONE], program=[PROGRAM + "-static"])
else:
    t.skip("static program", "heap_truth-static is not built")
t.done()
