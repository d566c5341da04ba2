#!/usr/bin/env python3
"""heap --map: the cells of the strip against the sums of the same heap, and the picture against the cells."""
# timeout: 60
import json
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.environ["SRC"], "tests"))
import tap

VMATLAS = tap.VMATLAS
TRUTH = os.path.join(tap.BUILD, "tests/factory/heap_truth")
SIGNS = {"UTF-8": "█▓▒░·╌ ", "ASCII": "#%=-.~ "}
t = tap.Tap()


def run(*args, locale="C.UTF-8"):
    done = subprocess.run([VMATLAS, "heap", *map(str, args)], capture_output=True, timeout=60, env=dict(os.environ, LC_ALL=locale, COLUMNS="80"))
    return done.returncode, done.stdout.decode()


def sign_of(cell):
    """As the manual says it: the share in use, else what the rest is."""
    idle = cell["cached"] + cell["free"] + cell["top"]
    share = cell["in_use"] / (cell["in_use"] + idle)
    if share:
        return 0 if share == 1 else 1 if share >= 5 / 8 else 2 if share >= 3 / 8 else 3
    return 6 if cell["absent"] == idle else 5 if cell["top"] > cell["free"] + cell["cached"] else 4


def judge(name, pid):
    heap = json.loads(run("-J", pid)[1])
    doc = json.loads(run("--map", "-J", "-w", 80, pid)[1])
    cells, arenas, totals = doc["cells"], [a for a in heap["arenas"] if a["id"]], heap["totals"]
    total = lambda key: sum(c[key] for c in cells)
    t.is_((total("in_use") + doc["mapped_bytes"], total("free"), total("top"), total("cached")),
          (totals["in_use"], totals["free"], totals["top"], totals["tcache"] + totals["fastbin"]), f"{name}: cells sum up to the heap")
    for arena in arenas:
        own = [c for c in cells if c["arena"] == arena["id"]]
        t.is_([sum(c[k] for c in own) for k in ("in_use", "free", "top")], [arena[k] for k in ("in_use", "free", "top")],
              f"{name}: those of one arena to that arena")
    size = doc["cell_bytes"]
    t.ok(size & (size - 1) == 0 and all(0 < c["in_use"] + c["free"] + c["cached"] + c["top"] <= size for c in cells), f"{name}: no cell holds more")
    t.ok(all(c["absent"] <= c["in_use"] + c["free"] + c["cached"] + c["top"] for c in cells), f"{name}: nor lacks more")
    for kind, locale in (("UTF-8", "C.UTF-8"), ("ASCII", "C")):
        code, text = run("--map", "-w", 80, pid, locale=locale)
        lines = text[text.index("Each sign"):].splitlines()
        drawn = [line for line in lines if len(line) > 16 and line[14:16] == "  " and line[2:14].strip() and
                 all(c in "0123456789abcdef" for c in line[:14].strip())]
        picture = "".join(line[16:] for line in drawn)
        t.ok(code == 0 and max(map(len, lines)) <= 80, f"{name}: {kind}: fits 80 columns", text)
        t.is_(picture, "".join(SIGNS[kind][sign_of(c)] for c in cells), f"{name}: {kind}: a sign for each cell, and the right one")
        t.ok(kind == "UTF-8" or text.isascii(), f"{name}: {kind}: nothing else in another locale")
    code, text = run("--map", "--color", "always", "-w", 80, pid)
    t.ok("\033[33m" in text and text.count("\033[0m") >= text.count("\n  "), f"{name}: colours, and each line ends without")
    t.is_(run("--map", "--color", "always", "-w", 80, pid)[1].replace("\033[0m", "").replace("\033[33m", "").replace("\033[32m", "").replace("\033[2m", "").split("Each")[1],
          run("--map", "-w", 80, pid)[1].split("Each")[1], f"{name}: which say nothing that the signs do not")
    return cells, size


def mistakes(pid):
    t.is_(run("--map", "--chunks", pid)[0], 2, "--map and --chunks exclude each other")
    t.is_(run("--map", "--cell", "0", pid)[0], 2, "no cell without bytes")
    t.is_(run("--map", "--cell", "16", pid)[0], 2, "nor one smaller than 64")
    fine = json.loads(run("--map", "--cell", "1000", "-J", pid)[1])
    t.ok(fine["cell_bytes"] == 1000 and sum(int(c["start"], 16) % 1000 != 0 for c in fine["cells"]) <= 4, "cells of any size, at its multiples")


with tempfile.TemporaryDirectory(prefix="vmatlas-strip.") as folder:
    for name, threads, blocks, kind in (("one thread", "1", "60000", "m"), ("4 threads", "4", "20000", "s")):
        with subprocess.Popen([TRUTH, threads, blocks, kind, f"{folder}/list"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            pid = json.loads(process.stdout.readline())["pid"]
            judge(name, pid)
            if threads == "1":
                before = sum(c["absent"] for c in json.loads(run("--map", "-J", pid)[1])["cells"])
                process.stdin.write("t\n")
                process.stdin.flush()
                process.stdout.readline()
                after = sum(c["absent"] for c in json.loads(run("--map", "-J", pid)[1])["cells"])
                t.ok(after > before, "what malloc_trim gave back is absent", f"{before} {after}")
                mistakes(pid)
            process.stdin.close()
t.done()
