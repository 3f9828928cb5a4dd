// SPDX-License-Identifier: Apache-2.0
#include "cnncc.h"
#include <string.h>

// bits; class: f float, s signed, u unsigned, b bool, c complex, t text
static const struct { const char *name, *onnx; int bits; char class; } type_info[DT_COUNT] = {
    [DT_NONE] = {"none", "undefined", 0, 0},   [F32] = {"f32", "float", 32, 'f'},
    [U8] = {"u8", "uint8", 8, 'u'},            [I8] = {"i8", "int8", 8, 's'},
    [U16] = {"u16", "uint16", 16, 'u'},        [I16] = {"i16", "int16", 16, 's'},
    [I32] = {"i32", "int32", 32, 's'},         [I64] = {"i64", "int64", 64, 's'},
    [STR] = {"str", "string", 128, 't'},       [BOOL] = {"bool", "bool", 8, 'b'},
    [F16] = {"f16", "float16", 16, 'f'},       [F64] = {"f64", "double", 64, 'f'},
    [U32] = {"u32", "uint32", 32, 'u'},        [U64] = {"u64", "uint64", 64, 'u'},
    [C64] = {"c64", "complex64", 64, 'c'},     [C128] = {"c128", "complex128", 128, 'c'},
    [BF16] = {"bf16", "bfloat16", 16, 'f'},    [F8E4M3FN] = {"f8e4m3fn", "float8e4m3fn", 8, 'f'},
    [F8E4M3FNUZ] = {"f8e4m3fnuz", "float8e4m3fnuz", 8, 'f'},
    [F8E5M2] = {"f8e5m2", "float8e5m2", 8, 'f'},
    [F8E5M2FNUZ] = {"f8e5m2fnuz", "float8e5m2fnuz", 8, 'f'},
    [U4] = {"u4", "uint4", 4, 'u'},            [I4] = {"i4", "int4", 4, 's'},
    [F4E2M1] = {"f4e2m1", "float4e2m1", 4, 'f'}, [F8E8M0] = {"f8e8m0", "float8e8m0", 8, 'f'},
    [U2] = {"u2", "uint2", 2, 'u'},            [I2] = {"i2", "int2", 2, 's'},
    [F6E2M3] = {"f6e2m3", "float6e2m3", 6, 'f'}, [F6E3M2] = {"f6e3m2", "float6e3m2", 6, 'f'},
};

bool dt_is_float(DType dt) { return type_info[dt].class == 'f'; }
bool dt_is_int(DType dt) { return type_info[dt].class == 's' || type_info[dt].class == 'u'; }
bool dt_is_signed(DType dt) { return type_info[dt].class == 's'; }
int dt_bits(DType dt) { return type_info[dt].bits; }
bool dt_is_moved(DType dt) { return dt == STR || dt == C64 || dt == C128; }

size_t dt_size(DType dt) { return dt == STR ? sizeof(DataStr) : (size_t)(type_info[dt].bits + 7) / 8; }
const char *dt_name(DType dt) { return type_info[dt].name; }
const char *dt_onnx_name(DType dt) { return type_info[dt].onnx; }

DType dt_from_name(const char *name) {
    for (int i = 1; i < DT_COUNT; i++)
        if (!strcmp(type_info[i].name, name)) return (DType)i;
    return DT_NONE;
}
