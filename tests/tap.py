"""TAP output for the tests written in python: one line a check, a plan at the end.

    import os, sys
    sys.path.insert(0, os.path.join(os.environ["SRC"], "tests"))
    import tap

    t = tap.Tap()
    t.ok(1 + 1 == 2, "sums add up")
    t.is_(run("map", pid), expected, "map shows what maps says")
    t.skip("PFNs are ordered", "needs CAP_SYS_ADMIN")
    t.done()

A check that fails prints where it stands and the diagnosis, and the test goes on: the other checks still tell something.
scripts/run-tests gives VMATLAS (the program under test), BUILD (the build folder) and SRC (the source tree) in the environment.
"""
import atexit
import difflib
import inspect
import os
import shutil
import sys
import tempfile
import traceback

SRC = os.environ.get("SRC") or os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = os.environ.get("BUILD") or os.path.join(SRC, "build")
VMATLAS = os.environ.get("VMATLAS") or os.path.join(BUILD, "vmatlas")


_copies = {}


def for_everyone(path):
    """A path to the same program that other users can run, too: a copy when the folders above are closed, as in /root."""
    folder, is_open = os.path.dirname(os.path.abspath(path)), True
    while is_open and folder != "/":
        is_open = bool(os.stat(folder).st_mode & 0o001)
        folder = os.path.dirname(folder)
    if is_open:
        return path
    if path not in _copies:
        place = tempfile.mkdtemp(prefix="vmatlas-open-")
        atexit.register(shutil.rmtree, place, ignore_errors=True)
        os.chmod(place, 0o755)
        _copies[path] = shutil.copy(path, place)
    return _copies[path]


def _plain(text):
    """A test name or reason must stay on one line and hold no TAP directive by accident."""
    return " ".join(str(text).split()).replace("#", "no. ")


class Tap:
    def __init__(self, out=None):
        self.out = out or sys.stdout
        self.count = self.failed = self.skipped = 0
        self.is_done = False

    def _line(self, text):
        print(text, file=self.out, flush=True)

    def diag(self, text):
        """Lines that explain; the runner shows them when the program fails."""
        for line in str(text).splitlines() or [""]:
            self._line("# " + line)

    def ok(self, cond, name, diag=None):
        """One check. diag is shown when it fails. Returns whether it held."""
        self.count += 1
        if cond:
            self._line(f"ok {self.count} - {_plain(name)}")
            return True
        self.failed += 1
        self._line(f"not ok {self.count} - {_plain(name)}")
        frame = inspect.currentframe().f_back
        while frame and frame.f_code.co_filename == __file__:
            frame = frame.f_back
        if frame:
            self.diag(f"at {os.path.relpath(frame.f_code.co_filename, SRC)}:{frame.f_lineno}")
        if diag is not None:
            self.diag(diag)
        return False

    def is_(self, got, want, name):
        """One check that two values are equal; shows both, and a diff of long texts."""
        if got == want:
            return self.ok(True, name)
        if isinstance(got, str) and isinstance(want, str) and ("\n" in got or "\n" in want):
            rows = difflib.unified_diff(want.splitlines(), got.splitlines(), "want", "got", lineterm="")
            return self.ok(False, name, "\n".join(list(rows)[:200]))
        return self.ok(False, name, f"got  {got!r}\nwant {want!r}")

    def skip(self, name, reason):
        """A check that cannot be made here; the name and the reason must match a line of tests/SKIPS."""
        self.count += 1
        self.skipped += 1
        self._line(f"ok {self.count} - {_plain(name)} # SKIP {_plain(reason)}")

    def section(self, fn, *args):
        """Run fn(self, *args); an exception in it is one failed check instead of the end of the program."""
        try:
            return fn(self, *args)
        except Exception:  # noqa: BLE001: whatever went wrong is the diagnosis
            self.ok(False, f"{fn.__name__} ends without an exception", traceback.format_exc())
            return None

    def done(self):
        """Print the plan and leave: exit status 1 when a check failed."""
        self.is_done = True
        self._line(f"1..{self.count}")
        sys.exit(1 if self.failed else 0)
