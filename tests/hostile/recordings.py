#!/usr/bin/env python3
"""Recordings of strangers: each is refused with a reason or read with bounded work and memory, and none is written to.

A true recording is changed by SQL (triggers, views, other types, numbers that are none, texts of 20 MiB, too many processes), by flipped bits, by cuts,
and gets a log that is none of its own. What must hold is asserted by the fuzz target, which reads each of them whole.
"""
# timeout: 300
import os
import random
import resource
import shutil
import sqlite3
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.environ["SRC"], "tests"))
import tap

t = tap.Tap()
folder = tempfile.mkdtemp(prefix="vmatlas-recordings-")
inputs = os.path.join(folder, "inputs")
os.mkdir(inputs)
seed = int(os.environ.get("SEED", str(random.randrange(1 << 30))))
chance = random.Random(seed)
MANY = "WITH RECURSIVE n(i) AS (SELECT 100 UNION ALL SELECT i + 1 FROM n WHERE i < {}) "
SQL = {
    "trigger": "CREATE TRIGGER t AFTER INSERT ON tick BEGIN DELETE FROM sample; END",
    "view": "DROP VIEW series; CREATE VIEW series AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n",
    "table-is-view": "ALTER TABLE fact RENAME TO f; CREATE VIEW fact AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) "
                     "SELECT 'a' AS name, 'b' AS value FROM n",
    "index": "CREATE INDEX i ON sample (abs(size))",
    "generated": "DROP TABLE fact; CREATE TABLE fact (name TEXT PRIMARY KEY, value AS (zeroblob(1000000000)))",
    "missing": "DROP TABLE finding",
    "newer": "PRAGMA user_version = 3",
    "no-version": "PRAGMA user_version = 0",
    "older-by-number": "PRAGMA user_version = 1",
    "older": "DROP TABLE region_owner; PRAGMA user_version = 1",
    "newer-without-owners": "DROP TABLE region_owner",
    "text-for-number": "UPDATE sample SET rss = 'much'",
    "blob-for-number": "UPDATE sample SET has_kinds = x'00ff'",
    "real-for-number": "UPDATE tick SET mono_ns = 9e999",
    "negative": "UPDATE sample SET after_ns = -9223372036854775808",
    "largest": "UPDATE tick SET mono_ns = 9223372036854775807, wall_ns = 9223372036854775807",
    "tick-before": "UPDATE sample SET tick = -tick",
    "backwards": "UPDATE tick SET mono_ns = 1000000000000000 - mono_ns",
    "no-ticks": "DELETE FROM tick",
    "nobody": "UPDATE sample SET process = 4711",
    "name-is-null": "UPDATE process SET pid = 9000000000000000000",
    "long-text": "UPDATE process SET command = replace(hex(zeroblob(10485760)), '0', 'x')",
    "nul-in-text": "UPDATE process SET name = CAST(x'610062' AS TEXT)",
    "not-utf8": "UPDATE process SET name = CAST(x'1b5d303bff80' AS TEXT)",
    "processes": MANY.format(70000) + "INSERT INTO process SELECT i, i, 0, '', '', 1 FROM n",
    "facts": MANY.format(3000) + "INSERT INTO fact SELECT i, i FROM n",
    "events": MANY.format(150000) + "INSERT INTO event SELECT i, 1, i, i, 'threads', i, '' FROM n",
    "ticks": MANY.format(300000) + "INSERT INTO tick SELECT i + 1000000, i, i, i FROM n; "
             "INSERT INTO sample (tick, process, after_ns, has_kinds) VALUES (1300000, 1, 0, 0)",
    "kinds": MANY.format(100000) + "INSERT INTO region_kind SELECT i, 1, 'heap' || i, 1, 1, 1 FROM n",
    "owners": MANY.format(100000) + "INSERT INTO region_owner SELECT 1, 1, 'file', i, 1, 1, 1 FROM n",
    "owners-at-end": MANY.format(200) + "INSERT INTO region_owner SELECT 1, 1, 'file', i, 1, 1, 1 FROM n",
    "owners-come-and-go": MANY.format(100000) + "INSERT INTO region_owner SELECT 1, 1, 'file', i, i < 160, 1, 1 FROM n",
    "owners-long": MANY.format(70) + "INSERT INTO region_owner SELECT 1, 1, 'file', replace(hex(zeroblob(50000)), '0', 'x') || i, 1, 1, 1 FROM n",
    "owner-is-null": "UPDATE OR IGNORE region_owner SET owner = ''",
    "owner-is-blob": "UPDATE OR IGNORE region_owner SET owner = x'610062'",
    "owner-of-no-kind": "UPDATE OR IGNORE region_owner SET kind = 'new-kind'",
    "owner-size-is-text": "UPDATE region_owner SET size = 'x'",
    "owner-counts": "UPDATE region_owner SET count = NULL, size = -1",
    "kind-is-text": "UPDATE region_kind SET size = 'x'",
    "reason": "UPDATE unknown SET reason = 'because'",
    "verdict": "UPDATE judgement SET verdict = 'innocent'",
    "nan": "UPDATE judgement SET confidence = 9e999",
    "findings": MANY.format(200) + "INSERT INTO finding SELECT 1, i, 'x', 'bad', 9e999, '', '', '' FROM n",
    "empty": "DELETE FROM process; DELETE FROM sample; DELETE FROM fact",
    "log": "PRAGMA journal_mode = WAL",
}


