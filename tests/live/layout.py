#!/usr/bin/env python3
"""Layouts of variables and types by name, against the compiler: a program prints its own offsetof and sizeof; others are asked by objdump.

Of gcc and clang, DWARF 2 to 5, 64 and 32 bits, position independent or not; without debug information, and stripped.
"""
# timeout: 120
import os
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.environ["SRC"], "tests"))
import tap

AT = os.path.join(tap.BUILD, "tests/factory/layout_at")
t = tap.Tap()

SOURCE = """
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
enum colour { RED, GREEN };
struct leaf { char tag; union { long number; struct { short low, high; }; }; unsigned bits : 3; struct node *back; };
struct node { volatile uint8_t kind; const struct leaf *leaf; struct leaf leaves[3]; signed char name[12]; enum colour colour;
              struct { uint16_t x; int32_t y; } at; void *any; double size; uint64_t grid[4][5]; };
typedef struct node node_t;
typedef struct { int first; node_t *second; } unnamed_t;
node_t *volatile current;
static node_t *list[7];
static const node_t fixed;
static int64_t counter = 5;
static unnamed_t last;
struct later;
static struct later *incomplete;
static unsigned char heap[1000] = { 1 };
#define MEMBER(path, type, member) printf(path " %zu %zu %zu\\n", offsetof(type, member), sizeof(((type *)0)->member), sizeof(type))
#define VARIABLE(name) printf(#name " %zu %zu %zu\\n", (size_t)&name - base, sizeof(name), sizeof(name))
int main(int argc, char **argv)
{
    extern char __executable_start[];
    size_t base = argc > 1 ? (size_t)__executable_start : 0;
    list[0] = current; last.first = counter + heap[0] + (incomplete == 0) + fixed.kind;
    MEMBER("current.kind", node_t, kind); MEMBER("current.leaf", node_t, leaf); MEMBER("current.leaves", node_t, leaves);
    MEMBER("current.name", node_t, name); MEMBER("current.colour", node_t, colour); MEMBER("current.at.y", node_t, at.y);
    MEMBER("current.any", node_t, any); MEMBER("current.size", node_t, size); MEMBER("current.grid", node_t, grid);
    MEMBER("list.name", node_t, name); MEMBER("fixed.at.x", node_t, at.x); MEMBER("current.leaf.number", struct leaf, number);
    MEMBER("current.leaf.high", struct leaf, high); MEMBER("current.leaf.back", struct leaf, back);
    MEMBER("current.leaf.back.name", node_t, name); MEMBER("node_t.name", node_t, name); MEMBER("unnamed_t.second", unnamed_t, second);
    MEMBER("leaf.back", struct leaf, back);
    VARIABLE(current); VARIABLE(list); VARIABLE(fixed); VARIABLE(counter); VARIABLE(last); VARIABLE(heap); VARIABLE(incomplete);
    return 0;
}
"""
KINDS = {"current.kind": "integer", "current.leaf": "pointer", "current.leaves": "struct", "current.name": "integer", "current.colour":
         "integer", "current.size": "other", "counter": "integer", "last": "struct", "heap": "integer", "list": "pointer",
         "incomplete": "pointer"}
COUNTS = {"current.leaves": 3, "current.name": 12, "list.name": 12, "current.leaf.back.name": 12, "node_t.name": 12, "current.grid": 20, "list": 7, "heap": 1000}


def ask(path, *names):
    done = subprocess.run([AT, path, *names], capture_output=True, text=True, timeout=60)
    rows = [line.split() for line in done.stdout.splitlines()]
    return done.returncode, rows[0], {row[0]: row[1:] for row in rows[1:]}


