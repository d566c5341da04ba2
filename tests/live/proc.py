"""What the tests of this folder compare vmatlas with: /proc, read here on its own. And how they run vmatlas.

    with proc.stopped(pid):                      # SIGSTOP: nothing of it changes meanwhile
        truth = proc.smaps(pid)                  # [Smaps(start, end, prot, offset, path, is_deleted, fields)]
        doc = proc.vmatlas_json("map", pid)      # the JSON of `vmatlas map -J PID`
        t.is_(proc.region_differences(doc, truth), "", "regions are those of maps")

The comparing functions return a text, one line for each difference, and "" when there is none.
"""
import collections
import contextlib
import json
import os
import re
import signal
import subprocess
import tempfile
import time

import tap

PAGE = 4096
NOBODY = 65534
SHOWN = 12

Maps = collections.namedtuple("Maps", "start end prot offset path is_deleted")
Smaps = collections.namedtuple("Smaps", Maps._fields + ("fields",))
Answer = collections.namedtuple("Answer", "status out err")

MAPS_LINE = re.compile(r"([0-9a-f]+)-([0-9a-f]+) (\S{4}) ([0-9a-f]+) [0-9a-f]+:[0-9a-f]+ (\d+) *(.*)")
SMAPS_FIELD = re.compile(r"(\w+): +(\d+) kB")

# vmatlas's field -> the fields of smaps whose sum it is
SUMS = {
    "rss": ("Rss",),
    "swap": ("Swap",),
    "pss": ("Pss",),
    "uss": ("Private_Clean", "Private_Dirty"),
    "dirty": ("Shared_Dirty", "Private_Dirty"),
    "referenced": ("Referenced",),
    "anonymous": ("Anonymous",),
    "locked": ("Locked",),
    "thp": ("AnonHugePages", "ShmemPmdMapped", "FilePmdMapped"),
    "hugetlb": ("Shared_Hugetlb", "Private_Hugetlb"),
}


def read(path):
    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        return file.read()


def _region(line):
    start, end, prot, offset, _inode, path = MAPS_LINE.fullmatch(line).groups()
    # The inode may be 0: the first segment of System V on a fresh kernel has that number.
    is_deleted = path.startswith("/") and path.endswith(" (deleted)")
    if is_deleted:
        path = path[:-len(" (deleted)")]
    return Maps(int(start, 16), int(end, 16), prot, int(offset, 16), path.replace("\\012", "\n"), is_deleted)


def parse_maps(text):
    return [_region(line) for line in text.splitlines()]


def parse_smaps(text):
    """Sizes in bytes."""
    found = []
    for line in text.splitlines():
        if line[0].isupper():
            match = SMAPS_FIELD.match(line)
            if match:
                found[-1].fields[match[1]] = int(match[2]) * 1024
            elif line.startswith("VmFlags:"):
                found[-1].fields["VmFlags"] = line.split()[1:]
        else:
            found.append(Smaps(*_region(line), {}))
    return found


def maps(pid):
    return parse_maps(read(f"/proc/{pid}/maps"))


def smaps(pid):
    return parse_smaps(read(f"/proc/{pid}/smaps"))


def status(pid):
    """The numbers of status: bytes where it says kB."""
    found = {}
    for line in read(f"/proc/{pid}/status").splitlines():
        match = re.fullmatch(r"(\w+):\t *(\d+)( kB)?", line)
        if match:
            found[match[1]] = int(match[2]) * (1024 if match[3] else 1)
    return found


def stat(pid):
    """The fields of stat behind the name, by their numbers in proc(5)."""
    words = read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return {number: word for number, word in enumerate(words, 3)}


def faults(pid):
    fields = stat(pid)
    return int(fields[10]), int(fields[12])


def wait_until(is_true, what, seconds=20):
    end = time.monotonic() + seconds
    while not is_true():
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not so after {seconds} s")
        time.sleep(0.01)


@contextlib.contextmanager
def stopped(pid):
    """Until the end of the block no thread of the process runs."""
    def is_stopped():
        return all(read(f"/proc/{pid}/task/{tid}/stat").rpartition(")")[2].split()[0] in "tT"
                   for tid in os.listdir(f"/proc/{pid}/task"))

    os.kill(pid, signal.SIGSTOP)
    try:
        wait_until(is_stopped, f"all threads of {pid} are stopped")
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def vmatlas(*arguments, without=None, user=None, wrap=(), timeout=120):
    """Runs vmatlas and returns what it said. without: VMAT_WITHOUT; user: a uid to run as."""
    env = dict(os.environ)
    if without is not None:
        env["VMAT_WITHOUT"] = without
    if wrap:  # the search for leaks needs ptrace itself
        env["ASAN_OPTIONS"] = env.get("ASAN_OPTIONS", "") + ":detect_leaks=0"
    program = tap.VMATLAS if user is None else tap.for_everyone(tap.VMATLAS)
    done = subprocess.run([*wrap, program, *map(str, arguments)], stdin=subprocess.DEVNULL, timeout=timeout,
                          capture_output=True, env=env, user=user, extra_groups=[] if user is not None else None)
    return Answer(done.returncode, done.stdout.decode("utf-8", "surrogateescape"),
                  done.stderr.decode("utf-8", "surrogateescape"))


def vmatlas_json(command, *arguments, expected=0, **how):
    """The document that `vmatlas COMMAND -J ARGUMENT...` writes; an exception when its exit status is another."""
    answer = vmatlas(command, "-J", *arguments, **how)
    if answer.status != expected:
        raise RuntimeError(f"vmatlas {command} {arguments} ended with {answer.status}, not {expected}:\n{answer.err}")
    return json.loads(answer.out)


