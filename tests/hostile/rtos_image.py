#!/usr/bin/env python3
"""FreeRTOS's memory as it should not be: lists that never end or lead nowhere, headers and counters that are gone, files that do not belong.

An image of a Cortex-M3's memory is broken at places that the firmware itself names. Each answer comes, says what is wrong and where, and
is partial where it must be. Needs the image only once, so one machine is started.
"""
# timeout: 240
import os
import random
import shutil
import struct
import subprocess
import sys

sys.path.insert(0, os.path.join(os.environ["SRC"], "tests"))
sys.path.insert(0, os.path.join(os.environ["SRC"], "tests/live"))
import rtos_check
import tap

t = tap.Tap()
RAM = rtos_check.Machine.RAM


def elf_of(name):
    return os.path.join(rtos_check.FOLDER, f"rtos-m3-{name}.elf")


def symbols(elf):
    """{name: (address, size)} by nm."""
    rows = [line.split() for line in subprocess.run(["nm", "-S", elf], capture_output=True, text=True, check=True).stdout.splitlines()]
    return {row[-1]: (int(row[0], 16), int(row[1], 16) if len(row) == 4 else 0) for row in rows if len(row) >= 3}


class Image:
    """The memory of 10-4, to be broken and put to the test."""
    LIST, ITEM = 20, 20  # bytes of List_t and ListItem_t on 32 bits

    def __init__(self, machine):
        self.machine = machine
        self.sound = open(machine.image, "rb").read()
        self.symbols = symbols(machine.elf)
        self.tasks = {task["name"]: task for task in machine.truth["tasks"]}
        self.restart()

    def restart(self):
        self.bytes = bytearray(self.sound)

    def word(self, addr):
        return struct.unpack_from("<I", self.bytes, addr - RAM)[0]

    def put(self, addr, value):
        struct.pack_into("<I", self.bytes, addr - RAM, value & 0xffffffff)

    def at(self, name):
        return self.symbols[name][0]

    def ask(self, command, elf=None):
        with open(self.machine.image + ".bad", "wb") as file:
            file.write(self.bytes)
        return rtos_check.ask(command, elf or self.machine.elf, "--ram", f"{self.machine.image}.bad@{RAM:#x}")


def expect(name, image, command, severity, part, code=1, lost=0):
    got, doc, err = image.ask(command)
    said = [(row["severity"], row["text"]) for row in doc.get("findings") or []]
    t.ok(got == code and any(row[0] == severity and part in row[1] for row in said), f"{name}: is found", f"{got} {said} {err}")
    if severity == "damage":
        t.ok(doc.get("partial") is True and "partial" in err, f"{name}: the answer is partial", err)
    if command == "stacks" and doc:
        t.ok(len(doc["tasks"]) >= len(image.tasks) - lost, f"{name}: the others are still there", str([row["name"] for row in doc["tasks"]]))
    image.restart()


def lists(image):
    ready = image.at("pxReadyTasksLists") + image.LIST  # priority 1: a_very_long_nam
    first = image.word(ready + 12)
    image.put(first + 4, first)
    image.put(ready, 1)
    expect("an item that leads to itself", image, "stacks", "damage", "goes on behind as many", lost=1)
    image.put(ready, 1000)
    image.put(first + 4, first)
    expect("a ring without its list", image, "stacks", "damage", "does not point back", lost=1)
    image.put(ready, 0xffffffff)
    expect("a count of four milliards", image, "stacks", "damage", "more items than there can be", lost=1)
    image.put(ready + 12, 0xdeadbeec)
    expect("a wild pointer to an item", image, "stacks", "damage", "no memory", lost=1)
    image.put(first + 16, image.at("xSuspendedTaskList"))
    expect("an item of another list", image, "stacks", "damage", "another list", lost=1)
    image.put(first + 12, 0x20000001)
    expect("an owner that is no task", image, "stacks", "damage", "no part of its task", lost=1)
    image.put(image.at("xSuspendedTaskList"), 7)
    expect("a list that ends too early", image, "stacks", "damage", "ends before")
    image.put(image.at("uxCurrentNumberOfTasks"), 3)
    expect("a wrong number of tasks", image, "stacks", "damage", "uxCurrentNumberOfTasks says 3")
    image.put(image.at("pxCurrentTCB"), 0x20000000)
    got, doc, _ = image.ask("stacks")
    t.ok(got in (0, 1) and doc, "a wild pxCurrentTCB: an answer")
    image.restart()


