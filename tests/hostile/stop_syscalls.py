#!/usr/bin/env python3
# timeout: 1800
"""A stop breaks no system call: one thread in each of 41 kinds of calls that wait, stopped again and again.

Of these, 14 return EINTR after an ordinary ptrace stop. Each EINTR must have its signal, and each signal its EINTR. STOP_ROUNDS
says how often each is stopped without signals (default 1000); with signals three times as often.
"""
import os

from _stop import Blocked, check_report, is_free, stop, tap
from factory import NotPossible

ROUNDS = int(os.environ.get("STOP_ROUNDS", "1000"))
BREAKS = {"epoll_wait", "epoll_pwait", "epoll_pwait2", "recv_timed", "recvmsg_timed", "read_timed", "send_timed", "accept_timed",
          "connect_timed", "sigtimedwait", "semop", "semtimedop", "io_getevents", "io_uring_enter"}


def check(t, variant):
    try:
        f = Blocked(variant=variant)
        f.__enter__()
    except NotPossible as reason:
        return t.skip(f"{variant}: system calls survive a stop", reason)
    with f:
        t.ok(len(f.kinds) >= 26 and len(BREAKS & set(f.kinds)) >= 10, f"{variant}: at least 26 kinds of calls, 10 that break", f.kinds)
        for mode, rounds in (("quiet", ROUNDS), ("signals", 3 * ROUNDS)):
            f.cmd(mode)
            said = stop(f.pid, rounds=rounds, stand_us=100, pause_us=500, max_ms=5000, timeout=900)
            f.cmd("quiet")
            what = f"{variant}: {len(f.kinds)} kinds, {mode}"
            t.is_((said["ok"], said["failed"]), (rounds, 0), f"{what}: each stop succeeds")
            t.is_(said["wrong_time"], 0, f"{what}: the time stopped is what our clock says")
            report = f.cmd("report")
            t.diag(f"{what}: {rounds} stops, {sum(c['handled'] for c in report.values())} signals, "
                   f"median {said['median_ns'] / 1000:.0f} us, longest {said['max_ns'] / 1000:.0f} us")
            check_report(t, what, report)
            if mode == "signals":
                few = {k: c["handled"] for k, c in report.items() if not c["handled"]}
                t.ok(sum(c["handled"] for c in report.values()) >= len(f.kinds), f"{what}: there were signals", few)
        t.ok(is_free(f.pid), f"{variant}: it runs, and nobody traces it")


def check_ignored(t):
    """A traced thread is woken by signals that it ignores: its tracer could want to see them. That must not show either.

    What remains is a window of some 10 us in each stop; such signals come about every 100 us here.
    """
    with Blocked() as f:
        f.cmd("ignored")
        said = stop(f.pid, rounds=ROUNDS, stand_us=100, pause_us=500, max_ms=5000, timeout=900)
        f.cmd("quiet")
        report = f.cmd("report")
        worst = max(c["eintr"] for c in report.values())
        t.diag(f"signals that do nothing, in each of {said['ok']} stops: at most {worst} EINTR of a kind")
        check_report(t, "signals that do nothing", report, allowed=max(2, said["ok"] // 10))


t = tap.Tap()
t.section(check, "blocked")
t.section(check, "blocked-32")
t.section(check_ignored)
t.done()
