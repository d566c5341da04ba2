#!/usr/bin/env python3
"""A recorder that is killed at any moment loses no sample that it had acknowledged, and its recording opens.

Acknowledged is what `--verbose` has said before the kill. Read back by SQLite itself, with its integrity check. The target runs on. 60 kills;
RECORD_KILLS=300 for more.
"""
# timeout: 400
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.environ["SRC"], "tests"))
import tap

KILLS = int(os.environ.get("RECORD_KILLS", "60"))
t = tap.Tap()
folder = tempfile.mkdtemp(prefix="vmatlas-kill-")
seed = int(os.environ.get("SEED", str(random.randrange(1 << 30))))
chance = random.Random(seed)
target = subprocess.Popen(["sleep", "100000"])


lost, corrupt, samples_total, empty = [], [], 0, 0
for number in range(KILLS):
    path = os.path.join(folder, f"r{number}")
    recorder = subprocess.Popen([tap.VMATLAS, "record", "-v", "-i", "10ms", "-o", path, str(target.pid)],
                                stderr=subprocess.PIPE, text=True, start_new_session=True)
    said = [recorder.stderr.readline() for _ in range(chance.choice((0, 1, 3, 12)))]
    time.sleep(chance.random() * 0.02)
    recorder.send_signal(signal.SIGKILL)
    said += recorder.stderr.read().splitlines()
    recorder.wait()
    safe = max([int(line.split()[1]) for line in said if line.startswith("acknowledged")], default=0)
    there, check = 0, "ok"
    if safe:
        # Our own reader first, while the log is still beside the file: a recording is no process, which it sees by its content.
        done = subprocess.run([tap.VMATLAS, "map", path], capture_output=True, text=True)
        if "is a recording" not in done.stderr:
            check = done.stderr
    if os.path.exists(path) and os.path.getsize(path):
        db = sqlite3.connect(path)
        check = db.execute("PRAGMA integrity_check").fetchone()[0] if check == "ok" else check
        if db.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'sample'").fetchone()[0]:
            there = db.execute("SELECT count(*) FROM sample").fetchone()[0]
        db.close()
    else:
        empty += 1
    samples_total += safe
    if there < safe:
        lost.append((number, safe, there))
    if check != "ok":
        corrupt.append((number, check))
t.diag(f"seed {seed}: {KILLS} kills, {samples_total} acknowledged samples, {empty} before there was a recording")
t.is_(lost, [], f"0 of {samples_total} acknowledged samples are lost in {KILLS} kills")
t.is_(corrupt, [], "0 recordings are corrupt")
t.ok(samples_total >= KILLS, "there was something to lose", samples_total)
t.ok(target.poll() is None, "the target runs on")
target.kill()
target.wait()
shutil.rmtree(folder)
t.done()
