#!/usr/bin/env python3
# serial
"""glibc.malloc.hugetlb=2: malloc takes huge pages of hugetlb for all it maps. brk is not used at all then, heaps of threads are
aligned to four huge pages (2.35 to 2.41), and mapped blocks are whole huge pages."""
import os
import sys

sys.path.insert(0, os.path.join(os.environ["SRC"], "tests"))
import tap
from heap_check import truth
from huge_pages import more_huge_pages

t = tap.Tap()


def huge(t):
    with more_huge_pages(24) as why:
        if why:
            t.skip("huge pages of hugetlb", why)
            return
        truth(t, "huge pages, the main arena", 1, 10000, "-", ["hugetlb=2", "arena_max=1"])
        truth(t, "huge pages, three threads", 3, 4000, "-", ["hugetlb=2"])
        truth(t, "huge pages, mapped blocks", 1, 2000, "a", ["hugetlb=2", "arena_max=1"])


t.section(huge)
t.done()
