#!/usr/bin/env python3
"""gdb servers that close the connection after each possible byte, lie, hang or never come to an end: each is an error that says which, with
its exit status; and what is only unusual is read all the same."""
# timeout: 300
import os
import socket
import struct
import subprocess
import sys
import tempfile
import threading

sys.path.insert(0, os.path.join(os.environ["SRC"], "tests"))
import tap

FIRMWARE_AT = os.path.join(tap.BUILD, "tests/factory/rtos/firmware_at")
BOUND = 120  # seconds: for what takes ten at most
MEMORY = bytes(range(16))
STOPPED = b"$T02thread:01;#04"
t = tap.Tap()


def frame(text):
    return b"$" + text + b"#%02x" % (sum(text) & 255)


def good(request):
    """What QEMU answers; None: it does not know the request."""
    if request.startswith(b"m"):
        addr, size = (int(number, 16) for number in request[1:].split(b","))
        return MEMORY[addr:addr + size].hex().encode() or b"E14"
    return {b"qSupported": b"PacketSize=1000;multiprocess+", b"qqemu.sstepbits": b"ENABLE=1", b"?": b"T05thread:01;",
            b"D": b"OK"}.get(request, b"")


class Server:
    """Answers one client: answer(request) gives the bytes to be sent, None to hang. At most `limit` bytes, then it closes."""
    def __init__(self, answer=lambda request: b"+" + frame(good(request)), hello=STOPPED, limit=None):
        self.answer, self.hello, self.limit = answer, hello, limit
        self.sent = 0
        self.requests = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.place = f"127.0.0.1:{self.listener.getsockname()[1]}"
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def send(self, client, data):
        if self.limit is not None:
            data = data[:self.limit - self.sent]
        self.sent += len(data)
        client.sendall(data)
        return self.limit is None or self.sent < self.limit

    def serve(self):
        client, _ = self.listener.accept()
        with client:
            try:
                self.talk(client)
            except OSError:
                pass

    def talk(self, client):
        received = b""
        client.settimeout(BOUND)
        if not self.send(client, self.hello):
            return
        while True:
            data = client.recv(4096)
            if not data:
                return
            received += data
            while b"#" in received[:-2]:
                end = received.index(b"#")
                request, received = received[received.index(b"$") + 1:end], received[end + 3:]
                self.requests.append(request)
                answer = self.answer(request)
                if answer is not None and not self.send(client, answer):
                    return

    def close(self):
        self.thread.join(BOUND)
        self.listener.close()


def make_elf(folder):
    """One segment that can be written, so that nothing is compared."""
    path = os.path.join(folder, "firmware.elf")
    header = b"\x7fELF\1\1\1" + bytes(9) + struct.pack("<HHIIIIIHHHHHH", 2, 40, 1, 0, 52, 0, 0, 52, 32, 1, 40, 0, 0)
    open(path, "wb").write(header + struct.pack("<8I", 1, 0, 0, 0, 0, 16, 6, 4))
    return path


def read(server, elf, ranges="0 10\n"):
    done = subprocess.run([FIRMWARE_AT, "gdb", server.place, elf], input=ranges, capture_output=True, text=True, timeout=BOUND)
    server.close()
    return done.returncode, done.stdout, done.stderr.strip()


def usual(t, elf):
    server = Server()
    code, out, error = read(server, elf, "0 10\n8 100\n40 4\n")
    rows = [line.split(" ") for line in out.splitlines()]
    t.is_((code, rows[:3]), (0, [["16", MEMORY.hex()], ["8", MEMORY[8:].hex()], ["0", ""]]), "a server as it should be " + error)
    t.ok("was_halted 0" in out and server.requests[-1] == b"D" and server.requests.count(b"D") == 1, "is let go once", server.requests)
    server = Server(hello=b"")
    code, out, error = read(server, elf)
    t.ok(code == 0 and "was_halted 1" in out and b"D" not in server.requests, "one that stood is left standing", f"{out} {error}")



def closing(t, elf):
    whole = Server()
    read(whole, elf)
    last = whole.sent - len(b"+" + frame(b"OK"))
    wrong = []
    for limit in range(whole.sent):
        server = Server(limit=limit)
        code, out, error = read(server, elf)
        # What closes instead of the last answer has let it go.
        want = (0, "") if limit >= last else (3, f"the gdb server at {server.place} closed the connection")
        if (code, error) != want:
            wrong.append((limit, code, error))
    t.is_(wrong, [], f"the connection is closed after each of {whole.sent} bytes")


