#!/usr/bin/env python3
# timeout: 200
"""The number of the target passes to another process between any two system calls of vmatlas: no report mixes the two. In a pid
namespace of its own, where numbers can be chosen. REUSE_SECONDS (default 8) is how long each command is tried."""
import ctypes
import json
import mmap
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.environ["SRC"], "tests", "hostile"))
from _vmatlas import COMMANDS, ROWS, Held, count_calls, judge, parse, sampled  # noqa: E402
import tap  # noqa: E402

SECONDS = float(os.environ.get("REUSE_SECONDS", 8))
LAST_PID = "/proc/sys/kernel/ns_last_pid"
LIBC = ctypes.CDLL(None)


def live_as(name, ready):
    """The child: says who it is in every way that vmatlas shows, and waits."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    LIBC.prctl(15, name.encode())
    fd = os.memfd_create("marker-" + name)
    os.ftruncate(fd, 8192)
    memory = mmap.mmap(fd, 8192, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE)
    memory[0] = 1

    def thread():
        LIBC.prctl(15, b"thread-" + name.encode())
        os.write(ready, b".")
        time.sleep(1000)

    threading.Thread(target=thread, daemon=True).start()
    time.sleep(1000)
    os._exit(memory[0])


def start(name, pid=None):
    """A child called `name`; with that number, if one is asked for and it can be had."""
    ready = os.pipe()
    if pid is not None:
        with open(LAST_PID, "w", encoding="ascii") as file:
            file.write(str(pid - 1))
    child = os.fork()
    if child == 0:
        try:
            live_as(name, ready[1])
        finally:
            os._exit(1)
    os.close(ready[1])
    os.read(ready[0], 1)
    os.close(ready[0])
    return child


def end(pid):
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def markers(command, doc):
    """The names of the processes that the rows speak of."""
    words = []
    for row in doc[ROWS[command]] or []:
        words += [row.get("path") or "", row.get("name") or "", row.get("owner") or ""]
    text = " ".join(words)
    return {name for name in ("first", "second") if name in text}


def check_command(t, command, by_name, without):
    words = (*COMMANDS[command],)
    what = command + (" by name" if by_name else "") + (f" without {without}" if without else "")
    env = {"VMAT_WITHOUT": without} if without else {}
    pid = start("first")
    _, count = count_calls(words, "@first" if by_name else pid)
    end(pid)
    seen = {"first": 0, "second": 0, "partial": 0, "gone": 0, "not reused": 0}
    wrong, visited = [], 0
    for n in sampled(count, 0, 1, time.monotonic() + SECONDS):
        pid, visited, other = start("first"), visited + 1, None
        held = Held((*words, "@first" if by_name else pid), ("-n", n), env=env)
        for _ in held:
            end(pid)
            other = start("second", pid)
            if other != pid:
                seen["not reused"] += 1
        r = held.result()
        end(other if other is not None else pid)
        wrong += [f"at call {n}: {w}" for w in judge(command, r)]
        if r.code == 3:
            seen["gone"] += 1
            continue
        if r.code:
            wrong.append(f"at call {n}: exit code {r.code}: {r.err!r}")
            continue
        doc = parse(r)
        name = doc["target"]["name"]
        seen["partial" if doc["partial"] else name] += 1
        if markers(command, doc) - {name}:
            wrong.append(f"at call {n}: target {name}, and rows of {markers(command, doc)}; partial: {doc['partial_why']}")
        if command != "pages" and not doc["partial"] and markers(command, doc) != {name}:
            wrong.append(f"at call {n}: target {name}, not partial, and rows of {markers(command, doc) or 'neither'}")
        if by_name and name != "first":
            wrong.append(f"at call {n}: asked for @first, and told of {name}")
    t.ok(not wrong, f"{what}: no report mixes two processes of one number", "\n".join(wrong[:20]))
    t.ok(seen["not reused"] <= visited // 10, f"{what}: the number did pass to the other process", seen)
    t.diag(f"{what}: {visited} of {count} calls visited, {seen}")


def pass_on(watcher, pid):
    """While `watcher` stands still the number passes to another process. Whether it did."""
    os.kill(watcher.pid, signal.SIGSTOP)
    while " T " not in open(f"/proc/{watcher.pid}/stat", encoding="ascii").read():
        time.sleep(0.005)
    end(pid)
    other = start("second", pid)
    os.kill(watcher.pid, signal.SIGCONT)
    return other


def check_watch(t):
    """A successor under the same number is no exec and no slope: what is watched has ended."""
    pid = start("first")
    with subprocess.Popen([tap.VMATLAS, "watch", "-J", "-i", "20ms", "-o", "NAME,SIZE,RSS", str(pid)], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE) as watch:
        docs = [json.loads(watch.stdout.readline())]
        other = pass_on(watch, pid)
        docs += [json.loads(line) for line in watch.stdout]
    end(other)
    t.is_((other, watch.returncode), (pid, 0), "watch: the number passed to another process, and it ended")
    t.is_({doc["sample"]["name"] for doc in docs if "sample" in doc}, {"first"}, "watch: no sample is of the successor")
    events = [event["event"] for doc in docs for event in doc["events"]]
    t.ok(events.count("exited") == 1 and events[-1] == "exited" and "exec" not in events, "watch: the end is the last event", events)


def check_record(t):
    folder = tempfile.mkdtemp(prefix="vmatlas-reuse-")
    path = os.path.join(folder, "r")
    pid = start("first")
    with subprocess.Popen([tap.VMATLAS, "record", "-v", "-i", "20ms", "-o", path, str(pid)], stderr=subprocess.PIPE) as record:
        record.stderr.readline()
        other = pass_on(record, pid)
        record.stderr.read()
    end(other)
    t.is_((other, record.returncode), (pid, 0), "record: the number passed to another process, and it ended")
    db = sqlite3.connect(path)
    t.is_(db.execute("SELECT name, pid FROM process").fetchall(), [("first", pid)], "record: only the first process is in it")
    events = [name for (name,) in db.execute("SELECT type FROM event ORDER BY rowid")]
    t.ok(events.count("exited") == 1 and events[-1] == "exited" and "exec" not in events, "record: the end is the last event", events)
    db.close()
    shutil.rmtree(folder)


def inside():
    t = tap.Tap()
    t.section(check_watch)
    t.section(check_record)
    for command in COMMANDS:
        t.section(check_command, command, False, "")
    t.section(check_command, "map", False, "pidfd")
    t.section(check_command, "map", True, "")
    t.done()


def main():
    if sys.argv[1:] == ["inside"]:
        inside()
    probe = subprocess.run(["unshare", "-p", "-f", "--mount-proc", "sh", "-c", f"echo 100 > {LAST_PID}"], capture_output=True)
    if probe.returncode:
        t = tap.Tap()
        t.skip("pid reuse", "needs the right to make a pid namespace and to choose numbers in it")
        t.done()
    sys.exit(subprocess.run(["unshare", "-p", "-f", "--mount-proc", sys.executable, __file__, "inside"]).returncode)


main()
