#!/usr/bin/env python3
# serial
# timeout: 600
"""Whatever dies or hangs of ours while a target is stopped, the target goes on.

vmatlas is killed at 500 random moments (KILLS), the process that stops for it likewise, both together, and both are stopped by a
signal that nobody can block.
"""
import os
import random
import signal
import time

from _stop import Blocked, is_free, start, stop, tap, threads
from factory import children

KILLS = int(os.environ.get("KILLS", "500"))
SOON_S = 0.010
LONG_S = 2


def wait_free(pid, limit=LONG_S):
    """The seconds until no thread is stopped or traced; None when it takes too long."""
    begin = time.monotonic()
    while time.monotonic() - begin < limit:
        if is_free(pid):
            return time.monotonic() - begin
        time.sleep(0.0005)
    return None


def kill_all(pids, number):
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass


def stoppers(process):
    try:
        return children(process.pid)
    except (FileNotFoundError, ProcessLookupError):
        return []


def check_killed(t, what, who, rounds, is_repaired):
    """who: which of (the caller, its stoppers) are killed."""
    slow, never, caught = [], 0, 0
    with Blocked("epoll_wait", "epoll_pwait", "semop", "nanosleep", "futex") as f:
        for _ in range(rounds):
            p = start(f.pid, rounds=0, stand_us=300, pause_us=100)
            p.stdout.readline()
            time.sleep(random.random() * 0.004)
            helpers = stoppers(p)
            kill_all(who(p.pid, helpers), signal.SIGKILL)
            # One whose stopper only was killed would go on and start another.
            kill_all([p.pid], signal.SIGKILL)
            took = wait_free(f.pid)
            caught += bool(helpers)
            never += took is None
            if took and took > SOON_S:
                slow.append(round(took * 1000, 1))
            p.wait()
            p.stdout.close()
        t.is_(never, 0, f"{what}, {rounds} times: the target is never left stopped or traced")
        t.ok(len(slow) <= rounds * 0.05, f"{what}: it goes on within {SOON_S * 1000:.0f} ms", slow)
        t.diag(f"{what}: {caught} of {rounds} while there was a stopper; later than {SOON_S * 1000:.0f} ms: {len(slow)} {slow[:10]} ms")
        report = f.cmd("report")
        eintr = {kind: c["eintr"] for kind, c in report.items()}
        t.diag(f"{what}: EINTR {eintr}")
        if is_repaired:
            t.is_(sum(eintr.values()), 0, f"{what}: no system call is broken")
        t.is_(sum(c["other"] for c in report.values()), 0, f"{what}: no call returned anything else")


def check_hang(t):
    """The caller never ends the stop; then it is stopped itself; then its stopper is, too."""
    with Blocked("epoll_wait", "futex") as f:
        for what, numbers in (("the caller hangs", ()), ("the caller is stopped by SIGSTOP", (0,)),
                              ("the caller and the stopper are stopped by SIGSTOP", (0, 1))):
            p = start(f.pid, rounds=1, hang=1, max_ms=300)
            p.stdout.readline()
            t.ok(any(state == "t" for state, _ in threads(f.pid).values()), f"{what}: the target stands")
            helpers = stoppers(p)
            for i in numbers:
                kill_all([p.pid] if i == 0 else helpers, signal.SIGSTOP)
            took = wait_free(f.pid, 5)
            t.ok(took is not None and took < (0.8 if len(numbers) < 2 else 3), f"{what}: the target goes on by itself", took)
            t.diag(f"{what}: after {took and round(took, 3)} s, limit 0.3 s")
            kill_all([p.pid], signal.SIGKILL)
            p.wait()
            p.stdout.close()
            kill_all(helpers, signal.SIGKILL)
        broken = f.cmd("report")["epoll_wait"]["eintr"]
        t.ok(broken <= 1, "only where the stopper was killed, a call is broken", broken)


def check_limit(t):
    with Blocked() as f:
        said = stop(f.pid, until_over=1, max_ms=100)
        t.is_(said["code"], -110, "a stop that reached its limit says so at its end")
        t.ok(100e6 <= said["max_ns"] < 400e6, "the limit of 100 ms ends a stop", said["max_ns"])
        t.is_({k: c["eintr"] for k, c in f.cmd("report").items() if c["eintr"]}, {}, "at the limit system calls are repaired as well")


def check_interrupted(t):
    """^C: the whole foreground group gets it."""
    with Blocked("epoll_wait", "semop") as f:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            p = start(f.pid, rounds=1, hang=1, max_ms=5000)
            p.stdout.readline()
            kill_all([p.pid] + stoppers(p), number)
            took = wait_free(f.pid)
            t.ok(took is not None and took < 0.5, f"{number.name} in a stop: the target goes on", took)
            t.is_(p.wait(), -number, f"{number.name} in a stop: the caller ends by it")
            p.stdout.close()
        t.is_([c["eintr"] for c in f.cmd("report").values()], [0, 0], "no system call is broken by that")


t = tap.Tap()
t.section(check_killed, "kill -9 of the caller", lambda p, helpers: [p], KILLS, True)
t.section(check_killed, "kill -9 of the stopper", lambda p, helpers: helpers, KILLS // 5, False)
t.section(check_killed, "kill -9 of both", lambda p, helpers: [p] + helpers, KILLS // 5, False)
t.section(check_hang)
t.section(check_limit)
t.section(check_interrupted)
t.done()
