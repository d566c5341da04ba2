#!/usr/bin/env python3
"""scripts/check-headers compiles each public header alone as C and C++, and each private one as C."""
from _trees import SCRIPTS, expect, make_tree, run, tap

GOOD = {
    "include/vmatlas/map.h": "#ifndef M\n#define M\n#include <stdint.h>\nstruct vmat_r { uint64_t start; };\n#endif\n",
    "src/map/parse.h": "#ifndef P\n#define P\n#include <vmatlas/map.h>\nstruct vmat_p { struct vmat_r r; };\n#endif\n",
}
FAULTS = [
    ("a header that needs another first", {"include/vmatlas/map.h": "uint64_t vmat_f(void);\n"}, "map.h: does not compile alone as C"),
    ("a name that C++ keeps for itself", {"include/vmatlas/map.h": "int vmat_f(int class);\n"}, "does not compile alone as C++"),
    ("a header without a guard", {"src/map/parse.h": "struct vmat_p { int x; };\n"}, "src/map/parse.h: does not compile alone as C"),
]

t = tap.Tap()
expect(t, run(SCRIPTS / "check-headers", tap.SRC), 0, "headers ok", "each header of this project compiles alone")
expect(t, run(SCRIPTS / "check-headers", make_tree(GOOD)), 0, "headers ok: 4 compiled alone", "a good tree passes")
for what, change, says in FAULTS:
    expect(t, run(SCRIPTS / "check-headers", make_tree({**GOOD, **change})), 1, says, f"fails on {what}")
t.done()
