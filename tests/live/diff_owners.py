#!/usr/bin/env python3
"""vmatlas diff by owner: a program maps files by known amounts between two recordings; diff tells these amounts of these owners.

Owners of a kind and its regions without any sum up to the kind, also when there are too many owners and when their names are hostile. A recording
of a vmatlas that knew no owners is read, and diff says that it has none.
"""
# timeout: 240
import csv
import io
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.environ["SRC"], "tests"))
import tap

MIB = 1 << 20
t = tap.Tap()
folder = os.path.realpath(tempfile.mkdtemp(prefix="vmatlas-owners-"))
HOSTILE = "\x1b]0;title\x07\t'; DROP TABLE fact;-- \u202e" + "x" * 200


def path(name):
    return os.path.join(folder, name)


def run(*args):
    return subprocess.run([tap.VMATLAS, *map(str, args)], capture_output=True, text=True, timeout=120, cwd=folder, stdin=subprocess.DEVNULL)


def diff(*args):
    done = run("diff", "-J", *args)
    return json.loads(done.stdout) if done.returncode == 0 else {"changes": [], "failed": done.stderr}


def owners(doc):
    """{owner: (before, after, count before, count after)} of mapped files: of all kinds, as a folder in memory makes them shm."""
    return {row["owner"]: (row["before"], row["after"], row["count_before"], row["count_after"]) for row in doc["changes"]
            if row["what"] in ("owner file", "owner shm")}


def change(name, sql):
    db = sqlite3.connect(path(name), isolation_level=None)
    try:
        db.executescript(sql)
    finally:
        db.close()


def ask(name, sql):
    db = sqlite3.connect(f"file:{path(name)}?mode=ro", uri=True)
    try:
        db.text_factory = bytes
        return db.execute(sql).fetchall()
    finally:
        db.close()


