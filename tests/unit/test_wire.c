// SPDX-License-Identifier: Apache-2.0
#ifndef _GNU_SOURCE
#define _GNU_SOURCE // mkdtemp
#endif
#include "import/wire.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

// ---- Building and scanning ----

typedef struct {
    uint8_t *data;
    size_t len, cap;
} Bytes;

static void add(Bytes *b, const void *data, size_t n) {
    if (b->len + n > b->cap) {
        b->cap = 2 * (b->len + n) + 64;
        b->data = realloc(b->data, b->cap);
        cr_assert_not_null(b->data);
    }
    if (n > 0) {
        memcpy(b->data + b->len, data, n);
    }
    b->len += n;
}

static void add_varint(Bytes *b, uint64_t v) {
    do {
        uint8_t c = (uint8_t)((v & 0x7f) | (v > 0x7f ? 0x80 : 0));
        add(b, &c, 1);
        v >>= 7;
    } while (v > 0);
}

static void add_field(Bytes *b, unsigned number, const void *data, size_t n) {
    add_varint(b, (uint64_t)number << 3 | 2);
    add_varint(b, n);
    add(b, data, n);
}

typedef struct {
    int status;
    uint8_t *copy;
    size_t len;
    WireBudget budget;
    char err[400];
} Result;

static Result scan_with(const void *data, size_t n, WireBudget budget) {
    Result r = {.budget = budget};
    // A copy of exactly this size, so that a tool that watches memory sees reads past it.
    uint8_t *file = malloc(n > 0 ? n : 1);
    cr_assert_not_null(file);
    memcpy(file, data, n);
    r.status = wire_scan(file, n, &r.budget, &r.copy, &r.len, r.err, sizeof r.err);
    free(file);
    cr_assert_eq(r.copy == NULL, r.status != WIRE_OK);
    return r;
}

static Result scan(const void *data, size_t n) { return scan_with(data, n, wire_budget(n)); }

// The scan must refuse these bytes, with that message.
#define refuse(code, message, ...)                                                                                     \
    do {                                                                                                               \
        static const uint8_t bytes[] = {__VA_ARGS__};                                                                  \
        Result r = scan(bytes, sizeof bytes);                                                                          \
        cr_assert_eq(r.status, code, "%d: %s", r.status, r.err);                                                       \
        cr_assert_str_eq(r.err, message);                                                                              \
    } while (0)

// ---- The scan ----

Test(wire, empty_file_is_an_empty_message) {
    Result r = scan("", 0);
    cr_assert_eq(r.status, WIRE_OK);
    cr_assert_eq(r.len, 0);
    cr_assert_eq(r.budget.n_messages, 1);
    free(r.copy);
    WireBudget b = wire_budget(0);
    cr_assert_eq(wire_scan(NULL, 0, &b, &r.copy, &r.len, NULL, 0), WIRE_OK);
    free(r.copy);
}

