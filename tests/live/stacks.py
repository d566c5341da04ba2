#!/usr/bin/env python3
# variant: VMAT_WITHOUT=pagemap_scan,page_guard,procmap_query,pidfd
# variant: VMAT_WITHOUT=task_syscall,page_frames
"""`vmatlas stacks` against what the threads themselves say: pthread_getattr_np(3), and their own addresses.

The factory prints the truth. Nothing here knows a layout of glibc, so a new one that moves a field is found out.
"""
import ctypes
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.environ.get("SRC", "."), "tests"))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import tap  # noqa: E402
from factory import Factory, NotPossible, Program, children  # noqa: E402

WITHOUT = os.environ.get("VMAT_WITHOUT", "")
HAS_SP = "task_syscall" not in WITHOUT


class Threads(Factory):
    """The scenario threads; Factory itself takes `user` for the uid to run as."""

    def __init__(self, variant="factory", **options):
        words = [f"{key}={value}" for key, value in options.items()]
        Program.__init__(self, [os.path.join(tap.BUILD, "tests", "factory", variant), "threads"] + words)


def stacks(pid, code=0):
    run = subprocess.run([tap.VMATLAS, "stacks", "-J", str(pid)], capture_output=True, timeout=60, check=False)
    if run.returncode != code:
        raise AssertionError(f"exit {run.returncode}: {run.stderr.decode(errors='replace')}")
    return json.loads(run.stdout)


def addr(text):
    return None if text is None else int(text, 16)


