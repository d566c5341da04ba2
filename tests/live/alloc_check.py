"""What tests/live/heap_musl.py and heap_mimalloc.py ask of a walk, by programs that know the truth."""
import bisect
import json
import os
import subprocess
import tempfile

import tap


class Check:
    def __init__(self, t, allocator, hides_aligned=False, absent=("fastbin", "tcache", "top", "trimmable")):
        """hides_aligned: a block that was aligned may begin within what the walk says, and ends with it."""
        self.t = t
        self.allocator = allocator
        self.hides_aligned = hides_aligned
        self.absent = absent

    def vmatlas(self, command, pid, *options, codes=(0,), operands=()):
        # The limit is generous: what is asked is whether the answer is right, not when it comes.
        limit = () if "--no-stop" in options or command not in ("heap", "leaks") else ("--max-stop", "60000")
        done = subprocess.run([tap.VMATLAS, command, "-J", *limit, *options, str(pid), *operands], capture_output=True, text=True, timeout=180)
        if done.returncode not in codes:
            self.t.diag(done.stderr)
            return None
        return json.loads(done.stdout)

    def blocks(self, name, blocks, chunks):
        """Each of the program's blocks is one chunk in use, of its size; no two are in one."""
        by_block = {int(c["block"], 16): c for c in chunks if c["state"] in ("in_use", "mmapped")}
        if self.hides_aligned:
            starts = sorted(by_block)
            for addr, size in blocks.items():
                at = bisect.bisect_right(starts, addr) - 1
                chunk = by_block[starts[at]] if at >= 0 else None
                if addr not in by_block and addr % 16 == 0 and chunk and starts[at] + chunk["usable"] == addr + size:
                    del by_block[starts[at]]
                    del starts[at]
                    by_block[addr] = {**chunk, "usable": size}
                    bisect.insort(starts, addr)
        missing = [hex(a) for a in blocks if a not in by_block]
        wrong = [(hex(a), size, by_block[a]["usable"]) for a, size in blocks.items() if a in by_block and by_block[a]["usable"] != size]
        self.t.is_((missing[:3], len(missing)), ([], 0), f"{name}: none of {len(blocks)} blocks is missing")
        self.t.is_((wrong[:3], len(wrong)), ([], 0), f"{name}: each is as large as malloc_usable_size says")
        outside = [hex(a) for a, size in blocks.items() if a in by_block and not
                   int(by_block[a]["addr"], 16) <= a < a + size <= int(by_block[a]["addr"], 16) + by_block[a]["size"]]
        self.t.is_(outside, [], f"{name}: each lies in its chunk")
        return by_block

    def truth(self, name, command, threads, count, env=None):
        with tempfile.NamedTemporaryFile(prefix="vmatlas-alloc-") as file, \
                subprocess.Popen([*command, str(threads), str(count), file.name], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                 text=True, env={**os.environ, **(env or {})}) as process:
            process.stdout.readline()
            doc = self.vmatlas("heap", process.pid)
            listed = self.vmatlas("heap", process.pid, "--chunks")
            process.stdin.close()
            with open(file.name) as lines:
                blocks = {int(a, 16): int(size) for a, size in (line.split() for line in lines)}
        if not self.t.ok(doc and doc["walked"] and listed, f"{name}: is walked", doc and doc["why_not"]):
            return
        self.t.is_(doc["allocator"], self.allocator, f"{name}: the allocator is named")
        self.t.is_(doc["findings"], [], f"{name}: no findings")
        self.t.ok(all(a["complete"] for a in doc["arenas"] if a["kind"] != "mapped"), f"{name}: walked to the end")
        in_use = self.blocks(name, blocks, listed["chunks"])
        # The C library's own blocks are few: its buffers, and the stacks and lists of threads.
        self.t.ok(len(in_use) <= len(blocks) + 20 + 3 * threads, f"{name}: nothing that was given back is in use",
                  f"{len(in_use)} in use, {len(blocks)} known")
        totals, chunks = doc["totals"], listed["chunks"]
        self.t.is_(totals["in_use"], sum(c["size"] for c in chunks if c["state"] in ("in_use", "mmapped")), f"{name}: sums are those of the chunks")
        self.t.is_(totals["bytes"], totals["in_use"] + totals["free"] + (totals["top"] or 0) + totals["metadata"],
                   f"{name}: used, free and metadata are all of it")
        self.t.is_([totals[k] for k in self.absent], [None] * len(self.absent), f"{name}: what this malloc does not have is unknown")
        ends = [int(c["addr"], 16) + c["size"] for c in chunks]
        self.t.ok(all(e <= int(c["addr"], 16) for e, c in zip(ends, chunks[1:])), f"{name}: no chunk lies in another")

    def leaks(self, name, command, env=None, scale=10):
        with subprocess.Popen([*command, str(scale)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                              env={**os.environ, **(env or {})}) as process:
            truth = json.loads(process.stdout.readline())
            process.stdout.readline()
            doc = self.vmatlas("leaks", process.pid, codes=(0, 1))
            process.stdin.close()
        totals = doc["totals"] if doc else {}
        missed = truth["direct"] - totals.get("direct_count", 0)
        self.t.ok(0 <= missed <= 2, f"{name}: {truth['direct']} planted leaks are found, and nothing that is kept", json.dumps(totals))
        self.t.ok(0 <= truth["indirect"] - totals.get("indirect_count", 0) <= 2, f"{name}: {truth['indirect']} hang on them", json.dumps(totals))
        self.t.ok(truth["interior"] <= totals.get("interior_count", 0) <= truth["interior"] + missed + 6,
                  f"{name}: blocks held by an address into them are a class of their own", json.dumps(totals))

    def tiny(self, name, command, count, env=None):
        """More blocks than a heap of the smallest chunks of glibc would have in as much memory."""
        with subprocess.Popen([*command, str(count)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                              env={**os.environ, **(env or {})}) as process:
            process.stdout.readline()
            doc = self.vmatlas("leaks", process.pid, codes=(0, 1))
            process.stdin.close()
        totals = doc["totals"] if doc else {}
        self.t.ok(totals.get("blocks", 0) >= count and totals["direct_count"] < 10, f"{name}: {count} blocks of a word are searched", json.dumps(totals))

    def busy(self, name, command, walks, env=None):
        with subprocess.Popen([*command, "4"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                              env={**os.environ, **(env or {})}) as process:
            process.stdout.readline()
            docs = [self.vmatlas("heap", process.pid) for _ in range(walks)]
            running = [self.vmatlas("heap", process.pid, "--no-stop") for _ in range(walks // 4)]
            out, _ = process.communicate("", timeout=30)
        bad = [d and d["findings"] for d in docs if not d or d["findings"] or not d["walked"]]
        self.t.is_(bad, [], f"{name}: {walks} walks of a program that allocates flat out, without a finding")
        self.t.ok(all(running), f"{name}: {len(running)} walks while it runs")
        self.t.ok(int(out) > 1000, f"{name}: it went on all the while")
