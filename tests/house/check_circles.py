#!/usr/bin/env python3
"""scripts/check-circles finds object files that call each other, within a layer and across two."""
from _trees import SCRIPTS, compile_objects, expect, make_tree, run, tap

GOOD = {
    "src/base/vec.c": "int vec(void) { return 1; }\n",
    "src/map/parse.c": "int vec(void); int parse(void) { return vec(); }\n",
    "src/map/read.c": "int parse(void); int vec(void); int reader(void) { return parse() + vec(); }\n",
}

t = tap.Tap()


def circles(change):
    root = make_tree({**GOOD, **change})
    return run(SCRIPTS / "check-circles", compile_objects(root, *{**GOOD, **change}))


expect(t, run(SCRIPTS / "check-circles", tap.BUILD), 0, "circles ok", "no circle among the objects of this build")
expect(t, circles({}), 0, "none among 3 objects", "a good tree passes")
expect(t, circles({"src/map/parse.c": "int reader(void); int parse(void) { return reader(); }\n"}), 1,
       "circle: ", "fails on two files of a layer that call each other")
expect(t, circles({"src/base/vec.c": "int reader(void); int vec(void) { return reader(); }\n"}), 1,
       "libvmat_base:vec.o wants of libvmat_map:read.o: reader", "fails on a circle across layers, and names the symbols")
expect(t, circles({"src/base/vec.c": "extern int state; int vec(void) { return state; }\n",
                   "src/map/state.c": "int vec(void); int state; int get(void) { return vec(); }\n"}), 1,
       "state", "fails on a circle through a variable")
expect(t, circles({"src/map/vec.c": "static int parse(void) { return 1; } int other(void) { return parse(); }\n"}), 0,
       "none among 4 objects", "static names and objects of one name are kept apart")
expect(t, run(SCRIPTS / "check-circles", make_tree({"x": ""})), 1, "nothing was checked", "fails where there is nothing to check")
t.done()
