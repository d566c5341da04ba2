"""Every format of every command: valid, the same facts, columns as chosen, nothing of a hostile name let through."""
import csv
import io
import json
import os
import re
import sys

sys.path.insert(0, os.path.join(os.environ.get("SRC") or os.getcwd(), "tests"))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import _subject  # noqa: E402
import tap  # noqa: E402

LISTS = {"map": "regions", "stacks": "threads", "cow": "regions", "pages": "runs", "pagesize": "addresses"}


def arguments(command, pid):
    addr = _subject.run("map", "-rn", "-o", "START", pid).out.split()[0].decode()
    return {"pages": [command, "--all", pid], "pagesize": [command, pid, addr, "0"]}.get(command, [command, pid])


def check_json(t, command, args):
    answer = _subject.run(*args, "-J")
    document = json.loads(answer.out)
    t.is_(document["schema"], f"vmatlas/{command}/1", f"{command}: schema")
    t.is_(sorted(k for k in ("target", "partial", "partial_why") if k in document),
          ["partial", "partial_why", "target"], f"{command}: target, partial and why are there")
    rows = document[LISTS[command]]
    if answer.status == 5 and os.environ.get("VMAT_WITHOUT"):
        t.ok(rows is None and document["partial"] and document["partial_why"], f"{command}: without the feature it says so", document)
        return None
    t.ok(rows, f"{command}: has {LISTS[command]}")
    for row in rows:
        missing = sorted(k for k, v in row.items() if v is None)
        if missing != sorted(row.get("unknown", {})):
            t.is_(missing, sorted(row.get("unknown", {})), f"{command}: each null has its reason")
            break
    else:
        t.ok(True, f"{command}: each null has its reason")
    return rows


def check_others(t, command, args, rows):
    keys = [k for k, v in rows[0].items() if not isinstance(v, (list, dict))]
    columns = ",".join(keys)
    table = list(csv.reader(io.StringIO(_subject.run(*args, "--csv", "-o", columns).out.decode())))
    t.is_(table[0], keys, f"{command}: CSV is headed by the keys")
    key = next((k for k in ("size", "pages", "mapping") if k in keys), None)
    got, want = [r[keys.index(key)] for r in table[1:]], ["" if r[key] is None else str(r[key]) for r in rows]
    if command == "pages":
        # whether a page of a library is exclusive depends on processes that come and go, and with it the runs
        got, want = sum(map(int, got)), sum(map(int, want))
    t.is_(got, want, f"{command}: CSV and JSON agree on {key}")
    raw = _subject.run(*args, "-r", "-o", columns).out.decode().splitlines()
    t.is_({len(line.split(" ")) for line in raw}, {len(keys)}, f"{command}: raw has one word a column")
    pairs = _subject.run(*args, "-P", "-o", columns).out.decode().splitlines()
    pair = re.compile(r'[A-Z_]+="[^"$`\\]*(?:\\x[0-9a-f]{2}[^"$`\\]*)*"')
    t.ok(all(len(pair.findall(line)) == len(keys) and pair.sub("", line).strip() == "" for line in pairs),
         f"{command}: pairs are safe for a shell", pairs[:3])


def check_table(t, command, args):
    for width in (80, 100, 160):
        lines = _subject.run(*args, "-w", width).out.decode().splitlines()
        header = next(i for i, line in enumerate(lines) if re.match(r"[ A-Z_]+$", line))
        rows = lines[header:]
        end = rows.index("") if "" in rows else len(rows)
        head = [line for line in lines[:header] if re.match("(size|anonymous|faults) ", line)]
        t.ok(all(len(line) <= 80 for line in head), f"{command}: the counters fit 80 characters", head)
        longest = max(len(line) for line in rows[:end])
        t.ok(longest <= width, f"{command}: the table fits {width} characters", f"{longest}: {max(rows[:end], key=len)}")
    bare = _subject.run(*args, "-n").out.decode().splitlines()
    t.ok(bare and not any(re.match(r"[ A-Z_]+$", line) for line in bare), f"{command}: -n leaves the rows alone", bare[:2])
    plain = _subject.run(*args).out
    t.ok("…".encode() not in plain, f"{command}: output to a pipe is not cut")
    t.ok(b"\033" not in plain, f"{command}: output to a pipe has no colours")


def section_formats(t):
    with _subject.Subject(b"formats", [b"a file"]) as pid:
        for command in LISTS:
            args = arguments(command, pid)
            rows = check_json(t, command, args)
            if rows is None:
                continue
            check_others(t, command, args, rows)
            check_table(t, command, args)