def changed(request, answer, other=lambda request: b"+" + frame(good(request))):
    """A server that answers one kind of request in its own way."""
    return Server(lambda asked: answer if asked.startswith(request) else other(asked))


def once(bad):
    """A server that sends `bad` once before each right answer, which comes when it is asked for again."""
    class Once(Server):
        def talk(self, client):
            client.settimeout(BOUND)
            self.send(client, self.hello)
            received, answer, is_bad = b"", b"", True
            while True:
                data = client.recv(4096)
                if not data:
                    return
                received += data
                while received:
                    if received[:1] == b"-":
                        self.send(client, answer)
                        received = received[1:]
                    elif received[:1] != b"$":
                        received = received[1:]
                    elif b"#" not in received[:-2]:
                        break
                    else:
                        end = received.index(b"#")
                        request, received = received[1:end], received[end + 3:]
                        self.requests.append(request)
                        answer = frame(good(request))
                        if bad == b"-" and is_bad:
                            self.send(client, b"-")
                        elif bad != b"-" and request != b"D":
                            self.send(client, b"+" + bad)
                        else:
                            self.send(client, b"+" + answer)
                        is_bad = not is_bad
    return Once()


def unusual(t, elf):
    repeated = frame(b"0*,")  # 16 zeroes
    for name, server, want in [
            ("a checksum that is wrong once", once(b"$OK#00"), MEMORY.hex()),
            ("a checksum of ours that is refused once", once(b"-"), MEMORY.hex()),
            ("notifications and console output between", Server(lambda asked: b"+%Stop:T05#00" + frame(b"O4869") + frame(good(asked))), MEMORY.hex()),
            ("bytes that mean nothing between", Server(lambda asked: b"\0\xffnoise\r\n+" + frame(good(asked))), MEMORY.hex()),
            ("no acknowledgements", Server(lambda asked: frame(b"PacketSize=20;QStartNoAckMode+") if asked == b"qSupported"
                                           else frame(b"OK") if asked == b"QStartNoAckMode" else frame(good(asked))), MEMORY.hex()),
            ("no answer known but to m, ? and D", Server(lambda asked: b"+" + frame(good(asked) if asked[:1] in b"m?D" else b"")), MEMORY.hex()),
            ("less memory than asked for, piece by piece", changed(b"m", b"+" + frame(b"a5")), "a5" * 16),
            ("a repeat", changed(b"m", b"+" + repeated), "00" * 8 + "00" * 8)]:
        code, out, error = read(server, elf)
        t.is_((code, out.split("\n")[0]), (0, f"16 {want}"), f"{name} {error}")
    code, out, error = read(changed(b"m", b"+" + frame(b"E01")), elf)
    t.is_((code, out.split("\n")[0]), (0, "0 "), f"memory that is refused is unknown, not 0 {error}")


def openocd(t, elf):
    """It halts the machine for us, says so in no packet of its own, and leaves it so unless it is told to resume (OpenOCD 0.12)."""
    def answer(request):
        if request == b"qRcmd," + b"version".hex().encode():
            return b"+" + frame(b"O" + b"Open On-Chip Debugger 0.12.0\n".hex().encode()) + frame(b"OK")
        if request.startswith(b"qRcmd,"):
            return b"+" + frame(b"E01" if is_refused else b"OK")
        return b"+" + frame(b"PacketSize=4000;qXfer:memory-map:read-;QStartNoAckMode+;vContSupported+" if request == b"qSupported" else
                            b"" if request.startswith(b"qqemu") else b"T02" if request == b"?" else
                            b"OK" if request == b"QStartNoAckMode" else good(request))

    for is_refused, want in ((False, 0), (True, 6)):
        server = Server(answer, hello=b"")
        code, out, error = read(server, elf)
        said = [bytes.fromhex(request[6:].decode()) for request in server.requests if request.startswith(b"qRcmd,")]
        t.is_(code, want, f"OpenOCD {error}")
        t.ok(said[0] == b"version" and b"resume" in said[-1] and len(said) == 2 and server.requests[-1] == b"D",
             "it is told to resume, then to detach", server.requests)
    server = Server(lambda asked: answer(asked) if not asked.startswith(b"m") else None, hello=b"")
    is_refused = False
    code, out, error = read(server, elf)
    t.ok(code == 4 and any(b"726573756d65" in request for request in server.requests), "one that hangs is told so, too", f"{code} {error}")


