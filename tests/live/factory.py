"""Starts programs that make memory of a known shape, and always ends them.

    with Factory("threads", n=14, guard=0) as f:
        f.pid                # the process to look at
        f.info["threads"]    # what it made: the JSON of its first line
        f.cmd("n")           # one command, answered with JSON
        f.variant            # "factory", "factory-static", "factory-32" or "factory-musl"

    with FuseHang() as f:    # f.pid is the process that maps the file system's file
        f.cmd("h")

    with Tour() as t:        # examples/tour; t.lines is what it said, t.pid, t.child

Programs are looked for in $BUILD, else in build/ of the source tree. A program that this machine cannot
run (not built, or it says so by exit code 77) raises NotPossible with the reason, for the test to skip
with. Everything runs in a process group of its own, which is killed at the end, whatever happened; files
go into a temporary folder that is removed.
"""
import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
import tap  # noqa: E402

SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("BUILD", os.path.join(SOURCE, "build"))
EXIT_CANNOT = 77


class NotPossible(Exception):
    """This machine cannot make what was asked for; the text says why."""


class FactoryError(Exception):
    """The program broke, or did not answer in time."""


class Program:
    """A program that prints lines, then a line that begins with "ready", and then waits."""

    def __init__(self, argv, timeout=60, user=None, wrap=()):
        if not os.path.exists(argv[0]):
            raise NotPossible(f"{argv[0]} is not built")
        self.timeout = timeout
        self.argv = list(wrap) + list(argv)
        self.folder = tempfile.mkdtemp(prefix="vmatlas-test-")
        self._buffer = b""
        self.process = None
        self.user = user
        if user is not None and not wrap:
            self.argv[0] = tap.for_everyone(self.argv[0])
        if user is not None:
            shutil.chown(self.folder, user)

    def __enter__(self):
        if self.process is not None:    # entered before, to see whether it can be made at all
            return self
        stderr_path = os.path.join(self.folder, "stderr")
        try:
            with open(stderr_path, "wb") as stderr:
                self.process = subprocess.Popen(
                    self.argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr,
                    env=dict(os.environ, TMPDIR=self.folder), start_new_session=True,
                    user=self.user, extra_groups=[] if self.user is not None else None)
            self.pid = self.process.pid
            self.lines = []
            while not (self.lines and self.lines[-1].startswith("ready")):
                self.lines.append(self._line())
            self.started()
        except BaseException:
            self.close()
            raise
        return self

    def started(self):
        """Called when the program is ready; self.lines holds what it printed."""

    def __exit__(self, *unused):
        self.close()

    def _line(self):
        end = time.monotonic() + self.timeout
        while b"\n" not in self._buffer:
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.process.stdout], [], [], left)[0]:
                raise FactoryError(f"{' '.join(self.argv)} says nothing for {self.timeout} s")
            data = os.read(self.process.stdout.fileno(), 65536)
            if not data:
                self._ended()
            self._buffer += data
        line, self._buffer = self._buffer.split(b"\n", 1)
        return line.decode("utf-8", "surrogateescape")

    def _ended(self):
        code = self.process.wait(timeout=self.timeout)
        with open(os.path.join(self.folder, "stderr"), "rb") as file:
            text = file.read().decode("utf-8", "replace").strip()
        if code == EXIT_CANNOT:
            raise NotPossible(text)
        raise FactoryError(f"{' '.join(self.argv)} ended with {code}: {text}")

    def send(self, line):
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def cmd(self, line):
        """Sends one command; returns its answer, or raises FactoryError with the program's text."""
        self.send(line)
        answer = json.loads(self._line())
        if "error" in answer:
            raise FactoryError(answer["error"])
        return answer

    def finish(self):
        """Ends the standard input; returns the rest of the output and the exit code."""
        self.process.stdin.close()
        rest = []
        try:
            while True:
                rest.append(self._line())
        except FactoryError:
            pass
        return rest, self.process.wait(timeout=self.timeout)

    def close(self):
        """First by the end of its input, so that it takes its files with it; then by force."""
        process = self.process
        if process is not None:
            if process.stdin and not process.stdin.closed:
                try:
                    process.stdin.close()
                except OSError:
                    pass
            try:
                process.wait(timeout=3)
            except subprocess.TimeoutExpired:
                pass
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            process.wait()
            process.stdout.close()
            self.process = None
        self.clean()
        shutil.rmtree(self.folder, ignore_errors=True)

    def clean(self):
        """Called when nothing of it runs any more, before its folder is removed."""


class Factory(Program):
    """tests/factory/factory SCENARIO key=value...; user: a uid to run as."""

    def __init__(self, scenario, variant="factory", timeout=60, user=None, wrap=(), **options):
        self.variant = variant
        arguments = [f"{key}={value}" for key, value in options.items()]
        super().__init__([os.path.join(BUILD, "tests", "factory", variant), scenario] + arguments,
                         timeout, user, wrap)

    def started(self):
        self.info = json.loads(self.lines[0])
        self.pid = self.info["pid"]


class FuseHang(Program):
    """tests/factory/fusehang on a mount point of its own; pid is the target, server the file system."""

    def __init__(self, timeout=20):
        super().__init__([os.path.join(BUILD, "tests", "factory", "fusehang")], timeout)
        self.mountpoint = os.path.join(self.folder, "mnt")
        os.mkdir(self.mountpoint)
        self.argv.append(self.mountpoint)

    def started(self):
        self.info = json.loads(self.lines[0])
        self.pid = self.info["pid"]
        self.server = self.info["server"]

    def clean(self):
        # Only left over if the server was killed; then the connection is dead already.
        with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as mounts:
            if any(line.split()[4] == self.mountpoint for line in mounts):
                tool = ["umount", "-l"] if os.geteuid() == 0 else ["fusermount3", "-u", "-z"]
                subprocess.run(tool + [self.mountpoint], check=False)


class Tour(Program):
    """examples/tour; child is the pid of its child."""

    def __init__(self, timeout=20):
        super().__init__([os.path.join(BUILD, "examples", "tour")], timeout)

    def started(self):
        found = re.search(r"^child +process (\d+)", "\n".join(self.lines), re.MULTILINE)
        self.child = int(found.group(1))
        self.pid = int(self.lines[-1].split()[1])


def children(pid):
    """The pids of the children of a process."""
    found = []
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/children", encoding="ascii") as file:
            found += [int(word) for word in file.read().split()]
    return found
