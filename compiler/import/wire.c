// SPDX-License-Identifier: Apache-2.0
//
// The scan of the protobuf wire format (protobuf.dev, "Encoding") before protobuf-c sees it. What the
// fields of a message are is read from the descriptors that protobuf-c itself parses by, so the two
// cannot disagree. The scan runs twice: to check and measure, then to write the copy.
#include "wire.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_DEPTH 100
#define LENGTH_BYTES 5 // of a sub-message in the copy: a varint padded to a fixed width, patched later
#define REFERENCE_BYTES 16
#define RUN_BYTES ((size_t)1 << 30) // of packed numbers, before another run is begun
#define RAW_DATA 9                  // TensorProto.raw_data
#define MB ((size_t)1 << 20)

typedef ProtobufCMessageDescriptor MessageType;
typedef ProtobufCFieldDescriptor FieldType;

enum { VARINT = 0, FIXED64 = 1, LENGTH = 2, GROUP_START = 3, GROUP_END = 4, FIXED32 = 5 };

// A message that the scan is inside of.
typedef struct {
    const MessageType *type;
    size_t end;       // in the file
    size_t length_at; // in the copy; of no use for the outermost
    uint64_t seen;    // a bit for each single sub-message that was there
} Frame;

typedef struct {
    const uint8_t *in;
    size_t pos;      // in the file
    size_t field_at; // where the field being read begins
    uint8_t *out;    // NULL: only measuring
    size_t cap, len; // of the copy
    WireBudget *budget;
    size_t depth;
    Frame frames[MAX_DEPTH];
    const FieldType *field; // being read, NULL if there is none
    int status;
    char *err;
    size_t errlen;
} Scan;

size_t wire_memory_limit(size_t n) { return n > (SIZE_MAX - 64 * MB) / 4 ? SIZE_MAX : 4 * n + 64 * MB; }

WireBudget wire_budget(size_t n) {
    size_t limit = wire_memory_limit(n);
    return (WireBudget){.max_depth = MAX_DEPTH, .max_messages = limit / 128, .max_bytes = limit};
}

// Ends the scan with a message; always false.
__attribute__((format(printf, 3, 4))) static bool fail(Scan *s, int status, const char *format, ...) {
    s->status = status;
    if (s->errlen == 0) {
        return false;
    }
    const char *name = s->frames[s->depth - 1].type->name + strlen("onnx.");
    int n = snprintf(s->err, s->errlen, "byte %zu: %s%s%s: ", s->field_at, name, s->field != NULL ? "." : "",
                     s->field != NULL ? s->field->name : "");
    if (n >= 0 && (size_t)n < s->errlen) {
        va_list args;
        va_start(args, format);
        vsnprintf(s->err + n, s->errlen - (size_t)n, format, args);
        va_end(args);
    }
    return false;
}

// ---- Writing ----

static bool put(Scan *s, const void *bytes, size_t n) {
    if (n > s->cap - s->len) { // when measuring, cap is the budget
        return fail(s, WIRE_BUDGET, "the model without its raw data is more than %zu bytes", s->cap);
    }
    if (s->out != NULL && n > 0) {
        memcpy(s->out + s->len, bytes, n);
    }
    s->len += n;
    return true;
}

static bool put_varint(Scan *s, uint64_t v) {
    uint8_t b[10];
    size_t n = 0;
    for (; v >= 0x80; v >>= 7) {
        b[n++] = (uint8_t)(v | 0x80);
    }
    b[n++] = (uint8_t)v;
    return put(s, b, n);
}

static bool put_tag(Scan *s, unsigned wire_type) { return put_varint(s, (uint64_t)s->field->id << 3 | wire_type); }

// A field with a payload of n bytes from the file.
static bool put_bytes(Scan *s, size_t from, size_t n) {
    if (n > INT32_MAX) {
        return fail(s, WIRE_BUDGET, "%zu bytes in one field", n);
    }
    return put_tag(s, LENGTH) && put_varint(s, n) && put(s, s->in + from, n);
}

