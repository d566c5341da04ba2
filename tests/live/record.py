#!/usr/bin/env python3
"""A process that scripts/record-fixture has recorded is shown as it was: regions, sizes, threads, pages, copies, without the process
and without its memory. And what tests/fixtures/ holds is shown as it has always been."""
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.environ["SRC"], "tests"))
import cow_truth
import proc
import programs
import tap
from factory import Factory, NotPossible

FIXTURES = os.path.join(tap.SRC, "tests", "fixtures")
SAME = "start end size prot path offset rss swap huge zero guard copied backing deleted page_size".split()


def record(t, said, pid, root):
    """Of the stopped process, so that its files agree with each other."""
    done = subprocess.run([os.path.join(tap.SRC, "scripts", "record-fixture"), str(pid), root], capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, env=dict(os.environ, VMATLAS=tap.VMATLAS), check=False)
    t.is_((done.returncode, done.stderr), (0, ""), f"{said}: is recorded")


def recorded(root, pid, command, *options, **how):
    return proc.vmatlas_json(command, "--root", root, *options, pid, **how)


def only(rows, fields):
    return [{field: row.get(field) for field in fields} for row in rows]


def check_record(t, said, pid, folder):
    with proc.stopped(pid):
        record(t, said, pid, folder)
        truth, live = proc.smaps(pid), proc.vmatlas_json("map", pid)
        gaps, pages = proc.vmatlas_json("map", "--gaps", pid), proc.vmatlas_json("pages", "--all", pid)
        cow, stacks = proc.vmatlas_json("cow", pid), proc.vmatlas_json("stacks", pid)
        doc = recorded(folder, pid, "map", "-o", "+pss,uss,dirty,vmflags")
        t.is_(proc.counter_differences(doc, pid), "", f"{said}: counters are those of status")
    t.is_(proc.region_differences(doc, truth), "", f"{said}: regions are those of maps")
    t.is_(proc.size_differences(doc, truth, ("rss", "swap")), "", f"{said}: resident is that of smaps")
    t.is_(proc.total_differences(doc), "", f"{said}: totals are the sums of the rows")
    t.is_(only(doc["regions"], SAME), only(live["regions"], SAME), f"{said}: all else is as of the living process")
    t.is_(proc.size_differences(doc, proc.parse_smaps(proc.read(f"{folder}/{pid}/smaps")), ("pss", "uss", "dirty")), "",
          f"{said}: PSS is that of the recorded smaps")
    t.is_([row["start"] for row in doc["regions"] if not row["why"]], [], f"{said}: every row says why")
    t.is_(proc.null_differences(doc["regions"]), "", f"{said}: what is unknown has a reason")
    spans = ("start", "end", "size")
    t.is_(only(recorded(folder, pid, "map", "--gaps")["gaps"], spans), only(gaps["gaps"], spans), f"{said}: gaps are those it had")
    fields = "start end present swapped file zero huge guard copied exclusive".split()
    t.is_(only(merged(recorded(folder, pid, "pages", "--all")["runs"], fields), fields), only(merged(pages["runs"], fields), fields),
          f"{said}: pages are as they were")
    fields = "start end pages copied exclusive shared path ranges".split()
    t.is_(only(recorded(folder, pid, "cow")["regions"], fields), only(cow["regions"], fields), f"{said}: so are the copies")
    threads = recorded(folder, pid, "stacks")["threads"]
    living = [thread["tid"] for thread in stacks["threads"] if not thread["cached"]]
    t.is_(sorted(thread["tid"] for thread in threads), sorted(living), f"{said}: the threads are those it had")
    names = {thread["tid"]: (thread["name"], thread["sp"]) for thread in stacks["threads"]}
    t.is_([(thread["name"], thread["sp"]) for thread in threads], [names[thread["tid"]] for thread in threads],
          f"{said}: with their names and stack pointers")


