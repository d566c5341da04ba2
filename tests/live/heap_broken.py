#!/usr/bin/env python3
"""A heap that was written over is told as such: a finding with the address, a partial answer, and no endless walk."""
import os
import struct
import sys

sys.path.insert(0, os.path.join(os.environ["SRC"], "tests"))
import tap
from heap_check import Truth, heap

ONE = "arena_max=1"
t = tap.Tap()


def number(text):
    return int(text, 16)


def head(name, change, expect_partial):
    """The same for the main arena itself, in libc's data: it is found all the same. `change` is given its address."""
    with Truth(1, 20000, "m", (ONE,)) as running:
        with open(f"/proc/{running.pid}/mem", "r+b", buffering=0) as memory:
            addr = change(memory, main_arena(running.pid, memory))
        doc = heap(t, running.pid)
    t.ok(doc and doc["walked"] and doc["findings_total"] > 0, f"{name}: is a finding", doc and doc["why_not"])
    t.ok(addr in [number(f["addr"]) for f in doc["findings"]], f"{name}: with its address", f"0x{addr:x}, {doc['findings'][:4]}")
    t.ok(doc["totals"]["in_use"] > 20000 * 16, f"{name}: the rest is walked", doc["totals"])
    t.is_(doc["partial"], expect_partial, f"{name}: {'partial' if expect_partial else 'all was seen'}")


def words_of(memory, addr, count):
    memory.seek(addr)
    return struct.unpack(f"<{count}Q", memory.read(8 * count))


def main_arena(pid, memory):
    """Where a word of libc's data leads back to the arena that it is the `next` of, some 0x870 bytes before it."""
    with open(f"/proc/{pid}/maps", encoding="ascii") as file:
        lines = [line.split() for line in file]
    for line in lines:
        if line[1] != "rw-p" or "libc" not in line[-1]:
            continue
        start, end = (int(x, 16) for x in line[0].split("-"))
        for i, word in enumerate(words_of(memory, start, (end - start) // 8)):
            if start <= word and 0x840 <= start + 8 * i - word < 0x900 and word % 16 == 0:
                return word
    raise RuntimeError("libc's data has no arena that leads to itself")


def some_bins(memory, main):
    """Ten bins in a row that hold nothing lead to themselves; they are written over like by an array that was too short."""
    empty = [at for at in range(main, main + 0x840, 8) if words_of(memory, at, 2) == (at - 16, at - 16)]
    start = next(at for at in empty if all(at + 16 * i in empty for i in range(10)))
    for at in range(start, start + 160, 8):
        write(memory, at, 0x4343434343434343)
    return 0x4343434343434343


def ring_of_arenas(memory, main):
    """`next` of the only arena leads to itself; behind it stand next_free, attached_threads and what the system gave."""
    at = next(at for at in range(main + 0x800, main + 0x900, 8) if words_of(memory, at, 1)[0] == main)
    write(memory, at, 0x4444444444444440)
    return at


def broken(name, change, expect_partial, tunables=(ONE,)):
    """`change` is given the memory and the chunks by state; it returns the address that the finding must name, or None: any."""
    with Truth(1, 20000, "m", tunables) as running:
        chunks = {}
        for chunk in heap(t, running.pid, "--chunks")["chunks"]:
            chunks.setdefault(chunk["state"], []).append(chunk)
        with open(f"/proc/{running.pid}/mem", "r+b", buffering=0) as memory:
            addr = change(memory, chunks)
        doc = heap(t, running.pid)
    t.ok(doc and doc["walked"] and doc["findings_total"] > 0, f"{name}: is a finding", doc and doc["why_not"])
    found = [number(f["addr"]) for f in doc["findings"]]
    t.ok(addr is None or addr in found, f"{name}: with its address", f"0x{addr or 0:x}, {doc['findings'][:4]}")
    t.is_(doc["partial"], expect_partial, f"{name}: {'partial' if expect_partial else 'all was seen'}")


def write(memory, addr, value):
    memory.seek(addr)
    memory.write(value.to_bytes(8, "little"))


def middle(chunks, state):
    return number(chunks[state][len(chunks[state]) // 2]["addr"])


def size_field(memory, chunks):
    addr = middle(chunks, "in_use")
    write(memory, addr + 8, 0x4141414141414141)
    return addr


def zeroed(memory, chunks):
    """As after a memset too long: two headers are gone."""
    addr = middle(chunks, "in_use")
    write(memory, addr + 8, 8)
    return addr


def ring(memory, chunks):
    """A free chunk whose link leads to itself: its bin never ends."""
    addr = middle(chunks, "free")
    write(memory, addr + 16, addr)
    return addr


def astray(memory, chunks):
    addr = middle(chunks, "free")
    write(memory, addr + 16, 0x123456789000)
    return 0x123456789000


def back(memory, chunks):
    """Only the link back of a free chunk was written over, as by a block that was freed too early."""
    addr = middle(chunks, "free")
    write(memory, addr + 24, 0x4242424242424240)
    return addr


def fastbin_ring(memory, chunks):
    """A fastbin whose last chunk leads back to itself, mangled as glibc does."""
    addr = middle(chunks, "fastbin")
    write(memory, addr + 16, addr ^ (addr + 16) >> 12)
    return None


broken("a size field that leads nowhere", size_field, True)
broken("a size field smaller than a chunk", zeroed, True)
broken("a bin that leads to itself", ring, False)
broken("a bin that leads astray", astray, False)
broken("a link back that leads elsewhere", back, False)
head("bins of the main arena, written over", some_bins, False)
head("the list of arenas, written over", ring_of_arenas, True)
broken("a fastbin that leads to itself", fastbin_ring, False, (ONE, "tcache_count=0"))
t.done()