def against_program(folder, name, compiler, options):
    path = f"{folder}/{name}"
    made = subprocess.run([compiler, *options, "-x", "c", "-", "-o", path], input=SOURCE, capture_output=True, text=True)
    if made.returncode:
        t.skip(f"{name}: layouts", f"{compiler} cannot build it")
        return None
    # Addresses of the file: with the address that the program begins at taken off, where it is moved.
    moved = ["moved"] if "-no-pie" not in options else []
    truth = {row[0]: [int(n) for n in row[1:]] for row in
             (line.split() for line in subprocess.run([path, *moved], capture_output=True, text=True).stdout.splitlines())}
    _, head, said = ask(path, *truth)
    wrong = []
    for key, (place, size, holder) in truth.items():
        kind, addr, symbol_size, offset, one, count, its_holder, _, _, _ = said[key]
        whole = int(one) * int(count) if one != "-" else None
        if "." in key and [offset, whole, its_holder] != [str(place), size, str(holder)]:
            wrong.append(f"{key}: {said[key]}, should be {place} {size} {holder}")
        if "." not in key and [addr, symbol_size, whole] != [str(place), str(size), size]:
            wrong.append(f"{key}: {said[key]}, should be at {place}, {size} bytes")
        if kind != KINDS.get(key, kind) or count != str(COUNTS.get(key, 1)):
            wrong.append(f"{key}: {kind}, {count} elements")
    t.ok(len(truth) == 25 and head[:3] == ["symbols", "types", "little"] and not wrong, f"{name}: layouts as the program has them",
         f"{head} {len(truth)}\n" + "\n".join(wrong))
    return path


def builds(folder):
    path = None
    for version in (2, 4, 5):
        path = against_program(folder, f"gcc-dwarf{version}", "gcc", [f"-gdwarf-{version}", "-O0"]) or path
    against_program(folder, "gcc-O2-no-pie", "gcc", ["-g", "-O2", "-no-pie"])
    against_program(folder, "gcc-32", "gcc", ["-g", "-m32"])
    if shutil.which("clang-14"):
        against_program(folder, "clang", "clang-14", ["-gdwarf-5"])
    return path


def details(path):
    _, _, said = ask(path, "current.name", "current.kind", "current.leaf", "current.any", "incomplete", "current.leaf.bits", "nobody",
                     "current.nobody", "counter.nobody", "heap", "current", "node_t", "main")
    t.is_([said["current.name"][8], said["current.kind"][8], said["heap"][9], said["current"][9]], ["signed", "unsigned", "array", "one"],
          "signs and arrays")
    t.ok(said["current.leaf"][7] == "32" or said["current.leaf"][7].isdigit(), "what a pointer points at has a size", said["current.leaf"])
    t.ok(said["current.any"][7] == said["incomplete"][7] == "-", "void and incomplete types have none")
    t.is_(said["current.leaf.bits"][0], "other", "a bit field is no number of bytes")
    unknown = ["untyped"] + ["-"] * 7 + ["unsigned", "one"]
    t.is_([said[name] for name in ("nobody", "current.nobody", "counter.nobody", "node_t")], [unknown] * 4, "what is not there")
    t.ok(said["main"][0] == "untyped" and said["main"][1] != "-", "a function has an address and is no datum", str(said["main"]))


def without(folder, path):
    for name, options, want in (("no types", ["--strip-debug"], ["symbols", "-"]), ("nothing", ["--strip-all"], ["-", "-"])):
        stripped = f"{folder}/{options[0]}"
        subprocess.run(["strip", *options, "-o", stripped, path], check=True)
        _, head, said = ask(stripped, "counter", "current.name")
        known = want[0] == "symbols"
        t.ok(head[:2] == want and (said["counter"][1] != "-") == known and said["current.name"][3] == "-", f"stripped: {name}", str(said))
    open(folder + "/text", "w").write("no ELF file at all\n" * 100)
    t.is_(ask(folder + "/text", "x")[0], 1, "what is no ELF file")


with tempfile.TemporaryDirectory(prefix="vmatlas-layout-") as place:
    built = builds(place)
    t.section(lambda _: details(built))
    t.section(lambda _: without(place, built))
t.done()
