#!/usr/bin/env python3
"""Each allocation and each system call fails in turn while a core is read, and while one is written.

No crash, no hang, an error with a text; and a dump that fails leaves nothing behind, and the process as it was.
"""
# timeout: 200
import errno
import os
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.environ["SRC"], "tests", "hostile"))
from _vmatlas import FAIL_ALLOC, QUIET, is_asan, run, spread, tracer  # noqa: E402
import _cores  # noqa: E402
import tap  # noqa: E402

SECONDS = 4
t = tap.Tap()
folder = tempfile.mkdtemp(prefix="vmatlas-cores-")


def judged(result, n):
    if result.code is None:
        return [f"{n}: it hangs"]
    if result.code < 0 or result.code >= 128 or result.code not in (0, 1, 2, 3, 4, 5, 6, 70):
        return [f"{n}: code {result.code}: {result.err[-300:]!r}"]
    return [f"{n}: code {result.code} without a text"] if result.code > 1 and not result.err.strip() else []


def allocations(name, command, after):
    env = {**QUIET, "LD_PRELOAD": FAIL_ALLOC}
    with tempfile.NamedTemporaryFile("r") as file:
        run(*command(0), env={**env, "FAIL_ALLOC_COUNT": file.name}, timeout=30)
        count = int(file.read().split()[0])

    def work(n):
        return judged(run(*command(n), env={**env, "FAIL_ALLOC_AT": str(n)}, timeout=30), n) + after(n)

    visited, wrong = spread(work, count, SECONDS)
    t.ok(not wrong and visited, f"{name}: each allocation fails in turn ({visited} of {count})", "\n".join(wrong[:10]))


def calls(name, command, error, after):
    with tempfile.NamedTemporaryFile("r") as log:
        run(*command(0), wrap=tracer("-l", log.name), env=QUIET, timeout=60)
        count = len(log.readlines())

    def work(n):
        return judged(run(*command(n), wrap=tracer("-n", n, "-e", error), env=QUIET, timeout=30), n) + after(n)

    visited, wrong = spread(work, count, SECONDS)
    t.ok(not wrong and visited, f"{name}: each system call fails in turn, {errno.errorcode[error]} ({visited} of {count})", "\n".join(wrong[:10]))


def reading():
    path = _cores.make(folder)[0][1]
    for name in ("map", "stacks", "heap", "leaks"):
        allocations(name, lambda n, name=name: (name, "-J", path), lambda n: [])
        calls(name, lambda n, name=name: (name, "-J", path), errno.EIO, lambda n: [])


def writing():
    process = subprocess.Popen([os.path.join(_cores.FACTORY, "leak_truth"), "1"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    process.stdout.readline()

    def place(n):
        return f"{folder}/written.{n}"

    def after(n):
        """Whole, or not there at all."""
        wrong = [f"{n}: {f} is left" for f in os.listdir(folder) if f == f"written.{n}.part"]
        if os.path.exists(place(n)):
            done = run("heap", "-J", place(n), timeout=30)
            wrong += [f"{n}: what was written is no core: {done.err[-200:]!r}"] if done.code not in (0, 5) else []
            os.unlink(place(n))
        return wrong

    allocations("dump", lambda n: ("dump", "-o", place(n), process.pid), after)
    with open(f"/proc/{process.pid}/status") as status:
        t.ok("TracerPid:\t0" in status.read() and process.poll() is None, "dump: the process runs on")
    process.kill()
    process.wait()


if is_asan():
    t.diag("the allocator of the sanitizer cannot be replaced")
else:
    t.section(lambda _: reading())
    t.section(lambda _: writing())
t.ok(True, "all of it was tried")
shutil.rmtree(folder, ignore_errors=True)
t.done()
