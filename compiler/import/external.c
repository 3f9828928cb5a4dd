// SPDX-License-Identifier: Apache-2.0
//
// External tensor data, opened inside the model's folder only. Models have named files by "..", by
// symbolic links, by symbolic links on the way and by hard links; none of these gets anywhere here.
#ifndef _GNU_SOURCE
#define _GNU_SOURCE // openat2's numbers, O_PATH
#endif
#include "cnncc.h"
#include "wire.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#if defined(__linux__)
#include <sys/syscall.h>
#if defined(SYS_openat2) && !defined(CNNCC_NO_OPENAT2) && __has_include(<linux/openat2.h>)
#include <linux/openat2.h>
#define HAS_OPENAT2 1
#endif
#endif

#ifdef O_PATH
#define FOLDER_FLAGS (O_PATH | O_DIRECTORY | O_CLOEXEC)
#else
#define FOLDER_FLAGS (O_RDONLY | O_DIRECTORY | O_CLOEXEC)
#endif
// O_NONBLOCK: opening a FIFO must not wait for a writer; regular files ignore it.
#define FILE_FLAGS (O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | O_NOFOLLOW)

typedef struct {
    char *location; // clean
    uint8_t *data;  // NULL if the file is empty
    size_t size;
} MappedFile;

struct ExternalFiles {
    int folder;
    MappedFile *files;
    size_t count, cap;
    size_t last; // the one used last; tensors of one file come together
};

__attribute__((format(printf, 4, 5))) static int fail(char *err, size_t errlen, int status, const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(err, errlen, format, args);
    va_end(args);
    return status;
}

ExternalFiles *external_open(const char *folder, char *err, size_t errlen) {
    ExternalFiles *f = calloc(1, sizeof *f);
    if (f == NULL) {
        fail(err, errlen, WIRE_MEMORY, "no memory");
        return NULL;
    }
    f->folder = open(*folder != '\0' ? folder : ".", FOLDER_FLAGS);
    if (f->folder < 0) {
        fail(err, errlen, WIRE_SYSTEM, "folder '%s': %s", folder, strerror(errno));
        free(f);
        return NULL;
    }
    return f;
}

void external_close(ExternalFiles *files) {
    if (files == NULL) {
        return;
    }
    for (size_t i = 0; i < files->count; i++) {
        if (files->files[i].data != NULL) {
            mapped_remove(files->files[i].data);
            munmap(files->files[i].data, files->files[i].size);
        }
        free(files->files[i].location);
    }
    close(files->folder);
    free(files->files);
    free(files);
}

// Makes one spelling of a location: no empty or "." parts. NULL, or what is wrong with it: it must be
// relative and without "..".
static const char *clean_location(const char *location, char clean[PATH_MAX]) {
    size_t len = 0;
    if (*location == '/') {
        return "is not relative to the model's folder";
    }
    if (strlen(location) >= PATH_MAX) {
        return "is too long";
    }
    for (const char *p = location; *p != '\0';) {
        size_t n = strcspn(p, "/");
        if (n == 2 && p[0] == '.' && p[1] == '.') {
            return "leaves the model's folder";
        }
        if (n > NAME_MAX) {
            return "is too long";
        }
        if (n > 0 && !(n == 1 && p[0] == '.')) {
            if (len > 0) {
                clean[len++] = '/';
            }
            memcpy(clean + len, p, n);
            len += n;
        }
        p += n;
        p += *p == '/';
    }
    clean[len] = '\0';
    return len > 0 ? NULL : "names no file";
}

