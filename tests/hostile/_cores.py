"""Cores of programs of ours, for the tests that break them."""
import json
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.environ["SRC"], "tests"))
import tap

FACTORY = os.path.join(tap.BUILD, "tests/factory")


def make(folder):
    """(name, path) of some cores: two of vmatlas dump, one of gdb."""
    cores = []
    for name, command in (("heap", ["heap_truth", "2", "400", "m", folder + "/list"]), ("leaks", ["leak_truth", "1"])):
        process = subprocess.Popen([os.path.join(FACTORY, command[0]), *command[1:]], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        process.stdout.readline()
        process.stdout.readline()
        path = f"{folder}/{name}"
        subprocess.run([tap.VMATLAS, "dump", "-o", path, str(process.pid)], check=True, stdout=subprocess.DEVNULL, timeout=60)
        cores.append((name, path))
        if name == "heap":
            subprocess.run(["gdb", "-q", "-nx", "-batch", "-p", str(process.pid), "-ex", "set use-coredump-filter off", "-ex",
                            f"generate-core-file {folder}/gdb"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=120)
            # The same without the zeroes that gdb writes: a quarter of the size, and half of the time.
            subprocess.run(["cp", "--sparse=always", folder + "/gdb", folder + "/gdb-sparse"], check=True)
            cores.append(("gdb", folder + "/gdb-sparse"))
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()
    return cores


def flip(t, count, seed):
    """No crash, no hang, over so many variants of each core; most are still answered."""
    with tempfile.TemporaryDirectory(prefix="vmatlas-cores-") as folder:
        for name, path in make(folder):
            done = subprocess.run([os.path.join(FACTORY, "core_flips"), path, str(count), str(seed)], capture_output=True, text=True)
            got = json.loads(done.stdout or "{}")
            t.ok(done.returncode == 0 and got["bad"] == 0, f"{name}: {count} cores with flipped bytes: no crash, no hang", done.stderr)
            t.ok(got["walked"] > count / 3 and sum(got.values()) == count, f"{name}: the heap of many is still walked", done.stdout)
