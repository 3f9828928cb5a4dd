# SPDX-License-Identifier: Apache-2.0
"""docs/operators.md, made from what cnncc --list-ops prints.

    list_ops.py --cnncc build/cnncc docs/operators.md             writes it
    list_ops.py --cnncc build/cnncc docs/operators.md --current   fails when it is not what would be written
"""

import argparse
import collections
import pathlib
import subprocess
import sys

HEAD = """<!-- SPDX-License-Identifier: Apache-2.0 -->
<!-- Made by tests/schemas/list_ops.py from cnncc --list-ops; the tests fail when it is not current. -->
# Operators

Every version that ONNX has published is a row of `cnncc --list-ops`. Here are the operators with the versions
that are supported, the element types of the newest one, and whether a gradient flows from a result of real
numbers to an input of real numbers ([gradients.md](gradients.md) says how each is checked).

"""


def table(text):
    rows = collections.OrderedDict()
    for line in text.splitlines():
        words = line.split(None, 5)
        if len(words) < 4 or not words[2].isdigit():
            continue
        domain, name, version = words[:3]
        rest = line.split(None, 3)[3]
        row = rows.setdefault((domain, name), {"yes": [], "no": [], "gradient": "", "types": ""})
        if rest.startswith("removed"):
            row["gradient"], row["types"] = "", f"removed in {version}"
            continue
        row["no" if rest.startswith("not supported") else "yes"].append(version)
        tail = rest.replace("not supported", "").replace("supported", "", 1).split(None, 1)
        row["gradient"] = "yes" if tail and tail[0] == "gradient" else ""
        row["types"] = tail[1].strip() if len(tail) > 1 else ""
    out, last = HEAD, None
    for (domain, name), row in rows.items():
        if domain != last:
            out += f"{'' if last is None else chr(10)}## {domain}\n\n| operator | versions | gradient | types |\n|---|---|---|---|\n"
            last = domain
        versions = ", ".join(row["yes"]) + (f" (not {', '.join(row['no'])})" if row["no"] else "")
        out += f"| {name} | {versions} | {row['gradient']} | {row['types']} |\n"
    return out + f"\n{text.strip().splitlines()[-1]}.\n"


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("file")
    p.add_argument("--cnncc", required=True)
    p.add_argument("--current", action="store_true")
    opt = p.parse_args()
    text = table(subprocess.run([opt.cnncc, "--list-ops"], check=True, capture_output=True, text=True).stdout)
    file = pathlib.Path(opt.file)
    if not opt.current:
        file.write_text(text)
    elif not file.exists() or file.read_text() != text:
        print(f"{file} is not current: run {sys.argv[0]} --cnncc {opt.cnncc} {file}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
