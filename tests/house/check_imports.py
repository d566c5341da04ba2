#!/usr/bin/env python3
"""scripts/check-imports finds calls that src/IMPORTS denies, under the names that compiler and headers give them."""
from _trees import SCRIPTS, compile_objects, expect, make_tree, run, tap

TABLE = """
[never] = strcpy sprintf
          open
*          : [never]
* -cli     : puts stdout
map        : fopen (v?[sf]?)scanf
"""
GOOD = {
    "src/base/vec.c": "#include <stdio.h>\nint vec(char *t) { return snprintf(t, 8, \"%d\", 1); }\n",
    "src/map/parse.c": "int vec(char *t); int parse(char *t) { return vec(t); }\n",
}
FAULTS = [
    ("a call", {"src/base/vec.c": "char *strcpy(char *, const char *);\nchar *vec(char *t, char *s) { return strcpy(t, s); }\n"},
     "vec.o: base must not import strcpy"),
    ("a call that FORTIFY renamed", {"src/base/vec.c": "#define _FORTIFY_SOURCE 2\n#include <stdio.h>\n"
                                     "int vec(char *t, int n) { return sprintf(t, \"%d\", n); }\n"}, "must not import sprintf"),
    ("a call that large files renamed", {"src/base/vec.c": "#define _FILE_OFFSET_BITS 64\n#include <fcntl.h>\n"
                                         "int vec(char *t) { return open(t, 0); }\n"}, "must not import open"),
    ("a call that C99 renamed", {"src/map/parse.c": "#include <stdio.h>\n"
                                 "int parse(char *t) { int n; return sscanf(t, \"%d\", &n); }\n"}, "must not import sscanf"),
    ("a variable", {"src/base/vec.c": "#include <stdio.h>\nint vec(char *t) { return fputs(t, stdout); }\n"},
     "must not import stdout"),
    ("printf that the compiler made puts", {"src/base/vec.c": "#include <stdio.h>\nint vec(void) { return printf(\"x\\n\"), 0; }\n"},
     "must not import puts"),
    ("what one layer may not, though another may", {"src/map/parse.c": "#include <stdio.h>\n"
                                                    "FILE *parse(char *t) { return fopen(t, \"r\"); }\n"}, "map must not import fopen"),
]

t = tap.Tap()


def imports(change, table=TABLE):
    root = make_tree({**GOOD, **change, "IMPORTS": table})
    return run(SCRIPTS / "check-imports", compile_objects(root, *{**GOOD, **change}), root / "IMPORTS")


expect(t, run(SCRIPTS / "check-imports", tap.BUILD), 0, "imports ok", "no layer of this build imports what it must not")
expect(t, imports({}), 0, "2 layers", "a good tree passes")
for what, change, says in FAULTS:
    expect(t, imports(change), 1, says, f"fails on {what}")
expect(t, imports({"src/base/vec.c": "#include <stdio.h>\nFILE *vec(char *t) { return fopen(t, \"r\"); }\n"}), 0, "imports ok",
       "allows to one layer what is denied to another")
expect(t, imports({"src/cli/main.c": "#include <stdio.h>\nint main(void) { return puts(\"x\"); }\n"}), 0, "imports ok",
       "takes out the layers with a minus")
expect(t, imports({}, "map : [gone]\n"), 1, "no set is named [gone]", "fails on a table that names a set that is not there")
t.done()
