#!/usr/bin/env python3
"""`vmatlas cow`: which pages of a private file mapping are copies, and which pages are still shared after a fork, against the
factory, which knows because it wrote them. As a user without any capability, on processes of its own."""
import os
import sys

sys.path.insert(0, os.path.join(os.environ["SRC"], "tests"))
import cow_truth
import proc
import tap
from cow_truth import pages_of, row_of
from factory import Factory, Tour

USER = proc.NOBODY if os.geteuid() == 0 else None


def check_party(t, said, pid, info, party):
    """One of both processes: its private file mapping, and its anonymous memory."""
    doc = proc.vmatlas_json("cow", pid, user=USER)
    t.is_(doc["partial"], False, f"{said}: the answer is whole")
    t.is_(proc.null_differences(doc["regions"]), "", f"{said}: what is unknown has a reason")
    t.is_(cow_truth.differences(doc, info, party), "", f"{said}: which pages are copied and shared, and of which file")
    row = proc.region_at(proc.vmatlas_json("map", pid, user=USER), int(info["file"]["start"], 16))
    t.is_(row["copied"], len(party["file"]["copied"]) * proc.PAGE, f"{said}: map says as much")


def check_both(t, said, f, answer):
    check_party(t, f"{said}, parent", f.pid, f.info, answer["parent"])
    if answer["child"]:
        check_party(t, f"{said}, child", answer["child"]["pid"], f.info, answer["child"])


def copies(t):
    with Factory("cow", user=USER) as f:
        t.is_(f.info["parent"]["file"]["copied"], [0, 2], "the factory wrote pages 0 and 2 of 4")
        check_both(t, "before a fork", f, f.info)
        check_both(t, "after a fork", f, f.cmd("f"))
        check_both(t, "the parent wrote page 3", f, f.cmd("w 3"))
        check_both(t, "the child wrote pages 3 and 5", f, [f.cmd("c 3"), f.cmd("c 5")][1])
        check_both(t, "the child wrote file pages 0 and 1", f, [f.cmd("c f0"), f.cmd("c f1")][1])
        check_both(t, "the parent gave its copies back", f, f.cmd("d"))
        check_both(t, "the child is gone", f, f.cmd("k"))


def memfd(t):
    """Private mappings of a memfd are copied in the same way."""
    with Factory("cow", user=USER, backing="memfd", pages=300) as f:
        answer = f.cmd("f")
        doc = proc.vmatlas_json("cow", f.pid, user=USER)
        file, anon = row_of(doc, f.info["file"]), row_of(doc, f.info["anon"])
        t.is_(pages_of(f.info["file"], file["ranges"]), answer["parent"]["file"]["copied"], "memfd: which pages are copied")
        t.is_(pages_of(f.info["anon"], anon["ranges"]), answer["parent"]["anon"]["shared"], "300 pages: which are shared")


def text(t):
    """What a person sees: at most 8 ranges of a region, all of them with --ranges."""
    with Factory("cow", user=USER, pages=64) as f:
        f.cmd("f")
        for page in range(0, 64, 2):
            f.cmd(f"w {page}")
        for options, most in (((), 8), (("--ranges",), 64)):
            answer = proc.vmatlas("cow", *options, f.pid, user=USER)
            lines = answer.out.splitlines()
            first = [i for i, line in enumerate(lines) if line.startswith(f.info["anon"]["start"])][0]
            shown = 0
            while first + 1 + shown < len(lines) and not lines[first + 1 + shown].startswith("0x"):
                shown += 1
            want = 32 if most > 8 else 8
            t.ok(want <= shown <= want + 1, f"cow {' '.join(options)}: {want} ranges are shown", answer.out)
            t.is_(answer.err, "", f"cow {' '.join(options)}: no warning")


def tour(t):
    with Tour() as tour:
        proc.wait_until(lambda: proc.stat(tour.child)[3] == "S" and
                        proc.read(f"/proc/{tour.child}/comm") == "tour-child\n", "the child has written and waits")
        parent, child = (proc.vmatlas_json("cow", pid) for pid in (tour.pid, tour.child))
        by_name = [{os.path.basename(row["path"]): row for row in doc["regions"] if row["path"]} for doc in (parent, child)]
        name = [n for n in by_name[0] if n.startswith("vmatlas-tour-")][0]
        t.is_([rows[name]["copied"] for rows in by_name], [2, 3], "tour: the child wrote one more page of the file")
        shared = [[row for row in doc["regions"] if not row["path"] and row["pages"] == 8] for doc in (parent, child)]
        t.is_([[(row["exclusive"], row["shared"]) for row in rows] for rows in shared], [[(2, 6)], [(2, 6)]],
              "tour: the child wrote 2 of 8 pages")


t = tap.Tap()
for section in (copies, memfd, text, tour):
    t.section(section)
t.done()
