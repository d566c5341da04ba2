#!/usr/bin/env python3
"""record: what is in the recording is what the process itself says; plain SQL of the manual reads it.

A command keeps its streams, its exit status and its signals. A process that ends, Ctrl-C, a second recorder, names that are taken, a full disk:
said, and what was written stays.
"""
# timeout: 240
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.environ["SRC"], "tests"))
import tap

VMATLAS = tap.VMATLAS
t = tap.Tap()
folder = tempfile.mkdtemp(prefix="vmatlas-recording-")
# Grows by one MiB when told, and says what /proc says of it at that moment.
GROWER = """
import sys
kept = []
def field(name):
    for line in open("/proc/self/status"):
        if line.startswith(name + ":"):
            return int(line.split()[1]) * 1024
print("ready", flush=True)
for line in sys.stdin:
    kept.append(bytearray(b"x" * (1 << 20)))
    print(field("VmRSS"), flush=True)
"""


def path(name):
    return os.path.join(folder, name)


def run(*args, **options):
    return subprocess.run([VMATLAS, *map(str, args)], capture_output=True, text=True, timeout=120, cwd=folder, **options)


def ask(name, sql):
    db = sqlite3.connect(f"file:{path(name)}?mode=ro", uri=True)
    try:
        return db.execute(sql).fetchall()
    finally:
        db.close()


def wait_for(condition):
    for _ in range(6000):
        if condition():
            return True
        time.sleep(0.01)
    return False


def samples(name):
    try:
        return ask(name, "SELECT count(*) FROM sample")[0][0]
    except sqlite3.OperationalError:
        return 0


def state(name):
    try:
        return ask(name, "SELECT value FROM fact WHERE name = 'state'")[0][0]
    except (sqlite3.OperationalError, IndexError):
        return None


def processes(name):
    try:
        return ask(name, "SELECT count(*) FROM process")[0][0]
    except sqlite3.OperationalError:
        return 0


