#!/usr/bin/env python3
# timeout: 900
"""A fork that is injected into a stopped target leaves nothing behind, whatever dies in between.

tests/factory/steady holds known values in all its registers and looks each round whether they, its signal mask, its red zone and
its children are what they were. FORK_ROUNDS: forks of each kind of waiting (400; all: 1000).
"""
import os
import random
import signal
import subprocess
import tempfile
import time

from _stop import Blocked, Steady, check_report, children, held, is_free, start, stop, tap, threads
from factory import NotPossible

ROUNDS = int(os.environ.get("FORK_ROUNDS", "400"))
# The limit of a stop (2 s) and the watchdog of a stopper that hangs: seen to be needed once in about 1,000 kills.
FREE_WITHIN_S = 10
KINDS = ("spin", "nap", "epoll", "read")
STEPS = 45
FILTER = """
import ctypes, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
if sys.argv[1] == "filter":
    code = ctypes.create_string_buffer(struct.pack("HBBI", 6, 0, 0, 0x7fff0000))
    program = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", 1, ctypes.addressof(code)))
    assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, program) == 0
print("ready", flush=True)
if sys.argv[1] == "strict":
    libc.prctl(22, 1)
while True:
    pass
"""


def check_steady(t, f, what, eintr=False):
    """eintr: a stopper that was killed could not repair a call that its stop had broken, or that rt_sigreturn cannot go on with."""
    before = f.cmd("report")["rounds"]
    time.sleep(0.05)
    report = f.cmd("report")
    wrong = {"": 0, "result": report["result"]}.get(report["what"], report["what"])
    t.ok(wrong == 0 or (eintr and wrong == -4), f"{what}: registers, vectors, stack, mask and children are unchanged", report)
    t.ok(report["rounds"] > before, f"{what}: it runs")
    t.is_(children(f.pid), [], f"{what}: no child is left")
    t.ok(is_free(f.pid), f"{what}: nobody traces it")


def check_forks(t, kind):
    with Steady(kind) as f:
        said = stop(f.pid, fork=1, rounds=ROUNDS, stand_us=300, max_ms=5000, check=f.info["word"])
        t.is_((said["ok"], said["failed"], said["text"]), (ROUNDS, 0, ""), f"{kind}: each of {ROUNDS} forks succeeds")
        t.is_(said["wrong_copy"], 0, f"{kind}: the copy does not change")
        t.diag(f"{kind}: stopped for {said['median_ns'] / 1000:.0f} us in the median, at most {said['max_ns'] / 1000:.0f} us")
        check_steady(t, f, f"{kind}, {ROUNDS} forks")


def check_copy_bites(t):
    """The word that is compared does change in the target."""
    with Steady("spin") as f:
        with open(f"/proc/{f.pid}/mem", "rb", buffering=0) as memory:
            words = []
            for _ in range(2):
                memory.seek(f.info["word"])
                words.append(memory.read(8))
                time.sleep(0.05)
        t.ok(words[0] != words[1], "the word that the copy is judged by changes in the target", words)


def check_faults(t, kind):
    """The stopper is killed before each of its steps."""
    with Steady(kind) as f:
        codes, left = [], []
        for step in range(1, STEPS):
            said = stop(f.pid, fork=1, rounds=1, max_ms=5000, fault=step)
            codes.append(said["code"])
            left += [(step, child) for child in children(f.pid)]
        t.ok(sum(code == -125 for code in codes) >= 15 and codes[-1] == 0, f"{kind}: the stopper was killed at its steps", codes)
        t.is_(left, [], f"{kind}: killed before each step: no child is left")
        check_steady(t, f, f"{kind}, killed before each step", eintr=kind in ("epoll", "nap"))


def check_stopped(t):
    with Steady("stopped") as f:
        while any(state != "T" for state, _ in threads(f.pid).values()):
            time.sleep(0.01)
        said = stop(f.pid, fork=1, rounds=20, max_ms=5000)
        t.is_((said["ok"], said["failed"], said["text"]), (20, 0, ""), "a target stopped by ^Z is forked")
        time.sleep(0.05)
        t.is_([state for state, _ in threads(f.pid).values()], ["T"], "it is still stopped after that")
        os.kill(f.pid, signal.SIGCONT)
        time.sleep(0.05)
        check_steady(t, f, "continued")


def check_system_calls(t):
    """As stop_syscalls.py, by forks."""
    with Blocked() as f:
        before = children(f.pid)
        for mode, rounds in (("quiet", ROUNDS), ("signals", ROUNDS)):
            f.cmd(mode)
            said = stop(f.pid, fork=1, rounds=rounds, stand_us=100, pause_us=500, max_ms=5000, timeout=800)
            f.cmd("quiet")
            t.is_((said["ok"], said["failed"], said["text"]), (rounds, 0, ""), f"{len(f.kinds)} kinds, {mode}: each fork succeeds")
            check_report(t, f"{len(f.kinds)} kinds, {mode}, {rounds} forks", f.cmd("report"))
        t.is_(children(f.pid), before, "blocked: no child is left")
        t.ok(is_free(f.pid), "blocked: it runs, and nobody traces it")


