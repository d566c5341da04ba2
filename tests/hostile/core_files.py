#!/usr/bin/env python3
"""Core files that are broken: refused with exit status 6 and a reason, or answered and called partial; never a crash or a hang.

A share of the flipped-byte cores of core_files_full.py, each size class of truncation, and cores that claim more than they are.
"""
# timeout: 200
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.environ["SRC"], "tests", "hostile"))
import _cores
import tap

t = tap.Tap()
folder = tempfile.mkdtemp(prefix="vmatlas-cores-")


def ask(command, path):
    begun = time.monotonic()
    done = subprocess.run([tap.VMATLAS, command, "-J", path], capture_output=True, text=True, timeout=60)
    return done, time.monotonic() - begun


def truncated():
    """Cut within the header, the program headers, the notes, and the memory."""
    path = _cores.make(folder)[0][1]
    whole = os.path.getsize(path)
    with open(path, "rb") as file:
        head = file.read(64)
        count, = struct.unpack_from("<H", head, 56)
        note_offset, note_size = struct.unpack("<QQ", file.read(48)[8:16] + os.pread(file.fileno(), 8, 64 + 32))
    sizes = [0, 1, 15, 16, 63, 64, 100, 64 + 56, 64 + 56 * count // 2, 64 + 56 * count, note_offset + 8, note_offset + 400, note_offset + note_size // 2,
             note_offset + note_size, whole // 64, whole // 8, whole // 2, whole - 4096, whole - 1]
    for size in sizes:
        cut = folder + "/cut"
        shutil.copy(path, cut)
        os.truncate(cut, size)
        for command in ("map", "stacks", "heap", "leaks"):
            done, _ = ask(command, cut)
            doc = json.loads(done.stdout) if done.stdout else None
            refused = done.returncode == 6 and done.stderr
            lacking = done.returncode == 5 and command in ("heap", "leaks") and done.stderr and doc["partial"]
            partial = done.returncode in (0, 1) and doc["partial"] and "cut off" in doc["partial_why"]
            t.ok(refused or partial or lacking, f"{command}: cut at {size} of {whole}: refused, or called partial", f"{done.returncode} {done.stderr}")
        os.unlink(cut)


def write(name, data, size=None):
    path = f"{folder}/{name}"
    with open(path, "wb") as file:
        file.write(data)
        if size:
            file.truncate(size)
    return path


def header(count, phnum, section=0):
    return (b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HHIQQQIHHHHHH", 4, 62, 1, 0, 64, section, 0, 64, 56, phnum, 64, bool(section), 0))


def claims():
    """Numbers that are larger than the file, and one that is just large."""
    count = 70000
    loads = b"".join(struct.pack("<IIQQQQQQ", 1, 6, 0, 0x10000 + 8192 * i, 0, 0, 4096, 4096) for i in range(count))
    section = 64 + len(loads)
    many = write("many", header(count, 0xffff, section) + loads + struct.pack("<IIQQQQIIQQ", 0, 0, 0, 0, 0, 1, 0, count, 0, 0))
    done, _ = ask("map", many)
    t.is_(len(json.loads(done.stdout)["regions"]), count, "70,000 regions, counted in the section header (PN_XNUM): all are there")
    t.ok(all(r["rss"] is None for r in json.loads(done.stdout)["regions"]), "and of none is said what it holds")
    # A sparse file that is as large as it says: 4 billion headers of nothing.
    huge = write("huge", header(0, 0xffff, 64) + struct.pack("<IIQQQQIIQQ", 0, 0, 0, 0, 0, 1, 0, 0xffffffff, 0, 0), 300 << 30)
    done, took = ask("map", huge)
    t.ok(done.returncode == 6 and took < 30, "4 billion program headers in a sparse file: refused, soon", f"{took:.1f} s {done.stderr}")
    note = struct.pack("<IIQQQQQQ", 4, 0, 4096, 0, 0, 200 << 30, 0, 4)
    load = struct.pack("<IIQQQQQQ", 1, 6, 8192, 0x10000, 0, 250 << 30, 250 << 30, 4096)
    zeroes = write("zeroes", header(2, 2) + note + load, 300 << 30)
    for command in ("map", "stacks", "heap", "leaks"):
        done, took = ask(command, zeroes)
        t.ok(done.returncode in (0, 5, 6) and took < 30, f"{command}: 200 GiB of empty notes and 250 GiB of holes: soon", f"{took:.1f} s {done.stderr}")


t.section(lambda _: truncated())
t.section(lambda _: claims())
t.section(lambda _: _cores.flip(t, 400, 1))
shutil.rmtree(folder, ignore_errors=True)
t.done()
