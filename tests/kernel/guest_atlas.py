#!/usr/bin/env python3
"""On another kernel, as root: what doctor says of it, and maps and copies of programs of known memory.

The truth of doctor is the kernel's own: its version, and the configuration that its package brings.
"""
# timeout: 120
import os
import re
import sys

sys.path[:0] = [os.path.join(os.environ["SRC"], "tests"), os.path.join(os.environ["SRC"], "tests/live")]
import cow_truth
import proc
import tap
from factory import Factory

RELEASE = os.uname().release


def version(text):
    return [int(n) for n in re.findall(r"\d+", text)[:2]]


def doctor(t):
    """Features by what the version brings, those that are built in on demand by the configuration."""
    with open(os.path.join(os.environ["KERNEL_TREE"], "boot", "config-" + RELEASE), encoding="utf-8") as file:
        config = file.read()
    for feature in proc.vmatlas_json("doctor")["features"]:
        option = re.search(r"built in by (CONFIG_\w+)", feature["since"])
        want = version(feature["since"]) <= version(RELEASE) and (not option or f"\n{option[1]}=y\n" in config)
        t.is_(feature["state"], "yes" if want else "no", f"doctor: {feature['feature']}, which came with {feature['since']}")


def kinds(t):
    """Frame numbers tell the zero page where PAGEMAP_SCAN cannot: nothing is an upper bound, nothing partial."""
    with Factory("kinds") as f, proc.stopped(f.pid):
        truth, doc = proc.smaps(f.pid), proc.vmatlas_json("map", f.pid)
        t.is_((doc["partial"], proc.region_differences(doc, truth)), (False, ""), "map: regions are those of maps, and all of them")
        t.is_(proc.size_differences(doc, truth, ("rss", "swap")), "", "map: resident and swapped are those of smaps")
        t.is_(proc.total_differences(doc) + proc.null_differences(doc["regions"]), "", "map: totals, and reasons for what is unknown")
        t.is_(proc.counter_differences(doc, f.pid), "", "map: counters are those of status and stat")


def copies(t):
    with Factory("cow") as f:
        for said in ("f", "w 3", "c 5", "c f0", "k"):
            answer = f.cmd(said)
            doc = proc.vmatlas_json("cow", f.pid)
            t.is_((doc["partial"], cow_truth.differences(doc, f.info, answer["parent"])), (False, ""),
                  f"cow after '{said}': which pages are copied and shared")


t = tap.Tap()
for section in (doctor, kinds, copies):
    t.section(section)
t.done()