def merged(runs, fields):
    """Without frames, neighbours that differ only in the size of their folios are one run. And pages of a file become shared when
    another process maps it, as python does while it records python."""
    rows = []
    for run in runs:
        row = {field: run[field] for field in fields}
        row["exclusive"] = row["exclusive"] and not row["file"]
        last = rows[-1] if rows else None
        if last and last["end"] == row["start"] and all(last[f] == row[f] for f in fields if f not in ("start", "end")):
            last["end"] = row["end"]
        else:
            rows.append(row)
    return rows


def records(t):
    with programs.folder() as folder:
        for variant in ("factory", "factory-static", "factory-32"):
            try:
                with Factory("pages", variant=variant) as f:
                    check_record(t, f"{variant} pages", f.pid, folder)
                with Factory("kinds", variant=variant) as f:
                    check_record(t, f"{variant} kinds", f.pid, folder)
                with Factory("cow", variant=variant) as f:
                    answer = f.cmd("f")
                    check_record(t, f"{variant} cow", f.pid, folder)
                    doc = recorded(folder, f.pid, "cow")
                    t.is_(cow_truth.differences(doc, f.info, answer["parent"]), "", f"{variant} cow: and what the factory says")
            except NotPossible as reason:
                t.skip(variant, reason)
        with programs.python() as pid:
            check_record(t, "python3", pid, folder)


def refusals(t):
    with programs.folder() as folder:
        answer = proc.vmatlas("map", "--root", folder, 1)
        t.ok(answer.status == 6 and "no process 1" in answer.err, "an empty record: exit 6, and why", answer)
        answer = proc.vmatlas("map", "--root", os.path.join(folder, "nothing"), 1)
        t.ok(answer.status == 6 and "nothing" in answer.err, "no record at all: exit 6, and why", answer)
        with Factory("kinds") as f:
            with proc.stopped(f.pid):
                record(t, "kinds", f.pid, folder)
            base = os.path.join(folder, str(f.pid))
            os.remove(os.path.join(base, "pages"))
            doc = recorded(folder, f.pid, "map")
            t.is_({row["rss"] for row in doc["regions"] if row["backing"] == "file"}, {None}, "without pages: resident is unknown")
            t.ok(doc["partial"] and "pages" in doc["partial_why"], "without pages: and that is said", doc["partial_why"])
            for command in ("pages", "cow"):
                answer = proc.vmatlas(command, "--root", folder, *(["--all"] if command == "pages" else []), f.pid)
                t.ok(answer.status == 6 and "no pages" in answer.err, f"without pages: {command}: exit 6, and why", answer)
            for text, why in (("0x2000 0x1000 present\n", "backwards"), ("nonsense\n", "no address"), ("0x1001 0x2000 present\n", "odd"),
                              ("0x1000 0x2000 present\n0x1000 0x2000 present\n", "overlapping")):
                with open(os.path.join(base, "pages"), "w", encoding="ascii") as file:
                    file.write(text)
                doc = recorded(folder, f.pid, "map")
                t.ok(doc["partial"] and all(not row["rss"] for row in doc["regions"]), f"pages that are {why}: unknown, and said",
                     doc["partial_why"])
            os.remove(os.path.join(base, "maps"))
            answer = proc.vmatlas("map", "--root", folder, f.pid)
            t.ok(answer.status == 6 and "maps" in answer.err, "without maps: exit 6, and why", answer)


