#!/usr/bin/env python3
# timeout: 240
"""`vmatlas map` of real programs against /proc: regions and sizes are those of maps, resident is that of smaps of the stopped
process although smaps is not opened, what smaps alone knows is what it says, totals are the sums, counters are those of status.
And whoever looks leaves the target as it is."""
import contextlib
import os
import re
import sys

sys.path.insert(0, os.path.join(os.environ["SRC"], "tests"))
import proc
import programs
import tap
from factory import Factory, NotPossible, Tour

DEAR = "PSS,USS,DIRTY,SWAP,REFERENCED,ANONYMOUS,LOCKED,THP,HUGETLB".lower().split(",")


def check_plain(t, name, pid):
    """The default columns, and which files they were made from."""
    truth, maps = proc.smaps(pid), proc.maps(pid)
    with proc.strace("-e", "trace=openat,open,openat2") as (wrap, trace):
        doc = proc.vmatlas_json("map", pid, wrap=wrap)
        opened = re.findall(r'"([^"]*)"', trace())
    t.ok("maps" in opened, f"{name}: the map is read from maps", sorted(set(opened)))
    t.is_([path for path in opened if "smaps" in path], [], f"{name}: neither smaps nor smaps_rollup is opened")
    t.is_(doc["partial"], False, f"{name}: the map is whole")
    t.is_(proc.region_differences(doc, maps), "", f"{name}: regions are those of maps")
    t.is_(proc.size_differences(doc, truth, ("rss", "swap")), "", f"{name}: resident and swapped are those of smaps")
    t.is_(proc.total_differences(doc), "", f"{name}: totals are the sums of the rows")
    t.is_(proc.counter_differences(doc, pid), "", f"{name}: counters are those of status and stat")
    t.is_(proc.null_differences(doc["regions"]), "", f"{name}: what is unknown has a reason")
    copied = {row["path"] for row in doc["regions"] if row["copied"] and row["backing"] not in ("file", "memfd", "shmem")}
    t.is_(copied, set(), f"{name}: only files have copies")
    # A private page of a file that is anonymous is a copy; the kernel counts both.
    wrong = [f"{row['start']}: {row['copied']}, in smaps {region.fields['Anonymous'] + region.fields['Swap']}"
             for row, region in zip(doc["regions"], truth)
             if row["copied"] is not None and row["copied"] != region.fields["Anonymous"] + region.fields["Swap"]]
    t.is_(wrong, [], f"{name}: copied is what smaps calls anonymous in private mappings of files")
    t.is_([row["start"] for row in doc["regions"] if not row["why"]], [], f"{name}: every row says why")
    return doc


def check_dear(t, name, pid):
    """The columns of smaps, against the smaps that vmatlas itself was given."""
    with proc.strace("-e", "trace=read", "-P", f"/proc/{pid}/smaps", "-xx", "-s", "1000000") as (wrap, trace):
        doc = proc.vmatlas_json("map", "-o", "+" + ",".join(DEAR), pid, wrap=wrap)
        truth = proc.smaps_as_read(pid, trace())
    t.is_(proc.region_differences(doc, truth), "", f"{name}: with PSS, regions are those of smaps")
    t.is_(proc.size_differences(doc, truth, ["rss"] + DEAR), "", f"{name}: PSS and the like are those of smaps")
    t.is_(proc.total_differences(doc), "", f"{name}: with PSS, totals are the sums of the rows")
    # Anonymous memory is not shared with whoever looks, so a second reading agrees. The kernel forgets references by itself.
    steady = ["rss"] + [field for field in DEAR if field != "referenced"]
    t.is_(proc.size_differences(doc, proc.smaps(pid), steady, only=lambda region: not region.path), "",
          f"{name}: PSS of anonymous memory is what the test reads itself")


def check_program(t, name, pid):
    with proc.stopped(pid):
        before = proc.smaps(pid)
        check_plain(t, name, pid)
        check_dear(t, name, pid)
        t.ok([r.fields["Rss"] for r in before] == [r.fields["Rss"] for r in proc.smaps(pid)],
             f"{name}: what is resident has not changed meanwhile")


def real_programs(t):
    for name, start in (("python3", programs.python), ("redis-server", programs.redis), ("node", programs.node),
                        ("java", programs.java)):
        with contextlib.ExitStack() as stack:
            try:
                pid = stack.enter_context(start())
            except NotPossible as reason:
                t.skip(name, reason)
                continue
            check_program(t, name, pid)


def postgres(t):
    try:
        with programs.postgres() as (postmaster, backend):
            check_program(t, "postgres, the server", postmaster)
            check_program(t, "postgres, a session", backend)
    except NotPossible as reason:
        t.skip("postgres", reason)


def factories(t):
    for variant in ("factory", "factory-static", "factory-32", "factory-musl"):
        try:
            with Factory("kinds", variant=variant) as f:
                check_program(t, f"{variant} kinds", f.pid)
            with Factory("pages", variant=variant) as f:
                check_program(t, f"{variant} pages", f.pid)
        except NotPossible as reason:
            t.skip(variant, reason)
    with programs.huge_zero() as f:
        check_program(t, "zero pages", f.pid)
    with Tour() as tour:
        check_program(t, "tour", tour.pid)
        check_program(t, "child of tour", tour.child)


