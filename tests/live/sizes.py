#!/usr/bin/env python3
"""vmatlas sizes against what the malloc in question really gives: the target is a python program that asks its own malloc, under each
allocator and with glibc's thresholds set and moved."""
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.environ["SRC"], "tests", "hostile"))
from _vmatlas import is_asan  # noqa: E402
import tap  # noqa: E402

LIBRARIES = {"jemalloc": "libjemalloc.so.2", "mimalloc": "libmimalloc.so.2.0", "tcmalloc": "libtcmalloc_minimal.so.4"}
PLACE = "/usr/lib/x86_64-linux-gnu"
# Around each power of two, and every small one.
ASKED = sorted(set(range(0, 300)) | {(1 << k) + d for k in range(8, 21) for d in (-17, -8, -1, 0, 1, 8, 9, 16, 100) if (1 << k) + d <= 1 << 20})
# A large request that fits into the free end of the heap is not mapped: there is to be no such end.
NO_TOP = ":glibc.malloc.top_pad=0"
TARGET = """
import ctypes, os, sys
lib = ctypes.CDLL(None)
lib.malloc.restype, lib.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
lib.malloc_usable_size.restype, lib.malloc_usable_size.argtypes = ctypes.c_size_t, [ctypes.c_void_p]
lib.free.argtypes = [ctypes.c_void_p]
print(os.getpid(), flush=True)
for line in sys.stdin:
    word, *sizes = line.split()
    if word == "free":      # a mapped block that is freed moves the threshold
        lib.free(lib.malloc(int(sizes[0])))
        print("freed", flush=True)
    else:                   # blocks stay, so that no free one is given whole
        print(*(lib.malloc_usable_size(lib.malloc(int(n))) for n in sizes), flush=True)
"""


class Target:
    def __init__(self, **env):
        self.process = subprocess.Popen([sys.executable, "-c", TARGET], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        env={**os.environ, **env})
        self.pid = self.process.stdout.readline().strip()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait()

    def ask(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().split()


def sizes(*args, **env):
    done = subprocess.run([tap.VMATLAS, "sizes", "-J", *args], capture_output=True, text=True, timeout=60, env={**os.environ, **env})
    return json.loads(done.stdout)


def told(rows, asked):
    """The usable size that the rows tell of a request."""
    for row in rows:
        if row["asked_from"] <= asked <= row["asked_to"]:
            if row["usable_from"] is None:
                return None
            size = row["usable_from"]
            while size - row["spare"] < asked and row["step"]:
                size += row["step"]
            return size if size <= row["usable_to"] else -1
    return -2


def wrong(doc, truth, glibc=False):
    """Requests whose size is told otherwise; glibc may give 16 bytes more."""
    return [(n, told(doc["sizes"], n), got) for n, got in truth.items()
            if told(doc["sizes"], n) not in ((got, got - 16) if glibc else (got,))]


def check_rows(t, doc, name):
    rows = doc["sizes"]
    t.ok(rows and rows[0]["asked_from"] == 0 and all(a["asked_to"] + 1 == b["asked_from"] for a, b in zip(rows, rows[1:]))
         and rows[-1]["asked_to"] == 1 << 20, f"{name}: the rows are all requests to 1 MiB, each once", rows[:3])
    known = [r for r in rows if r["usable_from"] is not None]
    waste = [max(told([r], n) - max(n, 1) for n in (r["asked_from"], (r["asked_from"] + r["asked_to"]) // 2, r["asked_to"])) for r in known]
    t.ok(all(w <= r["waste"] < max(r["step"], r["usable_from"]) + 4096 for w, r in zip(waste, known)), f"{name}: no request wastes more", rows[:3])


def of_process(t):
    for name, library in {"glibc malloc": None, **LIBRARIES}.items():
        if library and not os.path.exists(os.path.join(PLACE, library)):
            t.skip(f"sizes of {name}", f"{library} is not installed")
            continue
        # The threshold of glibc does not move when it was set: so it is the same in vmatlas.
        env = {"LD_PRELOAD": library} if library else {"GLIBC_TUNABLES": "glibc.malloc.mmap_threshold=131072" + NO_TOP}
        with Target(**env) as target:
            doc = sizes(target.pid)
            each = sizes("--all", target.pid)
            truth = dict(zip(ASKED, map(int, target.ask("sizes " + " ".join(map(str, ASKED))))))
        t.is_(doc["allocator"], name, f"{name}: is known")
        if name == "tcmalloc":
            t.ok(doc["sizes"] == [] and "LD_PRELOAD" in doc["why_not"], "tcmalloc: its grid is not known from outside, and that is said", doc)
        else:
            check_rows(t, doc, name)
            found = [w for w in wrong(doc, truth, name == "glibc malloc") if not (name == "mimalloc" and w[0] > 128 << 10 and w[1] is None)]
            t.is_(found[:5], [], f"{name}: what it gives is what was told")
            found = [w for w in wrong(each, truth, name == "glibc malloc") if not (name == "mimalloc" and w[0] > 128 << 10 and w[1] is None)]
            t.is_(found[:5], [], f"{name}: with --all, too")
        if is_asan():
            continue    # its malloc is the sanitizer's
        own = sizes(**env)
        t.is_(wrong(own, truth, name == "glibc malloc")[:5], [], f"{name}: and what runs in vmatlas tells the same")


def thresholds(t):
    for tunable, threshold in (("mmap_threshold=65536", 65536), ("mmap_threshold=500000", 500000), ("mmap_max=0", None)):
        with Target(GLIBC_TUNABLES="glibc.malloc." + tunable + NO_TOP) as target:
            doc = sizes(target.pid)
            truth = dict(zip(ASKED, map(int, target.ask("sizes " + " ".join(map(str, ASKED))))))
        if threshold:
            t.is_(doc["mmap_threshold"], threshold, f"{tunable}: is told")
        t.is_(wrong(doc, truth, True)[:5], [], f"{tunable}: what it gives is what was told")
    with Target() as target:
        before = sizes(target.pid)["mmap_threshold"]
        target.ask("free 700000")
        doc = sizes(target.pid)
        truth = dict(zip(ASKED, map(int, target.ask("sizes " + " ".join(map(str, ASKED))))))
    t.ok(before < 700000 and doc["mmap_threshold"] == 700416, "a mapped block that was freed has moved the threshold to its size", (before, doc["mmap_threshold"]))
    t.is_(wrong(doc, truth, True)[:5], [], "and what it gives is what was told")


def formats(t):
    def out(*args):
        return subprocess.run([tap.VMATLAS, "sizes", *args], capture_output=True, text=True, timeout=60)

    if is_asan():
        t.ok("no grid: " in out().stdout, "the sanitizer's malloc is not known, and that is said")
        return
    t.is_(out("--csv", "--max", "64").stdout, "asked_from,asked_to,usable_from,usable_to,step,spare,waste,waste_percent\n0,64,24,72,16,0,23,96\n",
          "as CSV")
    t.is_(out("--all", "--raw", "-n", "-o", "ASKED_TO,USABLE_TO", "--max", "64").stdout, "24 24\n40 40\n56 56\n64 72\n", "a row for each class")
    for args, code in ((("--max", "hello"), 2), (("--max", "2T"), 2), (("1", "2"), 2), (("999999999",), 3)):
        done = out(*args)
        t.ok(done.returncode == code and done.stderr.startswith("vmatlas: "), f"sizes {' '.join(args)}: exit status {code}", done)
    done = out("--max", "0")
    t.is_(done.returncode, 0, "--max 0: the request of nothing")


t = tap.Tap()
for section in (of_process, thresholds, formats):
    t.section(section)
t.done()
