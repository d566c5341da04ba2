#!/usr/bin/env python3
"""Symbols, against nm: every symbol that nm knows is found at its first and at its last byte, under one of its names.

Source files against what the compiler was given: by DWARF, from a separate debug file, by the symbol table alone.
"""
# timeout: 120
import os
import re
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.environ["SRC"], "tests"))
import tap

AT = os.path.join(tap.BUILD, "tests/factory/symbols_at")
t = tap.Tap()


def ask(addrs, *files, **env):
    done = subprocess.run([AT, *files], input="\n".join(f"{a:x}" for a in addrs), capture_output=True, text=True, timeout=60,
                          env=dict(os.environ, **env))
    return done.returncode, [line.split(" ", 6) for line in done.stdout.splitlines()]


def nm(path, *options):
    """{address: (size, {names})} of what has a size and a place."""
    found = {}
    text = subprocess.run(["nm", "-S", "-C", "--defined-only", *options, path], capture_output=True, text=True, check=True).stdout
    for line in text.splitlines():
        match = re.fullmatch(r"([0-9a-f]+) ([0-9a-f]+) ([TtDdBbRrWwVvui]) (.*)", line)
        if match and int(match[2], 16):
            addr, size = int(match[1], 16), int(match[2], 16)
            name = re.sub(r"@@?[\w.]+$", "", match[4])
            found.setdefault(addr, {}).setdefault(size, set()).add(name if len(name) < 256 else name[:252] + "...")
    return found


def tls_of(path):
    """Names of thread-local symbols: their values are no addresses."""
    text = subprocess.run(["readelf", "-sW", path], capture_output=True, text=True).stdout
    return {int(line.split()[1], 16) for line in text.splitlines() if " TLS " in line}


def against_nm(name, path, *options):
    table, tls = nm(path, *options), tls_of(path)
    asked, wanted = [], []
    for addr, sizes in table.items():
        if addr not in tls:
            for size, names in sizes.items():
                asked += [addr, addr + size - 1]
                wanted += [(addr, size, names)] * 2
    wrong = []
    for first in range(0, len(asked), 60000):
        code, answers = ask(asked[first:first + 60000], path)
        for addr, answer, want in zip(asked[first:], answers, wanted[first:]):
            # A symbol may lie inside of another: then it must be one that nm has there, too.
            begin = int(answer[1], 16) if answer[1] != "-" else -1
            ok = begin in table and addr < begin + int(answer[2]) and answer[6] in table[begin].get(int(answer[2]), ())
            if not ok or begin < want[0]:
                wrong.append((hex(addr), answer, want))
    t.ok(len(asked) > 100 and not wrong, f"{name}: {len(asked) // 2} symbols as nm has them", str(wrong[:5]))


def sources(folder):
    open(f"{folder}/server.c", "w").write("""
int cache[100] = { 1 };
static int hidden[50] = { 2 };
int *use(int i) { static int inner[20] = { 3 }; return i ? &hidden[i] : inner; }
""")
    open(f"{folder}/shop.cc", "w").write("""
namespace shop { struct Item { virtual ~Item() {} int price = 1; }; Item stock[10]; template <class T> struct Box { static T slot; };
template <class T> T Box<T>::slot = 5; int probe(int i) { return Box<int>::slot + i; } }
extern "C" int *use(int);
int main(int argc, char **) { return *use(argc) + shop::probe(argc); }
""")
    run = lambda *a: subprocess.run(a, check=True, cwd=folder, stdout=subprocess.DEVNULL)
    for compiler, options in (("gcc", []), ("clang-14", ["-gdwarf-5"])):
        if compiler == "clang-14" and not os.path.exists("/usr/bin/clang-14"):
            t.diag("clang-14 is not installed")
            continue
        run(compiler, "-g", *options, "-O1", "-c", "server.c", "-o", "server.o")
        run("g++", "-g", "-O1", "-Wl,--build-id", "-o", "program", "shop.cc", "server.o")
        table = {n: (addr, size) for addr, sizes in nm(f"{folder}/program").items() for size, names in sizes.items() for n in names}
        inner = next(n for n in table if n.startswith("inner") or n == "use.inner")
        wanted = {"cache": "server.c", "hidden": "server.c", inner: "server.c", "use": "server.c", "shop::stock": "shop.cc",
                  "shop::Box<int>::slot": "shop.cc", "shop::probe(int)": "shop.cc", "main": "shop.cc"}
        asked = [table[n][0] + table[n][1] // 2 for n in wanted]
        got = {a[6]: a[5] for a in ask(asked, f"{folder}/program")[1]}
        t.is_(got, wanted, f"{compiler}: source files by DWARF")
    run("objcopy", "--only-keep-debug", "program", "program.debug")
    run("strip", "-o", "stripped", "program")
    run("gcc", "-O1", "-c", "server.c", "-o", "plain.o")
    run("g++", "-O1", "-o", "without-dwarf", "shop.cc", "plain.o")
    got = {a[6]: a[5] for a in ask(asked, f"{folder}/stripped", f"{folder}/program.debug")[1]}
    t.is_(got, wanted, "a stripped program and its debug file")
    code, got = ask(asked, f"{folder}/stripped")
    t.ok(code == 0 and all(a[6] not in wanted or a[3] == "near" for a in got), "stripped: no names, or as near", str(got))
    t.is_([a[4] for a in got][0], ".data", "stripped: the section is still known")
    run("g++", "-g", "-O2", "-Wl,--build-id", "-o", "other", "shop.cc", "server.o")
    run("objcopy", "--only-keep-debug", "other", "other.debug")
    code, got = ask(asked, f"{folder}/stripped", f"{folder}/other.debug")
    t.ok(code == 0 and all(a[6] not in wanted or a[3] == "near" for a in got), "a debug file of another build is not believed", str(got))
    plain = {n: addr for addr, sizes in nm(f"{folder}/without-dwarf").items() for names in sizes.values() for n in names}
    got = {a[6]: a[5] for a in ask([plain["hidden"], plain["cache"]], f"{folder}/without-dwarf")[1]}
    t.is_((got["hidden"], got["cache"]), ("server.c", "-"), "without DWARF: the symbol table knows the file of a static object only")
    code, got = ask(asked, f"{folder}/program", VMAT_WITHOUT="seccomp")
    t.ok(code == 1 and "seccomp" in " ".join(got[0]), "where no child can be locked up, symbols are unknown, and why", str(got))


libc = subprocess.run(["sh", "-c", "ldd /bin/sh | awk '/libc.so/{print $3}'"], capture_output=True, text=True).stdout.strip()
against_nm("libc, dynamic symbols", libc, "-D")
against_nm("a program of ours, all symbols", AT)
if os.path.exists("/usr/bin/gdb"):
    against_nm("libstdc++, C++ names", next(p for p in [subprocess.run(["g++", "-print-file-name=libstdc++.so"], capture_output=True,
                                                                        text=True).stdout.strip()]), "-D")
with tempfile.TemporaryDirectory(prefix="vmatlas-symbols.") as folder:
    sources(folder)
t.done()
