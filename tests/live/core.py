#!/usr/bin/env python3
"""Core files: the same numbers as the living process gave, from a core of the kernel and from one of gdb's gcore.

heap_truth and leak_truth stand still while they are asked, so what their cores say of the heap must be what the process
said. What a core lacks is null with a reason, and never 0. Other files are refused by what they are.
"""
# serial
# timeout: 240
import glob
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.environ["SRC"], "tests"))
import tap

VMATLAS = tap.VMATLAS
HEAP_TRUTH = os.path.join(tap.BUILD, "tests/factory/heap_truth")
OVERFLOW = os.path.join(tap.BUILD, "tests/factory/overflow")
LEAK_TRUTH = os.path.join(tap.BUILD, "tests/factory/leak_truth")
PATTERN = "/proc/sys/kernel/core_pattern"
t = tap.Tap()
folder = tempfile.mkdtemp(prefix="vmatlas-core-")


def run(*args):
    return subprocess.run([VMATLAS, *args], capture_output=True, text=True, timeout=60)


def ask(*args):
    done = run(*args, "-J")
    if done.returncode not in (0, 1):
        t.diag(done.stderr)
        return {}
    return json.loads(done.stdout)


class Kernel:
    """Makes the kernel write cores into our folder, which is where they go as it is, or where root sends them."""
    def __enter__(self):
        self.before = open(PATTERN).read()
        self.why_not = None
        if "|" in self.before or "/" in self.before:
            try:
                open(PATTERN, "w").write("core\n")
            except OSError as error:
                self.why_not = f"core_pattern is {self.before.strip().split()[0]} and cannot be set: {error.strerror}"
        return self

    def __exit__(self, *_):
        if open(PATTERN).read() != self.before:
            open(PATTERN, "w").write(self.before)


def start(*command):
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=folder,
                               preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY,) * 2))
    return process, json.loads(process.stdout.readline()), process.stdout.readline()


def kernel_core(process, number=signal.SIGABRT):
    """Kills it with a core, if it does not die by itself, and returns the path."""
    if number:
        process.send_signal(number)
    process.wait()
    found = glob.glob(folder + "/core*")
    return found and os.rename(found[0], folder + "/kernel") or folder + "/kernel" if found else None


def gdb_core(process):
    path = f"{folder}/gcore.{process.pid}"
    subprocess.run(["gdb", "-q", "-nx", "-batch", "-p", str(process.pid), "-ex", f"generate-core-file {path}"],
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=120)
    return path if os.path.exists(path) else None


def without(doc, *keys):
    if isinstance(doc, dict):
        return {k: without(v, *keys) for k, v in doc.items() if k not in keys}
    return [without(v, *keys) for v in doc] if isinstance(doc, list) else doc


SAID_ONCE = ("target", "partial", "partial_why", "stopped_ns", "stopped_ms", "stop_estimate_ns", "snapshot", "no_snapshot_why", "unknown", "root_bytes",
             "counters", "findings_total")


def same_heap(name, live, core, *but):
    got = ask("heap", core)
    t.is_(without(got, *SAID_ONCE, *but), without(live, *SAID_ONCE, *but), f"{name}: heap says what it said of the process")
    t.ok(got and got["stopped_ns"] is None, f"{name}: nothing was stopped, and no time is given")


def same_leaks(name, live, core):
    got = ask("leaks", core)
    t.is_(without(got, *SAID_ONCE)["totals"], without(live, *SAID_ONCE)["totals"], f"{name}: leaks has the same totals")
    t.is_(without(got["leaks"], "unknown"), without(live["leaks"], "unknown"), f"{name}: leaks lists the same blocks, with type and content")


def heaps(kernel):
    process, _, _ = start(HEAP_TRUTH, "3", "4000", "1", folder + "/list")
    live = ask("heap", str(process.pid))
    chunks = ask("heap", "--chunks", str(process.pid))["chunks"]
    stacks = ask("stacks", str(process.pid))["threads"]
    regions = ask("map", str(process.pid), "-o", "START,END,KIND,PATH,RSS,COPIED")["regions"]
    gdb = gdb_core(process)
    core = kernel_core(process) if not kernel.why_not else process.kill()
    process.wait()
    for name, path in (("gcore", gdb), ("kernel", core)):
        if not path:
            t.skip(f"{name}: a core", kernel.why_not if name == "kernel" and kernel.why_not else "no core was written")
            continue
        # Which pages are there, gdb does not keep: it writes those that never were as zeroes.
        same_heap(name, live, path, *(["trimmable"] if name == "gcore" else []))
        if name == "gcore":
            t.ok(all(a["trimmable"] is None for a in ask("heap", path)["arenas"]), "gcore: what a trim would give is unknown, not 0")
        t.is_(ask("heap", "--chunks", path)["chunks"], chunks, f"{name}: every chunk is the same")
        keys = ("tid", "kind", "begin", "end", "guard", "used", "sp")
        threads = {s["tid"]: {k: s[k] for k in keys} for s in ask("stacks", path)["threads"] if s["kind"] == "thread"}
        t.is_(threads, {s["tid"]: {k: s[k] for k in keys} for s in stacks if s["kind"] == "thread"}, f"{name}: stacks of threads are the same")
        check_map(name, path, regions)