def named_fixture(t):
    """Written by hand: the names of kernels since 5.17, which the machine of the tests may not give."""
    root = os.path.join(FIXTURES, "named")
    doc = recorded(root, 1000, "map")
    truth = proc.parse_maps(proc.read(os.path.join(root, "1000", "maps")))
    t.is_(proc.region_differences(doc, truth), "", "named: regions are those of maps")
    got = {number: (row["kind"], row["owner"]) for number, row in enumerate(doc["regions"])}
    want = {
        0: ("rodata", "server"), 1: ("text", "server"), 4: ("data", "server"), 5: ("heap", "brk heap"),
        6: ("arena", '" glibc: malloc arena"'), 7: ("reserved", ""), 8: ("malloc_mmap", '" glibc: malloc"'),
        10: ("stack", '" glibc: pthread stack: 1001"'), 12: ("stack", '" glibc: unused stack"'), 13: ("anon", '"request pool"'),
        14: ("shm", '"ring of log lines"'), 15: ("memfd", "frames"), 16: ("shm", "System V key 0x0000beef"),
        17: ("shm", "shared anonymous memory"), 18: ("jit", '"v8"'), 19: ("file", "a name\nwith a newline (deleted)"),
        21: ("text", "libc.so.6"), 25: ("kernel", "kernel"), 26: ("vdso", "kernel"), 27: ("stack", "thread 1000 (main)"),
    }
    t.is_({number: got[number] for number in want}, want, "named: kinds and owners")
    t.is_({row["rss"] for row in doc["regions"]} | {row["swap"] for row in doc["regions"]}, {None}, "named: nothing resident is known")
    t.is_(proc.null_differences(doc["regions"]), "", "named: and that has a reason")
    t.is_((doc["counters"]["rss"], doc["counters"]["faults_minor"], doc["counters"]["faults_major"], doc["counters"]["regions_max"]),
          (1760 << 10, 312, 2, 65530), "named: counters")
    t.is_([row["why"] for row in doc["regions"] if row["owner"].startswith('"') and "named by" not in row["why"]
           and row["kind"] != "shm"], [], "named: the evidence is the name")
    text = proc.vmatlas("map", "--root", root, 1000)
    t.ok("a name\\x0awith a newline" in text.out, "named: a newline in a name is escaped", text.out)
    stacks = recorded(root, 1000, "stacks")["threads"]
    t.is_([(s["tid"], s["name"], s["begin"], s["end"]) for s in stacks],
          [(1001, "worker", "0x7ffff6001000", "0x7ffff6802000"), (1000, "server", "0x7ffffffde000", "0x7ffffffff000")],
          "named: stacks are found by the stack pointers")
    t.is_([s["resident"] for s in stacks], [None, None], "named: what is resident of them is unknown")


def sleep_fixture(t):
    """Recorded once from /usr/bin/sleep of Debian 12."""
    root = os.path.join(FIXTURES, "sleep")
    pid = [name for name in os.listdir(root) if name.isdigit()][0]
    base = os.path.join(root, pid)
    truth = proc.parse_smaps(proc.read(os.path.join(base, "smaps")))
    doc = recorded(root, pid, "map", "-o", "+pss,uss,dirty")
    t.is_(doc["partial"], False, "sleep: the map is whole")
    t.is_(proc.region_differences(doc, truth), "", "sleep: regions are those of maps")
    t.is_(proc.size_differences(doc, truth, ("rss", "swap", "pss", "uss", "dirty")), "", "sleep: sizes are those of smaps")
    t.is_(proc.total_differences(doc), "", "sleep: totals are the sums of the rows")
    kinds = {row["kind"] for row in doc["regions"]}
    t.ok({"text", "rodata", "data", "heap", "stack", "vdso", "kernel"} <= kinds, "sleep: its kinds are told", kinds)
    t.is_([row["owner"] for row in doc["regions"] if row["path"] == "/usr/bin/sleep"][0], "sleep", "sleep: and its owners")
    copies = {row["path"]: row["copied"] for row in recorded(root, pid, "cow")["regions"] if row["path"]}
    t.ok(copies.get("/usr/bin/sleep"), "sleep: its data has been copied", copies)
    target = doc["target"]
    t.is_((target["pid"], target["name"], target["exe"], target["word_size"]), (int(pid), "sleep", "/usr/bin/sleep", 8),
          "sleep: who it is")


t = tap.Tap()
for section in (records, refusals, named_fixture, sleep_fixture):
    t.section(section)
t.done()
