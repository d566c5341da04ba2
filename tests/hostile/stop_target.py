#!/usr/bin/env python3
# serial
# timeout: 300
"""Targets that make stopping hard: stopped by ^Z, executing, ending, forking, in vfork, traced by another, with many threads."""
import errno
import os
import shutil
import signal
import subprocess
import time

from _stop import Blocked, is_free, start, stop, tap, threads
from factory import Factory, NotPossible

HARD_LIMIT_MS = 250


def wait_until(what, limit=5):
    end = time.monotonic() + limit
    while time.monotonic() < end:
        if what():
            return True
        time.sleep(0.005)
    return False


def check_time(t):
    """5 ms and 10 us a thread is the promise on an idle machine; the hard limit holds on any."""
    for count in (1, 100, 500):
        with Factory("threads", n=max(1, count - 1)) as f:
            said = stop(f.pid, rounds=20, pause_us=1000, max_ms=HARD_LIMIT_MS)
            t.is_((said["ok"], said["wrong_time"]), (20, 0), f"{count} threads: 20 stops succeed")
            t.is_(said["threads"], len(os.listdir(f"/proc/{f.pid}/task")), f"{count} threads: all of them stand")
            t.ok(said["max_ns"] < HARD_LIMIT_MS * 1e6, f"{count} threads: within the hard limit", said)
            t.diag(f"{said['threads']} threads: stopped {said['median_ns'] / 1e6:.2f} ms in the median, {said['max_ns'] / 1e6:.2f} at most")


def check_group_stop(t):
    with Blocked() as f:
        os.kill(f.pid, signal.SIGSTOP)
        t.ok(wait_until(lambda: all(s == "T" for s, _ in threads(f.pid).values())), "^Z: the target is stopped")
        said = stop(f.pid, rounds=20)
        t.is_(said["ok"], 20, "^Z: it can be stopped by us as well")
        t.ok(wait_until(lambda: all(s == "T" and not tracer for s, tracer in threads(f.pid).values())), "^Z: it stays stopped afterwards",
             threads(f.pid))
        os.kill(f.pid, signal.SIGCONT)
        t.ok(wait_until(lambda: is_free(f.pid)), "^Z: it goes on with SIGCONT")
        p = start(f.pid, rounds=1, hang=1, max_ms=1000)
        p.stdout.readline()
        os.kill(f.pid, signal.SIGSTOP)
        p.kill()
        p.wait()
        p.stdout.close()
        t.ok(wait_until(lambda: all(s == "T" and not tracer for s, tracer in threads(f.pid).values())), "^Z while it stands: it is stopped afterwards",
             threads(f.pid))
        os.kill(f.pid, signal.SIGCONT)
        t.ok(wait_until(lambda: is_free(f.pid)), "... and goes on with SIGCONT")
        t.ok(f.cmd("report"), "... and answers")


def calls(pid):
    """The words of /proc/PID/task/TID/syscall of each thread: the last two are its stack and instruction pointers."""
    found = {}
    for tid in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{tid}/syscall", encoding="ascii") as file:
            found[tid] = file.read().split()
    return found


def check_registers(t, variant):
    try:
        f = Blocked(variant=variant)
        f.__enter__()
    except NotPossible as reason:
        return t.skip(f"{variant}: registers", reason)
    with f:
        word = f.info["word"]
        t.ok(wait_until(lambda: all(len(words) > 2 for words in calls(f.pid).values())), f"{variant}: all threads wait")
        want = {tid: tuple(int(x, 16) for x in words[-2:]) for tid, words in calls(f.pid).items()}
        said = stop(f.pid, registers=1)
        got = said["registers"]
        t.is_({tid: (r["sp"], r["ip"]) for tid, r in got.items()}, want, f"{variant}: stack and instruction pointers are those that /proc shows")
        t.is_({r["word"] for r in got.values()}, {word}, f"{variant}: the size of a word")
        t.is_(len({r["tp"] for r in got.values()} - {0}), len(want), f"{variant}: each thread has a thread pointer of its own")
        t.ok(all(r["in_syscall"] for r in got.values()), f"{variant}: all were in a system call")
        t.ok(all(r["extended"] >= 512 + 64 for r in got.values()), f"{variant}: vector registers were read")
        t.is_({len(r["general"]) for r in got.values()}, {15 if word == 8 else 7}, f"{variant}: general registers")


def check_traced(t):
    if not shutil.which("strace"):
        return t.skip("traced by another", "strace is not installed")
    with Blocked("epoll_wait") as f:
        p = subprocess.Popen(["strace", "-f", "-o", "/dev/null", "-p", str(f.pid)], stderr=subprocess.PIPE, text=True)
        try:
            wait_until(lambda: all(tracer for _, tracer in threads(f.pid).values()))
            said = stop(f.pid)
            t.is_(said["code"], -errno.EBUSY, "traced by another: refused")
            t.ok(f"process {p.pid} traces it" in said["text"], "traced by another: the text names it", said["text"])
            t.ok(all(tracer == p.pid for _, tracer in threads(f.pid).values()), "traced by another: it still is")
        finally:
            p.terminate()
            p.wait()
            p.stderr.close()
    # One thread only, so that the first thread shows nothing.
    with Blocked("semop") as f:
        tid = next(iter(f.cmd("report").values()))["tid"]
        p = subprocess.Popen(["strace", "-o", "/dev/null", "-p", str(tid)], stderr=subprocess.PIPE, text=True)
        try:
            wait_until(lambda: threads(f.pid)[tid][1])
            said = stop(f.pid)
            t.ok(said["code"] == -errno.EBUSY and f"process {p.pid} traces it" in said["text"], "one thread traced by another: refused by name", said)
            t.is_(threads(f.pid)[f.pid][1], 0, "... and the others are let go")
        finally:
            p.terminate()
            p.wait()
            p.stderr.close()