def maps(pid):
    """(start, end, prot, name) of each region."""
    found = []
    with open(f"/proc/{pid}/maps", encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            words = line.split(None, 5)
            start, end = (int(w, 16) for w in words[0].split("-"))
            found.append((start, end, words[1], words[5].strip() if len(words) > 5 else ""))
    return found


def disagreements(info, report, regions):
    """What the report says otherwise than the threads; [] when it agrees in everything."""
    bad = []
    by_tid = {t["tid"]: t for t in report["threads"] if t["tid"] is not None}
    by_begin = {t["begin"]: t for t in report["threads"]}
    for want in info["threads"]:
        got = by_begin.get(want["begin"]) if want["exited"] else by_tid.get(want["tid"])
        who = f"{want['name']} ({want['tid']})"
        if want["exited"] and not want["cached"]:
            continue
        if got is None:
            bad.append(f"{who}: not there")
            continue
        main = want["kind"] == "main"
        checks = {"begin": want["begin"], "guard": want["guard"], "cached": want["exited"]}
        if not main:
            checks.update(end=want["end"], size=want["size"])
        if not want["exited"]:
            checks["name"] = want["name"]
        if want["touched"] is not None and not main:
            checks.update(high_water=want["touched"], resident=want["touched"])
        for key, value in checks.items():
            if got[key] != value:
                bad.append(f"{who}: {key} is {got[key]}, the thread says {value}")
        kind = {"main": "main", "user": "user", "cached": "cached"}.get(want["kind"], "thread")
        if got["kind"] != kind:
            bad.append(f"{who}: kind is {got['kind']}, not {kind}")
        if main:
            # glibc lets the main stack end at the page of its first frame; the kernel's region has a few bytes more.
            end = next(r[1] for r in regions if r[0] <= addr(want["local"]) < r[1])
            if addr(got["end"]) != end or got["size"] != end - addr(got["begin"]):
                bad.append(f"{who}: ends at {got['end']} with size {got['size']}, its region at {end:#x}")
        if want["exited"]:
            continue
        if want["kind"] == "busy" or not HAS_SP:
            if got["sp"] is not None or got["used"] is not None:
                bad.append(f"{who}: has a stack pointer, {got['sp']}")
        elif got["sp"] is None or abs(addr(got["sp"]) - addr(want["local"])) > 32768:
            bad.append(f"{who}: sp is {got['sp']}, but a local variable lies at {want['local']}")
        elif got["used"] != addr(got["end"]) - addr(got["sp"]):
            bad.append(f"{who}: used is {got['used']}")
    extra = set(by_tid) - {w["tid"] for w in info["threads"] if not w["exited"]}
    if extra:
        bad.append(f"threads that are not there: {extra}")
    return bad


def gap_faults(report, regions):
    """Each gap and its holes, counted again from maps."""
    bad = []
    placed = [t for t in report["threads"] if t["begin"] is not None]
    if [addr(t["begin"]) for t in placed] != sorted(addr(t["begin"]) for t in placed):
        bad.append("not ascending")
    for this, above in zip(placed, placed[1:]):
        start, end = addr(this["end"]), addr(above["begin"])
        mapped = sum(max(0, min(r[1], end) - max(r[0], start)) for r in regions)
        if this["gap"] != end - start or this["gap_holes"] != end - start - mapped:
            bad.append(f"{this['name']}: gap {this['gap']} with holes {this['gap_holes']}, not {end - start}, "
                       f"{end - start - mapped}")
        if (this["gap_holds"] == "") != (end == start):
            bad.append(f"{this['name']}: gap {this['gap']} holds {this['gap_holds']!r}")
    return bad


def settled(pid, threads):
    """Waits until each thread but the busy ones is blocked: then the kernel shows its stack pointer."""
    busy = {w["tid"] for w in threads if w["kind"] == "busy"}
    end = time.monotonic() + 10
    while time.monotonic() < end:
        for tid in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{tid}/syscall", encoding="ascii") as file:
                if file.read().startswith("running") and int(tid) not in busy:
                    break
        else:
            return pid
        time.sleep(0.01)
    raise AssertionError("threads that should wait go on running")


def agrees(t, name, variant="factory", **options):
    try:
        with Threads(variant, **options) as f:
            report, regions = stacks(settled(f.pid, f.info["threads"])), maps(f.pid)
            bad = disagreements(f.info, report, regions) + gap_faults(report, regions)
            t.ok(not bad and not report["partial"], name, "\n".join(bad[:20] + [str(report["partial_why"])]))
            return report
    except NotPossible as reason:
        t.skip(name, reason)
        return None


def test_agreement(t):
    for n in (1, 14, 500):
        agrees(t, f"{n} threads with default stacks", n=n)
    for guard in (0, 4096, 1 << 20):
        agrees(t, f"14 threads with a guard of {guard}", n=14, guard=guard)
        agrees(t, f"threads with small stacks and a guard of {guard}", n=5, stack=65536 + guard, guard=guard, use=16384)
    report = agrees(t, "user-supplied, detached, busy and cached", n=4, user=4, detached=3, busy=1, cached=3)
    if report:
        kinds = [x["kind"] for x in report["threads"]]
        t.is_((kinds.count("user"), kinds.count("cached"), kinds.count("thread")), (4, 3, 8), "each kind is counted")
        busy = next(x for x in report["threads"] if x["name"] == "busy-0")
        t.ok("sp" in busy["unknown"] and "used" in busy["unknown"], "an unknown stack pointer has its reason",
             busy.get("unknown"))
    agrees(t, "user-supplied stacks of an odd size", n=1, user=5, user_stack=300001)
    agrees(t, "a 32-bit program", variant="factory-32", n=5, user=2, cached=2, detached=1, busy=1)
    agrees(t, "a static program that was not stripped", variant="factory-static", n=5, user=2, cached=2)


def test_seed_table(t):
    """The table that people print by hand: 14 default threads of 8392704 bytes."""
    with Threads(n=14) as f:
        threads = [x for x in stacks(f.pid)["threads"] if x["kind"] == "thread"]
    t.is_([(x["size"], x["guard"], x["guard_kind"]) for x in threads], [(8392704, 4096, "vma")] * 14,
          "14 default threads: 8 MiB and a guard of 4096 bytes")
    t.ok(all(x["gap"] == 0 or x["gap_holds"] for x in threads), "each gap is 0 or says what lies in it", threads)
    t.ok(threads[-1]["gap_holds"].startswith("libc.so.6"), "the last one says what", threads[-1])


def test_merged(t):
    with Factory("merged") as f:
        report = stacks(f.pid)
        last = f.info["threads"][-2:]
        by_tid = {x["tid"]: x for x in report["threads"]}
        region = [r for r in maps(f.pid) if r[0] <= addr(last[0]["begin"]) < r[1]][0]
        t.ok(region[0] <= addr(last[1]["begin"]) < region[1], "two stacks share one region")
        got = [(by_tid[w["tid"]]["begin"], by_tid[w["tid"]]["end"], by_tid[w["tid"]]["guard_kind"]) for w in last]
        t.is_(got, [(w["begin"], w["end"], "none") for w in last], "they are told apart")


def guessed_faults(f, report, regions):
    """A guess must hold the thread's variables, be a region with its guard, and say that it is a guess."""
    bad = []
    by_tid = {x["tid"]: x for x in report["threads"]}
    for want in f.info["threads"]:
        if want["exited"]:
            continue
        got = by_tid[want["tid"]]
        if want["kind"] == "main":
            if got["kind"] != "main" or not addr(got["begin"]) <= addr(want["local"]) < addr(got["end"]):
                bad.append(f"main: {got}")
        elif got["kind"] != "guessed":
            bad.append(f"not marked as guessed: {got}")
        elif want["kind"] == "busy" or not HAS_SP:
            if got["begin"] is not None or "begin" not in got["unknown"]:
                bad.append(f"a place from nothing: {got}")
        elif not addr(got["begin"]) <= addr(want["local"]) < addr(got["end"]) or "guess" not in got["why"]:
            bad.append(f"{want['local']} is not within {got}")
        elif addr(got["end"]) not in [r[1] for r in regions]:
            bad.append(f"no region: {got}")
        elif (got["used"] is None) != (sum(x["begin"] == got["begin"] for x in report["threads"]) > 1):
            bad.append(f"used of a region that is no stack, or not of one that may be: {got}")
    return bad


def test_guessed(t):
    folder = tempfile.mkdtemp()
    stripped = os.path.join(folder, "factory-stripped")
    static = os.path.join(tap.BUILD, "tests", "factory", "factory-static")
    if os.path.exists(static):
        subprocess.run(["strip", "-o", stripped, static], check=True)
        os.chmod(stripped, 0o755)
    for name, variant in (("a stripped static program", stripped), ("a musl program", "factory-musl")):
        try:
            with Threads(variant, n=3, user=2, busy=1) as f:
                report = stacks(settled(f.pid, f.info["threads"]))
                bad = guessed_faults(f, report, maps(f.pid))
                t.ok(not bad and "guessed" in report["method"], f"{name}: marked as guessed", "\n".join(bad))
        except NotPossible as reason:
            t.skip(f"{name}: marked as guessed", reason)
    shutil.rmtree(folder)


def test_never_stopped(t):
    """While stacks runs again and again, no thread is ever stopped or traced."""
    seen, is_over = set(), threading.Event()
    with Threads(n=14, busy=1) as f:
        def watch():
            while not is_over.is_set():
                for tid in os.listdir(f"/proc/{f.pid}/task"):
                    with open(f"/proc/{f.pid}/task/{tid}/status", encoding="utf-8", errors="replace") as file:
                        text = file.read()
                    state = text.split("State:")[1].split()[0]
                    seen.add((state in "tT", text.split("TracerPid:")[1].split()[0]))

        watcher = threading.Thread(target=watch)
        watcher.start()
        for _ in range(100):
            stacks(f.pid)
        is_over.set()
        watcher.join()
    t.is_(seen, {(False, "0")}, "the target is never stopped and never traced")


NAMED = """
import os, sys
with open("/proc/self/comm", "wb") as file:
    file.write(bytes.fromhex(sys.argv[1]))
print("ready", flush=True); sys.stdin.read()
"""


def test_names(t):
    """A name may look like the rest of the line that it stands in."""
    for name in (b"a) R 1 (b", b"new\nline", b"back\\slash\\n", b")", b"(((", b"\x01\x1b[31m", b"\xff\x80) Z 1"):
        with Program([sys.executable, "-c", NAMED, name.hex()]) as f:
            got = stacks(settled(f.pid, []))["threads"][-1]
            t.ok(got["state"] == "S" and got["kind"] == "main" and got["begin"], f"a thread named {name}", got)
            if name.isascii():
                t.is_(got["name"], name.decode(), f"its name is {name}")


UNJOINED = """
import ctypes, sys, time
libc = ctypes.CDLL(None)
thread = ctypes.c_ulong()
libc.pthread_create(ctypes.byref(thread), None, ctypes.cast(libc.getpid, ctypes.c_void_p), None)
time.sleep(0.2)
print(hex(thread.value)); print("ready", flush=True); sys.stdin.read()
"""

FORKED = """
import os, sys, threading, time
def fork():
    if os.fork() == 0:
        # Printed by the child: glibc has then sorted its lists.
        print(os.getpid()); print("ready", flush=True)
    sys.stdin.read()
    os._exit(0)
threads = [threading.Thread(target=time.sleep, args=(60,), daemon=True) for _ in range(3)]
[t.start() for t in threads]
threading.Thread(target=fork).start()
"""


def test_unusual(t):
    with Program([sys.executable, "-c", UNJOINED]) as f:
        threads = stacks(f.pid)["threads"]
        gone = [x for x in threads if x["kind"] == "exited"]
        t.ok(len(gone) == 1 and addr(gone[0]["begin"]) < addr(f.lines[0]) < addr(gone[0]["end"])
             and gone[0]["tid"] is None and "joined" in gone[0]["why"],
             "a thread that exited and was not joined still has its stack", threads)
    with Program([sys.executable, "-c", FORKED]) as f:
        child = int(f.lines[0])
        threads = stacks(child)["threads"]
        alive = [x for x in threads if x["tid"] is not None]
        t.ok(len(alive) == 1 and alive[0]["tid"] == child and alive[0]["kind"] == "thread"
             and alive[0]["size"] == 8392704, "a child forked by a thread runs on that thread's stack", threads)
        t.is_([x["kind"] for x in threads if x["tid"] is None], ["cached"] * 3,
              "the stacks of the threads that it has not inherited are free")


def test_replaced_library(t):
    """After an upgrade the mapped libraries have no file any more: their pages in memory must do."""
    folder = tempfile.mkdtemp()
    program = os.path.join(tap.BUILD, "tests", "factory", "factory")
    listed = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout.split()
    libraries = [w for w in listed if w.startswith("/")]
    for library in libraries:
        shutil.copy(library, folder)
    loader = next(os.path.join(folder, os.path.basename(w)) for w in libraries if "/ld-" in w)
    with Program([loader, "--library-path", folder, program, "threads", "n=3", "cached=1"]) as f:
        info = json.loads(f.lines[0])
        bad = disagreements(info, stacks(settled(f.pid, info["threads"])), maps(f.pid))
        t.ok(not bad, "a program that was started by its loader", "\n".join(bad))
        shutil.rmtree(folder)
        report = stacks(f.pid)
        bad = disagreements(info, report, maps(f.pid))
        t.ok(not bad and report["method"].startswith("glibc's"), "its libraries have been deleted", "\n".join(bad))


def test_pid_namespace(t):
    name = "a process with thread ids of its own"
    # Root needs no user namespace, and gets none in a chroot.
    user = ["--user", "--map-root-user"] if os.geteuid() else []
    wrap = [shutil.which("unshare") or "unshare", *user, "--pid", "--fork"]
    if subprocess.run(wrap + ["true"], capture_output=True, check=False).returncode:
        t.skip(name, "no pid namespace can be made")
        return
    program = os.path.join(tap.BUILD, "tests", "factory", "factory")
    with Program(wrap + [program, "threads", "n=4", "cached=1"]) as f:
        info = json.loads(f.lines[0])
        outer = children(f.pid)[0]
        inner = {}
        for tid in os.listdir(f"/proc/{outer}/task"):
            with open(f"/proc/{outer}/task/{tid}/status", encoding="utf-8", errors="replace") as file:
                inner[int(file.read().split("NSpid:")[1].splitlines()[0].split()[-1])] = int(tid)
        for thread in info["threads"]:
            thread["tid"] = inner.get(thread["tid"])
        bad = disagreements(info, stacks(settled(outer, info["threads"])), maps(outer))
        t.ok(not bad, name, "\n".join(bad))


def test_races(t):
    """Threads come and go: each answer is whole or says that it is not, and never makes anything up."""
    bad, partial, runs = [], 0, 0
    with Factory("churn", maps=0, forks=0, s=0) as f:
        end = time.monotonic() + 4
        while time.monotonic() < end:
            report = stacks(f.pid)
            runs += 1
            partial += report["partial"]
            tids = [x["tid"] for x in report["threads"] if x["tid"] is not None]
            placed = [x for x in report["threads"] if x["begin"] is not None and x["kind"] != "guessed"]
            if len(set(tids)) != len(tids):
                bad.append(f"a thread twice: {tids}")
            if f.pid not in tids:
                bad.append(f"the main thread is not there: {tids}")
            guessed = [x for x in report["threads"] if x["kind"] == "guessed"]
            if guessed and not report["partial"]:
                bad.append(f"guessed, and not marked: {guessed}")
            bad += [f"overlap: {a} {b}"[:2000] for a, b in zip(placed, placed[1:]) if addr(a["end"]) > addr(b["begin"])]
            bad += [f"size: {x}" for x in placed if x["kind"] in ("thread", "cached") and x["size"] % 4096]
    t.ok(not bad and runs > 20, f"{runs} answers while threads come and go", "\n".join(bad[:10]))
    t.diag(f"{partial} of {runs} were partial")


def main():
    t = tap.Tap()
    for test in (test_agreement, test_seed_table, test_merged, test_guessed, test_never_stopped, test_names,
                 test_unusual, test_replaced_library, test_pid_namespace, test_races):
        t.section(test)
    t.done()


main()
