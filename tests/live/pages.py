#!/usr/bin/env python3
"""`vmatlas pages` and `pagesize`: the state of every page, against the factory that made it; frame numbers and the kernel's flags,
against pagemap and kpageflags, read by the test itself."""
import os
import struct
import sys

sys.path.insert(0, os.path.join(os.environ["SRC"], "tests"))
import proc
import tap
from factory import Factory, NotPossible

IS_ROOT = os.geteuid() == 0
HUGE = 2 << 20

# /proc/kpageflags by bit, as include/uapi/linux/kernel-page-flags.h names them
KPAGEFLAGS = {0: "locked", 2: "referenced", 3: "uptodate", 4: "dirty", 5: "lru", 6: "active", 11: "mmap", 12: "anon", 13: "swapcache",
              14: "swapbacked", 15: "compound_head", 16: "compound_tail", 17: "huge", 22: "thp", 24: "zero_page"}
PRESENT, SWAPPED, FILE, EXCLUSIVE = 1 << 63, 1 << 62, 1 << 61, 1 << 56
PFN_MASK = (1 << 55) - 1

# What the factory calls a page -> what must be true and false of it. Who alone maps a page is its owner, who shares it is not told.
STATES = {
    "written": ("present exclusive", "swapped file copied zero guard huge"),
    "absent": ("", "present swapped file copied exclusive zero guard huge"),
    "zero": ("present zero", "swapped file copied guard"),
    "guard": ("guard", "present swapped file copied zero"),
    "copied": ("present copied exclusive", "swapped file zero guard huge"),
    "file": ("present file", "swapped copied zero guard huge"),
    "shared": ("present file", "swapped copied zero guard huge"),
    "huge": ("present exclusive huge", "swapped file copied zero guard"),
}


def read_words(path, first, count):
    with open(path, "rb", buffering=0) as file:
        return struct.unpack(f"={count}Q", os.pread(file.fileno(), 8 * count, 8 * first))


