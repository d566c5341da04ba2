#!/usr/bin/env python3
"""Firmware in QEMU: its memory is what it says and what another client of the gdb server reads; it runs on when we have read, fail or
are killed, and stands when it stood; images of its memory say the same, and nothing of what they do not hold."""
# timeout: 600
import os
import random
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.environ["SRC"], "tests"))
import firmware
import tap

FIRMWARE_AT = os.path.join(firmware.FOLDER, "firmware_at")
READS = 1000
KILLS = 20
t = tap.Tap()


def read(kind, place, elf, ranges, times=1):
    """(exit status, [bytes read or an error], what is known of the target, the error)"""
    text = "".join(f"{addr:x} {size:x}\n" for addr, size in ranges)
    done = subprocess.run([FIRMWARE_AT, kind, place, elf, str(times)], input=text, capture_output=True, text=True,
                          timeout=firmware.BOUND + times / 4)
    rows = [line.split(" ") for line in done.stdout.splitlines()]
    memory = [bytes.fromhex(row[1]) if int(row[0]) >= 0 else int(row[0]) for row in rows if row[0] != "halted_us"]
    facts = next(({k: int(v) for k, v in zip(row[::2], row[1::2])} for row in rows if row[0] == "halted_us"), {})
    return done.returncode, memory, facts, done.stderr


def ticks(machine):
    code, memory, _, error = read("gdb", machine.place, machine.elf, [(int(machine.truth["kernel"]["tick_addr"], 16), 4)])
    return int.from_bytes(memory[0], "little") if code == 0 else error


def reading(t, machine):
    memory = firmware.dump(machine.place, firmware.RAM, firmware.RAM_SIZE)
    tasks = machine.truth["task"]
    stacks = [(int(task["stack"], 16), task["bytes"]) for task in tasks]
    names = [(int(row["at"], 16), row["size"]) for row in machine.truth["bytes"] if row["size"] == 16]
    code, got, facts, error = read("gdb", machine.place, machine.elf, stacks + names)
    t.ok(code == 0, "memory is read", error)
    t.is_([len(piece) - len(piece.lstrip(b"\xa5")) for piece in got[:len(stacks)]],
          [task["free_words"] * machine.truth["kernel"]["word"] for task in tasks],
          "of each stack as many bytes were never used as the firmware says")
    t.is_([piece.split(b"\0")[0].decode() for piece in got[len(stacks):]], [task["name"] for task in tasks],
          "the names of the tasks are where the firmware says")
    t.is_(got, [memory[addr - firmware.RAM:addr - firmware.RAM + size] for addr, size in stacks + names],
          "another client reads the same")
    t.ok(facts["halted_us"] > 0 and facts["was_halted"] == 0, "how long it stood is known, and that it ran before", facts)
    t.ok(facts["checked"] > 0 and facts["big"] == 0, "its code was compared with the ELF file", facts)
    end = firmware.RAM + firmware.RAM_SIZE
    code, got, _, _ = read("gdb", machine.place, machine.elf, [(0xf0000000, 4), (end - 24, 100), (0, 5000)])
    t.is_((code, [len(piece) for piece in got[:2]]), (0, [0, 24]), "what is not there ends a reading, and is not 0")
    t.is_(len(got[2]), 5000, "more than a packet holds is read")


def running_on(t, machine):
    before = ticks(machine)
    end = time.monotonic() + firmware.BOUND
    while ticks(machine) == before and time.monotonic() < end:
        time.sleep(0.01)
    t.ok(ticks(machine) > before, "its clock goes on after we have read it")
    code, _, _, error = read("gdb", machine.place, machine.elf, [(firmware.RAM, 4)], READS)
    t.ok(code == 0, f"{READS} readings in a row, each with a connection of its own", error)
    t.ok(machine.runs(), "it runs afterwards")
    code, _, _, error = read("gdb", machine.place, firmware.path("11-4"), [(firmware.RAM, 4)])
    t.ok(code == 6 and "not that of this firmware" in error, "the ELF file of another firmware is refused", error)
    t.ok(machine.runs(), "and it runs on")


def killed(t, machine):
    """The signal comes at any time; after a SIGINT as from a terminal, too, which all of our group get."""
    chance = random.Random(7)
    for signum in (signal.SIGKILL, signal.SIGINT):
        halted = 0
        for _ in range(KILLS):
            process = subprocess.Popen([FIRMWARE_AT, "gdb", machine.place, machine.elf, "1000000"], stdin=subprocess.PIPE,
                                       process_group=0)
            process.stdin.write(f"{firmware.RAM:x} 4\n".encode())
            process.stdin.close()
            time.sleep(chance.uniform(0, 0.05))
            (os.kill if signum == signal.SIGKILL else os.killpg)(process.pid, signum)
            process.wait()
            halted += not machine.runs()
        t.is_(halted, 0, f"it runs on after each of {KILLS} times that we get a {signum.name} in the middle")
    t.ok(isinstance(ticks(machine), int), "and it can be read again")


def standing(t):
    with firmware.Machine("10-4", "-S") as machine:
        code, _, facts, error = read("gdb", machine.place, machine.elf, [(0, 4)])
        t.ok(code == 0 and facts["was_halted"] == 1, "a machine that stood is said to have stood", error or facts)
        t.ok(not machine.command("query-status")["running"], "and is left standing")
        code, _, facts, _ = read("gdb", machine.place, machine.elf, [(0, 4)])
        t.ok(code == 0 and facts["was_halted"] == 1, "the second time, too")


