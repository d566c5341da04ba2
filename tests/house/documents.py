#!/usr/bin/env python3
"""What the documents say of the house is there: links, make targets, scripts, layers; and install-deps knows its groups."""
import os
import pathlib
import re

from _trees import SCRIPTS, expect, make_tree, run, tap

ROOT = pathlib.Path(tap.SRC)
t = tap.Tap()

targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
for document in sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]):
    here, text = document.relative_to(ROOT).as_posix(), document.read_text()
    links = re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", text)
    gone = [link for link in links if not (document.parent / link).exists()]
    t.is_(gone, [], f"{here}: each link leads somewhere")
    named = re.findall(r"`(?:\.?/)?(scripts/[\w-]+|\.ci/run|src/[A-Z]+|tests/[\w.]+\.py|tests/SKIPS)\b", text)
    t.is_([name for name in named if not (ROOT / name).exists()], [], f"{here}: each script that it names is there")
    made = re.findall(r"`make ([a-z][a-z-]*)", text)
    t.is_([name for name in made if name not in targets], [], f"{here}: each make target that it names is there")

agents = (ROOT / "AGENTS.md").read_text()
built = [p.parent.name for p in sorted(ROOT.glob("src/*/meson.build"))]
t.is_([layer for layer in built if f"`src/{layer}/`" not in agents], [], "AGENTS.md knows each layer that is built")
usage = re.findall(r"^#   make ([a-z-]+)", (ROOT / "Makefile").read_text(), re.M)
t.is_(sorted(set(usage) - targets), [], "the head of Makefile names targets that are there")

expect(t, run(SCRIPTS / "install-deps", "--check", "build"), 0, "", "install-deps finds what this build was made with")
empty = {"PATH": str(make_tree({"dpkg-query": "#!/bin/sh\nexit 1\n"})) + ":" + os.environ["PATH"]}
os.chmod(pathlib.Path(empty["PATH"].split(":")[0]) / "dpkg-query", 0o755)
expect(t, run(SCRIPTS / "install-deps", "--check", "build", env=empty), 1, "not installed: gcc libc6-dev meson",
       "install-deps says what is missing where nothing is there")
expect(t, run(SCRIPTS / "install-deps", "nonsense"), 2, "no group is named 'nonsense'", "install-deps refuses an unknown group")
expect(t, run(SCRIPTS / "install-deps"), 2, "install-deps [--check] GROUP", "install-deps without a group says how to use it")
t.done()
