#!/usr/bin/env python3
"""dump: a core of a living process says what the process said, is small, and gdb reads it.

The process runs on, untraced. A file that is there stays; one that cannot be finished is removed.
"""
# timeout: 240
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.environ["SRC"], "tests"))
import tap

VMATLAS = tap.VMATLAS
t = tap.Tap()
folder = tempfile.mkdtemp(prefix="vmatlas-dump-")


def run(*args, **options):
    return subprocess.run([VMATLAS, *args], capture_output=True, text=True, timeout=120, cwd=folder, **options)


def ask(*args):
    done = run(*args, "-J")
    if done.returncode not in (0, 1):
        t.diag(done.stderr)
        return {}
    return json.loads(done.stdout)


def start(*command):
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=folder)
    process.stdout.readline()
    return process


def truth(name, *arguments):
    return start(os.path.join(tap.BUILD, "tests/factory", name), *arguments)


def status(pid, field):
    with open(f"/proc/{pid}/status") as file:
        return next(line.split(":")[1].strip() for line in file if line.startswith(field + ":"))


def without(doc, *keys):
    if isinstance(doc, dict):
        return {k: without(v, *keys) for k, v in doc.items() if k not in keys}
    return [without(v, *keys) for v in doc] if isinstance(doc, list) else doc


def settled(doc):
    """Whether a page of a file is mapped by others, too, and in how large a piece the page cache holds it, is a matter of the moment."""
    runs = []
    for run in doc.get("runs", []):
        if run["file"]:
            run = dict(run, exclusive=None, page_size=None)
        same = {k: v for k, v in run.items() if k not in ("start", "end", "size", "pages")}
        if runs and runs[-1][1] == run["start"] and runs[-1][2] == same:
            runs[-1][1] = run["end"]
        else:
            runs.append([run["start"], run["end"], same])
    return dict(doc, runs=runs) if "runs" in doc else doc


def wait_for(condition):
    for _ in range(1000):
        if condition():
            return True
        time.sleep(0.005)
    return False


# Of a stack's region the kernel may give more pages, and counters count what we do.
ONCE = ("target", "stopped_ns", "stopped_ms", "stop_estimate_ns", "snapshot", "no_snapshot_why",
        "unknown", "counters", "dumped", "pfn", "pfn_runs", "overflowed", "root_bytes", "regions_max")


def same():
    process = truth("heap_truth", "3", "4000", "1", folder + "/list")
    process.stdout.readline()
    pid = str(process.pid)
    # It has said that all is made; its threads are still on their way to where they wait.
    wait_for(lambda: all(open(f"/proc/{pid}/task/{tid}/stat").read().rsplit(")", 1)[1].split()[0] == "S" for tid in os.listdir(f"/proc/{pid}/task")))
    questions = [("map",), ("stacks",), ("heap",), ("heap", "--chunks"), ("leaks",), ("pages", "--all"), ("cow",)]

    def question(words, subject):
        return ask(words[0], *words[1:2], subject) if words[0] != "pages" else ask("pages", subject, "--all")

    live = {words: question(words, pid) for words in questions}
    doc = ask("dump", pid)
    path = f"{folder}/core.{pid}"
    t.is_(doc.get("schema"), "vmatlas/dump/1", "dump says what it wrote")
    t.ok(doc["stopped_ns"] > 0 and doc["threads"] == 4, "it says how long the process stood")
    t.is_((status(pid, "TracerPid"), status(pid, "State")[0]), ("0", "S"), "the process runs on, untraced")
    for words in questions:
        got = question(words, path)
        t.is_(settled(without(got, *ONCE)), settled(without(live[words], *ONCE)), f"{' '.join(words)}: the core says what the process said")
    t.is_(os.stat(path).st_mode & 0o777, 0o600, "only its owner may read it")
    on_disk, anonymous = os.stat(path).st_blocks * 512, int(status(pid, "RssAnon").split()[0]) * 1024
    t.ok(on_disk < anonymous + (512 << 10), "it takes no more than the process's own pages, and its notes", f"{on_disk} {anonymous}")
    t.is_(doc["file_size"], os.stat(path).st_size, "its size is told")
    # Who does not know the owner goes by the type: it must be none of the kernel's.
    notes = subprocess.run(["readelf", "-nW", path], capture_output=True, text=True).stdout
    own = re.findall(r"^\s*vmatlas\s.*?(0x564d410[12])", notes, re.M)
    t.is_((len(own) >= 2, notes.count("vmatlas  ")), (True, len(own)), "the types of its own notes are nobody else's")
    gdb = subprocess.run(["gdb", "-q", "-nx", "-batch", "-c", path, os.path.join(tap.BUILD, "tests/factory/heap_truth"),
                          "-ex", "info threads", "-ex", "thread apply all backtrace"], capture_output=True, text=True, timeout=60)
    t.is_(sum("(LWP " in line and "Thread 0x" in line and line[:2] in ("* ", "  ") for line in gdb.stdout.splitlines()), 4, "gdb reads its threads")
    t.ok("warning" not in gdb.stderr and "warning" not in gdb.stdout, "gdb has nothing to warn of", gdb.stderr)
    t.ok(gdb.stdout.count(" in work (") == 3 and "main (" in gdb.stdout, "gdb reads its stacks", gdb.stdout + gdb.stderr)
    files(process, path)
    process.kill()
    process.wait()


