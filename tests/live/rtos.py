#!/usr/bin/env python3
"""FreeRTOS in a process and in its core: every number is what the test kernel says that it made, for each version, heap and word.

The kernel keeps its own table of depths, words used and states, and its heap a ledger (tests/factory/rtos/).
"""
# timeout: 240
import json
import os
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.environ["SRC"], "tests"))
sys.path.insert(0, os.path.join(os.environ["SRC"], "tests/live"))
import rtos_check
import tap

t = tap.Tap()
KERNELS = """7-1 7-2 7-4 8-4 9-1 9-2 9-4 10-1 10-2 10-3 10-4 10-5 11-1 11-2 11-4 11-5 10-4-record 10-4-static 10-5-static 10-3-static
    11-4-protect 11-5-protect 11-4-smp 10-4-up 10-1-up 10-4-w1 10-4-w2 10-4-w4 10-4-2000 10-4-w1-2000 10-4-w4-2000"""
CORES = ("7-1", "9-2", "10-3", "10-4-static", "11-5-protect")


def slack(name, truth):
    """What the size of a stack may be more, in words: heaps round up, malloc more so."""
    word = truth["kernel"]["word"]
    return 24 // word if "-3" in name else 7 // word


def check(label, name, truth, target):
    code, doc, err = rtos_check.ask("stacks", "--rtos", target)
    rtos_check.tasks(t, label, truth, doc, slack(name, truth))
    t.is_(code, 1, f"{label}: a stack that is full is judged")
    if doc:
        rtos_check.findings(t, label, doc, True)
    else:
        t.diag(err)
    rtos_check.heap(t, label, truth, rtos_check.ask("heap", "--rtos", target)[1])


def core(name, kernel):
    if not shutil.which("gcore"):
        t.skip(f"{name}: from its core", "gcore is not installed")
        return
    with tempfile.TemporaryDirectory() as folder:
        made = subprocess.run(["gcore", "-o", folder + "/core", kernel.pid], capture_output=True, text=True, timeout=120)
        path = f"{folder}/core.{kernel.pid}"
        if t.ok(os.path.exists(path), f"{name}: gcore writes a core", made.stderr):
            check(f"{name}, its core", name, kernel.truth, path)


def processes():
    for name in KERNELS.split():
        with rtos_check.Kernel(name) as kernel:
            check(name, name, kernel.truth, kernel.pid)
            if name in CORES:
                core(name, kernel)


def depths():
    """The question that all this began with: 1000 more words, and where the bytes went."""
    for short, long, word in (("10-4-w4", "10-4-w4-2000", 4), ("10-4", "10-4-2000", 8), ("10-4-w1", "10-4-w1-2000", 1)):
        costs = []
        for name in (short, long):
            with rtos_check.Kernel(name) as kernel:
                costs.append(rtos_check.ask("heap", "--rtos", kernel.pid)[1]["rtos_heap"][0]["used"])
                tcb = kernel.truth["kernel"]["tcb_size"]
        planned = [rtos_check.ask("stacks", "--plan", f"main:{depth}", "--word", str(word), "--tcb", str(tcb))[1]["sum"]["heap_4"]
                   for depth in (1000, 2000)]
        t.is_([costs[1] - costs[0], planned[1] - planned[0]], [1000 * word] * 2,
              f"depth 1000 -> 2000 with words of {word}: bytes more, measured and planned")


def beside():
    """Without being asked: a process that has FreeRTOS shows its tasks below its threads."""
    with rtos_check.Kernel("10-4") as kernel:
        code, doc, _ = rtos_check.ask("stacks", kernel.pid)
        rtos_check.tasks(t, "beside the threads", kernel.truth, doc)
        t.ok(code == 0 and len(doc["threads"]) == 1, "the threads are there, too")
        text = subprocess.run([tap.VMATLAS, "stacks", kernel.pid], capture_output=True, text=True).stdout
        t.ok("FreeRTOS V10.4" in text and "a_very_long_nam" in text, "as tables", text)
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        other.stdin.write(b"?")
        other.stdin.flush()
        os.read(other.stdout.fileno(), 1)  # its program is loaded
        code, doc, err = rtos_check.ask("stacks", "--rtos", str(other.pid))
        t.ok(code == 6 and ("stripped" in err or "no FreeRTOS" in err), "a process without it says so", err)
        t.ok("tasks" not in rtos_check.ask("stacks", str(other.pid))[1], "and is not asked for it")
        other.kill()


def threads():
    """The POSIX port: the thread that runs each task, and its own stack where that is another one."""
    for name in ("11-4-posix", "10-4-ownstack"):
        with rtos_check.Kernel(name) as kernel:
            _, doc, _ = rtos_check.ask("stacks", "--rtos", kernel.pid)
            rtos_check.tasks(t, name, kernel.truth, doc)
            rows = subprocess.run([tap.VMATLAS, "stacks", kernel.pid, "-J", "-O"], capture_output=True, text=True).stdout
            stacks = {row["thread"]: row for row in json.loads(rows)["threads"]}
            said, wrong = {row["name"]: row for row in doc["tasks"]}, []
            for task in kernel.truth["tasks"]:
                got, thread = said[task["name"]], stacks.get(hex(task["pthread"]))
                is_own = task["name"] == "deep"  # its stack is large enough to be the thread's
                want = [thread["tid"], None, None] if is_own else [thread["tid"], thread["begin"], thread["size"]]
                if [got["tid"], got["thread_begin"], got["thread_size"]] != want or is_own != (thread["kind"] == "user"):
                    wrong.append(f"{got} should have {want}")
            t.ok(len(stacks) > 10 and not wrong, f"{name}: the thread of each task, and its stack", "\n".join(wrong))


t.section(lambda _: processes())
t.section(lambda _: threads())
t.section(lambda _: depths())
t.section(lambda _: beside())
t.done()
