#!/usr/bin/env python3
"""explain, against a program that says where it put what: chains from globals, thread-local storage and stacks, referrers, leaks,
freed blocks, places that are not mapped. Also of a stripped copy, without stopping it, and where files cannot be parsed.
"""
# timeout: 60
import json
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.environ["SRC"], "tests"))
import tap

VMATLAS = tap.VMATLAS
TRUTH = os.path.join(tap.BUILD, "tests/factory/explain_truth")
t = tap.Tap()


class Program:
    def __init__(self, path):
        self.process = subprocess.Popen([path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.truth = json.loads(self.process.stdout.readline())
        self.pid = self.truth["pid"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()

    def explain(self, *names, options=(), **env):
        addrs = [hex(self.truth[n]) if isinstance(n, str) else hex(n) for n in names]
        done = subprocess.run([VMATLAS, "explain", "-J", *options, str(self.pid), *addrs], capture_output=True, text=True, timeout=60,
                              env=dict(os.environ, **env))
        if done.returncode:
            t.diag(done.stderr)
            return None
        doc = json.loads(done.stdout)
        return doc if len(names) > 1 else doc["places"][0]


def chain(place):
    """[(root text or block address, offset)]"""
    return [(link["root"] or int(link["block"], 16), link["block_offset"]) for link in place["chain"]]


def blocks(program):
    truth = program.truth
    doc = program.explain("c", "deep", "lost_1", "lost_2", "into", "freed", "t", "s")
    c, deep, lost_1, lost_2, into, freed, own, on_stack = doc["places"]
    t.ok(not doc["partial"] and doc["stopped_ns"] > 0, "nothing is missing, and the stop is told", doc["partial_why"])
    t.is_([chain(c), c["reach"]], [[("global `cache`+16 in explain_truth.c", None), (truth["a"], 16), (truth["b"], 24)], "reached"],
          "global -> a -> b -> c, with the offsets of the program")
    b = program.explain("b")
    t.is_((chain(b), b["referrers_count"]), ([("global `cache`+16 in explain_truth.c", None), (truth["a"], 16)], 2),
          "a way from static memory is preferred to one from a stack")
    t.is_([int(l["addr"], 16) for l in c["chain"]], [truth["cache"] + 16, truth["a"] + 16, truth["b"] + 24], "where each of the words lies")
    t.is_((c["type"], c["preview"], c["block_size"], c["block_offset"]), ("text", "the third", 120, 0), "what the block holds")
    t.is_((c["site"], bool(c["unknown"]["site"])), (None, True), "its site is unknown, with a reason")
    t.is_((len(deep["chain"]), deep["chain_length"], deep["chain"][0]["root"]), (16, 100, "global `head` in explain_truth.c"),
          "of a long chain the first and the last links, and how many there are")
    t.is_(int(deep["chain"][-1]["to"], 16), truth["deep"], "which ends at the block")
    t.is_((lost_1["reach"], lost_1["chain"], lost_1["referrers_count"]), ("leaked", [], 0), "nothing refers to a lost block")
    t.is_((lost_2["reach"], [(int(r["block"], 16), r["block_offset"]) for r in lost_2["referrers"]]),
          ("leaked, held by leaked blocks", [(truth["lost_1"], 40)]), "only a lost one refers to what it leads to")
    t.is_((into["reach"], chain(into), into["chain"][0]["into"]), ("interior only", [("global `interior` in explain_truth.c", None)], True),
          "an address into a block only")
    t.is_((freed["block_state"], freed["reach"], freed["chain"]), ("tcache", None, []), "a freed block is free, and not judged")
    t.ok(own["chain"][0]["root"].startswith("thread-local storage of thread ") and int(own["chain"][0]["addr"], 16) == truth["own"]
         and own["kind"] == "arena", "a thread's own variable", str(own["chain"]))
    t.ok(on_stack["chain"][0]["root"].startswith(f"stack of thread {program.pid} ") and int(on_stack["chain"][0]["addr"], 16) == truth["on_stack"],
         "a variable of main, on its stack", str(on_stack["chain"]))
    leaks = json.loads(subprocess.run([VMATLAS, "leaks", "-J", str(program.pid)], capture_output=True, text=True).stdout)
    t.is_([int(l["addr"], 16) for l in leaks["leaks"]], [truth["lost_1"]], "leaks finds the same one")


def places(program):
    truth = program.truth
    doc = program.explain("constant", "work", "own", "frame", "on_stack", "hole", 0, 1 << 47, 0xffffffff81000000, 0xffffffffff600000, 8)
    constant, work, own, frame, on_stack, hole, null, beyond, kernel, vsyscall, _ = doc["places"]
    t.is_(doc["stopped_ns"], None, "for what is in no heap the process is not stopped")
    t.is_((constant["name"], constant["kind"], "copied" in constant["page"]), ("global `constant` in explain_truth.c", "data", True), "an object")
    t.is_((work["name"], work["kind"], work["prot"]), ("`work` in explain_truth.c", "text", "r-xp"), "a function")
    t.ok(own["name"].startswith("thread-local storage of thread "), "thread-local storage", own["name"])
    thread = own["name"].split()[4]
    t.ok(frame["name"].startswith(f"stack of thread {thread} ") and ", sp+0x" in frame["name"] and frame["kind"] == "stack", "a frame", frame["name"])
    t.ok(on_stack["name"].startswith(f"stack of thread {program.pid} "), "the main stack", on_stack["name"])
    t.is_((hole["state"], hole["kind"], int(hole["end"], 16) - int(hole["start"], 16)), ("free", None, 65536), "a hole between two regions")
    t.ok("behind anon" in hole["why"] and "before" in hole["why"], "what lies around it", hole["why"])
    with open(f"/proc/{program.pid}/maps", encoding="utf-8") as file:
        of_vsyscall = "mapped" if "[vsyscall]" in file.read() else "kernel"           # not built in everywhere
    t.is_([p["state"] for p in (null, beyond, kernel, vsyscall)], ["free", "not canonical", "kernel", of_vsyscall], "addresses that no program has")
    t.ok("null pointer" in null["why"], "a null pointer", null["why"])


def of_a_core(program):
    """The same ways in a core of the same process."""
    names = ("b", "c", "deep", "lost_1", "lost_2", "into", "t", "s", "own", "constant", "work")
    live = program.explain(*names)
    with tempfile.TemporaryDirectory(prefix="vmatlas-explain.") as folder:
        subprocess.run([VMATLAS, "dump", "-o", f"{folder}/core", str(program.pid)], check=True, stdout=subprocess.DEVNULL)
        process, program.pid = program.pid, f"{folder}/core"
        core = program.explain(*names)
        program.pid = process
    keys = ("addr", "state", "kind", "name", "block", "block_offset", "type", "preview", "reach", "chain", "referrers_count")
    t.is_([[p[k] for k in keys] for p in core["places"]], [[p[k] for k in keys] for p in live["places"]], "a core says the same")


def degraded(program):
    place = program.explain("c", options=["--no-stop"])
    t.is_((place["kind"], place["block"], "not stopped" in place["no_block"]), ("heap", None, True), "--no-stop: blocks are unknown, and why")
    place = program.explain("c", VMAT_WITHOUT="seccomp")
    t.is_([l["to"] for l in place["chain"]], [hex(program.truth[n]) for n in "abc"], "without symbols the chain is the same")
    t.ok(place["chain"][0]["root"].startswith("explain_truth at 0x"), "and its root is told by file and address", place["chain"][0]["root"])
    with tempfile.TemporaryDirectory(prefix="vmatlas-explain.") as folder:
        subprocess.run(["strip", "-o", f"{folder}/stripped", TRUTH], check=True)
        with Program(f"{folder}/stripped") as stripped:
            bss, data, code = stripped.explain("c", "constant", "work")["places"]
            os.rename(f"{folder}/stripped", f"{folder}/moved")
            gone = stripped.explain("constant")
        root = bss["chain"][0]["root"]
        t.ok(root.startswith(".bss of stripped at 0x") or root.startswith("near `"), "stripped: the section of the root", root)
        t.ok("`constant`" not in data["name"] and (data["name"].startswith(".data of stripped at 0x") or data["name"].startswith("near ")),
             "stripped: no name that is not known", data["name"])
        t.ok("`work`" not in code["name"], "nor of a function", code["name"])
        t.ok(gone["name"].startswith("moved at 0x") or gone["name"].startswith("stripped at 0x") or ".data" in gone["name"], "a file that was renamed", gone["name"])
    done = subprocess.run([VMATLAS, "explain", str(program.pid), hex(program.truth["c"]), "10"], capture_output=True, text=True)
    t.ok(done.returncode == 0 and "global `cache`+16 in explain_truth.c" in done.stdout and "\n0x10\n" in done.stdout, "as a text", done.stdout)
    done = subprocess.run([VMATLAS, "explain", "--csv", str(program.pid), hex(program.truth["c"])], capture_output=True, text=True)
    t.ok(done.returncode == 0 and len(done.stdout.splitlines()) == 2, "as CSV", done.stdout)
    done = subprocess.run([VMATLAS, "explain", str(program.pid), "xyz"], capture_output=True, text=True)
    t.is_(done.returncode, 2, "what is no address is a mistake")


with Program(TRUTH) as program:
    blocks(program)
    places(program)
    of_a_core(program)
    degraded(program)
t.done()
