#!/usr/bin/env python3
"""The examples of libvmatlas say what is so: their output against what the test knows, or the kernel says."""
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.environ["SRC"], "tests", "hostile"))
from _vmatlas import is_asan  # noqa: E402
import tap  # noqa: E402


def example(name, *args, **more):
    done = subprocess.run([os.path.join(tap.BUILD, "examples", name), *args], capture_output=True, timeout=60, **more)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def growing_buffer(t):
    text = b"one line of text\n" * 400000
    status, out, err = example("growing_buffer", input=text)
    t.is_((status, err), (0, ""), "growing_buffer: ends well")
    found = re.match(r"(\d+) bytes, (\d+) lines, (\d+) MiB of addresses reserved, moved: never\n"
                     r"handed over with (\d+) bytes of memory\n$", out)
    if t.ok(found, "growing_buffer: says what it read, and that it never moved", out):
        size, lines, _, memory = (int(n) for n in found.groups())
        t.is_((size, lines), (len(text), 400000), "growing_buffer: all that came")
        t.is_(memory, -(-len(text) // 4096) * 4096, "growing_buffer: hands over whole pages, and no more")


def copied(t):
    """Pages 0 and 2 are written, 3 is read, 1 is left alone. As an ordinary user, too."""
    for said, more in (("", {}), (" as a user", {"user": 65534, "group": 65534, "extra_groups": []})):
        if more and (os.geteuid() or not os.access(tap.BUILD, os.X_OK)):
            continue
        try:
            status, out, err = example("copied", **more)
        except PermissionError:
            continue    # the build folder is closed to other users
        t.is_((status, err), (0, ""), f"copied{said}: ends well")
        t.is_(out.splitlines(), ["copied: 0 2", "shared:", "copied, in the child: 0 2", "shared, in the child: 0 2",
                                 "shared, when the child has written: 2", "shared, when the child has ended:"],
              f"copied{said}: the pages that were written, and who shares them")


def dirty(t):
    """By whatever way, the pages that the program wrote; where a system call cannot write, the program says so."""
    pages = " ".join(str(n) for n in range(20, 60, 2))
    for way in ("uffd_async", "uffd_sync", "mprotect", "auto"):
        status, out, err = example("dirty", way)
        if status and "Operation not supported" in err:
            t.ok(way in ("uffd_async", "uffd_sync"), f"dirty: {way} is not there, and that is said")
            continue
        t.is_((status, err), (0, ""), f"dirty: {way}: ends well")
        lines = out.splitlines()
        t.is_(lines[:2], ["tracked by " + (lines[0].split()[-1] if way == "auto" else way), f"after writes: 3-4 9 {pages}"],
              f"dirty: {way}: the pages that were written")
        read = ["after read(2): 30"]
        if way == "mprotect" or "failed" in out:
            read = ["read(2) into the memory failed: Bad address", "after read(2):"]
        t.is_(lines[2:], read + ["after nothing:"], f"dirty: {way}: the page that read(2) wrote, and none twice")


def size_grid(t):
    for name, env in (("glibc", {}), ("jemalloc", {"LD_PRELOAD": "libjemalloc.so.2"})):
        status, out, err = example("size_grid", env={**os.environ, **env})
        t.is_((status, err), (0, ""), f"size_grid: ends well with {name}")
        t.ok(out.startswith(f"allocator: {name}\n"), f"size_grid: knows {name}", out)
        rows = re.findall(r"^ *(\d+) -> (\d+), given (\d+)$", out, re.M)
        t.ok(len(rows) >= 5 and all(good == given for _, good, given in rows), f"size_grid: {name} gives what was said before", out)
        t.ok("a pointer into the stack: Bad address" in out, f"size_grid: {name}, a pointer that malloc never gave", out)


def fault_counts(t):
    """The kernel may take a page away at any time (to move it, say), so one run of five without that is enough."""
    want = ["fresh, but for a page: 799 minor, 0 major", "again: 0 minor, 0 major", "half of it punched out: 400 minor, 0 major"]
    for without in ("", "perf_faults"):
        for _ in range(5):
            status, out, err = example("fault_counts", "800", env={**os.environ, "VMAT_WITHOUT": without})
            lines = [" ".join(line.split()) for line in out.splitlines()]
            if lines[:3] == want:
                break
        t.is_((status, err), (0, ""), "fault_counts: ends well")
        t.is_(lines[:3], want, "fault_counts: a fault for each page that is not there")
        may_log = not without and int(open("/proc/sys/kernel/perf_event_paranoid").read()) <= 2
        t.ok(lines[3] == "200 addresses inside" or not may_log and lines[3].startswith("no addresses: "),
             f"fault_counts: the addresses, or why there are none: {lines[3]}")


def coroutines(t):
    """Coroutine n walks n % 16 frames down, yields in each and at its end, and adds up n + the depth of each frame."""
    count, live = 20000, 500
    depths = [n % 16 for n in range(count)]
    switches = sum(d + 2 for d in depths)
    total = sum((d + 1) * n + d * (d + 1) // 2 for n, d in enumerate(depths))
    for name in ("coroutines", "coroutines_ucontext"):
        for without in ("", "madv_guard,process_madvise"):
            status, out, err = example(name, str(count), str(live), env=dict(os.environ, VMAT_WITHOUT=without))
            said = f"{name}{' without ' + without if without else ''}"
            err = re.sub(r"==\d+==WARNING: ASan doesn't fully support makecontext/swapcontext.*\n", "", err)
            t.is_((status, err), (0, ""), f"{said}: ends well")
            lines = out.splitlines()
            t.is_(lines[:1], [f"{count} coroutines on {live} stacks, {switches} switches, sum {total}"], f"{said}: all have run to their end")
            found = re.match(r"deepest stack (\d+) bytes; (\d+) guards without a mapping, (\d+) with$", lines[1])
            if t.ok(found, f"{said}: tells of its stacks", out):
                deepest, cheap, dear = (int(n) for n in found.groups())
                t.ok(16 * 1024 < deepest < 40 * 1024, f"{said}: sixteen frames of 1 KiB are its deepest stack", deepest)
                t.is_(cheap + dear, live, f"{said}: each stack has a guard")
            t.is_(lines[2:], ["a coroutine without an end: Segmentation fault"], f"{said}: the guard stops one without an end")


def recycle(t):
    """Fifteen pages: what was given back faults again, what was cleared or kept does not. A pool does what is the cheaper of the two
    on this machine. The kernel may take a page away at any time (to move it, say), so one run of five without that is enough."""
    want = {"nothing: the first use": (15, None), "MADV_NORMAL": (0, 0), "memset": (0, 15), "MADV_DONTNEED": (15, 15),
            "mmap over it": (15, 15), "a pool that keeps nothing": (15, 15)}
    for _ in range(5):
        status, out, err = example("recycle", env=dict(os.environ, VMAT_WITHOUT=""))
        rows = {name.strip(): (int(faults), int(zero) if zero else None)
                for name, faults, zero in re.findall(r"^(.{28}) +(\d+) faults(?:, +(\d+) of 15 pages were zero)?$", out, re.M)}
        free, pool = rows.pop("MADV_FREE", (0, 1)), rows.pop("a pool", (0, 0))
        if rows == want and free[0] == free[1] and pool in ((0, 15), (15, 15)):
            break
    t.is_((status, err), (0, ""), "recycle: ends well")
    t.is_(rows, want, "recycle: faults of each way")
    t.ok(pool in ((0, 15), (15, 15)), "recycle: a pool clears its pages or gives them back", pool)
    t.ok(free[0] == free[1], "recycle: MADV_FREE: what the kernel took faults again and is zero", free)
    costs = re.search(r"looking (\d+) \+ ([\d.]+) a page, clearing ([\d.]+) a page, a fault (\d+), giving back (\d+) \+ ([\d.]+) a page", out)
    shares = re.findall(r"^ *(\d+) KiB: above +([\d.]+) % instead of MADV_DONTNEED, above +([\d.]+) % instead of looking first, "
                        r"above +([\d.]+) % in batches of 32$", out, re.M)
    if not t.ok(costs and [int(s[0]) for s in shares] == [64, 4096, 65536], "recycle: costs, and shares for three sizes", out):
        return
    look, look_page, clear, fault, give, give_page = (float(n) for n in costs.groups())
    wrong = []
    for kib, *said in shares:
        pages = int(kib) // 4
        want = [(pages * clear - give) / (pages * (give_page + fault)), (pages * clear - look) / (pages * (look_page + clear)),
                (pages * clear - look / 32) / (pages * (look_page + clear))]
        want = [100 * min(1, max(0, share)) for share in want]
        wrong += [(kib, said, want)] if any(abs(float(s) - w) > 1.5 for s, w in zip(said, want)) else []
    t.is_(wrong, [], "recycle: the shares follow from the costs")


def image(t):
    """Money that is moved all the time is all there in each image, but for the unit that is on its way."""
    for way in ("fork", "protect"):
        status, out, err = example("image", way)
        if way == "protect" and status and re.search("Operation not (supported|permitted)", err):
            t.ok(True, "image: protect is not there, and that is said")
            continue
        t.ok(status == 0 and re.fullmatch(rf"{way}: whole; 8388608 bytes each; in the file [01] units are missing, in the pipe [01]\n", out),
             f"image: {way}: nothing is missing in the file nor in the pipe", f"{status} {out} {err}")
        found = re.search(r"in the file (\d) .* pipe (\d)", out)
        t.ok(found and found[1] == found[2], f"image: {way}: both sinks have the same image", out)


t = tap.Tap()
for section in (copied, coroutines, dirty, fault_counts, growing_buffer, image, recycle, size_grid):
    # A sanitizer has a malloc of its own, and touches its shadow of each page.
    if not (is_asan() and section in (fault_counts, size_grid)):
        t.section(section)
t.done()
