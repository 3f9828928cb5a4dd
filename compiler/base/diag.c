// SPDX-License-Identifier: Apache-2.0
#include "cnncc.h"
#include <stdlib.h>

const char *diag_file, *diag_pass = "start";
int diag_errors;

static DiagHold *held;

static void hold(const char *fmt, va_list ap) {
    char text[1000];
    vsnprintf(text, sizeof text, fmt, ap);
    if (!held->said) held->said = arena_strdup(text);
}

void diag_hold(DiagHold *h) {
    h->said = NULL;
    h->errors = diag_errors;
    h->up = held;
    held = h;
}

bool diag_release(DiagHold *h) {
    bool ok = diag_errors == h->errors;
    diag_errors = h->errors;
    held = h->up;
    return ok;
}

static void message(const char *kind, const char *fmt, va_list ap) {
    fflush(stdout);
    fprintf(stderr, "%s: %s", diag_file ? diag_file : "cnncc", kind);
    vfprintf(stderr, fmt, ap);
    fputc('\n', stderr);
}

void error(const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    if (held) hold(fmt, ap);
    else message("", fmt, ap);
    va_end(ap);
    diag_errors++;
}

void warning(const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    message("warning: ", fmt, ap);
    va_end(ap);
}

void fatal(const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    if (held) {
        hold(fmt, ap);
        va_end(ap);
        diag_errors++;
        longjmp(held->back, 1);
    }
    message("", fmt, ap);
    va_end(ap);
    exit(1);
}

void die(const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    message("a fault of cnncc, please report it: ", fmt, ap);
    va_end(ap);
    fprintf(stderr, "in pass: %s\n", diag_pass);
    exit(70);
}