// Opens a clean path part by part, none of them a symbolic link. A descriptor, or -1 and errno.
static int open_by_parts(int folder, const char *path) {
    int at = folder;
    for (;;) {
        char part[NAME_MAX + 1];
        size_t n = strcspn(path, "/");
        bool last = path[n] == '\0';
        memcpy(part, path, n);
        part[n] = '\0';
        int next = openat(at, part, last ? FILE_FLAGS : FOLDER_FLAGS | O_NOFOLLOW);
        int error = errno;
        struct stat st;
        if (next < 0 && fstatat(at, part, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(st.st_mode)) {
            error = ELOOP; // where a folder was wanted, a link is ENOTDIR
        }
        if (at != folder) {
            close(at);
        }
        errno = error;
        if (next < 0 || last) {
            return next;
        }
        at = next;
        path += n + 1;
    }
}

static int open_inside(int folder, const char *location) {
#ifdef HAS_OPENAT2
    struct open_how how = {.flags = FILE_FLAGS, .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS};
    long fd = syscall(SYS_openat2, folder, location, &how, sizeof how);
    if (fd >= 0 || (errno != ENOSYS && errno != EPERM)) { // EPERM: sandboxes that do not know the call
        return (int)fd;
    }
#endif
    return open_by_parts(folder, location);
}

// Opens, checks and maps a file; the location is left to the caller to set.
static int map_file(int folder, const char *location, MappedFile *file, char *err, size_t errlen) {
    int fd = open_inside(folder, location);
    if (fd < 0) {
        bool link = errno == ELOOP;
        return fail(err, errlen, link ? WIRE_MALFORMED : WIRE_SYSTEM, "location '%.200s': %s", location,
                    link ? "symbolic links are not followed" : strerror(errno));
    }
    struct stat st;
    int status = WIRE_OK;
    if (fstat(fd, &st) != 0) {
        status = fail(err, errlen, WIRE_SYSTEM, "location '%.200s': %s", location, strerror(errno));
    } else if (!S_ISREG(st.st_mode)) {
        status = fail(err, errlen, WIRE_MALFORMED, "location '%.200s' is no regular file", location);
    } else if (st.st_nlink != 1) {
        status = fail(err, errlen, WIRE_MALFORMED, "location '%.200s' has more than one hard link", location);
    } else if ((uintmax_t)st.st_size > SIZE_MAX) {
        status = fail(err, errlen, WIRE_MEMORY, "location '%.200s' is too large for this machine", location);
    } else if (st.st_size > 0) {
        file->size = (size_t)st.st_size;
        void *map = mmap(NULL, file->size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (map == MAP_FAILED) {
            status = fail(err, errlen, WIRE_SYSTEM, "location '%.200s': %s", location, strerror(errno));
        } else {
            file->data = map;
            mapped_add(map, file->size);
        }
    }
    close(fd);
    return status;
}

// The mapped file of that location, mapped now if it was not before.
static int find_file(ExternalFiles *f, const char *location, const MappedFile **found, char *err, size_t errlen) {
    for (size_t i = 0; i < f->count; i++) {
        size_t at = (f->last + i) % f->count;
        if (strcmp(f->files[at].location, location) == 0) {
            f->last = at;
            *found = &f->files[at];
            return WIRE_OK;
        }
    }
    if (f->count == f->cap) {
        size_t cap = f->cap > 0 ? 2 * f->cap : 4;
        MappedFile *files = realloc(f->files, cap * sizeof *files);
        if (files == NULL) {
            return fail(err, errlen, WIRE_MEMORY, "no memory");
        }
        f->files = files;
        f->cap = cap;
    }
    MappedFile *file = &f->files[f->count];
    *file = (MappedFile){0};
    size_t n = strlen(location) + 1;
    char *name = malloc(n);
    if (name == NULL) {
        return fail(err, errlen, WIRE_MEMORY, "no memory");
    }
    int status = map_file(f->folder, location, file, err, errlen);
    if (status != WIRE_OK) {
        free(name);
        return status;
    }
    file->location = memcpy(name, location, n);
    f->last = f->count++;
    *found = file;
    return WIRE_OK;
}

int external_range(ExternalFiles *files, const char *location, uint64_t offset, uint64_t length, const uint8_t **data,
                   size_t *len, char *err, size_t errlen) {
    char path[PATH_MAX];
    const char *fault = clean_location(location, path);
    if (fault != NULL) {
        return fail(err, errlen, WIRE_MALFORMED, "location '%.200s' %s", location, fault);
    }
    const MappedFile *file = NULL;
    int status = find_file(files, path, &file, err, errlen);
    if (status != WIRE_OK) {
        return status;
    }
    if (offset > file->size) {
        return fail(err, errlen, WIRE_MALFORMED, "offset %llu is past the end of '%.200s' (%zu bytes)",
                    (unsigned long long)offset, location, file->size);
    }
    uint64_t rest = file->size - offset;
    if (length == UINT64_MAX) {
        length = rest;
    }
    if (length > rest) {
        return fail(err, errlen, WIRE_MALFORMED, "%llu bytes from offset %llu are not in '%.200s' (%zu bytes)",
                    (unsigned long long)length, (unsigned long long)offset, location, file->size);
    }
    static const uint8_t nothing[1];
    *data = file->data != NULL ? file->data + offset : nothing;
    *len = (size_t)length;
    return WIRE_OK;
}

// A decimal number below 2^63, digits only.
static bool parse_decimal(const char *text, uint64_t *value) {
    uint64_t v = 0;
    size_t n = 0;
    for (; text[n] >= '0' && text[n] <= '9'; n++) {
        uint64_t digit = (uint64_t)(text[n] - '0');
        if (v > (INT64_MAX - digit) / 10) {
            return false;
        }
        v = 10 * v + digit;
    }
    *value = v;
    return n > 0 && text[n] == '\0';
}

static bool is_sha1(const char *text) { return strlen(text) == 40 && strspn(text, "0123456789abcdefABCDEF") == 40; }

int external_data(ExternalFiles *files, size_t n_entries, Onnx__StringStringEntryProto *const *entries,
                  const uint8_t **data, size_t *len, char *err, size_t errlen) {
    static const char *const keys[] = {"location", "offset", "length", "checksum"};
    enum { LOCATION, OFFSET, LENGTH, CHECKSUM, N_KEYS };
    const char *values[N_KEYS] = {NULL};
    for (size_t i = 0; i < n_entries; i++) {
        const char *key = entries[i]->key != NULL ? entries[i]->key : "";
        size_t k = 0;
        while (k < N_KEYS && strcmp(key, keys[k]) != 0) {
            k++;
        }
        if (k == N_KEYS) {
            return fail(err, errlen, WIRE_MALFORMED, "external data with the unknown key '%.200s'", key);
        }
        if (values[k] != NULL) {
            return fail(err, errlen, WIRE_MALFORMED, "external data with two keys '%.200s'", key);
        }
        values[k] = entries[i]->value != NULL ? entries[i]->value : "";
    }
    if (values[LOCATION] == NULL) {
        return fail(err, errlen, WIRE_MALFORMED, "external data without a location");
    }
    uint64_t offset = 0, length = UINT64_MAX;
    if (values[OFFSET] != NULL && !parse_decimal(values[OFFSET], &offset)) {
        return fail(err, errlen, WIRE_MALFORMED, "external data with offset '%.40s'", values[OFFSET]);
    }
    if (values[LENGTH] != NULL && !parse_decimal(values[LENGTH], &length)) {
        return fail(err, errlen, WIRE_MALFORMED, "external data with length '%.40s'", values[LENGTH]);
    }
    if (values[CHECKSUM] != NULL && !is_sha1(values[CHECKSUM])) {
        return fail(err, errlen, WIRE_MALFORMED, "external data with checksum '%.80s'", values[CHECKSUM]);
    }
    return external_range(files, values[LOCATION], offset, length, data, len, err, errlen);
}