class Grower:
    def __init__(self):
        self.process = subprocess.Popen([os.path.join(tap.BUILD, "tests/factory/grower")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        cwd=folder)
        self.process.stdout.readline()

    def do(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        self.process.stdout.readline()

    def map_file(self, name, size):
        if not os.path.exists(path(name)):
            with open(path(name), "wb") as file:
                file.truncate(64 * MIB)
        self.do(f"file {size} {name}")

    def record(self, name):
        done = run("record", "-o", path(name), "-i", "100ms", "--for", "1s", self.process.pid)
        t.is_((done.returncode, ask(name, "SELECT count(*) > 0 FROM sample WHERE has_kinds = 2")), (0, [(1,)]), f"{name}: recorded, with owners")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait()


def sums(name):
    """Of the kinds that only owners have: (kind, size of the kind, of its owners)."""
    return ask(name, "SELECT k.kind, k.count, k.size, sum(o.count), sum(o.size), sum(o.rss) - k.rss "
                     "FROM region_kind k JOIN region_owner o USING (tick, process, kind) "
                     "WHERE kind IN ('file', 'shm', 'text', 'rodata', 'data', 'bss', 'vdso') "
                     "AND tick = (SELECT min(tick) FROM region_owner) GROUP BY kind")


def check_sums(name):
    wrong = [row for row in sums(name) if row[1] != row[3] or row[2] != row[4] or row[5]]
    t.ok(len(sums(name)) >= 4 and not wrong, f"{name}: owners sum up to their kind", sums(name))


def section_amounts():
    with Grower() as grower:
        grower.map_file("steady.bin", 2 * MIB)
        grower.map_file("both.bin", 1 * MIB)
        grower.record("a")
        grower.map_file("both.bin", 8 * MIB)
        grower.map_file("only-after.bin", 3 * MIB)
        # Of stacks and of malloc the kind says enough.
        grower.do("threads 3")
        grower.do(f"malloc {20 * MIB}")
        grower.record("b")
    doc = diff("a", "b")
    t.is_(owners(doc), {"both.bin": (MIB, 9 * MIB, 1, 2), "only-after.bin": (0, 3 * MIB, 0, 1)}, "each file by what was mapped of it, and no other")
    t.is_(doc["has_owners"], True, "JSON says that there are owners")
    grown = [row["grown"] for row in doc["changes"] if row["what"].startswith("owner ")]
    t.is_(grown, sorted(grown, reverse=True), "the most grown first")
    t.ok(not [row for row in doc["changes"] if row["what"] in ("owner stack", "owner guard", "owner malloc_mmap", "owner arena", "owner heap")],
         "no row for each thread or arena", doc)
    kinds = {row["what"]: row["after"] - row["before"] for row in doc["changes"] if row["what"].startswith("kind ")}
    t.is_(kinds.get("kind file", 0) + kinds.get("kind shm", 0), 11 * MIB, "and the kind grew by their sum")
    back = owners(diff("b", "a"))
    t.is_(back, {"both.bin": (9 * MIB, MIB, 2, 1), "only-after.bin": (3 * MIB, 0, 1, 0)}, "the other way round they shrank")
    t.is_(owners(diff("a", "a")), {}, "nothing changed: no row of an owner")
    for name in "ab":
        check_sums(name)
    rows = list(csv.DictReader(io.StringIO(run("diff", "--csv", "a", "b").stdout)))
    t.is_([(row["owner"], int(row["grown"])) for row in rows if row["what"] in ("owner file", "owner shm")],
          [("both.bin", 8 * MIB), ("only-after.bin", 3 * MIB)], "CSV, too")
    seconds = "SELECT max(t.mono_ns + s.after_ns) FROM sample s JOIN tick t ON s.tick = t.id"
    [(last,)], [(read,)] = ask("b", seconds), ask("b", seconds + " WHERE s.has_kinds")
    t.is_(doc["last_kinds_off_ns"], last - read, "how far from the sample the regions were read")
    table = run("diff", "a", "b").stdout
    t.ok(last == read or f"read {(last - read) / 1e9:.1f} s from the last sample" in table, "which the table says, too", table)
    counts = {line.split()[0]: line.split()[1:5] for line in table.splitlines() if line.startswith(("threads ", "faults_", "regions "))}
    t.ok(len(counts) == 4 and all(cell == "-" or cell.isdigit() for cells in counts.values() for cell in cells), "what is counted has no unit", counts)
    t.is_(counts["threads"], ["1", "4", "3", "0"], "three threads more")
    t.ok([line for line in table.splitlines() if line.startswith("owner ") and line.rstrip().endswith(" both.bin") and " 8M " in line], "and the table", table)


def section_one_recording():
    """Within one recording: from its begin to its end. Regions are read each 10 s at most, so the second reading is waited for."""
    with Grower() as grower:
        grower.map_file("both.bin", 1 * MIB)
        recorder = subprocess.Popen([tap.VMATLAS, "record", "-v", "--budget", "0", "-o", path("one"), "-i", "100ms", str(grower.process.pid)],
                                    stderr=subprocess.PIPE, text=True)
        recorded = f"SELECT 1 FROM region_owner WHERE owner = 'both.bin' AND size = {MIB} * "
        next(line for line in recorder.stderr if line.startswith("acknowledged") and ask("one", recorded + "1"))
        grower.map_file("both.bin", 5 * MIB)
        next(line for line in recorder.stderr if line.startswith("acknowledged") and ask("one", recorded + "6"))
        recorder.terminate()
        recorder.communicate()
    t.is_(owners(diff("one")), {"both.bin": (MIB, 6 * MIB, 1, 2)}, "from begin to end of one recording")
    t.is_(owners(diff("--to", "1ms", "one")), {}, "until it grew: nothing")
    doc = diff("--from", "1000s", "one")
    t.is_((owners(doc), doc.get("has_owners")), ({}, True), "nor after it, where owners were read before only")


def section_exec():
    """Another program under the same pid: each time has the name that it had then."""
    with subprocess.Popen(["sh", "-c", "read word; exec cat"], stdin=subprocess.PIPE, text=True) as program:
        recorder = subprocess.Popen([tap.VMATLAS, "record", "-v", "-o", path("exec"), "-i", "100ms", str(program.pid)], stderr=subprocess.PIPE, text=True)
        next(line for line in recorder.stderr if line.startswith("acknowledged"))
        program.stdin.write("go\n")
        program.stdin.flush()
        next(line for line in recorder.stderr if line.startswith("acknowledged") and ask("exec", "SELECT 1 FROM event WHERE type = 'exec'"))
        next(line for line in recorder.stderr if line.startswith("acknowledged"))
        recorder.terminate()
        recorder.communicate()
        program.stdin.close()
    t.is_(run("diff", "exec").stdout.splitlines()[0], f"{program.pid} sh -> {program.pid} cat", "each time has its name")


def section_many_and_hostile():
    with Grower() as grower:
        grower.map_file(HOSTILE, MIB)
        grower.map_file("(others)", MIB)
        grower.record("h1")
        grower.map_file(HOSTILE, 6 * MIB)
        for number in range(100):
            grower.map_file(f"small{number}.bin", 4096 * (number + 1))
        grower.map_file("(others)", 2 * MIB)
        grower.record("h2")
    names = [name for name, in ask("h2", "SELECT owner FROM region_owner")]
    t.ok(len(set(names)) <= 65 and names.count(b"(others)") >= 1, "64 names at most, and the others", names)
    for name in ("h1", "h2"):
        check_sums(name)
    doc = diff("h1", "h2")
    t.is_(owners(doc).get(HOSTILE), (MIB, 7 * MIB, 1, 2), "a hostile name is told as it is, with its amount")
    others = owners(doc).get("(others)")
    t.ok(others and others[0] == MIB and others[1] >= 3 * MIB + 36 * 4096, "a file that is called (others) is one of them", others)
    t.is_(owners(diff("h2", "h1")).get("small99.bin"), (100 * 4096, None, 1, None), "of one that may be among the others it is unknown what it has")
    table = run("diff", "h1", "h2").stdout
    t.ok("\x1b" not in table and "\x07" not in table and "\u202e" not in table and "DROP TABLE" in table, "nothing of it reaches the terminal", repr(table))


def section_older():
    shutil.copy(path("a"), path("old"))
    change("old", "DROP TABLE region_owner; UPDATE sample SET has_kinds = 1 WHERE has_kinds; PRAGMA user_version = 1")
    for pair in (("old", "b"), ("a", "old"), ("old",)):
        done = run("diff", "-J", *pair)
        doc = json.loads(done.stdout or "{}")
        t.ok(done.returncode == 0 and doc["has_owners"] is False and not owners(doc) and "old holds no owners" in done.stderr,
             f"{' '.join(pair)}: compared, and said that there are no owners", (done.stdout[:200], done.stderr))
        t.ok([row for row in doc["changes"] if row["what"] == "kind text"], "the kinds are told")


for part in (section_amounts, section_one_recording, section_exec, section_many_and_hostile, section_older):
    t.section(lambda _, part=part: part())
shutil.rmtree(folder)
t.done()