Test(wire, refuses_malformed_bytes) {
    refuse(WIRE_MALFORMED, "byte 0: ModelProto: the message ends inside a number", 0x80);
    refuse(WIRE_MALFORMED, "byte 0: ModelProto.ir_version: the message ends inside a number", 0x08);
    refuse(WIRE_MALFORMED, "byte 2: ModelProto.ir_version: the message ends inside a number", 0x08, 1, 0x08, 0xff);
    refuse(WIRE_MALFORMED, "byte 0: ModelProto.ir_version: a number of more than 64 bits", 0x08, 0xff, 0xff, 0xff, 0xff,
           0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01);
    refuse(WIRE_MALFORMED, "byte 0: ModelProto.ir_version: a number of more than 64 bits", 0x08, 0xff, 0xff, 0xff, 0xff,
           0xff, 0xff, 0xff, 0xff, 0xff, 0x02);
    refuse(WIRE_MALFORMED, "byte 0: ModelProto: field number 0", 0x00, 0x01);
    refuse(WIRE_MALFORMED, "byte 0: ModelProto: field number 536870912", 0x80, 0x80, 0x80, 0x80, 0x10, 0);
    refuse(WIRE_MALFORMED, "byte 0: ModelProto: field 1 has wire type 3", 0x0b, 0x0c);
    refuse(WIRE_MALFORMED, "byte 0: ModelProto: field 1 has wire type 4", 0x0c);
    refuse(WIRE_MALFORMED, "byte 0: ModelProto: field 15 has wire type 6", 0x7e);
    refuse(WIRE_MALFORMED, "byte 0: ModelProto: field 15 has wire type 7", 0x7f);
    refuse(WIRE_MALFORMED, "byte 0: ModelProto: the message ends inside a number", 0x7d, 1, 2, 3);
    refuse(WIRE_MALFORMED, "byte 0: ModelProto: the message ends inside a number", 0x79, 1, 2, 3, 4, 5, 6, 7);
    refuse(WIRE_MALFORMED, "byte 0: ModelProto.ir_version: wire type 2 where it has 0", 0x0a, 0);
    refuse(WIRE_MALFORMED, "byte 0: ModelProto.producer_name: wire type 0 where it has 2", 0x10, 0);
    refuse(WIRE_MALFORMED, "byte 0: ModelProto.producer_name: a NUL in a string", 0x12, 2, 'a', 0);
    refuse(WIRE_MALFORMED, "byte 0: ModelProto.graph: length 3, but the message around it ends after 2 bytes", 0x3a, 3,
           0x12, 0);
    refuse(WIRE_MALFORMED,
           "byte 0: ModelProto.graph: length 18446744073709551615, but the message around it ends after 0 bytes", 0x3a,
           0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01);
    // An inner length that fits the file, but not the message it is in.
    refuse(WIRE_MALFORMED, "byte 2: GraphProto.name: length 3, but the message around it ends after 0 bytes", 0x3a, 2,
           0x12, 3, 'a', 'b', 'c');
    refuse(WIRE_MALFORMED, "byte 2: ModelProto.graph: given twice", 0x3a, 0, 0x3a, 0);
}

Test(wire, refuses_broken_packed_numbers) {
    // model.graph.initializer: float_data of 3 bytes, int64_data ending inside a number
    refuse(WIRE_MALFORMED, "byte 4: TensorProto.float_data: 3 bytes hold no whole count of numbers", 0x3a, 7, 0x2a, 5,
           0x22, 3, 0, 0, 0);
    refuse(WIRE_MALFORMED, "byte 4: TensorProto.int64_data: the message ends inside a number", 0x3a, 6, 0x2a, 4, 0x3a,
           2, 1, 0x80);
}

Test(wire, raw_data_becomes_a_reference) {
    for (size_t n = 0; n < 300; n += n < 20 ? 1 : 93) {
        Bytes tensor = {0}, graph = {0}, model = {0};
        uint8_t payload[300];
        memset(payload, 0xee, sizeof payload);
        add_field(&tensor, 8, "weight", 6);
        add_field(&tensor, 9, payload, n);
        add_field(&graph, 2, "g", 1);
        add_field(&graph, 5, tensor.data, tensor.len);
        add_field(&graph, 5, tensor.data, tensor.len);
        add_field(&model, 7, graph.data, graph.len);
        add_field(&model, 2, "p", 1);
        WireBudget b = wire_budget(model.len);
        uint8_t *copy;
        size_t len;
        char err[100];
        cr_assert_eq(wire_scan(model.data, model.len, &b, &copy, &len, err, sizeof err), WIRE_OK, "%s", err);
        cr_assert_eq(b.n_messages, 4);
        Onnx__ModelProto *m = onnx__model_proto__unpack(NULL, len, copy);
        cr_assert_not_null(m);
        cr_assert_str_eq(m->producer_name, "p");
        cr_assert_eq(m->graph->n_initializer, 2);
        for (size_t i = 0; i < 2; i++) {
            const Onnx__TensorProto *t = m->graph->initializer[i];
            const uint8_t *data = NULL;
            size_t data_len = 0;
            cr_assert(t->has_raw_data && t->raw_data.len == 16);
            cr_assert(wire_raw_data(&t->raw_data, model.data, model.len, &data, &data_len));
            cr_assert_eq(data_len, n);
            cr_assert(n == 0 || memcmp(data, payload, n) == 0);
            cr_assert_str_eq(t->name, "weight");
        }
        onnx__model_proto__free_unpacked(m, NULL);
        free(copy);
        free(tensor.data);
        free(graph.data);
        free(model.data);
    }
}

