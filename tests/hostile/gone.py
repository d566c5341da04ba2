#!/usr/bin/env python3
# timeout: 400
"""Targets that are not there, or not what they seem, or that die, execute another program or map while they are read: a whole answer, a
partial one that says so, or exit code 3. GONE_SECONDS (default 12) is how long each command is tried; all n are visited if that suffices."""
import os
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.environ["SRC"], "tests", "hostile"))
from _vmatlas import COMMANDS, QUIET, ROWS, Held, addr, count_calls, judge, parse, run, spread, tracer  # noqa: E402
from factory import Factory  # noqa: E402
import tap  # noqa: E402

SECONDS = float(os.environ.get("GONE_SECONDS", 12))


def unused_pid():
    with open("/proc/sys/kernel/pid_max", encoding="ascii") as file:
        return next(p for p in range(int(file.read()) - 1, 1, -1) if not os.path.exists(f"/proc/{p}"))


def check_not_there(t):
    for command, words in COMMANDS.items():
        r = run(*words, unused_pid())
        t.ok(r.code == 3 and b"no process" in r.err and not r.out, f"{command} of an unknown pid: exit 3", r)
    for pid in (0, 4194305, 2147483647, 999999999999999):
        r = run("map", pid)
        t.ok(r.code in (2, 3) and r.err and not r.out, f"map of pid {pid}: exit 2 or 3", r)


def check_states(t):
    with Factory("zombie") as f:
        for command, words in COMMANDS.items():
            r = run(*words, f.info["zombie"])
            t.ok(r.code == 3 and b"zombie" in r.err and not r.out, f"{command} of a zombie: exit 3, and it says so", r)
            r = run(*words, f.info["leader"])
            t.ok(r.code == 0 and not judge(command, r), f"{command} of a process whose first thread has exited", (r.code, judge(command, r)))
            r = run(*words, f.info["stopped"])
            t.ok(r.code == 0 and not judge(command, r), f"{command} of a stopped process", (r.code, judge(command, r)))
        leader = f.info["leader"]
        tids = [x for x in map(int, os.listdir(f"/proc/{leader}/task")) if x != leader]
        with open(f"/proc/{leader}/task/{tids[0]}/maps", encoding="utf-8") as file:
            want = [line.split()[0] for line in file]
        doc = parse(run("map", "-J", leader))
        t.is_([f"{addr(r['start']):08x}-{addr(r['end']):08x}" for r in doc["regions"]], want, "  its regions are those of the living thread")
        t.ok(sum(r["rss"] for r in doc["regions"]) > 100000, "  and they are resident", [r["rss"] for r in doc["regions"]])
        t.ok(doc["counters"]["rss"], "  and its counters are known", doc["counters"])
        names = {r["tid"]: (r["name"], r["kind"]) for r in parse(run("stacks", "-J", leader))["threads"]}
        t.is_((names.get(tids[0]) or [None])[0], "survivor", "  the thread that lives has its stack")
        r = run("map", "-J", tids[0])
        t.ok(r.code == 3 and str(leader).encode() in r.err, "a thread id is no process; the text names the process", r)
    with Factory("threads", n=2) as f:
        r = run("map", max(x["tid"] for x in f.info["threads"]))
        t.ok(r.code == 3 and b"thread of process" in r.err and str(f.pid).encode() in r.err,
             "a thread id of a living process: exit 3, with the pid to ask for", r)
    try:
        with open("/proc/2/status", encoding="ascii") as file:
            is_kernel = "Kthread:\t1" in file.read() or not os.path.exists("/proc/2/exe")
    except OSError:
        is_kernel = False
    if is_kernel:
        for command, words in COMMANDS.items():
            r = run(*words, 2)
            t.ok(r.code == 3 and b"kernel thread" in r.err and not r.out, f"{command} of a kernel thread: exit 3, and it says so", r)


def check_death(t, command, user=None):
    """The target is killed before the n-th system call of vmatlas. user: both belong to that one."""
    words, what = COMMANDS[command], command + (" as an ordinary user" if user else "")
    with Factory("threads", n=3, user=user) as f:
        _, count = count_calls(words, f.pid)
        whole = len(parse(run(*words, f.pid))[ROWS[command]])
    codes = {}

    def work(n):
        with Factory("threads", n=3, user=user) as f:
            r = run(*words, f.pid, wrap=tracer("-n", n, "-k", f.pid), env=QUIET, user=user)
        codes[r.code] = codes.get(r.code, 0) + 1
        wrong = judge(command, r)
        if r.code not in (0, 3):
            wrong.append(f"exit code {r.code}: {r.err!r}")
        doc = parse(r) if r.code == 0 else None
        if doc and not doc["partial"] and abs(len(doc[ROWS[command]]) - whole) > whole // 4:
            wrong.append(f"{len(doc[ROWS[command]])} rows of {whole}, and not partial")
        return wrong

    visited, wrong = spread(work, count, SECONDS)
    t.ok(not wrong, f"{what}: the target dies at any of its calls", "\n".join(wrong[:20]))
    t.ok(visited >= min(count, 40), f"{what}: enough calls were visited", visited)
    t.diag(f"{what}: {visited} of {count} calls visited, exit codes {codes}")


