# SPDX-License-Identifier: Apache-2.0
"""Writes unicode.def, the tables of characters that the compiler knows, from Python's own tables.

    python3 gen_unicode.py > unicode.def

Scripts come from the fontTools package, as Python has none. Python 3.11 and fontTools 4.68.0 made the
file that is checked in: Unicode 14, scripts of Unicode 16 for the characters that 14 has.
"""

import sys
import unicodedata

from fontTools import unicodedata as scripts

LAST = 0x110000
CHARS = [c for c in range(LAST) if not 0xD800 <= c < 0xE000]


def ranges(members):
    """[(first, last)] of a sorted list of numbers."""
    out = []
    for c in members:
        if out and out[-1][1] == c - 1:
            out[-1][1] = c
        else:
            out.append([c, c])
    return out


def case_rows(change):
    """Ranges (first, last, step, distance) whose members move by the same distance, and (c, [c1, c2, c3])."""
    rows, special = [], []
    for c in CHARS:
        t = change(chr(c))
        if len(t) > 1:
            special.append((c, [ord(x) for x in t]))
            continue
        d = ord(t) - c
        if d == 0:
            continue
        last = rows[-1] if rows else None
        if last and last[3] == d and (c - last[1] == last[2] or (last[0] == last[1] and c - last[1] in (1, 2))):
            last[2] = c - last[1]
            last[1] = c
        else:
            rows.append([c, c, 1, d])
    return rows, special


def put_ranges(name, members):
    rows = ranges(members)
    print(f"UNICODE_SET({name}, {len(rows)})")
    for i in range(0, len(rows), 10):
        print("    " + " ".join(f"{{{a}, {b}}}," for a, b in rows[i : i + 10]))
    print("UNICODE_END")


def fold_orbits():
    """Characters that differ in case only: those of one simple folding."""
    groups = {}
    for c in CHARS:
        fold = chr(c).casefold()
        if len(fold) > 1:
            fold = chr(c).lower()
        groups.setdefault(ord(fold) if len(fold) == 1 else c, []).append(c)
    return [g for g in groups.values() if len(g) > 1]


def main():
    print("// SPDX-License-Identifier: Apache-2.0")
    print(f"// Made by gen_unicode.py: Unicode {unicodedata.unidata_version}. Sets of characters as ranges; rows of")
    print("// characters (first, last, step) that change case by one distance; changes to several characters.")
    for name, change in (("lower", str.lower), ("upper", str.upper)):
        rows, special = case_rows(change)
        print(f"UNICODE_CASE({name}, {len(rows)})")
        for i in range(0, len(rows), 6):
            print("    " + " ".join("{%d, %d, %d, %d}," % tuple(r) for r in rows[i : i + 6]))
        print("UNICODE_END")
        print(f"UNICODE_SPECIAL({name}, {len(special)})")
        for i in range(0, len(special), 6):
            print("    " + " ".join("{%d, %d, %d, %d}," % (c, *(t + [0])[:3]) for c, t in special[i : i + 6]))
        print("UNICODE_END")
    # a final sigma: behind a cased letter, with only ignorable characters between, and before none
    cased = [c for c in CHARS if (chr(c) + "Σ").lower()[-1] == "ς"]
    after = [c for c in CHARS if ("A" + chr(c) + "Σ").lower()[-1] == "ς"]
    put_ranges("cased", cased)
    put_ranges("ignorable", sorted(set(after) - set(cased)))
    orbits = fold_orbits()
    print(f"UNICODE_FOLD({len(orbits)})")
    for i in range(0, len(orbits), 8):
        print("    " + " ".join("{%s}," % ", ".join(map(str, (g + [0, 0, 0, 0])[:4])) for g in orbits[i : i + 8]))
    print("UNICODE_END")
    if max(len(g) for g in orbits) > 4:
        sys.exit("a group of more than four characters")
    names = ["cased", "ignorable"]
    by = {}
    for c in CHARS:
        k = unicodedata.category(chr(c))
        by.setdefault(k, []).append(c)
    for k in sorted(by):
        if k not in ("Cn", "Cs"):
            put_ranges(k, by[k])
            names.append(k)
    by = {}
    for c in CHARS:
        if unicodedata.category(chr(c)) != "Cn":
            by.setdefault(scripts.script(chr(c)), []).append(c)
    for k in sorted(by):
        if k not in ("Zzzz",):
            names.append(scripts.script_name(k).replace(" ", "_"))
            put_ranges(names[-1], by[k])
    print("#define UNICODE_NAMES(X) \\\n   ", " \\\n    ".join(" ".join(f"X({n})" for n in names[i : i + 10]) for i in range(0, len(names), 10)))


main()
