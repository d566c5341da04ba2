"""Every option and every column is in --help, in the manual and in the completions; and those are well-formed."""
import atexit
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.environ.get("SRC") or os.getcwd(), "tests"))
import tap  # noqa: E402

COMMANDS = "map stacks pages cow pagesize heap leaks sizes explain faults watch record check diff serve doctor help".split()
COMPLETIONS = {"bash": "cli/vmatlas", "zsh": "cli/_vmatlas", "fish": "cli/vmatlas.fish"}


def out(*args):
    return subprocess.run([str(a) for a in args], capture_output=True, check=True, env=dict(os.environ, LC_ALL="C.UTF-8")).stdout.decode()


def options_of(command):
    """[(letter or "", name)] as --help has them."""
    text = out(tap.VMATLAS, command, "--help")
    body = text[text.index("\nOptions:"):].split("\n\n")[0]
    return re.findall(r"^  (?:-(\w),|   ) --([\w-]+)", body, re.M)


def lists_of(command):
    """{list: columns} as --help has them."""
    text = out(tap.VMATLAS, command, "--help")
    return {name: re.findall(r"^  ([A-Z_]+)(?:  |$)", body, re.M)
            for name, body in re.findall(r"^Columns of (\S+):\n(.*?)(?=\n\n)", text, re.M | re.S)}


def manual(page):
    path = os.path.join(tap.BUILD, "man", page + ".1")
    return open(path, encoding="utf-8").read() if os.path.exists(path) else None


def section_manual(t):
    if manual("vmatlas") is None:
        t.skip("manual pages", "scdoc is not installed")
        return
    main = manual("vmatlas")
    for command in COMMANDS:
        t.ok(re.search(rf"^\\fB{command}\\fR", main, re.M), f"vmatlas(1) names {command}")
    for command in (c for c in COMMANDS if c != "help"):
        page = manual("vmatlas-" + command).replace("\\-", "-")
        options = options_of(command)
        t.ok(len(options) >= 2, f"{command}: --help has options")
        missing = [n for letter, n in options if f"\\fB--{n}\\fR" not in page or (letter and f"\\fB-{letter}\\fR" not in page)]
        t.is_(missing, [], f"vmatlas-{command}(1) has every option")
        for name, columns in lists_of(command).items():
            missing = [c for c in columns if f"\\fB{c}\\fR (JSON: " not in page.replace("\\_", "_")]
            t.ok(columns and not missing, f"vmatlas-{command}(1) has every column of {name}", missing)
        t.ok("EXAMPLES" in page and "DESCRIPTION" in page, f"vmatlas-{command}(1) has description and examples")
    for page in ["vmatlas"] + ["vmatlas-" + c for c in COMMANDS if c != "help"]:
        if not shutil.which("man"):
            t.skip(f"{page}(1) without warnings", "man is not installed")
            continue
        done = subprocess.run(["man", "--warnings", "-E", "UTF-8", "-l", os.path.join(tap.BUILD, "man", page + ".1")],
                              stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=dict(os.environ, MANWIDTH="80", LC_ALL="C.UTF-8"))
        t.is_(done.stderr.decode(), "", f"{page}(1): man has no warnings")


def section_completions(t):
    for shell, path in COMPLETIONS.items():
        path = os.path.join(tap.BUILD, path)
        text = open(path, encoding="utf-8").read()
        for command in COMMANDS:
            options = options_of(command)
            mark = {"bash": "--{}", "zsh": "--{}", "fish": "-l {}"}[shell]
            part = "\n".join(line for line in text.splitlines() if shell != "fish" or command in line)
            missing = [n for _, n in options if mark.format(n) not in part]
            t.is_(missing, [], f"{shell}: {command} has every option")
            first = next(iter(lists_of(command).values()), [])
            missing = [c for c in first if not re.search(rf"\b{c}\b", part)]
            t.is_(missing, [], f"{shell}: {command} has every column")
        if not shutil.which(shell):
            t.skip(f"{shell} reads its completion", f"{shell} is not installed")
            continue
        done = subprocess.run([shell, "-n", path], capture_output=True)
        t.is_((done.returncode, done.stderr), (0, b""), f"{shell} reads its completion")


