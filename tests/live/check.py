#!/usr/bin/env python3
"""vmatlas check of living programs that use memory in a known way: verdict, exit status, JSON, and what bad input gets."""
# timeout: 400
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.environ.get("SRC") or os.getcwd(), "tests"))
import tap  # noqa: E402

BEHAVIOUR = os.path.join(tap.BUILD, "tests/factory/behaviour")


def check(*args):
    done = subprocess.run([tap.VMATLAS, "check", *map(str, args)], capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


def judged(mode, time="5s"):
    """(exit status, document) of a program of that behaviour."""
    with subprocess.Popen([BEHAVIOUR, mode], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        code, out, _ = check("-J", "--for", time, process.pid)
        process.stdin.close()
    return code, json.loads(out)


def section_verdicts(t):
    # What is bad is so by a wide margin; which of two bad words it gets may depend on how often it could be looked at.
    code, bad = judged("leak")
    t.is_(code, 1, "a leak: exit status 1")
    t.ok(bad["verdict"] in ("leak", "fragmentation"), "a leak is called one", bad["sentence"])
    t.ok(bad["growth_bytes_per_s"] > bad["floor_bytes_per_s"] > 0, "its growth is above the floor", bad)
    t.is_(bad["findings"][0]["severity"], "bad", "its first finding is bad")
    t.ok(bad["findings"][0]["evidence"] and bad["findings"][0]["advice"], "and has evidence and advice")
    code, fine = judged("flat")
    t.is_(code, 0, "a quiet program: exit status 0")
    t.ok(fine["verdict"] in ("stable", "insufficient_data"), "it is not called bad", fine["sentence"])
    t.is_(fine["schema"], "vmatlas/check/1", "the schema")
    code, threads = judged("threads")
    t.is_((code, threads["verdict"]), (1, "stacks"), "threads that never end")


def section_causes(t):
    """Why there are so many faults is a finding, with the advice for it; where they may not be sampled, that is said."""
    for mode, cause in (("churn_mmap", "faults.mmap_churn"), ("churn_trim", "faults.trim_churn"), ("churn_dontneed", "faults.dontneed")):
        doc, ids = {}, []
        # A machine that is busy needs longer for enough looks.
        for time in ("5s", "15s", "40s"):
            _, doc = judged(mode, time)
            ids = [finding["id"] for finding in doc["findings"]]
            if cause in ids:
                break
        if doc["partial_why"] and not any(name.startswith("faults.") and name != "faults.churn" for name in ids):
            t.skip(f"{mode}: the cause", f"faults are not sampled here: {doc['partial_why']}")
            continue
        t.ok(cause in ids, f"{mode}: {cause} is a finding", (ids, doc["sentence"], doc["partial_why"]))
        found = [finding for finding in doc["findings"] if finding["id"] == cause]
        t.ok(found and found[0]["evidence"] and found[0]["advice"], f"{mode}: with evidence and advice", found)
    _, doc = judged("flat")
    t.is_([finding["id"] for finding in doc["findings"] if finding["id"].startswith("faults.")], [], "without faults there are no causes")


def section_refusals(t):
    t.is_(check("--for", "x", os.getpid())[0], 2, "a time that is none: 2")
    t.is_(check(4194303)[0], 3, "no such process: 3")
    code, _, err = check("--for", "1s", "/dev/null")
    t.ok(code not in (0, 1) and err, "no recording and no process", (code, err))


if __name__ == "__main__":
    T = tap.Tap()
    for part in (section_verdicts, section_causes, section_refusals):
        T.section(lambda t, part=part: part(t))
    T.done()
