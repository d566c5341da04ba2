#!/usr/bin/env python3
"""Hostile ELF files: symbols are unknown, or right; nothing crashes, hangs, or takes memory without end.

The parser runs in a child without rights, whose death is an answer. So what is checked is the parent: its exit status, its time, and the
memory of the child.
"""
# timeout: 120
import os
import random
import resource
import struct
import subprocess
import sys
import tempfile
import time
import zlib

sys.path.insert(0, os.path.join(os.environ["SRC"], "tests"))
import tap
from _vmatlas import is_asan

AT = os.path.join(tap.BUILD, "tests/factory/symbols_at")
LAYOUT = os.path.join(tap.BUILD, "tests/factory/layout_at")
ASKED = "".join(f"{a:x}\n" for a in (0, 0x1000, 0x4010, 0x401000, 0xffffffffffffffff))
t = tap.Tap()


def ask(path, asked=ASKED):
    begin = time.monotonic()
    done = subprocess.run([AT, path], input=asked, capture_output=True, text=True, timeout=30)
    seconds = time.monotonic() - begin
    types = subprocess.run([LAYOUT, path, "global", "global.field", "main"], capture_output=True, text=True, timeout=30)
    return types.returncode if types.returncode not in (0, 1) else done.returncode, done.stdout, seconds


def sections(data):
    """{name: offset of its header}"""
    offset, = struct.unpack_from("<Q", data, 0x28)
    size, count, names = struct.unpack_from("<HHH", data, 0x3A)
    at, = struct.unpack_from("<Q", data, offset + names * size + 0x18)
    found = {}
    for i in range(count):
        name = at + struct.unpack_from("<I", data, offset + i * size)[0]
        found[data[name:data.index(b"\0", name)].decode()] = offset + i * size
    return found


def bomb(data, real_size, claimed):
    """The same file with a .debug_info that is compressed: real_size zeroes, said to be `claimed`."""
    packer = zlib.compressobj(1)
    packed = b"".join(packer.compress(bytes(1 << 20)) for _ in range(real_size >> 20)) + packer.flush()
    body = struct.pack("<IIQQ", 1, 0, claimed, 1) + packed
    data = bytearray(data)
    header = sections(data)[".debug_info"]
    flags, = struct.unpack_from("<Q", data, header + 8)
    struct.pack_into("<Q", data, header + 8, flags | 0x800)
    struct.pack_into("<QQ", data, header + 0x18, len(data), len(body))
    return bytes(data) + body


with tempfile.TemporaryDirectory(prefix="vmatlas-elf.") as folder:
    open(f"{folder}/a.c", "w").write("int global[64] = { 1 };\nint main(void) { return global[0]; }\n")
    subprocess.run(["gcc", "-g", "-no-pie", "-o", f"{folder}/a", f"{folder}/a.c"], check=True)
    good = open(f"{folder}/a", "rb").read()
    address = next(line.split()[0] for line in subprocess.run(["nm", f"{folder}/a"], capture_output=True, text=True).stdout.splitlines()
                   if line.endswith(" global"))
    path = f"{folder}/bad"

    def check(name, data, asked=ASKED, codes=(0, 1), longest=8):
        open(path, "wb").write(data)
        code, text, seconds = ask(path, asked)
        return (name, code, text) if code not in codes or seconds > longest or not text else None

    t.ok("global" in ask(f"{folder}/a", address + "\n")[1], "the file as it was: its symbol is found")
    bad = [check(f"cut at {size}", good[:size]) for size in (0, 1, 4, 16, 63, 64, 65, 500, *range(1000, len(good), len(good) // 25))]
    t.is_([b for b in bad if b], [], "cut files")
    random.seed(4)
    bad = []
    for i in range(120):
        data = bytearray(good)
        table = struct.unpack_from("<Q", data, 0x28)[0]
        for _ in range(4):
            # Headers, section headers, or anywhere: where a byte does most.
            at = random.choice((random.randrange(64), random.randrange(64, 700), random.randrange(table, len(data)), random.randrange(len(data))))
            data[at] = random.choice((0, 1, 0x7F, 0x80, 0xFF, random.randrange(256)))
        bad.append(check(f"flipped {i}", bytes(data)))
    t.is_([b for b in bad if b], [], "120 files with bytes flipped")
    huge = bytearray(good)
    struct.pack_into("<Q", huge, sections(huge)[".symtab"] + 0x20, 1 << 62)
    t.is_(check("", bytes(huge)), None, "a symbol table of 2^62 bytes")
    huge = bytearray(good)
    struct.pack_into("<H", huge, 0x3C, 0xFFFF)
    t.is_(check("", bytes(huge)), None, "65535 sections")
    for name, real, claimed in (("claims 1 TiB", 1 << 20, 1 << 40), ("claims less than it has", 64 << 20, 4096), ("600 MiB", 600 << 20, 600 << 20)):
        open(path, "wb").write(bomb(good, real, claimed))
        code, text, seconds = ask(path, address + "\n")
        t.ok(code == 0 and text.split()[-1] == "global" and text.split()[5] == "-" and seconds < 8,
             f"compressed DWARF that {name}: the symbol is known, its source is not", f"{code} {text} {seconds}")
    if not is_asan():
        t.ok(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss < 700 << 10, "no child took more than 700 MiB",
             str(resource.getrusage(resource.RUSAGE_CHILDREN)))
    open(path, "wb").write(good)
    os.truncate(path, 1 << 40)
    t.is_(ask(path)[0] in (0, 1), True, "a sparse file of 1 TiB")
t.done()
