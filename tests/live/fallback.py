#!/usr/bin/env python3
# timeout: 240
"""The same questions once for each kernel feature turned off by VMAT_WITHOUT, and with all of them off: regions are still exact,
and what is still claimed is true. What cannot be told any more is null with a reason, or an upper bound that says so. As root, and
as a user without any capability on processes of its own."""
import contextlib
import os
import sys

sys.path.insert(0, os.path.join(os.environ["SRC"], "tests"))
import cow_truth
import proc
import programs
import tap
from factory import Factory

USERS = [("root", None), ("a user", proc.NOBODY)] if os.geteuid() == 0 else [("a user", None)]

# What a region may be called when the evidence for its kind cannot be read any more.
LESS = {
    "arena": ("anon",), "malloc_mmap": ("anon",), "stack": ("anon",), "guard": ("reserved",), "tls": ("anon",),
    "relro": ("rodata", "data", "file"), "bss": ("anon",), "text": ("file",), "rodata": ("file",), "data": ("file",),
}


def check_map(t, said, f, truth, without, user):
    doc = proc.vmatlas_json("map", f.pid, without=without, user=user)
    t.is_(proc.region_differences(doc, truth), "", f"{said}: regions are exactly those of maps")
    t.is_(proc.size_differences(doc, truth, ("rss", "swap"), may_be_unsure=True), "",
          f"{said}: resident is that of smaps, or an upper bound that says so, or unknown")
    t.is_(proc.null_differences(doc["regions"]), "", f"{said}: what is unknown has a reason")
    wrong = [f"{row['start']}: {row['copied']}, in smaps {region.fields['Anonymous']}" for row, region in zip(doc["regions"], truth)
             if row["copied"] is not None and row["copied"] != region.fields["Anonymous"]]
    t.is_(wrong, [], f"{said}: copied is right or unknown")
    wrong = [row["start"] for row, region in zip(doc["regions"], truth)
             if row["huge"] is not None and row["backing"] != "hugetlb" and row["huge"] != sum(
                 region.fields.get(name, 0) for name in ("AnonHugePages", "ShmemPmdMapped", "FilePmdMapped"))]
    t.is_(wrong, [], f"{said}: huge is right or unknown")
    t.is_(proc.total_differences(doc), "", f"{said}: totals are the sums of the rows")
    if any(row["rss"] is None and row["unknown"]["rss"] != "the kernel shows none of its pages" for row in doc["regions"]):
        t.ok(doc["partial"] and doc["partial_why"], f"{said}: what is not known is said", doc["partial_why"])
    dear = proc.vmatlas_json("map", "-o", "+pss,uss,dirty", f.pid, without=without, user=user)
    t.is_(proc.size_differences(dear, truth, ("pss", "uss", "dirty"), only=lambda region: not region.path), "",
          f"{said}: PSS and the like need none of it")
    return doc


def check_kinds(t, said, f, doc):
    wrong = []
    for item in f.info["items"]:
        if item["address"] is None:
            continue
        row = proc.region_at(doc, int(item["address"], 16))
        claim = proc.claim_at(row, item)
        if claim["kind"] != item["region_kind"] and claim["kind"] not in LESS.get(item["region_kind"], ()) or not claim["why"]:
            wrong.append(f"{item['name']}: {claim['kind']} {claim['owner']} because {claim['why']}")
        if item["name"] == "guard_pages" and row["guard"] not in (item["size"], None):
            wrong.append(f"{item['name']}: {row['guard']} bytes of {item['size']}")
    t.is_(wrong, [], f"{said}: kinds are right, or less is claimed")


def is_certain(without):
    return without not in ("pagemap", "all")


# State -> what must be true, what must be false; null will do.
STATES = {
    "written": ("present exclusive", "swapped file copied zero guard huge"),
    "absent": ("", "present swapped file copied exclusive zero guard huge"),
    "zero": ("present zero", "swapped file copied guard exclusive"),
    "guard": ("guard", "present file copied zero swapped"),
    "copied": ("present copied exclusive", "swapped file zero guard huge"),
    "file": ("present file", "swapped copied zero guard huge"),
    "shared": ("present file", "swapped copied zero guard huge"),
    "huge": ("present exclusive huge", "swapped file copied zero guard"),
}


