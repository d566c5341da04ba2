#!/usr/bin/env python3
"""Whose malloc a process uses: preloaded, linked, built in under other names, static; and what stands in for the evidence.

Programs are made here with the compiler that builds vmatlas. What each uses is known from how it was made.
"""
# timeout: 120
import glob
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.environ["SRC"], "tests"))
import tap

t = tap.Tap()
FACTORY = os.path.join(tap.BUILD, "tests/factory")

PROGRAM = """
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifndef ALLOCATE
#define ALLOCATE malloc
#endif
void *ALLOCATE(size_t);
extern void *volatile kept[1000];
void *volatile kept[1000];
int main(int argc, char **argv)
{
	for (size_t i = 0; i < 1000; i++) {
		kept[i] = ALLOCATE(i * 7 + 16);
		memset(kept[i], 1, i * 7 + 16);
	}
#ifdef HIDE
	for (ElfW(Dyn) *entry = _DYNAMIC; entry->d_tag; entry++) {
		if (entry->d_tag == DT_DEBUG)
			((struct r_debug *)entry->d_un.d_ptr)->r_map = NULL;
	}
#endif
	(void)argc, (void)argv;
	puts("ready");
	fflush(stdout);
	while (getchar() != EOF)
		;
	return 0;
}
"""

WRAPPER = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stddef.h>
void *malloc(size_t size)
{
	static void *(*next)(size_t);
	if (!next)
		next = (void *(*)(size_t))dlsym(RTLD_NEXT, "malloc");
	return next(size);
}
"""


def heap(pid, *options):
    done = subprocess.run([tap.VMATLAS, "heap", "-J", *options, str(pid)], capture_output=True, text=True, timeout=60)
    if done.returncode:
        t.diag(done.stderr)
        return {}
    return json.loads(done.stdout)


def answer(command, env=None, *options):
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, **(env or {})}) as process:
        process.stdout.readline()
        doc = heap(process.pid, *options)
        process.stdin.close()
    return doc


def named(name, doc, allocator, walked, why):
    t.is_((doc.get("allocator"), doc.get("walked")), (allocator, walked), f"{name}: {allocator}, {'walked' if walked else 'not walked'}")
    t.ok(why in doc.get("allocator_why", ""), f"{name}: because of {why}", doc.get("allocator_why"))


def library(pattern):
    found = sorted(glob.glob(f"/usr/lib/*/{pattern}"))
    return found[0] if found else None


def compiled(folder, name, *flags, source=PROGRAM):
    """The program, stripped; None where it cannot be made."""
    code, out = os.path.join(folder, name + ".c"), os.path.join(folder, name)
    with open(code, "w") as file:
        file.write(source)
    done = subprocess.run(["cc", "-O1", "-o", out, code, *flags], capture_output=True, text=True)
    if done.returncode:
        t.diag(done.stderr[-400:])
        return None
    return out


def preloaded(folder):
    program = compiled(folder, "program")
    named("ordinary", answer([program]), "glibc malloc", True, "libc.so.6, file 2 of 3")
    for allocator, pattern, walked in (("jemalloc", "libjemalloc.so.2", False), ("tcmalloc", "libtcmalloc_minimal.so.4", False),
                                       ("mimalloc", "libmimalloc.so.2*", True)):
        path = library(pattern)
        if not path:
            t.skip(allocator, f"there is no {pattern}")
            continue
        doc = answer([program], {"LD_PRELOAD": path})
        named(f"{allocator} preloaded", doc, allocator, walked, "owns malloc")
        t.is_(doc["arenas"] == [], not walked, f"{allocator} preloaded: no arena of glibc is shown")
        # The same file under a name that says nothing: what it exports tells.
        other = os.path.join(folder, "libother.so")
        shutil.copy(path, other)
        named(f"{allocator} renamed", answer([program], {"LD_PRELOAD": other}), allocator, walked, "libother.so")
    wrapper = compiled(folder, "wrapper.so", "-shared", "-fPIC", "-ldl", source=WRAPPER)
    doc = answer([program], {"LD_PRELOAD": wrapper})
    named("a wrapper of malloc", doc, "glibc malloc", True, "wrapper.so, which is not known")
    t.ok(doc.get("partial") and doc["totals"]["chunks_in_use"] > 1000, "a wrapper of malloc: libc's heap behind it is walked, and called partial")


def built_in(folder):
    archive = library("libjemalloc.a")
    libraries = ["-lm", "-lpthread", "-ldl", "-lstdc++"]
    if not archive:
        t.skip("jemalloc built in", "there is no libjemalloc.a")
    else:
        program = compiled(folder, "static-je", archive, *libraries, "-s")
        named("jemalloc built in, stripped", answer([program]), "jemalloc", False, "static-je")
        # As redis has it: jemalloc under other names, and glibc's malloc beside it.
        renamed = os.path.join(folder, "libje.a")
        names = ["malloc", "calloc", "realloc", "free", "memalign", "posix_memalign", "aligned_alloc", "valloc", "malloc_usable_size"]
        subprocess.run(["objcopy", *[f"--redefine-sym={n}=je_{n}" for n in names], archive, renamed], check=True)
        program = compiled(folder, "prefixed-je", "-DALLOCATE=je_malloc", renamed, *libraries, "-s")
        named("jemalloc under other names", answer([program]), "jemalloc", False, "prefixed-je holds its messages; malloc is that of libc.so.6")
        doc = answer([program], None, "--allocator", "glibc")
        named("glibc's heap beside it", doc, "glibc malloc", True, "asked for")
        t.ok(0 < doc["totals"]["in_use"] < 1 << 20, "glibc's heap beside it: is small")
    program = compiled(folder, "static", "-static", "-s")
    named("glibc, static and stripped", answer([program]), "glibc malloc", True, "its structures")
    program = compiled(folder, "asan", "-fsanitize=address")
    if program:
        named("AddressSanitizer", answer([program], {"ASAN_OPTIONS": "detect_leaks=0"}), "AddressSanitizer", False, "__asan_init")


def without_evidence(folder):
    """The loader's list is gone: names of files stand in for it."""
    program = compiled(folder, "hidden", "-DHIDE")
    named("no list of the loader", answer([program]), "glibc malloc", True, "name of a mapped file")
    path = library("libjemalloc.so.2")
    if path:
        named("no list of the loader, jemalloc", answer([program], {"LD_PRELOAD": path}), "jemalloc", False, "name of a mapped file")


