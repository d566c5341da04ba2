#!/usr/bin/env python3
# serial
"""hugetlb memory: pages that are never smaller than 2 MiB, and that the kernel does not count as resident. The test raises
vm.nr_hugepages by 4 and puts it back; it runs alone because others would see that."""
import os
import sys

sys.path.insert(0, os.path.join(os.environ["SRC"], "tests"))
import proc
import tap
from factory import Factory, Tour
from huge_pages import more_huge_pages

def check_map(t, said, pid, huge):
    with proc.stopped(pid):
        truth = proc.smaps(pid)
        doc = proc.vmatlas_json("map", pid)
        dear = proc.vmatlas_json("map", "-o", "+uss,dirty,hugetlb", pid)
        t.is_(proc.region_differences(doc, truth), "", f"{said}: regions are those of maps")
        t.is_(proc.size_differences(doc, truth), "", f"{said}: resident is that of smaps")
        t.is_(proc.size_differences(dear, truth, ("rss", "hugetlb"), only=lambda r: "ht" in r.fields["VmFlags"]), "",
              f"{said}: hugetlb is that of smaps")
        t.is_(proc.counter_differences(doc, pid), "", f"{said}: counters are those of status")
        t.is_(proc.total_differences(doc), "", f"{said}: totals are the sums of the rows")
    rows = [row for row in doc["regions"] if row["kind"] == "hugetlb"]
    starts = [r.start for r in truth if "ht" in r.fields["VmFlags"]]
    t.is_([proc.number(row["start"]) for row in rows], starts, f"{said}: what the kernel calls hugetlb is of that kind")
    t.is_([(row["rss"], row["huge"], row["page_size"]) for row in rows], [(0, huge, 2 << 20)] * len(starts),
          f"{said}: nothing is resident, {huge >> 20} MiB are huge")
    t.is_(doc["counters"]["hugetlb"], sum(row["huge"] for row in rows), f"{said}: the counter says as much")
    return rows


def kinds(t):
    with Factory("kinds") as f:
        item = [i for i in f.info["items"] if i["name"] == "hugetlb"][0]
        if not t.ok(item["address"] is not None, "the factory has got a huge page", item):
            return
        rows = check_map(t, "kinds", f.pid, 2 << 20)
        address = int(item["address"], 16)
        t.ok(any(row["start"] == hex(address) and row["why"] for row in rows), "kinds: it is the factory's", rows)
        sizes = proc.vmatlas_json("pagesize", f.pid, f"{address:x}", f"{address + 5000:x}")["addresses"]
        t.is_([(s["mapping"], s["in_use"], s["present"]) for s in sizes], [(2 << 20, 2 << 20, True)] * 2, "pagesize: 2 MiB, both")
        runs = proc.vmatlas_json("pages", f.pid, f"{address:x}")["runs"]
        t.is_([(r["start"], r["pages"], r["page_size"], r["present"]) for r in runs], [(hex(address), 512, 2 << 20, True)],
              "pages: one run of 2 MiB pages")
        if os.geteuid() == 0:
            t.is_((runs[0]["pfn_runs"], runs[0]["pfn"] % 512), (1, 0), "pages: contiguous and aligned frames")
            flags = proc.vmatlas_json("pages", "--flags", f.pid, f"{address:x}")["runs"]
            heads = [r for r in flags if "COMPOUND_HEAD" in r["flags"]]
            t.is_([r["size"] for r in heads], [proc.PAGE], "pages --flags: one compound head")
            t.ok("HUGE" in heads[0]["flags"], "pages --flags: it is huge", flags)


def tour(t):
    with Tour() as tour:
        rows = check_map(t, "tour", tour.pid, 2 << 20)
        t.ok(len(rows) == 1, "tour: it has one", rows)


def fallbacks(t):
    with Factory("kinds") as f, proc.stopped(f.pid):
        truth = proc.smaps(f.pid)
        for without in ("pagemap_scan", "procmap_query", "page_frames,kpageflags", "all"):
            doc = proc.vmatlas_json("map", f.pid, without=without)
            t.is_(proc.region_differences(doc, truth), "", f"without {without}: regions are those of maps")
            t.is_(proc.size_differences(doc, truth, may_be_unsure=True), "", f"without {without}: resident is right, or unknown")
            rows = [row for row in doc["regions"] if row["kind"] == "hugetlb"]
            t.is_([(row["page_size"], row["rss"] or 0) for row in rows], [(2 << 20, 0)], f"without {without}: page size is told")
            t.is_([row["huge"] for row in rows], [None if without == "all" else 2 << 20], f"without {without}: that it is huge is told")
            t.is_(proc.null_differences(doc["regions"]), "", f"without {without}: what is unknown has a reason")
            answer = proc.vmatlas_json("pagesize", f.pid, rows[0]["start"], without=without)["addresses"][0]
            t.is_(answer["mapping"], 2 << 20, f"without {without}: pagesize tells that of the mapping")
            t.ok(answer["in_use"] in (2 << 20, None), f"without {without}: that in use is right or unknown", answer)


t = tap.Tap()
with more_huge_pages() as why:
    for section in (kinds, tour, fallbacks):
        if why:
            t.skip(f"hugetlb: {section.__name__}", why)
        else:
            t.section(section)
t.done()
