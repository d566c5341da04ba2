"""Starts real programs, as they come with the system, and always ends them.

    with programs.redis() as pid: ...
    with programs.postgres() as (postmaster, backend): ...

Each is ready when the block begins: it has said so, or answers. A program that is not installed raises NotPossible. Nothing
listens on the network; files go into a temporary folder that is removed.
"""
import contextlib
import glob
import os
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import proc
from factory import NotPossible

SECONDS = 60


def find(*names):
    """The first of these programs that is there; a pattern may stand for the folder of a version."""
    for name in names:
        for path in sorted(glob.glob(name)) if "/" in name else [shutil.which(name)]:
            if path and os.access(path, os.X_OK):
                return path
    raise NotPossible(f"{names[0]} is not installed")


@contextlib.contextmanager
def folder(user=None):
    with tempfile.TemporaryDirectory(prefix="vmatlas-test-", ignore_cleanup_errors=True) as path:
        if user is not None:
            os.chown(path, user, user)
        yield path


def end(process, number=signal.SIGKILL):
    """Ends the program; those that it started in its process group go with it."""
    if number != signal.SIGKILL:
        process.send_signal(number)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            pass
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


def read_until(file, word):
    """Reads the output of a program until the word stands in it. Returns all that was read."""
    text, limit = b"", time.monotonic() + SECONDS
    while word not in text:
        left = limit - time.monotonic()
        if left <= 0 or not select.select([file], [], [], left)[0]:
            raise TimeoutError(f"no {word!r} within {SECONDS} s: {text!r}")
        piece = os.read(file.fileno(), 4096)
        if not piece:
            raise RuntimeError(f"the program ended without saying {word!r}: {text!r}")
        text += piece
    return text


@contextlib.contextmanager
def started(argv, ready=None, number=signal.SIGKILL, **how):
    """ready: the word that the program prints when it is."""
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                               start_new_session=True, **how)
    try:
        if ready:
            read_until(process.stdout, ready)
        yield process
    finally:
        end(process, number)
        process.stdin.close()
        process.stdout.close()


@contextlib.contextmanager
def python(user=None):
    script = ("import sys, json, hashlib, threading, zlib\n"
              "hold = [bytes(i % 251) * 100 for i in range(20000)]\n"
              "thread = threading.Thread(target=sys.stdin.readline, daemon=True)\n"
              "thread.start(); print('ready', flush=True); thread.join()\n")
    with started([find("/usr/bin/python3", "python3"), "-c", script], b"ready", user=user,
                 extra_groups=[] if user is not None else None) as process:
        yield process.pid


class Pid:
    def __init__(self, pid):
        self.pid = pid


@contextlib.contextmanager
def huge_zero(user=None):
    """Memory that was only read: 6 MiB for huge pages, where the kernel maps its huge zero page, and 16 small pages."""
    script = ("import mmap, sys\n"
              "flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS\n"
              "huge, small = mmap.mmap(-1, 6 << 20, flags), mmap.mmap(-1, 16 * 4096, flags)\n"
              "huge.madvise(mmap.MADV_HUGEPAGE)\n"
              "small.madvise(mmap.MADV_NOHUGEPAGE)\n"
              "held = [m[i] for m in (huge, small) for i in range(0, len(m), 4096)]\n"
              "print('ready', flush=True); sys.stdin.readline()\n")
    with started([find("/usr/bin/python3", "python3"), "-c", script], b"ready", user=user,
                 extra_groups=[] if user is not None else None) as process:
        yield Pid(process.pid)


@contextlib.contextmanager
def redis():
    with folder() as path:
        where = os.path.join(path, "redis.sock")
        argv = [find("redis-server"), "--port", "0", "--unixsocket", where, "--save", "", "--dir", path, "--enable-debug-command",
                "local"]
        with started(argv, b"ready to accept connections") as process, socket.socket(socket.AF_UNIX) as client:
            client.connect(where)
            client.sendall(b"DEBUG POPULATE 20000 key 100\r\n")
            assert client.recv(100).startswith(b"+OK"), "redis does not take commands"
            yield process.pid


@contextlib.contextmanager
def node():
    script = "const hold = []; for (let i = 0; i < 20000; i++) hold.push({i, s: 'x'.repeat(i % 100)});" \
             "console.log('ready'); process.stdin.on('data', () => process.exit());"
    with started([find("node"), "-e", script], b"ready") as process:
        yield process.pid


@contextlib.contextmanager
def java():
    """keytool, which every runtime has: it asks for a password and waits."""
    with folder() as path:
        argv = [find("java"), "-Xmx64m", "-Duser.language=en", "java.base/sun.security.tools.keytool.Main", "-genkeypair",
                "-alias", "a", "-keyalg", "RSA", "-keystore", os.path.join(path, "store")]
        argv[3:4] = ["-m", argv[3]]
        with started(argv, b"password") as process:
            yield process.pid


@contextlib.contextmanager
def postgres():
    """The server, and one session: a process of its own that shares the memory which the server made before it forked."""
    tools = os.path.dirname(find("/usr/lib/postgresql/*/bin/initdb", "initdb"))
    user = proc.NOBODY if os.geteuid() == 0 else None
    how = {"user": user, "group": user, "extra_groups": []} if user is not None else {}
    how["env"] = dict(os.environ, LC_ALL="C", HOME="/")
    with folder(user) as path:
        data, how["cwd"] = os.path.join(path, "data"), path
        subprocess.run([os.path.join(tools, "initdb"), "-D", data, "-A", "trust", "-U", "test", "--no-sync"], check=True,
                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, **how)
        server = [os.path.join(tools, "postgres"), "-D", data, "-k", path, "-c", "listen_addresses=", "-c", "fsync=off",
                  "-c", "autovacuum=off"]
        client = [os.path.join(tools, "psql"), "-h", path, "-U", "test", "-d", "postgres", "-At"]
        with started(server, b"ready to accept connections", signal.SIGINT, **how) as postmaster, \
                started(client, None, **how) as session:
            session.stdin.write(b"create table t as select g, md5(g::text) from generate_series(1, 20000) g;\n"
                                b"select 'pid=' || pg_backend_pid() || '.';\n")
            session.stdin.flush()
            backend = int(read_until(session.stdout, b".\n").split(b"pid=")[1].split(b".")[0])
            proc.wait_until(lambda: proc.stat(backend)[3] == "S", "the session waits")
            yield postmaster.pid, backend
