#!/usr/bin/env python3
"""What leaked blocks hold, against a C++ program that says which classes it lost, and how many of each.

With symbols, stripped, without run-time type information, static, not position independent. And --exclude-root against a library that alone
holds blocks; and JSON's sites, which are unknown with a reason.
"""
# timeout: 120
import json
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.environ["SRC"], "tests"))
import tap

VMATLAS = tap.VMATLAS
SOURCE = os.path.join(tap.SRC, "tests/factory/leak_classes.cc")
t = tap.Tap()


def leaks(pid, *options, **env):
    done = subprocess.run([VMATLAS, "leaks", "-J", *options, str(pid)], capture_output=True, text=True, timeout=60, env=dict(os.environ, **env))
    if done.returncode not in (0, 1):
        t.diag(done.stderr)
        return None
    return json.loads(done.stdout)


class Program:
    def __init__(self, path):
        self.path = path

    def __enter__(self):
        self.process = subprocess.Popen([self.path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.truth = json.loads(self.process.stdout.readline())
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()


def counts(doc):
    found = {}
    for leak in doc["leaks"]:
        found[leak["type"]] = found.get(leak["type"], 0) + 1
    return found


def judge(name, doc, truth, hidden=()):
    """Each class by its name, in its number; a stale word may keep one alive."""
    found = counts(doc)
    wrong = {n: (found.get(n, 0), c) for n, (c, _) in truth.items() if n not in hidden and not c - 1 <= found.get(n, 0) <= c}
    t.is_(wrong, {}, f"{name}: classes and contents as the program says")
    t.ok(not [n for n in found if n and n not in truth and n not in hidden and "of leak_classes" not in n and n != "pointers"],
         f"{name}: and no others", str(found))
    sizes = [l for l in doc["leaks"] if l["type"] in truth and not truth[l["type"]][1] <= l["size"] <= truth[l["type"]][1] + 24]
    t.is_(sizes, [], f"{name}: their sizes are those of the classes")
    t.is_(sum(g["count"] for g in doc["groups"]), doc["totals"]["direct_count"], f"{name}: groups sum up to the total count")
    t.is_(sum(g["bytes"] for g in doc["groups"]), doc["totals"]["direct_bytes"], f"{name}: and to the total bytes")
    keys = [(g["type"], g["size"]) for g in doc["groups"]]
    t.is_(len(keys), len(set(keys)), f"{name}: a group for each type and size")


def variants(folder):
    build = lambda name, *options: subprocess.run(["g++", "-O1", "-o", f"{folder}/{name}", *options, SOURCE], check=True)
    build("leak_classes", "-g")
    build("plain", "-no-pie")
    subprocess.run(["strip", f"{folder}/plain"], check=True)
    subprocess.run(["strip", "-o", f"{folder}/stripped", f"{folder}/leak_classes"], check=True)
    build("static", "-static")
    for name in ("leak_classes", "stripped", "plain", "static"):
        with Program(f"{folder}/{name}") as program:
            doc = leaks(program.truth["pid"])
        judge(name, doc, program.truth["types"])
    t.ok(all(l["site"] is None and l["unknown"]["site"] for l in doc["leaks"]), "sites are unknown, with a reason")
    texts = [l for l in doc["leaks"] if l["type"] == "text"]
    t.ok(texts and all(l["preview"] == "a lost text\x1b[31m" for l in texts), "the preview of a text is the text", str(texts[:2]))
    with Program(f"{folder}/stripped") as program:
        doc = leaks(program.truth["pid"], VMAT_WITHOUT="seccomp")
        raw = subprocess.run([VMATLAS, "leaks", "-w", "80", str(program.truth["pid"])], capture_output=True, text=True).stdout
        every = subprocess.run([VMATLAS, "leaks", "--all", "-w", "80", str(program.truth["pid"])], capture_output=True, text=True).stdout
    t.ok(doc and counts(doc).get("N4shop4BookE", 0) >= 29, "where no child can be locked up, names stay as memory has them", str(counts(doc)))
    t.ok("a lost text\\x1b" in every and "\x1b" not in every, "and a terminal is not steered by it", every[-2000:])
    t.ok("shop::Book" in raw and max(map(len, raw.splitlines()[1:])) <= 80, "the groups fit 80 columns", raw)
    # Without type_info the symbol of the table names the class; stripped, the class is not known, and nothing is made up.
    build("leak_classes", "-fno-rtti")
    with Program(f"{folder}/leak_classes") as program:
        judge("-fno-rtti", leaks(program.truth["pid"]), program.truth["types"])
        subprocess.run(["strip", "-o", f"{folder}/bare", f"{folder}/leak_classes"], check=True)
    with Program(f"{folder}/bare") as program:
        found = counts(leaks(program.truth["pid"]))
    t.ok(not [n for n in found if "shop" in n or "Circle" in n] and found.get("text"), "-fno-rtti and stripped: no class is made up", str(found))


HOLDER = """
#include <stdlib.h>
#include <string.h>
static void *volatile held[100];
static void *volatile big[2000];
void *where(void) { return (void *)big; }
void hold(void) { for (int i = 0; i < 100; i++) held[i] = memset(malloc(64), 'h', 64); }
void hold_big(void) { for (int i = 0; i < 2000; i++) big[i] = memset(malloc(500), 'b', 500); }
"""
MAIN = """
#include <stdio.h>
#include <unistd.h>
void hold(void); void hold_big(void); void *where(void);
int main(void) { volatile char room[4096]; hold(); hold_big(); for (int i = 0; i < 4096; i++) room[i] = 1;
  printf("{\\"pid\\": %d, \\"big\\": \\"%p\\"}\\n", (int)getpid(), where()); fflush(stdout); while (getchar() != EOF) ; return room[5] == 2; }
"""


def excluded(folder):
    open(f"{folder}/holder.c", "w").write(HOLDER)
    open(f"{folder}/main.c", "w").write(MAIN)
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", f"{folder}/libholder.so", f"{folder}/holder.c"], check=True)
    subprocess.run(["gcc", "-O1", "-o", f"{folder}/user", f"{folder}/main.c", f"-L{folder}", "-lholder", f"-Wl,-rpath,{folder}"], check=True)
    with Program(f"{folder}/user") as program:
        pid, big = program.truth["pid"], int(program.truth["big"], 16)
        none = leaks(pid)
        by_name = leaks(pid, "--exclude-root", "libholder.so")
        by_path = leaks(pid, "--exclude-root", f"{folder}/libholder.so")
        by_range = leaks(pid, "--exclude-root", f"{big:x}+16000")
        twice = leaks(pid, "--exclude-root", f"{big:x}+8000", "--exclude-root", f"{big + 8000:x}+4000")
        wrong = subprocess.run([VMATLAS, "leaks", "--exclude-root", "libnothing.so", str(pid)], capture_output=True, text=True)
    t.is_(none["totals"]["direct_count"], 0, "a library holds blocks: no leak")
    for name, doc, least in (("by its name", by_name, 2100), ("by its path", by_path, 2100), ("a range of its bss", by_range, 2000), ("two ranges", twice, 1500)):
        # A register or a dead slot of the stack may still hold one.
        t.ok(doc and least - 3 <= doc["totals"]["direct_count"] <= least, f"excluded {name}: all that only it holds has leaked", str(doc and doc["totals"]))
    t.ok(wrong.returncode == 2 and "libnothing.so" in wrong.stderr, "a name that fits nothing is a mistake", wrong.stderr)


with tempfile.TemporaryDirectory(prefix="vmatlas-types.") as folder:
    variants(folder)
    excluded(folder)
t.done()
