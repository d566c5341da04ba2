#!/usr/bin/env python3
# timeout: 240
"""vmatlas serve: the metrics are what /proc says of processes that the test has made; few series, whatever runs; and a server that
silent, slow and numerous clients cannot keep from answering."""
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

sys.path.insert(0, os.path.join(os.environ["SRC"], "tests"))
import tap  # noqa: E402

LINE = re.compile(r'^([a-z_]+)(?:\{(.*)\})? (\S+)$')
LABEL = re.compile(r'([a-z]+)="((?:[^"\\]|\\.)*)"')


def parse(text):
    """{(name, labels): value} of either format."""
    found = {}
    for line in text.splitlines():
        if line.startswith("#") or not line:
            continue
        name, labels, value = LINE.match(line).groups()
        pairs = tuple(sorted((key, re.sub(r"\\(.)", lambda m: "\n" if m[1] == "n" else m[1], text)) for key, text in LABEL.findall(labels or "")))
        assert (name, pairs) not in found, f"{name} {pairs} is there twice"
        found[name, pairs] = float(value)
    return found


def of(metrics, name, group, **more):
    return metrics.get(("vmatlas_group_" + name, tuple(sorted({"group": group, **more}.items()))))


def once(*args, **more):
    done = subprocess.run([tap.VMATLAS, "serve", "--metrics-only", "--once", *args], capture_output=True, text=True, timeout=60, **more)
    if done.returncode:
        raise RuntimeError(f"--once: {done.returncode} {done.stderr}")
    return done.stdout


class Named:
    """Processes with names of the test's choice: copies of sleep."""

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="vmatlas-serve-")
        self.running = []

    def start(self, name, count=1):
        path = os.path.join(os.fsencode(self.dir), os.fsencode(name))
        if not os.path.exists(path):
            shutil.copy("/bin/sleep", path)
        made = [subprocess.Popen([path, "1000"]) for _ in range(count)]
        self.running += made
        # The name is there once exec is over, and the sizes once the program sleeps.
        for p in made:
            while open(f"/proc/{p.pid}/stat", "rb").read().rsplit(b") ", 1)[1][:1] != b"S" or b"sleep" in open(f"/proc/{p.pid}/comm", "rb").read() \
                    or open(f"/proc/{p.pid}/comm", "rb").read().startswith(b"python"):
                time.sleep(0.005)
        return made

    def stop(self, made=None):
        for p in made or self.running:
            p.kill()
            p.wait()
        self.running = [p for p in self.running if made and p not in made]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
        shutil.rmtree(self.dir)


class Server:
    def __init__(self, *args, listen="127.0.0.1:0"):
        self.p = subprocess.Popen([tap.VMATLAS, "serve", "--metrics-only", "--listen", listen, *args], stderr=subprocess.PIPE, text=True)
        said = ""
        while "http://" not in said:
            line = self.p.stderr.readline()
            if not line:
                raise RuntimeError(f"the server ended: {said} {self.p.wait()}")
            said += line
        self.said = said
        self.url = re.search(r"http://\S+", said)[0]
        self.port = int(self.url.rsplit(":", 1)[1].split("/")[0])

    def get(self, path=None, method="GET", accept=None, data=None):
        url = self.url if path is None else self.url.rsplit("/", 1)[0] + path
        request = urllib.request.Request(url, method=method, headers={"Accept": accept} if accept else {}, data=data)
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, answer.headers, answer.read().decode()
        except urllib.error.HTTPError as e:
            return e.code, e.headers, e.read().decode()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.p.send_signal(signal.SIGTERM)
        self.status = self.p.wait(20)
        self.p.stderr.close()


def status_kib(pid, field):
    return int(re.search(rf"^{field}:\s+(\d+)", open(f"/proc/{pid}/status").read(), re.M)[1])


