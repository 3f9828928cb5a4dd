#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compiles every part of the runtime headers with only the parts its marker names (and theirs), as
generated code embeds them: a missing name is an error, a warning too.

    parts.py [CC]"""
import os
import re
import subprocess
import sys
import tempfile

RUNTIME = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..', 'runtime')
HEADERS = ['math.h', 'types.h', 'int.h']


def read():
    parts = {}
    for h in HEADERS:
        with open(os.path.join(RUNTIME, h)) as f:
            text = f.read()
        for m in re.finditer(r'^//@ (\w+):(.*)\n((?:(?!//@ ).*\n)*)', text, re.M):
            parts[m[1]] = m[2].split(), m[3]
    return parts


def closure(parts, name):
    need = {name}
    while True:
        more = {d for n in need for d in parts[n][0]} - need
        if not more:
            return need
        need |= more


def main():
    cc = (sys.argv[1] if len(sys.argv) > 1 else 'cc -std=c11 -Wall -Wextra -Wpedantic -Wconversion -Werror').split()
    parts, failed = read(), 0
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, 'part.c')
        for name in parts:
            need = closure(parts, name)
            with open(path, 'w') as f:
                f.write('#include <stddef.h>\n#include <stdint.h>\n#define CNN_EINDEX 5\n')
                f.write(''.join(parts[n][1] for n in parts if n in need))
                f.write('int main(void) { return 0; }\n')
            r = subprocess.run([*cc, '-Werror=implicit-function-declaration', '-Wno-unused', '-c', path, '-o', path + '.o'],
                               capture_output=True, text=True)
            unused = [d for d in parts[name][0] if not re.search(r'\b%s' % d, parts[name][1])]
            if r.returncode or r.stderr or unused:
                failed += 1
                print(f'FAIL {name}: {unused or r.stderr}')
    print(f'parts: {len(parts)}, {failed} failed')
    return failed != 0


if __name__ == '__main__':
    sys.exit(main())
