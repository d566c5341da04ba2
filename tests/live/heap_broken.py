#!/usr/bin/env python3
"""A heap that was written over is told as such: a finding with the address, a partial answer, and no endless walk."""
import os
import sys

sys.path.insert(0, os.path.join(os.environ["SRC"], "tests"))
import tap
from heap_check import Truth, heap

ONE = "arena_max=1"
t = tap.Tap()


def number(text):
    return int(text, 16)


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


def fastbin_ring(memory, chunks):
    """A fastbin whose last chunk leads back to itself, mangled as glibc does."""
    addr = middle(chunks, "fastbin")
    write(memory, addr + 16, addr ^ (addr + 16) >> 12)
    return None


broken("a size field that leads nowhere", size_field, True)
broken("a size field smaller than a chunk", zeroed, True)
broken("a bin that leads to itself", ring, False)
broken("a bin that leads astray", astray, False)
broken("a fastbin that leads to itself", fastbin_ring, False, (ONE, "tcache_count=0"))
t.done()
