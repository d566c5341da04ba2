"""Small trees for the tests of the check scripts: each check must be seen to pass on a good one and to fail on a bad one."""
import os
import pathlib
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.environ["SRC"], "tests"))
import tap  # noqa: E402

SCRIPTS = pathlib.Path(tap.SRC) / "scripts"


def make_tree(files):
    """A new folder that holds these files: path -> text."""
    root = pathlib.Path(tempfile.mkdtemp())
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def run(*argv, cwd=None, env=None):
    """Exit status and all output of a program."""
    done = subprocess.run([str(a) for a in argv], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, cwd=cwd, env=dict(os.environ, **(env or {})))
    return done.returncode, done.stdout


def compile_objects(root, *names):
    """The object files of these C files, built where meson would put those of a layer: src/<layer>/libvmat_<layer>.a."""
    made = {}
    for name in names:
        source = root / name
        layer = source.parent.name
        folder = root / "build/src" / layer
        folder.mkdir(parents=True, exist_ok=True)
        obj = folder / (source.stem + ".o")
        subprocess.run(["gcc", "-c", "-O1", "-I", root / "src", "-o", obj, source], check=True)
        made.setdefault(layer, []).append(obj)
    for layer, objects in made.items():
        subprocess.run(["ar", "csrT", root / "build/src" / layer / f"libvmat_{layer}.a", *objects], check=True)
    return root / "build"


def expect(t, done, status, says, name):
    """The script ended with this status and its output holds this text."""
    t.ok(done[0] == status and says in done[1], name, f"exit status {done[0]}, wanted {status} with '{says}' in:\n{done[1]}")
