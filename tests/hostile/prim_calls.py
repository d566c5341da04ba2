#!/usr/bin/env python3
"""Each system call with which a primitive of libvmatlas asks for memory fails once, in turn: the primitive says so, leaves what was there
as it was, works when asked again, and loses no addresses. tests/factory/prim_calls.c checks that from inside."""
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.environ["SRC"], "tests", "hostile"))
from _prim import LIVES, check  # noqa: E402
import tap  # noqa: E402

t = tap.Tap()
for life in subprocess.run([LIVES], capture_output=True, text=True, check=True).stdout.split():
    if life != "hugebuf":   # it takes a pool of huge pages: tests/live/prim_hugebuf.py
        t.section(check, life)
t.done()
