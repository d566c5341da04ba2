#!/usr/bin/env python3
# serial
"""Looking changes nothing and stalls nothing: counters of the target, opens of smaps, and how long its mmap waits meanwhile."""
import os
import re
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.environ["SRC"], "tests", "hostile"))
from _vmatlas import COMMANDS, State, at_rest, run, tracer  # noqa: E402
from factory import Factory, NotPossible  # noqa: E402
import tap  # noqa: E402

VIEWS = {
    **COMMANDS,
    "map as a table": ("map",),
    "map -O": ("map", "-O"),
    "map --tree": ("map", "--tree"),
    "map --gaps": ("map", "--gaps"),
    "map --where": ("map", "--where", "2M"),
    "stacks -O": ("stacks", "-O"),
    "cow --ranges": ("cow", "--ranges"),
}
if os.geteuid() == 0:
    VIEWS["pages --flags"] = ("pages", "--all", "--flags")
TARGETS = [
    ("1 GiB of holes", "holes", {"size": "1g"}),
    ("threads", "threads", {"n": 300, "cached": 3}),
    ("pages of every kind", "pages", {}),
    ("memory of every kind", "kinds", {}),
    ("copies", "cow", {}),
    ("userfaultfd", "uffd", {}),
    ("1 TiB sparse", "sparse", {}),
    ("3000 regions", "regions", {"n": 3000}),
]


def check_target(t, name, scenario, options):
    try:
        f = Factory(scenario, **options)
        f.__enter__()
    except NotPossible as reason:
        return t.skip(name, reason)
    with f:
        run("map", "-O", f.pid)     # what the first look brings into our own caches is not the target's
        for view, words in VIEWS.items():
            if scenario == "sparse" and view == "pages --flags":
                continue            # 1 TiB of pages that are not there, each asked for its frame
            before = at_rest(f.pid)
            r = run(*words, f.pid, timeout=60)
            changed = State(f.pid) - before
            t.ok(r.code == 0 and not changed, f"{name}: {view} changes nothing", f"exit {r.code} {changed} {r.err!r}")


# A child that shares the pages of its parent until one of both writes: 600 regions, each with a page.
FORKED = """
import mmap, os, sys
kept = [mmap.mmap(-1, 8192, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=3 + i % 2 * 4) for i in range(600)]
for each in kept:
    each[0] = 1
child = os.fork()
if child:
    print(child, flush=True)
sys.stdin.read()
"""


def check_shared(t):
    """Reading a page that fork has left to be copied on write does not copy it, as pinning it would (FOLL_PIN)."""
    with subprocess.Popen([sys.executable, "-c", FORKED], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as p:
        pid = p.stdout.readline().strip()
        while not all(reads_input(each) for each in (pid, p.pid)):
            time.sleep(0.01)        # what python writes on its way there is copied
        for view, words in {**VIEWS, "heap": ("heap",), "leaks": ("leaks",)}.items():
            before = shared_dirty(pid)
            r = run(*words, pid, timeout=60)
            after = shared_dirty(pid)
            t.ok(r.code in (0, 1) and before > 600 * 4 and after == before, f"a forked child: {view} leaves its pages shared",
                 f"exit {r.code}, {before} KiB before, {after} after {r.err!r}")
        p.stdin.close()


def reads_input(pid):
    with open(f"/proc/{pid}/syscall", encoding="ascii") as file:
        return file.read().startswith("0 0x0 ")     # x86-64: read, of descriptor 0


def shared_dirty(pid):
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("Shared_Dirty"))


def calls(*words):
    """The result of a command, and its system calls: number, ns that it ran, path where it opens one."""
    with tempfile.NamedTemporaryFile("r") as log:
        r = run(*words, wrap=tracer("-l", log.name), timeout=60)
        lines = [line.rstrip("\n").split(" ", 2) for line in log]
        return r, [(int(number), int(ns), path) for number, ns, path in lines]


def opened(*words):
    """The files that a command opens."""
    r, made = calls(*words)
    return r, [path for _, _, path in made if path]


def check_smaps(t):
    with Factory("threads", n=2) as f:
        for view, words in {**VIEWS, "pagesize": ("pagesize",)}.items():
            if view in ("map -O", "stacks -O"):
                continue
            r, files = opened(*words, f.pid, *(["1000"] if view == "pagesize" else []))
            t.ok(r.code == 0 and files and not [x for x in files if "smaps" in x], f"{view} opens no smaps", (r.code, files))
            bad = [x for x in files if re.search(r"clear_refs|oom_|cmdline|environ$|/fd/", x)]
            t.ok(not bad, f"{view} opens nothing that changes the target or may hang", bad)
        for column in ("PSS", "USS", "DIRTY"):
            r, files = opened("map", "-o", "+" + column, f.pid)
            t.is_((r.code, [x for x in files if "smaps" in x]), (0, ["smaps"]), f"map -o +{column} opens smaps, once")
        r, files = opened("map", "-x", "PSS", f.pid)
        t.is_([x for x in files if "smaps" in x], ["smaps"], "map -x PSS opens smaps, once")


# The target of the latency test: maps and unmaps as fast as it can and notes how long each pair took, in 1/8 of a power of 2 of ns.
BUSY = """
import mmap, sys, threading, time
big = mmap.mmap(-1, int(sys.argv[1]), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x8000)
many = [mmap.mmap(-1, 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=1 + i % 2 * 2) for i in range(5000)]
latencies, clock = [], time.perf_counter_ns
def listen():
    global latencies
    for line in sys.stdin:
        taken, latencies = latencies, []
        if line == "take\\n":
            print(*taken, flush=True)
        else:
            print(flush=True)
threading.Thread(target=listen, daemon=True).start()
print("ready", flush=True)
while True:
    a = clock()
    mmap.mmap(-1, 65536).close()
    latencies.append(clock() - a)
    time.sleep(0.00005)
"""