def check_killed(t):
    """Whoever asked for the copy is killed at a random moment: its stopper sees the child off."""
    late = {}
    with Steady("epoll") as f:
        for _ in range(ROUNDS // 3):
            p = start(f.pid, fork=1, rounds=0, stand_us=2000, pause_us=100, max_ms=5000)
            p.stdout.readline()
            time.sleep(random.random() * 0.006)
            p.kill()
            p.wait()
            p.stdout.close()
            late = late or held(f.pid, FREE_WITHIN_S)
        t.is_(late, {}, f"killed at {ROUNDS // 3} random moments: never left stopped, no child left")
        check_steady(t, f, "killed at random moments")


def check_killed_beside_another(t):
    """The same while another stopper holds all threads: the child is seen off when that one lets go."""
    with Steady("nap") as f:
        forker = start(f.pid, fork=1, stand_us=10**9, max_ms=5000)
        while not (children(f.pid) and is_free(f.pid)):
            time.sleep(0.001)
        other = start(f.pid, until_over=1, max_ms=600)
        other.stdout.readline()
        forker.kill()
        forker.wait()
        forker.stdout.close()
        other.wait()
        other.stdout.close()
        t.is_(held(f.pid, FREE_WITHIN_S), {}, "killed while another stopper holds all threads: no child is left")
        check_steady(t, f, "killed beside another stopper", eintr=True)


def check_commands_killed(t):
    """The same with the program itself: heap and leaks."""
    rounds, late = ROUNDS * 5 // 4, {}
    with tempfile.NamedTemporaryFile(prefix="vmatlas-fork-") as blocks:
        argv = [os.path.join(tap.BUILD, "tests", "factory", "heap_truth"), "2", "20000", "1", blocks.name]
        with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as target:
            while not target.stdout.readline().startswith("ready"):
                pass
            for i in range(rounds):
                command = [tap.VMATLAS, "leaks" if i % 2 else "heap", "-J", str(target.pid)] + ["--snapshot"] * (i % 4 < 2)
                with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as p:
                    time.sleep(random.random() * 0.04)
                    p.kill()
                late = late or held(target.pid, FREE_WITHIN_S)
            target.kill()
    t.is_(late, {}, f"vmatlas heap and leaks killed at {rounds} random moments: never left stopped, no child left")


def check_gone(t):
    """The target ends in the middle."""
    left = 0
    for _ in range(10):
        with Steady("nap") as f:
            p = start(f.pid, fork=1, rounds=50, stand_us=2000, pause_us=100, max_ms=5000)
            p.stdout.readline()
            time.sleep(random.random() * 0.01)
            os.kill(f.pid, signal.SIGKILL)
            try:
                p.wait(30)
            except subprocess.TimeoutExpired:
                left += 1
                p.kill()
            p.stdout.close()
    t.is_(left, 0, "a target that ends in the middle keeps nobody waiting")


def check_refused(t):
    for mode in ("strict", "filter"):
        with subprocess.Popen(["/usr/bin/python3", "-c", FILTER, mode], stdout=subprocess.PIPE) as p:
            p.stdout.readline()
            time.sleep(0.05)
            said = stop(p.pid, fork=1, rounds=3, max_ms=5000)
            t.ok(said["failed"] == 3 and "seccomp" in said["text"], f"seccomp, {mode}: it is not forked, and the reason is told", said)
            t.is_(stop(p.pid, rounds=3, max_ms=5000)["ok"], 3, f"seccomp, {mode}: it can be stopped")
            t.is_(p.poll(), None, f"seccomp, {mode}: it lives")
            p.kill()
    try:
        with Blocked("futex", variant="blocked-32") as f:
            said = stop(f.pid, fork=1, rounds=1)
            t.ok(said["failed"] == 1 and "32-bit" in said["text"], "a 32-bit program is not forked, and the reason is told", said)
    except NotPossible as reason:
        t.skip("a 32-bit program is not forked", reason)


def timed(t, check, *arguments):
    begin = time.monotonic()
    check(t, *arguments)
    t.diag(f"{check.__name__} {' '.join(arguments)}: {time.monotonic() - begin:.1f} s")


t = tap.Tap()
for each in KINDS:
    t.section(timed, check_forks, each)
t.section(timed, check_copy_bites)
for each in KINDS:
    t.section(timed, check_faults, each)
t.section(timed, check_stopped)
t.section(timed, check_system_calls)
t.section(timed, check_killed)
t.section(timed, check_killed_beside_another)
t.section(timed, check_commands_killed)
t.section(timed, check_gone)
t.section(timed, check_refused)
t.done()
