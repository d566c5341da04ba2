#!/usr/bin/env python3
# tier: full
# timeout: 1500
# serial
"""A hundred million operations of eight threads on a pool, and a million stacks with guards at once; see prim_pool.py, which has the
share of each run."""
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.environ["SRC"], "tests"))
import tap  # noqa: E402

t = tap.Tap()
LOAD = os.path.join(tap.BUILD, "tests/factory/pool_load")
for what, budget, flags, operations in [("a small budget, users keep book", 2000000, 4, 70000000), ("all of it", 2000000, 63, 20000000),
                                        ("all is kept", 0, 16, 10000000)]:
    done = subprocess.run([LOAD, "8", str(operations), str(budget), str(flags)], capture_output=True, text=True)
    t.ok(done.returncode == 0 and json.loads(done.stdout)["operations"] == operations, f"{operations} operations: {what}", done.stdout + done.stderr)
t.done()