def files(process, path):
    """What is there stays, unless --force."""
    pid = str(process.pid)
    before = os.stat(path)
    done = run("dump", pid)
    t.ok(done.returncode == 2 and "is there already" in done.stderr and os.stat(path).st_mtime_ns == before.st_mtime_ns,
         "a file that is there stays", done.stderr)
    done = run("dump", "--force", "-o", path, pid)
    t.ok(done.returncode == 0 and os.stat(path).st_ino != before.st_ino, "--force replaces it")
    os.symlink(path, folder + "/link")
    t.is_(run("dump", "--force", "-o", "link", pid).returncode, 2, "a symbolic link is never followed")
    limit = lambda: (signal.signal(signal.SIGXFSZ, signal.SIG_IGN), resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536)))
    done = run("dump", "-o", "small", pid, preexec_fn=limit)
    t.ok(done.returncode == 6 and "File too large" in done.stderr, "a file that may not be that large: why, and exit 6", done.stderr)
    t.is_([f for f in os.listdir(folder) if f.startswith("small")], [], "and nothing is left of it")
    if os.geteuid():
        t.skip("a full disk", "needs root to mount one")
    else:
        done = subprocess.run(["unshare", "-m", "sh", "-c", f"mkdir disk && mount -t tmpfs -o size=128k none disk && {VMATLAS} dump -o disk/core "
                               f"{pid}; echo $?; ls disk"], capture_output=True, text=True, cwd=folder, timeout=60)
        t.ok("No space left" in done.stderr and done.stdout == "70\n", "a full disk: said, and nothing is left", done.stdout + done.stderr)
    t.is_(run("dump", path).returncode, 5, "a core is not dumped again")
    t.is_((status(pid, "TracerPid"), status(pid, "State")[0]), ("0", "S"), "after all of it the process runs on")


def forked():
    """With much to copy the process is forked, and goes on meanwhile: the core is of the moment of the fork all the same."""
    process = truth("heap_truth", "2", "150000", "0", folder + "/list")
    process.stdout.readline()
    pid = str(process.pid)
    live = ask("heap", "--chunks", pid)["chunks"]
    # It lives for some 30 ms, in which a busy machine may not let us look.
    for _ in range(5):
        looks = subprocess.Popen(["sh", "-c", f"while :; do cat /proc/{pid}/task/*/children; done"], stdout=subprocess.PIPE, text=True)
        doc = ask("dump", "--force", "-o", "forked", pid)
        looks.kill()
        seen = looks.communicate()[0].split()
        if seen:
            break
    t.ok(doc["copied"] > 16 << 20 and seen, "a large process is forked", json.dumps(doc))
    t.is_(subprocess.run(["ps", "--ppid", pid, "-o", "pid="], capture_output=True, text=True).stdout, "", "no child is left")
    got = ask("heap", "--chunks", folder + "/forked")["chunks"]
    t.ok(len(live) > 70000 and got == live, "the core holds each of its chunks", f"{len(got)} {len(live)}")
    process.kill()
    process.wait()


def interrupted():
    """SIGINT while pages are written: nothing is left, and the process runs on. SIGKILL: no file has the name."""
    process = start(sys.executable, "-c", "x = bytearray(b'x') * (200 << 20); print(1, flush=True); input()")
    for number in (signal.SIGINT, signal.SIGKILL):
        dump = subprocess.Popen([VMATLAS, "dump", "-o", "cut", str(process.pid)], cwd=folder, stderr=subprocess.PIPE, text=True)
        wait_for(lambda: os.path.exists(folder + "/cut.part") and os.stat(folder + "/cut.part").st_blocks > 20000 or dump.poll() is not None)
        dump.send_signal(number)
        said = dump.communicate()[1]
        if number == signal.SIGINT:
            t.ok(dump.returncode != 0 and "interrupted" in said, "SIGINT: it says so", f"{dump.returncode} {said}")
            t.is_([f for f in os.listdir(folder) if f.startswith("cut")], [], "SIGINT: nothing is left")
        else:
            t.ok(not os.path.exists(folder + "/cut"), "SIGKILL: no file has the name")
        t.ok(wait_for(lambda: status(process.pid, "TracerPid") == "0" and status(process.pid, "State")[0] == "S"),
             f"{signal.Signals(number).name}: the process runs on")
    for _ in range(20):
        done = run("dump", "--force", "-o", "late", "--max-stop", "1", str(process.pid))
        if done.returncode:
            break
    # On a busy machine a millisecond may be too little to stop all threads, too.
    t.ok(done.returncode and " 1 ms" in done.stderr and not os.path.exists(folder + "/late.part"), "--max-stop: gives up, and nothing is left", done.stderr)
    process.kill()
    process.wait()


t.section(lambda _: same())
t.section(lambda _: forked())
t.section(lambda _: interrupted())
shutil.rmtree(folder, ignore_errors=True)
t.done()