def stacks(image):
    task = image.tasks["waits"]
    low = int(task["stack"], 16)
    image.put(low - 4, 0x12345678)
    expect("the header below a stack", image, "stacks", "overflow", "below its stack")
    image.put(low, 1)
    expect("the last word of a stack", image, "stacks", "overflow", '"waits": its stack was used to the last word')
    image.put(int(task["tcb"], 16), low - 64)
    expect("a stack pointer below the stack", image, "stacks", "overflow", '"waits": its stack pointer lies outside')


def holes(image):
    """A stack that the images hold only a part of: nothing is said of what was not read, and nobody is blamed for it."""
    task = image.tasks["waits"]
    low = int(task["stack"], 16)
    for name, begin, end in (("the header of its block", low - 8, low), ("its first bytes", low, low + 64),
                             ("its first bytes and the header", low - 8, low + 64), ("a part of its fill", low + 100, low + 104)):
        parts = []
        for i, (start, stop) in enumerate(((RAM, begin), (end, RAM + len(image.sound)))):
            parts += ["--ram", f"{image.machine.image}.part{i}@{start:#x}"]
            with open(f"{image.machine.image}.part{i}", "wb") as file:
                file.write(image.sound[start - RAM:stop - RAM])
        code, doc, err = rtos_check.ask("stacks", image.machine.elf, *parts)
        row = next((row for row in doc.get("tasks") or [] if row["name"] == "waits"), None)
        is_read = end <= low
        t.ok(row and row["left_words"] == (task["free_words"] if is_read else None) and
             (is_read or "not all of its fill" in row["why"]), f"an image without {name}: what is left", f"{row} {err}")
        t.ok(not any('"waits"' in finding["text"] for finding in doc["findings"]), f"an image without {name}: no finding",
             str(doc["findings"]))


def heaps(image):
    start = image.at("xStart")
    first = image.word(start)
    image.put(image.at("xFreeBytesRemaining"), 77)
    expect("a counter that is wrong", image, "heap", "damage", "xFreeBytesRemaining says 77")
    image.put(first, first)
    expect("a free block that leads to itself", image, "heap", "damage", "leads back")
    image.put(first, 0xfffffff0)
    expect("a free block that leads nowhere", image, "heap", "damage", "no free block can be")
    image.put(first + 4, 0x7fffffff)
    expect("a free block of two gigabytes", image, "heap", "damage", "no free block can be")
    image.put(start, 0)
    expect("no free block at all", image, "heap", "damage", "no free block can be")
    image.put(int(image.tasks["suspended"]["stack"], 16) - 4, 0x80000003)
    expect("the header of a block in use", image, "heap", "damage", "blocks must end where")
    image.put(image.at("pxEnd"), 0x10)
    got, doc, _ = image.ask("heap")
    t.ok(got == 1 and doc["findings"], "pxEnd that is wild: is found")
    image.restart()


