"""heap_truth, which knows its blocks and mallinfo2, and what vmatlas heap says of it.

    from heap_check import Truth, heap, truth
    truth(t, "eight threads", 8, 30000, "m", ["tcache_count=0"])
"""
import json
import os
import subprocess
import tempfile

import tap

PROGRAM = os.path.join(tap.BUILD, "tests/factory/heap_truth")


def heap(t, pid, *options):
    # The limit is generous: on a busy machine the reader waits for a processor while the process stands.
    limit = () if "--no-stop" in options or "--max-stop" in options else ("--max-stop", "60000")
    done = subprocess.run([tap.VMATLAS, "heap", "-J", *limit, *options, str(pid)], capture_output=True, text=True, timeout=180)
    if done.returncode:
        t.diag(done.stderr)
        return None
    return json.loads(done.stdout)


class Truth:
    """A running heap_truth. `program` is a command; `tunables` are those of glibc.malloc."""

    def __init__(self, threads, blocks, kind, tunables=(), program=(PROGRAM,)):
        env = {**os.environ, "GLIBC_TUNABLES": ":".join(f"glibc.malloc.{name}" for name in tunables)}
        self.list = tempfile.NamedTemporaryFile(prefix="vmatlas-heap-")
        self.process = subprocess.Popen([*program, str(threads), str(blocks), kind, self.list.name], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True, env=env)
        self.info = json.loads(self.process.stdout.readline() or "null")
        if not self.info:
            raise RuntimeError(f"{program} ended with {self.process.wait()}")
        self.process.stdout.readline()
        self.pid = self.info["pid"]

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


def check_sums(t, name, info, doc, chunks):
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
    want = {key: info[key] for key in got}
    # glibc 2.43 counts a header too much for each mapped block that it has resized: no sum of whole pages.
    want["hblkhd"] -= want["hblkhd"] % 4096
    t.is_(got, want, f"{name}: sums are mallinfo2's")


def check_blocks(t, name, blocks, rows):
    """Every block is a chunk in use, and as large as malloc_usable_size says."""
    chunks = {int(c["block"], 16): c for c in rows if c["block"]}
    missing = sum(addr not in chunks for addr in blocks)
    wrong = sum(addr in chunks and chunks[addr]["usable"] != size for addr, size in blocks.items())
    t.is_((missing, wrong), (0, 0), f"{name}: each of {len(blocks)} blocks is a chunk in use of its size")


def truth(t, name, threads, blocks, kind, tunables=(), program=(PROGRAM,)):
    with Truth(threads, blocks, kind, tunables, program) as running:
        doc = heap(t, running.pid)
        if not t.ok(doc and doc["walked"], f"{name}: is walked", doc and doc["why_not"]):
            return
        t.is_((doc["findings"], doc["partial_why"]), ([], None), f"{name}: no findings, nothing left out")
        t.ok(all(a["complete"] for a in doc["arenas"]), f"{name}: every arena is walked to its end")
        rows = heap(t, running.pid, "--chunks")["chunks"]
        check_sums(t, name, running.info, doc, rows)
        check_blocks(t, name, running.blocks(), rows)


def trim(t, name, blocks, program=(PROGRAM,)):
    """What a trim would give back, and what it does give back."""
    with Truth(4, blocks, "m", program=program) as running:
        foretold = heap(t, running.pid)["totals"]["trimmable"]
        real = running.trim()
        t.ok(foretold > 1 << 20 and abs(real - foretold) <= 64 * 1024, f"{name}: malloc_trim gives back what was foretold",
             f"foretold {foretold}, really {real}")
        after = heap(t, running.pid)["totals"]["trimmable"]
        t.ok(after <= 64 * 1024, f"{name}: after it, little is left to give back", f"{after} bytes")


def settings(t, name, program=(PROGRAM,)):
    """mp_ as it begins, and as the user has tuned it."""
    keys = ("trim_threshold", "mmap_threshold", "thresholds_fixed", "mmap_max", "arena_max", "tcache_count")
    tuned = ["trim_threshold=300000", "mmap_threshold=70000", "mmap_max=77", "arena_max=3", "tcache_count=5"]
    for how, tunables, want in (("at first", [], (131072, 131072, False, 65536, 0)), ("tuned", tuned, (300000, 70000, True, 77, 3, 5)),
                                ("small tcaches", ["tcache_max=200"], (131072, 131072, False, 65536, 0)),
                                ("no trim", [f"trim_threshold={(1 << (32 if '32 bit' in name else 64)) - 1}"], ((1 << 63) - 1, 131072, True, 65536, 0))):
        with Truth(1, 1000, "-", tunables, program) as running:
            doc = heap(t, running.pid)
        t.is_(tuple(doc[key] for key in keys)[:len(want)], want, f"{name}: malloc's settings, {how}")
