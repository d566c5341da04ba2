"""Firmware of the test kernel (tests/factory/rtos) in QEMU, what it says of itself, and a small client of a gdb server.

    with firmware.Machine("10-4") as machine:
        machine.truth["task"], machine.place, machine.elf
        firmware.dump(machine.place, 0x20000000, 0x10000)

The gdb server listens on a socket that we made, so that no other program can have its port. why_not() is the reason of a skip.
"""
import json
import os
import shutil
import socket
import subprocess
import tempfile
import time

import tap

FOLDER = os.path.join(tap.BUILD, "tests/factory/rtos")
RAM, RAM_SIZE = 0x20000000, 0x10000
BOUND = 60  # seconds: none of this takes one


def why_not():
    if not shutil.which("qemu-system-arm"):
        return "there is no qemu-system-arm"
    return None if os.path.exists(path("10-4")) else "there is no arm-none-eabi-gcc"


def path(variant):
    return os.path.join(FOLDER, f"rtos-m3-{variant}.elf")


def read_truth(lines):
    """The objects of the JSON lines by their type; of tasks and bytes there are several. Ends at "ready"."""
    truth = {"task": [], "bytes": []}
    for line in lines:
        row = json.loads(line)
        kind = row.pop("type")
        if kind == "ready":
            return truth
        if kind in ("task", "bytes"):
            truth[kind].append(row)
        else:
            truth[kind] = row
    raise RuntimeError("the test kernel ended before it was ready")


def listen():
    server = socket.socket()
    server.bind(("127.0.0.1", 0))
    server.listen(8)
    return server, f"127.0.0.1:{server.getsockname()[1]}"


class Machine:
    def __init__(self, variant, *options):
        self.elf = path(variant)
        self.options = options

    def __enter__(self):
        self.folder = tempfile.mkdtemp(prefix="vmatlas-firmware-")
        server, self.place = listen()
        monitor = os.path.join(self.folder, "monitor")
        self.process = subprocess.Popen(
            ["qemu-system-arm", "-M", "lm3s6965evb", "-display", "none", "-serial", "stdio", "-kernel", self.elf,
             "-chardev", f"socket,id=gdb,fd={server.fileno()},server=on,wait=off", "-gdb", "chardev:gdb",
             "-qmp", f"unix:{monitor},server=on,wait=off", *self.options],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, pass_fds=[server.fileno()])
        server.close()
        end = time.monotonic() + BOUND
        self.monitor = socket.socket(socket.AF_UNIX)
        self.monitor.settimeout(BOUND)
        # Its file is there a moment before it can be connected to.
        while self.monitor.connect_ex(monitor) and time.monotonic() < end:
            time.sleep(0.01)
        self.answers = self.monitor.makefile()
        self.answers.readline()
        self.command("qmp_capabilities")
        self.truth = read_truth(self.process.stdout) if "-S" not in self.options else None
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.answers.close()
        self.monitor.close()
        shutil.rmtree(self.folder)

    def command(self, name):
        self.monitor.sendall(json.dumps({"execute": name}).encode())
        while True:
            answer = json.loads(self.answers.readline())
            if "return" in answer:
                return answer["return"]
            if "error" in answer:
                raise RuntimeError(answer["error"])

    def runs(self):
        """Does it run by now? QEMU's monitor tells without halting it."""
        end = time.monotonic() + BOUND
        while not self.command("query-status")["running"]:
            if time.monotonic() > end:
                return False
            time.sleep(0.01)
        return True


def frame(text):
    return b"$" + text + b"#%02x" % (sum(text) & 255)


def dump(place, addr, size):
    """Memory, by packets of our own; the machine is let go afterwards."""
    host, port = place.split(":")
    memory = b""
    with socket.create_connection((host, int(port)), timeout=BOUND) as server:
        received = b""

        def ask(text):
            nonlocal received
            server.sendall(frame(text))
            while True:
                while b"#" not in received[:-2]:
                    received += server.recv(4096)
                start, end = received.index(b"$"), received.index(b"#")
                answer, received = received[start + 1:end], received[end + 3:]
                server.sendall(b"+")
                if answer[:1] != b"T":
                    return answer

        while len(memory) < size:
            memory += bytes.fromhex(ask(b"m%x,%x" % (addr + len(memory), min(1024, size - len(memory)))).decode())
        ask(b"D")
    return memory


def big_endian(memory, addr, truth):
    """The same memory as a machine of the other byte order has it: words are turned around, but for what is bytes."""
    turned = bytearray(memory)
    for i in range(0, len(memory), 4):
        turned[i:i + 4] = memory[i:i + 4][::-1]
    for row in truth["bytes"]:
        start = int(row["at"], 16) - addr
        turned[start:start + row["size"]] = memory[start:start + row["size"]]
    return bytes(turned)


def start_process(variant):
    """The test kernel as a process: the process, and what it says. It ends when its stdin is closed."""
    process = subprocess.Popen([os.path.join(FOLDER, f"rtos-{variant}")], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    return process, read_truth(process.stdout)