static bool put_reference(Scan *s, uint64_t offset, uint64_t length) {
    uint8_t b[REFERENCE_BYTES];
    for (unsigned i = 0; i < 8; i++) {
        b[i] = (uint8_t)(offset >> (8 * i));
        b[8 + i] = (uint8_t)(length >> (8 * i));
    }
    return put_tag(s, LENGTH) && put_varint(s, sizeof b) && put(s, b, sizeof b);
}

// ---- Reading ----

static bool read_varint(Scan *s, size_t end, uint64_t *value) {
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 70; shift += 7) {
        if (s->pos == end) {
            return fail(s, WIRE_MALFORMED, "the message ends inside a number");
        }
        uint8_t b = s->in[s->pos++];
        if (shift == 63 && b > 1) {
            break;
        }
        v |= (uint64_t)(b & 0x7f) << shift;
        if (b < 0x80) {
            *value = v;
            return true;
        }
    }
    return fail(s, WIRE_MALFORMED, "a number of more than 64 bits");
}

// Reads a length and checks that as many bytes follow.
static bool read_length(Scan *s, size_t end, size_t *length) {
    uint64_t v = 0;
    if (!read_varint(s, end, &v)) {
        return false;
    }
    if (v > end - s->pos) {
        return fail(s, WIRE_MALFORMED, "length %llu, but the message around it ends after %zu bytes",
                    (unsigned long long)v, end - s->pos);
    }
    *length = (size_t)v;
    return true;
}

static bool skip_fixed(Scan *s, size_t end, size_t n) {
    if (n > end - s->pos) {
        return fail(s, WIRE_MALFORMED, "the message ends inside a number");
    }
    s->pos += n;
    return true;
}

// Skips a number of the given wire type.
static bool skip_number(Scan *s, size_t end, unsigned wire_type) {
    uint64_t v = 0;
    return wire_type == VARINT ? read_varint(s, end, &v) : skip_fixed(s, end, wire_type == FIXED32 ? 4 : 8);
}

static bool read_unknown(Scan *s, size_t end, unsigned wire_type) {
    s->budget->n_unknown++;
    if (wire_type != LENGTH) {
        return skip_number(s, end, wire_type);
    }
    size_t n = 0;
    return read_length(s, end, &n) && skip_fixed(s, end, n);
}

static unsigned wire_type_of(ProtobufCType type) {
    switch (type) {
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_BYTES:
    case PROTOBUF_C_TYPE_MESSAGE:
        return LENGTH;
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_FLOAT:
        return FIXED32;
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
        return FIXED64;
    default:
        return VARINT;
    }
}

// Repeated numbers that are packed already.
static bool read_packed(Scan *s, size_t end, unsigned wire_type) {
    size_t n = 0;
    if (!read_length(s, end, &n)) {
        return false;
    }
    size_t from = s->pos, to = from + n;
    if (wire_type == VARINT) {
        while (s->pos < to) {
            if (!skip_number(s, to, VARINT)) {
                return false;
            }
        }
    } else if (n % (wire_type == FIXED32 ? 4 : 8) != 0) {
        return fail(s, WIRE_MALFORMED, "%zu bytes hold no whole count of numbers", n);
    }
    s->pos = to;
    return put_bytes(s, from, n);
}

// Repeated numbers with a tag each: as many as follow one another, packed.
static bool read_run(Scan *s, size_t end, unsigned wire_type) {
    size_t tag_bytes = s->pos - s->field_at, first = s->pos, payload = 0;
    for (;;) {
        size_t from = s->pos;
        if (!skip_number(s, end, wire_type)) {
            return false;
        }
        payload += s->pos - from;
        if (payload > RUN_BYTES || tag_bytes >= end - s->pos ||
            memcmp(s->in + s->field_at, s->in + s->pos, tag_bytes) != 0) {
            break;
        }
        s->pos += tag_bytes;
    }
    size_t last = s->pos;
    if (!put_tag(s, LENGTH) || !put_varint(s, payload)) {
        return false;
    }
    for (s->pos = first; s->pos < last; s->pos += s->pos < last ? tag_bytes : 0) {
        size_t from = s->pos;
        if (!skip_number(s, end, wire_type) || !put(s, s->in + from, s->pos - from)) {
            return false;
        }
    }
    return true;
}

