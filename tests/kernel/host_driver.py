#!/usr/bin/env python3
"""The driver in kmod/: it builds without a warning, does what include/uapi/vmatlas.h says, refuses what it must, and leaks nothing.

Builds vmatlas.ko against the headers of the kernel, and its broken twins, and runs the programs of this folder in guests.
"""
# timeout: 900
import os
import re
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.environ["SRC"], "tests"))
import tap

t = tap.Tap()
TREE, RELEASE = os.environ["KERNEL_TREE"], os.environ["KERNEL_RELEASE"]
HERE = os.path.join(tap.SRC, "tests/kernel")
PROGRAMS = os.path.join(tap.BUILD, "tests/kernel")
# Not below /tmp, which is empty in the guest.
WORK = os.path.join(PROGRAMS, f"driver-{RELEASE}")
HEADERS = os.path.join(TREE, "usr/src", f"linux-headers-{RELEASE}")

# A million when there is time. The emulated processor does some ten thousand in a second.
FUZZ_CALLS = 1000000 if os.environ.get("TIER") == "full" else 200000


def build(name, folders, module, *options):
    """Build a copy of the sources as a module; its path, or None. What make prints is a failure: all of it would be warnings."""
    place = os.path.join(WORK, name)
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(os.path.join(tap.SRC, "include/uapi"), os.path.join(place, "include/uapi"))
    for folder in folders:
        shutil.copytree(os.path.join(tap.SRC, folder), os.path.join(place, os.path.basename(folder)))
    made = subprocess.run(["make", "-s", "-C", HEADERS, f"M={place}/{os.path.basename(folders[0])}", "W=1", *options, "modules"],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    said = [line for line in made.stdout.splitlines() if "Skipping BTF generation" not in line]
    t.is_((made.returncode, said), (0, []), f"{name} builds without a warning, W=1")
    return os.path.join(place, os.path.basename(folders[0]), module)


# Two minutes where nothing else runs, and a million calls of the fuzzer two more. Only what hangs meets it.
LIMIT_S = 3000 if os.environ.get("TIER") == "full" else 900


def in_guest(*argv):
    return subprocess.run([os.path.join(HERE, "in-kernel"), "--kernel", TREE, "--memory", "1024", "--limit", str(LIMIT_S),
                           *(f"--env={name}={os.environ[name]}" for name in ("SRC", "BUILD", "VMATLAS")), "--", *argv],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)


def take_over(ran, name):
    """The checks of a program in the guest, as ours."""
    plan = None
    for line in ran.stdout.splitlines():
        if line.startswith(("ok ", "not ok ")):
            t.ok(line.startswith("ok "), line.split(" - ", 1)[1], ran.stderr if line.startswith("not") else "")
        elif line.startswith("1.."):
            plan = (plan or 0) + int(line[3:])
        else:
            print("# " + line.lstrip("# "))
    t.ok(plan is not None and ran.returncode == 0, f"{name}: came to its end, and the kernel had nothing to say",
         f"exit status {ran.returncode}\n{ran.stderr}")


def shell(*lines):
    return ["sh", "-c", "\n".join(["set -e", "modprobe -q udmabuf || :", *lines])]


def judge_example(ran):
    """One buffer, three that sum it up: the same number, and after the third wrote another, again the same."""
    said = re.findall("^# example: (.*)", ran.stdout, re.M)
    sums = re.findall(r"\b[0-9a-f]{16}\b", "\n".join(said))
    t.ok(len(sums) == 5 and len(set(sums[:3])) == 1 and sums[3] == sums[4] != sums[0],
         "example hugebuf_driver: producer, kernel and consumer have the same bytes in the same order", ran.stdout + ran.stderr)


def main():
    os.makedirs(WORK, exist_ok=True)
    good = build("good", ["kmod"], "vmatlas.ko")
    importer = build("importer", ["tests/kernel/importer", "kmod"], "vmatlas-importer.ko")
    leak = build("leak", ["kmod"], "vmatlas.ko", f"KCFLAGS=-include {HERE}/broken/leak.h")
    warn = build("warn", ["kmod"], "vmatlas.ko", f"KCFLAGS=-include {HERE}/broken/warn.h")

    ran = in_guest(*shell(f"insmod {good}", f"insmod {importer}", f"{PROGRAMS}/driver_test", f"{PROGRAMS}/driver_fuzz {FUZZ_CALLS}",
                          f'said=$({tap.BUILD}/examples/hugebuf_driver)', 'echo "$said" | sed "s/^/# example: /"', f"{HERE}/driver_pages.py",
                          f"{PROGRAMS}/driver_refuse", "rmmod vmatlas-importer"))
    take_over(ran, "driver_test, driver_fuzz, driver_pages, driver_refuse")
    judge_example(ran)

    ran = in_guest(*shell(f"insmod {leak}", f"insmod {importer}", f"{PROGRAMS}/driver_test"))
    t.ok(ran.returncode in (1, 99) and "not ok" in ran.stdout and "got 18, wanted 24" in ran.stdout, "a driver that leaks is found out",
         f"exit status {ran.returncode}\n{ran.stdout}{ran.stderr}")
    ran = in_guest(*shell(f"insmod {warn}", f"insmod {importer}", f"{PROGRAMS}/driver_test"))
    t.ok(ran.returncode == 120 and "not ok" not in ran.stdout and "vmatlas_buf_free" in ran.stderr,
         "a driver that makes the kernel warn is found out though all checks pass", f"exit status {ran.returncode}\n{ran.stdout}{ran.stderr}")


main()
t.done()
