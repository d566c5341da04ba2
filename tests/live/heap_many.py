#!/usr/bin/env python3
# tier: full
"""Two million small blocks, of one thread and of eight: none is missing, none is wrong. live/heap has a share of it."""
# timeout: 300
import os
import sys

sys.path.insert(0, os.path.join(os.environ["SRC"], "tests"))
import tap
from heap_check import truth

t = tap.Tap()
truth(t, "one thread", 1, 2000000, "s")
truth(t, "eight threads", 8, 250000, "s")
t.done()