Test(wire, references_outside_the_file_are_refused) {
    uint8_t ref[16] = {0};
    const uint8_t file[10] = {0}, *data;
    size_t len;
    ProtobufCBinaryData raw = {.len = 16, .data = ref};
    ref[0] = 10;
    cr_assert(wire_raw_data(&raw, file, sizeof file, &data, &len));
    ref[8] = 1;
    cr_assert_not(wire_raw_data(&raw, file, sizeof file, &data, &len));
    ref[0] = 11;
    ref[8] = 0;
    cr_assert_not(wire_raw_data(&raw, file, sizeof file, &data, &len));
    memset(ref, 0xff, sizeof ref);
    cr_assert_not(wire_raw_data(&raw, file, sizeof file, &data, &len));
    raw.len = 15;
    cr_assert_not(wire_raw_data(&raw, file, sizeof file, &data, &len));
}

Test(wire, runs_of_numbers_are_packed) {
    // An attribute with ints 1, -1, 300 in two runs around a name, then packed 7, and floats.
    static const uint8_t minus[] = {0x40, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01};
    static const uint8_t floats[] = {0x3d, 0, 0, 0x80, 0x3f, 0x3d, 0, 0, 0, 0x40};
    Bytes b = {0};
    add(&b, "\x40\x01", 2);
    add(&b, minus, sizeof minus);
    add_field(&b, 1, "name", 4);
    add(&b, "\x40\xac\x02\x42\x01\x07", 6);
    add(&b, floats, sizeof floats);
    WireBudget budget = wire_budget(b.len);
    uint8_t *copy;
    size_t len;
    char err[100];
    cr_assert_eq(wire_scan_as(&onnx__attribute_proto__descriptor, b.data, b.len, &budget, &copy, &len, err, sizeof err),
                 WIRE_OK);
    Onnx__AttributeProto *a = onnx__attribute_proto__unpack(NULL, len, copy);
    cr_assert_not_null(a);
    cr_assert_eq(a->n_ints, 4);
    cr_assert(a->ints[0] == 1 && a->ints[1] == -1 && a->ints[2] == 300 && a->ints[3] == 7);
    cr_assert_eq(a->n_floats, 2);
    cr_assert(a->floats[0] == 1.0F && a->floats[1] == 2.0F);
    cr_assert_str_eq(a->name, "name");
    onnx__attribute_proto__free_unpacked(a, NULL);
    free(copy);
    free(b.data);
}

Test(wire, unknown_fields_are_counted_and_left_out) {
    static const uint8_t bytes[] = {0x08, 9, 0x78, 1, 0x7a, 2, 'a', 0, 0x7d, 1, 2, 3, 4, 0x79, 1, 2, 3, 4, 5, 6, 7, 8};
    Result r = scan(bytes, sizeof bytes);
    cr_assert_eq(r.status, WIRE_OK);
    cr_assert_eq(r.budget.n_unknown, 4);
    cr_assert(r.len == 2 && r.copy[0] == 8 && r.copy[1] == 9);
    free(r.copy);
}

// A type of sequences inside each other; each level is two messages.
static Bytes nested_types(size_t levels) {
    Bytes inner = {0};
    for (size_t i = 0; i < levels; i++) {
        Bytes sequence = {0}, type = {0};
        add_field(&sequence, 1, inner.data, inner.len);
        add_field(&type, 4, sequence.data, sequence.len);
        free(sequence.data);
        free(inner.data);
        inner = type;
    }
    return inner;
}

