#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compares schemas/onnx.proto, as compiled into the roundtrip program, with the onnx package.

Usage: wire_compat.py ROUNDTRIP [MODEL.onnx]...

1. Descriptors: every message, field (name, number, type, label, packed, oneof) and enumeration of the
   package is in ours, and nothing else.
2. Messages: random ones, until every field of every message was used, go from the package's protobuf
   through C and back, once plainly and once through wire_scan, and come back with the same bytes. The
   models named are treated the same way.
3. Refusals: what the scan must not let through.

Needs the onnx package; exit 77 (skipped) without it.
"""
import random
import subprocess
import sys

try:
    import onnx
    from google.protobuf.descriptor_pb2 import FieldDescriptorProto as F
    from google.protobuf.descriptor_pb2 import FileDescriptorProto
    from onnx import onnx_data_pb2, onnx_ml_pb2
except ImportError as e:
    print(f"skipped: {e}")
    sys.exit(77)

MODULES = (onnx_ml_pb2, onnx_data_pb2)
ROOTS = [
    onnx_ml_pb2.ModelProto,
    onnx_data_pb2.SequenceProto,
    onnx_data_pb2.OptionalProto,
    onnx_data_pb2.MapProto,
    onnx_ml_pb2.TensorProto,
    onnx_ml_pb2.TypeProto,
]


def expected():
    """The lines that roundtrip --describe must print."""
    lines = set()

    def enum(prefix, e):
        lines.update(f"enum {prefix}{e.name} {v.name} {v.number}" for v in e.value)

    def message(prefix, m):
        name = prefix + m.name
        lines.add(f"message {name}")
        for e in m.enum_type:
            enum(name + ".", e)
        for n in m.nested_type:
            message(name + ".", n)
        for f in m.field:
            label = F.Label.Name(f.label)[6:].lower()
            kind = F.Type.Name(f.type)[5:].lower()
            flags = " packed" * f.options.packed + " oneof" * f.HasField("oneof_index")
            lines.add(f"field {name} {f.name} {f.number} {label} {kind} {f.type_name[1:] or '-'}{flags}")

    for module in MODULES:
        fd = FileDescriptorProto()
        module.DESCRIPTOR.CopyToProto(fd)
        for e in fd.enum_type:
            enum("onnx.", e)
        for m in fd.message_type:
            message("onnx.", m)
    return lines


def check_descriptors(program):
    ours = set(subprocess.run([program, "--describe"], capture_output=True, text=True, check=True).stdout.splitlines())
    theirs = expected()
    for line in sorted(theirs - ours):
        print("missing:", line)
    for line in sorted(ours - theirs):
        print("not in onnx:", line)
    assert ours == theirs
    print(f"descriptors: {len(ours)} messages, fields and enumerators agree with onnx {onnx.__version__}")


INTS = [0, 1, -1, 127, 128, 300, 2**31 - 1, -(2**31)]
LONGS = INTS + [2**63 - 1, -(2**63), 2**40]


def scalar(rng, f):
    if f.type in (F.TYPE_INT64,):
        return rng.choice(LONGS)
    if f.type == F.TYPE_UINT64:
        return rng.choice([0, 1, 2**64 - 1, 2**63])
    if f.type == F.TYPE_INT32:
        return rng.choice(INTS)
    if f.type in (F.TYPE_FLOAT, F.TYPE_DOUBLE):
        return rng.choice([0.0, -0.0, 1.5, -2.0, float("inf"), float("nan"), 2.0**-149])
    if f.type == F.TYPE_STRING:
        return rng.choice(["", "x", "näme", "a/b:0", "long" * 50])
    if f.type == F.TYPE_BYTES:
        return rng.randbytes(rng.choice([0, 1, 15, 16, 17, 64, 65, 400]))
    if f.type == F.TYPE_ENUM:
        return rng.choice(f.enum_type.values).number
    raise ValueError(f.full_name)


def fill(rng, m, depth, used):
    """Sets fields of m at random, the fewer the deeper; notes their names in used."""
    for f in m.DESCRIPTOR.fields:
        is_message = f.type == F.TYPE_MESSAGE
        if rng.random() > (0.9 if not is_message else 0.7 / (1 + depth)):
            continue
        used.add(f.full_name)
        repeated = f.is_repeated if hasattr(f, "is_repeated") else f.label == F.LABEL_REPEATED
        if repeated:
            for _ in range(rng.randint(1, 3)):
                if is_message:
                    fill(rng, getattr(m, f.name).add(), depth + 1, used)
                else:
                    getattr(m, f.name).append(scalar(rng, f))
        elif is_message:
            getattr(m, f.name).SetInParent()
            fill(rng, getattr(m, f.name), depth + 1, used)
        else:
            setattr(m, f.name, scalar(rng, f))


def through(program, name, data, *flags):
    return subprocess.run([program, name, *flags], input=data, capture_output=True, check=False)


def check_message(program, message):
    """The bytes that come back must be those of the message, and mean the same."""
    data = message.SerializeToString(deterministic=True)
    for flags in ((), ("--scan",)):
        r = through(program, message.DESCRIPTOR.name, data, *flags)
        assert r.returncode == 0, r.stderr.decode()
        back = type(message)()
        back.ParseFromString(r.stdout)
        assert back.SerializeToString(deterministic=True) == data, (message.DESCRIPTOR.name, flags)


def all_fields():
    return {line.split()[1] + "." + line.split()[2] for line in expected() if line.startswith("field")}


def check_messages(program):
    rng, used, todo, count = random.Random(1), set(), all_fields(), 0
    while count < 100 or not todo <= used:
        for root in ROOTS:
            m = root()
            fill(rng, m, 0, used)
            check_message(program, m)
            count += 1
        assert count < 5000, sorted(todo - used)
    print(f"messages: {count} came back unchanged, with all {len(todo)} fields in use")


def varint(n):
    out = b""
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


def inside(tags, data):
    for tag in reversed(tags):
        data = bytes([tag]) + varint(len(data)) + data
    return data


def check_refusals(program):
    graph, node, attribute, g = 0x3A, 0x0A, 0x2A, 0x32
    cases = {
        "3,000 nested subgraphs": (inside([graph] + [node, attribute, g] * 3000, b""), b"nested deeper than 100"),
        "33 nested subgraphs": (inside([graph] + [node, attribute, g] * 33, b""), b"nested deeper than 100"),
        "20 MB of empty messages": (inside([graph], b"\x0a\x00" * (10 << 20)), b"messages"),
        "a cut model": (inside([graph], b"\x12\x05abcde")[:-1], b"ends after"),
        "a group": (b"\x0b\x0c", b"wire type 3"),
    }
    for what, (data, why) in cases.items():
        r = through(program, "ModelProto", data, "--scan")
        assert r.returncode == 1 and why in r.stderr, (what, r.returncode, r.stderr)
    r = through(program, "ModelProto", inside([graph] + [node, attribute, g] * 32, b""), "--scan")
    assert r.returncode == 0, r.stderr
    print(f"refusals: {len(cases)} as they should be")


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    program = sys.argv[1]
    check_descriptors(program)
    check_messages(program)
    check_refusals(program)
    for path in sys.argv[2:]:
        with open(path, "rb") as f:
            m = onnx.ModelProto.FromString(f.read())
        check_message(program, m)
    print(f"models: {len(sys.argv) - 2} came back unchanged")


if __name__ == "__main__":
    main()
