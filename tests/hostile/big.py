#!/usr/bin/env python3
"""Large targets in bounded memory of our own: at most 64 MiB and a fifth of what describes the target, and no abort below a limit."""
import os
import resource
import sys

sys.path.insert(0, os.path.join(os.environ["SRC"], "tests", "hostile"))
from _vmatlas import COMMANDS, ROWS, Held, is_asan, judge, parse, run  # noqa: E402
from factory import Factory, children  # noqa: E402
import tap  # noqa: E402

MIB = 1 << 20
TARGETS = [
    ("60,000 regions", "regions", {"n": 60000}),
    ("60,000 regions with pages", "regions", {"n": 60000, "resident": "64m"}),
    ("500 threads", "threads", {"n": 500}),
    ("1 TiB sparse", "sparse", {"size": "1t", "step": "1g"}),
    ("1 TiB sparse, 64k pages", "sparse", {"size": "1t", "step": "16m"}),
]
VIEWS = {**COMMANDS, "map as a table": ("map",), "map --tree": ("map", "--tree"), "map with smaps": ("map", "-J", "-O"),
         "map sorted": ("map", "-x", "RSS"), "stacks as a table": ("stacks",)}


def metadata_bytes(pid):
    """What the kernel has to tell of the target: its maps, and of each thread about 4 KiB of texts."""
    with open(f"/proc/{pid}/maps", "rb") as file:
        size = len(file.read())
    return size + 4096 * len(os.listdir(f"/proc/{pid}/task"))


EXIT_GROUP = 231    # x86-64


def peak(words, pid):
    """What a command says, and the most memory that it had: VmHWM, looked at when it is about to end."""
    held, most = Held((*words, pid), ("-n", "0", "-s", EXIT_GROUP), limit=120), 0
    for _ in held:
        for child in children(held.p.pid):
            with open(f"/proc/{child}/status", encoding="utf-8", errors="replace") as file:
                most = max([most] + [int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM")])
    return held.result(), most


def limited(size):
    return lambda: resource.setrlimit(resource.RLIMIT_AS, (size, size))


def check_target(t, name, scenario, options):
    with Factory(scenario, timeout=120, **options) as f:
        most = 64 * MIB + metadata_bytes(f.pid) // 5
        for view, words in VIEWS.items():
            if view == "map with smaps" and scenario == "regions" and "resident" not in options:
                continue
            r, used = peak(words, f.pid)
            problems = judge(words[0], r) if "-J" in words else []
            t.ok(r.code == 0 and not problems, f"{name}: {view} answers", f"{r.code} {problems} {r.err!r}")
            if not is_asan():
                t.ok(0 < used <= most, f"{name}: {view} needs little memory", f"{used / MIB:.1f} MiB of {most / MIB:.1f}")
            t.diag(f"{name}: {view}: {used / MIB:.1f} MiB of {most / MIB:.1f}")
        for command, words in () if is_asan() else COMMANDS.items():     # the sanitizer itself reserves terabytes
            r = run(*words, f.pid, timeout=60, limit=limited(1 << 30))
            t.ok(r.code == 0 and not judge(command, r) and parse(r)[ROWS[command]] is not None,
                 f"{name}: {command} answers below a limit of 1 GiB of address space", f"{r.code} {judge(command, r)} {r.err!r}")
            for mib in (8, 16, 24, 32, 48, 64):
                r = run(*words, f.pid, timeout=60, limit=limited(mib * MIB))
                if r.code == 127:
                    continue        # the dynamic loader could not even begin
                found = judge(command, r)
                if found or r.code not in (0, 70):
                    t.ok(False, f"{name}: {command} below a limit of {mib} MiB ends in order", f"{r.code} {found} {r.err!r}")


t = tap.Tap()
for target in TARGETS:
    t.section(check_target, *target)
t.done()
