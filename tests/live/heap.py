#!/usr/bin/env python3
"""The heap walk against programs that know the truth.

heap_truth keeps its own list of blocks and prints mallinfo2: every block must be a chunk in use of just its size,
and the walk's sums must be mallinfo2's. malloc_trim must give back what was foretold. Real programs must be walked
without a finding, with as many free chunks on the bins as in the walk; other allocators are named.
"""
# timeout: 240
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.environ["SRC"], "tests"))
import tap

VMATLAS = tap.VMATLAS
TRUTH = os.path.join(tap.BUILD, "tests/factory/heap_truth")
t = tap.Tap()


def heap(pid, *options):
    done = subprocess.run([VMATLAS, "heap", "-J", *options, str(pid)], capture_output=True, text=True, timeout=60)
    if done.returncode:
        t.diag(done.stderr)
        return None
    return json.loads(done.stdout)


class Truth:
    def __init__(self, threads, blocks, mix, env=None, program=TRUTH):
        self.list = tempfile.NamedTemporaryFile(prefix="vmatlas-heap-")
        self.process = subprocess.Popen([program, str(threads), str(blocks), str(mix), self.list.name], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True, env={**os.environ, **(env or {})})
        self.info = json.loads(self.process.stdout.readline())
        self.process.stdout.readline()
        self.pid = self.process.pid

    def blocks(self):
        with open(self.list.name) as file:
            return {int(a, 16): int(size) for a, size in (line.split() for line in file)}

    def trim(self):
        self.process.stdin.write("t")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


def check_sums(name, info, doc, chunks):
    """The six fields of mallinfo2 that describe the arenas, and the two of mapped blocks."""
    def count(state):
        return sum(c["state"] == state for c in chunks)

    totals, arenas = doc["totals"], [a for a in doc["arenas"] if a["kind"] != "mapped"]
    arena = sum(a["bytes"] for a in arenas)
    free = sum(a["free"] + a["top"] + a["fastbin"] for a in arenas)
    with_top = sum(a["top"] > 0 for a in arenas)
    got = {"arena": arena, "ordblks": totals["chunks_free"] + with_top, "smblks": count("fastbin"),
           "fsmblks": totals["fastbin"], "uordblks": arena - free, "fordblks": free, "hblks": count("mmapped"),
           "hblkhd": totals["mmapped"]}
    t.is_(got, {key: info[key] for key in got}, f"{name}: sums are mallinfo2's")


def check_blocks(name, blocks, rows, word):
    """Every block is a chunk in use, of its size. A mapped block ends where its mapping does."""
    chunks = {int(c["block"], 16): c for c in rows if c["block"]}
    missing = wrong = 0
    for addr, size in blocks.items():
        chunk = chunks.get(addr)
        if chunk is None:
            missing += 1
        else:
            end = int(chunk["addr"], 16) + chunk["size"] + (word if chunk["state"] == "in_use" else 0)
            wrong += end != addr + size
    t.is_((missing, wrong), (0, 0), f"{name}: each of {len(blocks)} blocks is a chunk in use of its size")


def truth(name, threads, blocks, mix, env=None, program=TRUTH):
    with Truth(threads, blocks, mix, env, program) as program:
        doc = heap(program.pid)
        if not t.ok(doc and doc["walked"], f"{name}: is walked"):
            return
        t.is_(doc["findings"], [], f"{name}: no findings")
        t.ok(all(a["complete"] for a in doc["arenas"]), f"{name}: every arena is walked to its end")
        rows = heap(program.pid, "--chunks")["chunks"]
        check_sums(name, program.info, doc, rows)
        check_blocks(name, program.blocks(), rows, doc["target"]["word_size"])


def truth_32():
    program = TRUTH + "-32"
    if not os.path.exists(program):
        t.skip("32 bit", "heap_truth-32 is not built")
        return
    truth("32 bit, one thread", 1, 50000, 0, program=program)
    truth("32 bit, eight threads, mixed", 8, 8000, 1, program=program)
    truth("32 bit, low mmap threshold", 2, 10000, 1, {"GLIBC_TUNABLES": "glibc.malloc.mmap_threshold=65536"}, program)
    truth("32 bit, no tcache", 2, 10000, 0, {"GLIBC_TUNABLES": "glibc.malloc.tcache_count=0"}, program)
    trim("32 bit: ", program)


