#!/usr/bin/env python3
# timeout: 120
"""A pool under the load of eight threads that hand regions on: no byte of a former user, no region with two users, nothing lost, the
budget never exceeded (tests/factory/pool_load.c checks by tables of its own). For each way to release and each forced fallback, as root
and as a user without rights. And once under ThreadSanitizer."""
import json
import os
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.environ["SRC"], "tests"))
import tap  # noqa: E402

LOAD = os.path.join(tap.BUILD, "tests/factory/pool_load")
LAZY, GUARDS, BOOK, MORTAL, UNDEFINED, TRIM = 1, 2, 4, 8, 16, 32
SMALL = 500000
CASES = [
    ("all is kept", 0, 0), ("nothing is kept", 1, 0), ("a small budget", SMALL, 0), ("MADV_FREE", SMALL, LAZY), ("guards", SMALL, GUARDS),
    ("users keep book", SMALL, BOOK), ("threads end and begin", 0, MORTAL), ("undefined contents", SMALL, UNDEFINED),
    ("trim and decay", 0, TRIM), ("all of it", SMALL, LAZY | GUARDS | BOOK | MORTAL | UNDEFINED | TRIM),
]
FALLBACKS = ["pagemap_scan", "pagemap_scan,pagemap", "madv_guard", "process_madvise", "all"]


def load(program, operations, budget, flags, without="", user=None):
    env = dict(os.environ, VMAT_WITHOUT=without, TSAN_OPTIONS="exitcode=66")
    return subprocess.run([program, "8", str(operations), str(budget), str(flags)], capture_output=True, text=True, env=env, user=user,
                          group=user, extra_groups=None if user is None else [], timeout=100)


def check(t, what, done, operations):
    said = json.loads(done.stdout.splitlines()[-1]) if done.stdout else {}
    broken = {k: said.get(k) for k in ("foreign", "twice", "torn", "failed", "acquired") if said.get(k) != 0}
    t.ok(done.returncode == 0 and not broken and said["operations"] == operations and said["kept_peak"] <= said["budget"], what,
         f"exit status {done.returncode}: {said}\n{done.stderr[-3000:]}")
    return said


def ways(t):
    seen = {"scans": 0, "given_back": 0}
    for what, budget, flags in CASES:
        operations = 300000 if budget != 1 else 30000
        said = check(t, f"{operations} operations: {what}", load(LOAD, operations, budget, flags), operations)
        seen = {k: seen[k] + said.get(k, 0) for k in seen}
    t.ok(seen["given_back"] > 30000, "pages went back to the kernel", seen)


def fallbacks(t):
    users = [None, 65534] if os.geteuid() == 0 else [None]
    for user in users:
        program = tap.for_everyone(LOAD) if user else LOAD
        for without in ["", *FALLBACKS]:
            done = load(program, 40000, SMALL, GUARDS | BOOK | TRIM, without, user)
            check(t, f"without {without or 'nothing'}{', as a user' if user else ''}", done, 40000)


def thread_sanitizer(t):
    sources = subprocess.run(["sh", "-c", "ls src/prim/pool*.c src/sys/*.c src/base/*.c tests/factory/pool_load.c"], cwd=tap.SRC,
                             capture_output=True, text=True, check=True).stdout.split()
    with tempfile.TemporaryDirectory() as folder:
        program = os.path.join(folder, "pool_load")
        made = subprocess.run(["gcc", "-fsanitize=thread", "-O1", "-g", "-std=gnu11", "-D_GNU_SOURCE", '-DVMAT_VERSION="0"', "-Iinclude",
                               "-Isrc", *sources, "-o", program, "-lpthread"], cwd=tap.SRC, capture_output=True, text=True)
        if not t.ok(made.returncode == 0, "it builds for ThreadSanitizer", made.stderr[-3000:]):
            return
        # Its memory map does not bear all that newer kernels make of it.
        run = [shutil.which("setarch"), "-R"] if shutil.which("setarch") else []
        for what, budget, flags in [CASES[0], CASES[-2], ("all of it", SMALL, BOOK | GUARDS | MORTAL | UNDEFINED | TRIM)]:
            script = os.path.join(folder, "run")
            with open(script, "w") as file:
                file.write("#!/bin/sh\nexec " + " ".join([*run, program]) + ' "$@"\n')
            os.chmod(script, 0o755)
            check(t, f"ThreadSanitizer: {what}", load(script, 40000, budget, flags), 40000)


t = tap.Tap()
for section in (ways, fallbacks, thread_sanitizer):
    t.section(section)
t.done()
