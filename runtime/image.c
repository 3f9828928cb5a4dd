// SPDX-License-Identifier: Apache-2.0
// The hook of ImageDecoder, for products that want one ready-made: generated code calls cnn_image_decode, and a
// product that has such an operator links this file, or its own. JPEG (libjpeg), PNG (libpng), WebP (libwebp),
// TIFF (libtiff), JPEG 2000 (OpenJPEG), each where CNN_HAVE_… is defined; BMP and PNM need no library.
#include "image.h"

#include <stdlib.h>
#include <string.h>

enum { OK = 0, EDATA = 7 }; /* CNN_OK, CNN_EDATA */

/* A picture being decoded: 8 bits of red, green and blue for each pixel, or only its size. */
typedef struct { const uint8_t *p; size_t n; int64_t w, h; uint8_t *rgb; int size_only; } Picture;

static int start(Picture *m, int64_t w, int64_t h) {
    if (w <= 0 || h <= 0 || w > INT32_MAX / 4 || h > INT32_MAX / 4 || w * h > INT32_MAX) return 0;
    m->w = w;
    m->h = h;
    if (m->size_only) return 1;
    m->rgb = malloc((size_t)(w * h) * 3);
    return m->rgb != NULL;
}

static uint32_t le(const uint8_t *p, int n) {
    uint32_t v = 0;
    for (int i = n - 1; i >= 0; i--) v = v << 8 | p[i];
    return v;
}

/* ---- BMP: 1, 4, 8, 24 and 32 bits, not compressed ---- */

static void bmp_pixel(const Picture *m, const uint8_t *palette, int bits, size_t row, int64_t x, uint8_t *out) {
    const uint8_t *q;
    if (bits >= 24) {
        q = m->p + row + (size_t)x * (size_t)(bits / 8);
    } else {
        unsigned byte = m->p[row + (size_t)(x * bits / 8)], shift = (unsigned)(8 - bits - (int)(x * bits % 8));
        q = palette + 4 * (size_t)(byte >> shift & ((1u << bits) - 1));
    }
    out[0] = q[2];
    out[1] = q[1];
    out[2] = q[0];
}

static int decode_bmp(Picture *m) {
    if (m->n < 54) return 0;
    size_t at = le(m->p + 10, 4), head = le(m->p + 14, 4), colors = le(m->p + 46, 4);
    int64_t w = (int32_t)le(m->p + 18, 4), h = (int32_t)le(m->p + 22, 4);
    int bits = (int)le(m->p + 28, 2), down = h < 0;
    uint32_t packing = le(m->p + 30, 4);
    if (down) h = -h;
    if ((bits != 1 && bits != 4 && bits != 8 && bits != 24 && bits != 32) || (packing != 0 && !(packing == 3 && bits == 32))) return 0;
    if (!start(m, w, h) || m->size_only) return m->w > 0;
    if (bits < 24 && (colors == 0 || colors > 1u << bits)) colors = 1u << bits;
    size_t stride = ((size_t)w * (size_t)bits + 31) / 32 * 4, palette = 14 + head;
    if (at > m->n || stride * (size_t)h > m->n - at || (bits < 24 && palette + 4 * (1u << bits) > at)) return 0;
    for (int64_t y = 0; y < h; y++)
        for (int64_t x = 0; x < w; x++)
            bmp_pixel(m, m->p + palette, bits, at + stride * (size_t)(down ? y : h - 1 - y), x, m->rgb + 3 * (y * w + x));
    return 1;
}

/* ---- PNM: P1 to P6 ---- */

static long pnm_number(const Picture *m, size_t *at, int digits) { /* -1: none */
    for (; *at < m->n; ++*at) {
        if (m->p[*at] == '#')
            while (*at < m->n && m->p[*at] != '\n') ++*at;
        else if (m->p[*at] > ' ')
            break;
    }
    long v = -1;
    for (; *at < m->n && m->p[*at] >= '0' && m->p[*at] <= '9' && v < 1000000000 && digits != 0; ++*at, digits--)
        v = (v < 0 ? 0 : v) * 10 + (m->p[*at] - '0');
    return v;
}