def pages_of(run):
    return range(proc.number(run["start"]) // proc.PAGE, proc.number(run["end"]) // proc.PAGE)


def by_page(doc):
    """{number of the page: its run}; an exception when runs overlap."""
    found = {}
    for run in doc["runs"]:
        for page in pages_of(run):
            if page in found:
                raise ValueError(f"two runs hold page {page * proc.PAGE:#x}")
            found[page] = run
    return found


def run_differences(doc, region):
    """Is every page of the region what the factory says?"""
    pages, first, wrong = by_page(doc), int(region["start"], 16) // proc.PAGE, []
    if sorted(pages) != list(range(first, int(region["end"], 16) // proc.PAGE)):
        wrong.append(f"{len(pages)} pages are told, from {min(pages, default=0) * proc.PAGE:#x}")
    for run in region["runs"]:
        is_true, is_false = (words.split() for words in STATES[run["state"]])
        for page in range(first + run["first"], first + run["first"] + run["pages"]):
            got = pages.get(page, {})
            bad = [f for f in is_true if got.get(f) is not True] + [f for f in is_false if got.get(f) is not False]
            if bad:
                wrong.append(f"page {page - first}, {run['state']}: {' '.join(bad)} is wrong in {got}")
                break
    return "\n".join(wrong)


def states(t):
    for variant in ("factory", "factory-static", "factory-32", "factory-musl"):
        try:
            with Factory("pages", variant=variant) as f:
                for region in f.info["regions"]:
                    said = f"{variant}: {region['name']}"
                    doc = proc.vmatlas_json("pages", f.pid, region["start"])
                    t.is_(run_differences(doc, region), "", f"{said}: every page is as it was made")
                    t.is_(proc.null_differences(doc["runs"]), "", f"{said}: what is unknown has a reason")
                    neighbours = [(a, b) for a, b in zip(doc["runs"], doc["runs"][1:]) if a["end"] != b["start"]]
                    t.is_(neighbours, [], f"{said}: no page is left out")
        except NotPossible as reason:
            t.skip(variant, reason)


def changes(t):
    """One page after the other becomes something else."""
    with Factory("pages", pattern="w.zgdw.") as f:
        guards = [f["state"] for f in proc.vmatlas_json("doctor")["features"] if f["feature"] == "madv_guard"] == ["yes"]
        if not guards:
            t.skip("one page after the other becomes a guard", "the kernel has no MADV_GUARD_INSTALL")
        for command in ("w 1", "z 6", "g 0", "d 5", "w 2", "g 4"):
            if command.startswith("g") and not guards:
                continue
            region = f.cmd(command)
            doc = proc.vmatlas_json("pages", f.pid, f"{region['start']}-{region['end']}")
            t.is_(run_differences(doc, region), "", f"after '{command}': every page is as it was made")


def ranges(t):
    with Factory("pages") as f:
        region = f.info["regions"][0]
        start = int(region["start"], 16)
        part = proc.vmatlas_json("pages", f.pid, f"{start + proc.PAGE:x}+8K")
        t.is_([(run["start"], run["pages"], run["present"]) for run in part["runs"]], [(hex(start + proc.PAGE), 2, True)],
              "START+SIZE: only that range")
        t.is_([run["start"] for run in proc.vmatlas_json("pages", f.pid, f"{start + 5:x}-{start + 6:x}")["runs"]], [hex(start)],
              "a range is widened to whole pages")
        everything = proc.vmatlas_json("pages", "--all", f.pid)
        wrong = [one["name"] for one in f.info["regions"]
                 if run_differences({"runs": [run for run in everything["runs"]
                                              if int(one["start"], 16) <= proc.number(run["start"]) < int(one["end"], 16)]}, one)]
        t.is_(wrong, [], "--all: every page is as it was made")
        truth = {r.start: r.fields["Rss"] for r in proc.smaps(f.pid)}
        resident = dict.fromkeys(truth, 0)
        for run in everything["runs"]:
            if run["present"] and not run["zero"]:
                resident[max(start for start in truth if start <= proc.number(run["start"]))] += run["size"]
        t.is_(resident, truth, "--all: what is present and no zero page is what smaps calls resident")


def huge(t):
    with Factory("pages") as f:
        region = [r for r in f.info["regions"] if r["name"] == "thp"][0]
        if region["runs"][0]["state"] != "huge":
            t.skip("a transparent huge page", "the kernel gave none")
            return
        doc = proc.vmatlas_json("pages", f.pid, region["start"])
        t.is_([(run["pages"], run["page_size"], run["huge"]) for run in doc["runs"]], [(512, HUGE, True), (512, proc.PAGE, False)],
              "huge: one run of 512 pages of 2 MiB")
        if IS_ROOT:
            t.is_(doc["runs"][0]["pfn_runs"], 1, "huge: it is physically contiguous")
            t.is_(doc["runs"][0]["pfn"] % 512, 0, "huge: and aligned")
        row = proc.region_at(proc.vmatlas_json("map", f.pid), int(region["start"], 16))
        t.is_((row["rss"], row["huge"], row["page_size"]), (HUGE, HUGE, proc.PAGE), "huge: map says as much")
        start, anon = int(region["start"], 16), int(f.info["regions"][0]["start"], 16)
        asked = [f"{a:x}" for a in (start, start + 123456, start + HUGE, anon + 8, anon + 5 * proc.PAGE, anon - 1, 4096)]
        got = proc.vmatlas_json("pagesize", f.pid, *asked)["addresses"]
        t.is_([row["addr"] for row in got], ["0x" + a for a in asked], "pagesize: in the order of the arguments")
        t.is_([row["mapping"] for row in got[:5]], [proc.PAGE] * 5, "pagesize: the mappings have base pages")
        t.is_([row["in_use"] for row in got[:2]], [HUGE, HUGE], "pagesize: 2 MiB anywhere in the huge page")
        t.is_([(row["present"], row["in_use"], "in_use" in row["unknown"]) for row in (got[2], got[4])], [(False, None, True)] * 2,
              "pagesize: nothing is in use where nothing is present")
        t.is_((got[3]["in_use"], got[3]["present"]), (proc.PAGE, True), "pagesize: a base page")
        t.is_([row["mapped"] for row in got], [True] * 5 + [True, False], "pagesize: what is not mapped")
        t.is_([row["addr"] for row in got if not row["why"]], [], "pagesize: each says how that was found out")


def frames(t):
    """pfn against the target's pagemap."""
    if not IS_ROOT:
        t.skip("frame numbers", "needs root")
        return
    with Factory("pages") as f:
        for region in f.info["regions"]:
            start, end = int(region["start"], 16), int(region["end"], 16)
            runs = by_page(proc.vmatlas_json("pages", f.pid, region["start"]))
            entries = read_words(f"/proc/{f.pid}/pagemap", start // proc.PAGE, (end - start) // proc.PAGE)
            said, wrong, pieces, last = region["name"], [], {}, None
            for page, entry in enumerate(entries, start // proc.PAGE):
                run, pfn = runs[page], entry & PFN_MASK
                if not entry & PRESENT:
                    last = None
                    if run["pfn"] is not None:
                        wrong.append(f"{page * proc.PAGE:#x} is not present, and has frame {run['pfn']}")
                    continue
                if page * proc.PAGE == proc.number(run["start"]) and run["pfn"] != pfn:
                    wrong.append(f"{page * proc.PAGE:#x}: frame {run['pfn']}, in pagemap {pfn}")
                if last != (run["start"], pfn - 1):
                    pieces[run["start"]] = pieces.get(run["start"], 0) + 1
                last = (run["start"], pfn)
                if bool(entry & FILE) != run["file"] or bool(entry & EXCLUSIVE) != run["exclusive"]:
                    wrong.append(f"{page * proc.PAGE:#x}: pagemap has {entry:#x}, the run is {run}")
            t.is_(wrong, [], f"{said}: frames are those of pagemap")
            got = {run["start"]: run["pfn_runs"] for run in runs.values() if run["present"]}
            t.is_(got, pieces, f"{said}: so many pieces are physically contiguous")


def flags(t):
    """--flags against kpageflags and kpagecount. Some flags change by themselves (referenced, active, lru, mmap counts of files)."""
    if not IS_ROOT:
        t.skip("flags", "needs root")
        return
    steady = {"compound_head", "compound_tail", "anon", "huge", "thp", "zero_page", "swapbacked"}
    with Factory("pages") as f, proc.stopped(f.pid):
        for region in f.info["regions"]:
            start, said = int(region["start"], 16), region["name"]
            doc = proc.vmatlas_json("pages", "--flags", f.pid, region["start"])
            runs, wrong = by_page(doc), []
            entries = read_words(f"/proc/{f.pid}/pagemap", start // proc.PAGE, len(runs))
            heads = tails = 0
            for page, entry in enumerate(entries, start // proc.PAGE):
                run, pfn = runs[page], entry & PFN_MASK
                if not entry & PRESENT:
                    if run["flags"] is not None:
                        wrong.append(f"{page * proc.PAGE:#x} is not present, and has flags {run['flags']}")
                    continue
                bits, count = read_words("/proc/kpageflags", pfn, 1)[0], read_words("/proc/kpagecount", pfn, 1)[0]
                names = {name for bit, name in KPAGEFLAGS.items() if bits >> bit & 1}
                got = {name.lower() for name in run["flags"]}
                heads, tails = heads + ("compound_head" in got), tails + ("compound_tail" in got)
                if got & steady != names & steady:
                    wrong.append(f"{page * proc.PAGE:#x}: flags {run['flags']}, in kpageflags {sorted(names)}")
                if "anon" in names and run["mapcount"] != count:
                    wrong.append(f"{page * proc.PAGE:#x}: map count {run['mapcount']}, in kpagecount {count}")
            t.is_(wrong[:5], [], f"{said}: flags and map counts are those of the kernel")
            if region["runs"][0]["state"] == "huge":
                t.is_((heads, tails), (1, 511), f"{said}: one compound head, 511 tails")
                t.is_(doc["runs"][0]["size"], proc.PAGE, f"{said}: the head is a run of its own")
        text = proc.vmatlas("pages", "--flags", f.pid, f.info["regions"][-1]["start"])
        t.ok("compound_head" in text.out.lower() and "compound_tail" in text.out.lower(), "--flags: the table names heads and tails",
             text.out)


def folios(t):
    """As root the real size of a page in use is that of its folio: its head, and the tails that follow, in kpageflags."""
    if not IS_ROOT:
        t.skip("folios", "needs root")
        return
    with Factory("kinds") as f, proc.stopped(f.pid):
        doc = proc.vmatlas_json("pages", "--all", f.pid)
        wrong, sizes = [], set()
        for run in doc["runs"]:
            if not run["present"] or run["huge"]:
                continue
            for page in pages_of(run):
                pfn = read_words(f"/proc/{f.pid}/pagemap", page, 1)[0] & PFN_MASK
                first = pfn
                while read_words("/proc/kpageflags", first, 1)[0] >> 16 & 1:
                    first -= 1
                last = pfn + 1
                while read_words("/proc/kpageflags", last, 1)[0] >> 16 & 1:
                    last += 1
                sizes.add((last - first) * proc.PAGE)
                if run["page_size"] != (last - first) * proc.PAGE:
                    wrong.append(f"{page * proc.PAGE:#x}: {run['page_size']}, in kpageflags {(last - first) * proc.PAGE}")
        t.is_(wrong[:5], [], "pages: the size in use is that of the folio")
        t.diag(f"folios of {sorted(sizes)} bytes")


t = tap.Tap()
for section in (states, changes, ranges, huge, frames, flags, folios):
    t.section(section)
t.done()
