#!/usr/bin/env python3
"""Names with every byte from 1 to 255, escape sequences, broken UTF-8, formulas: in every output they come out harmless, and told apart."""
import collections
import csv
import ctypes
import io
import json
import os
import re
import shlex
import subprocess
import sys

sys.path.insert(0, os.path.join(os.environ["SRC"], "tests", "hostile"))
from _vmatlas import COMMANDS, judge, parse, raw_controls, run  # noqa: E402
from factory import Factory  # noqa: E402
import tap  # noqa: E402

TEXTS = {
    "table": (),
    "table of 80 columns": ("-w", "80"),
    "coloured table": ("--color", "always"),
    "raw": ("-r",),
    "pairs": ("-P",),
    "csv": ("--csv",),
    "json": ("-J",),
}
VIEWS = {
    "map": ("map",),
    "map -O": ("map", "-O"),
    "map --tree": ("map", "--tree"),
    "map --gaps": ("map", "--gaps"),
    "map --summary": ("map", "--summary"),
    "stacks": ("stacks",),
    "stacks -O": ("stacks", "-O"),
    "cow": ("cow", "--ranges"),
    "pages": ("pages", "--all", "-o", "+OWNER"),
}


def as_json_string(name):
    """What the header of export.h promises: UTF-8 as it is, each byte that belongs to none as the character of its number."""
    text, i = "", 0
    while i < len(name):
        for n in (1, 2, 3, 4):
            try:
                text += name[i:i + n].decode("utf-8")
                i += n
                break
            except UnicodeDecodeError:
                pass
        else:
            text += chr(name[i])
            i += 1
    return text


def without_colours(out):
    return re.sub(rb"\x1b\[[0-9;]*m", b"", out)


def check_controls(t, f):
    for view, words in VIEWS.items():
        for name, options in TEXTS.items():
            if view in ("map -O", "stacks -O") and name == "json":
                continue
            for locale in ("C.UTF-8", "C"):
                r = run(*words, *options, f.pid, env={"LC_ALL": locale})
                out = without_colours(r.out) if name == "coloured table" else r.out
                bad = raw_controls(out) + raw_controls(r.err)
                if locale == "C" and name not in ("json", "csv") and any(b > 0x7e for b in out):
                    bad.append("bytes that are no ASCII")
                t.ok(r.code == 0 and not bad, f"{view} as {name}, {locale}: no control byte", f"exit {r.code} {bad}")


def check_json(t, f):
    for command, words in COMMANDS.items():
        r = run(*words, f.pid)
        t.ok(not judge(command, r), f"{command} -J is a right document", judge(command, r))
    doc = parse(run("map", "-J", f.pid))
    t.is_(doc["target"]["name"], bytes.fromhex(f.info["comm_hex"]).decode(), "comm comes back")
    rows = {r["start"]: r for r in doc["regions"]}
    wrong, seen = [], collections.defaultdict(list)
    for m in f.info["mappings"]:
        name = bytes.fromhex(m["path_hex"])
        want = as_json_string(b"/memfd:" + name if m["kind"] == "memfd" else name)
        row = rows.get(m["start"])
        if not row or row["path"] != want or row["deleted"] != m["deleted"] or row["backing"] != m["kind"]:
            wrong.append((want, m["deleted"], row))
        else:
            seen[row["path"], row["deleted"]].append(m["start"])
    t.ok(not wrong, f"all {len(f.info['mappings'])} names of mappings come back", wrong[:3])
    t.ok(all(len(v) == 1 for v in seen.values()), "no two names have become one", [v for v in seen.values() if len(v) > 1])
    threads = {r["tid"]: r["name"] for r in parse(run("stacks", "-J", f.pid))["threads"]}
    wrong = [(x["tid"], threads.get(x["tid"])) for x in f.info["threads"]
             if threads.get(x["tid"]) != as_json_string(bytes.fromhex(x["name_hex"]))]
    t.ok(not wrong, f"all {len(f.info['threads'])} names of threads come back", wrong)
    t.is_(len({threads[x["tid"]] for x in f.info["threads"]}), len(f.info["threads"]), "and are all different")


