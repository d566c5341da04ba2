"""Makes the system calls of one life of tests/factory/prim_calls.c fail, each in turn: for prim_calls.py and live/prim_hugebuf.py."""
import errno
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.environ["SRC"], "tests", "hostile"))
from _vmatlas import is_asan  # noqa: E402
import tap  # noqa: E402

FAIL_CALL = os.path.join(tap.BUILD, "tests/torture/fail_call")
LIVES = os.path.join(tap.BUILD, "tests/factory/prim_calls")
# x86-64. Name: (number, errno, whether addresses may be lost when it fails).
CALLS = {
    "mmap": (9, errno.ENOMEM, False), "mprotect": (10, errno.ENOMEM, False), "munmap": (11, errno.ENOMEM, True),
    "mremap": (25, errno.ENOMEM, False), "madvise": (28, errno.EINVAL, False), "ioctl": (16, errno.EINVAL, False),
    "mlock": (149, errno.ENOMEM, False), "perf_event_open": (298, errno.EACCES, False), "openat": (257, errno.EMFILE, False),
    "read": (0, errno.EIO, False), "pread64": (17, errno.EIO, False), "process_vm_readv": (310, errno.EPERM, False),
    "userfaultfd": (323, errno.EMFILE, False), "eventfd2": (290, errno.EMFILE, False), "clone": (56, errno.EAGAIN, False),
    "clone3": (435, errno.EAGAIN, False), "msync": (26, errno.ENOMEM, False), "rt_sigaction": (13, errno.EINVAL, False),
    "pwrite64": (18, errno.EIO, False), "lseek": (8, errno.EINVAL, False),
    "process_madvise": (440, errno.EINVAL, False), "pidfd_open": (434, errno.EMFILE, False), "fstat": (262, errno.EBADF, False),
}


def run(number, code, n, life, may_lose):
    """(exit code, stderr, how many such calls there were)"""
    with tempfile.NamedTemporaryFile() as count:
        command = [FAIL_CALL, "-s", str(number), "-n", str(n), "-e", str(code), "-c", count.name, "--", LIVES, life]
        done = subprocess.run(command + (["may-lose"] if may_lose else []), capture_output=True, text=True, timeout=60,
                              env={**os.environ, "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1"})
        return done.returncode, done.stderr, int(count.read() or 0)


def check(t, life):
    counts = []
    for name, (number, code, may_lose) in CALLS.items():
        if is_asan() and name.startswith("m"):
            continue    # what the sanitizer does for itself it cannot bear to fail
        if life == "goodsize" and name.startswith("m"):
            continue    # malloc's own calls: what it gives when the kernel refuses is not foretold
        # A number that is never reached: how many calls there are.
        status, said, total = run(number, code, 1 << 30, life, may_lose)
        if not t.ok(status == 0, f"{life}: works when nothing fails ({total} calls of {name})", said):
            return
        wrong = []
        for n in range(1, total + 1):
            status, said, _ = run(number, code, n, life, may_lose)
            if status:
                wrong.append(f"{name} no. {n}: exit status {status}: {said.strip()}")
        counts += [name] * bool(total)
        t.is_("\n".join(wrong), "", f"{life}: each of {total} calls of {name} fails")
    t.ok(counts or is_asan(), f"{life}: makes calls that can fail", counts)