class Busy:
    def __init__(self, size):
        self.p = subprocess.Popen([sys.executable, "-c", BUSY, str(size)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.p.stdout.readline()

    def say(self, word):
        self.p.stdin.write(word + "\n")
        self.p.stdin.flush()
        return [int(x) for x in self.p.stdout.readline().split()]

    def end(self):
        self.p.kill()
        self.p.wait()
        self.p.stdin.close(), self.p.stdout.close()


def share(sorted_values, part):
    return sorted_values[min(len(sorted_values) - 1, int(len(sorted_values) * part))]


READ, PREAD, IOCTL = 0, 17, 16     # x86-64


def check_hold(t, what, big):
    """
    The kernel holds the target's lock for at most one call of ours. So none may take longer than 1 ms of processor time, however
    much memory the target has; what passes while we wait for a processor is the scheduler's.
    """
    held = {"map --summary": ("map", "--summary"), **{v: w for v, w in VIEWS.items() if "-O" not in w and "--tree" not in w}}
    for view, words in held.items():
        times = []
        for _ in range(4):          # an interrupt may fall into a call; not into the same one four times
            r, made = calls(*words, big)
            times.append(max([ns for number, ns, _ in made if number in (READ, PREAD, IOCTL)], default=0))
            if times[-1] <= 1_000_000:
                break
        t.ok(r.code == 0 and min(times) <= 1_000_000, f"{view}: no call holds a target of {what} for longer than 1 ms",
             f"exit {r.code}, ns: {times}")
        t.diag(f"{view}, {what}: the longest call ran {min(times) / 1e3:.0f} us")
    if "GiB" not in what:
        return
    r, made = calls("map", "-J", "-o", "+PSS", big)
    longest = max(ns for number, ns, _ in made if number == READ)
    t.ok(longest > 1_000_000, f"the same measure finds smaps of {what}, which does", f"{longest} ns")


def first_in_line(pid=0, priority=1):
    """Makes a process run before ordinary ones, so that what others do on this machine does not count. False without the right to."""
    try:
        for task in os.listdir(f"/proc/{pid}/task") if pid else [0]:
            os.sched_setscheduler(int(task), os.SCHED_FIFO, os.sched_param(priority))
        return True
    except PermissionError:
        return False


def one_slice(words, pid, busy, seconds):
    """The waits of `busy` in one slice of time while vmatlas looks at `pid` again and again."""
    busy.say("drop")
    runs, stop = 0, time.monotonic() + seconds
    while time.monotonic() < stop:
        runs += run(*words, pid, timeout=30, limit=first_in_line).code == 0
    return sorted(busy.say("take")), runs


def check_latency(t):
    """
    A: vmatlas looks at the process that is measured. B: at another one of the same shape, so that the load of the machine is the
    same and only the lock is another's. In turns. What A has more than B is what looking costs. Both run before all others where
    that is permitted; where not, whoever holds a lock may lose its processor meanwhile, so only the quieter slices are compared,
    and five times as much is allowed.
    """
    size = int(os.environ.get("LATENCY_BYTES", 1 << 30))
    seen, other = Busy(size), Busy(size)
    try:
        t.section(check_hold, "1 GiB", seen.p.pid)
        is_first = first_in_line(seen.p.pid, 2)
        t.diag("runs before ordinary processes" if is_first else "shares the processors with others")
        most_ns = 1_000_000 if is_first else 5_000_000
        for name, words in (("map", ("map", "-J")), ("pages --all", ("pages", "--all", "-J")), ("stacks", ("stacks", "-J"))):
            found = {"A": [], "B": []}
            end = time.monotonic() + float(os.environ.get("LATENCY_SECONDS", 6))
            while time.monotonic() < end:
                for side, pid in (("A", seen.p.pid), ("B", other.p.pid)):
                    waits, runs = one_slice(words, pid, seen, 0.5)
                    if not runs:
                        return t.ok(False, f"{name} answers while the target maps")
                    found[side].append(waits)
            quiet = {side: share(sorted(share(w, 0.999) for w in ws), 0.25) for side, ws in found.items()}
            added = quiet["A"] - quiet["B"]
            for side, ws in found.items():
                w = sorted(x for part in ws for x in part)
                t.diag(f"{name}, {side}: {len(w)} pairs of mmap and munmap: p50 {share(w, .5) / 1e3:.1f} us, p99 "
                       f"{share(w, .99) / 1e3:.0f} us, p99.9 {share(w, .999) / 1e3:.0f} us, most {w[-1] / 1e3:.0f} us; "
                       f"p99.9 of the quieter slices {quiet[side] / 1e3:.0f} us")
            t.ok(added <= most_ns, f"{name}: mmap in the target waits little longer while it is read (p99.9)", f"{added / 1e6:.2f} ms")
        waits, _ = one_slice(("map", "-J", "-o", "+PSS"), seen.p.pid, seen, 1)
        # The longest wait: how many of them fall into the walk of smaps depends on how fast the rest of vmatlas is built.
        t.ok(max(waits) > 1_000_000, "the same measure finds smaps, which it does wait for", f"{max(waits) / 1e6:.2f} ms")
    finally:
        seen.end()
        other.end()


t = tap.Tap()
for target in TARGETS:
    t.section(check_target, *target)
t.section(check_shared)
t.section(check_smaps)
with Factory("regions", n=60000) as f:
    t.section(check_hold, "60,000 regions", f.pid)
t.section(check_latency)
t.done()
