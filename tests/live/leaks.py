#!/usr/bin/env python3
"""Leaks, against a program that loses blocks on purpose and says how many.

Recall must be at least 0.999 (a stale address into a block may keep one alive: it is then of the class `interior`), and
nothing that is kept may be called leaked. Real programs that lose nothing must show no leak, and run on afterwards.
"""
# timeout: 240
import json
import os
import shutil
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.environ["SRC"], "tests"))
import tap
from factory import Factory

VMATLAS = tap.VMATLAS
TRUTH = os.path.join(tap.BUILD, "tests/factory/leak_truth")
t = tap.Tap()


def leaks(pid, *options):
    limit = () if "--max-stop" in options else ("--max-stop", "60000")
    done = subprocess.run([VMATLAS, "leaks", "-J", *limit, *options, str(pid)], capture_output=True, text=True, timeout=120)
    if done.returncode not in (0, 1):
        t.diag(done.stderr)
        return None, done.returncode
    return json.loads(done.stdout), done.returncode


def planted(scale, program=TRUTH, single=104):
    with subprocess.Popen([program, str(scale)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        truth = json.loads(process.stdout.readline())
        process.stdout.readline()
        doc, code = leaks(truth["pid"])
        quiet, quiet_code = leaks(truth["pid"], "--fail-over", "1T")
        state = open(f"/proc/{truth['pid']}/status").read()
        process.stdin.close()
    totals = doc["totals"] if doc else {}
    name = f"{truth['direct']} planted{', 32 bit' if program != TRUTH else ''}"
    # An address left on a stack may hold one block in a thousand, a head or one of the at most 9 that hang on it, with what hangs on that.
    # It must be in the class `interior` then, beside the blocks that are only held by an address into them.
    stale = max(1, truth["direct"] // 1000)
    missed, lost = truth["direct"] - totals["direct_count"], truth["indirect"] - totals["indirect_count"]
    t.ok(0 <= missed <= stale, f"{name}: found, and no block that is kept", json.dumps(totals))
    t.ok(0 <= lost <= 9 * stale, f"{name}: {truth['indirect']} hang on them", json.dumps(totals))
    t.ok(truth["interior"] <= totals["interior_count"] <= truth["interior"] + missed + lost + 4,
         f"{name}: blocks held by an address into them are a class of their own", json.dumps(totals))
    t.is_(len(doc["leaks"]), totals["direct_count"], f"{name}: one row each")
    t.is_(sum(l["size"] for l in doc["leaks"]), totals["direct_bytes"], f"{name}: rows sum up to the total")
    t.is_(sum(l["indirect_bytes"] for l in doc["leaks"]), totals["indirect_bytes"], f"{name}: so does what hangs on them")
    t.ok(all(l["type"] == "text" and l["preview"].startswith("vvvv") for l in doc["leaks"] if l["size"] == single and l["type"]),
         f"{name}: single blocks are text, as they were written")
    t.is_((code, quiet_code), (1, 0), f"{name}: exit status 1, and 0 below --fail-over")
    t.ok("TracerPid:\t0" in state and doc["stopped_ns"] > 0, f"{name}: the program runs on, untraced")


PROGRAMS = [
    ("python3", ["/usr/bin/python3", "-c", "import json,sys,threading\nx=[str(i)*20 for i in range(50000)]\ndel x[::2]\nsys.stdin.read()"]),
    ("perl", ["perl", "-e", 'my @a=map {chr(65+$_%26)x($_%200)} 1..100000; my $x=<STDIN>;']),
    ("node", ["node", "-e", "process.stdin.resume()"]),
    ("gdb", ["gdb", "-q", "-nx"]),
]


def real_programs():
    """At most a handful: programs do lose a block here and there."""
    for name, command in PROGRAMS:
        if not shutil.which(command[0]):
            t.diag(f"{name} is not installed")
            continue
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            time.sleep(1.5)
            doc, _ = leaks(process.pid)
            running = process.poll() is None
            process.kill()
        t.ok(doc and not doc["partial"] and doc["totals"]["blocks"] > 10, f"{name}: is judged whole")
        t.ok(doc and doc["totals"]["direct_count"] <= 20 and running, f"{name}: (nearly) no leaks, and it runs on",
             doc and json.dumps(doc["totals"]))


def many_threads():
    """Each has a stack, a guard and a stack pointer: what is done for each of them must not be done for each pair of them."""
    with Factory("threads", n=2000) as threads:
        doc, code = leaks(threads.pid, "--max-stop", "60000")
    t.ok(doc and code == 0 and not doc["partial"], "2000 threads: searched in time, and no leak", doc and doc["totals"])


def refused():
    """No verdict on a heap that is not walked."""
    with subprocess.Popen(["redis-server", "--port", "0", "--unixsocket", f"/tmp/vmatlas-leaks-{os.getpid()}.sock", "--save", ""],
                          stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
        time.sleep(1)
        done = subprocess.run([VMATLAS, "leaks", str(process.pid)], capture_output=True, text=True)
        process.kill()
    t.is_(done.returncode, 5, "redis (jemalloc): no verdict, exit status 5")
    t.ok("not walked" in done.stderr, "and it says why", done.stderr)


planted(1)
planted(10)
planted(100)
if os.path.exists(TRUTH + "-32"):
    planted(10, TRUTH + "-32", 108)
    planted(50, TRUTH + "-32", 108)
else:
    t.skip("32 bit", "leak_truth-32 is not built")
real_programs()
many_threads()
refused()
t.done()
