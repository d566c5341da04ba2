"""Huge pages set aside for a test, and given back: vm.nr_hugepages. A test that uses it runs alone (`# serial`)."""
import contextlib

SETTING = "/proc/sys/vm/nr_hugepages"


def _read():
    with open(SETTING, encoding="ascii") as file:
        return int(file.read())


def _write(count):
    with open(SETTING, "w", encoding="ascii") as file:
        file.write(str(count))


@contextlib.contextmanager
def more_huge_pages(wanted=4):
    """Gives "", or why there are not more."""
    before, why = _read(), ""
    try:
        _write(before + wanted)
        got = _read() - before
        if got < wanted:
            why = f"the kernel gives {got} huge pages of {wanted}"
    except OSError as error:
        why = f"vm.nr_hugepages cannot be raised: {error.strerror}"
    try:
        yield why
    finally:
        if _read() != before:
            _write(before)
