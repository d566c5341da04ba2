"""What vmatlas says of FreeRTOS, against what the test kernel of tests/factory/rtos/ says that it made."""
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.environ["SRC"], "tests"))
import tap

FOLDER = os.path.join(tap.BUILD, "tests/factory/rtos")
VERSIONS = {7: "V7", 8: "V8", 9: "V9", 10: "V10.4", 11: "V11"}


class Kernel:
    """A process with the test kernel's memory: its report, until the end of `with`."""
    def __init__(self, name):
        self.path = os.path.join(FOLDER, "rtos-" + name)
        self.process = subprocess.Popen([self.path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.pid = str(self.process.pid)
        self.truth = read_report(self.process.stdout)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()


def read_report(lines):
    """{"kernel": ..., "heap": ..., "tasks": [...], "bytes": [...]} of JSON lines that end in "ready"."""
    truth = {"tasks": [], "bytes": []}
    for line in lines:
        # UARTs and emulators may put their own lines between.
        if not line.startswith("{"):
            continue
        row = json.loads(line)
        if row["type"] == "ready":
            break
        if row["type"] in ("task", "bytes"):
            truth["tasks" if row["type"] == "task" else "bytes"].append(row)
        else:
            truth[row["type"]] = row
    return truth


def ask(*args):
    """Exit status, document, stderr."""
    done = subprocess.run([tap.VMATLAS, *args, "-J"], capture_output=True, text=True, timeout=120)
    try:
        return done.returncode, json.loads(done.stdout), done.stderr
    except ValueError:
        return done.returncode, {}, done.stderr


def state_of(task):
    return "forever" if task["for_ever"] else task["state"]


def tasks(t, label, truth, doc, slack=0):
    """Every field of every task; sizes may be `slack` words more or less, where only the source of that can say."""
    said = {row["name"]: row for row in doc.get("tasks") or []}
    kernel, wrong, at_most = truth["kernel"], [], 0
    for task in truth["tasks"]:
        got = said.pop(task["name"], None)
        if not got:
            wrong.append(f"{task['name']} is missing")
            continue
        # A stack that is full may have been used by more than it has: nothing is left of its fill in any case.
        want = {"tcb": task["tcb"], "begin": task["stack"], "word": kernel["word"], "priority": task["priority"],
                "number": task["number"], "state": state_of(task), "left_words": task["free_words"],
                "left": task["free_words"] * kernel["word"]}
        wrong += [f"{task['name']}: {key} is {got[key]!r}, should be {value!r}" for key, value in want.items() if got[key] != value]
        off = (got["size_words"] if got["size_words"] is not None else -1000) - task["words"]
        if off > slack and got["source"] == "next":
            at_most += 1  # the next thing that is known: what lies between is not
            continue
        elif not 0 <= off <= slack:
            wrong.append(f"{task['name']}: {got['size_words']} words by {got['source']}, should be {task['words']}")
        elif not off and (got["size"] != task["bytes"] or got["left_percent"] != 100 * task["free_words"] // task["words"]):
            wrong.append(f"{task['name']}: {got['size']} bytes, {got['left_percent']} %")
        if got["state"] == "running":
            if got["used"] is not None:
                wrong.append(f"{task['name']}: a running task's stack pointer is not known")
        elif kernel["word"] and not off and not kernel["grows_up"]:
            used = int(task["stack"], 16) + task["bytes"] - int(task["top"], 16)
            if got["used"] != (used if used <= task["bytes"] else None):
                wrong.append(f"{task['name']}: {got['used']} bytes in use, should be {used}")
    wrong += [f"{name} does not exist" for name, row in said.items() if not row["main"]]
    t.ok(len(truth["tasks"]) > 5 and not wrong and at_most <= (kernel["heap"] == 1), f"{label}: {len(truth['tasks'])} tasks as the kernel made them", "\n".join(wrong))
    rtos = doc.get("rtos") or {}
    t.is_({key: rtos.get(key) for key in ("word", "tcb_size", "cores", "started", "grows_up", "tasks_count", "filled")},
          {"word": kernel["word"], "tcb_size": kernel["tcb_size"], "cores": kernel["cores"], "started": bool(kernel["running"]),
           "grows_up": bool(kernel["grows_up"]), "tasks_count": kernel["tasks"], "filled": True}, f"{label}: the kernel as a whole")
    t.ok(str(rtos.get("version")).startswith(VERSIONS[kernel["shape"]]), f"{label}: its version", rtos.get("version"))


def heap(t, label, truth, doc):
    want, got = truth["heap"], (doc.get("rtos_heap") or [{}])[0]
    wrong = []
    if want["scheme"] == 3:
        t.ok(got.get("scheme") == 3 and got["free"] is None and got["why_not"], f"{label}: heap_3 is the C library's", str(got))
        return
    names = {"scheme": "scheme", "free": "free"}
    if want["scheme"] != 5:
        names |= {"array": "size", "total": "total", "live": "used"}
    elif any(got.get(key) is not None for key in ("size", "total", "used")):
        wrong.append("the size of heap_5 cannot be known")
    if want["scheme"] != 1:
        names |= {"sum": "free_listed", "largest": "largest_free", "blocks": "free_blocks", "minimum": "minimum_free"}
    wrong += [f"{mine} is {got.get(mine)!r}, should be {want[its]!r}" for its, mine in names.items() if got.get(mine) != want[its]]
    t.ok(not wrong, f"{label}: the heap as the kernel's ledger has it", "\n".join(wrong) + "\n" + str(got))


def findings(t, label, doc, stacks):
    """What the scenario has: a stack that is full, and one with a word of 150 left. The heap is sound."""
    said = sorted((row["severity"], row["text"].split('"')[1] if '"' in row["text"] else row["text"]) for row in doc["findings"])
    want = [("overflow", "full"), ("warning", "dead")] if stacks else []
    t.is_([row for row in said if not row[1].startswith("the heap had only")], want, f"{label}: what is found")


class Machine:
    """Firmware in QEMU (a Cortex-M3): its report, a gdb server, and an image of its memory, until the end of `with`."""
    RAM, RAM_SIZE = 0x20000000, 65536

    def __init__(self, name):
        self.elf = os.path.join(FOLDER, f"rtos-m3-{name}.elf")
        self.folder = tempfile.TemporaryDirectory(prefix="vmatlas-rtos-")
        self.image = self.folder.name + "/ram"
        # A socket that we made, so that no other program can have its port.
        server = socket.create_server(("127.0.0.1", 0))
        self.gdb = f"127.0.0.1:{server.getsockname()[1]}"
        self.process = subprocess.Popen(
            ["qemu-system-arm", "-M", "lm3s6965evb", "-display", "none", "-kernel", self.elf, "-serial", "stdio",
             "-chardev", f"socket,id=gdb,fd={server.fileno()},server=on,wait=off", "-gdb", "chardev:gdb", "-monitor", f"unix:{self.folder.name}/monitor,server=on,wait=off"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, pass_fds=[server.fileno()])
        server.close()
        self.truth = read_report(self.process.stdout)
        if "heap" in self.truth:
            self.save()

    def save(self):
        """An image of the memory, by QEMU itself."""
        with socket.socket(socket.AF_UNIX) as monitor:
            monitor.settimeout(60)
            monitor.connect(self.folder.name + "/monitor")
            said = b""
            while b"(qemu)" not in said:
                said += monitor.recv(4096)
            monitor.sendall(f"pmemsave {self.RAM:#x} {self.RAM_SIZE} \"{self.image}\"\n".encode())
            # The prompt comes again with each letter that it echoes: the file itself says when it is done.
            until = time.monotonic() + 60
            while time.monotonic() < until and not (os.path.exists(self.image) and os.path.getsize(self.image) == self.RAM_SIZE):
                time.sleep(0.01)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()
        self.folder.cleanup()


def missing():
    """Why there is no firmware to test with, or None."""
    if not shutil.which("qemu-system-arm"):
        return "qemu-system-arm is not installed"
    if not os.path.exists(os.path.join(FOLDER, "rtos-m3-10-4.elf")):
        return "arm-none-eabi-gcc is not installed"
    return None
