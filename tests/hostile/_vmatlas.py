"""What the hostile tests share: running vmatlas with a limit, and judging what it says without knowing what it should say.

    r = run("map", "-J", pid)            # r.code, r.out, r.err, r.seconds; never hangs: r.code is None after `timeout`
    why = judge("map", r)                # [] when it is a whole answer, a partial one that says so, or an error that is explained
    problems_of("map", document)         # [] when no sentence of the document contradicts another one

    run("map", "-J", pid, wrap=tracer("-n", 5, "-e", errno.EIO))     # its 5th system call fails: see tests/torture/fail_call.c
    for number, nr in Held(("map", "-J", pid)): ...                  # stands before each of its calls
"""
import collections
import concurrent.futures
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.environ.get("SRC", "."), "tests"))
sys.path.insert(0, os.path.join(os.environ.get("SRC", "."), "tests", "live"))
from tap import BUILD, VMATLAS  # noqa: E402

PAGE = 4096
QUIET = {"LC_ALL": "C"}       # spares some fifty system calls of locales
# The leak sanitizer traces, so it cannot be traced.
TRACED = {"ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "allocator_may_return_null=1") + ":detect_leaks=0"}
EXITS = (0, 2, 3, 4, 5, 6, 70)
FAIL_CALL = os.path.join(BUILD, "tests", "torture", "fail_call")
FAIL_ALLOC = os.path.join(BUILD, "tests", "torture", "libfail_alloc.so")
# Each command, as it is asked for JSON.
COMMANDS = {
    "map": ("map", "-J"),
    "stacks": ("stacks", "-J"),
    "pages": ("pages", "--all", "-J"),
    "cow": ("cow", "-J"),
}
ROWS = {"map": "regions", "stacks": "threads", "pages": "runs", "cow": "regions"}

Result = collections.namedtuple("Result", "code out err seconds")


def is_asan():
    """Is the program under test built with the address sanitizer?"""
    with open(VMATLAS, "rb") as file:
        return b"__asan_report_load" in file.read()


def run(*args, timeout=10, env=None, wrap=(), limit=None, **more):
    """Runs vmatlas in a group of its own. A code below 0 is a signal; None: it was killed after `timeout` seconds."""
    argv = [*map(str, wrap), VMATLAS, *map(str, args)]
    began = time.monotonic()
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True,
                                   env={**os.environ, **(TRACED if wrap else {}), **(env or {})}, preexec_fn=limit, **more)
        is_late = []

        def end_it():
            is_late.append(True)
            os.killpg(process.pid, signal.SIGKILL)

        timer = threading.Timer(timeout, end_it)
        timer.start()
        process.wait()
        timer.cancel()
        seconds = time.monotonic() - began
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        out.seek(0), err.seek(0)
        return Result(None if is_late else process.returncode, out.read(), err.read(), seconds)


def tracer(*options):
    """The words that stand before vmatlas to run it under fail_call."""
    return (FAIL_CALL, *map(str, options), "--")


def addr(text):
    return int(text, 16)


def _unexplained(where, row):
    """A fact that is null has a reason in `unknown`."""
    unknown = row.get("unknown", {})
    for key, value in row.items():
        if value is None and not unknown.get(key):
            yield f"{where}: {key} is null without a reason"
        if isinstance(value, list):
            for i, inner in enumerate(value):
                if isinstance(inner, dict):
                    yield from _unexplained(f"{where}.{key}[{i}]", inner)
    for key in unknown:
        if key in row and row[key] is not None:
            yield f"{where}: {key} has a value and a reason why it is unknown"


def _ascending(name, rows, start="start", end="end"):
    last = 0
    for i, row in enumerate(rows):
        if row[start] is None:
            continue
        first, behind = addr(row[start]), addr(row[end])
        if behind <= first or first < last:
            yield f"{name}[{i}] {row[start]}-{row[end]} does not lie above 0x{last:x}"
        last = behind


def _map_problems(doc):
    rows, totals = doc["regions"], doc.get("totals")
    yield from _ascending("regions", rows)
    sums = collections.defaultdict(lambda: collections.Counter())
    unknown = collections.defaultdict(set)
    for i, row in enumerate(rows):
        size = addr(row["end"]) - addr(row["start"])
        if row["size"] != size or size % PAGE:
            yield f"regions[{i}]: size {row['size']} of {size}"
        parts = [row.get(k) or 0 for k in ("rss", "zero", "guard", "swap")]
        if sum(parts) > size:
            yield f"regions[{i}]: rss, zero, guard and swap are {parts}, together more than its {size}"
        if (row.get("copied") or 0) > (row.get("rss") or 0) + (row.get("swap") or 0):
            yield f"regions[{i}]: {row['copied']} copied of {row['rss']} resident, {row['swap']} swapped"
        kind = row["kind"]
        sums[kind]["count"] += 1
        sums[kind]["size"] += size
        for key in ("rss", "copied", "swap"):
            if row.get(key) is not None:
                sums[kind][key] += row[key]
            elif row.get("unknown", {}).get(key) != "does not apply here":
                unknown[kind].add(key)
    for total in totals or []:
        for key in ("count", "size", "rss", "copied", "swap"):
            want = None if key in unknown[total["kind"]] else sums[total["kind"]][key]
            if key in total and total[key] != want:
                yield f"total of {total['kind']}: {key} is {total[key]}, its rows add up to {want}"
    if totals is not None and {t["kind"] for t in totals} != set(sums):
        yield f"totals are of {sorted(t['kind'] for t in totals)}, rows of {sorted(sums)}"
    if doc["counters"]["regions"] != len(rows):
        yield f"counters.regions is {doc['counters']['regions']} of {len(rows)} rows"


