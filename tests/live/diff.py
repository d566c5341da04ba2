#!/usr/bin/env python3
"""vmatlas diff: what grew is what the program says that it took, by kind; its limits, times, processes and bad input; and check of a recording."""
# timeout: 240
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.environ["SRC"], "tests"))
import tap

MIB = 1 << 20
# Resident counters of the kernel are kept by processor, and may be off by so much.
SLACK = MIB
t = tap.Tap()
folder = tempfile.mkdtemp(prefix="vmatlas-diff-")


def path(name):
    return os.path.join(folder, name)


def run(*args):
    return subprocess.run([tap.VMATLAS, *map(str, args)], capture_output=True, text=True, timeout=120, cwd=folder, stdin=subprocess.DEVNULL)


def diff(*args):
    """(exit status, document, the sizes that grew by metric or kind)."""
    done = run("diff", "-J", *args)
    if not done.stdout:
        return done.returncode, None, done.stderr
    doc = json.loads(done.stdout)
    return done.returncode, doc, {row["what"]: row for row in doc["changes"]}


def ask(name, sql):
    try:
        db = sqlite3.connect(f"file:{path(name)}?mode=ro", uri=True)
        try:
            return db.execute(sql).fetchall()
        finally:
            db.close()
    except sqlite3.OperationalError:
        return []