def section_choice(t):
    with _subject.Subject(b"choice") as pid:
        sizes = [int(x) for x in _subject.run("map", "-rnb", "-o", "SIZE", "-x", "size", pid).out.split()]
        t.ok(len(sizes) > 10 and sizes == sorted(sizes), "map: -x sorts, small before large", sizes)
        starts = _subject.run("map", "-rn", "-o", "START", pid).out.split()
        t.ok(len(starts) == len(sizes), "map: as many rows in another order")
        head = _subject.run("map", "-r", "-o", "+pss", pid).out.splitlines()[0].split()
        t.ok(head[-1] == b"PSS" and b"START" in head, "map: -o +COL adds to the usual ones", head)
        every = _subject.run("map", "-rO", pid).out.splitlines()[0].split()
        t.ok({b"PSS", b"VMFLAGS", b"WHY", b"INODE"} <= set(every), "map: -O shows all columns", every)
        words = _subject.run("map", "-J", "-o", "vmflags", pid)
        t.ok("readable" in json.loads(words.out)["regions"][0]["vmflags"], "map: VMFLAGS in words")
        human = _subject.run("map", "-rn", "-o", "SIZE", pid).out.split()
        exact = _subject.run("map", "-rnb", "-o", "SIZE", pid).out.split()
        t.ok(all(b.isdigit() for b in exact) and any(not h.isdigit() for h in human), "map: -b gives bytes")
        always = _subject.run("map", "--color=always", pid).out
        t.ok(b"\033[36mtext\033[0m" in always, "map: --color=always colours the kind")
        t.ok(_subject.run("map", "--color", "auto", pid, env={"NO_COLOR": "1"}).out.count(b"\033") == 0, "map: NO_COLOR")


def section_parts(t):
    with _subject.Subject(b"parts") as pid:
        document = json.loads(_subject.run("map", "-J", pid).out)
        tree = json.loads(_subject.run("map", "--tree", "-J", pid).out)
        regions = document["regions"]
        t.is_(sum(o["count"] for o in tree["owners"]), len(regions), "map --tree: each region has one owner")
        t.is_(sum(len(o["regions"]) for o in tree["owners"]), len(regions), "map --tree: and stands below it")
        t.is_(sum(o["size"] for o in tree["owners"]), sum(r["size"] for r in regions), "map --tree: sizes add up")
        summary = json.loads(_subject.run("map", "--summary", "-J", pid).out)
        t.is_(sum(x["size"] for x in summary["totals"]), sum(r["size"] for r in regions), "map --summary: sizes add up")
        t.is_([(x["kind"], x["count"], x["size"]) for x in summary["totals"]],
              [(x["kind"], x["count"], x["size"]) for x in document["totals"]], "map --summary: the totals of map")
        gaps = json.loads(_subject.run("map", "--gaps", "-J", pid).out)["gaps"]
        t.is_(sum(g["largest"] for g in gaps), 1, "map --gaps: one is the largest")
        t.is_(max(g["size"] for g in gaps), next(g["size"] for g in gaps if g["largest"]), "map --gaps: and it is")
        where = json.loads(_subject.run("map", "--where", "64K", "-J", pid).out)["where"][0]
        t.is_(where["size"], 65536, "map --where: of that size")
        t.ok(any(int(g["start"], 16) <= int(where["start"], 16) and int(where["end"], 16) <= int(g["end"], 16) for g in gaps),
             "map --where: in a free range", where)
        addr = int(regions[5]["start"], 16)
        near = _subject.run("map", pid, f"{addr:x}", "-r").out.decode().splitlines()
        t.is_([line.split()[1] for line in near if line.startswith(">")], [regions[5]["start"]], "map ADDR: marks the region")
        t.is_(len(near) - 1, 7, "map ADDR: with three neighbours on each side")
        t.ok("not mapped" in _subject.run("map", pid, "10").out.decode(), "map ADDR: says that it is not mapped")
        ranged = json.loads(_subject.run("pages", pid, f"{addr:x}+4K", "-J").out)["runs"] or []
        t.ok(ranged == [] or (int(ranged[0]["start"], 16) >= addr and int(ranged[-1]["end"], 16) <= addr + 4096),
             "pages START+SIZE: only that range", ranged)


def harmful(text):
    """Control bytes other than line feeds, or characters that reorder text."""
    return re.findall("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]", text)


def section_hostile(t):
    files = [HOSTILE[i:i + 100] for i in range(0, len(HOSTILE), 100)]
    files += ["\u202eexe\u2066".encode(), b"=1+1", b'"$(id)`', b"new\nline (deleted)"]
    for name in (HOSTILE[:15], b"\033]0;x\007\xff\xc2\x9b1m", b"=cmd|'/c x'!A"):
        with _subject.Subject(name, files) as pid:
            for command in LISTS:
                args = arguments(command, pid)
                for options in ((), ("-w", "80"), ("-J",), ("-r",), ("-P",), ("--csv",)):
                    answer = _subject.run(*args, *options)
                    text = answer.out.decode("utf-8", "strict") + answer.err.decode("utf-8", "strict")
                    if harmful(text) or answer.status not in (0, 5 if os.environ.get("VMAT_WITHOUT") else 0):
                        t.ok(False, f"{command} {' '.join(options)}: nothing harmful", f"{answer.status} {harmful(text)}")
                        break
                    if "-J" in options:
                        json.loads(answer.out)
                    if "--csv" in options:
                        rows = list(csv.reader(io.StringIO(text)))
                        if any(cell[:1] in ("=", "+", "@") for row in rows for cell in row):
                            t.ok(False, f"{command} --csv: no formulas")
                            break
                else:
                    t.ok(True, f"{command}: name {name!r} does no harm in any format")
            for bad in ("@" + "\033[2J", "\033[2J"):
                answer = _subject.run("map", bad)
                t.ok(not harmful(answer.err.decode()), f"an argument is escaped in the error text: {bad!r}", answer.err)


HOSTILE = _subject.HOSTILE
t = tap.Tap()
for section in (section_formats, section_choice, section_parts, section_hostile):
    t.section(section)
t.done()