def check_lines(t, f):
    """A row is a line; a name with a line feed does not make two of it."""
    count = len(parse(run("map", "-J", f.pid))["regions"])
    raw = run("map", "-r", "-n", "-o", "START,KIND,PATH", f.pid).out.decode().splitlines()
    t.is_((len(raw), {len(line.split(" ")) for line in raw}), (count, {3}), "raw: a line a row, three words each")
    t.is_(len({line.split(" ")[2] for line in raw if "L" * 250 in line or "\\x" in line}),
          len([line for line in raw if "L" * 250 in line or "\\x" in line]), "raw: names stay different")
    pairs = run("map", "-P", "-o", "START,PATH", f.pid).out.decode()
    t.is_(len(pairs.splitlines()), count, "pairs: a line a row")
    shell = subprocess.run(["sh", "-c", 'while IFS= read -r line; do eval "$line"; printf "%s\\n" "$START"; done'],
                           input=pairs.encode(), capture_output=True, cwd="/")
    t.is_((shell.stdout.decode().split(), shell.stderr),
          ([line.split(" ")[0] for line in raw], b""), "pairs: a shell's eval takes every line, and runs nothing of it")
    wrong = [line for line in pairs.splitlines() if len(shlex.split(line)) != 2]
    t.ok(not wrong, "pairs: two words each", wrong[:3])
    table = run("map", "-n", "-w", "0", "-o", "START,PATH", f.pid).out.decode().splitlines()
    t.is_(len(table), count, "table: a line a row")


def is_number(text):
    return re.fullmatch(r"-?\d+", text) is not None


def csv_problems(out, count):
    text = out.decode()
    rows = list(csv.reader(io.StringIO(text), strict=True))
    bad = [f"{len(rows) - 1} rows of {count}"] if len(rows) != count + 1 else []
    bad += [f"a row of {len(r)} fields: {r}" for r in rows if len(r) != len(rows[0])]
    bad += [f"a field begins with a formula: {x!r}" for r in rows[1:] for x in r if x[:1] in ("=", "+", "-", "@", "\t", "\r") and
            not is_number(x)]
    return bad


def check_csv(t, f):
    count = len(parse(run("map", "-J", f.pid))["regions"])
    t.ok(not csv_problems(run("map", "--csv", f.pid).out, count), "csv of map can be read, and holds no formula",
         csv_problems(run("map", "--csv", f.pid).out, count)[:5])
    count = len(parse(run("stacks", "-J", f.pid))["threads"])
    t.ok(not csv_problems(run("stacks", "--csv", f.pid).out, count), "csv of stacks can be read, and holds no formula",
         csv_problems(run("stacks", "--csv", f.pid).out, count)[:5])


def check_formulas(t):
    """comm is the first field that a formula could stand in."""
    for comm in ("=1+1", "+1", "-1+2", "@SUM(A1)", "\t=1", "\r=1", "'=1", '"=1"', "=cmd|' /C'!A0"):
        with Factory("names", comm=comm) as f:
            t.is_(parse(run("map", "-J", f.pid))["target"]["name"], comm[:15], f"comm {comm!r} comes back")
            out = run("stacks", "--csv", "-o", "NAME,TID,WHY", f.pid).out
            count = len(parse(run("stacks", "-J", f.pid))["threads"])
            t.ok(not csv_problems(out, count), "  and is no formula in csv", csv_problems(out, count))
            bad = [x for words in VIEWS.values() for x in raw_controls(run(*words, f.pid).out)]
            t.ok(not bad, "  and no control byte in a table", bad)


def check_errors(t, f):
    """Names of the target in texts of errors, and hostile arguments."""
    for args in (["map", b"@\x1b[2J\x9b\n\xff"], ["map", "--root", b"/tmp/\x1b]0;x\x07\xff", "1"], ["map", b"\x1b[31m\xff\x9b"],
                 ["pages", str(f.pid), b"\x1b[2J\xff"]):
        r = run(*[os.fsdecode(a) for a in args])
        t.ok(r.code in (2, 3, 6) and not raw_controls(r.err), f"a hostile argument of {args[0]} comes out harmless", (r.code, r.err))
    comm = bytes.fromhex(f.info["comm_hex"]).decode()
    r = run("map", "--summary", "@" + comm)
    t.is_(r.code, 0, "a hostile comm can be asked for by name")
    with Factory("names"):
        r = run("map", "@" + comm)
        t.ok(r.code == 2 and not raw_controls(r.err) and b"\\x1b" in r.err, "  and is escaped where several have it", (r.code, r.err))


def check_all_bytes(t, f):
    """The factory really holds every byte, so that the rest of this file means something."""
    for what, names in (("threads", [x["name_hex"] for x in f.info["threads"]]),
                        ("files", [m["path_hex"] for m in f.info["mappings"] if m["kind"] == "file"]),
                        ("memfds", [m["path_hex"] for m in f.info["mappings"] if m["kind"] == "memfd"])):
        held = set(b"".join(bytes.fromhex(n) for n in names))
        t.ok(held >= set(range(1, 256)), f"names of {what} hold every byte", sorted(set(range(1, 256)) - held))


t = tap.Tap()
with Factory("names") as f:
    for check in (check_all_bytes, check_controls, check_json, check_lines, check_csv, check_errors):
        t.section(check, f)
t.section(check_formulas)
t.done()