def check_vfork(t):
    with Blocked("epoll_wait", "semop") as f:
        f.cmd("vfork")
        said = stop(f.pid, max_ms=200)
        t.is_(said["code"], -errno.ETIMEDOUT, "a thread in vfork: given up")
        t.ok("did not stop within 200 ms" in said["text"] and "vfork" in said["text"], "a thread in vfork: the text says so", said["text"])
        t.ok(is_free(f.pid), "a thread in vfork: all others run on", threads(f.pid))
        # One at most: by the SIGCHLD of the child, which is ignored.
        broken = [c["eintr"] for c in f.cmd("report").values()]
        t.ok(sum(broken) <= 1, "a thread in vfork: no call of the others is broken", broken)
        t.ok(wait_until(lambda: stop(f.pid, max_ms=200)["ok"] == 1), "a thread in vfork: a later stop succeeds")


def check_churn(t):
    with Blocked() as f:
        f.cmd("churn")
        said = stop(f.pid, rounds=150, stand_us=500, pause_us=1000, max_ms=2000)
        t.ok(said["failed"] == 0, "threads and children come and go: each stop succeeds", said)
        t.diag(f"churn: median {said['median_ns'] / 1e6:.2f} ms, longest {said['max_ns'] / 1e6:.2f} ms")
        t.ok(wait_until(lambda: is_free(f.pid)), "threads and children come and go: nothing is left traced", threads(f.pid))
        before = f.cmd("churned")["churned"]
        t.ok(wait_until(lambda: f.cmd("churned")["churned"] > before), "threads and children come and go: and go on doing so")
        # Each child that ends sends SIGCHLD, which is ignored: in the last microseconds of a stop it can end a repeated call (stop.h).
        broken = {k: c["eintr"] for k, c in f.cmd("report").items() if c["eintr"]}
        t.ok(sum(broken.values()) <= 5, "threads and children come and go: (nearly) no call is broken", broken)


def check_exec(t):
    codes = {}
    with Blocked("epoll_wait", "semop", "futex") as f:
        for _ in range(30):
            p = start(f.pid, rounds=60, pause_us=50, max_ms=2000)
            p.stdout.readline()
            f.send("exec")
            while not f._line().startswith("ready"):
                pass
            text = p.stdout.read()
            p.wait()
            p.stdout.close()
            code = int(text.split('"code": ')[1].split(",")[0])
            codes[code] = codes.get(code, 0) + 1
            t.ok(is_free(f.pid), "exec while it is stopped: it runs") if not is_free(f.pid) else None
        t.ok(set(codes) <= {0, -errno.ESTALE, -errno.EAGAIN}, "exec while it is stopped: another program, or nothing wrong", codes)
        t.diag(f"exec: {codes}")
        t.ok(is_free(f.pid) and stop(f.pid)["ok"] == 1, "exec while it is stopped: it runs, and can be stopped")
        t.is_([c["eintr"] for c in f.cmd("report").values()], [0, 0, 0], "exec while it is stopped: no call is broken")


def check_leader(t):
    with Blocked("epoll_wait", "semop") as f:
        f.send("leader")
        wait_until(lambda: threads(f.pid)[f.pid][0] == "Z")
        said = stop(f.pid, rounds=20)
        t.is_((said["ok"], said["threads"]), (20, 2), "the first thread has ended: the others are stopped")
        t.ok(is_free(f.pid), "the first thread has ended: they run on")


def check_end(t):
    codes = {}
    for _ in range(20):
        with Blocked("epoll_wait", "semop", "futex", "nanosleep") as f:
            p = start(f.pid, rounds=100, pause_us=10, max_ms=2000)
            p.stdout.readline()
            os.kill(f.pid, signal.SIGKILL)
            begin = time.monotonic()
            text = p.stdout.read()
            p.wait()
            p.stdout.close()
            code = int(text.split('"code": ')[1].split(",")[0])
            codes[code] = codes.get(code, 0) + 1
            f.process.wait(timeout=5)
            if time.monotonic() - begin > 3:
                codes["late"] = 1
    t.ok(set(codes) <= {-errno.ESRCH}, "the target is killed meanwhile: it has ended, says the error", codes)


def check_self(t):
    p = subprocess.Popen(["sleep", "100"])
    said = stop(p.pid)
    t.is_(said["ok"], 1, "any program can be stopped")
    if os.geteuid() == 0:
        run = subprocess.run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--bounding-set=-all", "--inh-caps=-all",
                              tap.for_everyone(os.path.join(tap.BUILD, "tests", "factory", "stop_loop")), str(p.pid)], capture_output=True, text=True, check=False)
        if run.returncode == 0:
            t.ok('"code": -1' in run.stdout and "CAP_SYS_PTRACE" in run.stdout, "without the rights: refused, and what would help", run.stdout)
    p.kill()
    p.wait()


t = tap.Tap()
t.section(check_time)
t.section(check_group_stop)
t.section(check_registers, "blocked")
t.section(check_registers, "blocked-32")
t.section(check_traced)
t.section(check_vfork)
t.section(check_churn)
t.section(check_exec)
t.section(check_leader)
t.section(check_end)
t.section(check_self)
t.done()