def _stacks_problems(doc):
    rows = doc["threads"]
    placed = [r for r in rows if r["begin"] is not None]
    if [addr(r["begin"]) for r in placed] != sorted(addr(r["begin"]) for r in placed):
        yield "threads are not ascending"
    last = 0
    for r in placed:
        begin, end = addr(r["begin"]), addr(r["end"])
        if r["kind"] in ("thread", "cached", "exited"):
            if begin < last:
                yield f"the stack at {r['begin']} begins in another one"
            last = end
        if end - begin != r["size"] or end <= begin:
            yield f"the stack at {r['begin']}: size {r['size']} of {end - begin}"
        for key in ("guard", "used", "resident", "high_water"):
            if r[key] is not None and r[key] > r["size"]:
                yield f"the stack at {r['begin']}: {key} {r[key]} of {r['size']}"
    tids = [r["tid"] for r in rows if r["tid"] is not None]
    if len(set(tids)) != len(tids):
        yield "a thread stands twice"


def _pages_problems(doc):
    rows = doc["runs"]
    yield from _ascending("runs", rows)
    for i, r in enumerate(rows):
        if r["size"] != addr(r["end"]) - addr(r["start"]) or r["pages"] * PAGE != r["size"]:
            yield f"runs[{i}]: {r['pages']} pages, {r['size']} bytes in {r['start']}-{r['end']}"
        states = [k for k in ("present", "swapped", "guard") if r[k]]
        if len(states) > 1 or not states and any(r[k] for k in ("file", "copied", "huge", "zero")):
            yield f"runs[{i}]: {r}"


def _cow_problems(doc):
    rows = doc["regions"]
    yield from _ascending("regions", rows)
    for i, r in enumerate(rows):
        if r["pages"] * PAGE != addr(r["end"]) - addr(r["start"]):
            yield f"regions[{i}]: {r['pages']} pages in {r['start']}-{r['end']}"
        yield from _ascending(f"regions[{i}].ranges", r["ranges"])
        pages = sum(g["pages"] for g in r["ranges"])
        for g in r["ranges"]:
            if addr(g["start"]) < addr(r["start"]) or addr(g["end"]) > addr(r["end"]):
                yield f"regions[{i}]: the range at {g['start']} lies outside"
        if r["copied"] is not None and r["copied"] != pages:
            yield f"regions[{i}]: {r['copied']} copied pages, ranges of {pages}"


_PROBLEMS = {"map": _map_problems, "stacks": _stacks_problems, "pages": _pages_problems, "cow": _cow_problems}


def problems_of(command, doc):
    """What is wrong in the document itself. A document whose list is null must say why."""
    found = []
    if doc.get("schema") != f"vmatlas/{command}/1":
        found.append(f"schema is {doc.get('schema')!r}")
    if doc["partial"] != bool(doc["partial_why"]):
        found.append(f"partial is {doc['partial']}, partial_why {doc['partial_why']!r}")
    found += _unexplained("target", doc["target"])
    if "counters" in doc:
        found += _unexplained("counters", doc["counters"])
    rows = doc.get(ROWS[command])
    if rows is None:
        return found + ([] if doc["partial"] else [f"no {ROWS[command]}, and not partial"])
    for i, row in enumerate(rows):
        found += _unexplained(f"{ROWS[command]}[{i}]", row)
    return found + list(_PROBLEMS[command](doc))


def parse(result):
    """The JSON of a result, or None. Names are valid UTF-8 in any case, so strict decoding is part of the check."""
    try:
        return json.loads(result.out.decode("utf-8"), object_pairs_hook=_no_doubles)
    except ValueError:
        return None


def _no_doubles(pairs):
    if len({k for k, _ in pairs}) != len(pairs):
        raise ValueError("a key stands twice")
    return dict(pairs)