Test(wire, depth) {
    for (size_t levels = 48; levels <= 51; levels++) {
        Bytes b = nested_types(levels);
        WireBudget budget = wire_budget(b.len);
        uint8_t *copy;
        size_t len;
        char err[100] = "";
        int status = wire_scan_as(&onnx__type_proto__descriptor, b.data, b.len, &budget, &copy, &len, err, sizeof err);
        cr_assert_eq(status, 2 * levels + 1 <= 100 ? WIRE_OK : WIRE_BUDGET, "%d levels: %s", (int)levels, err);
        free(copy);
        free(b.data);
    }
    Bytes b = nested_types(1);
    WireBudget budget = wire_budget(b.len);
    budget.max_depth = 2;
    uint8_t *copy;
    size_t len;
    char err[100] = "";
    cr_assert_eq(wire_scan_as(&onnx__type_proto__descriptor, b.data, b.len, &budget, &copy, &len, err, sizeof err),
                 WIRE_BUDGET);
    cr_assert_str_eq(err, "byte 2: TypeProto.Sequence.elem_type: messages nested deeper than 2");
    free(b.data);
}

Test(wire, attack_nested_subgraphs) {
    // graph { node { attribute { g { node … 3,000 times, lengths of three bytes all along
    enum { LEVELS = 3000 };
    static uint8_t file[LEVELS * 12 + 4];
    const uint8_t tags[3] = {0x0a, 0x2a, 0x32}; // node, attribute, g
    size_t n = sizeof file, at = 0;
    file[at++] = 0x3a;
    for (size_t i = 0; i <= LEVELS * 3; i++) {
        size_t rest = n - at - 3;
        file[at++] = (uint8_t)(rest | 0x80);
        file[at++] = (uint8_t)(rest >> 7 | 0x80);
        file[at++] = (uint8_t)(rest >> 14);
        if (i < LEVELS * 3) {
            file[at++] = tags[i % 3];
        }
    }
    cr_assert_eq(at, n);
    Result r = scan(file, n);
    cr_assert_eq(r.status, WIRE_BUDGET, "%s", r.err);
    cr_assert(strstr(r.err, "messages nested deeper than 100") != NULL, "%s", r.err);
}

Test(wire, attack_empty_messages) {
    size_t inner = 20U << 20;
    Bytes b = {0};
    add_varint(&b, 0x3a);
    add_varint(&b, inner);
    uint8_t *nodes = malloc(inner);
    cr_assert_not_null(nodes);
    for (size_t i = 0; i < inner; i += 2) {
        nodes[i] = 0x0a; // an empty node
        nodes[i + 1] = 0;
    }
    add(&b, nodes, inner);
    clock_t start = clock();
    Result r = scan(b.data, b.len);
    cr_assert_eq(r.status, WIRE_BUDGET);
    cr_assert(strstr(r.err, "messages") != NULL, "%s", r.err);
    cr_assert_lt(clock() - start, 2 * CLOCKS_PER_SEC);
    // With the count allowed, the allocator ends it.
    WireBudget budget = wire_budget(b.len);
    budget.max_messages = SIZE_MAX;
    r = scan_with(b.data, b.len, budget);
    cr_assert_eq(r.status, WIRE_OK, "%s", r.err);
    WireAllocator a;
    wire_allocator(&a, wire_memory_limit(b.len) - r.len);
    cr_assert_null(onnx__model_proto__unpack(&a.base, r.len, r.copy));
    cr_assert(a.refused);
    cr_assert_leq(a.peak, a.limit);
    cr_assert_eq(a.used, 0);
    free(r.copy);
    free(nodes);
    free(b.data);
}

Test(wire, byte_budget) {
    Bytes b = {0};
    add_field(&b, 2, "0123456789", 10);
    WireBudget budget = wire_budget(b.len);
    budget.max_bytes = 12;
    Result r = scan_with(b.data, b.len, budget);
    cr_assert_eq(r.status, WIRE_OK);
    free(r.copy);
    budget.max_bytes = 11;
    cr_assert_eq(scan_with(b.data, b.len, budget).status, WIRE_BUDGET);
    free(b.data);
}

