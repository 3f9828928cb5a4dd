// SPDX-License-Identifier: Apache-2.0
//
// Reads a message from standard input as protobuf-c sees it and writes it to standard output again.
//
//   roundtrip MESSAGE            unpack and pack, nothing else
//   roundtrip MESSAGE --scan     through wire_scan first, then raw_data is put back from the input
//   roundtrip --describe         instead print every message, field and enumeration there is
//
// MESSAGE is the name of a message in onnx.proto that needs no other name to be found: ModelProto,
// TensorProto, SequenceProto, … Exit 1 and a message if the input is refused.
#include "import/wire.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const ProtobufCMessageDescriptor *const types[] = {
    &onnx__model_proto__descriptor,     &onnx__tensor_proto__descriptor,  &onnx__sparse_tensor_proto__descriptor,
    &onnx__sequence_proto__descriptor,  &onnx__map_proto__descriptor,     &onnx__optional_proto__descriptor,
    &onnx__attribute_proto__descriptor, &onnx__type_proto__descriptor,    &onnx__graph_proto__descriptor,
    &onnx__node_proto__descriptor,      &onnx__function_proto__descriptor};

static uint8_t *read_all(FILE *f, size_t *n) {
    size_t cap = 1 << 16, len = 0, got;
    uint8_t *data = malloc(cap);
    while (data != NULL && (got = fread(data + len, 1, cap - len, f)) > 0) {
        len += got;
        if (len == cap) {
            cap *= 2;
            uint8_t *more = realloc(data, cap);
            if (more == NULL) {
                free(data);
            }
            data = more;
        }
    }
    *n = len;
    return data;
}

// The i-th sub-message of a field of an unpacked message, NULL if there are no more.
static ProtobufCMessage *child(ProtobufCMessage *m, const ProtobufCFieldDescriptor *f, size_t i) {
    uint8_t *base = (uint8_t *)m;
    if (f->label == PROTOBUF_C_LABEL_REPEATED) {
        size_t count;
        ProtobufCMessage **list;
        memcpy(&count, base + f->quantifier_offset, sizeof count);
        memcpy(&list, base + f->offset, sizeof list);
        return i < count ? list[i] : NULL;
    }
    if (f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) {
        uint32_t which;
        memcpy(&which, base + f->quantifier_offset, sizeof which);
        if (which != f->id) {
            return NULL;
        }
    }
    ProtobufCMessage *one;
    memcpy(&one, base + f->offset, sizeof one);
    return i == 0 ? one : NULL;
}

// Replaces each reference by the bytes it stands for. Recursive: the scan has bounded the depth.
static bool restore(ProtobufCMessage *m, const uint8_t *file, size_t n) {
    if (m->descriptor == &onnx__tensor_proto__descriptor) {
        Onnx__TensorProto *t = (Onnx__TensorProto *)m;
        if (t->has_raw_data) {
            const uint8_t *data;
            size_t len;
            if (!wire_raw_data(&t->raw_data, file, n, &data, &len)) {
                return false;
            }
            free(t->raw_data.data);
            t->raw_data.data = malloc(len > 0 ? len : 1);
            t->raw_data.len = len;
            if (t->raw_data.data == NULL) {
                return false;
            }
            memcpy(t->raw_data.data, data, len);
        }
    }
    for (unsigned k = 0; k < m->descriptor->n_fields; k++) {
        const ProtobufCFieldDescriptor *f = &m->descriptor->fields[k];
        ProtobufCMessage *c;
        for (size_t i = 0; f->type == PROTOBUF_C_TYPE_MESSAGE && (c = child(m, f, i)) != NULL; i++) {
            if (!restore(c, file, n)) {
                return false;
            }
        }
    }
    return true;
}

