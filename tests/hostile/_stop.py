"""What the tests of stopping share: the program that is stopped, and the one that stops it."""
import json
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.environ.get("SRC", "."), "tests"))
sys.path.insert(0, os.path.join(os.environ.get("SRC", "."), "tests", "live"))
import tap  # noqa: E402
from factory import Program  # noqa: E402

STOP_LOOP = os.path.join(tap.BUILD, "tests", "factory", "stop_loop")


class Blocked(Program):
    """tests/factory/blocked: one thread in each kind of call that waits."""

    def __init__(self, *kinds, variant="blocked", **how):
        super().__init__([os.path.join(tap.BUILD, "tests", "factory", variant), *kinds], **how)

    def started(self):
        self.info = json.loads(self.lines[0])
        self.pid = self.info["pid"]
        self.kinds = self.info["kinds"]


def words(pid, options):
    return [STOP_LOOP, str(pid)] + [f"{key}={value}" for key, value in options.items()]


def start(pid, **options):
    """A running stop_loop."""
    return subprocess.Popen(words(pid, options), stdout=subprocess.PIPE, text=True)


def stop(pid, timeout=120, **options):
    """What stop_loop says at its end."""
    run = subprocess.run(words(pid, options), stdout=subprocess.PIPE, text=True, timeout=timeout, check=False)
    return json.loads(run.stdout)


def threads(pid):
    """The state and the tracer of each thread."""
    found = {}
    for tid in os.listdir(f"/proc/{pid}/task"):
        try:
            with open(f"/proc/{pid}/task/{tid}/status", encoding="utf-8", errors="replace") as file:
                facts = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
        except (FileNotFoundError, ProcessLookupError):
            continue
        found[int(tid)] = (facts["State"][0], int(facts["TracerPid"]))
    return found


def is_free(pid):
    """No thread is stopped, and none is traced."""
    return all(state not in "tT" and not tracer for state, tracer in threads(pid).values())


def check_report(t, what, report, allowed=0):
    spurious = {k: c["eintr"] - c["handled"] for k, c in report.items() if c["eintr"] > c["handled"] + allowed}
    lost = {k: c["lost"] for k, c in report.items() if c["lost"] or c["eintr"] < c["handled"]}
    other = {k: (c["other"], c["errno"]) for k, c in report.items() if c["other"]}
    t.is_(spurious, {}, f"{what}: no EINTR without a signal")
    t.is_(lost, {}, f"{what}: no signal without its EINTR")
    t.is_(other, {}, f"{what}: no call returned anything else")


class Steady(Program):
    """tests/factory/steady: one thread that looks whether its registers are what they were."""

    def __init__(self, kind, **how):
        super().__init__([os.path.join(tap.BUILD, "tests", "factory", "steady"), kind], **how)

    def started(self):
        self.info = json.loads(self.lines[0])
        self.pid = self.info["pid"]


def children(pid):
    """The children of all threads, those that have ended included."""
    found = []
    for tid in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{tid}/children", encoding="ascii") as file:
            found += [int(word) for word in file.read().split()]
    return found


def held(pid, within_s):
    """What still holds the target after that time: its children, and its threads when one of them is stopped or traced; else nothing.

    Each look counts by itself: a stopper that had not begun when its caller was killed may begin after a look that found nothing.
    """
    end = time.monotonic() + within_s
    while True:
        seen = {"children": children(pid), "threads": {} if is_free(pid) else threads(pid)}
        if not any(seen.values()):
            return {}
        if time.monotonic() > end:
            return seen
        time.sleep(0.001)
