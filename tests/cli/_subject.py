"""A process that the tests of the command line ask about, and how they run vmatlas."""
import collections
import os
import signal
import subprocess
import sys
import tempfile

import tap

Answer = collections.namedtuple("Answer", "status out err")

# Every byte that a name may hold: a path none of NUL and /, a thread's name 15 bytes.
HOSTILE = bytes(b for b in range(1, 256) if b != ord("/"))

CHILD = """
import ctypes, mmap, os, sys
libc = ctypes.CDLL(None)
libc.prctl(15, bytes.fromhex(sys.argv[1]), 0, 0, 0)
for path in sys.argv[2:]:
    with open(bytes.fromhex(path), "r+b") as file:
        m = mmap.mmap(file.fileno(), 0, flags=mmap.MAP_PRIVATE)
        m[0:1] = b"x"
        globals().setdefault("keep", []).append(m)
print("ready", flush=True)
sys.stdin.read()
"""


def run(*args, env=None, **more):
    """vmatlas with these arguments; output as bytes."""
    full = dict(os.environ, LC_ALL="C.UTF-8", **(env or {}))
    full.pop("COLUMNS", None)
    program = tap.for_everyone(tap.VMATLAS) if more.get("user") else tap.VMATLAS
    done = subprocess.run([program, *map(str, args)], capture_output=True, env=full, stdin=subprocess.DEVNULL, **more)
    return Answer(done.returncode, done.stdout, done.stderr)


class Subject:
    """with Subject(b"name", [b"file"]) as pid: a process of that name, which has written to private mappings of such files.

    It is stopped, so that two answers about it are the same.
    """

    def __init__(self, name, files=()):
        self.folder = tempfile.TemporaryDirectory(prefix="vmatlas-cli-")
        self.paths = []
        for file in files:
            path = os.fsencode(self.folder.name) + b"/" + file
            with open(path, "wb") as out:
                out.write(bytes(16384))
            self.paths.append(path)
        self.child = subprocess.Popen([sys.executable, "-c", CHILD, name.hex(), *(p.hex() for p in self.paths)],
                                      stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def __enter__(self):
        assert self.child.stdout.readline() == b"ready\n"
        self.child.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.child.pid, os.WSTOPPED)
        return self.child.pid

    def __exit__(self, *_):
        self.child.send_signal(signal.SIGKILL)
        self.child.wait()
        self.child.stdin.close()
        self.child.stdout.close()
        self.folder.cleanup()
