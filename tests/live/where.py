#!/usr/bin/env python3
"""`vmatlas map --where SIZE` says where the kernel will put the next mapping; then the factory really maps it, and that is where it
is. `map --gaps` is what maps leaves free."""
import os
import sys

sys.path.insert(0, os.path.join(os.environ["SRC"], "tests"))
import proc
import tap
from factory import Factory, NotPossible

SIZES = ("4K", "8K", "12K", "16K", "60K", "64K", "68K", "1M", "1028K", "2M", "2052K", "3M", "4M", "5M", "8M", "64M", "1G",
         "1028M")
USER_END = {8: 0x7ffffffff000, 4: 0xffffe000}


def foretold(pid, size):
    return proc.vmatlas_json("map", "--where", size, pid)["where"][0]


def check_sizes(t, said, f, sizes):
    for size in sizes:
        where = foretold(f.pid, size)
        before = proc.maps(f.pid)
        real = f.cmd(f"m {size}")
        t.is_((where["start"], where["end"], where["size"]), (real["start"], real["end"], real["size"]),
              f"{said}: the next {size} lie where they were foretold")
        t.ok(where["why"] and where["rule_checked"], f"{said}: {size}: why, and tried on this kernel", where)
        f.cmd("u")
        t.ok(proc.maps(f.pid) == before, f"{said}: {size}: given back")


def mappings(t):
    with Factory("nextmap") as f:
        check_sizes(t, "gaps of many sizes", f, SIZES)
        # Not given back: each takes the place of the one before.
        for size in ("4K", "4K", "12K", "64K", "2M", "1M", "3M", "2M", "64M"):
            where, real = foretold(f.pid, size), f.cmd(f"m {size}")
            t.is_((where["start"], where["end"]), (real["start"], real["end"]), f"one after the other: {size}")
        for size in ("4K", "64K", "2M", "1G"):
            where, real = foretold(f.pid, size), f.cmd(f"m {size}")
            t.is_((where["start"], where["end"]), (real["start"], real["end"]), f"after all of these: {size}")
    with Factory("nextmap", variant="factory-static") as f:
        check_sizes(t, "static program", f, ("4K", "1M", "2M", "3M", "64M", "1G"))


def odd_sizes(t):
    with Factory("nextmap") as f:
        where, real = foretold(f.pid, "5000"), f.cmd("m 5000")
        t.is_((where["start"], where["size"]), (real["start"], 8192), "a size is rounded up to whole pages")
        answer = proc.vmatlas("map", "--where", "200T", f.pid)
        t.ok(answer.status not in (0, 70) and "no gap" in answer.err + answer.out or answer.status == 2,
             "more than there is: refused, and why", answer)
        t.is_(proc.vmatlas("map", "--where", "many", f.pid).status, 2, "no size: wrong usage")
        t.is_(proc.vmatlas("map", "--where", "0", f.pid).status, 2, "size 0: wrong usage")


def gaps(t):
    for variant, word in (("factory", 8), ("factory-static", 8), ("factory-32", 4), ("factory-musl", 8)):
        try:
            with Factory("nextmap", variant=variant) as f:
                doc = proc.vmatlas_json("map", "--gaps", f.pid)
                regions = [r for r in proc.maps(f.pid) if r.end <= 1 << 47]
                ends = [r.start for r in regions[1:]] + [USER_END[word]]
                want = [(r.end, end) for r, end in zip(regions, ends) if r.end < end]
                got = [(proc.number(g["start"]), proc.number(g["end"])) for g in doc["gaps"]]
                t.is_(got, want, f"{variant}: gaps are what lies between the regions of maps")
                t.is_([g["size"] for g in doc["gaps"]], [end - start for start, end in want], f"{variant}: and so are their sizes")
                largest = max(end - start for start, end in want)
                t.is_([g["size"] for g in doc["gaps"] if g["largest"]], [largest], f"{variant}: the largest is marked")
                missing = [g for g in f.info["gaps"] if (int(g["start"], 16), int(g["end"], 16)) not in got]
                t.is_(missing, [], f"{variant}: those that the factory made are among them")
        except NotPossible as reason:
            t.skip(variant, reason)


t = tap.Tap()
for section in (mappings, odd_sizes, gaps):
    t.section(section)
t.done()