def trim(name="", program=TRUTH):
    """What a trim would give back, and what it does give back."""
    with Truth(4, 30000 if program == TRUTH else 10000, 1, program=program) as program:
        foretold = heap(program.pid)["totals"]["trimmable"]
        real = program.trim()
        t.ok(foretold > 1 << 20 and abs(real - foretold) <= 64 * 1024, f"{name}malloc_trim gives back what was foretold",
             f"foretold {foretold}, really {real}")
        after = heap(program.pid)["totals"]["trimmable"]
        t.ok(after <= 64 * 1024, f"{name}after it, little is left to give back", f"{after} bytes")


PROGRAMS = [
    ("python3", ["/usr/bin/python3", "-c", "import json,sys,threading\nx=[str(i)*20 for i in range(50000)]\ndel x[::2]\nsys.stdin.read()"]),
    ("perl", ["perl", "-e", 'my @a=map {chr(65+$_%26)x($_%200)} 1..200000; undef $a[$_*3] for 1..60000; my $x=<STDIN>;']),
    ("bash", ["bash", "-c", "x=$(seq 1 100000); read y"]),
    ("node", ["node", "-e", "process.stdin.resume()"]),
    ("sqlite3", ["sqlite3", ":memory:"]),
    ("gdb", ["gdb", "-q", "-nx"]),
]


def real_programs():
    for name, command in PROGRAMS:
        if not shutil.which(command[0]):
            t.diag(f"{name} is not installed")
            continue
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            time.sleep(1.5)
            doc = heap(process.pid)
            process.kill()
        good = doc and doc["walked"] and doc["findings_total"] == 0 and all(a["complete"] for a in doc["arenas"])
        t.ok(good, f"{name}: walked to the end of every arena, free chunks equal bins", doc and json.dumps(doc["findings"]))
        t.ok(doc and doc["totals"]["in_use"] > 1000, f"{name}: something is in use")


def unchanged():
    """A sparse mapping of 64 GiB is as large in memory after the walk as before."""
    def resident(pid):
        return [line for line in open(f"/proc/{pid}/status") if line.startswith(("VmRSS", "VmPTE"))]

    with subprocess.Popen([os.path.join(tap.BUILD, "tests/factory/factory"), "sparse", "size=64g"], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, text=True) as process:
        process.stdout.readline()
        process.stdout.readline()
        before = resident(process.pid)
        doc = heap(process.pid)
        subprocess.run([VMATLAS, "leaks", str(process.pid)], capture_output=True, timeout=60)
        after = resident(process.pid)
        process.stdin.close()
    t.ok(doc and (doc["walked"] or "ever used" in doc["why_not"]), "a program with a sparse mapping of 64 GiB: is answered")
    t.is_(after, before, "a program with a sparse mapping of 64 GiB: resident memory and page tables are as before")


def other_allocators():
    with subprocess.Popen(["redis-server", "--port", "0", "--unixsocket", f"/tmp/vmatlas-heap-{os.getpid()}.sock", "--save", ""],
                          stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
        time.sleep(1)
        doc = heap(process.pid)
        process.kill()
    t.ok(doc and doc["allocator"] == "jemalloc" and not doc["walked"] and doc["why_not"], "redis: jemalloc is named, not walked")


def busy(walks):
    """A program that allocates flat out: it is stopped, so each walk is whole and without a finding."""
    with subprocess.Popen([os.path.join(tap.BUILD, "tests/factory/heap_churn"), "4"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          text=True) as process:
        process.stdout.readline()
        docs = [heap(process.pid) for _ in range(walks)]
        state = open(f"/proc/{process.pid}/status").read()
        out, _ = process.communicate("", timeout=20)
    bad = [d and d["findings"] for d in docs if not d or d["findings"] or not all(a["complete"] for a in d["arenas"] if a["kind"] != "mapped")]
    t.is_(bad, [], f"{walks} walks of a program that allocates flat out in 4 threads")
    t.ok("TracerPid:\t0" in state and int(out) > 10000, "it went on all the while")
    stops = sorted(d["stopped_ns"] / 1e6 for d in docs if d)
    t.diag(f"stopped for {stops[len(stops) // 2]:.1f} ms (median), {stops[-1]:.1f} ms (most)")


truth("one thread", 1, 100000, 0)
truth("one thread, mixed", 1, 60000, 1)
truth("eight threads, mixed", 8, 30000, 1)
truth("low mmap threshold", 2, 20000, 1, {"GLIBC_TUNABLES": "glibc.malloc.mmap_threshold=131072"})
truth("no tcache", 2, 20000, 0, {"GLIBC_TUNABLES": "glibc.malloc.tcache_count=0"})
truth("at most 3 mapped blocks", 1, 20000, 1, {"GLIBC_TUNABLES": "glibc.malloc.mmap_max=3"})
trim()
truth_32()
busy(60)
real_programs()
unchanged()
other_allocators()
t.done()
