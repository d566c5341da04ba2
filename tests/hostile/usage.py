#!/usr/bin/env python3
"""Wrong usage: exit code 2 and a text that says what is wrong and what would be right; nothing on standard output."""
import os
import sys
import tempfile

sys.path.insert(0, os.path.join(os.environ["SRC"], "tests", "hostile"))
from _vmatlas import COMMANDS, judge, parse, raw_controls, run  # noqa: E402
import tap  # noqa: E402

ME = str(os.getpid())

# Arguments, and the words that the text must hold.
WRONG = [
    ([], ["no command", "--help"]),
    (["fly", ME], ["unknown command 'fly'", "help"]),
    (["map"], ["TARGET", "Usage"]),
    (["stacks"], ["TARGET"]),
    (["cow"], ["TARGET"]),
    (["pages"], ["TARGET"]),
    (["pagesize", ME], ["argument", "ADDR"]),
    (["map", ""], ["no target"]),
    (["map", "@"], ["'@'"]),
    (["map", "12x"], ["'12x'", "pid"]),
    (["map", "-1"], ["-1"]),
    (["map", "99999999999999999999"], ["99999999999999999999"]),
    (["map", "--no-such-option", ME], ["--no-such-option", "--help"]),
    (["map", "-Z", ME], ["-Z"]),
    (["map", "-o"], ["-o", "value"]),
    (["map", "-o", "START,NOPE", ME], ["NOPE", "START"]),
    (["map", "-o", "", ME], []),
    (["map", "-x", "NOPE", ME], ["NOPE"]),
    (["stacks", "-o", "RSS", ME], ["RSS"]),
    (["map", "-o", "PSS", "-O", ME], ["--output"]),
    (["map", "-J", "-r", ME], ["--json"]),
    (["map", "--summary", "--tree", ME], ["--summary"]),
    (["map", ME, "1000", "2000"], ["2000"]),
    (["map", ME, "hello"], ["'hello'", "hexadecimal"]),
    (["map", ME, "0x"], ["'0x'"]),
    (["map", ME, "11112222333344445"], ["11112222333344445"]),
    (["map", "--where", "0", ME], ["--where", "0"]),
    (["map", "--where", "1Q", ME], ["1Q", "64K"]),
    (["map", "--where", "-5", ME], ["-5"]),
    (["map", "--where", "99999999999999999999G", ME], ["99999999999999999999G"]),
    (["map", "--width", "wide", ME], ["wide"]),
    (["map", "--color", "pink", ME], ["pink", "always"]),
    (["pages", ME], ["--all"]),
    (["pages", "--all", ME, "1000"], ["--all"]),
    (["pages", ME, "2000-1000"], ["2000-1000"]),
    (["pages", ME, "1000-1000"], ["1000-1000"]),
    (["pages", ME, "1000+"], ["1000+"]),
    (["pages", ME, "1000+-1"], ["1000+-1"]),
    (["pages", ME, "fffffffffffff000+1G"], ["fffffffffffff000+1G"]),
    (["pages", ME, "10"], ["not mapped"]),
    (["pagesize", ME, "0xyz"], ["0xyz"]),
    (["sizes", "--max", "hello"], ["--max", "hello"]),
    (["sizes", ME, "1"], ["'1'"]),
    (["doctor", ME], [ME]),
    (["help", "fly"], ["fly"]),
    (["map", "\x1b[31m\r\x07"], ["\\x1b[31m"]),
    (["\x1b[2J"], ["\\x1b[2J"]),
    (["map", "-o", "\x1b[2J", ME], ["\\x1b[2J"]),
    (["map", "--\x1b[2J", ME], ["\\x1b[2J"]),
    (["map", "--where", "\x9b2J\udcff", ME], ["--where"]),
]


def check_wrong(t):
    for args, words in WRONG:
        shown = " ".join(["vmatlas", *args]).replace(ME, "PID").encode("unicode_escape").decode()
        r = run(*args)
        text = r.err.decode("utf-8", "surrogateescape")
        problems = []
        if r.code != 2:
            problems.append(f"exit code {r.code}")
        if not text.startswith("vmatlas: ") or not text.endswith("\n"):
            problems.append("no text of ours")
        problems += [f"the text does not hold {w!r}" for w in words if w not in text]
        if r.out:
            problems.append(f"something on standard output: {r.out[:80]!r}")
        if raw_controls(r.err):
            problems.append(f"raw control bytes {raw_controls(r.err)}")
        t.ok(not problems, f"{shown}: exit 2 and a helpful text", f"{problems}\n{text!r}")


def check_missing(t):
    r = run("map", "--root", "/no/such/folder", "1")
    t.is_(r.code, 6, "--root of a folder that is missing: exit 6")
    t.ok(b"/no/such/folder" in r.err and not r.out, "  and the text names it", r.err)
    r = run("map", "--root", "/etc/passwd", "1")
    t.is_(r.code, 6, "--root of a file: exit 6")
    r = run("map", "--root", os.environ["SRC"] + "/tests", "1")
    t.is_(r.code, 6, "--root of a folder without the process: exit 6")
    t.ok(b"no process 1" in r.err, "  and the text says so", r.err)
    r = run("map", "@no-such-process-name")
    t.is_((r.code, r.out), (3, b""), "@name of no process: exit 3")
    t.ok(b"no-such-process-name" in r.err, "  and the text names it", r.err)


RECORDS = {
    "maps with a line of another form": {"maps": "hello\n"},
    "maps that is cut": {"maps": "1000-2000 rw-p 00000000 00:00 0\n2000-3000 rw"},
    "maps whose lines overlap": {"maps": "1000-3000 rw-p 00000000 00:00 0\n2000-4000 rw-p 00000000 00:00 0\n"},
    "stat of another form": {"stat": "hello\n"},
    "an empty stat": {"stat": ""},
    "no maps": {},
}


def check_records(t):
    """Bad input files: exit 6 and a text, and of the counters, which are in no file either, none is told as 0."""
    with open("/proc/self/stat", encoding="ascii") as file:
        stat = file.read()
    for what, files in RECORDS.items():
        with tempfile.TemporaryDirectory() as root:
            os.mkdir(f"{root}/77")
            for name, text in {"stat": "77" + stat[stat.index(" "):], **files}.items():
                with open(f"{root}/77/{name}", "w", encoding="ascii") as file:
                    file.write(text)
            for command, words in COMMANDS.items():
                r = run(*words, "--root", root, 77)
                found = judge(command, r)
                doc = parse(r) if r.out else None
                if r.code != 6 or b"77" not in r.err:
                    found.append(f"exit code {r.code}: {r.err!r}")
                if doc and [k for k, v in doc.get("counters", {}).items() if v == 0]:
                    found.append(f"counters that nobody knows: {doc['counters']}")
                if doc and doc["target"]["uid"] is not None:
                    found.append(f"uid {doc['target']['uid']}")
                t.ok(not found, f"a record with {what}: {command} ends with exit 6", found)


def check_without(t):
    r = run("map", "-J", ME, env={"VMAT_WITHOUT": "pagemap_scam"})
    t.ok(b"pagemap_scam" in r.err, "a name in VMAT_WITHOUT that is no feature is named", f"{r.code} {r.err!r}")


t = tap.Tap()
t.section(check_wrong)
t.section(check_missing)
t.section(check_records)
t.section(check_without)
t.done()
