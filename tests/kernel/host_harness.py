#!/usr/bin/env python3
"""The harness itself: exit statuses come through, and a kernel that complains, dies or hangs is told."""
# timeout: 240
import concurrent.futures
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.environ["SRC"], "tests"))
import tap

t = tap.Tap()
IN_KERNEL = os.path.join(os.environ["SRC"], "tests/kernel/in-kernel")


def in_kernel(*argv, limit=600):
    return subprocess.run([IN_KERNEL, "--kernel", os.environ["KERNEL_TREE"], "--memory", "512", "--limit", str(limit), *argv],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)


with tempfile.TemporaryDirectory() as out, concurrent.futures.ThreadPoolExecutor(2) as pool:
    passes = pool.submit(in_kernel, "--out", out, "--", "sh", "-c", 'uname -r; echo seen >$IN_KERNEL_OUT/file; echo words >&2; exit 5')
    warns = pool.submit(in_kernel, "sh", "-c", 'echo "WARNING: CPU: 0 PID: 1 at nothing.c:1 nothing+0x1/0x2" >/dev/kmsg')
    crashes = pool.submit(in_kernel, "sh", "-c", "echo c >/proc/sysrq-trigger; sleep 1000")
    hangs = pool.submit(in_kernel, "sleep", "1000", limit=2)

    ran = passes.result()
    t.is_((ran.returncode, ran.stdout, ran.stderr), (5, os.environ["KERNEL_RELEASE"] + "\n", "words\n"),
          "a command of the guest: its exit status, its output, the kernel that was asked for")
    with open(os.path.join(out, "file")) as file:
        t.is_(file.read(), "seen\n", "what it wrote for us")

ran = warns.result()
t.is_(ran.returncode, 120, "a warning in the log fails a command that passed")
t.ok("at nothing.c:1 nothing+0x1/0x2" in ran.stderr, "and is printed", ran.stderr)
ran = crashes.result()
t.is_(ran.returncode, 120, "a kernel that crashes")
t.ok("sysrq_handle_crash" in ran.stderr, "shows where", ran.stderr)
t.is_(hangs.result().returncode, 124, "a guest that does not end")
t.done()
