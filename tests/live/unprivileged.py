#!/usr/bin/env python3
"""Without any capability: all that a user may know of processes of its own is exact; of a process of another the counters are told,
and what is missing, and what would help. And a process that even root may not look into here."""
import json
import os
import sys

sys.path.insert(0, os.path.join(os.environ["SRC"], "tests"))
import proc
import programs
import tap
from factory import Factory

COMMANDS = (("map",), ("map", "--summary"), ("map", "--tree"), ("map", "--gaps"), ("map", "--where", "4K"), ("map", "-o", "+PSS"),
            ("stacks",), ("pages", "--all"), ("cow",), ("pagesize",))


def without_rights(t):
    """Everything that this user may see, and how it is asked for."""
    if os.geteuid() == 0:
        return proc.NOBODY
    t.diag("not root: the own processes are those of this user already")
    return None


def own_processes(t):
    user = without_rights(t)
    for scenario in ("pages", "kinds"):
        with Factory(scenario, user=user) as f, proc.stopped(f.pid):
            truth = proc.smaps(f.pid)
            doc = proc.vmatlas_json("map", f.pid, user=user)
            t.is_((doc["partial"], doc["partial_why"]), (False, None), f"{scenario}: the map is whole")
            t.is_(proc.region_differences(doc, truth), "", f"{scenario}: regions are those of maps")
            t.is_(proc.size_differences(doc, truth, ("rss", "swap")), "", f"{scenario}: resident is that of smaps")
            t.is_(proc.total_differences(doc), "", f"{scenario}: totals are the sums of the rows")
            t.is_(proc.counter_differences(doc, f.pid), "", f"{scenario}: counters are those of status")
            dear = proc.vmatlas_json("map", "-o", "+pss,uss,dirty", f.pid, user=user)
            t.is_(proc.size_differences(dear, truth, ("pss", "uss", "dirty"), only=lambda region: not region.path), "",
                  f"{scenario}: so are PSS and the like")
            if scenario == "kinds":
                wrong = [(item["name"], row["kind"]) for item in f.info["items"] if item["address"] is not None
                         for row in [proc.region_at(doc, int(item["address"], 16))] if row["kind"] != item["region_kind"]]
                t.is_(wrong, [], "kinds: all are found")
                stacks = proc.vmatlas_json("stacks", f.pid, user=user)
                t.is_((stacks["partial"], len(stacks["threads"])), (False, 3), "stacks: all are found")


def no_frames(t):
    user = without_rights(t)
    with Factory("pages", user=user) as f:
        for region in f.info["regions"]:
            doc = proc.vmatlas_json("pages", f.pid, region["start"], user=user)
            present = [run for run in doc["runs"] if run["present"]]
            t.is_([run["pages"] for run in doc["runs"]], [run["pages"] for run in region["runs"]],
                  f"pages of {region['name']}: runs are those that were made")
            t.is_({run["pfn"] for run in present}, {None}, f"pages of {region['name']}: no frame numbers")
            t.is_({run["unknown"].get("pfn") for run in present}, {"not permitted"}, f"pages of {region['name']}: and why")
        answer = proc.vmatlas("pages", "--flags", "-J", f.pid, f.info["regions"][0]["start"], user=user)
        t.ok(answer.status == 4 or all(run["flags"] is None and run["unknown"]["flags"] for run in json.loads(answer.out)["runs"]),
             "pages --flags: refused, or each flag is unknown", f"exit {answer.status}\n{answer.out}{answer.err}")
        t.ok("kpageflags" in answer.err, "pages --flags: what was refused is named", answer.err)
        row = [r for r in proc.vmatlas_json("doctor", user=user)["features"] if r["feature"] == "kpageflags"][0]
        t.ok(row["state"] == "refused" and "CAP_SYS_ADMIN" in row["needs"], "doctor: and the capability that it needs", row)
        start = f.info["regions"][0]["start"]
        size = proc.vmatlas_json("pagesize", f.pid, start, user=user)["addresses"][0]
        t.is_((size["mapping"], size["present"]), (proc.PAGE, True), "pagesize: that of the mapping")
        t.ok(size["in_use"] in (proc.PAGE, None), "pagesize: that in use is right or unknown", size)


