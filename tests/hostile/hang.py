#!/usr/bin/env python3
"""Targets whose pages hang whoever touches them: userfaultfd that nobody serves, FUSE that does not answer. Every command ends in 5 s."""
import os
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.environ["SRC"], "tests", "hostile"))
from _vmatlas import COMMANDS, State, addr, at_rest, judge, parse, run  # noqa: E402
from factory import Factory, FuseHang, NotPossible  # noqa: E402
import tap  # noqa: E402

LIMIT = 5
MORE = {
    "map with smaps": ("map", "-O"),
    "map --where": ("map", "--where", "1M"),
    "map --tree": ("map", "--tree"),
}
if os.geteuid() == 0:
    MORE["pages --flags"] = ("pages", "--all", "--flags")


def check_commands(t, what, pid, probe):
    """All commands on one target. probe: an address in the memory that hangs."""
    before = at_rest(pid)
    for command, words in COMMANDS.items():
        r = run(*words, pid, timeout=LIMIT)
        t.ok(not judge(command, r), f"{what}: {command} ends within {LIMIT} s with a right answer", judge(command, r))
        t.is_(r.code, 0, f"{what}: {command} answers")
    for name, words in MORE.items():
        r = run(*words, pid, timeout=LIMIT)
        t.ok(r.code == 0, f"{what}: {name} ends within {LIMIT} s", f"{r.code} {r.err!r}")
    r = run("pagesize", pid, hex(probe), timeout=LIMIT)
    t.ok(r.code == 0, f"{what}: pagesize of the memory that hangs ends within {LIMIT} s", f"{r.code} {r.err!r}")
    r = run("pages", pid, hex(probe), timeout=LIMIT)
    t.ok(r.code == 0, f"{what}: pages of it, too", f"{r.code} {r.err!r}")
    after = State(pid)
    t.ok(not after - before, f"{what}: the target is as it was", after - before)


def region_at(pid, where):
    """The row of map for an address."""
    for row in parse(run("map", "-J", pid, timeout=LIMIT))["regions"]:
        if addr(row["start"]) <= where < addr(row["end"]):
            return row
    return None


def check_uffd(t, argv):
    what = "userfaultfd" + (", arguments in it" if argv else "")
    try:
        f = Factory("uffd", argv=argv)
        f.__enter__()
    except NotPossible as reason:
        return t.skip(what, reason)
    with f:
        start, end = addr(f.info["start"]), addr(f.info["end"])
        check_commands(t, what, f.pid, start + 4096)
        row = region_at(f.pid, start)
        t.is_((row["rss"], row["size"]), (4096, end - start), f"{what}: its one page is resident, and no other")
        r = run("map", "--summary", "@factory", timeout=LIMIT)
        t.ok(r.code in (0, 2), f"{what}: a target can be found by its name", f"{r.code} {r.err!r}")
        # A page that is there when it is asked for and gone when it is read is what the deadline is for; see torture.py.


def check_fuse(t, f, what):
    start = addr(f.info["start"])
    check_commands(t, what, f.pid, start + 512 * 4096)
    row = region_at(f.pid, start)
    t.is_((row["rss"], row["path"]), (4096 * f.info["cached_pages"], f.info["path"]), f"{what}: what is cached is resident")


def check_all_fuse(t):
    try:
        f = FuseHang()
        f.__enter__()
    except NotPossible as reason:
        return t.skip("FUSE", reason)
    with f:
        check_fuse(t, f, "FUSE that answers")
        f.cmd("h")
        check_fuse(t, f, "FUSE that does not answer reads")
        os.kill(f.server, signal.SIGSTOP)
        try:
            check_fuse(t, f, "FUSE that does not answer at all")
        finally:
            os.kill(f.server, signal.SIGCONT)
        f.cmd("c")


# A program of ours, run with the folder of its mapped file hidden below a mount that does not answer.
HIDDEN = """
import ctypes, mmap, os, sys, time
folder, over = sys.argv[1:]
file = open(folder + "/deep/data", "r+b")
memory = mmap.mmap(file.fileno(), 0)
program = mmap.mmap(os.open(folder + "/deep/program", os.O_RDONLY), 0, prot=mmap.PROT_READ | mmap.PROT_EXEC, flags=mmap.MAP_PRIVATE)
gone = mmap.mmap(os.open(folder + "/deep/gone (deleted)", os.O_RDONLY), 0, prot=mmap.PROT_READ, flags=mmap.MAP_PRIVATE)
memory[0], program[0], gone[0]
libc = ctypes.CDLL(None, use_errno=True)
if over.startswith("link:"):
    for name in os.listdir(folder + "/deep"):
        os.unlink(folder + "/deep/" + name)
    os.rmdir(folder + "/deep")
    os.rmdir(folder)
    os.symlink(over[5:], folder)
elif libc.mount(over.encode(), folder.encode(), None, 4096, None):
    print("cannot mount", os.strerror(ctypes.get_errno()), flush=True)
    sys.exit(0)
print("ready", flush=True)
time.sleep(1000)
"""


def check_hidden(t, link):
    """The path of a mapped file leads into a file system that does not answer, though the file lies on another one."""
    what = "a path that " + ("became a link to FUSE" if link else "was covered by FUSE")
    if os.geteuid():
        return t.skip(what, "needs root to mount")
    try:
        f = FuseHang()
        f.__enter__()
    except NotPossible as reason:
        return t.skip(what, reason)
    with f:
        folder = os.path.join(f.folder, "files")
        os.makedirs(folder + "/deep")
        for name in ("data", "program", "gone (deleted)"):
            with open("/bin/true", "rb") as source, open(f"{folder}/deep/{name}", "wb") as file:
                file.write(source.read())
        p = subprocess.Popen(["unshare", "-m", "--propagation", "private", sys.executable, "-c", HIDDEN, folder, link + f.mountpoint],
                             stdout=subprocess.PIPE)
        try:
            t.is_(p.stdout.readline(), b"ready\n", f"{what}: it is made")
            os.kill(f.server, signal.SIGSTOP)
            for command, words in COMMANDS.items():
                r = run(*words, p.pid, timeout=LIMIT)
                t.ok(not judge(command, r) and r.code == 0, f"{what}: {command} ends within {LIMIT} s", (judge(command, r), r.err))
        finally:
            os.kill(f.server, signal.SIGCONT)
            p.kill()
            p.wait()


def check_stopped(t):
    """^Z: a target that stands still is shown, and still stands afterwards."""
    with Factory("threads", n=3) as f:
        os.kill(f.pid, signal.SIGSTOP)
        for _ in range(200):
            if State(f.pid).facts["state"] == "T":
                break
            time.sleep(0.01)
        start = next(t["begin"] for t in parse(run("stacks", "-J", f.pid))["threads"])
        check_commands(t, "a stopped target", f.pid, addr(start))
        t.is_(State(f.pid).facts["state"], "T", "a stopped target stays stopped")
        os.kill(f.pid, signal.SIGCONT)


t = tap.Tap()
for argv in (0, 1):
    t.section(check_uffd, argv)
t.section(check_all_fuse)
for link in ("", "link:"):
    t.section(check_hidden, link)
t.section(check_stopped)
t.done()