def real_programs():
    socket = f"/tmp/vmatlas-allocators-{os.getpid()}.sock"
    for name, command, allocator in (("redis", ["redis-server", "--port", "0", "--unixsocket", socket, "--save", ""], "jemalloc"),
                                     ("node", ["node", "-e", "process.stdin.resume()"], "glibc malloc"),
                                     ("python3", ["/usr/bin/python3", "-c", "import sys; sys.stdin.read()"], "glibc malloc")):
        if not shutil.which(command[0]):
            continue
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            time.sleep(1)
            doc = heap(process.pid)
            process.kill()
        named(name, doc, allocator, allocator == "glibc malloc", "searched, owns malloc")


def usage():
    done = subprocess.run([tap.VMATLAS, "heap", "--allocator", "jemalloc", str(os.getpid())], capture_output=True, text=True, timeout=20)
    t.is_(done.returncode, 2, "--allocator jemalloc: exit status 2")
    t.ok("glibc, musl and mimalloc" in " ".join(done.stderr.split()), "and which can be asked for", done.stderr)
    t.is_(done.stdout, "", "and nothing is said of the process")


with tempfile.TemporaryDirectory(prefix="vmatlas-allocators-") as folder:
    preloaded(folder)
    built_in(folder)
    without_evidence(folder)
real_programs()
usage()
t.done()
