"""What bad input gets: exit codes, texts, and what is read for an answer."""
import json
import os
import re
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.environ.get("SRC") or os.getcwd(), "tests"))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import _subject  # noqa: E402
import tap  # noqa: E402

NOBODY = 65534


def check(t, want, args, pattern, name, **more):
    answer = _subject.run(*args, **more)
    text = answer.err.decode()
    t.ok(answer.status == want and re.search(pattern, text) and text.startswith("vmatlas: "),
         f"{name}: exit {want}", f"exit {answer.status}, stderr:\n{text}")
    return answer


def section_usage(t):
    for args, pattern in (
            ([], "no command"), (["nope"], "unknown command 'nope'"), (["map"], "TARGET is missing"),
            (["map", "--nope", "1"], "unknown option --nope"), (["map", "-q", "1"], "unknown option -q"),
            (["map", "1", "-o"], "option -o needs a value"), (["map", "--output"], "option --output needs a value"),
            (["map", "1", "2", "3"], "unexpected argument '3'"),
            (["map", "1", "-o", "NOPE"], r"unknown column 'NOPE'\n  The columns are: .*START.*PSS"),
            (["map", "1", "-x", "NOPE"], "unknown column 'NOPE'"), (["map", "1", "-x", "PARTS"], "no order"),
            (["map", "1", "-J", "-r"], "choose one of"), (["map", "1", "-o", "PSS", "-O"], "choose one of"),
            (["map", "1", "--tree", "--gaps"], "choose one of"), (["map", "1", "zz"], "'zz' is no address"),
            (["map", "1", "--where", "4X"], "'4X' is no size"), (["map", "1", "-w", "wide"], "no number"),
            (["map", "1", "--color", "blue"], "none of auto, always, never"), (["pages", "1"], "give an address"),
            (["pages", "1", "5-4"], "neither an address nor a range"), (["pagesize", "1"], "missing"),
            (["map", "12x"], "12x"), (["map", "-1"], "unknown option -1"), (["help", "nope"], "unknown command")):
        check(t, 2, args, pattern, "usage: vmatlas " + " ".join(args))
    check(t, 2, ["map", os.getpid()], "'no_such' is no feature", "VMAT_WITHOUT=no_such", env={"VMAT_WITHOUT": "no_such"})


def section_target(t):
    ended = subprocess.Popen(["true"])
    os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
    check(t, 3, ["map", ended.pid], "zombie", "a zombie")
    ended.wait()
    check(t, 3, ["map", ended.pid], str(ended.pid), "a process that has ended")
    check(t, 3, ["map", "@no-such-name-here"], "no-such-name-here", "a name that nobody has")
    if os.path.exists("/proc/2/comm") and open("/proc/2/comm").read() == "kthreadd\n":
        check(t, 3, ["map", "2"], "kernel", "a thread of the kernel")
    one, two = _subject.Subject(b"vmatlas-twin"), _subject.Subject(b"vmatlas-twin")
    with one as a, two as b:
        answer = check(t, 2, ["map", "@vmatlas-twin"], "vmatlas-twin", "a name that two have")
        t.ok(str(a).encode() in answer.err and str(b).encode() in answer.err, "a name that two have: both are listed", answer.err)
    with _subject.Subject(b"vmatlas-alone") as pid:
        t.is_(json.loads(_subject.run("map", "-J", "@vmatlas-alone").out)["target"]["pid"], pid, "@NAME finds the one process")
    with tempfile.TemporaryDirectory() as empty:
        check(t, 6, ["map", "--root", empty, "1"], ".", "a record that holds no such process")