def numbers(t):
    """Five processes that sleep: their sums are those of their status files."""
    with Named() as named:
        made = named.start("vmat-five", 5)
        metrics = parse(once())
        t.is_(of(metrics, "processes", "vmat-five"), 5, "five processes are five")
        t.is_(of(metrics, "threads", "vmat-five"), 5, "with a thread each")
        for name, field in (("virtual_memory_bytes", "VmSize"), ("resident_memory_bytes", "VmRSS"), ("anonymous_memory_bytes", "RssAnon"),
                            ("swap_bytes", "VmSwap"), ("page_table_bytes", "VmPTE")):
            t.is_(of(metrics, name, "vmat-five"), sum(status_kib(p.pid, field) for p in made) * 1024, f"{name} is the sum of {field}")
        faults = [open(f"/proc/{p.pid}/stat").read().rsplit(") ", 1)[1].split() for p in made]
        t.is_(of(metrics, "page_faults_total", "vmat-five", type="minor"), sum(int(f[7]) for f in faults), "minor faults")
        t.is_(of(metrics, "page_faults_total", "vmat-five", type="major"), sum(int(f[9]) for f in faults), "major faults")
        boot = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
        oldest = boot + min(int(f[19]) for f in faults) / os.sysconf("SC_CLK_TCK")
        t.ok(abs(of(metrics, "oldest_start_time_seconds", "vmat-five") - oldest) < 1, "when the oldest began")
        verdicts = {labels: v for (name, labels), v in metrics.items() if name == "vmatlas_group_verdict" and ("group", "vmat-five") in labels}
        t.is_(sum(verdicts.values()), 1, "one verdict holds")
        t.is_(of(metrics, "verdict", "vmat-five", verdict="insufficient_data"), 1, "after one look nothing can be judged")
        t.ok(of(metrics, "mappings", "vmat-five") is None, "regions are not read unless asked for")

        metrics = parse(once("--detail", "vmat-five"))
        maps = [open(f"/proc/{p.pid}/maps").read().splitlines() for p in made]
        sizes = [sum(int(e, 16) - int(s, 16) for s, e in (line.split()[0].split("-") for line in m) if int(s, 16) < 1 << 63) for m in maps]
        t.is_(of(metrics, "detailed_processes", "vmat-five"), 5, "in detail: five")
        t.is_(of(metrics, "mappings", "vmat-five"), sum(len(m) for m in maps), "in detail: as many regions as maps has lines")
        kinds = [v for (name, labels), v in metrics.items() if name == "vmatlas_group_region_virtual_bytes" and ("group", "vmat-five") in labels]
        t.ok(abs(sum(kinds) - sum(sizes)) <= 5 * 4096, "in detail: kinds add up to the sizes of maps", f"{sum(kinds)} {sum(sizes)}")
        t.ok((of(metrics, "heap_bytes", "vmat-five", state="in_use") or 0) > 0, "in detail: what malloc has given out")

        as_rule = parse(once("--group", "rule one=vmat-five 10+$"))
        t.is_((of(as_rule, "processes", "rule one"), of(as_rule, "processes", "vmat-five")), (5, None), "a rule on the command line")
        by_exe = parse(once("--group-by", "exe"))
        t.is_(of(by_exe, "processes", "vmat-five"), 5, "by program")


def bounded(t):
    """As many names as you like are 30 groups and the rest."""
    with Named() as named:
        for i in range(60):
            named.start(f"vmat-many-{i}")
        text = once()
        metrics = parse(text)
        groups = {dict(labels)["group"] for (name, labels) in metrics if name == "vmatlas_group_processes"}
        t.is_((len(groups), "_other" in groups, metrics["vmatlas_groups", ()]), (31, True, 31), "thirty groups, and the others together")
        t.ok(len(metrics) <= 31 * 18 + 8, "at most 18 series a group", len(metrics))
        details = [a for g in groups for a in ("--detail", g)][:64]
        t.ok(len(parse(once(*details))) <= 2000, "at most 2,000 series with all groups in detail")
        own = {p.pid for p in named.running}
        running = sum(v for (name, _), v in metrics.items() if name == "vmatlas_group_processes")
        user = [p for p in os.listdir("/proc") if p.isdigit() and os.path.exists(f"/proc/{p}/statm")
                and open(f"/proc/{p}/statm").read().split()[0] != "0"] if own else []
        t.ok(abs(running - len(user)) < 40 and running >= 60, "each process is in one group", f"{running} {len(user)}")


def hostile_names(t):
    names = ["a\"b", "back\\slash", "new\nline", "_other", "\x1b[31mred", "\udcff\udcfe", "{curly}", "grün", "#comment", " "]
    with Named() as named:
        for name in names:
            named.start(name)
        text = once()
        metrics = parse(text)
        groups = {dict(labels)["group"] for (name, labels) in metrics if name == "vmatlas_group_processes"} - {"_other"}
        seen = ["a\"b", "back\\slash", "new?line", "_other?", "?[31mred", "??", "{curly}", "grün", "#comment", " "]
        if len(groups) < 30:
            t.is_(sorted(set(seen) - groups), [], "names full of traps are groups that a label can hold")
        if shutil.which("promtool"):
            done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True)
            t.is_((done.returncode, done.stdout, done.stderr), (0, "", ""), "promtool check metrics has nothing to say")
        else:
            t.skip("promtool check metrics has nothing to say", "promtool is not installed")


def over_time(t):
    with Named() as named, Server("--interval", "200ms") as server:
        made = named.start("vmat-comes-goes", 3)

        def until(what, value):
            end = time.monotonic() + 30
            while time.monotonic() < end:
                metrics = parse(server.get()[2])
                if of(metrics, what, "vmat-comes-goes") == value:
                    return True
                time.sleep(0.05)
            return False

        t.ok(until("processes", 3), "processes that begin are there at a later look")
        before = of(parse(server.get()[2]), "page_faults_total", "vmat-comes-goes", type="minor")
        named.stop(made[:2])
        t.ok(until("processes", 1), "those that end are gone")
        after = of(parse(server.get()[2]), "page_faults_total", "vmat-comes-goes", type="minor")
        t.ok(after >= before > 0, "a counter does not go back when a process ends", f"{before} {after}")
        named.stop()
        t.ok(until("processes", None), "a group without processes has no series")
    t.is_(server.status, 0, "SIGTERM ends it well")