static int decode_pnm(Picture *m) {
    int kind = m->p[1] - '0', color = kind == 3 || kind == 6, bitmap = kind == 1 || kind == 4, text = kind <= 3;
    size_t at = 2;
    long w = pnm_number(m, &at, -1), h = pnm_number(m, &at, -1), top = bitmap ? 1 : pnm_number(m, &at, -1);
    if (w < 1 || h < 1 || top < 1 || top > 65535 || !start(m, w, h)) return 0;
    if (m->size_only) return 1;
    at++; /* one blank */
    size_t wide = top > 255 ? 2 : 1, each = color ? 3 : 1, stride = kind == 4 ? ((size_t)w + 7) / 8 : (size_t)w * each * wide;
    if (!text && (at > m->n || stride * (size_t)h > m->n - at)) return 0;
    for (int64_t i = 0; i < m->w * m->h; i++)
        for (size_t c = 0; c < each; c++) {
            size_t row = (size_t)(i / w), x = (size_t)(i % w);
            const uint8_t *q = m->p + at + row * stride + (kind == 4 ? x / 8 : (x * each + c) * wide);
            long v = text ? pnm_number(m, &at, bitmap ? 1 : -1) : kind == 4 ? q[0] >> (7 - x % 8) & 1 : wide == 2 ? q[0] << 8 | q[1] : q[0];
            if (v < 0 || v > top) return 0;
            v = bitmap ? 255 * (1 - v) : top == 255 ? v : (v * 255 + top / 2) / top;
            for (size_t k = c; k < (color ? c + 1 : 3); k++) m->rgb[3 * i + (int64_t)k] = (uint8_t)v;
        }
    return 1;
}

/* ---- JPEG ---- */

#ifdef CNN_HAVE_JPEG
#include <setjmp.h>
#include <stdio.h>
#include <jpeglib.h>

typedef struct { struct jpeg_error_mgr base; jmp_buf back; } JpegError;

static void jpeg_fail(j_common_ptr c) { longjmp(((JpegError *)(void *)c->err)->back, 1); }
static void jpeg_quiet(j_common_ptr c) { (void)c; }

static int decode_jpeg(Picture *m) {
    struct jpeg_decompress_struct d;
    JpegError e;
    d.err = jpeg_std_error(&e.base);
    e.base.error_exit = jpeg_fail;
    e.base.output_message = jpeg_quiet;
    if (setjmp(e.back)) {
        jpeg_destroy_decompress(&d);
        return 0;
    }
    jpeg_create_decompress(&d);
    jpeg_mem_src(&d, m->p, (unsigned long)m->n);
    (void)jpeg_read_header(&d, TRUE);
    d.out_color_space = JCS_RGB;
    int ok = start(m, d.image_width, d.image_height);
    if (ok && !m->size_only) {
        (void)jpeg_start_decompress(&d);
        while (d.output_scanline < d.output_height) {
            JSAMPROW row = m->rgb + 3 * (size_t)d.output_scanline * (size_t)m->w;
            (void)jpeg_read_scanlines(&d, &row, 1);
        }
        (void)jpeg_finish_decompress(&d);
    }
    jpeg_destroy_decompress(&d);
    return ok;
}
#endif

/* ---- PNG ---- */

#ifdef CNN_HAVE_PNG
#include <png.h>

static int decode_png(Picture *m) {
    png_image p;
    memset(&p, 0, sizeof p);
    p.version = PNG_IMAGE_VERSION;
    if (!png_image_begin_read_from_memory(&p, m->p, m->n)) return 0;
    int ok = start(m, p.width, p.height);
    p.format = PNG_FORMAT_RGBA; /* what is transparent keeps its color */
    uint8_t *four = ok && !m->size_only ? malloc((size_t)(m->w * m->h) * 4) : NULL;
    if (four) ok = png_image_finish_read(&p, NULL, four, 0, NULL) != 0;
    else if (!m->size_only) ok = 0;
    for (int64_t i = 0; four && ok && i < m->w * m->h; i++) memcpy(m->rgb + 3 * i, four + 4 * i, 3);
    free(four);
    png_image_free(&p);
    return ok;
}
#endif

/* ---- WebP ---- */

