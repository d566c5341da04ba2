#!/usr/bin/env python3
# serial
"""libvmatlas-preload.so: the page size is right after each call that maps or unmaps, whoever makes it, and while everybody does. The
truth program knows what it mapped; without the library it runs as it is."""
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.environ["SRC"], "tests"))
import tap
from huge_pages import more_huge_pages

PROGRAM = os.path.join(tap.BUILD, "tests/factory/pagesize_truth")
LIBRARY = os.path.join(tap.BUILD, "src/preload/libvmatlas-preload.so")


def run(t, said, *args, preload=LIBRARY, without=None):
    env = {k: v for k, v in os.environ.items() if k not in ("LD_PRELOAD", "VMAT_WITHOUT")}
    if preload:
        env["LD_PRELOAD"] = preload
    if without:
        env["VMAT_WITHOUT"] = without
    done = subprocess.run([PROGRAM, *args], capture_output=True, text=True, env=env, timeout=120, check=False)
    lines = done.stdout.splitlines()
    t.is_(done.returncode, 0, f"{said}: ends well")
    t.ok(lines and lines[-1].startswith("1.."), f"{said}: comes to its end", done.stdout + done.stderr)
    for line in lines:
        if not line.startswith(("ok ", "not ok ")):
            continue
        name, _, reason = line.split(" - ", 1)[1].partition(" # SKIP ")
        if reason:
            t.skip(f"pagesize: {name}", reason)
        else:
            t.ok(line.startswith("ok "), f"{said}: {name}", done.stdout + done.stderr)
    return done


def steps(t):
    run(t, "preloaded", preload=LIBRARY)
    run(t, "without PROCMAP_QUERY", without="procmap_query")


def storm(t):
    run(t, "storm", "storm", "3")
    run(t, "60,000 regions", "table", "60000")


def absent(t):
    run(t, "not preloaded", "none", preload=None)


def strangers(t):
    """Programs that know nothing of the library do what they do without it."""
    for command in (["python3", "-c", "import json, threading, mmap; print(sum(range(10**5)))"], ["bash", "-c", "for i in 1 2 3; do (echo $i); done"],
                    ["perl", "-e", "my @a = map { $_ x 1000 } 1..50000; print scalar(@a), qq(\n)"]):
        plain = subprocess.run(command, capture_output=True, check=False)
        with_it = subprocess.run(command, capture_output=True, check=False, env=dict(os.environ, LD_PRELOAD=LIBRARY))
        t.is_((with_it.returncode, with_it.stdout, with_it.stderr), (plain.returncode, plain.stdout, plain.stderr), f"{command[0]} runs as before")


t = tap.Tap()
if b"__asan_" in open(LIBRARY, "rb").read():
    t.skip("the preloaded library", "it is built for a sanitizer, which wants to stand before everybody")
    t.done()
with more_huge_pages(8) as why:
    t.diag(why or "8 huge pages are there")
    for section in (absent, steps, storm, strangers):
        t.section(section)
t.done()
