#!/usr/bin/env python3
"""vmat_good_size() equals malloc_usable_size() of the block that malloc then gives, and vmat_usable_size() that of any block, and never
crashes: for glibc with its tunables, and for jemalloc, mimalloc and tcmalloc preloaded, and musl. Each size to 128 KiB here; to 1 MiB and
10,000 random ones above with TIER=full."""
import errno
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.environ["SRC"], "tests"))
import tap

PROGRAM = os.path.join(tap.BUILD, "tests/factory/prim_sizes")
IS_FULL = os.environ.get("TIER") == "full"
LIMIT, COUNT = (1 << 20, 10000) if IS_FULL else (128 << 10, 1000)
LIBRARIES = {"jemalloc": "libjemalloc.so.2", "mimalloc": "libmimalloc.so.2.0", "tcmalloc": "libtcmalloc_minimal.so.4"}
TUNABLES = ["mmap_threshold=4096", "mmap_threshold=1000000", "mmap_max=0", "trim_threshold=100000000:glibc.malloc.mmap_threshold=30000000",
            "tcache_count=0", "perturb=5", "arena_max=1", "top_pad=0"]


def run(*args, program=PROGRAM, **env):
    done = subprocess.run([program, *map(str, args)], capture_output=True, text=True, timeout=120, env={**os.environ, **env})
    return json.loads(done.stdout) if done.returncode == 0 else {"exit": done.returncode, "stderr": done.stderr[-500:]}


def sizes(t, name, **env):
    allocator = name.split()[0]
    for args in (("sizes", LIMIT, COUNT), ("alive", 20000), ("thread", 20000)):
        said = run(*args, **env)
        t.is_((said.get("allocator"), said.get("wrong")), (allocator, 0), f"{name}, {args[0]}: the size is what malloc gives: {said}")
        if args[0] == "sizes":
            t.is_(said.get("equal"), LIMIT + 1 + COUNT, f"{name}: for each size, exactly")
        elif allocator == "glibc":
            t.ok(said["larger"] < said["checked"] / 10, f"{name}, {args[0]}: seldom is a free block of 16 bytes more given whole", said)
        else:
            t.is_(said.get("larger"), 0, f"{name}, {args[0]}: never more")


def pointers(t, name, **env):
    said = run("pointers", **env)
    t.is_((said.get("allocator"), said.get("right")), (name, said.get("asked", -1)), f"{name}: the usable size of each block: {said}")
    t.is_([said.get(k) for k in ("strangers", "null", "gone", "inside_wrong")], [-errno.EFAULT, -errno.EINVAL, -errno.EFAULT, 0],
          f"{name}: pointers that malloc never gave are refused")


def glibc(t):
    sizes(t, "glibc")
    pointers(t, "glibc")
    for tunable in TUNABLES:
        count = 10 if tunable.startswith("perturb") else COUNT      # it writes to each byte
        said = run("sizes", LIMIT, count, GLIBC_TUNABLES="glibc.malloc." + tunable)
        t.is_((said.get("wrong"), said.get("equal")), (0, LIMIT + 1 + count), f"glibc, {tunable}: each size, exactly")
    # Huge pages of malloc's own: not known above the threshold, and said so.
    said = run("sizes", LIMIT, COUNT, GLIBC_TUNABLES="glibc.malloc.hugetlb=2")
    t.ok(said.get("wrong") == 0 or said.get("first_good") == -errno.ENOTSUP, "glibc, hugetlb=2: right, or not known", said)


def preloaded(t):
    for name, library in LIBRARIES.items():
        if not os.path.exists(os.path.join("/usr/lib/x86_64-linux-gnu", library)):
            t.skip(name, f"{library} is not installed")
            continue
        sizes(t, name, LD_PRELOAD=library)
        pointers(t, name, LD_PRELOAD=library)


def musl(t):
    program = PROGRAM + "-musl"
    if not os.path.exists(program):
        t.skip("musl", "musl-gcc is not installed")
        return
    sizes(t, "musl", program=program)
    pointers(t, "musl", program=program)


def unknown(t):
    """Another malloc, and glibc's where nothing can be looked at: said, not guessed."""
    said = run("sizes", 100, 0, LD_PRELOAD="libc_malloc_debug.so.0", MALLOC_CHECK_="3")
    t.is_((said.get("equal"), said.get("first_good")), (0, -errno.ENOTSUP), f"glibc's malloc that checks itself: {said}")
    said = run("sizes", 100, 0, VMAT_WITHOUT="process_vm_readv")
    t.is_((said.get("allocator"), said.get("first_good")), ("glibc", -errno.ENOTSUP), f"glibc without process_vm_readv: {said}")


t = tap.Tap()
for section in (glibc, preloaded, musl, unknown):
    if os.path.exists(PROGRAM) or section is musl:
        t.section(section)
    else:
        t.skip(f"good sizes: {section.__name__}", "the sanitizer has a malloc of its own")
t.done()