BASH = """
source "$1"
complete() { :; }
compopt() { :; }
COMP_WORDS=(vmatlas "${@:2}")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_vmatlas
printf '%s\\n' "${COMPREPLY[@]}"
"""


def section_bash(t):
    """What bash offers, word by word."""
    def offers(*words):
        done = subprocess.run(["bash", "-c", BASH, "bash", os.path.join(tap.BUILD, COMPLETIONS["bash"]), *words], capture_output=True)
        return done.stdout.decode().split()
    t.is_(offers("st"), ["stacks"], "bash: vmatlas st")
    t.is_(offers("map", "--sum"), ["--summary"], "bash: vmatlas map --sum")
    t.is_(offers("map", "--color", "al"), ["always"], "bash: vmatlas map --color al")
    t.is_(offers("map", "-o", "ps"), ["PSS"], "bash: vmatlas map -o ps")
    t.is_(offers("map", "-o", "+RSS,ps"), ["+RSS,PSS"], "bash: vmatlas map -o +RSS,ps")
    t.is_(offers("help", "pagesi"), ["pagesize"], "bash: vmatlas help pagesi")
    t.ok(str(os.getpid()) in offers("map", str(os.getpid())[:-1]), "bash: vmatlas map 12: process ids")


def section_help(t):
    """Examples run in a folder that has the recordings they name, and that they may leave files in."""
    place = tempfile.mkdtemp(prefix="vmatlas-examples-")
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    recorded = subprocess.run([tap.VMATLAS, "record", "-o", "day.vmatlas", "--for", "100ms", "-i", "20ms", str(os.getpid())], cwd=place, capture_output=True)
    t.is_(recorded.returncode, 0, "a recording for the examples")
    for name in re.findall(r"\b[a-z]+\.vmatlas", out(tap.VMATLAS, "check", "--help") + out(tap.VMATLAS, "diff", "--help")):
        if name != "day.vmatlas":
            shutil.copy(os.path.join(place, "day.vmatlas"), os.path.join(place, name))
    for command in COMMANDS:
        text = out(tap.VMATLAS, command, "--help")
        t.is_(out(tap.VMATLAS, "help", command), text, f"vmatlas help {command} is its --help")
        t.ok(max(map(len, text.splitlines())) <= 80, f"{command}: --help fits 80 characters", max(text.splitlines(), key=len))
        examples = re.findall(r"^  vmatlas (.*)$", text[text.index("\nExamples:"):], re.M)
        t.ok(examples, f"{command}: --help has examples")
        for example in examples:
            words = example.split()
            addr = out(tap.VMATLAS, "map", "-rn", "-o", "START", os.getpid()).split()[4][2:]
            words = [re.sub("7f2a4c021a10|7f2a4c000000|55d0c8a2e000", addr, w) for w in words]
            words = [str(os.getpid()) if w in ("1234", "@redis-server") else w for w in words]
            # What lasts is made short, and what never ends is asked to.
            words += {"watch": ["--for", "1ms"], "check": ["--for", "100ms"], "serve": ["--once"]}.get(command, [])
            done = subprocess.run([tap.VMATLAS, *shlex.split(" ".join(words))], capture_output=True, cwd=place)
            fine = (0, 1, 4, 5) if command in ("leaks", "check", "diff") else (0, 4, 5)
            t.ok(done.returncode in fine, f"the example works: vmatlas {example}", f"{done.returncode} {done.stderr}")
    text = out(tap.VMATLAS, "--help")
    t.ok(all(re.search(rf"^  {c}  ", text, re.M) for c in COMMANDS), "--help names every command")
    t.ok(max(map(len, text.splitlines())) <= 80, "--help fits 80 characters", max(text.splitlines(), key=len))
    t.ok(re.fullmatch(r"vmatlas \d+\.\d+\.\d+\n", out(tap.VMATLAS, "--version")), "--version")


t = tap.Tap()
for section in (section_manual, section_completions, section_bash, section_help):
    t.section(section)
t.done()