@contextlib.contextmanager
def strace(*options):
    """Gives the words to put before a command, and a function that returns what strace wrote."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "strace")
        yield ["strace", "-f", "-qq", "-o", path, *options], lambda: read(path)


def smaps_as_read(pid, text):
    """The smaps that a traced vmatlas was given, out of the lines of `strace -xx -e trace=read -P /proc/PID/smaps`.

    What pages count as proportional or private changes with whoever maps the same libraries, vmatlas among them: only what the
    kernel told vmatlas itself can be compared with what vmatlas says."""
    pieces = re.findall(r'read\(\d+, "((?:\\x[0-9a-f]{2})*)"', text)
    return parse_smaps(bytes.fromhex("".join(pieces).replace("\\x", "")).decode("utf-8", "surrogateescape"))


def number(address):
    return int(address, 16)


def _shown(differences):
    more = len(differences) - SHOWN
    return "\n".join(differences[:SHOWN] + ([f"and {more} more"] if more > 0 else []))


def region_differences(doc, truth):
    """Are start, end, size, prot, offset, path of the rows those of maps?"""
    got = [(number(r["start"]), number(r["end"]), r["size"], r["prot"], r["offset"], r["path"], r["deleted"])
           for r in doc["regions"]]
    want = [(r.start, r.end, r.end - r.start, r.prot, r.offset, r.path, r.is_deleted) for r in truth]
    if got == want:
        return ""
    differences = [f"{len(got)} regions, maps has {len(want)}"] if len(got) != len(want) else []
    for mine, kernels in zip(got, want):
        if mine != kernels:
            differences.append(f"{mine!r} is in maps {kernels!r}")
    return _shown(differences)


def size_differences(doc, truth, fields=("rss",), may_be_unsure=False, only=None):
    """Are these fields of the rows those of smaps, exactly?

    may_be_unsure: an upper bound that says so, or null with a reason, will do (as under VMAT_WITHOUT).
    only: compare just the regions for which it is true."""
    differences = []
    by_start = {number(row["start"]): row for row in doc["regions"]}
    for region in truth:
        row = by_start.get(region.start)
        if row is None:
            differences.append(f"no row for {region.start:#x}")
            continue
        if only and not only(region):
            continue
        for field in fields:
            want, got = sum(region.fields.get(name, 0) for name in SUMS[field]), row[field]
            if got == want:
                continue
            if may_be_unsure and got is None and row.get("unknown", {}).get(field):
                continue
            if may_be_unsure and got is not None and got > want and field in row.get("upper_bound", []):
                continue
            differences.append(f"{region.start:#x} {region.path}: {field} {got}, in smaps {want}"
                               f" {row.get('unknown', '')} {row.get('upper_bound', '')}")
    return _shown(differences)


TOTALS = "size rss copied swap pss uss".split()


def total_differences(doc):
    """Are the totals the sums of the rows, kind by kind?"""
    sums = {}
    for row in doc["regions"]:
        total = sums.setdefault(row["kind"], {"count": 0})
        total["count"] += 1
        for field in TOTALS:
            if field not in row or row[field] is None and row["unknown"][field] == "does not apply here":
                continue
            so_far = total.get(field, 0)
            total[field] = None if row[field] is None or so_far is None else so_far + row[field]
    differences = []
    for total in doc["totals"]:
        kind = total["kind"]
        want = sums.pop(kind, None)
        if want is None:
            differences.append(f"{kind} has a total but no row")
            continue
        for field in ["count"] + [f for f in TOTALS if f in total]:
            if total[field] != want.get(field, 0):
                differences.append(f"{kind}: {field} {total[field]}, the rows add up to {want.get(field, 0)}")
    return _shown(differences + [f"no total for {kind}" for kind in sums])


def null_differences(rows):
    """Does each null have its reason, and each reason its null?"""
    differences = []
    for row in rows:
        nulls = {field for field, value in row.items() if value is None}
        reasons = {field for field, reason in row.get("unknown", {}).items() if reason}
        if nulls != reasons:
            differences.append(f"{row}: null {sorted(nulls)}, reasons for {sorted(reasons)}")
    return _shown(differences)


COUNTERS = {
    "size": "VmSize", "peak": "VmPeak", "rss": "VmRSS", "rss_peak": "VmHWM", "rss_anon": "RssAnon", "rss_file": "RssFile",
    "rss_shmem": "RssShmem", "swap": "VmSwap", "page_tables": "VmPTE", "locked": "VmLck", "pinned": "VmPin",
    "hugetlb": "HugetlbPages", "data": "VmData", "threads": "Threads",
}


def counter_differences(doc, pid):
    """Are the counters those of status and stat? The process must be stopped."""
    theirs, counters, (minor, major) = status(pid), doc["counters"], faults(pid)
    want = {field: theirs.get(name) for field, name in COUNTERS.items()}
    want.update(faults_minor=minor, faults_major=major, regions_max=int(read("/proc/sys/vm/max_map_count")))
    if doc.get("regions") is not None:
        want["regions"] = len(doc["regions"])
    return _shown([f"{field}: {counters.get(field)!r}, in /proc {value!r}" for field, value in want.items()
                   if counters.get(field) != value])


def region_at(doc, address):
    """The row that holds the address, or None."""
    for row in doc["regions"]:
        if number(row["start"]) <= address < number(row["end"]):
            return row
    return None


def claim_at(row, item):
    """What the row says of an item of the factory: itself, or its part that holds the item. The loader maps the main thread's TLS; where
    the first thread's stack comes to lie against it (6.1 does that now and then), the kernel makes one region of both."""
    address = number(item["address"])
    parts = [p for p in row.get("parts", []) if number(p["start"]) <= address < number(p["end"])]
    return parts[0] if item["name"] == "main_tls" and row["kind"] != item["region_kind"] and len(parts) == 1 else row
