"""Compares what `vmatlas cow -J` says of a process of the factory's scenario `cow` with what the factory says of it."""
import proc


def pages_of(region, ranges):
    """Ranges of addresses as numbers of pages of the region."""
    start = int(region["start"], 16)
    return [page for r in ranges
            for page in range((proc.number(r["start"]) - start) // proc.PAGE, (proc.number(r["end"]) - start) // proc.PAGE)]


def row_of(doc, region):
    found = [row for row in doc["regions"] if row["start"] == region["start"]]
    return found[0] if found else None


def differences(doc, info, party, may_be_unsure=False):
    """A text, "" when all agrees. party: info["parent"] or info["child"], or that of an answer."""
    wrong = []

    def expect(what, got, want):
        if got != want and not (may_be_unsure and got is None):
            wrong.append(f"{what}: {got!r}, the factory says {want!r}")

    for name, main in (("file", "copied"), ("anon", "shared")):
        region, want, row = info[name], party[name], row_of(doc, info[name])
        if not want[main]:
            expect(f"{name}: the row", row, None)
        elif row is None:
            wrong.append(f"{name}: there is no row")
        else:
            expect(f"{name}: which pages", pages_of(region, row["ranges"]), want[main])
            expect(f"{name}: copied", row["copied"], len(want["copied"]) if name == "file" else None)
            expect(f"{name}: exclusive", row["exclusive"], len(want["exclusive"]))
            expect(f"{name}: shared", row["shared"], len(want["shared"]))
            expect(f"{name}: pages", row["pages"], region["pages"])
            expect(f"{name}: path", row["path"], region["path"] or "")
            expect(f"{name}: end", row["end"], region["end"])
    return "\n".join(wrong)
