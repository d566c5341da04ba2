#!/usr/bin/env python3
# serial
"""Memory in swap: how much of each region, which pages, and copies of file pages that lie there. The test adds 64 MiB of swap in its
temporary folder for as long as it runs, and tells the kernel to put pages of its own target there (MADV_PAGEOUT)."""
import contextlib
import json
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.environ["SRC"], "tests"))
import proc
import programs
import tap

MADV_PAGEOUT = 21

# 8 MiB of anonymous memory, a private file of 256 pages with 128 copies, 4 MiB of shared memory: of each the first half goes out.
TARGET = f"""
import mmap, sys
anon = mmap.mmap(-1, 8 << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
anon.madvise(mmap.MADV_NOHUGEPAGE)
with open(sys.argv[1], "w+b") as file:
    file.write(bytes(range(256)) * 4096)
    file.flush()
    private = mmap.mmap(file.fileno(), 1 << 20, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE)
shared = mmap.mmap(-1, 4 << 20, mmap.MAP_SHARED | mmap.MAP_ANONYMOUS)
for memory, size in ((anon, 8 << 20), (private, 1 << 19), (shared, 4 << 20)):
    for page in range(0, size, 4096):
        memory[page] = 1
    memory.madvise({MADV_PAGEOUT}, 0, size // 2)
print("ready", flush=True)
sys.stdin.readline()
"""


def run(*argv):
    """"", or why the command failed."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False,
                              env=dict(os.environ, PATH="/usr/sbin:/sbin:" + os.environ["PATH"]))
    except FileNotFoundError:
        return f"{argv[0]} is not installed"
    return "" if done.returncode == 0 else f"{argv[0]}: {done.stderr.strip()}"


def swap_file(folder):
    path = os.path.join(folder, "swap")
    with open(path, "wb") as file:
        os.posix_fallocate(file.fileno(), 0, 64 << 20)
    os.chmod(path, 0o600)
    return path


def swap_device():
    """A device of compressed memory, for where files lie in memory and the kernel takes none of them."""
    try:
        run("modprobe", "zram")
        with open("/sys/block/zram0/disksize", "r+", encoding="ascii") as file:
            if file.read().strip() != "0":
                return None                                # somebody else's
            file.seek(0)
            file.write(str(64 << 20))
    except OSError:
        return None
    return "/dev/zram0"


@contextlib.contextmanager
def more_swap(folder):
    """Gives "", or why there is not more."""
    why, path = "needs root", None
    if os.geteuid() == 0:
        path = swap_file(folder)
        why = run("mkswap", path) or run("swapon", path)
        if why.startswith("swapon:"):
            path = swap_device()
            why = path and (run("mkswap", path) or run("swapon", path)) if path else why
    try:
        yield why
    finally:
        if not why:
            subprocess.run(["/sbin/swapoff", path], check=True)
            if path == "/dev/zram0":
                with open("/sys/block/zram0/reset", "w", encoding="ascii") as file:
                    file.write("1")


def check_swap(t, pid, without):
    said = f"without {without}" if without else "swap"
    truth, counted = proc.smaps(pid), proc.status(pid)["VmSwap"]
    doc = proc.vmatlas_json("map", pid, without=without)
    # smaps adds what the file in memory behind a mapping has in swap. It belongs to no process, and VmSwap leaves it out.
    t.is_(proc.size_differences(doc, truth, ("swap",), only=lambda r: not r.prot.endswith("s")), "",
          f"{said}: private memory in swap is that of smaps")
    t.is_(sum(row["swap"] for row in doc["regions"]), counted, f"{said}: the sum is VmSwap")
    t.is_(proc.size_differences(doc, truth, ("rss",), may_be_unsure=bool(without)), "", f"{said}: resident is that of smaps")
    t.is_(proc.counter_differences(doc, pid), "", f"{said}: counters are those of status")
    t.is_(proc.total_differences(doc), "", f"{said}: totals are the sums of the rows")
    row = [r for r in doc["regions"] if r["path"].endswith("/private")][0]
    t.is_((row["copied"], row["swap"]), (1 << 19, 1 << 18), f"{said}: copies of file pages are told, also those in swap")
    runs = proc.vmatlas_json("pages", pid, row["start"], without=without)["runs"]
    swapped = [run for run in runs if run["swapped"]]
    t.is_([(run["start"], run["pages"], run["present"], run["copied"], run["file"]) for run in swapped],
          [(row["start"], 64, False, True, False)], f"{said}: pages: the first 64 copies are in swap")
    anon = [r for r in doc["regions"] if r["size"] == 8 << 20 and r["swap"]][0]
    runs = proc.vmatlas_json("pages", pid, anon["start"], without=without)["runs"]
    t.is_(sum(run["pages"] for run in runs if run["swapped"] and not run["present"]), anon["swap"] // proc.PAGE,
          f"{said}: pages: as many of the anonymous memory")
    copies = [r for r in proc.vmatlas_json("cow", pid, without=without)["regions"] if r["path"] == row["path"]][0]
    t.is_((copies["copied"], len(copies["ranges"])), (128, 1), f"{said}: cow tells the copies, in memory and in swap")
    dear = proc.vmatlas_json("map", "-o", "+pss", pid, without=without)
    t.is_([r["swap"] for r in dear["regions"]], [r["swap"] for r in doc["regions"]], f"{said}: the same with PSS")


def check_leaks(t, pid):
    """Nothing is swapped in, so what lies in swap may refer to any block."""
    before = proc.status(pid)["VmSwap"]
    doc = json.loads(proc.vmatlas("leaks", "-J", pid).out)
    found = re.search(r"(\d+) KiB are in swap", doc["partial_why"] or "")
    t.ok(doc["partial"] and found and 4 << 10 <= int(found.group(1)) <= before >> 10, "leaks: is partial, with what lies in swap",
         f"{doc['partial_why']}, VmSwap {before >> 10} KiB")
    t.is_(proc.status(pid)["VmSwap"], before, "leaks: nothing was swapped in")


def check_pool(t):
    """What a user of a region left in swap, the next one does not read. mincore(2) would call those pages absent."""
    scans = {f["feature"]: f["state"] for f in proc.vmatlas_json("doctor")["features"]}["pagemap_scan"] == "yes"
    for without, finder in (("", 2 if scans else 1), ("pagemap_scan", 1), ("all", 0)):
        done = subprocess.run([os.path.join(tap.BUILD, "tests/factory/pool_swap")], capture_output=True, text=True,
                              env=dict(os.environ, VMAT_WITHOUT=without))
        said = json.loads(done.stdout or "{}")
        t.ok(said.get("foreign") == 0 and said.get("finder") == finder and said.get("swapped", 0) > 100,
             f"a pool without {without or 'nothing'}: regions with pages in swap are zero for the next user", done)


def swapped(t):
    with programs.folder() as folder, more_swap(folder) as why:
        if why:
            t.skip("swap", why)
            return
        argv = [programs.find("/usr/bin/python3", "python3"), "-c", TARGET, os.path.join(folder, "private")]
        with programs.started(argv, b"ready") as process, proc.stopped(process.pid):
            if not proc.status(process.pid)["VmSwap"]:
                t.skip("swap", "the kernel puts no page there")
                return
            for without in (None, "pagemap_scan", "page_guard", "page_frames,kpageflags"):
                check_swap(t, process.pid, without)
            check_leaks(t, process.pid)
        check_pool(t)


t = tap.Tap()
t.section(swapped)
t.done()
