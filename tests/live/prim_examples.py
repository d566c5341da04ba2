#!/usr/bin/env python3
"""The examples of libvmatlas say what is so: their output against what the test knows, or the kernel says."""
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.environ["SRC"], "tests"))
import tap


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


t = tap.Tap()
for section in (growing_buffer,):
    t.section(section)
t.done()
