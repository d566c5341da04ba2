#!/usr/bin/env python3
"""10,000 flipped-byte cores of each kind: no crash and no hang in map, stacks, pages, cow, heap and leaks."""
# tier: full
# timeout: 1200
import os
import sys

sys.path.insert(0, os.path.join(os.environ["SRC"], "tests", "hostile"))
import _cores
import tap

t = tap.Tap()
t.section(lambda _: _cores.flip(t, 10000, 2))
t.done()