class Grower:
    def __init__(self):
        self.process = subprocess.Popen([os.path.join(tap.BUILD, "tests/factory/grower")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.process.stdout.readline()
        self.pid = self.process.pid

    def do(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        self.process.stdout.readline()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait()


def record_still(name, *pids):
    """Of processes that stand still: one moment of each, with its kinds."""
    done = run("record", "-o", path(name), "-i", "100ms", "--for", "1s", *pids)
    t.is_((done.returncode, ask(name, "SELECT count(DISTINCT kind) > 3 FROM region_kind")), (0, [(1,)]), f"{name}: recorded, with kinds")


def grown(rows, what):
    return rows[what]["after"] - rows[what]["before"]


def grown_kind(rows, kind):
    row = rows.get(f"kind {kind}", {"before": 0, "after": 0})
    return (row["after"] or 0) - (row["before"] or 0)


def section_kinds():
    """40 MiB of its own mappings, 30 of them touched; 6 MiB by malloc below the threshold, which the heap must hold."""
    with Grower() as grower:
        # Else the kernel makes one region of it and of what libc has mapped.
        grower.do("reserve 4096")
        record_still("a", grower.pid)
        grower.do(f"map {30 * MIB}")
        grower.do("touch")
        grower.do(f"map {10 * MIB}")
        for _ in range(96):
            grower.do(f"malloc {64 * 1024}")
        record_still("b", grower.pid)
    code, doc, rows = diff(path("a"), path("b"))
    t.is_(code, 0, "without a limit nothing is bad")
    t.ok(36 * MIB <= doc["grown_bytes"] <= 36 * MIB + 2 * SLACK, "what is held grew by what was touched: 36 MiB", doc["grown_bytes"])
    t.is_(grown_kind(rows, "anon"), 40 * MIB, "its mappings grew by 40 MiB")
    t.ok(6 * MIB <= grown_kind(rows, "heap") <= 6 * MIB + SLACK, "the heap grew by 6 MiB and what malloc adds", rows)
    t.ok(46 * MIB <= grown(rows, "size") <= 46 * MIB + SLACK, "vsize grew by 46 MiB and what malloc adds", rows["size"])
    t.ok(not [kind for kind in ("stack", "text") if grown_kind(rows, kind)], "other kinds did not grow", rows)
    code, back, rows = diff(path("b"), path("a"))
    t.is_((code, back["grown_bytes"], grown_kind(rows, "anon")), (0, 0, -40 * MIB), "the other way round it shrank")


def section_limits():
    grew = diff(path("a"), path("b"))[1]["grown_bytes"]
    for limit, code in ((grew - 1, 1), (grew, 0), ("1G", 0), ("1M", 1), ("0", 1)):
        t.is_(diff("--fail-over", limit, path("a"), path("b"))[0], code, f"--fail-over {limit}: {code}")
    t.is_(diff("--fail-over", "0", path("b"), path("a"))[0], 0, "what shrank is below any limit")
    t.is_(diff("--fail-over", "0", path("a"), path("a"))[0], 0, "and what is the same, too")


def wait_for_samples(count, rss):
    """Until so many samples are recorded that have at least that resident size."""
    for _ in range(3000):
        if len(ask("c", f"SELECT 1 FROM sample WHERE rss >= {rss}")) >= count:
            return
        time.sleep(0.02)
    raise RuntimeError("the recorder does not record")


def section_times():
    """One recording, in which it grows once; the two parts and the whole."""
    with Grower() as grower:
        recorder = subprocess.Popen([tap.VMATLAS, "record", "-o", path("c"), "-i", "50ms", str(grower.pid)], stderr=subprocess.PIPE)
        wait_for_samples(10, 0)
        grower.do(f"map {20 * MIB}")
        grower.do("touch")
        wait_for_samples(10, ask("c", "SELECT rss FROM sample ORDER BY tick")[0][0] + 20 * MIB - SLACK)
        recorder.send_signal(signal.SIGINT)
        recorder.communicate()
    rows = ask("c", "SELECT (tick.mono_ns - (SELECT min(mono_ns) FROM tick)) / 1000000, sample.rss FROM sample JOIN tick ON tick.id = sample.tick "
                    "ORDER BY sample.tick")
    before = [at for at, rss in rows if rss < rows[0][1] + 10 * MIB]
    after = [at for at, rss in rows if rss > rows[0][1] + 20 * MIB - SLACK]
    t.ok(20 * MIB - SLACK <= diff(path("c"))[1]["grown_bytes"] <= 20 * MIB + SLACK, "from its start to its end: 20 MiB")
    t.ok(diff("--to", f"{before[-1]}ms", path("c"))[1]["grown_bytes"] < SLACK, "until it grew: nothing")
    t.ok(diff("--from", f"{after[0] + 1}ms", path("c"))[1]["grown_bytes"] < SLACK, "after it grew: nothing")
    t.is_(diff("--from", "1s", path("a"), path("b"))[0], 2, "times of two recordings: 2")
    t.is_(diff("--from", "x", path("c"))[0], 2, "a time that is none: 2")


def section_processes():
    with Grower() as one, Grower() as other:
        other.do(f"map {50 * MIB}")
        other.do("touch")
        record_still("two", one.pid, other.pid)
        code, _, err = diff(path("two"), path("two"))
        t.ok(code == 2 and "--pid" in err, "two processes and none named: 2, and what to do", (code, err))
        t.is_(diff("--pid", one.pid, path("two"))[0], 0, "one of them is named")
        t.is_(diff("--pid", 1, path("two"))[0], 2, "a process that it does not hold: 2")
        record_still("other", other.pid)
    # A process of another pid, as after a restart or on another machine: compared, and both are named.
    done = run("diff", path("a"), path("other"))
    t.ok(done.returncode == 0 and f"-> {other.pid} grower" in done.stdout, "two processes are compared, and named", done.stdout)
    grew = diff(path("a"), path("other"))[1]["grown_bytes"]
    t.ok(50 * MIB - SLACK <= grew <= 50 * MIB + 2 * SLACK, "by what one has more", grew)
    code, _, err = diff(path("a"), path("nothing"))
    t.ok(code not in (0, 1) and "nothing" in err, "a recording that is not there", (code, err))
    code, _, err = diff(path("a"), "/dev/null")
    t.ok(code not in (0, 1) and err, "a file that is none", (code, err))


def section_check():
    """A recording of a leak, judged: as what check says of it while it lives."""
    doc = {}
    # A machine that is busy needs longer to be sure.
    for seconds in (5, 15, 45):
        name = f"leak{seconds}"
        with subprocess.Popen([os.path.join(tap.BUILD, "tests/factory/behaviour"), "leak"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as leak:
            leak.stdout.readline()
            run("record", "-o", path(name), "-i", "50ms", "--for", f"{seconds}s", leak.pid)
            leak.stdin.close()
        done = run("check", "-J", path(name))
        doc = json.loads(done.stdout)
        if doc["verdict"] == "leak":
            break
    t.is_((done.returncode, doc["verdict"]), (1, "leak"), "the recording of a leak: leak, exit status 1")
    code, grew = diff("--fail-over", "1M", path(name))[:2]
    t.ok(code == 1 and grew["grown_bytes"] > 0.5 * doc["growth_bytes_per_s"] * doc["span_s"], "and diff sees it grow", (code, doc["sentence"]))
    done = run("check", "-J", path("a"))
    t.is_((done.returncode, json.loads(done.stdout)["verdict"] in ("stable", "insufficient_data")), (0, True), "one that stands still: exit status 0")


for part in (section_kinds, section_limits, section_times, section_processes, section_check):
    t.section(lambda _, part=part: part())
shutil.rmtree(folder)
t.done()