def write(name, data):
    with open(os.path.join(inputs, name), "wb") as file:
        file.write(data)


def replay(*paths):
    def limit():
        resource.setrlimit(resource.RLIMIT_CPU, (240, 240))
    return subprocess.run([os.path.join(tap.BUILD, "tests/fuzz/recording_fuzz"), *paths], capture_output=True, text=True, preexec_fn=limit)


good = os.path.join(folder, "good")
done = subprocess.run([tap.VMATLAS, "record", "-i", "20ms", "-o", good, "--", "sleep", "0.4"], capture_output=True, text=True)
t.is_(done.returncode, 0, "a true recording to begin with")
base = open(good, "rb").read()
write("good", base)
for name, sql in SQL.items():
    path = os.path.join(inputs, name)
    shutil.copy(good, path)
    db = sqlite3.connect(path, isolation_level=None)
    db.executescript(sql)
    db.close()
for number in range(150):
    changed = bytearray(base)
    for _ in range(chance.choice((1, 4, 64))):
        changed[chance.randrange(len(changed))] = chance.randrange(256)
    write(f"flipped-{number:03}", bytes(changed))
for number in range(30):
    write(f"cut-{number:02}", base[:chance.randrange(len(base))])
pages = [base[i:i + 4096] for i in range(0, len(base), 4096)]
for number in range(40):
    mixed = pages[:1] + [chance.choice(pages) for _ in pages[1:]]
    write(f"mixed-{number:02}", b"".join(mixed))
count = len(os.listdir(inputs))
done = replay(inputs)
t.ok(done.returncode == 0, f"{count} recordings, seed {seed}: no crash, none written to, each read or refused",
     "\n".join((done.stdout + done.stderr).splitlines()[-15:]))
t.ok(count >= 250, "all of them were tried", count)

# Beside the file: what SQLite would follow or wait for.
for end in ("-wal", "-journal", "-shm"):
    path = os.path.join(folder, "beside")
    shutil.copy(good, path)
    os.mkfifo(path + end)
    done = subprocess.run([tap.VMATLAS, "record", "-o", path, str(os.getpid())], capture_output=True, text=True, timeout=60)
    t.is_(done.returncode, 2, f"a FIFO as {end}: nobody waits for it")
    os.unlink(path + end)
    os.unlink(path)
shutil.rmtree(folder)
t.done()