def refusals(image):
    ram = f"{image.machine.image}@{RAM:#x}"
    for name, part in (("10-4-stripped", "stripped"), ("10-4-nodebug", "-g")):
        code, doc, err = rtos_check.ask("stacks", elf_of(name), "--ram", ram)
        t.ok(code == 6 and part in err and doc.get("tasks") is None, f"{name}: a clear no", err)
    for command in ("stacks", "heap"):
        code, _, err = rtos_check.ask(command, elf_of("11-5-protect"), "--ram", ram)
        t.ok(code == 6 or code == 1, f"the ELF file of another build: {command} does not take it for sound", f"{code} {err}")
    code, _, err = rtos_check.ask("stacks", "/bin/true", "--ram", ram)
    t.ok(code == 6, "an ELF file that is no firmware", err)
    image.bytes[:] = bytes(len(image.bytes))
    code, _, err = image.ask("stacks")
    t.ok(code == 6 and "no task has been created yet" in err, "memory before the first task", err)
    image.bytes[:] = b"\xff" * len(image.bytes)
    code, _, err = image.ask("stacks")
    t.ok(code == 6 and "not that of this program" in err, "memory of another program", err)
    image.bytes[:] = image.sound
    image.put(image.at("xSchedulerRunning"), 0)
    code, doc, err = image.ask("stacks")
    t.ok(not doc["rtos"]["started"] and all(row["state"] != "running" for row in doc["tasks"]) and
         any("has not been started" in row["text"] for row in doc["findings"]), "tasks before the scheduler is started")
    image.restart()
    path = image.machine.image + ".short"
    open(path, "wb").write(image.sound[:64])
    code, _, err = rtos_check.ask("stacks", image.machine.elf, "--ram", f"{path}@{RAM:#x}")
    t.ok(code == 6 and "has nothing at" in err, "an image that is too short", err)


def main_stack(image):
    """What linker scripts call the main stack's ends, put into a copy of the file."""
    if not shutil.which("arm-none-eabi-objcopy"):
        t.skip("the main stack", "arm-none-eabi-objcopy is not installed")
        return
    top, size = RAM + len(image.sound), 1024
    for symbols in ((f"_estack={top:#x}", f"_Min_Stack_Size={size:#x}"), (f"__StackTop={top:#x}", f"__StackLimit={top - size:#x}")):
        elf = image.machine.image + ".elf"
        subprocess.run(["arm-none-eabi-objcopy", *[f"--add-symbol={symbol},global" for symbol in symbols], image.machine.elf, elf],
                       check=True)
        _, doc, _ = image.ask("stacks", elf)
        rows = [row for row in doc["tasks"] if row["main"]]
        t.ok(len(rows) == 1 and rows[0]["size"] == size and rows[0]["end"] == hex(top) and rows[0]["source"] == "linker" and
             rows[0]["left"] is None and len(doc["tasks"]) == len(image.tasks) + 1, f"the main stack by {symbols[1]}", str(rows))
        image.bytes[len(image.bytes) - size:] = b"\xa5" * 80 + b"\1" * (size - 80)
        _, doc, _ = image.ask("stacks", elf)
        t.ok([row["left"] for row in doc["tasks"] if row["main"]] == [80] and
             any(row["text"].startswith("the main stack: only 20 words") for row in doc["findings"]), "a fill in it", str(doc["findings"]))
        image.restart()


def noise(image):
    """Anything at all: an answer in time, and never the end of the program."""
    chance = random.Random(7)
    bad = []
    for _ in range(120):
        for _ in range(chance.choice((1, 4, 40, 4000))):
            place = chance.randrange(0, len(image.bytes) - 4)
            image.bytes[place] = chance.choice((0, 0xff, chance.randrange(256)))
        for _ in range(3):
            image.put(chance.choice((image.at("pxReadyTasksLists"), image.at("xStart"), image.at("pxCurrentTCB"))) + 4 * chance.randrange(9),
                      chance.choice((0, RAM, RAM + 4 * chance.randrange(16000), 0xffffffff)))
        for command in ("stacks", "heap"):
            code, _, err = image.ask(command)
            if code not in (0, 1, 6):
                bad.append((command, code, err))
        image.restart()
    t.ok(not bad, "240 answers of memory with noise", str(bad[:3]))


def unstarted():
    with rtos_check.Machine("10-4-unstarted") as machine:
        code, _, err = rtos_check.ask("stacks", machine.elf, "--gdb", machine.gdb)
        t.ok(code == 6 and "no task has been created yet" in err, "a machine that has not come so far", err)


why_not = rtos_check.missing()
if why_not:
    t.skip("firmware in QEMU", why_not)
else:
    with rtos_check.Machine("10-4") as machine:
        image = Image(machine)
        for part in (lists, stacks, holes, heaps, refusals, main_stack, noise):
            t.section(lambda _, part=part: part(image))
    t.section(lambda _: unstarted())
t.done()