READ = 0    # x86-64


def sizes(doc):
    return sum(r["size"] for r in doc["regions"] if r["path"] != "[vsyscall]")


def mapped_at(which):
    """The map of a target that maps a region at each read of vmatlas that which(n) is true for; its size now; how many reads there were."""
    with Factory("nextmap") as f:
        held, count = Held(("map", "-J", f.pid), ("-n", "0", "-s", str(READ))), 0
        for n, _ in held:
            count = n
            if which(n):
                f.cmd("m 64k")
        r = held.result()
        with open(f"/proc/{f.pid}/statm", encoding="ascii") as file:
            return r, int(file.read().split()[0]) * 4096, count


def check_mapping(t):
    """The target maps a region while its map is read: vmatlas reads again; if it never holds still, the answer is partial."""
    r, now, count = mapped_at(lambda n: False)
    t.ok(not judge("map", r) and sizes(parse(r)) == now, "the map of a target that holds still has its size", judge("map", r))
    wrong = []
    for at in range(1, count + 1):
        r, now, _ = mapped_at(lambda n: n == at)
        doc = parse(r)
        if r.code or judge("map", r) or doc["partial"] or sizes(doc) not in (now, now - 65536):
            wrong.append(f"at read {at}: {r.code} {judge('map', r)} {doc and (doc['partial_why'], sizes(doc))} of {now}")
    t.ok(not wrong, f"mapped once, at any of {count} reads: whole all the same, as it holds still afterwards", "\n".join(wrong))
    r, now, count = mapped_at(lambda n: True)
    doc = parse(r)
    t.ok(r.code == 0 and not judge("map", r) and doc["partial"], "mapped at every read: partial", (r.code, judge("map", r), doc["partial_why"]))


NOBODY = 65534


def check_as_user(t, command):
    """The kernel gives what is left of the dead to root: for others a death looks like a missing right."""
    try:
        run("doctor", user=NOBODY)
    except PermissionError:
        return t.skip(f"{command} as an ordinary user", "the build folder is closed to other users")
    check_death(t, command, NOBODY)


EXECUTES = "import os, sys; print('ready', flush=True); sys.stdin.readline(); os.execv('/bin/sleep', ['sleep', '1000'])"


def executing():
    p = subprocess.Popen([sys.executable, "-c", EXECUTES], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    p.stdout.readline()
    return p


def check_exec(t):
    """The target executes another program before the n-th call: the answer is of one of the two, or partial."""
    for command in ("map", "stacks", "cow"):
        words = COMMANDS[command]
        p = executing()
        _, count = count_calls(words, p.pid)
        p.kill(), p.wait(), p.stdin.close(), p.stdout.close()
        seen = {"before": 0, "after": 0, "partial": 0, "gone": 0}

        def work(n):
            p = executing()
            try:
                held = Held((*words, p.pid), ("-n", n))
                for _ in held:
                    p.stdin.write(b"\n")
                    p.stdin.flush()
                    while os.readlink(f"/proc/{p.pid}/exe") == os.path.realpath(sys.executable):
                        time.sleep(0.0005)
                    time.sleep(0.001)
                r = held.result()
            finally:
                p.kill(), p.wait(), p.stdin.close(), p.stdout.close()
            wrong = judge(command, r)
            if r.code == 3:
                seen["gone"] += 1
                return wrong
            if r.code:
                return wrong + [f"exit code {r.code}: {r.err!r}"]
            doc = parse(r)
            seen["partial"] += doc["partial"]
            if doc["partial"]:
                return wrong
            is_old = "python" in doc["target"]["exe"]
            seen["before" if is_old else "after"] += 1
            paths = " ".join(r.get("path", "") for r in doc[ROWS[command]])
            if command != "stacks" and ("python" in paths) != is_old or "/bin/sleep" in paths and is_old:
                wrong.append(f"not partial, target {doc['target']}, and rows of another program")
            if command == "stacks" and not is_old and doc["target"]["name"] != "sleep":
                wrong.append(f"target {doc['target']}")
            return wrong

        visited, wrong = spread(work, count, SECONDS)
        t.ok(not wrong, f"{command}: the target executes another program at any of its calls", "\n".join(wrong[:20]))
        t.diag(f"{command}: {visited} of {count} calls visited, {seen}")


t = tap.Tap()
t.section(check_not_there)
t.section(check_states)
t.section(check_mapping)
for command in COMMANDS:
    t.section(check_death, command)
if os.geteuid() == 0:
    for command in ("map", "cow"):
        t.section(check_as_user, command)
t.section(check_exec)
t.done()
