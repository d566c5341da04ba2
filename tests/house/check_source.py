#!/usr/bin/env python3
"""scripts/check-source finds what the style forbids, and is not misled by comments and texts."""
from _trees import SCRIPTS, expect, make_tree, run, tap

HEAD = "/* SPDX-License-Identifier: MIT */\n/* vec.c: what it knows. */\n"
GOOD = HEAD + '''#include <errno.h>
/* Some say errno, and typedef struct too. */
char *a = "errno, typedef struct x";
int f(void) { return open(path, O_RDONLY | O_CLOEXEC); }
FILE *g(void) { return fopen(path, "re"); }
int h(void) { return vmat_open(path, VMAT_O_x); }
'''
FAULTS = [
    ("a file that does not say what it knows", "/* SPDX-License-Identifier: MIT */\nint x;\n", "src/map/vec.c:1: does not begin with"),
    ("errno", HEAD + "int f(void) { return -errno; }\n", "src/map/vec.c:3: looks at errno"),
    ("open without O_CLOEXEC", HEAD + "int f(void)\n{\n\treturn open(path,\n\t\tO_RDONLY);\n}\n", "src/map/vec.c:5: open without O_CLOEXEC"),
    ("fopen without e", HEAD + 'FILE *f(void) { return fopen(path, "r"); }\n', "fopen without"),
    ("a typedef of a struct", HEAD + "typedef struct vec vec_t;\n", "behind a typedef"),
    ("a thing put off", HEAD + "/* TODO: later */\n", "postpones"),
    ("a long file", HEAD + "int x;\n" * 900, "has 902 lines"),
]

t = tap.Tap()
expect(t, run(SCRIPTS / "check-source", tap.SRC), 0, "source ok", "this project keeps to its style")
expect(t, run(SCRIPTS / "check-source", make_tree({"src/map/vec.c": GOOD, "src/sys/file.c": HEAD + "int f(void) { return -errno; }\n",
                                                   "src/map/other.h": HEAD, "src/map/other.c": "#include <vmatlas/map.h>\n",
                                                   "src/map/big.c": HEAD + "/* long: a table */\n" + "int x;\n" * 900})),
       0, "source ok: 5 files", "a good tree passes")
for what, text, says in FAULTS:
    expect(t, run(SCRIPTS / "check-source", make_tree({"src/map/vec.c": text})), 1, says, f"fails on {what}")
t.done()
