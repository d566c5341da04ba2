#!/usr/bin/env python3
"""scripts/run-tests counts what test programs say, and calls everything suspicious a failure."""
# timeout: 120
import os

from _trees import SCRIPTS, expect, make_tree, run, tap

PASS = 'print("ok 1 - adds up\\nok 2 - no. 1\\n1..2")\n'
SKIPS = "# Not here, but in CI.\nunit/a: reads frames: needs root\n"

t = tap.Tap()


def tests(files, *args):
    """Runs these as tests/...; each script gets its #! line."""
    root = make_tree({f"tests/{name}": "#!/usr/bin/env python3\n" + text if name.endswith(".py") and text != "x" else text
                      for name, text in files.items()})
    done = run(SCRIPTS / "run-tests", "--src", root, "--build", root / "build", *args)
    last = done[1].splitlines()[-1] if done[1] else ""
    return done, last


def expect_total(name, files, status, total, says="", args=()):
    done, last = tests(files, *args)
    t.ok(done[0] == status and last == total and says in done[1], name, f"exit status {done[0]}, wanted {status}, '{total}', '{says}':\n{done[1]}")


expect_total("checks are counted", {"unit/a.py": PASS, "cli/b.py": PASS}, 0, "4 passed, 0 failed, 0 skipped")
expect_total("a helper module is no test", {"unit/a.py": PASS, "unit/_h.py": PASS, "unit/h.py": "x"}, 0, "2 passed, 0 failed, 0 skipped")
expect_total("a failed check fails", {"unit/a.py": 'print("1..1\\nnot ok 1 - adds up\\n# 2 is not 3")\nexit(1)'}, 1,
             "0 passed, 1 failed, 0 skipped", "# 2 is not 3")
expect_total("what failed is shown before all else", {"unit/a.py": 'print("1..2\\nok 1 - fine\\nnot ok 2 - adds up\\n# 2 is not 3")\nexit(1)'},
             1, "1 passed, 1 failed, 0 skipped", "FAILED adds up\n    not ok 2 - adds up\n    # 2 is not 3\n    1..2")
expect_total("a listed skip is a skip", {"unit/a.py": 'print("ok 1 - reads frames # SKIP needs root\\n1..1")', "SKIPS": SKIPS}, 0,
             "0 passed, 0 failed, 1 skipped", "skipped unit/a: reads frames: needs root")
expect_total("a skip for another reason fails", {"unit/a.py": 'print("ok 1 - reads frames # SKIP no time\\n1..1")', "SKIPS": SKIPS}, 1,
             "0 passed, 1 failed, 0 skipped", "no line of tests/SKIPS matches")
expect_total("a skip of all of a program must be listed, too", {"unit/a.py": 'print("1..0 # SKIP nothing here")'}, 1,
             "0 passed, 1 failed, 0 skipped")
expect_total("cmocka's way of a skip is understood", {"unit/a.py": 'print("1..1\\n# skip: needs root\\nnot ok 1 # SKIP reads frames")', "SKIPS": SKIPS},
             0, "0 passed, 0 failed, 1 skipped")
expect_total("several groups of cmocka add up", {"unit/a.py": 'print("1..1\\nok 1 - a\\n1..1\\nok 1 - b")'}, 0, "2 passed, 0 failed, 0 skipped")
expect_total("silence is a failure", {"unit/a.py": ""}, 1, "0 passed, 1 failed, 0 skipped", "printed no plan")
expect_total("fewer checks than planned is a failure", {"unit/a.py": 'print("1..3\\nok 1 - a")'}, 1, "1 passed, 1 failed, 0 skipped",
             "planned 3 checks, made 1")
expect_total("an exit status is a failure", {"unit/a.py": PASS + "exit(7)"}, 1, "2 passed, 1 failed, 0 skipped", "exit status 7")
expect_total("a crash is a failure", {"unit/a.py": PASS + "import os\nos.kill(os.getpid(), 11)"}, 1, "2 passed, 1 failed, 0 skipped", "SIGSEGV")
expect_total("a hang is a failure", {"unit/a.py": 'import time\nprint("before", flush=True)\ntime.sleep(99)'}, 1,
             "0 passed, 1 failed, 0 skipped", "still running after 1 s", ["--timeout", "1"])
expect_total("TODO is not an excuse", {"unit/a.py": 'print("1..1\\nnot ok 1 - later # TODO some day")'}, 1,
             "0 passed, 2 failed, 0 skipped")
expect_total("a process left behind is a failure", {"unit/a.py": PASS + "import subprocess\nsubprocess.Popen(['sleep', '98'], start_new_session=True)"},
             1, "2 passed, 1 failed, 0 skipped", "left a process behind")
expect(t, tests({"unit/a.py": PASS, "SKIPS": "unit/.*\n"})[0], 1, "no comment above says why", "a rule of SKIPS without a reason is refused")
expect_total("no test at all is a failure", {"unit/a.py": PASS}, 1, "0 passed, 1 failed, 0 skipped", args=["--only", "nothing"])
expect_total("--only picks by name", {"unit/a.py": PASS, "cli/b.py": PASS}, 0, "2 passed, 0 failed, 0 skipped", args=["--only", "^cli/"])
expect_total("several --only add up", {"unit/a.py": PASS, "cli/b.py": PASS, "docs/c.py": PASS}, 0, "4 passed, 0 failed, 0 skipped",
             args=["--only", "cli", "--only", "docs"])
expect_total("the full tier is left out", {"unit/a.py": PASS, "race/b.py": "# tier: full\n" + PASS}, 0, "2 passed, 0 failed, 0 skipped")
expect_total("and run when it is asked for", {"unit/a.py": PASS, "race/b.py": "# tier: full\n" + PASS}, 0, "4 passed, 0 failed, 0 skipped",
             args=["--tier", "full"])
expect_total("a variant runs once more with its environment",
             {"unit/a.py": '# variant: VMAT_WITHOUT=procmap_query\nimport os\nprint("ok 1 - without", os.environ.get("VMAT_WITHOUT"), "\\n1..1")'},
             0, "2 passed, 0 failed, 0 skipped", "unit/a [VMAT_WITHOUT=procmap_query]: 1 passed")
done, _ = tests({"unit/a.py": "# serial\n" + PASS, "cli/b.py": PASS}, "--list")
t.is_(done[1], "unit/a  (serial)\ncli/b\n", "--list names the programs and their marks")
expect(t, run(SCRIPTS / "run-tests", "--list", "--build", tap.BUILD), 0, "house/run_tests", "this very test is found")
t.ok(os.path.isdir(os.environ["TMPDIR"]) and os.environ["VMATLAS"].endswith("/vmatlas"), "a program finds VMATLAS and a TMPDIR")
t.done()
