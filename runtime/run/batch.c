// SPDX-License-Identifier: Apache-2.0
// Many models from a list, each built and run in a process of its own, so that neither a crash
// nor an endless loop of generated code ends the batch.
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "run.h"

enum { MAX_JOBS = 64, LINE_ROOM = 1024 };

/* One model at work. */
typedef struct {
    pid_t pid;
    int fd; /* what the child says, one line */
    char line[LINE_ROOM], temp[PATH_ROOM], name[256];
    size_t used;
    double deadline;
} Job;

static double seconds(void) {
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void answer(int fd, const char *word, const char *detail) {
    char text[LINE_ROOM];
    int n = snprintf(text, sizeof text, "%s %s", word, detail);
    size_t len = n < 0 ? 0 : (size_t)n < sizeof text ? (size_t)n : sizeof text - 1;
    for (size_t i = 0; i < len; i++)
        if (text[i] == '\n' || text[i] == '\t') text[i] = ' ';
    ssize_t done = write(fd, text, len);
    (void)done;
}

/* DIR/tol.txt has rtol and atol; a model without it has the usual ones. */
static void read_tolerance(const char *dir, Compare *c) {
    char path[PATH_ROOM];
    FILE *f = run_path(path, "%s/tol.txt", dir) ? fopen(path, "r") : NULL;
    double r, a;
    c->rtol = 1e-3;
    c->atol = 1e-7;
    if (!f) return;
    if (fscanf(f, "%lf %lf", &r, &a) == 2) {
        c->rtol = r;
        c->atol = a;
    }
    fclose(f);
}

/* The child: build, load, test, say so, end without cleaning up. */
static void child(const char *dir, const Job *job, BuildPlan build, const RunPlan *plan, int fd) {
    char model[PATH_ROOM], log[PATH_ROOM];
    Compare c = {0};
    Tally tally = {0};
    Loaded l;
    (void)setpgid(0, 0);
    if (run_path(log, "%s/output", job->temp)) {
        int out = open(log, O_WRONLY | O_CREAT | O_TRUNC, 0600);
        if (out >= 0) {
            (void)dup2(out, 1);
            (void)dup2(out, 2);
        }
    }
    build.dir = job->temp;
    build.quiet = true;
    read_tolerance(dir, &c);
    if (!run_path(model, "%s/model.onnx", dir)) _exit(EXIT_BUG);
    BuildResult r = build_model(model, &build, &l);
    if (r == BUILD_REFUSED)
        answer(fd, "REFUSED", run_message());
    else if (r == BUILD_BROKEN)
        answer(fd, strncmp(run_message(), "cnncc ", 6) == 0 ? "CRASH" : "FAIL", run_message());
    else if (test_folder(&l, plan, dir, &c, &tally))
        answer(fd, "PASS", "");
    else
        answer(fd, "FAIL", run_message());
    _exit(0);
}

static bool start(Job *job, const char *dir, const char *root, size_t number, const BuildPlan *build,
                  const RunPlan *plan, int timeout) {
    int fd[2];
    const char *base = strrchr(dir, '/');
    (void)snprintf(job->name, sizeof job->name, "%.250s", base ? base + 1 : dir);
    if (!run_path(job->temp, "%s/%zu", root, number) || pipe(fd) != 0) return run_error("a worker cannot be started");
    fflush(NULL);
    job->pid = fork();
    if (job->pid < 0) {
        close(fd[0]);
        close(fd[1]);
        return run_error("a worker cannot be started");
    }
    if (job->pid == 0) {
        close(fd[0]);
        (void)fcntl(fd[1], F_SETFD, FD_CLOEXEC);
        child(dir, job, *build, plan, fd[1]);
    }
    (void)setpgid(job->pid, job->pid);
    close(fd[1]);
    job->fd = fd[0];
    (void)fcntl(job->fd, F_SETFD, FD_CLOEXEC);
    job->used = 0;
    job->deadline = seconds() + timeout;
    return true;
}

/* What loaded code printed last: a sanitizer's finding, say. */
static void crash_detail(const Job *job, int status, char *out, size_t room) {
    char path[PATH_ROOM];
    uint8_t *text = NULL;
    size_t n = 0;
    int at = WIFSIGNALED(status) ? snprintf(out, room, "signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)))
                                 : snprintf(out, room, "exit %d", WIFEXITED(status) ? WEXITSTATUS(status) : -1);
    if (at < 0 || !run_path(path, "%s/output", job->temp) || !run_read_file(path, &text, &n)) return;
    char *error = strstr((char *)text, "runtime error:");
    if (!error) error = strstr((char *)text, "ERROR:");
    if (error) {
        error[strcspn(error, "\n")] = 0;
        (void)snprintf(out + at, room - (size_t)at, " %.300s", error);
    }
    free(text);
}

static void finish(Job *job, bool timed_out, int timeout, size_t count[4]) {
    static const char *const word[] = {"PASS", "FAIL", "REFUSED", "CRASH"};
    char detail[600];
    int status = 0;
    if (timed_out) (void)kill(-job->pid, SIGKILL);
    while (waitpid(job->pid, &status, 0) < 0 && errno == EINTR) continue;
    close(job->fd);
    job->line[job->used] = 0;
    char *text = strchr(job->line, ' ');
    size_t kind = 3;
    for (size_t k = 0; text && k < 4; k++)
        if (strncmp(job->line, word[k], strlen(word[k])) == 0) kind = k;
    if (timed_out)
        (void)snprintf(detail, sizeof detail, "no end within %d s", timeout);
    else if (!text)
        crash_detail(job, status, detail, sizeof detail);
    else
        (void)snprintf(detail, sizeof detail, "%s", text + 1);
    kind = timed_out || !text ? 3 : kind;
    printf("%s %s %s\n", word[kind], job->name, detail);
    fflush(stdout);
    count[kind]++;
    run_remove_tree(job->temp);
    job->pid = 0;
}

/* Waits until a job has something to say, has ended, or is out of time. */
static void step(Job *job, int jobs, int timeout, size_t count[4]) {
    struct pollfd p[MAX_JOBS];
    int at[MAX_JOBS], n = 0;
    for (int i = 0; i < jobs; i++)
        if (job[i].pid > 0) {
            p[n] = (struct pollfd){.fd = job[i].fd, .events = POLLIN};
            at[n++] = i;
        }
    (void)poll(p, (nfds_t)n, 200);
    for (int i = 0; i < n; i++) {
        Job *j = &job[at[i]];
        if (p[i].revents) {
            ssize_t got = read(j->fd, j->line + j->used, sizeof j->line - 1 - j->used);
            if (got > 0)
                j->used += (size_t)got;
            else
                finish(j, false, timeout, count);
        } else if (seconds() > j->deadline) {
            finish(j, true, timeout, count);
        }
    }
}

static bool make_root(char root[PATH_ROOM]) {
    const char *tmp = getenv("TMPDIR");
    return run_path(root, "%s/cnncc-run-XXXXXX", tmp && *tmp ? tmp : "/tmp") && mkdtemp(root);
}

int batch_run(const char *list, const BuildPlan *build, const RunPlan *plan, int jobs, int timeout) {
    Job *job = run_calloc(MAX_JOBS, sizeof *job);
    Words dirs = {0};
    uint8_t *text;
    size_t n, next = 0, count[4] = {0};
    char root[PATH_ROOM];
    if (!run_read_file(list, &text, &n) || !make_root(root)) {
        fprintf(stderr, "cnncc-run: %s\n", run_message());
        free(job);
        return EXIT_USAGE;
    }
    char *save = NULL;
    for (char *t = strtok_r((char *)text, "\n", &save); t; t = strtok_r(NULL, "\n", &save)) words_add(&dirs, t);
    free(text);
    jobs = jobs < 1 ? 1 : jobs > MAX_JOBS ? MAX_JOBS : jobs;
    for (int busy = 1; busy > 0;) {
        busy = 0;
        for (int i = 0; i < jobs; i++) {
            if (job[i].pid == 0 && next < dirs.count) {
                size_t number = next++;
                char temp[PATH_ROOM];
                if (!run_path(temp, "%s/%zu", root, number) || !run_make_dir(temp) ||
                    !start(&job[i], dirs.word[number], root, number, build, plan, timeout)) {
                    fprintf(stderr, "cnncc-run: %s\n", run_message());
                    next = dirs.count;
                }
            }
            busy += job[i].pid > 0;
        }
        if (busy > 0) step(job, jobs, timeout, count);
    }
    run_remove_tree(root);
    printf("%zu passed, %zu failed, %zu refused, %zu crashed\n", count[0], count[1], count[2], count[3]);
    words_free(&dirs);
    free(job);
    return count[1] + count[3] > 0 ? EXIT_MODEL : 0;
}
