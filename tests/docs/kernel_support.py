#!/usr/bin/env python3
"""docs/kernel-support.md is what its script makes of the table of features and of the results of the kernel tests."""
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.environ["SRC"], "tests"))
import tap

t = tap.Tap()
ran = subprocess.run([os.path.join(tap.SRC, "scripts/kernel-support"), "--check", "--vmatlas", tap.VMATLAS],
                     stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
t.is_((ran.returncode, ran.stderr), (0, ""), "docs/kernel-support.md is up to date")
with open(os.path.join(tap.SRC, "tests/kernel/results.json"), encoding="utf-8") as file:
    kernels = json.load(file)["kernels"]
t.is_([(k["release"], name) for k in kernels for name, counts in k["programs"].items() if counts[1] or not counts[0]], [],
      "only runs in which each program passed are recorded")
t.done()
