#!/usr/bin/env python3
"""scripts/check-layers passes on this project and on a good tree, and names each sort of fault."""
from _trees import SCRIPTS, expect, make_tree, run, tap

LAYERS = """
base = src/base include/vmatlas/base.h :
map  = src/map include/vmatlas/map.h   : base
cli* = cli                             : base map
"""
GOOD = {
    "src/LAYERS": LAYERS,
    "include/vmatlas/base.h": "",
    "include/vmatlas/map.h": "#include <vmatlas/base.h>\n",
    "src/base/vec.h": "",
    "src/base/vec.c": '#include "base/vec.h"\n#include <stdio.h>\n',
    "src/map/parse.c": '#include <vmatlas/map.h>\n#include "base/vec.h"\n',
    "cli/main.c": "#include <vmatlas/map.h>\n#include <vmatlas/base.h>\n",
}
FAULTS = [
    ("a lower layer that includes a higher one", {"src/base/vec.c": "#include <vmatlas/map.h>\n"},
     "src/base/vec.c:1: base must not include vmatlas/map.h, which belongs to map"),
    ("an edge that is not in the table", {"src/LAYERS": LAYERS.replace(": base map", ": map")},
     "cli/main.c:2: cli must not include vmatlas/base.h"),
    ("a program that includes a private header", {"cli/main.c": '#include "base/vec.h"\n'}, "cli may include only public headers"),
    ("the same by a relative path", {"cli/main.c": '#include "../src/base/vec.h"\n'}, "cli may include only public headers"),
    ("a public header that includes a private one", {"include/vmatlas/base.h": '#include "base/vec.h"\n'},
     "a public header must not include"),
    ("a file of no layer", {"src/other/thing.c": ""}, "src/other/thing.c: belongs to no layer"),
    ("a public header of no layer", {"include/vmatlas/other.h": ""}, "include/vmatlas/other.h: belongs to no layer"),
    ("a circle of includes", {"src/map/a.h": '#include "map/b.h"\n', "src/map/b.h": '#include "map/a.h"\n'}, "circle: "),
    ("a layer that names one below it", {"src/LAYERS": LAYERS.replace("vmatlas/base.h :", "vmatlas/base.h : map")},
     "base names map, which does not stand above it"),
    ("a line that is no layer", {"src/LAYERS": LAYERS + "nonsense\n"}, "is not `name = paths : layers`"),
    ("two files of one name", {"src/map/vec.c": ""}, "two files of one name"),
    ("a name that says nothing", {"src/base/utils.c": ""}, "a name that says nothing"),
    ("a header of ours that is not there", {"src/map/parse.c": "#include <vmatlas/gone.h>\n"}, "vmatlas/gone.h is not found"),
]

t = tap.Tap()
expect(t, run(SCRIPTS / "check-layers", tap.SRC), 0, "layers ok", "this project keeps to its layers")
expect(t, run(SCRIPTS / "check-layers", make_tree(GOOD)), 0, "layers ok: 6 files, 3 layers", "a good tree passes")
for what, change, says in FAULTS:
    expect(t, run(SCRIPTS / "check-layers", make_tree({**GOOD, **change})), 1, says, f"fails on {what}")
t.done()
