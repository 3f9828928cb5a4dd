// SPDX-License-Identifier: Apache-2.0
// Messages, memory, files and processes.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "run.h"

static char message[1024];

bool run_error(const char *format, ...) {
    char text[sizeof message]; /* the arguments may point into the old message */
    va_list ap;
    va_start(ap, format);
    (void)vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    memcpy(message, text, sizeof message);
    return false;
}

const char *run_message(void) { return message; }

static void *need(void *p) {
    if (!p) {
        fputs("cnncc-run: out of memory\n", stderr);
        exit(EXIT_BUG);
    }
    return p;
}

void *run_alloc(size_t size) { return need(malloc(size ? size : 1)); }

void *run_calloc(size_t count, size_t size) { return need(calloc(count ? count : 1, size ? size : 1)); }

void *run_realloc(void *old, size_t size) { return need(realloc(old, size ? size : 1)); }

char *run_strdup(const char *text) { return need(strdup(text)); }

bool run_path(char path[PATH_ROOM], const char *format, ...) {
    va_list ap;
    va_start(ap, format);
    int n = vsnprintf(path, PATH_ROOM, format, ap);
    va_end(ap);
    if (n < 0 || n >= PATH_ROOM) return run_error("a path is too long");
    return true;
}

bool run_read_file(const char *path, uint8_t **bytes, size_t *size) {
    FILE *f = fopen(path, "rb");
    if (!f) return run_error("%s: %s", path, strerror(errno));
    size_t cap = 1 << 16, n = 0, got;
    uint8_t *b = run_alloc(cap);
    while ((got = fread(b + n, 1, cap - 1 - n, f)) > 0) {
        n += got;
        if (n + 1 == cap) b = run_realloc(b, cap *= 2);
    }
    bool bad = ferror(f) != 0;
    fclose(f);
    if (bad) {
        free(b);
        return run_error("%s: cannot be read", path);
    }
    b[n] = 0;
    *bytes = b;
    *size = n;
    return true;
}

bool run_write_file(const char *path, const void *bytes, size_t size) {
    FILE *f = fopen(path, "wb");
    if (!f) return run_error("%s: %s", path, strerror(errno));
    bool ok = size == 0 || fwrite(bytes, 1, size, f) == size;
    if (fclose(f) != 0) ok = false;
    return ok || run_error("%s: cannot be written", path);
}

bool run_is_file(const char *path) {
    struct stat s;
    return stat(path, &s) == 0 && S_ISREG(s.st_mode);
}

bool run_is_dir(const char *path) {
    struct stat s;
    return stat(path, &s) == 0 && S_ISDIR(s.st_mode);
}

bool run_make_dir(const char *path) {
    return mkdir(path, 0777) == 0 || run_is_dir(path) || run_error("%s: %s", path, strerror(errno));
}

void run_remove_tree(const char *path) {
    DIR *d = opendir(path);
    if (d) {
        struct dirent *e;
        while ((e = readdir(d)) != NULL) {
            char child[PATH_ROOM];
            struct stat s;
            if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
            if (!run_path(child, "%s/%s", path, e->d_name) || lstat(child, &s) != 0) continue;
            if (S_ISDIR(s.st_mode))
                run_remove_tree(child); /* our own folders: two levels at most */
            else
                (void)unlink(child);
        }
        closedir(d);
    }
    (void)rmdir(path);
}

bool run_ends_with(const char *text, const char *end) {
    size_t n = strlen(text), k = strlen(end);
    return n >= k && strcmp(text + n - k, end) == 0;
}

void run_stem(const char *path, char *out, size_t room) {
    const char *slash = strrchr(path, '/');
    const char *base = slash ? slash + 1 : path;
    const char *dot = strrchr(base, '.');
    size_t n = dot && dot != base ? (size_t)(dot - base) : strlen(base);
    if (n >= room) n = room - 1;
    memcpy(out, base, n);
    out[n] = 0;
}

static void exec_child(char *const argv[], const char *log) {
    if (log) {
        int fd = open(log, O_WRONLY | O_CREAT | O_TRUNC, 0600);
        if (fd >= 0) {
            (void)dup2(fd, 1);
            (void)dup2(fd, 2);
        }
    }
    execvp(argv[0], argv);
    fprintf(stderr, "%s: %s\n", argv[0], strerror(errno));
    _exit(127);
}

int run_spawn(char *const argv[], const char *log) {
    fflush(NULL);
    pid_t pid = fork();
    if (pid < 0) return 127;
    if (pid == 0) exec_child(argv, log);
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) continue;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

void words_add(Words *w, const char *word) {
    if (w->count + 2 > w->cap) {
        w->cap = w->cap ? 2 * w->cap : 16;
        w->word = run_realloc(w->word, w->cap * sizeof *w->word);
    }
    w->word[w->count++] = run_strdup(word);
    w->word[w->count] = NULL;
}

void words_split(Words *w, const char *text) {
    char *copy = run_strdup(text), *save = NULL;
    for (char *t = strtok_r(copy, " \t\n", &save); t; t = strtok_r(NULL, " \t\n", &save)) words_add(w, t);
    free(copy);
}

void words_free(Words *w) {
    for (size_t i = 0; i < w->count; i++) free(w->word[i]);
    free(w->word);
    *w = (Words){0};
}