def truth():
    grower = subprocess.Popen([sys.executable, "-c", GROWER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    grower.stdout.readline()
    recorder = subprocess.Popen([VMATLAS, "record", "-i", "50ms", "-o", path("truth"), str(grower.pid)], stderr=subprocess.PIPE, text=True)
    sizes = []
    for _ in range(8):
        grower.stdin.write("\n")
        grower.stdin.flush()
        sizes.append(int(grower.stdout.readline()))
        seen = samples("truth")
        t.ok(wait_for(lambda: samples("truth") >= seen + 2), "two more samples are there while it is recorded")
    grower.kill()
    grower.wait()
    err = recorder.communicate(timeout=60)[1]
    t.is_(recorder.returncode, 0, "it ends with its process")
    # One that is just going away has no memory any more: its sizes are then unknown.
    # Each size that the process saw of itself was sampled, for it slept meanwhile; the kernel counts by processor, 32 pages or more at a time.
    recorded = [r for (r,) in ask("truth", "SELECT rss FROM sample WHERE rss IS NOT NULL ORDER BY tick")]
    missed = [s for s in sizes if min(abs(r - s) for r in recorded) > 512 * 1024]
    t.is_(missed, [], f"resident sizes are those that the process saw: {sizes[0]} to {sizes[-1]}")
    t.ok(recorded[-1] - recorded[0] >= 6 << 20, "growth by at least 6 of 8 MiB is recorded", recorded)
    t.is_(ask("truth", "SELECT pid FROM process"), [(grower.pid,)], "the process is named by its pid")
    exited = ask("truth", "SELECT count(*) FROM event WHERE type = 'exited'")
    t.is_(exited, [(1,)], "its end is an event")
    t.is_(os.stat(path("truth")).st_mode & 0o777, 0o600, "the file is for its owner alone")
    t.ok(not os.path.exists(path("truth-wal")), "an ended recording is one file")
    t.ok(re.search(r"^recorded \d+ samples of 1 process in ", err, re.M), "what was recorded is said", err)


def manual_queries():
    """The queries that vmatlas-recording(5) shows, by the sqlite3 tool."""
    page = open(os.path.join(os.environ["SRC"], "man", "vmatlas-recording.5.scd")).read()
    queries = re.findall(r"^sqlite> (.*(?:\n   \.\.\.> .*)*)", page, re.M)
    t.ok(len(queries) >= 5, "the manual has examples", queries)
    for query in queries:
        sql = re.sub(r"\n   \.\.\.> ", " ", query)
        if shutil.which("sqlite3"):
            done = subprocess.run(["sqlite3", "-readonly", path("truth"), sql], capture_output=True, text=True)
            t.is_((done.returncode, done.stderr), (0, ""), f"sqlite3 understands: {sql[:60]}")
        t.ok(ask("truth", sql), f"and it finds rows: {sql[:60]}")
    kinds = dict(ask("truth", "SELECT kind, size FROM region_kind WHERE tick = (SELECT min(tick) FROM region_kind)"))
    t.ok(kinds.get("text", 0) > 0 and kinds.get("stack", 0) > 0, "kinds of regions are there", kinds)


def command():
    done = run("record", "-o", "command", "--", "sh", "-c", "cat; echo err >&2; exit 7", input="through")
    t.is_((done.returncode, done.stdout), (7, "through"), "a command keeps its input, output and exit status")
    t.ok("sh exited with status 7" in done.stderr and done.stderr.startswith("err\n"), "its exit status is told", done.stderr)
    t.is_(ask("command", "SELECT number FROM event JOIN process ON process.id = event.process WHERE type = 'exited' AND process = 1"),
          [(7 << 8,)], "and recorded")
    done = run("record", "-o", "killed", "--", "sh", "-c", "kill -TERM $$")
    t.is_(done.returncode, 128 + signal.SIGTERM, "a command that a signal ends")
    done = run("record", "-o", "none", "--", "/nonexistent/program")
    t.is_((done.returncode, os.path.exists(path("none"))), (2, False), "one that does not start leaves no recording")
    process = subprocess.Popen([VMATLAS, "record", "-i", "20ms", "-o", path("family"), "--", "sh", "-c", "sh -c 'read a; true'; true"],
                               stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    t.ok(wait_for(lambda: processes("family") == 2), "children are followed")
    process.communicate("\n", timeout=60)
    process = subprocess.Popen([VMATLAS, "record", "-o", path("forward"), "--", "sh", "-c", "trap 'exit 9' TERM; echo on; while :; do sleep 0.05; done"],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    t.is_(process.returncode, 9, "a signal that is sent to the recorder reaches the command")
    process = subprocess.Popen([VMATLAS, "record", "--for", "100ms", "-i", "20ms", "-o", path("short"), "--", "sh", "-c", "read a; exit 5"],
                               stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    t.ok(wait_for(lambda: state("short") == "ended"),
         "the time is over before the command is")
    process.communicate("\n", timeout=60)
    t.is_(process.returncode, 5, "which is waited for")


def many():
    """More processes than there may be open files, at first."""
    targets = [sleeper() for _ in range(40)]
    limited = ["sh", "-c", 'ulimit -S -n 50 && exec "$@"', "sh", VMATLAS, "record", "-i", "20ms", "--budget", "0", "-o", path("many")]
    recorder = subprocess.Popen([*limited, *(str(target.pid) for target in targets)], stderr=subprocess.PIPE, text=True)
    t.ok(wait_for(lambda: samples("many") >= 80 or recorder.poll() is not None) and processes("many") == 40, "40 processes in one recording")
    for target in targets:
        target.kill()
        target.wait()
    err = recorder.communicate(timeout=60)[1]
    t.is_(recorder.returncode, 0, "which ends when all of them have")
    t.is_(ask("many", "SELECT count(*) FROM event WHERE type = 'exited'"), [(40,)], "each end is an event")
    t.ok("of 40 processes in" in err, "and all are told of", err)


def sleeper():
    return subprocess.Popen(["sleep", "1000"])


def interrupted():
    target = sleeper()
    recorder = subprocess.Popen([VMATLAS, "record", "-i", "20ms", str(target.pid)], cwd=folder, stderr=subprocess.PIPE, text=True)
    name = f"vmatlas-sleep-{target.pid}.vmatlas"
    t.ok(wait_for(lambda: os.path.exists(path(name)) and samples(name) > 2), "the file is named after the process")
    before = open(path(name), "rb").read(100)
    done = run("record", target.pid)
    t.is_(done.returncode, 2, "a second recorder is refused")
    t.ok("a recording that is being written" in done.stderr, "and told why", done.stderr)
    t.is_(open(path(name), "rb").read(100)[:16], before[:16], "and nothing is overwritten")
    recorder.send_signal(signal.SIGINT)
    err = recorder.communicate(timeout=60)[1]
    t.is_((recorder.returncode, target.poll()), (0, None), "Ctrl-C ends the recording, not the process")
    t.is_(ask(name, "SELECT value FROM fact WHERE name = 'state'"), [("ended",)], "which is whole")
    t.ok("samples of 1 process" in err, "and says what is in it", err)
    t.is_(ask(name, "PRAGMA integrity_check"), [("ok",)], "SQLite finds no fault with it")
    for args in (["map", name], ["heap", name], ["record", "-o", "x", name]):
        done = run(*args)
        t.is_((done.returncode, "is a recording" in done.stderr), (2, True), f"{args[0]} of a recording: a process is needed")
    target.kill()
    target.wait()


def full_disk():
    if os.geteuid() != 0:
        t.skip("a full disk", "needs root")
        return
    small = path("small")
    os.mkdir(small)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=640k", "vmatlas-test", small], capture_output=True).returncode:
        t.skip("a full disk", "cannot mount a tmpfs")
        return
    target = sleeper()
    try:
        recorder = subprocess.Popen([VMATLAS, "record", "-v", "-i", "10ms", "-o", os.path.join(small, "r"), str(target.pid)],
                                    stderr=subprocess.PIPE, text=True)
        lines = []
        for line in recorder.stderr:
            lines.append(line)
            if "cannot be written" in line:
                break
        safe = [int(line.split()[1]) for line in lines if line.startswith("acknowledged")][-1]
        t.ok("No space left on device" in lines[-1], "a full disk is said", lines[-1])
        recorder.send_signal(signal.SIGTERM)
        rest = recorder.stderr.read()
        recorder.wait(timeout=60)
        t.is_(recorder.returncode, 70, "and the exit status tells it")
        t.ok(rest.count("No space left") <= 1, "it is not repeated", rest)
        more = [int(line.split()[1]) for line in rest.splitlines() if line.startswith("acknowledged")]
        safe = max([safe, *more])
        for end in ("", "-wal"):
            if os.path.exists(os.path.join(small, "r" + end)):
                shutil.copy(os.path.join(small, "r" + end), path("saved" + end))
        db = sqlite3.connect(path("saved"))
        count = db.execute("SELECT count(*) FROM sample").fetchone()[0]
        check = db.execute("PRAGMA integrity_check").fetchall()
        db.close()
        t.ok(count >= safe > 0, f"all {safe} acknowledged samples are there", count)
        t.is_(check, [("ok",)], "the recording is sound")
    finally:
        target.kill()
        target.wait()
        subprocess.run(["umount", small], check=True)


def usage():
    for args, what in ((["record"], "argument"), (["record", "-i", "1us", "1"], "--interval"), (["record", "--for", "x", "1"], "--for"),
                       (["record", "--budget", "x", "1"], "--budget"), (["record", "--budget", "101%", "1"], "--budget")):
        done = run(*args)
        t.ok(done.returncode == 2 and what in done.stderr, f"{' '.join(args)}: usage", done.stderr)
    done = run("record", "-o", "x", "999999999")
    t.is_((done.returncode, os.path.exists(path("x"))), (3, False), "no such process: no recording")
    done = run("record", "-o", "/nonexistent/x", os.getpid())
    t.ok(done.returncode == 6 and "cannot be created" in done.stderr, "a folder that is not there", done.stderr)


truth()
manual_queries()
command()
many()
interrupted()
full_disk()
usage()
shutil.rmtree(folder)
t.done()
