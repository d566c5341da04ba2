#!/usr/bin/env python3
"""vmatlas faults: counts against the program's own getrusage, addresses and code against what the program says, each cause that can be
provoked, and the advice followed: faults for each operation before and after."""
# timeout: 300
# serial
import json
import os
import select
import signal
import subprocess
import sys

sys.path.insert(0, os.path.join(os.environ["SRC"], "tests"))
import tap

t = tap.Tap()
STORM = os.path.join(tap.BUILD, "tests/factory/fault_storm")
CANNOT = 77
LEAST = 13                                                 # one of at least so many faults is sampled


class Storm:
    """A fault_storm at work."""

    def __init__(self, mode, *arguments, setting="", user=None):
        env = {k: v for k, v in os.environ.items() if k != "GLIBC_TUNABLES"}
        if setting:
            name, _, value = setting.partition("=")
            env[name] = value
        program = tap.for_everyone(STORM) if user else STORM
        self.process = subprocess.Popen([program, mode, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env,
                                        user=user, extra_groups=[] if user else None, group=user)
        line = self.read()
        self.info = json.loads(line) if line else None
        self.pid = self.info and self.info["pid"]

    def read(self):
        ready, _, _ = select.select([self.process.stdout], [], [], 120)
        return self.process.stdout.readline() if ready else ""

    def ask(self, text=""):
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()

    def report(self):
        self.ask()
        return json.loads(self.read())

    def wait_ops(self, count):
        """Until so many operations more are done; what they cost."""
        first = last = self.report()
        while last["ops"] < first["ops"] + count:
            select.select([], [], [], 0.02)
            last = self.report()
        return (last["minor"] - first["minor"]) / (last["ops"] - first["ops"])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.kill()
        self.process.wait()


def faults(pid, *options, without="", user=None, check=True):
    """The document, and what was said on stderr."""
    env = dict(os.environ, VMAT_WITHOUT=without) if without else os.environ
    program = tap.for_everyone(tap.VMATLAS) if user else tap.VMATLAS
    done = subprocess.run([program, "faults", "-J", *options, str(pid)], capture_output=True, timeout=120, env=env, user=user,
                          extra_groups=[] if user else None, group=user)
    if check and done.returncode != 0:
        t.diag(done.stderr.decode(errors="replace"))
    return json.loads(done.stdout) if done.returncode == 0 else None, done.stderr.decode(errors="replace")


def until(is_enough, pid, *options, seconds=(1, 8, 30), **how):
    """The document of a time in which enough happened to tell, and what was said: a slow or busy machine takes longer for that."""
    doc, err = None, ""
    for length in seconds:
        doc, err = faults(pid, "--for", f"{length}s", *options, **how)
        if not doc or is_enough(doc):
            break
    return doc, err


def looked_at(storm):
    return until(lambda doc: doc["looks"] >= 15, storm.pid, seconds=(2, 8, 30))[0]


def some(doc):
    return doc["minor"] > 0


def sampled(doc):
    return doc["sites"] and doc["places"] and doc["samples_minor"] > 20


def main_cause(doc):
    return doc["causes"][0]["cause"] if doc and doc["causes"] else None


def counts(_):
    with Storm("first_touch") as storm:
        before = storm.report()
        doc, _ = until(sampled, storm.pid, "--interval", "250ms")
        after = storm.report()
        t.ok(doc and 0 < doc["minor"] <= after["minor"] - before["minor"],
             "not more faults are counted than the program had from before to after", [doc and doc["minor"], before, after])
        t.is_(sum(tick["minor"] for tick in doc["ticks"]), doc["minor"], "the intervals add up")
        t.ok(len(doc["ticks"]) >= 2 and doc["span_ns"] >= 10**9, "the time that was asked for, in intervals", doc["ticks"])
        t.ok(doc["sampled"] and doc["samples_minor"] * LEAST <= doc["minor"] + LEAST, "no more samples than faults", [doc["samples_minor"], doc["minor"]])
        start, end = storm.info["start"], storm.info["end"]
        best = doc["places"][0]
        t.ok(int(best["start"], 16) <= start < int(best["end"], 16) and int(best["end"], 16) >= end, "the place is the one that it works on",
             [best, hex(start), hex(end)])
        t.ok(start <= int(doc["sites"][0]["last"], 16) < end, "the address of a fault lies in it", doc["sites"][0])
        t.ok("storm_touch" in (doc["sites"][0]["name"] or ""), "the code that faults has its name", doc["sites"][0])
        t.ok(doc["places"][0]["pages"] == doc["places"][0]["samples"], "each page faults once", best)


def all_of_them(_):
    """With each fault sampled."""
    with Storm("dontneed") as storm:
        before = storm.report()
        doc, _ = until(lambda doc: sampled(doc) and doc["places"][0]["pages"] == 6, storm.pid, "--every", "1")
        after = storm.report()
        t.ok(doc and (doc["lost"] or doc["throttled"] or doc["minor"] / 2 <= doc["samples_minor"] <= after["minor"] - before["minor"]),
             "with --every 1 all faults are sampled", doc and [doc["samples_minor"], doc["minor"], before, after])
        t.ok(doc["places"][0]["pages"] == 6, "as many different pages as it touches", doc["places"][0])


def in_step(_):
    """A round of as many faults as are between two samples: no page of it is left out, or stands for the others."""
    with Storm("dontneed", "touch=17", "pause=0") as storm:
        os.sched_setaffinity(storm.pid, {min(os.sched_getaffinity(0))})    # each processor counts for itself
        doc, _ = until(lambda doc: doc["samples_minor"] > 2000, storm.pid, seconds=(2, 8, 30))
        best = doc["places"][0]
        t.ok(best["pages"] == 17, "17 pages a round, one of 17 faults sampled: all of them are seen", best)
        fixed, _ = until(sampled, storm.pid, "--every", "17")
        t.ok(fixed["places"][0]["pages"] < 17, "... which a fixed number does not show", fixed["places"][0])


# Mode and arguments, the cause, the most faults an operation may have with the advice followed, how it is followed.
ARTICLE = ["malloc", "size=2097152", "live=4", "touch=6"]
CAUSES = [
    ("first_touch", ["first_touch"], "", "first_touch", None, None),
    ("the article's storm, four blocks", ARTICLE, "", "trim_churn", 1, "setting"),
    ("malloc, a threshold alone", ARTICLE, "GLIBC_TUNABLES=glibc.malloc.mmap_threshold=131072", "mmap_churn", 1, "setting"),
    ("malloc, blocks above all thresholds", ["malloc", "size=33792000", "live=1"], "", "mmap_churn", 1, "setting"),
    ("a mapping of its own", ["remap"], "", "mmap_churn", 1, "cured"),
    ("fork", ["fork", "touch=256"], "", "fork_copy", 128, "cured"),
    ("a forked child", ["child"], "", "fork_copy", None, None),
    ("files", ["file"], "", "file_read", 1, "cured"),
    ("stacks of threads", ["stack"], "", "stack_growth", 1, "cured"),
    ("huge pages in pieces", ["split", "pause=4000"], "", "huge_split", 8, "cured"),
    ("given back and used again", ["dontneed"], "", "dontneed", 1, "cured"),
]


def causes(_):
    for name, arguments, setting, cause, at_most, how in CAUSES:
        with Storm(*arguments, setting=setting) as storm:
            if not storm.info:
                t.skip(f"{name}: the cause", "this machine cannot make it: " + arguments[0])
                continue
            doc = looked_at(storm)
            t.is_(main_cause(doc), cause, f"{name}: the cause")
            if main_cause(doc) != cause:
                t.diag(json.dumps([doc["causes"], doc["places"][:4]], indent=1))
            first = doc["causes"][0]
            t.ok(first["evidence"] and first["advice"] and first["confidence_percent"] >= 50, f"{name}: evidence, advice and confidence", first)
            if how is None:
                continue
            before = storm.wait_ops(50)
        if how == "setting":
            t.ok(first["setting"].startswith("GLIBC_TUNABLES=") and ":" in first["setting"], f"{name}: both settings are advised", first)
            cured = Storm(*arguments, setting=first["setting"])
        else:
            cured = Storm(*arguments, "cured=1")
        with cured as storm:
            storm.wait_ops(20)
            after = storm.wait_ops(50)
        t.ok(after <= at_most < before, f"{name}: faults an operation fall from {before:.2f} to {after:.2f} with the advice followed")


def article(_):
    """What the case of docs/cases/fault-storm.md says: one block makes no storm, four do, one setting alone makes it worse."""
    def cost(live, setting=""):
        with Storm("malloc", "size=2097152", f"live={live}", "touch=6", "pause=0", setting=setting) as storm:
            storm.wait_ops(200)
            return storm.wait_ops(400) / live

    one, four, sixteen = cost(1), cost(4), cost(16)
    alone = cost(16, "GLIBC_TUNABLES=glibc.malloc.trim_threshold=134217728")
    t.ok(one < 0.5 < four, f"one live block has no storm ({one:.2f} faults a block), four have ({four:.2f})")
    t.ok(alone > sixteen, f"one setting alone makes it worse: {alone:.2f} instead of {sixteen:.2f}")


def refused(_):
    with Storm("dontneed") as storm:
        doc, err = until(some, storm.pid, without="perf_faults")
        t.ok(doc and doc["minor"] > 0 and not doc["sampled"] and doc["partial"] and not doc["places"],
             "without perf faults are counted, and the answer is partial", doc)
        t.ok("VMAT_WITHOUT" in err and doc["why_no_samples"], "and it says why", err)
        t.is_(main_cause(doc), "unknown", "the cause is then unknown")
        doc, _ = until(some, storm.pid, "--no-samples")
        t.ok(doc and doc["minor"] > 0 and not doc["partial"], "--no-samples only counts, and that is all that was asked for")


def unprivileged(_):
    if os.getuid():
        t.skip("another user", "needs root to become somebody else")
        return
    paranoid = int(open("/proc/sys/kernel/perf_event_paranoid").read())
    with Storm("dontneed", user=65534) as storm:
        doc, err = until(lambda doc: not doc["sampled"] or doc["looks"] >= 15, storm.pid, seconds=(2, 8, 30), user=65534)
        if paranoid > 2:
            t.ok(doc and not doc["sampled"] and "perf_event_paranoid" in err, "without the right it says which setting is missing", err)
        else:
            t.ok(doc and doc["sampled"] and not doc["with_kernel"], "a user samples an own process without rights", err)
            t.is_(main_cause(doc), "dontneed", "and the cause is found")
    with Storm("dontneed") as storm:
        doc, err = until(some, storm.pid, user=65534)
        t.ok(doc and doc["minor"] > 0 and not doc["sampled"], "faults of a stranger's process are counted", err)
        t.ok(doc and doc["why_no_samples"] and ("sudo" in err or "perf_event_paranoid" in err), "and what is missing is said", err)


def many_threads(_):
    with Storm("dontneed", "threads=500") as storm:
        if not storm.info:
            t.skip("500 threads", "this machine cannot make it: threads")
            return
        doc, err = until(lambda doc: doc["looks"] >= 15, storm.pid)
        t.ok(doc and doc["sampled"] and main_cause(doc) == "dontneed", "500 threads beside it", err)


def thread_storm(_):
    """Threads that begin while it is watched are followed: none of them was there before."""
    with Storm("stack", "pause=0") as storm:
        doc, _ = until(lambda doc: doc["looks"] >= 15 and doc["threads_begun"] > 10, storm.pid, "--every", "1")
        begun = doc["threads_begun"] if doc else 0
        t.ok(begun > 10 and doc["samples_minor"] >= doc["minor"] / 2 or doc["lost"] or doc["throttled"],
             "faults of new threads are sampled", doc and [begun, doc["samples_minor"], doc["minor"], doc["lost"]])
        t.is_(main_cause(doc), "stack_growth", "and belong to their stacks")


def begin(storm, *options):
    """A watch that has its events, and catches signals."""
    watch = subprocess.Popen([tap.VMATLAS, "faults", "-J", *options, str(storm.pid)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    names = ""
    while "perf_event" not in names and watch.poll() is None:
        select.select([], [], [], 0.01)
        names = ""
        for fd in os.listdir(f"/proc/{watch.pid}/fd"):
            try:
                names += os.readlink(f"/proc/{watch.pid}/fd/{fd}")
            except FileNotFoundError:
                pass  # closed meanwhile
    return watch


def ends(_):
    with Storm("dontneed", "ops=300") as storm:
        doc, err = faults(storm.pid, "--for", "60s")
        t.ok(doc and doc["partial"] and doc["minor"] > 0 and doc["span_ns"] < 60 * 10**9, "a target that ends: what was seen until then", err)
    with Storm("dontneed") as storm:
        watch = begin(storm, "--for", "60s")
        storm.wait_ops(50)
        storm.ask("exec")
        out, err = watch.communicate(timeout=120)
        doc = json.loads(out)
        t.ok(doc["partial"] and "executed" in doc["partial_why"] and doc["span_ns"] < 60 * 10**9, "exec ends it, and that is said", err)
    for number, said in ((signal.SIGINT, "Ctrl-C"), (signal.SIGTERM, "SIGTERM")):
        with Storm("dontneed") as storm:
            watch = begin(storm, "--for", "600s")
            storm.wait_ops(200)
            watch.send_signal(number)
            out, err = watch.communicate(timeout=120)
            doc = json.loads(out) if out else None
            t.ok(watch.returncode == 0 and doc and doc["minor"] > 0 and doc["sampled"] and doc["span_ns"] < 600 * 10**9,
                 f"{said} ends the time, and what was seen until then is told", err)
    done = subprocess.run([tap.VMATLAS, "faults", "--for", "1s", str(2**22 - 1)], capture_output=True)
    t.is_(done.returncode, 3, "no such process")


def usage(_):
    for options in (["--for", "0s"], ["--for", "x"], ["--every", "0"], ["--interval", "-1s"], ["--for", "1e9"]):
        done = subprocess.run([tap.VMATLAS, "faults", *options, str(os.getpid())], capture_output=True)
        t.ok(done.returncode == 2 and options[0].encode() in done.stderr, f"{' '.join(options)}: refused", done.stderr)


def table(_):
    with Storm(*ARTICLE) as storm:
        done = subprocess.run([tap.VMATLAS, "faults", "--for", "1s", "--width", "80", str(storm.pid)], capture_output=True, text=True)
        t.ok("trim_churn" in done.stdout and "GLIBC_TUNABLES=" in done.stdout and "storm_touch" in done.stdout,
             "the table says cause, cure and code", done.stdout + done.stderr)
        rows = subprocess.run([tap.VMATLAS, "faults", "--for", "300ms", "--csv", "-o", "start,minor,cause", str(storm.pid)],
                              capture_output=True, text=True).stdout.splitlines()
        t.ok(rows and rows[0] == "start,minor,cause" and all(len(r.split(",")) == 3 for r in rows), "CSV", rows)


def why_not_sampled():
    with Storm("dontneed") as storm:
        doc, err = faults(storm.pid, "--for", "100ms")
    return None if doc and doc["sampled"] else doc and doc["why_no_samples"] or err


REASON = why_not_sampled()
if REASON:
    t.skip("addresses, code and causes", "faults are not sampled here: " + REASON)
else:
    for section in (counts, all_of_them, in_step, causes, unprivileged, many_threads, thread_storm, ends, table):
        t.section(section)
for section in (article, refused, usage):
    t.section(section)
t.done()