Test(wire, allocator) {
    WireAllocator a;
    wire_allocator(&a, 100);
    void *p = a.base.alloc(a.base.allocator_data, 84);
    cr_assert_not_null(p);
    cr_assert_eq(a.used, 100);
    cr_assert_null(a.base.alloc(a.base.allocator_data, 0));
    a.base.free(a.base.allocator_data, p);
    a.base.free(a.base.allocator_data, NULL);
    cr_assert_eq(a.used, 0);
    cr_assert_null(a.base.alloc(a.base.allocator_data, SIZE_MAX));
    cr_assert_null(a.base.alloc(a.base.allocator_data, SIZE_MAX - 15));
    cr_assert(a.refused);
    cr_assert_eq(wire_memory_limit(SIZE_MAX), SIZE_MAX);
    cr_assert_eq(wire_memory_limit(1), (64U << 20) + 4);
}

// ---- External data ----

static char base[300]; // a new folder, made by setup

static const char *path(const char *name) {
    static char p[2][700];
    static int turn;
    turn = !turn;
    snprintf(p[turn], sizeof p[turn], "%s/%s", base, name);
    return p[turn];
}

static void write_file(const char *name, const char *text) {
    FILE *f = fopen(path(name), "wb");
    cr_assert_not_null(f);
    fputs(text, f);
    fclose(f);
}

static void setup(void) {
    const char *tmp = getenv("TMPDIR");
    snprintf(base, sizeof base, "%s/cnncc-test-wire-XXXXXX", tmp != NULL ? tmp : "/tmp");
    cr_assert_not_null(mkdtemp(base));
    cr_assert_eq(mkdir(path("model"), 0700), 0);
    cr_assert_eq(mkdir(path("model/sub"), 0700), 0);
    write_file("secret", "secret");
    write_file("model/w.bin", "0123456789");
    write_file("model/sub/w.bin", "abc");
    write_file("model/empty", "");
    write_file("model/hard1", "x");
    cr_assert_eq(link(path("model/hard1"), path("model/hard2")), 0);
    cr_assert_eq(symlink("w.bin", path("model/soft")), 0);
    cr_assert_eq(symlink("../secret", path("model/soft_out")), 0);
    cr_assert_eq(symlink("sub", path("model/softdir")), 0);
    cr_assert_eq(symlink("..", path("model/up")), 0);
    cr_assert_eq(mkfifo(path("model/fifo"), 0600), 0);
}

static void teardown(void) {
    static const char *const names[] = {"model/fifo",  "model/up",    "model/softdir",  "model/soft_out",
                                        "model/soft",  "model/hard2", "model/hard1",    "model/empty",
                                        "model/w.bin", "secret",      "model/sub/w.bin"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        unlink(path(names[i]));
    }
    rmdir(path("model/sub"));
    rmdir(path("model"));
    rmdir(base);
}

TestSuite(external, .init = setup, .fini = teardown);

// Looks up entries given as key, value, …, NULL; the bytes as a string in text.
static int lookup(ExternalFiles *files, char *text, size_t size, char err[400], const char *const *kv) {
    Onnx__StringStringEntryProto entries[8], *list[8];
    size_t n = 0;
    for (; kv[2 * n] != NULL; n++) {
        onnx__string_string_entry_proto__init(&entries[n]);
        entries[n].key = (char *)(uintptr_t)kv[2 * n];
        entries[n].value = (char *)(uintptr_t)kv[2 * n + 1];
        list[n] = &entries[n];
    }
    const uint8_t *data = NULL;
    size_t len = 0;
    int status = external_data(files, n, list, &data, &len, err, 400);
    snprintf(text, size, "%.*s", (int)len, status == WIRE_OK ? (const char *)data : "");
    return status;
}

#define expect(code, want, ...)                                                                                        \
    do {                                                                                                               \
        const char *const kv[] = {__VA_ARGS__, NULL};                                                                  \
        char text[100], why[400] = "";                                                                                 \
        int status = lookup(files, text, sizeof text, why, kv);                                                        \
        cr_assert_eq(status, code, "status %d: %s", status, why);                                                      \
        cr_assert((code) == WIRE_OK ? strcmp(text, want) == 0 : strstr(why, want) != NULL, "'%s' '%s'", text, why);    \
    } while (0)