def http(t):
    with Server("--interval", "1h") as server:
        code, headers, body = server.get()
        t.is_((code, headers["Content-Type"]), (200, "text/plain; version=0.0.4; charset=utf-8"), "the classic format by default")
        code, headers, metrics = server.get(accept="application/openmetrics-text;version=1.0.0,text/plain;q=0.5")
        t.is_((code, headers["Content-Type"]), (200, "application/openmetrics-text; version=1.0.0; charset=utf-8"), "OpenMetrics to who asks for it")
        t.ok(metrics.endswith("\n# EOF\n") and "# TYPE vmatlas_group_page_faults counter" in metrics, "which ends as it must")
        t.is_(parse(metrics), parse(body), "both say the same")
        t.is_([server.get()[2] == body for _ in range(5)], [True] * 5, "scrapes do not look: between two looks all are the same")
        t.is_(server.get("/")[0], 404, "another path")
        t.is_(server.get("/metrics/../etc/passwd")[0], 404, "a path that climbs")
        t.is_(server.get("/" + "x" * 12000)[0] in (404, 414, 431), True, "a path without an end")
        code, headers, _ = server.get(method="POST", data=b"x" * 1000)
        t.is_((code, headers["Allow"]), (405, "GET, HEAD"), "another method")
        code, headers, text = server.get(method="HEAD")
        t.is_((code, int(headers["Content-Length"]), text), (200, len(body), ""), "HEAD")
        done = subprocess.run([tap.VMATLAS, "serve", "--metrics-only", "--listen", f"127.0.0.1:{server.port}"], capture_output=True, text=True, timeout=30)
        t.ok(done.returncode == 4 or "in use" in done.stderr, "a port that is taken", f"{done.returncode} {done.stderr}")
    for args in (["--listen", "nowhere"], ["--listen", "127.0.0.1:99999"], ["--group", "x=("], ["--group", "=x"], ["--group-by", "pid"], ["--interval", "0"]):
        done = subprocess.run([tap.VMATLAS, "serve", "--metrics-only", *args], capture_output=True, text=True, timeout=30)
        t.is_((done.returncode, done.stdout), (2, ""), f"{' '.join(args)}: is refused")
    t.is_(subprocess.run([tap.VMATLAS, "serve"], capture_output=True, timeout=30).returncode, 2, "without --metrics-only: there is no page yet")


def bad_clients(t):
    """Silent ones, one that sends a byte now and then, and more than there is room for: all are cut off, and a scrape is answered."""
    with Server() as server:
        def connect():
            s = socket.create_connection(("127.0.0.1", server.port), timeout=90)
            return s

        dripping, cut = connect(), []

        def drip():
            start = time.monotonic()
            try:
                dripping.sendall(b"GET /metrics HTTP/1.1\r\nX: ")
                while time.monotonic() - start < 90:
                    dripping.sendall(b"x")
                    time.sleep(0.5)
            except OSError:
                cut.append(time.monotonic() - start)

        thread = threading.Thread(target=drip)
        thread.start()
        silent = [connect() for _ in range(100)]
        answered = False
        end = time.monotonic() + 90
        while not answered and time.monotonic() < end:
            try:
                answered = server.get()[0] == 200
            except (OSError, urllib.error.URLError):
                time.sleep(0.2)
        t.ok(answered, "a hundred silent connections: soon a scrape is answered again")
        for s in silent:
            s.close()
        thread.join()
        dripping.close()
        t.ok(cut, "who sends a byte now and then is cut off")
        t.is_(server.get()[0], 200, "and the next is served")


def rights(t):
    if os.geteuid():
        t.skip("nobody sees sizes of all", "needs root to become nobody")
        return
    with Named() as named:
        os.chmod(named.dir, 0o755)
        named.start("vmat-of-root", 2)
        done = subprocess.run([tap.for_everyone(tap.VMATLAS), "serve", "--metrics-only", "--once", "--detail", "vmat-of-root"], capture_output=True, text=True,
                              user=65534, group=65534, extra_groups=[], timeout=60)
        metrics = parse(done.stdout)
        t.is_((done.returncode, of(metrics, "processes", "vmat-of-root")), (0, 2), "nobody sees sizes of all processes")
        t.is_(of(metrics, "mappings", "vmat-of-root"), None, "but not the regions of others'")


t = tap.Tap()
for section in (numbers, bounded, hostile_names, over_time, http, bad_clients, rights):
    t.section(section)
t.done()