def section_rights(t):
    """A process of root, asked about by nobody."""
    if os.geteuid():
        t.skip("refused by the kernel", "needs root to become somebody else")
        return
    with _subject.Subject(b"vmatlas-root") as pid, tempfile.TemporaryDirectory() as folder:
        # the program may lie where nobody can go
        os.chmod(folder, 0o755)
        program = os.path.join(folder, "vmatlas")
        with open(tap.VMATLAS, "rb") as source, open(program, "wb") as copy:
            copy.write(source.read())
        os.chmod(program, 0o755)
        for command in ("map", "stacks", "cow"):
            done = subprocess.run([program, command, str(pid)], capture_output=True, user=NOBODY, group=NOBODY, extra_groups=[], cwd="/")
            text = done.stderr.decode()
            t.ok(done.returncode == 4 and "CAP_SYS_PTRACE" in text and str(pid) in text,
                 f"{command}: exit 4, and the text names the process and the right", f"exit {done.returncode}:\n{text}")
            t.ok(b"faults" in done.stdout, f"{command}: the counters are told all the same", done.stdout)
        done = subprocess.run([program, "map", "-J", str(pid)], capture_output=True, user=NOBODY, group=NOBODY, extra_groups=[], cwd="/")
        document = json.loads(done.stdout)
        t.ok(done.returncode == 4 and document["partial"] and document["regions"] is None and document["counters"]["size"] > 0,
             "map -J: counters, regions null, partial", document)


def section_output(t):
    with _subject.Subject(b"output") as pid:
        for args in (["map", pid], ["map", "-J", pid], ["map", "--csv", pid], ["help"], ["map", "--help"], ["doctor"]):
            with open("/dev/full", "wb") as full:
                done = subprocess.run([tap.VMATLAS, *map(str, args)], stdout=full, stderr=subprocess.PIPE)
            t.ok(done.returncode == 70 and b"No space left" in done.stderr, f"{args[0]} {args[-1] if args[-1] != pid else ''} into a full disk: exit 70",
                 f"{done.returncode} {done.stderr}")
        read, write = os.pipe()
        os.close(read)
        done = subprocess.run([tap.VMATLAS, "map", "-J", str(pid)], stdout=write, stderr=subprocess.PIPE)
        os.close(write)
        t.ok(done.returncode == 0 and b"cannot write" not in done.stderr, "a reader that went away is no error", done.stderr)
        done = subprocess.run([tap.VMATLAS, "map", str(pid)], stderr=subprocess.PIPE, preexec_fn=lambda: os.close(1))
        t.is_(done.returncode, 70, "a closed output is an error")


def opened(pid, *args):
    """The files of /proc/PID that vmatlas opens."""
    # LeakSanitizer cannot run below strace
    env = dict(os.environ, ASAN_OPTIONS=os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0")
    with tempfile.NamedTemporaryFile() as log:
        done = subprocess.run(["strace", "-f", "-e", "trace=open,openat,openat2", "-o", log.name, tap.VMATLAS, *map(str, args), str(pid)],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=env)
        assert done.returncode in (0, 5), done
        return set(re.findall(r'"(?:/proc/\d+/)?(maps|smaps|pagemap|mem|smaps_rollup)"', log.read().decode(errors="replace")))


def section_reads(t):
    """Only what the columns need is read (facts: row 5 of the promises)."""
    if subprocess.run(["sh", "-c", "command -v strace"], stdout=subprocess.DEVNULL).returncode:
        t.skip("files that are opened", "strace is not installed")
        return
    with _subject.Subject(b"reads") as pid:
        t.is_(opened(pid, "map", "-J", "-o", "start,size"), {"maps"}, "map -o start,size: maps alone")
        for args in (["map"], ["map", "-J"], ["map", "--tree"], ["map", "--summary"], ["map", "-J", "-o", "start,end,kind,rss"],
                     ["stacks"], ["cow"], ["pages", "--all"], ["map", "--gaps"]):
            files = opened(pid, *args)
            t.ok("smaps" not in files and "smaps_rollup" not in files, f"{' '.join(args)}: no smaps", files)
        for args in (["map", "-o", "+PSS"], ["map", "-x", "USS"], ["map", "-O"], ["map", "--tree", "-o", "OWNER,PSS"]):
            t.ok("smaps" in opened(pid, *args), f"{' '.join(args)}: smaps is read")


t = tap.Tap()
for section in (section_usage, section_target, section_rights, section_output, section_reads):
    t.section(section)
t.done()
