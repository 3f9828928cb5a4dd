// SPDX-License-Identifier: Apache-2.0
//
// What stands between a file nobody should trust and protobuf-c: a scan of the wire format that
// bounds depth, counts and memory, an allocator with a limit, and access to external tensor data.
#ifndef CNNCC_WIRE_H
#define CNNCC_WIRE_H

#include "onnx.pb-c.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Results of wire_scan and of the functions on external data.
enum {
    WIRE_OK = 0,
    WIRE_MALFORMED = 1, // the file is not what it should be
    WIRE_BUDGET = 2,    // it may be, but needs more than the budget allows
    WIRE_MEMORY = 3,    // the system has no memory left
    WIRE_SYSTEM = 4     // opening or mapping a file failed
};

// ---- Scan ----

// What a file may cost. The counts are results, from wire_scan.
typedef struct {
    size_t max_depth;    // messages inside each other; the outermost counts as 1
    size_t max_messages; // in the file
    size_t max_bytes;    // of the compacted copy
    size_t n_messages;
    size_t n_unknown; // fields that onnx.proto does not have; they are left out of the copy
} WireBudget;

// The memory that reading a file of n bytes may take: 4 n + 64 MB.
size_t wire_memory_limit(size_t n);

// The budget for a file of n bytes: depth 100 (the limit of protobuf's own parsers, and the most that
// wire_scan can follow), one message per 128 bytes of wire_memory_limit (about what the smallest takes
// once unpacked), a copy of at most that limit.
WireBudget wire_budget(size_t n);

// Checks a serialized message of type `root` of n bytes, and makes a copy for protobuf-c to unpack,
// in which
//  - the payload of every TensorProto.raw_data, whatever its length, is a reference of 16 bytes:
//    offset in `file` and length, each a little-endian u64 (see wire_raw_data). As there are no
//    exceptions, nothing in a file can be mistaken for a reference;
//  - repeated numbers that the file has one field at a time are packed, which protobuf-c reads with a
//    fraction of the memory;
//  - unknown fields are missing.
// Refused, with the offset in the file: truncated or overlong varints, lengths past the end of the
// enclosing message, groups and invalid wire types, a wire type that is not the field's, field number
// 0, a NUL in a string (protobuf-c would cut it there), a sub-message given twice where there can be
// one (protobuf-c merges them in quadratic time), and whatever exceeds *budget.
//
// All of the file is checked before anything is allocated; payloads of raw_data are never touched. Time
// is linear in n; memory is the copy and a fixed stack, without recursion. Returns WIRE_OK and the
// copy in *out (malloc, to be freed; never NULL) and *out_len; or another WIRE_ code, *out NULL and a
// message without a newline in err[errlen]. file may be NULL if n is 0.
int wire_scan_as(const ProtobufCMessageDescriptor *root, const uint8_t *file, size_t n, WireBudget *budget,
                 uint8_t **out, size_t *out_len, char *err, size_t errlen);

// The same for a ModelProto.
int wire_scan(const uint8_t *file, size_t n, WireBudget *budget, uint8_t **out, size_t *out_len, char *err,
              size_t errlen);

// The bytes that the raw_data field of a tensor unpacked from such a copy stands for: *data points
// into `file`, the file of n bytes that was scanned, and *len is their number. False if the field is
// not a reference into the file, which wire_scan never makes.
bool wire_raw_data(const ProtobufCBinaryData *raw, const uint8_t *file, size_t n, const uint8_t **data, size_t *len);

// ---- Allocator ----

// An allocator for protobuf-c that fails past a limit, so that unpacking returns NULL instead of taking
// all memory. To hold the bound for a file of n bytes: wire_memory_limit(n) less the length of the
// compacted copy. Not for use by several threads at once.
typedef struct {
    ProtobufCAllocator base; // to be handed to protobuf-c
    size_t limit;            // bytes; a block counts with its header of 16
    size_t used;             // now
    size_t peak;             // at most, so far
    bool refused;            // whether it ever ran into the limit
} WireAllocator;

// Sets up an allocator with a limit in bytes. It must stay where it is while in use.
void wire_allocator(WireAllocator *a, size_t limit);

// ---- External data ----

// The files of one model that hold tensor data, each mapped once.
typedef struct ExternalFiles ExternalFiles;

// Opens the folder of a model; "" is the current one. Returns NULL and a message in err on failure.
// To be closed with external_close.
ExternalFiles *external_open(const char *folder, char *err, size_t errlen);

// Unmaps all; the pointers that external_data returned become invalid. NULL is allowed.
void external_close(ExternalFiles *files);

// The bytes that a tensor's external_data entries name: *data, mapped read-only, and *len of them; they
// stay until external_close and have the alignment of their offset. Keys: location (a relative path,
// '/' between parts, no ".."), offset and length (decimal; default 0 and the rest of the file),
// checksum (40 hexadecimal digits; not compared, as it protects against nothing a writer of models
// could do). Refused: other keys and keys given twice; paths that leave the folder; symbolic links
// anywhere below the folder; what is no regular file or has further hard links; a range not inside the
// file. A file that others truncate while it is mapped ends the process with SIGBUS.
// Returns WIRE_OK; or WIRE_MALFORMED, WIRE_SYSTEM, WIRE_MEMORY, and a message in err.
int external_data(ExternalFiles *files, size_t n_entries, Onnx__StringStringEntryProto *const *entries,
                  const uint8_t **data, size_t *len, char *err, size_t errlen);

// The same by value: opens `location` below the folder and returns `length` bytes from `offset`;
// length UINT64_MAX means the rest of the file.
int external_range(ExternalFiles *files, const char *location, uint64_t offset, uint64_t length, const uint8_t **data,
                   size_t *len, char *err, size_t errlen);

#endif