#ifdef CNN_HAVE_WEBP
#include <webp/decode.h>

static int decode_webp(Picture *m) {
    int w, h;
    if (!WebPGetInfo(m->p, m->n, &w, &h) || !start(m, w, h)) return 0;
    return m->size_only || WebPDecodeRGBInto(m->p, m->n, m->rgb, (size_t)w * (size_t)h * 3, 3 * w) != NULL;
}
#endif

/* ---- TIFF ---- */

#ifdef CNN_HAVE_TIFF
#include <tiffio.h>

typedef struct { const uint8_t *p; size_t n, at; } Bytes;

static tmsize_t tiff_read(thandle_t h, void *to, tmsize_t n) {
    Bytes *b = h;
    size_t left = b->at < b->n ? b->n - b->at : 0, got = (size_t)n < left ? (size_t)n : left;
    memcpy(to, b->p + b->at, got);
    b->at += got;
    return (tmsize_t)got;
}

static tmsize_t tiff_write(thandle_t h, void *from, tmsize_t n) {
    (void)h, (void)from, (void)n;
    return -1;
}

static toff_t tiff_seek(thandle_t h, toff_t to, int whence) {
    Bytes *b = h;
    b->at = (size_t)to + (whence == SEEK_CUR ? b->at : whence == SEEK_END ? b->n : 0);
    return b->at;
}

static int tiff_close(thandle_t h) {
    (void)h;
    return 0;
}

static toff_t tiff_size(thandle_t h) { return ((Bytes *)h)->n; }

static int decode_tiff(Picture *m) {
    Bytes b = {m->p, m->n, 0};
    uint32_t w = 0, h = 0;
    TIFFSetErrorHandler(NULL);
    TIFFSetWarningHandler(NULL);
    TIFF *t = TIFFClientOpen("image", "rm", &b, tiff_read, tiff_write, tiff_seek, tiff_close, tiff_size, NULL, NULL);
    if (!t) return 0;
    int ok = TIFFGetField(t, TIFFTAG_IMAGEWIDTH, &w) && TIFFGetField(t, TIFFTAG_IMAGELENGTH, &h) && start(m, w, h);
    uint32_t *four = ok && !m->size_only ? malloc((size_t)w * h * 4) : NULL;
    if (!m->size_only) ok = four && TIFFReadRGBAImageOriented(t, w, h, four, ORIENTATION_TOPLEFT, 1);
    for (int64_t i = 0; four && ok && i < m->w * m->h; i++) {
        m->rgb[3 * i] = (uint8_t)TIFFGetR(four[i]);
        m->rgb[3 * i + 1] = (uint8_t)TIFFGetG(four[i]);
        m->rgb[3 * i + 2] = (uint8_t)TIFFGetB(four[i]);
    }
    free(four);
    TIFFClose(t);
    return ok;
}
#endif

/* ---- JPEG 2000 ---- */

#ifdef CNN_HAVE_JPEG2000
#include <openjpeg.h>

typedef struct { const uint8_t *p; size_t n, at; } Stream;

static OPJ_SIZE_T jp2_read(void *to, OPJ_SIZE_T n, void *ctx) {
    Stream *s = ctx;
    size_t left = s->n - s->at, got = n < left ? n : left;
    if (got == 0) return (OPJ_SIZE_T)-1;
    memcpy(to, s->p + s->at, got);
    s->at += got;
    return got;
}

static OPJ_OFF_T jp2_skip(OPJ_OFF_T n, void *ctx) {
    Stream *s = ctx;
    if (n < 0 || (size_t)n > s->n - s->at) return -1;
    s->at += (size_t)n;
    return n;
}

static OPJ_BOOL jp2_seek(OPJ_OFF_T n, void *ctx) {
    Stream *s = ctx;
    if (n < 0 || (size_t)n > s->n) return OPJ_FALSE;
    s->at = (size_t)n;
    return OPJ_TRUE;
}

