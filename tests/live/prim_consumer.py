#!/usr/bin/env python3
# timeout: 120
"""libvmatlas as a stranger finds it: installed into an empty folder, found by pkg-config, used by a C and a C++ program, linked
dynamically and statically; and its interface is that of headers, version map and manual."""
import os
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.environ["SRC"], "tests"))
import tap

C_PROGRAM = """
#include <stdio.h>
#include <vmatlas/prim/api.h>
#include <vmatlas/prim/pagesize.h>
int main(void)
{
	printf("%s %zd\\n", vmat_prim_version(), vmat_pagesize_at(&main));
	return vmat_pagesize_at((void *)1) >= 0;
}
"""


def run(*command, **options):
    return subprocess.run([str(c) for c in command], capture_output=True, text=True, check=False, **options)


def stage(place):
    """`meson install` of this build into a folder, and pkg-config that looks nowhere else."""
    done = run("meson", "install", "-C", tap.BUILD, "--no-rebuild", "--destdir", place)
    prefix = run("meson", "introspect", "--buildoptions", tap.BUILD).stdout
    prefix = prefix[prefix.index('"name": "prefix"'):].split('"value": "', 1)[1].split('"', 1)[0]
    root = os.path.join(place, prefix.lstrip("/"))
    found = [base for base, _, files in os.walk(root) if "libvmatlas.pc" in files]
    return done, root, found[0] if found else ""


def flags(place, folder, *options):
    env = dict(os.environ, PKG_CONFIG_LIBDIR=folder, PKG_CONFIG_SYSROOT_DIR=place)
    return run("pkg-config", *options, "libvmatlas", env=env).stdout.split()


def consume(t, place):
    done, root, folder = stage(place)
    if not t.ok(done.returncode == 0 and folder, "meson install", done.stdout + done.stderr):
        return
    for name in ("pagesize.h", "api.h"):
        t.ok(os.path.exists(os.path.join(root, "include/vmatlas/prim", name)), f"{name} is installed")
    with open(os.path.join(place, "program.c"), "w", encoding="ascii") as file:
        file.write(C_PROGRAM)
    cflags, libs = flags(place, folder, "--cflags"), flags(place, folder, "--libs")
    lib_folder = os.path.dirname(folder)
    example = os.path.join(tap.SRC, "examples/page_sizes.cc")
    for said, command in {
        "C": ["gcc", "-std=c99", "-Wall", "-Werror", "-o", place + "/c", place + "/program.c"] + cflags + libs,
        "C++": ["g++", "-std=c++11", "-Wall", "-Wextra", "-Werror", "-o", place + "/cc", example] + cflags + libs,
        "C, static": ["gcc", "-static", "-o", place + "/static", place + "/program.c"] + cflags + flags(place, folder, "--libs", "--static"),
    }.items():
        done = run(*command)
        t.is_(done.stdout + done.stderr, "", f"{said}: compiles without a word")
        program = command[command.index("-o") + 1]
        done = run(program, env=dict(os.environ, LD_LIBRARY_PATH=lib_folder))
        t.ok(done.returncode == 0 and "4096" in done.stdout, f"{said}: runs", done.stdout + done.stderr)
    needed = run("readelf", "-d", place + "/c").stdout
    t.ok("[libvmatlas.so.0]" in needed, "a program needs the library by its soname", needed)


def interface(t):
    done = run(os.path.join(tap.SRC, "scripts/check-api"), tap.BUILD)
    t.is_(done.returncode, 0, "headers, version map, library and manual name the same functions: " + done.stdout.strip().splitlines()[-1])
    if done.returncode:
        t.diag(done.stdout)


t = tap.Tap()
t.section(interface)
folder = tempfile.mkdtemp(prefix="vmatlas-consumer-")
try:
    if "libasan" in run("readelf", "-d", tap.VMATLAS).stdout:
        t.skip("a program of a stranger", "the library of this build needs the sanitizer")
    else:
        t.section(consume, folder)
finally:
    shutil.rmtree(folder, ignore_errors=True)
t.done()