static int run(const ProtobufCMessageDescriptor *type, const uint8_t *in, size_t n, bool scan) {
    uint8_t *copy = NULL;
    size_t len = n;
    if (scan) {
        WireBudget budget = wire_budget(n);
        char err[400];
        if (wire_scan_as(type, in, n, &budget, &copy, &len, err, sizeof err) != WIRE_OK) {
            fprintf(stderr, "%s\n", err);
            return 1;
        }
    }
    ProtobufCMessage *m = protobuf_c_message_unpack(type, NULL, len, scan ? copy : in);
    free(copy);
    if (m == NULL || (scan && !restore(m, in, n))) {
        fprintf(stderr, "protobuf-c refused the message\n");
        protobuf_c_message_free_unpacked(m, NULL);
        return 1;
    }
    size_t size = protobuf_c_message_get_packed_size(m);
    uint8_t *out = malloc(size > 0 ? size : 1);
    bool ok = out != NULL && protobuf_c_message_pack(m, out) == size && fwrite(out, 1, size, stdout) == size;
    free(out);
    protobuf_c_message_free_unpacked(m, NULL);
    return ok ? 0 : 1;
}

// ---- Description ----

static void describe_enum(const ProtobufCEnumDescriptor *e) {
    for (unsigned i = 0; i < e->n_values; i++) {
        printf("enum %s %s %d\n", e->name, e->values[i].name, e->values[i].value);
    }
}

static void describe_message(const ProtobufCMessageDescriptor *m) {
    static const char *const names[] = {"int32",  "sint32",  "sfixed32", "int64",   "sint64", "sfixed64",
                                        "uint32", "fixed32", "uint64",   "fixed64", "float",  "double",
                                        "bool",   "enum",    "string",   "bytes",   "message"};
    printf("message %s\n", m->name);
    for (unsigned i = 0; i < m->n_fields; i++) {
        const ProtobufCFieldDescriptor *f = &m->fields[i];
        const char *of = "-";
        if (f->type == PROTOBUF_C_TYPE_MESSAGE) {
            of = ((const ProtobufCMessageDescriptor *)f->descriptor)->name;
        } else if (f->type == PROTOBUF_C_TYPE_ENUM) {
            of = ((const ProtobufCEnumDescriptor *)f->descriptor)->name;
        }
        printf("field %s %s %u %s %s %s%s%s\n", m->name, f->name, f->id,
               f->label == PROTOBUF_C_LABEL_REPEATED   ? "repeated"
               : f->label == PROTOBUF_C_LABEL_REQUIRED ? "required"
                                                       : "optional",
               names[f->type], of, f->flags & PROTOBUF_C_FIELD_FLAG_PACKED ? " packed" : "",
               f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF ? " oneof" : "");
    }
}

// Prints all messages that can be reached from the types above, and all enumerations.
static void describe(void) {
    const ProtobufCMessageDescriptor *found[100];
    size_t n = 0;
    for (; n < sizeof types / sizeof types[0]; n++) {
        found[n] = types[n];
    }
    for (size_t i = 0; i < n; i++) {
        describe_message(found[i]);
        for (unsigned k = 0; k < found[i]->n_fields; k++) {
            const ProtobufCFieldDescriptor *f = &found[i]->fields[k];
            if (f->type == PROTOBUF_C_TYPE_ENUM) {
                describe_enum(f->descriptor);
            }
            size_t j = 0;
            while (j < n && found[j] != f->descriptor) {
                j++;
            }
            if (f->type == PROTOBUF_C_TYPE_MESSAGE && j == n && n < sizeof found / sizeof found[0]) {
                found[n++] = f->descriptor;
            }
        }
    }
    describe_enum(&onnx__version__descriptor);
    describe_enum(&onnx__operator_status__descriptor);
    describe_enum(&onnx__tensor_proto__data_type__descriptor);
    describe_enum(&onnx__sequence_proto__data_type__descriptor);
    describe_enum(&onnx__optional_proto__data_type__descriptor);
}

int main(int argc, char **argv) {
    if (argc == 2 && strcmp(argv[1], "--describe") == 0) {
        describe();
        return 0;
    }
    const ProtobufCMessageDescriptor *type = NULL;
    for (size_t i = 0; argc > 1 && i < sizeof types / sizeof types[0]; i++) {
        if (strcmp(types[i]->short_name, argv[1]) == 0) {
            type = types[i];
        }
    }
    if (type == NULL || argc > 3 || (argc == 3 && strcmp(argv[2], "--scan") != 0)) {
        fprintf(stderr, "usage: roundtrip MESSAGE [--scan] < in > out, or roundtrip --describe\n");
        return 2;
    }
    size_t n;
    uint8_t *in = read_all(stdin, &n);
    if (in == NULL) {
        return 1;
    }
    int status = run(type, in, n, argc == 3);
    free(in);
    return status;
}