def check_pages(t, said, f, without, user):
    for region in f.info["regions"]:
        answer = proc.vmatlas("pages", "-J", f.pid, region["start"], without=without, user=user)
        if not is_certain(without):
            t.ok(answer.status == 5 and "pagemap" in answer.err, f"{said}: pages of {region['name']}: cannot be told, and why",
                 f"exit {answer.status}: {answer.err}")
            continue
        doc = proc.vmatlas_json("pages", f.pid, region["start"], without=without, user=user)
        first, wrong, runs = int(region["start"], 16) // proc.PAGE, [], {}
        for run in doc["runs"]:
            runs.update(dict.fromkeys(range(proc.number(run["start"]) // proc.PAGE, proc.number(run["end"]) // proc.PAGE), run))
        for run in region["runs"]:
            is_true, is_false = (words.split() for words in STATES[run["state"]])
            for page in range(first + run["first"], first + run["first"] + run["pages"]):
                got = runs.get(page, {})
                bad = [f for f in is_true if got.get(f, 0) not in (True, None)] + \
                      [f for f in is_false if got.get(f, 0) not in (False, None)]
                if bad:
                    wrong.append(f"page {page - first}, {run['state']}: {' '.join(bad)} is wrong in {got}")
                    break
        t.is_(wrong, [], f"{said}: pages of {region['name']} are as they were made, or unknown")
        t.is_(proc.null_differences(doc["runs"]), "", f"{said}: pages of {region['name']}: what is unknown has a reason")


def check_cow(t, said, f, answer, without, user):
    for name, party in (("parent", answer["parent"]), ("child", answer["child"])):
        got = proc.vmatlas("cow", "-J", party["pid"], without=without, user=user)
        if not is_certain(without):
            t.ok(got.status == 5 and "pagemap" in got.err, f"{said}: cow of the {name}: cannot be told, and why",
                 f"exit {got.status}: {got.err}")
            continue
        doc = proc.vmatlas_json("cow", party["pid"], without=without, user=user)
        t.is_(cow_truth.differences(doc, f.info, party, may_be_unsure=True), "", f"{said}: cow of the {name} is right, or unknown")


def check_zero_pages(t, said, pid, without, user):
    """Memory that was only read is not shared with another process, although the zero page is: nobody may be told so."""
    got = proc.vmatlas("cow", "-J", pid, without=without, user=user)
    if not is_certain(without):
        return
    doc = proc.vmatlas_json("cow", pid, without=without, user=user)
    claimed = [row for row in doc["regions"] if row["shared"]]
    t.is_(claimed, [], f"{said}: zero pages are not called shared")
    t.ok(doc["partial"] or not [row for row in doc["regions"] if row["shared"] is None], f"{said}: unknown shares are told",
         got.out)


def run_all(t):
    names = [row["feature"] for row in proc.vmatlas_json("doctor", without="")["features"]]
    forced = proc.vmatlas_json("doctor", without="all")["features"]
    t.is_([row["feature"] for row in forced if row["state"] != "forced off"], [], "VMAT_WITHOUT=all turns all features off")
    t.is_([row["feature"] for row in forced if not row["lost"]], [], "doctor says what is lost without each")
    for name, user in USERS:
        with contextlib.ExitStack() as stack:
            pages = stack.enter_context(Factory("pages", user=user))
            kinds = stack.enter_context(Factory("kinds", user=user))
            cow = stack.enter_context(Factory("cow", user=user))
            zero = stack.enter_context(programs.huge_zero(user=user))
            cow.cmd("f")
            cow.cmd("w 3")
            answer = cow.cmd("c f0")
            for f in (pages, kinds, zero):
                stack.enter_context(proc.stopped(f.pid))
            truths = {f.pid: proc.smaps(f.pid) for f in (pages, kinds, zero)}
            for without in names + ["all"]:
                said = f"without {without}, {name}"
                check_map(t, f"{said}, pages", pages, truths[pages.pid], without, user)
                doc = check_map(t, f"{said}, kinds", kinds, truths[kinds.pid], without, user)
                check_map(t, f"{said}, zero pages", zero, truths[zero.pid], without, user)
                check_kinds(t, said, kinds, doc)
                check_pages(t, said, pages, without, user)
                check_cow(t, said, cow, answer, without, user)
                check_zero_pages(t, said, pages.pid, without, user)


t = tap.Tap()
t.section(run_all)
t.done()