def check_refused(t, said, pid, user, words):
    """Exit 4; the counters are told; the text says what is missing."""
    with proc.stopped(pid):
        for command, *options in COMMANDS:
            name = " ".join([command, *options])
            operands = ["1000"] if command == "pagesize" else []
            answer = proc.vmatlas(command, "-J", *options, pid, *operands, user=user)
            t.is_(answer.status, 4, f"{said}: {name}: exit 4")
            t.is_([word for word in words if word not in answer.err], [], f"{said}: {name}: says what is missing, and what helps")
            doc = json.loads(answer.out)
            t.ok(doc["partial"] and doc["partial_why"], f"{said}: {name}: partial, and why", doc)
            t.is_([key for key, value in doc.items() if value == [] or value == 0], [], f"{said}: {name}: nothing is empty or 0")
            t.is_(proc.counter_differences(doc, pid), "", f"{said}: {name}: counters are those of status")
            t.is_((doc["counters"]["regions"], doc["target"]["exe"]), (None, None), f"{said}: {name}: unknown is null")
            t.is_(proc.null_differences([doc["counters"], doc["target"]]), "", f"{said}: {name}: with a reason")
    text = proc.vmatlas("map", pid, user=user)
    t.ok(text.status == 4 and text.out.startswith(str(pid)) and "resident" in text.out, f"{said}: the table's head tells the counters",
         text.out)


def others_processes(t):
    if os.geteuid() != 0:
        t.skip("a process of root", "needs root to start it")
        return
    with Factory("kinds") as f:
        check_refused(t, "a process of root", f.pid, proc.NOBODY, ("Permission denied", "CAP_SYS_PTRACE", "uid 0", "uid 65534", "sudo"))


def not_dumpable(t):
    """The own process, which has forbidden to look into it: prctl(PR_SET_DUMPABLE, 0)."""
    user = without_rights(t)
    script = "import ctypes, sys; ctypes.CDLL(None).prctl(4, 0); print('ready', flush=True); sys.stdin.readline()"
    with programs.started([programs.find("/usr/bin/python3", "python3"), "-c", script], b"ready", user=user,
                          extra_groups=[] if user is not None else None) as process:
        check_refused(t, "a process that is not dumpable", process.pid, user, ("Permission denied", "CAP_SYS_PTRACE", "sudo"))
        if os.geteuid() == 0:
            t.is_(proc.vmatlas_json("map", process.pid)["partial"], False, "a process that is not dumpable: root sees it")


def first_process(t):
    """Process 1: within a container not even root may read all of it. Then that is said, and nothing is called 0."""
    answer = proc.vmatlas("map", "-J", 1)
    if not t.ok(answer.status in (0, 4), "process 1: exit 0 or 4", f"exit {answer.status}\n{answer.err}"):
        return
    doc = json.loads(answer.out)
    if answer.status == 4:
        t.ok(doc["partial"] and doc["regions"] is None and doc["counters"]["rss"], "process 1: refused, the counters are told", doc)
        t.ok("CAP_SYS_PTRACE" in answer.err, "process 1: and why", answer.err)
        return
    resident = [row["rss"] for row in doc["regions"]]
    t.ok(any(resident) or doc["partial"] and all(rss is None for rss in resident), "process 1: what is resident is told, or unknown",
         doc["partial_why"])
    t.is_(proc.null_differences(doc["regions"]), "", "process 1: what is unknown has a reason")


t = tap.Tap()
for section in (own_processes, no_frames, others_processes, not_dumpable, first_process):
    t.section(section)
t.done()
