#!/usr/bin/env python3
"""`vmatlas watch`: its numbers against ps and against what a program says that it did; what happens to a process as events; rows,
JSON and the terminal; the words at the end. Nothing is timed: each check waits for the tick that began after what it looks at."""
import csv
import fcntl
import io
import json
import os
import platform
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
import time

sys.path.insert(0, os.path.join(os.environ["SRC"], "tests"))
import proc
import tap

MIB = 1 << 20
SLACK = 128 * 1024  # pages that running a command line, the loader and the kernel's batches of counters may add
GROWER = os.path.join(tap.BUILD, "tests", "factory", "grower")
PATIENCE = 100


class Grower:
    def __init__(self, user=None):
        program = GROWER if user is None else tap.for_everyone(GROWER)
        self.process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, user=user)
        self.pid = self.process.pid
        self.ready()

    def ready(self):
        line = self.process.stdout.readline()
        if line != b"ready\n":
            raise RuntimeError(f"grower said {line!r}")

    def tell(self, line):
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def do(self, line):
        self.tell(line)
        self.ready()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


class Watch:
    """vmatlas watch -J, read line by line."""

    def __init__(self, *pids, options=(), without=None, user=None):
        env = dict(os.environ)
        if without:
            env["VMAT_WITHOUT"] = without
        program = tap.VMATLAS if user is None else tap.for_everyone(tap.VMATLAS)
        self.process = subprocess.Popen([program, "watch", "-J", "-i", "20ms", *options, *map(str, pids)], env=env, user=user,
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.lines, self.events = [], []

    def next(self):
        """The next line, or None at the end."""
        ready, _, _ = select.select([self.process.stdout], [], [], PATIENCE)
        if not ready:
            raise TimeoutError("no tick")
        line = self.process.stdout.readline()
        if not line:
            return None
        doc = json.loads(line)
        self.lines.append(doc)
        self.events += doc["events"]
        return doc

    def after(self):
        """A sample that was begun later than now."""
        now = time.time() * 1000 + 1
        while True:
            doc = self.next()
            if doc is None:
                raise EOFError("watch has ended")
            if "sample" in doc and doc["sample"]["time_ms"] > now:
                return doc["sample"]

    def event(self, name):
        """The first event of that name, waiting for it."""
        while not any(e["event"] == name for e in self.events):
            if self.next() is None:
                return None
        return [e for e in self.events if e["event"] == name][0]

    def end(self):
        while self.next():
            pass
        return self.process.wait(PATIENCE)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            # Only where it stands: while LSan ends it, a SIGCONT takes away the SIGSTOP that LSan's tracer waits for.
            if proc.stat(self.process.pid)[3] == "T":
                os.kill(self.process.pid, signal.SIGCONT)
            self.process.terminate()
        self.process.stdout.close()
        self.process.stderr.close()
        self.process.wait(PATIENCE)


def ps(pid):
    """Bytes, as ps says them."""
    said = subprocess.run(["ps", "-p", str(pid), "-o", "vsize=,size=,rss="], capture_output=True, text=True, check=True).stdout
    return [int(word) * 1024 for word in said.split()]


def three(sample):
    return [sample["vsize"], sample["size"], sample["rss"]]


def near(got, want):
    return abs(got - want) <= SLACK


def same_as_ps(t):
    """The program of the question: 1 MiB is allocated, freed, allocated again. At each stop ps says the same."""
    with Grower() as g, Watch(g.pid) as w:
        for what in ("", "malloc 1048576", "free", "malloc 1048576", "map 3145728", "touch", "reserve 8388608"):
            if what:
                g.do(what)
            t.is_(three(w.after()), ps(g.pid), f"vsize, size and rss are those of ps: {what or 'at first'}")


def metrics(t):
    with Grower() as g, Watch(g.pid) as w:
        first = w.next()
        t.is_(first["sample"]["regions"], len(proc.maps(g.pid)), "regions are the lines of maps")
        t.is_(sum(k["regions"] for k in first["kinds"]), first["sample"]["regions"], "each region has one kind")
        t.is_(first["schema"], "vmatlas/watch/1", "schema")
        before = w.after()
        g.do("map 16777216")
        mapped = w.after()
        t.is_(mapped["vsize"] - before["vsize"], 16 * MIB, "16 MiB mapped: vsize")
        t.is_(mapped["size"] - before["size"], 16 * MIB, "16 MiB mapped: size")
        t.ok(near(mapped["rss_anon"], before["rss_anon"]), "16 MiB mapped: anonymous memory stays", (before, mapped))
        g.do("touch")
        touched = w.after()
        t.is_(touched["rss"], touched["rss_anon"] + touched["rss_file"] + touched["rss_shmem"], "touched: rss is the sum of its parts")
        t.ok(near(touched["rss_anon"], mapped["rss_anon"] + 16 * MIB), "touched: anonymous", (mapped, touched))
        t.ok(touched["page_tables"] >= mapped["page_tables"], "touched: page tables")
        t.ok(touched["faults_minor"] > mapped["faults_minor"], "touched: page faults", (mapped, touched))
        t.is_([touched["faults_minor"] + touched["faults_major"]], [sum(proc.faults(g.pid))], "faults are those of stat")
        g.do("reserve 33554432")
        reserved = w.after()
        t.is_((reserved["vsize"] - touched["vsize"], reserved["size"] - touched["size"]), (32 * MIB, 0),
              "reserved: vsize grows, size does not")
        g.do("threads 3")
        threads = w.after()
        t.is_(threads["threads"], 4, "three threads more")
        t.is_(w.event("threads") is not None, True, "threads are an event")
        t.is_([e["event"] for e in w.events][0], "begun", "the first event")


def seldom(t):
    """However fast a large map changes, it is read whole no more often than each 5 s: also where the budget has no limit."""
    with Grower() as g:
        g.do("regions 20000")
        with Watch(g.pid, options=["--budget", "0"]) as w:
            for _ in range(25):
                g.do("map 4096")
                w.after()
            times = [d["sample"]["time_ms"] for d in w.lines if d["sample"]["regions"] is not None]
            t.ok(times and all(b - a >= 4900 for a, b in zip(times, times[1:])), "a map of 20,000 regions is read at most each 5 s",
                 [len(w.lines), times])


def executes(t):
    with Grower() as g, Watch(g.pid) as w:
        g.do("map 67108864")
        w.after()
        g.do("exec")
        sample = w.after()
        t.is_(three(sample), ps(g.pid), "after exec: the numbers of the new program")
        event = w.event("exec")
        t.is_(event and event["text"], "grower", "exec is an event")
        t.is_(len([e for e in w.events if e["event"] == "exec"]), 1, "one exec, one event")


def ends(t):
    """How it ended: while it is a zombie, and when its parent has waited for it."""
    for without in (None, "pidfd"):
        said = f"without {without}: " if without else ""
        with Grower() as g, Watch(g.pid, without=without) as w:
            w.next()
            g.tell("exit 7")
            event = w.event("exited")
            t.is_(event and event["number"], str(7 << 8), f"{said}exit status of a zombie")
            t.is_(w.end(), 0, f"{said}watch ends with it, and all is well")
    with Grower() as g, Watch(g.pid) as w:
        w.next()
        os.kill(w.process.pid, signal.SIGSTOP)
        g.process.kill()
        g.process.wait()
        os.kill(w.process.pid, signal.SIGCONT)
        event = w.event("exited")
        release = tuple(int(n) for n in re.findall(r"\d+", platform.release())[:2])
        t.ok(event and event["number"] in (("9",) if release >= (6, 15) else ("9", None)), "exit status when its parent has waited", event)
        t.is_(w.end(), 0, "and watch ends")
    with Grower() as one, Grower() as two, Watch(one.pid, two.pid) as w:
        w.next()
        one.tell("exit 0")
        w.event("exited")
        two.do("map 4096")
        t.is_(w.after()["pid"], two.pid, "of two one has ended: the other is watched on")
        two.tell("exit 0")
        t.is_(w.end(), 0, "both have ended")
    with Grower() as one, Grower() as two, Watch(one.pid, two.pid, options=["--until-exit"]) as w:
        w.next()
        one.tell("exit 0")
        t.is_(w.end(), 0, "--until-exit: the first one ends it")


def replaced(t):
    """The numbers of a process that has gone are never those of another, however long nobody looked."""
    with Grower() as g, Watch(g.pid) as w:
        w.next()
        os.kill(w.process.pid, signal.SIGSTOP)
        g.process.kill()
        g.process.wait()
        seen = len(w.lines)
        os.kill(w.process.pid, signal.SIGCONT)
        t.is_(w.end(), 0, "its process went while watch slept")
        late = [d for d in w.lines[seen:] if "sample" in d and d["sample"]["vsize"] is None]
        t.is_(late, [], "no sample without a process")


def as_anybody(t):
    if os.geteuid():
        t.skip("a process of root", "needs root to start it")
        return
    with Grower() as g, Watch(g.pid, user=proc.NOBODY) as w:
        first = w.next()
        t.is_(first["sample"]["regions"], None, "another user's process: regions are not known")
        t.is_(first["sample"]["unknown"]["regions"], "not permitted", "and why")
        t.ok("CAP_SYS_PTRACE" in first["events"][0]["text"], "and what is missing", first["events"])
        t.ok("kinds" not in first, "no kinds")
        g.do("map 4194304")
        t.is_(three(w.after()), ps(g.pid), "its sizes are known")
        g.tell("exit 3")
        event = w.event("exited")
        t.is_(event and event["number"], None, "its exit status is not, and not taken for 0")


def rows(t):
    with Grower() as g:
        done = proc.vmatlas("watch", "-i", "20ms", "--for", "300ms", g.pid)
        table = list(csv.DictReader(io.StringIO(done.out)))
        t.is_(done.status, 0, "--for ends it")
        t.is_(done.out.splitlines()[0].split(",")[:4], ["time_ms", "vsize", "size", "rss"], "the columns of the question come first")
        t.ok(table, "there are rows")
        t.is_({(int(r["vsize"]), int(r["size"]), int(r["rss"])) for r in table}, {tuple(ps(g.pid))}, "each row says what ps says")
        t.ok("process %d (grower)" % g.pid in done.err and "Of the three, size" in done.err, "the words at the end", done.err)
        done = proc.vmatlas("watch", "-r", "-b", "-o", "PID,SIZE,RSS", "-i", "20ms", "--for", "60ms", g.pid)
        t.is_(done.out.splitlines()[:2], ["PID SIZE RSS", " ".join(map(str, [g.pid] + ps(g.pid)[1:]))], "--raw with chosen columns")


def lows(values):
    count = len(values)
    return [min(v for i, v in enumerate(values) if i * 3 // count == third) for third in range(3)]


def words(t):
    """What is said follows from the rows that are printed."""
    for said, commands in (("a leak", ["malloc 2097152", "malloc 2097152"] * 8),
                           ("taken and given back", ["malloc 2097152", "free"] * 8),
                           ("address space", ["reserve 8388608"] * 16)):
        with Grower() as g:
            with subprocess.Popen([tap.VMATLAS, "watch", "-i", "10ms", str(g.pid)], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as w:
                got = []
                reader = threading.Thread(target=lambda: got.extend(w.stdout))
                reader.start()
                for command in commands:
                    before = len(got)
                    g.do(command)
                    proc.wait_until(lambda: len(got) >= before + 3, "three ticks more", PATIENCE)
                w.send_signal(signal.SIGINT)
                err = w.stderr.read().decode()
                reader.join()
            table = list(csv.DictReader(io.StringIO(b"".join(got).decode())))
            for name in ("vsize", "size", "rss"):
                values = [int(r[name]) for r in table]
                low, noise = lows(values), max(values[0] // 64, 65536)
                want = "grows" if low[2] > low[0] + noise and 4 * (low[2] - low[1]) >= low[1] - low[0] else \
                    "grew" if low[2] > low[0] + noise else \
                    "stood still" if max(values) - min(values) <= noise else "fell" if low[0] > low[2] + noise else "went up"
                t.ok(re.search(rf"^  {name} +{want}", err, re.M), f"{said}: {name} {want}", err)
            t.is_(w.returncode, 0, f"{said}: SIGINT is the usual end")


class Terminal:
    def __init__(self, *pids, columns=80, lines=40, **env):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execve(tap.VMATLAS, [tap.VMATLAS, "watch", "-i", "30ms", *map(str, pids)],
                      {**os.environ, "TERM": "xterm-256color", "LC_ALL": "C.UTF-8", **env})
        self.out = b""
        self.resize(columns, lines)

    def resize(self, columns, lines):
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def wait_for(self, is_true):
        end = time.monotonic() + PATIENCE
        while not is_true():
            if time.monotonic() > end:
                raise TimeoutError(self.out[-2000:])
            if select.select([self.fd], [], [], 1)[0]:
                try:
                    self.out += os.read(self.fd, 65536)
                except OSError:
                    return

    def frames(self):
        """Whole frames, as lines without sequences."""
        found = re.findall(rb"\x1b\[H(.*?)\x1b\[J", self.out, re.S)
        return [re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", f.decode()).replace("\r", "").split("\n") for f in found]

    def end(self):
        """The exit status, with all that is still written read."""
        while True:
            try:
                part = os.read(self.fd, 65536)
            except OSError:
                break
            if not part:
                break
            self.out += part
        os.close(self.fd)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def on_a_terminal(t):
    with Grower() as g:
        for said, stop in (("q", lambda w: os.write(w.fd, b"q")), ("SIGINT", lambda w: os.kill(w.pid, signal.SIGINT)),
                           ("SIGTERM", lambda w: os.kill(w.pid, signal.SIGTERM)), ("the end of the process", lambda w: g.tell("exit 0"))):
            w = Terminal(g.pid)
            before = termios.tcgetattr(w.fd)
            w.wait_for(lambda: len(w.frames()) >= 3)
            during = termios.tcgetattr(w.fd)
            stop(w)
            after = []
            w.wait_for(lambda: after.append(termios.tcgetattr(w.fd)) or w.out.rstrip().endswith(b"finds the blocks."))
            t.is_(w.end(), 0, f"{said}: it ends well")
            left = w.out.rpartition(b"\x1b[?1049l")
            t.ok(b"\x1b[?1049h" in w.out and left[1] and b"\x1b[?25h" in left[0], f"{said}: the screen is given back")
            t.ok(not during[3] & termios.ECHO and before[3] & termios.ECHO and after[-1] == before, f"{said}: the terminal is as it was")
            t.ok(b"Of the three, size" in left[2], f"{said}: the words stand below", left[2][-300:])


def frames(t):
    with Grower() as g:
        g.do("malloc 65536")
        w = Terminal(g.pid, columns=100, lines=60)
        w.wait_for(lambda: len(w.frames()) >= 2 and any("by kind" in line for line in w.frames()[-1]))
        text = "\n".join(w.frames()[-1])
        vsize, size, rss = (re.search(rf"^{name} +(\S+)", text, re.M)[1] for name in ("vsize", "size", "rss"))
        t.ok(all(re.fullmatch(r"[\d.]+[KMG]", n) for n in (vsize, size, rss)), "sizes are shown", text)
        t.ok(re.search(r"^heap +1 ", text, re.M) and re.search(r"^stack +1 ", text, re.M), "kinds are shown", text)
        w.resize(60, 10)
        seen = len(w.frames())
        w.wait_for(lambda: len(w.frames()) > seen + 1)
        t.ok(len(w.frames()[-1]) <= 10, "a smaller window: fewer lines", w.frames()[-1])
        os.write(w.fd, b"h")
        w.wait_for(lambda: any("private writable memory" in line for line in w.frames()[-1]))
        t.ok(True, "h explains")
        os.write(w.fd, b"q")
        w.end()
        w = Terminal(g.pid, NO_COLOR="1")
        w.wait_for(lambda: len(w.frames()) >= 2)
        os.write(w.fd, b"q")
        w.end()
        t.ok(not re.search(rb"\x1b\[[0-9;]*m", w.out), "NO_COLOR: no colours")
        w = Terminal(g.pid, g.pid, columns=80)
        w.wait_for(lambda: len(w.frames()) >= 2 and any("NAME" in line for line in w.frames()[-1]))
        t.ok(all(len(line) <= 80 for line in w.frames()[-1]), "several: a table of 80 columns", w.frames()[-1])
        os.write(w.fd, b"q")
        w.end()
        w = Terminal(g.pid, TERM="dumb")
        w.wait_for(lambda: w.out.count(b"grower") >= 2)
        os.kill(w.pid, signal.SIGINT)
        t.is_(w.end(), 0, "a dumb terminal")
        t.ok(b"\x1b" not in w.out, "a dumb terminal: no sequences", w.out[:300])


def refused(t):
    for status, arguments in ((2, ["watch"]), (2, ["watch", "-i", "soon", "1"]), (2, ["watch", "-i", "1ms", "1"]), (2, ["watch", "--for", "x", "1"]),
                              (2, ["watch", "--budget", "200%", "1"]), (2, ["watch", "--budget", "x", "1"]), (3, ["watch", "4194999"]),
                              (2, ["watch", "-o", "NONE", "1"])):
        done = proc.vmatlas(*arguments)
        t.is_((done.status, done.out), (status, ""), f"{' '.join(arguments)}: refused")
        t.ok(done.err.startswith("vmatlas: "), f"{' '.join(arguments)}: and told why", done.err)


t = tap.Tap()
for part in (same_as_ps, metrics, seldom, executes, ends, replaced, as_anybody, rows, words, on_a_terminal, frames, refused):
    t.section(part)
t.done()
