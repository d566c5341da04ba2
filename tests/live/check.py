#!/usr/bin/env python3
"""vmatlas check of living programs that use memory in a known way: verdict, exit status, JSON, and what bad input gets."""
# timeout: 400
import json
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.environ.get("SRC") or os.getcwd(), "tests"))
import tap  # noqa: E402

sys.path.insert(0, os.path.join(tap.SRC, "bench"))
import verdict_live  # noqa: E402

BEHAVIOUR = os.path.join(tap.BUILD, "tests/factory/behaviour")


def check(*args):
    done = subprocess.run([tap.VMATLAS, "check", *map(str, args)], capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


def judged(mode, seconds="5s"):
    """(exit status, document) of a program of that behaviour."""
    with subprocess.Popen([BEHAVIOUR, mode], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        code, out, _ = check("-J", "--for", seconds, process.pid)
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
        for seconds in ("5s", "15s", "40s"):
            _, doc = judged(mode, seconds)
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


def faults_of(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stat:
        return int(stat.read().rpartition(")")[2].split()[7])


def wait_for_faults(pid, wanted):
    until = time.monotonic() + 120
    while faults_of(pid) < wanted and time.monotonic() < until:
        time.sleep(0.02)
    return faults_of(pid) >= wanted


def section_behaviours(t):
    """Each churn that the bench judges does fault, and says at its end how long it ran; the bench knows every behaviour."""
    usage = subprocess.run([BEHAVIOUR], capture_output=True, text=True).stderr
    modes = usage.rpartition("modes:")[2].split()
    t.is_(sorted(verdict_live.TRUTH), sorted(modes), "bench/verdict_live.py judges each behaviour that there is")
    t.is_(sorted(verdict_live.CAUSES), sorted(mode for mode in modes if mode.startswith("churn_")), "and knows the cause of each churn")
    for mode in verdict_live.CAUSES:
        with subprocess.Popen([BEHAVIOUR, mode, "1"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            if not process.stdout.readline():
                why = process.stderr.read().strip()
                code = process.wait()
                if code == verdict_live.CANNOT:
                    t.skip(mode, why)
                else:
                    t.ok(False, f"{mode} begins", (code, why))
                continue
            before = faults_of(process.pid)
            grew = wait_for_faults(process.pid, before + 1000)
            process.stdin.close()
            end = process.stdout.read()
            t.ok(grew, f"{mode} takes faults", end)
            t.is_(process.wait(), 0, f"{mode} ends with stdin")
            t.ok(end and json.loads(end)["seconds"] > 0, "and says for how long it ran", end)


def section_refusals(t):
    t.is_(check("--for", "x", os.getpid())[0], 2, "a time that is none: 2")
    t.is_(check(4194303)[0], 3, "no such process: 3")
    code, _, err = check("--for", "1s", "/dev/null")
    t.ok(code not in (0, 1) and err, "no recording and no process", (code, err))


if __name__ == "__main__":
    T = tap.Tap()
    for part in (section_verdicts, section_causes, section_behaviours, section_refusals):
        T.section(lambda t, part=part: part(t))
    T.done()