static bool enter(Scan *s, size_t end) {
    Frame *f = &s->frames[s->depth - 1];
    if (s->field->label != PROTOBUF_C_LABEL_REPEATED) {
        uint64_t bit = (uint64_t)1 << ((s->field - f->type->fields) & 63);
        if (f->seen & bit) {
            return fail(s, WIRE_MALFORMED, "given twice");
        }
        f->seen |= bit;
    }
    size_t n = 0;
    if (!read_length(s, end, &n)) {
        return false;
    }
    if (s->depth >= MAX_DEPTH || s->depth >= s->budget->max_depth) {
        return fail(s, WIRE_BUDGET, "messages nested deeper than %zu", s->depth);
    }
    if (++s->budget->n_messages > s->budget->max_messages) {
        return fail(s, WIRE_BUDGET, "more than %zu messages", s->budget->max_messages);
    }
    static const uint8_t gap[LENGTH_BYTES];
    size_t to = s->pos + n;
    if (!put_tag(s, LENGTH)) {
        return false;
    }
    s->frames[s->depth++] = (Frame){.type = s->field->descriptor, .end = to, .length_at = s->len};
    return put(s, gap, sizeof gap);
}

static bool leave(Scan *s) {
    const Frame *f = &s->frames[s->depth - 1];
    if (s->depth > 1) {
        size_t n = s->len - f->length_at - LENGTH_BYTES;
        if (n > INT32_MAX) {
            return fail(s, WIRE_BUDGET, "%zu bytes without raw data in one message", n);
        }
        for (unsigned i = 0; s->out != NULL && i < LENGTH_BYTES; i++) {
            s->out[f->length_at + i] = (uint8_t)((n >> (7 * i) & 0x7f) | (i + 1 < LENGTH_BYTES ? 0x80 : 0));
        }
    }
    s->depth--;
    return true;
}

static bool read_bytes(Scan *s, size_t end) {
    size_t n = 0;
    if (!read_length(s, end, &n)) {
        return false;
    }
    size_t from = s->pos;
    s->pos += n;
    if (s->frames[s->depth - 1].type == &onnx__tensor_proto__descriptor && s->field->id == RAW_DATA) {
        return put_reference(s, from, n);
    }
    if (s->field->type == PROTOBUF_C_TYPE_STRING && n > 0 && memchr(s->in + from, 0, n) != NULL) {
        return fail(s, WIRE_MALFORMED, "a NUL in a string");
    }
    return put_bytes(s, from, n);
}

static bool read_field(Scan *s) {
    const Frame *f = &s->frames[s->depth - 1];
    size_t end = f->end;
    uint64_t tag = 0;
    s->field = NULL;
    s->field_at = s->pos;
    if (!read_varint(s, end, &tag)) {
        return false;
    }
    unsigned wire_type = tag & 7;
    if (tag > UINT32_MAX || tag >> 3 == 0) {
        return fail(s, WIRE_MALFORMED, "field number %llu", (unsigned long long)(tag >> 3));
    }
    if (wire_type == GROUP_START || wire_type == GROUP_END || wire_type > FIXED32) {
        return fail(s, WIRE_MALFORMED, "field %u has wire type %u", (unsigned)(tag >> 3), wire_type);
    }
    s->field = protobuf_c_message_descriptor_get_field(f->type, (unsigned)(tag >> 3));
    if (s->field == NULL) {
        return read_unknown(s, end, wire_type);
    }
    unsigned expected = wire_type_of(s->field->type);
    bool repeated = s->field->label == PROTOBUF_C_LABEL_REPEATED;
    if (repeated && expected != LENGTH && wire_type == LENGTH) {
        return read_packed(s, end, expected);
    }
    if (wire_type != expected) {
        return fail(s, WIRE_MALFORMED, "wire type %u where it has %u", wire_type, expected);
    }
    if (s->field->type == PROTOBUF_C_TYPE_MESSAGE) {
        return enter(s, end);
    }
    if (wire_type == LENGTH) {
        return read_bytes(s, end);
    }
    if (repeated) {
        return read_run(s, end, wire_type);
    }
    size_t from = s->pos;
    return skip_number(s, end, wire_type) && put_tag(s, wire_type) && put(s, s->in + from, s->pos - from);
}