static int jp2_copy(Picture *m, const opj_image_t *image) {
    if (image->numcomps < 1) return 0;
    for (uint32_t k = 0; k < 3; k++) {
        const opj_image_comp_t *c = &image->comps[image->numcomps >= 3 ? k : 0];
        int shift = (int)c->prec - 8;
        if (!c->data || (int64_t)c->w < m->w || (int64_t)c->h < m->h) return 0;
        for (int64_t y = 0; y < m->h; y++)
            for (int64_t x = 0; x < m->w; x++) {
                int v = c->data[y * (int64_t)c->w + x] + (c->sgnd ? 1 << (c->prec - 1) : 0);
                v = shift > 0 ? v >> shift : v << -shift;
                m->rgb[3 * (y * m->w + x) + (int64_t)k] = (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
            }
    }
    return 1;
}

static int decode_jp2(Picture *m) {
    Stream s = {m->p, m->n, 0};
    opj_dparameters_t par;
    opj_image_t *image = NULL;
    opj_codec_t *codec = opj_create_decompress(m->p[0] == 0 ? OPJ_CODEC_JP2 : OPJ_CODEC_J2K);
    opj_stream_t *stream = opj_stream_default_create(OPJ_TRUE);
    opj_set_default_decoder_parameters(&par);
    opj_stream_set_user_data(stream, &s, NULL);
    opj_stream_set_user_data_length(stream, m->n);
    opj_stream_set_read_function(stream, jp2_read);
    opj_stream_set_skip_function(stream, jp2_skip);
    opj_stream_set_seek_function(stream, jp2_seek);
    int ok = opj_setup_decoder(codec, &par) && opj_read_header(stream, codec, &image) &&
             start(m, (int64_t)image->x1 - image->x0, (int64_t)image->y1 - image->y0);
    if (ok && !m->size_only) ok = opj_decode(codec, stream, image) && opj_end_decompress(codec, stream) && jp2_copy(m, image);
    opj_stream_destroy(stream);
    opj_destroy_codec(codec);
    if (image) opj_image_destroy(image);
    return ok;
}
#endif

/* ---- which of them ---- */

static int decode(Picture *m) {
    const uint8_t *p = m->p;
    if (m->n < 12) return 0;
    if (p[0] == 'B' && p[1] == 'M') return decode_bmp(m);
    if (p[0] == 'P' && p[1] >= '1' && p[1] <= '6') return decode_pnm(m);
#ifdef CNN_HAVE_JPEG
    if (p[0] == 0xff && p[1] == 0xd8) return decode_jpeg(m);
#endif
#ifdef CNN_HAVE_PNG
    if (!memcmp(p, "\x89PNG", 4)) return decode_png(m);
#endif
#ifdef CNN_HAVE_WEBP
    if (!memcmp(p, "RIFF", 4) && !memcmp(p + 8, "WEBP", 4)) return decode_webp(m);
#endif
#ifdef CNN_HAVE_TIFF
    if (!memcmp(p, "II*\0", 4) || !memcmp(p, "MM\0*", 4)) return decode_tiff(m);
#endif
#ifdef CNN_HAVE_JPEG2000
    if (!memcmp(p, "\0\0\0\x0cjP  ", 8) || !memcmp(p, "\xff\x4f\xff\x51", 4)) return decode_jp2(m);
#endif
    return 0;
}

int cnn_image_decode(const uint8_t *bytes, int64_t n, int32_t format, uint8_t *pixels, int64_t shape[3]) {
    Picture m = {bytes, (size_t)(n < 0 ? 0 : n), 0, 0, NULL, pixels == NULL};
    int ok = decode(&m);
    shape[0] = m.h;
    shape[1] = m.w;
    shape[2] = format == CNN_IMAGE_GRAY ? 1 : 3;
    for (int64_t i = 0; ok && pixels && i < m.w * m.h; i++) {
        const uint8_t *q = m.rgb + 3 * i;
        if (format == CNN_IMAGE_GRAY) { /* ITU-R 601: 0.299, 0.587, 0.114 */
            pixels[i] = (uint8_t)((19595u * q[0] + 38470u * q[1] + 7471u * q[2] + 0x8000u) >> 16);
            continue;
        }
        for (int k = 0; k < 3; k++) pixels[3 * i + k] = q[format == CNN_IMAGE_BGR ? 2 - k : k];
    }
    free(m.rgb);
    return ok ? OK : EDATA;
}