def check_map(name, path, live):
    doc = ask("map", path)
    regions = {r["start"]: r for r in doc["regions"]}
    lost = [r for r in live if r["start"] not in regions and name == "kernel"]
    t.is_(lost, [], f"{name}: no region is missing")
    kinds = [(r["start"], r["kind"], regions[r["start"]]["kind"]) for r in live
             if r["start"] in regions and regions[r["start"]]["kind"] != r["kind"]]
    # gdb calls memory without rights readable.
    t.is_([k for k in kinds if name == "kernel" or k[1] != "reserved"], [], f"{name}: regions are of the same kinds")
    # A debugger has written into the loader, and so into the core: libc nobody touched.
    text = [r for r in doc["regions"] if r["kind"] == "text" and r["owner"] == "libc.so.6"]
    t.ok(text and all(r["rss"] is None and r["unknown"]["rss"] for r in text), f"{name}: what is left out is null, with its reason",
         json.dumps([r for r in text if r["rss"] is not None or not r["unknown"].get("rss")]))
    t.ok(all(r["prot"][3] == "?" for r in doc["regions"]), f"{name}: whether a region is shared is not known")
    t.is_(doc["target"]["core"], path, f"{name}: the document names the core")
    if name == "kernel":
        anonymous = [(r["start"], r["rss"], regions[r["start"]]["rss"]) for r in live if r["kind"] in ("heap", "arena", "stack")]
        t.is_([a for a in anonymous if a[1] != a[2]], [], "kernel: holes tell what was resident, to the page")
        t.is_(doc["target"]["signal"], int(signal.SIGABRT), "kernel: the signal is told")


def leaks(kernel):
    process, _, _ = start(LEAK_TRUTH, "5")
    live = ask("leaks", str(process.pid))
    gdb = gdb_core(process)
    core = kernel_core(process) if not kernel.why_not else process.kill()
    process.wait()
    for name, path in (("gcore", gdb), ("kernel", core)):
        if path:
            same_leaks(name, live, path)
            t.is_(run("leaks", path).returncode, 1, f"{name}: leaks exits with 1")


def other_programs(kernel):
    """32 bits, and without a dynamic loader."""
    for name in ("heap_truth-32", "heap_truth-static"):
        program = os.path.join(tap.BUILD, "tests/factory", name)
        if kernel.why_not or not os.path.exists(program):
            t.skip(f"{name}: a core", kernel.why_not or f"{name} is not built")
            continue
        process, _, _ = start(program, "2", "1000", "1", folder + "/list")
        live, stacks = ask("heap", str(process.pid)), ask("stacks", str(process.pid))["threads"]
        core = kernel_core(process)
        same_heap(name, live, core)
        got = ask("stacks", core)["threads"]
        t.is_([(s["tid"], s["kind"], s["end"], s["used"]) for s in got], [(s["tid"], s["kind"], s["end"], s["used"]) for s in stacks],
              f"{name}: stacks are the same")


def replaced(kernel):
    """A library that is not the one of then is not believed: what only its file could tell is then not known."""
    if kernel.why_not:
        return t.skip("kernel: a core", kernel.why_not)
    with open("/proc/self/maps") as maps:
        libc = next(line.split()[-1] for line in maps if "libc.so.6" in line or "libc-2" in line)
    copy = f"{folder}/{os.path.basename(libc)}"
    shutil.copy(libc, copy)
    process, _, _ = start("env", f"LD_LIBRARY_PATH={folder}", HEAP_TRUTH, "2", "200", "0", folder + "/list")
    live = ask("heap", str(process.pid))
    core = kernel_core(process)
    with open(core, "rb") as file:
        t.ok(copy.encode() in file.read(1 << 20), "the program has run with a libc of its own")
    t.is_(ask("stacks", core)["method"], "glibc's own lists of stacks", "with the same libc glibc's lists are found")
    same_heap("the same libc", live, core)
    # One byte of the build id, which is the first note of the file.
    data = bytearray(open(copy, "rb").read())
    at = data.index(b"GNU\0", 0x100)
    while data[at - 4:at] != b"\x03\0\0\0":
        at = data.index(b"GNU\0", at + 4)
    data[at + 10] ^= 1
    os.unlink(copy)
    open(copy, "wb").write(data)
    got = ask("stacks", core)
    t.ok(got["method"].startswith("guessed"), "another libc is not asked, and the stacks are guessed", got["method"])
    t.is_(got["threads"] and len(got["threads"]), 3, "all threads are there still")
    os.unlink(copy)
    t.ok(ask("stacks", core)["method"].startswith("guessed"), "nor one that is gone")