Test(external, reads_ranges) {
    char err[400];
    ExternalFiles *files = external_open(path("model"), err, sizeof err);
    cr_assert_not_null(files, "%s", err);
    for (int round = 0; round < 2; round++) {
        expect(WIRE_OK, "0123456789", "location", "w.bin");
        expect(WIRE_OK, "345", "location", "w.bin", "offset", "3", "length", "3");
        expect(WIRE_OK, "9", "length", "1", "offset", "9", "location", "./w.bin");
        expect(WIRE_OK, "", "location", "w.bin", "offset", "10");
        expect(WIRE_OK, "", "location", "w.bin", "length", "0");
        expect(WIRE_OK, "abc", "location", "sub//w.bin");
        expect(WIRE_OK, "", "location", "empty");
        expect(WIRE_OK, "0", "location", "w.bin", "length", "1", "checksum",
               "0123456789abcdefABCD0123456789abcdefabcd");
    }
    external_close(files);
    external_close(NULL);
}

Test(external, stays_in_the_folder) {
    char err[400];
    ExternalFiles *files = external_open(path("model"), err, sizeof err);
    cr_assert_not_null(files);
    expect(WIRE_MALFORMED, "leaves", "location", "../secret");
    expect(WIRE_MALFORMED, "leaves", "location", "sub/../../secret");
    expect(WIRE_MALFORMED, "leaves", "location", "sub/../w.bin");
    expect(WIRE_MALFORMED, "leaves", "location", "..");
    expect(WIRE_MALFORMED, "not relative", "location", path("secret"));
    expect(WIRE_MALFORMED, "names no file", "location", "");
    expect(WIRE_MALFORMED, "names no file", "location", "./");
    expect(WIRE_MALFORMED, "symbolic", "location", "soft");
    expect(WIRE_MALFORMED, "symbolic", "location", "soft_out");
    expect(WIRE_MALFORMED, "symbolic", "location", "softdir/w.bin");
    expect(WIRE_MALFORMED, "symbolic", "location", "up/secret");
    expect(WIRE_MALFORMED, "hard link", "location", "hard1");
    expect(WIRE_MALFORMED, "hard link", "location", "hard2");
    expect(WIRE_MALFORMED, "regular", "location", "sub");
    expect(WIRE_MALFORMED, "regular", "location", "fifo");
    expect(WIRE_SYSTEM, "missing", "location", "missing");
    char lengthy[5000];
    memset(lengthy, 'a', sizeof lengthy);
    lengthy[4999] = '\0';
    expect(WIRE_MALFORMED, "", "location", lengthy);
    lengthy[300] = '\0';
    expect(WIRE_MALFORMED, "too long", "location", lengthy);
    external_close(files);
    cr_assert_null(external_open(path("nowhere"), err, sizeof err));
}

Test(external, entries_are_strict) {
    char err[400];
    ExternalFiles *files = external_open(path("model"), err, sizeof err);
    cr_assert_not_null(files);
    expect(WIRE_MALFORMED, "without a location", "offset", "0");
    expect(WIRE_MALFORMED, "two keys", "location", "w.bin", "location", "w.bin");
    expect(WIRE_MALFORMED, "unknown key 'basepath'", "location", "w.bin", "basepath", "/etc");
    expect(WIRE_MALFORMED, "unknown key ''", "location", "w.bin", "", "1");
    static const char *const bad[] = {"",
                                      "-1",
                                      "+1",
                                      " 1",
                                      "1 ",
                                      "0x1",
                                      "1e1",
                                      "9223372036854775808",
                                      "18446744073709551616",
                                      "99999999999999999999999"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        expect(WIRE_MALFORMED, "external data with offset", "location", "w.bin", "offset", bad[i]);
        expect(WIRE_MALFORMED, "external data with length", "location", "w.bin", "length", bad[i]);
    }
    expect(WIRE_MALFORMED, "past the end", "location", "w.bin", "offset", "11");
    expect(WIRE_MALFORMED, "not in", "location", "w.bin", "offset", "5", "length", "6");
    expect(WIRE_MALFORMED, "not in", "location", "w.bin", "offset", "1", "length", "9223372036854775807");
    expect(WIRE_MALFORMED, "checksum", "location", "w.bin", "checksum", "abc");
    external_close(files);
}
