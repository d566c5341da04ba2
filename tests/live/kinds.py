#!/usr/bin/env python3
"""What each region is and whose, against what the factory and the tour say they made."""
import os
import re
import sys

sys.path.insert(0, os.path.join(os.environ["SRC"], "tests"))
import proc
import tap
from factory import Factory, NotPossible, Tour

KINDS = "text rodata relro data bss heap arena malloc_mmap stack guard tls file shm memfd hugetlb jit vdso kernel reserved anon".split()

# What glibc alone makes, or tells: other C libraries have no arenas, and no list of their threads.
GLIBC_ONLY = ("arena", "malloc_mmap", "main_tls")


def owner_is_told(item, owner):
    """Files by their base name, threads by their number."""
    if item["tid"] is not None and item["region_kind"] in ("stack", "guard", "tls"):
        return re.search(rf"\bthread {item['tid']}\b", owner) is not None
    if item["owner"] is None or item["owner"].startswith("["):
        return True
    return os.path.basename(item["owner"]) in owner


def check_item(t, name, doc, item, number):
    said = f"{name}: {item['name']} {number}"
    if item["address"] is None:
        return
    address = int(item["address"], 16)
    row = proc.region_at(doc, address)
    if not t.ok(row is not None, f"{said} lies in a region", item):
        return
    parts = [p for p in row.get("parts", []) if proc.number(p["start"]) <= address < proc.number(p["end"])]
    claim = proc.claim_at(row, item)
    t.ok(claim["kind"] == item["region_kind"], f"{said} lies in a region of kind {item['region_kind']}", f"{item}\n{row}")
    t.ok(owner_is_told(item, claim["owner"]), f"{said}: whose it is", f"{item}\n{row}")
    t.ok(all(p["kind"] in (item["kind"], item["region_kind"]) for p in parts), f"{said}: the part of the region is of its kind",
         f"{item}\n{parts}")
    if item["name"] == "guard_pages":
        t.is_(row["guard"], item["size"], f"{said}: guard pages that no region shows are counted")


def check_rows(t, name, doc):
    t.is_([row["kind"] for row in doc["regions"] if row["kind"] not in KINDS], [], f"{name}: only kinds of the list")
    t.is_([row["start"] for row in doc["regions"] if not row["why"]], [], f"{name}: each row says why")
    parts = [(row, part) for row in doc["regions"] for part in row.get("parts", [])]
    t.is_([part for _, part in parts if not part["why"] or part["kind"] not in KINDS], [], f"{name}: so does each part")
    outside = [part for row, part in parts
               if not proc.number(row["start"]) <= proc.number(part["start"]) < proc.number(part["end"]) <= proc.number(row["end"])]
    t.is_(outside, [], f"{name}: parts lie in their regions")
    overlapping = [row["start"] for row in doc["regions"]
                   if any(proc.number(a["end"]) > proc.number(b["start"])
                          for a, b in zip(row.get("parts", []), row.get("parts", [])[1:]))]
    t.is_(overlapping, [], f"{name}: parts follow each other")


def factory(t):
    for variant in ("factory", "factory-static", "factory-32", "factory-musl"):
        try:
            with Factory("kinds", variant=variant) as f:
                doc = proc.vmatlas_json("map", f.pid)
                check_rows(t, variant, doc)
                seen = {}
                for item in f.info["items"]:
                    if variant == "factory-musl" and item["name"] in GLIBC_ONLY:
                        continue
                    seen[item["name"]] = seen.get(item["name"], 0) + 1
                    check_item(t, variant, doc, item, seen[item["name"]])
        except NotPossible as reason:
            t.skip(variant, reason)


def tour(t):
    with Tour() as tour:
        doc = proc.vmatlas_json("map", tour.pid)
        check_rows(t, "tour", doc)
        anon = [row for row in doc["regions"] if row["kind"] == "anon"]
        # Both are named with PR_SET_VMA_ANON_NAME, for kernels that keep such names: there no region is left over.
        nameless = [row for row in anon if not row["owner"]]
        sizes = sorted(row["size"] for row in nameless)
        features = {f["feature"]: f["state"] for f in proc.vmatlas_json("doctor")["features"]}
        can_name, can_scan = features["anon_names"] == "yes", features["pagemap_scan"] == "yes"
        t.ok(sizes == ([] if can_name else [8 * proc.PAGE, 6 << 20]),
             "tour: nothing is without an owner but the huge memory and what the child shares", nameless)
        if not can_name:
            # Without PAGEMAP_SCAN it is unknown which pages are huge.
            t.ok([row["huge"] for row in nameless if row["size"] == 6 << 20] in ([2 << 20], [None] if not can_scan else []),
                 "tour: that is the huge memory", nameless)
        owners = " | ".join(row["owner"] for row in doc["regions"]) + " | ".join(
            part["owner"] for row in doc["regions"] for part in row.get("parts", []))
        for name in ("worker-0", "worker-1", "worker-2", "worker-3", "small", "guardless-0", "guardless-1", "mapped-stack",
                     "cached by glibc", "malloc arena", "tour-memfd", f"vmatlas-tour-{tour.pid}", "brk heap"):
            t.ok(name in owners, f"tour: {name} is named", owners)


t = tap.Tap()
for section in (factory, tour):
    t.section(section)
t.done()