def lacks(kernel):
    """What a core cannot answer is refused, or null, with the reason."""
    if kernel.why_not:
        return t.skip("kernel: a core", kernel.why_not)
    process, truth, _ = start(HEAP_TRUTH, "1", "100", "0", folder + "/list")
    core = kernel_core(process)
    done = run("cow", core)
    t.ok(done.returncode == 5 and "vmatlas dump" in done.stderr, "cow: exit 5, and says what would help", done.stderr)
    t.is_(run("map", "--where", "1M", core).returncode, 5, "map --where: exit 5")
    doc = ask("map", core, "-o", "+PSS")
    t.ok(doc["partial"] and "smaps" in doc["partial_why"] and all(r["pss"] is None for r in doc["regions"]), "PSS is null, and it is said")
    runs = ask("pages", core, "--all")["runs"]
    text = [r for r in ask("map", core)["regions"] if r["kind"] == "text"][0]
    inside = [r for r in runs if r["start"] == text["start"]]
    t.is_([(r["present"], r["dumped"]) for r in inside], [(None, False)], "pages: a page that is left out is neither present nor absent")
    t.ok(any(r["present"] and r["dumped"] for r in runs) and any(r["present"] is False for r in runs), "pages: a hole was never touched")
    size = ask("pagesize", core, text["start"])["addresses"][0]
    t.ok(size["in_use"] is None and size["unknown"]["in_use"], "pagesize: the page in use is unknown, with its reason", json.dumps(size))
    t.is_(ask("heap", "--no-stop", core)["approximate"], False, "heap --no-stop: a core stands, and is exact")
    t.is_(run("map", "--root", "/proc", core).returncode, 2, "--root: a record has no cores")


def overflows(kernel):
    """Who ran over the end of its stack is named, by the fault; a fault that is none is not called one."""
    if kernel.why_not:
        return t.skip("kernel: a core", kernel.why_not)
    for how, overflowed in (("thread", True), ("main", True), ("frame", True), ("null", False), ("guard", False), ("other", False)):
        process = subprocess.Popen([OVERFLOW, how], stdout=subprocess.PIPE, text=True, cwd=folder, stderr=subprocess.DEVNULL,
                                   preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY,) * 2))
        truth = json.loads(process.stdout.readline())
        core = kernel_core(process, None)
        doc = ask("stacks", core)
        over = {s["tid"]: s["overflowed"] for s in doc["threads"]}
        t.is_(over, {tid: overflowed and tid == truth["tid"] for tid in over}, f"{how}: just that thread overflowed its stack" if overflowed
              else f"{how}: no stack overflowed")
        t.is_((doc["target"]["signal"], doc["target"]["signal_tid"]), (11, truth["tid"]), f"{how}: the signal and its thread")
        said = f"thread {truth['tid']} " + ("overflowed" if overflowed else "did not overflow")
        t.ok(doc["verdict"] and doc["verdict"].startswith(said) and said in run("stacks", core).stdout, f"{how}: the verdict says so in words",
             doc["verdict"])


def refused():
    text = folder + "/text"
    open(text, "w").write("no ELF file\n")
    packed = folder + "/packed"
    open(packed, "wb").write(b"\x28\xb5\x2f\xfd" + bytes(100))
    for path, words in ((VMATLAS, "is a program"), (packed, "is compressed"), (text, "no core file"), (folder, "no regular file"), (folder + "/none", "cannot be opened")):
        done = run("map", path)
        t.ok(done.returncode == 6 and words in done.stderr and not done.stdout, f"{os.path.basename(path)}: exit 6, and says why", done.stderr)
    t.is_(run("map", "nothing").returncode, 2, "a word that is no file is no target")


with Kernel() as kernel_cores:
    t.section(lambda _: heaps(kernel_cores))
    t.section(lambda _: leaks(kernel_cores))
    t.section(lambda _: other_programs(kernel_cores))
    t.section(lambda _: replaced(kernel_cores))
    t.section(lambda _: lacks(kernel_cores))
    t.section(lambda _: overflows(kernel_cores))
t.section(lambda _: refused())
shutil.rmtree(folder, ignore_errors=True)
t.done()
