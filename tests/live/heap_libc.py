#!/usr/bin/env python3
"""The walk against other generations of glibc: heap_truth is linked with the libc of another Debian release and run by its
dynamic loader, in 64 and in 32 bit. The libraries come from Debian's archive (scripts/fetch-libc) and are kept in
/var/cache/vmatlas-libc, or where VMATLAS_LIBC_CACHE says."""
# timeout: 300
import glob
import os
import re
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.environ["SRC"], "tests"))
import tap
from heap_check import settings, truth

SUITES = ("bullseye", "trixie", "sid")
ONE = "arena_max=1"
t = tap.Tap()


def cache():
    """A folder that keeps what was fetched; of an ordinary user, one in the home."""
    folder = os.environ.get("VMATLAS_LIBC_CACHE") or "/var/cache/vmatlas-libc"
    try:
        os.makedirs(folder, exist_ok=True)
        if os.access(folder, os.W_OK):
            return folder
    except OSError:
        pass
    return os.path.expanduser("~/.cache/vmatlas-libc")


def find(tree, *patterns):
    return next((path for pattern in patterns for path in glob.glob(os.path.join(tree, pattern))), None)


def link(folder, libc, bits):
    """heap_truth for this libc, which may lack what a newer one has: the host's start files, the other's libraries."""
    place, program = os.path.dirname(libc), os.path.join(folder, f"heap_truth-{bits}")
    source = os.path.join(tap.SRC, "tests/factory/heap_truth.c")
    libraries = [os.path.join(place, name) for name in ("libpthread.so.0", "libdl.so.2", "libc.so.6")]
    done = subprocess.run(["gcc", f"-m{bits}", "-std=gnu11", "-O2", "-D_GNU_SOURCE", "-o", program, source, "-nodefaultlibs",
                           *[path for path in libraries if os.path.exists(path)], "-lgcc", f"-Wl,-rpath-link,{place}"],
                          capture_output=True, text=True)
    return (program, "") if done.returncode == 0 else (None, done.stderr.strip().splitlines()[-1])


def generation(libc):
    with open(libc, "rb") as file:
        return re.search(rb"stable release version ([0-9.]+)", file.read()).group(1).decode().rstrip(".")


def check(tree, suite, bits):
    loader = find(tree, "lib/x86_64-linux-gnu/ld-linux*", "usr/lib/x86_64-linux-gnu/ld-linux*") if bits == 64 else \
        find(tree, "lib32/ld-linux*", "usr/lib32/ld-linux*")
    libc = os.path.join(os.path.dirname(loader), "libc.so.6")
    name = f"{suite}'s glibc {generation(libc)}, {bits} bit"
    with tempfile.TemporaryDirectory(prefix="vmatlas-libc-") as folder:
        program, why = link(folder, libc, bits)
        if not program:
            t.skip(name, f"cannot be linked: {why}")
            return
        command = [loader, "--library-path", os.path.dirname(libc), program]
        truth(t, f"{name}: one thread", 1, 20000, "-", program=command)
        truth(t, f"{name}: eight threads, mixed", 8, 5000, "m", program=command)
        truth(t, f"{name}: aligned, resized", 2, 10000, "am", program=command)
        truth(t, f"{name}: brk moved, then blocked", 1, 10000, "oBm", [ONE], command)
        truth(t, f"{name}: no tcache", 2, 5000, "m", ["tcache_count=0"], command)
        truth(t, f"{name}: forked child", 2, 5000, "fm", program=command)
        settings(t, name, command)


for suite in SUITES:
    done = subprocess.run([os.path.join(tap.SRC, "scripts/fetch-libc"), cache(), suite], capture_output=True, text=True, timeout=200)
    if done.returncode:
        t.skip(suite, done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "cannot be fetched")
        continue
    for bits in (64, 32):
        check(os.path.join(cache(), suite), suite, bits)
t.done()