def judge(command, result):
    """[] when the result of `command` as JSON is a whole answer, a partial one, or an error with a text."""
    if result.code is None:
        return ["it hangs"]
    if result.code < 0 or result.code >= 128:
        return [f"it was killed by signal {result.code}: {result.err[-300:]!r}"]
    if result.code not in EXITS:
        return [f"exit code {result.code}: {result.err[-2000:].decode(errors='replace')}"]
    if result.code and not result.err.strip():
        return [f"exit code {result.code} without a text"]
    if raw_controls(result.err):
        return [f"raw control bytes in {result.err!r}"]
    if result.code and not result.out:
        return []
    doc = parse(result)
    if doc is None:
        # What could not be written cannot be whole; the exit code says so.
        return [] if result.code == 70 else [f"exit code {result.code}, and no JSON: {result.out[-200:]!r}"]
    found = problems_of(command, doc)
    if result.code == 0 and doc.get(ROWS[command]) is None:
        found.append("exit code 0, and no rows")
    if doc["partial"] and not result.err.strip():
        found.append("partial, and nothing on stderr")
    return found


def raw_controls(data):
    """The control bytes of an output that are no line feeds; C1 controls too, as UTF-8 or alone."""
    text = data.decode("utf-8", "surrogateescape")
    return sorted({hex(ord(c)) for c in text if c != "\n" and (ord(c) < 0x20 or 0x7f <= ord(c) < 0xa0 or 0xdc80 <= ord(c) < 0xdd00)})


class State:
    """What looking at a process must leave as it is."""

    def __init__(self, pid):
        def text(name):
            with open(f"/proc/{pid}/{name}", "rb") as file:
                return file.read()

        status = dict(line.split(b":", 1) for line in text("status").splitlines() if b":" in line)
        fields = text("stat").rpartition(b")")[2].split()
        self.facts = {
            "state": fields[0].decode(),
            "minflt": int(fields[7]),
            "majflt": int(fields[9]),
            "VmRSS": int(status[b"VmRSS"].split()[0]),
            "VmPTE": int(status[b"VmPTE"].split()[0]),
            "VmSize": int(status[b"VmSize"].split()[0]),
            "TracerPid": int(status[b"TracerPid"]),
            "SigPnd": status[b"SigPnd"].strip().decode(),
        }

    def __sub__(self, before):
        """The facts that differ, as `name: before -> now`."""
        return [f"{k}: {before.facts[k]} -> {v}" for k, v in self.facts.items() if before.facts[k] != v]


def at_rest(pid):
    """The state of a process that has just been made, once it waits."""
    for _ in range(500):
        state = State(pid)
        if state.facts["state"] != "R":
            return state
        time.sleep(0.01)
    return state


def count_calls(words, pid):
    """What a command says, and how many system calls it makes."""
    with tempfile.NamedTemporaryFile("r") as file:
        r = run(*words, pid, wrap=tracer("-c", file.name), env=QUIET, timeout=60)
        return r, int(file.read())


def sampled(count, part, parts, end):
    """The numbers from 1 to count that are this part's, widely spread first, until time is over."""
    numbers = list(range(1, count + 1))[part::parts]
    order = sorted(range(len(numbers)), key=lambda i: int(f"{i:016b}"[::-1], 2))
    for i in order:
        if time.monotonic() > end:
            return
        yield numbers[i]


def spread(work, count, seconds):
    """work(n) for n from 1 to count in 2 threads, each of which drives a vmatlas; returns how many n and all that was found wrong."""
    end = time.monotonic() + seconds

    def part(i):
        visited, wrong = 0, []
        for n in sampled(count, i, 2, end):
            visited += 1
            wrong += [f"at call {n}: {w}" for w in work(n)]
        return visited, wrong

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        parts = [p.result() for p in [pool.submit(part, i) for i in range(2)]]
    return sum(p[0] for p in parts), sum((p[1] for p in parts), [])


class Held:
    """vmatlas, held at its calls. `for number, nr in held:` stands at each of them; result() is what it said."""

    def __init__(self, words, options=("-n", "0"), env=None, limit=30):
        ours, theirs = os.pipe(), os.pipe()
        self.out, self.err = tempfile.TemporaryFile(), tempfile.TemporaryFile()
        self.limit = limit

        def descriptors():
            first, second = os.dup(ours[1]), os.dup(theirs[0])
            os.dup2(first, 3), os.dup2(second, 4)

        argv = [*tracer(*options, "-w"), VMATLAS, *map(str, words)]
        self.p = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=self.out, stderr=self.err, preexec_fn=descriptors,
                                  close_fds=False, env={**os.environ, **QUIET, **TRACED, **(env or {})}, start_new_session=True)
        os.close(ours[1]), os.close(theirs[0])
        self.lines, self.go = os.fdopen(ours[0], "r"), theirs[1]

    def __iter__(self):
        for line in self.lines:
            _, number, nr = line.split()
            yield int(number), int(nr)
            os.write(self.go, b"\n")

    def result(self):
        code = self.p.wait(self.limit)
        self.lines.close(), os.close(self.go)
        self.out.seek(0), self.err.seek(0)
        r = Result(code, self.out.read(), self.err.read(), 0)
        self.out.close(), self.err.close()
        return r
