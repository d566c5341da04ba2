#!/usr/bin/env python3
"""The unit tests of the primitives as a user without rights: what is refused there is said, and nothing else fails."""
import glob
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.environ["SRC"], "tests"))
import tap

NOBODY = 65534
NAMES = ("prim_buffer_test", "prim_faults_test", "prim_hugebuf_test")

t = tap.Tap()
for path in sorted(glob.glob(os.path.join(tap.BUILD, "tests/unit/prim_*_test"))):
    if os.path.basename(path) not in NAMES:
        continue
    user = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
    done = subprocess.run([tap.for_everyone(path)], capture_output=True, timeout=120, cwd="/", **user)
    t.is_(done.returncode, 0, f"{os.path.basename(path)} as an ordinary user")
    if done.returncode:
        t.diag(done.stdout.decode() + done.stderr.decode())
t.done()
