#!/usr/bin/env python3
"""FreeRTOS in firmware: a Cortex-M3 in QEMU behind its gdb server, and images of its memory, also of a machine of the other byte order.

Each number is what the firmware itself says over its UART (tests/factory/rtos/).
"""
# timeout: 300
import os
import sys

sys.path.insert(0, os.path.join(os.environ["SRC"], "tests"))
sys.path.insert(0, os.path.join(os.environ["SRC"], "tests/live"))
import rtos_check
import tap

t = tap.Tap()
FIRMWARES = """7-1 7-2 7-4 8-4 9-1 9-2 9-4 9-5 10-1 10-2 10-4 10-5 11-1 11-2 11-4 11-5 10-4-record 11-4-record-static 10-1-static 10-5-static
    11-4-protect 11-5-protect 11-4-smp 10-4-up 10-4-w1 10-4-w2 10-4-w8"""


def check(label, truth, *target):
    code, doc, err = rtos_check.ask("stacks", *target)
    if not doc:
        t.diag(err)
    word = truth["kernel"]["word"]
    rtos_check.tasks(t, label, truth, doc, 7 // word)
    t.is_(code, 1, f"{label}: a stack that is full is judged")
    rtos_check.findings(t, label, doc, True)
    rtos_check.heap(t, label, truth, rtos_check.ask("heap", *target)[1])
    return doc


def big_endian(machine):
    """The same memory as a machine of the other byte order has it: words turned round, but for what is bytes."""
    image = bytearray(open(machine.image, "rb").read())
    kept = [(int(row["at"], 16) - machine.RAM, row["size"]) for row in machine.truth["bytes"]]
    turned = bytearray(b"".join(image[at:at + 4][::-1] for at in range(0, len(image), 4)))
    for at, size in kept:
        turned[at:at + size] = image[at:at + size]
    path = machine.image + ".big"
    open(path, "wb").write(turned)
    return path


def firmwares():
    for name in FIRMWARES.split():
        with rtos_check.Machine(name) as machine:
            if "heap" not in machine.truth:
                t.ok(False, f"{name}: the firmware reports", machine.process.stderr.read())
                continue
            ram = f"{machine.image}@{machine.RAM:#x}"
            doc = check(f"m3 {name}, gdb", machine.truth, machine.elf, "--gdb", machine.gdb)
            halted = doc["target"]["halted_ns"]
            t.ok(halted and halted > 0 and doc["target"]["pid"] is None, f"m3 {name}: says how long it stood", str(doc["target"]))
            check(f"m3 {name}, image", machine.truth, machine.elf, "--ram", ram)
            for plain, big in (("10-4", "10-4-big"), ("11-4-protect", "11-4-protect-big")):
                elf = machine.elf.replace(plain + ".elf", big + ".elf")
                if plain == name:
                    check(f"m3 {big}, image", machine.truth, elf, "--ram", f"{big_endian(machine)}@{machine.RAM:#x}")


why_not = rtos_check.missing()
if why_not:
    t.skip("firmware in QEMU", why_not)
else:
    t.section(lambda _: firmwares())
t.done()