def images(t, machine, folder):
    memory = firmware.dump(machine.place, firmware.RAM, firmware.RAM_SIZE)
    flash = firmware.dump(machine.place, 0, 256)
    files = {"ram": memory, "half": memory[:firmware.RAM_SIZE // 2], "zero": bytes(64), "flash": flash, "other": bytes(256)}
    for name, content in files.items():
        open(os.path.join(folder, name), "wb").write(content)

    def image(name, addr):
        return f"{os.path.join(folder, name)}@{addr}"

    ram = image("ram", "0x20000000")
    code, got, facts, error = read("ram", ram, machine.elf, [(firmware.RAM, 3000), (0, 256), (firmware.RAM + 0xfff0, 100)])
    t.is_((code, got), (0, [memory[:3000], flash, memory[-16:]]), "an image, the flash of the ELF file, and no byte behind the end")
    t.is_((facts["halted_us"], facts["checked"]), (-1, 0), "nothing stood, and nothing could be compared")
    code, got, _, _ = read("ram", ram + "," + image("zero", "536870928"), machine.elf, [(firmware.RAM, 256)])
    t.is_(got[0], memory[:16] + bytes(64) + memory[80:256], "of two images the last one counts; its address may be decimal")
    code, got, _, _ = read("ram", image("half", "0x20000000"), machine.elf, [(firmware.RAM + firmware.RAM_SIZE // 2 - 4, 8)])
    t.is_(got[0], memory[firmware.RAM_SIZE // 2 - 4:firmware.RAM_SIZE // 2], "what no image holds is not known")
    code, _, facts, _ = read("ram", ram + "," + image("flash", "0x0"), machine.elf, [(firmware.RAM, 4)])
    t.ok(code == 0 and facts["checked"] > 0, "an image of the flash is compared", facts)
    code, _, _, error = read("ram", ram + "," + image("other", "0"), machine.elf, [(firmware.RAM, 4)])
    t.ok(code == 6 and "not that of this firmware" in error, "and refused when it is another", error)
    turned = os.path.join(folder, "big")
    open(turned, "wb").write(firmware.big_endian(memory, firmware.RAM, machine.truth))
    code, got, facts, _ = read("ram", turned + "@0x20000000", firmware.path("10-4-big"), [(int(machine.truth["kernel"]["tick_addr"], 16), 4)])
    t.ok(code == 0 and facts["big"] == 1 and got[0][::-1] == memory[int(machine.truth["kernel"]["tick_addr"], 16) - firmware.RAM:][:4],
         "firmware of the other byte order", (got, facts))


def refused(t, folder):
    elf, ram = firmware.path("10-4"), os.path.join(folder, "ram")
    for place, status, says in [("ram", 2, "FILE@ADDR"), ("@0x1", 2, "FILE@ADDR"), (ram + "@0x", 2, "FILE@ADDR"),
                                (ram + "@0xg", 2, "FILE@ADDR"), (ram + "@12x", 2, "FILE@ADDR"),
                                (ram + "@0x12345678123456789", 2, "FILE@ADDR"), (ram + "@0xfffffffffffffff0", 2, "last address"),
                                (folder + "/none@0", 6, "No such file"), (folder + "@0", 6, "no regular file")]:
        code, _, _, error = read("ram", place, elf, [(0, 4)])
        t.ok(code == status and says in error, f"image {place.replace(folder, '')}", f"{code} {error}")
    for place, status, says in [("localhost", 2, "HOST:PORT"), ("localhost:", 2, "HOST:PORT"), ("localhost:0", 2, "HOST:PORT"),
                                ("localhost:65536", 2, "HOST:PORT"), ("localhost:12x", 2, "HOST:PORT")]:
        code, _, _, error = read("gdb", place, elf, [(0, 4)])
        t.ok(code == status and says in error, f"server {place}", f"{code} {error}")
    for name, content in {"text": b"hello", "short": b"\x7fELF\1\1", "class": b"\x7fELF\5\1" + bytes(60),
                          "none": b"\x7fELF\1\1" + bytes(60)}.items():
        bad = os.path.join(folder, "bad-" + name)
        open(bad, "wb").write(content)
        code, _, _, error = read("ram", ram + "@0", bad, [(0, 4)])
        t.ok(code == 6 and "no ELF file of firmware" in error, f"an ELF file that is none: {name}", f"{code} {error}")


def commands(t, folder):
    """What needs a kernel refuses firmware, before it touches anything."""
    for command in (["map"], ["pages", "--all"], ["leaks"], ["dump"]):
        done = subprocess.run([tap.VMATLAS, *command, firmware.path("10-4"), "--ram", os.path.join(folder, "ram@0x20000000")],
                              capture_output=True, text=True, timeout=firmware.BOUND)
        t.ok(done.returncode == 2 and "firmware has no regions" in done.stderr, f"{command[0]} refuses firmware", done.stderr)


reason = firmware.why_not()
if reason:
    t.skip("firmware", reason)
    t.done()
with firmware.Machine("10-4") as machine, tempfile.TemporaryDirectory(prefix="vmatlas-images-") as folder:
    t.section(reading, machine)
    t.section(running_on, machine)
    t.section(killed, machine)
    t.section(images, machine, folder)
    t.section(refused, folder)
    t.section(commands, folder)
t.section(standing)
t.done()
