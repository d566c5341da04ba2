#!/usr/bin/env python3
"""What scripts/record-fixture records is read back as what the living process shows, and holds nothing private."""
import json
import os
import pathlib
import subprocess
import sys

sys.path.insert(0, os.path.join(os.environ["SRC"], "tests"))
import tap  # noqa: E402

SECRET = "swordfish-4711"
RECORD = pathlib.Path(tap.SRC) / "scripts/record-fixture"
root = pathlib.Path(os.environ["TMPDIR"]) / "record"
t = tap.Tap()


def vmatlas(*args):
    done = subprocess.run([tap.VMATLAS, *map(str, args)], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    t.is_((done.returncode, done.stderr), (0, ""), f"vmatlas {args[0]}{' --root' if '--root' in args else ''} ends well")
    return json.loads(done.stdout) if done.returncode == 0 else {}


def facts(model, rows, names):
    return [[row.get(name) for name in names] for row in model.get(rows, [])]


program = "import sys; x = bytearray(10 << 20); print('ready', flush=True); sys.stdin.read()"
target = subprocess.Popen([sys.executable, "-c", program, SECRET], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          env=dict(os.environ, TOKEN=SECRET), text=True)
try:
    target.stdout.readline()
    done = subprocess.run([RECORD, str(target.pid), root], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    t.is_((done.returncode, done.stderr), (0, ""), "record-fixture ends well")
    live, read = vmatlas("map", "--json", target.pid), vmatlas("map", "--json", "--root", root, target.pid)
    names = "start end size prot path offset rss swap copied".split()
    t.ok(len(live["regions"]) > 20, "the process has regions")
    t.is_(facts(read, "regions", names), facts(live, "regions", names), "the recorded regions are those of the process")
    live, read = vmatlas("stacks", "--json", target.pid), vmatlas("stacks", "--json", "--root", root, target.pid)
    names = "tid name sp".split()
    t.is_(facts(read, "threads", names), facts(live, "threads", names), "the recorded threads are those of the process")
finally:
    target.stdin.close()
    target.wait()
files = [path for path in root.rglob("*") if path.is_file()]
t.is_([str(path) for path in files if SECRET.encode() in path.read_bytes()], [], "neither arguments nor environment are recorded")
gone = subprocess.run([RECORD, str(target.pid), root], stdin=subprocess.DEVNULL, capture_output=True, text=True)
t.is_(gone.returncode, 3, "a process that is gone is said to be so")
t.done()