def plain(t, elf):
    """What a server of the simplest kind may do: packets of 32 bytes, each escaped or repeated, no list of what it can."""
    def escaped(text):
        return b"".join(b"}" + bytes([byte ^ 0x20]) for byte in text)

    for name, change in (("escapes in each answer", escaped), ("no list of what it can", lambda text: text)):
        server = Server(lambda asked: b"+" + frame(change(b"" if asked[:1] == b"q" else good(asked))))
        code, out, error = read(server, elf)
        t.is_((code, out.split("\n")[0]), (0, f"16 {MEMORY.hex()}"), f"{name} {error}")
    server = Server(lambda asked: b"+" + frame(b"PacketSize=14" if asked == b"qSupported" else good(asked)))
    code, out, error = read(server, elf)
    sizes = [int(request.split(b",")[1], 16) for request in server.requests if request.startswith(b"m")]
    t.ok(code == 0 and MEMORY.hex() in out and max(sizes) * 2 + 4 <= 0x14 + 16, "small packets", f"{sizes} {error}")
    t.ok(all(request[:1] in b"?mDqQ" for request in server.requests), "nothing is asked for but what is in the manual", server.requests)


def lying(t, elf):
    lies = "breaks the protocol"
    for name, server, status, says in [
            ("checksums that are always wrong", Server(lambda asked: b"+$OK#00" * 9), 6, lies + ": its checksums are wrong"),
            ("checksums of ours that are always refused", Server(lambda asked: b"-" * 9), 6, lies + ": it refuses our checksums"),
            ("half a byte", changed(b"m", b"+" + frame(b"000")), 6, lies + ": an answer with memory"),
            ("no hexadecimal", changed(b"m", b"+" + frame(b"0x12")), 6, lies + ": an answer with memory"),
            ("nothing", changed(b"m", b"+" + frame(b"")), 6, lies + ": an answer with memory"),
            ("more memory than asked for", changed(b"m", b"+" + frame(b"00" * 17)), 6, lies + ": an answer with memory"),
            ("a packet without end", changed(b"m", b"+$" + b"0" * 200000), 6, lies + ": an answer is longer"),
            ("repeats without end", changed(b"m", b"+$" + b"0*~" * 1000), 6, lies + ": an answer is longer"),
            ("notifications without end", changed(b"m", b"%Stop:T05#00" * 20000), 6, lies + ": it sends without end"),
            ("acknowledgements without end", changed(b"m", b"+" * 200000), 6, lies + ": it sends without end"),
            ("stops without end", changed(b"m", STOPPED * 20000), 6, lies + ": it sends without end"),
            ("no program", changed(b"?", b"+" + frame(b"W00")), 3, "has no program any more"),
            ("no word that it lets go", changed(b"D", b"+" + frame(b"E01")), 6, "does not let the machine go")]:
        code, out, error = read(server, elf)
        t.ok(code == status and says in error, name, f"{code} {error}")


def hanging(t, elf):
    """All at once: each takes some seconds."""
    def drip(request):
        return b"+" if request.startswith(b"m") else b"+" + frame(good(request))

    cases = [("says nothing at all", Server(lambda asked: None, hello=b""), "does not answer: nothing"),
             ("hangs when memory is read", changed(b"m", None), "does not answer: nothing"),
             ("acknowledges, and no more", Server(drip), "does not answer: nothing"),
             ("stops in the middle of an answer", changed(b"m", b"+$0011"), "does not answer: nothing"),
             ("hangs when it is to let go", changed(b"D", b"+"), "does not answer when the machine is to go on")]
    results = {}

    def run(name, server):
        results[name] = read(server, elf)

    threads = [threading.Thread(target=run, args=case[:2]) for case in cases]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name, server, says in cases:
        code, out, error = results.get(name, (None, "", "no result"))
        t.ok(code == 4 and says in error, name, f"{code} {error}")
        t.ok(b"D" in server.requests, f"{name}: it was told to let go all the same", server.requests)


with tempfile.TemporaryDirectory(prefix="vmatlas-servers-") as folder:
    program = make_elf(folder)
    t.section(usual, program)
    t.section(closing, program)
    t.section(unusual, program)
    t.section(openocd, program)
    t.section(plain, program)
    t.section(lying, program)
    t.section(hanging, program)
t.done()
