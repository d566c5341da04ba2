#!/usr/bin/env python3
# serial
"""The huge buffer with a pool of 40 huge pages: ascending frames, extents that are pagemap's, every page given back, also when each of
its system calls fails, without rights and in each fallback. vm.nr_hugepages is put back; the test runs alone because others see it."""
import contextlib
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.environ["SRC"], "tests", "hostile"))
from _prim import check  # noqa: E402
import tap  # noqa: E402

SETTING = "/proc/sys/vm/nr_hugepages"
FREE = "/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages"
GIGANTIC = "/sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages"
UNIT = os.path.join(tap.BUILD, "tests/unit/prim_hugebuf_test")
EXAMPLE = os.path.join(tap.BUILD, "examples/huge_buffer")
WANTED, NOBODY = 40, 65534


def number(path):
    with open(path, encoding="ascii") as file:
        return int(file.read())


@contextlib.contextmanager
def more_huge_pages(setting, count):
    """Gives "", or why there are not more."""
    try:
        before = number(setting)
    except OSError as error:
        yield f"{os.path.basename(setting)} cannot be read: {error.strerror}"
        return
    why = ""
    try:
        with open(setting, "w", encoding="ascii") as file:
            file.write(str(before + count))
        got = number(setting) - before
        if got < count:
            why = f"the kernel gives {got} huge pages of {count}"
    except OSError as error:
        why = f"vm.nr_hugepages cannot be raised: {error.strerror}"
    try:
        yield why
    finally:
        with contextlib.suppress(OSError):
            with open(setting, "w", encoding="ascii") as file:
                file.write(str(before))


def unit(t):
    for without in ("", "page_frames", "madv_populate", "all"):
        for user in ({}, {"user": NOBODY, "group": NOBODY, "extra_groups": []}):
            done = subprocess.run([tap.for_everyone(UNIT)], capture_output=True, text=True, timeout=100, cwd="/",
                                  env={**os.environ, "VMAT_WITHOUT": without}, **user)
            said = f"unit test as {'nobody' if user else 'root'} without {without or 'nothing'}"
            t.ok(done.returncode == 0 and "SKIP" not in done.stdout + done.stderr, said, done.stdout + done.stderr)


def example(t):
    done = subprocess.run([EXAMPLE, "16"], capture_output=True, text=True, timeout=100)
    t.is_((done.returncode, done.stderr), (0, ""), "huge_buffer ends well")
    t.ok(done.stdout.startswith("16 MiB of pages of 2048 KiB, in ascending order\n"), "huge_buffer: sorted", done.stdout)
    extents = [(int(a, 16), int(b), int(c, 16)) for a, b, c in re.findall(r"\+(0x\w+|0) (\d+) KiB at physical (0x\w+)", done.stdout)]
    t.is_(sum(kib for _, kib, _ in extents), 16 << 10, "huge_buffer: the extents are all of it")
    t.ok([p for _, _, p in extents] == sorted(p for _, _, p in extents), "huge_buffer: ascending", extents)
    sizes = re.findall(r"^KernelPageSize: +(\d+) kB$", done.stdout, re.M)
    t.ok(sizes and set(sizes) == {"2048"}, "huge_buffer: smaps says KernelPageSize 2048 kB", done.stdout)


def failing(t):
    before = number(FREE)
    check(t, "hugebuf")
    t.is_(number(FREE), before, "hugebuf: the pool has all its pages again")


def gigantic(t):
    with more_huge_pages(GIGANTIC, 1) as why:
        if why:
            t.skip("hugebuf: gigantic", why)
            return
        done = subprocess.run([EXAMPLE, "1000"], capture_output=True, text=True, timeout=100)
        t.is_((done.returncode, done.stderr), (0, ""), "huge_buffer: ends well with a 1 GiB page")
        t.ok(done.stdout.startswith("1024 MiB of pages of 1048576 KiB, in ascending order\n  +0 1048576 KiB at physical"),
             "huge_buffer: one extent", done.stdout)


t = tap.Tap()
if os.geteuid():
    t.skip("hugebuf: all", "vm.nr_hugepages cannot be raised: needs root")
else:
    with more_huge_pages(SETTING, WANTED) as why:
        for section in (unit, example, failing, gigantic):
            if why:
                t.skip(f"hugebuf: {section.__name__}", why)
            else:
                t.section(section)
t.done()