// One pass over the file: into out[cap], or only measuring if out is NULL.
static bool scan(Scan *s, const MessageType *root, size_t n, uint8_t *out, size_t cap) {
    s->pos = s->field_at = s->len = 0;
    s->field = NULL;
    s->out = out;
    s->cap = cap;
    s->frames[0] = (Frame){.type = root, .end = n};
    s->depth = 1;
    s->budget->n_messages = 1;
    s->budget->n_unknown = 0;
    while (s->depth > 0) {
        if (!(s->pos == s->frames[s->depth - 1].end ? leave(s) : read_field(s))) {
            return false;
        }
    }
    return true;
}

int wire_scan_as(const ProtobufCMessageDescriptor *root, const uint8_t *file, size_t n, WireBudget *budget,
                 uint8_t **out, size_t *out_len, char *err, size_t errlen) {
    Scan s = {.in = file, .budget = budget, .err = err, .errlen = errlen};
    *out = NULL;
    *out_len = 0;
    if (!scan(&s, root, n, NULL, budget->max_bytes)) {
        return s.status;
    }
    size_t size = s.len;
    uint8_t *copy = malloc(size > 0 ? size : 1);
    if (copy == NULL) {
        snprintf(err, errlen, "no memory for %zu bytes", size);
        return WIRE_MEMORY;
    }
    if (!scan(&s, root, n, copy, size)) { // only if the file is changed at the same time
        free(copy);
        return s.status;
    }
    *out = copy;
    *out_len = s.len;
    return WIRE_OK;
}

int wire_scan(const uint8_t *file, size_t n, WireBudget *budget, uint8_t **out, size_t *out_len, char *err,
              size_t errlen) {
    return wire_scan_as(&onnx__model_proto__descriptor, file, n, budget, out, out_len, err, errlen);
}

bool wire_raw_data(const ProtobufCBinaryData *raw, const uint8_t *file, size_t n, const uint8_t **data, size_t *len) {
    if (raw->len != REFERENCE_BYTES) {
        return false;
    }
    uint64_t offset = 0, length = 0;
    for (unsigned i = 0; i < 8; i++) {
        offset |= (uint64_t)raw->data[i] << (8 * i);
        length |= (uint64_t)raw->data[8 + i] << (8 * i);
    }
    if (offset > n || length > n - offset) {
        return false;
    }
    *data = file + offset;
    *len = (size_t)length;
    return true;
}

// ---- Allocator ----

// What precedes each block; aligned for anything, so that the block is.
typedef struct {
    _Alignas(max_align_t) size_t size;
} Header;

static void *limited_alloc(void *data, size_t size) {
    WireAllocator *a = data;
    if (a->limit < a->used || a->limit - a->used < sizeof(Header) || size > a->limit - a->used - sizeof(Header)) {
        a->refused = true;
        return NULL;
    }
    Header *h = malloc(sizeof *h + size);
    if (h == NULL) {
        return NULL;
    }
    h->size = sizeof *h + size;
    a->used += h->size;
    a->peak = a->used > a->peak ? a->used : a->peak;
    return h + 1;
}

static void limited_free(void *data, void *block) {
    if (block != NULL) {
        WireAllocator *a = data;
        Header *h = (Header *)block - 1;
        a->used -= h->size;
        free(h);
    }
}

void wire_allocator(WireAllocator *a, size_t limit) {
    *a = (WireAllocator){.limit = limit};
    a->base = (ProtobufCAllocator){.alloc = limited_alloc, .free = limited_free, .allocator_data = a};
}
