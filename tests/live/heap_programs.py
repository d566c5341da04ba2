#!/usr/bin/env python3
"""The heaps of real programs: walked to the top of every arena, as many free chunks on the bins as in the walk, no
findings. redis uses jemalloc: that is named, and nothing is said of its heap."""
# timeout: 120
import json
import os
import shutil
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.environ["SRC"], "tests"))
import programs
import tap
from factory import NotPossible
from heap_check import heap

t = tap.Tap()


PROGRAMS = [
    ("python3", ["/usr/bin/python3", "-c", "import json,sys,threading\nx=[str(i)*20 for i in range(50000)]\ndel x[::2]\nsys.stdin.read()"]),
    ("perl", ["perl", "-e", 'my @a=map {chr(65+$_%26)x($_%200)} 1..200000; undef $a[$_*3] for 1..60000; my $x=<STDIN>;']),
    ("bash", ["bash", "-c", "x=$(seq 1 100000); read y"]),
    ("node", ["node", "-e", "process.stdin.resume()"]),
    ("sqlite3", ["sqlite3", ":memory:"]),
    ("gdb", ["gdb", "-q", "-nx"]),
]


def judge(name, pid):
    doc = heap(t, pid)
    good = doc and doc["walked"] and doc["findings_total"] == 0 and all(a["complete"] for a in doc["arenas"])
    t.ok(good and not doc["partial"], f"{name}: walked to the end of every arena, free chunks equal bins",
         doc and json.dumps([doc["findings"], doc["partial_why"]]))
    t.ok(doc and doc["totals"]["in_use"] > 1000, f"{name}: something is in use")


def real_programs():
    for name, command in PROGRAMS:
        if not shutil.which(command[0]):
            t.skip(name, f"{command[0]} is not installed")
            continue
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            time.sleep(1.5)
            judge(name, process.pid)
            process.kill()


def postgres():
    try:
        with programs.postgres() as (postmaster, session):
            judge("postgres, the server", postmaster)
            judge("postgres, a session", session)
    except NotPossible as reason:
        t.skip("postgres", reason)


def other_allocators():
    with subprocess.Popen(["redis-server", "--port", "0", "--unixsocket", f"/tmp/vmatlas-heap-{os.getpid()}.sock", "--save", ""],
                          stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
        time.sleep(1)
        doc = heap(t, process.pid)
        process.kill()
    t.ok(doc and doc["allocator"] == "jemalloc" and not doc["walked"] and doc["why_not"], "redis: jemalloc is named, not walked")


real_programs()
postgres()
other_allocators()
t.done()