def many_regions(t):
    """60,000 regions, near the limit of the kernel."""
    with Factory("regions", n=60000, resident="32M") as f, proc.stopped(f.pid):
        truth = proc.smaps(f.pid)
        doc = proc.vmatlas_json("map", "-o", "+pss,uss,dirty", f.pid)
        plain = proc.vmatlas_json("map", f.pid)
        t.ok(len(truth) > 60000, "regions: there are 60,000", len(truth))
        for name, got in (("regions", plain), ("regions, with PSS", doc)):
            t.is_(proc.region_differences(got, truth), "", f"{name}: those of maps")
            t.is_(proc.size_differences(got, truth), "", f"{name}: resident is that of smaps")
            t.is_(proc.total_differences(got), "", f"{name}: totals are the sums of the rows")
        t.is_(proc.size_differences(doc, truth, ("pss", "uss", "dirty"), only=lambda region: not region.path), "",
              "regions: PSS, USS and dirty are those of smaps")
        t.is_(proc.counter_differences(plain, f.pid), "", "regions: counters are those of status and stat")
        mine = [r for r in plain["regions"] if f.info["start"] <= r["start"] < f.info["end"]]
        t.is_(len(mine), f.info["count"], "regions: as many as the factory made")
        t.is_(sum(r["rss"] for r in mine), f.info["resident"], "regions: as much resident as the factory wrote")


def sums(t):
    """The other sums: by owner, and the last line of the tables."""
    with Tour() as tour, proc.stopped(tour.pid):
        doc = proc.vmatlas_json("map", tour.pid)
        owners = proc.vmatlas_json("map", "--tree", tour.pid)["owners"]
        rows = [row for owner in owners for row in owner["regions"]]
        t.is_(sorted(row["start"] for row in rows), sorted(row["start"] for row in doc["regions"]), "tree: each region stands there once")
        wrong = [owner["owner"] for owner in owners
                 if (owner["count"], owner["size"], owner["rss"]) != (len(owner["regions"]), sum(r["size"] for r in owner["regions"]),
                                                                      sum(r["rss"] for r in owner["regions"]))
                 or {r["owner"] or r["kind"] for r in owner["regions"]} != {owner["owner"]}]
        t.is_(wrong, [], "tree: each owner has the sums of its regions")
        t.is_([owner["rss"] for owner in owners], sorted((owner["rss"] for owner in owners), reverse=True), "tree: most resident first")
        want = [str(sum(total[field] for total in doc["totals"])) for field in ("count", "size", "rss", "copied", "swap")]
        for options in (["--summary"], []):
            lines = proc.vmatlas("map", *options, "-b", tour.pid).out.splitlines()
            last = [line.split() for line in lines if line.startswith("all ")]
            t.is_([line[1:6] for line in last], [want], f"map {' '.join(options)}: the table ends with the sums of all")


def one_address(t):
    """map PID ADDR: the region that holds it, three below and three above."""
    with Factory("kinds") as f, proc.stopped(f.pid):
        starts = [region.start for region in proc.maps(f.pid)]
        for number in (0, 1, 3, 17, len(starts) - 1):
            rows = proc.vmatlas_json("map", f.pid, f"{starts[number] + 5:x}")["regions"]
            t.is_([proc.number(row["start"]) for row in rows], starts[max(number - 3, 0):number + 4],
                  f"region {number}: it and its neighbours")
            t.is_([proc.number(row["start"]) for row in rows if row.get("at") == ">"], [starts[number]], f"region {number}: is marked")


def state(pid):
    """What looking must not change."""
    theirs, minor_major = proc.status(pid), proc.faults(pid)
    return {"VmRSS": theirs["VmRSS"], "VmPTE": theirs["VmPTE"], "faults": minor_major, "VmSize": theirs["VmSize"]}


def check_unchanged(t, name, pid, info):
    start, end = int(info["start"], 16), int(info["end"], 16)
    whole, little = f"{start:x}-{end:x}", f"{start:x}+1M"
    before = state(pid)
    for arguments in (("map",), ("map", "-J"), ("map", "-o", "+PSS,USS,DIRTY"), ("map", "-O"), ("map", "--summary"),
                      ("map", "--tree"), ("map", "--gaps"), ("map", "--where", "1M"), ("map", f"{start:x}"), ("stacks",),
                      ("stacks", "-J"), ("pages", "--all"), ("pages", whole), ("pages", "--flags", little), ("cow", "--ranges"),
                      ("pagesize", f"{start:x}", f"{end - 4096:x}")):
        command, *rest = arguments
        operands = [word for word in rest if re.fullmatch(r"[0-9a-f]{6,}\S*", word)]
        options = [word for word in rest if word not in operands]
        answer = proc.vmatlas(command, *options, pid, *operands)
        said = " ".join(["vmatlas", command, *options, *(["ADDRESS"] if operands else [])])
        allowed = (0, 4) if "--flags" in options and os.geteuid() != 0 else (0,)
        t.ok(answer.status in allowed, f"{name}: {said} ends well", f"exit {answer.status}\n{answer.err}")
        t.is_(state(pid), before, f"{name}: {said} leaves the target as it was")


def unchanged(t):
    with Factory("holes", size="1g") as f:
        check_unchanged(t, "1 GiB of holes", f.pid, f.info)
    with Factory("sparse", size="1t", step="1g") as f:
        doc = proc.vmatlas_json("map", f.pid)
        row = proc.region_at(doc, int(f.info["start"], 16))
        t.is_((row["size"], row["rss"]), (f.info["size"], f.info["touched_pages"] * proc.PAGE), "1 TiB sparse: only what was written")
        check_unchanged(t, "1 TiB sparse", f.pid, f.info)


t = tap.Tap()
for section in (factories, real_programs, postgres, sums, one_address, many_regions, unchanged):
    t.section(section)
t.done()
