// SPDX-License-Identifier: Apache-2.0
/*
 * Learns the language of a word, letter by letter, from Debian's word lists, with the C that cnncc --train made of a
 * GRU.
 *
 *     words LIST... [--epochs N] [--words N] [--threads N] [--rate LR] [--at-least A] [--model FILE --export FILE] [--ask "WORD ..."]
 *
 * One list a language. Each tenth word is for validation. At the end: a matrix of what is taken for what, and the
 * words of --ask. The export is the network as ONNX with the weights that were learnt.
 */
#include <ctype.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "words.h"

enum { BATCH = WORDS_BATCH, LONGEST = 20, LANGUAGES = 6 };

typedef struct { uint8_t letter[LONGEST]; uint8_t length, language; } Word;
typedef struct { Word *v; size_t n; } Words;
typedef struct { int64_t letters[BATCH * LONGEST]; int32_t length[BATCH]; int64_t target[BATCH]; words_batch b; } Batch;

typedef struct {
    const char *list[LANGUAGES], *model, *export, *ask;
    int lists, epochs, threads;
    size_t words;
    double rate, at_least;
} Options;

static void fail(const char *what, const char *which) {
    fprintf(stderr, "words: %s %s\n", what, which);
    exit(1);
}

static void *memory(size_t size) {
    void *p = aligned_alloc(64, (size + 63) / 64 * 64);
    if (!p) fail("no memory for", "the training");
    return memset(p, 0, size);
}

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static uint64_t random_bits(uint64_t *s) {
    uint64_t z = (*s += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static void shuffle(Words *w, uint64_t seed) {
    for (size_t i = w->n; i > 1; i--) {
        size_t k = random_bits(&seed) % i;
        Word t = w->v[i - 1];
        w->v[i - 1] = w->v[k];
        w->v[k] = t;
    }
}

static const char *language_of(const Options *o, int i) {
    const char *slash = strrchr(o->list[i], '/');
    return slash ? slash + 1 : o->list[i];
}

// ---- words ----------------------------------------------------------------------------------------------

// Lower case, so that capitals do not give German away. false: too long, or no word.
static bool read_word(Word *w, const char *s, size_t n, int language) {
    if (n < 3 || n > LONGEST) return false;
    *w = (Word){.length = (uint8_t)n, .language = (uint8_t)language};
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)s[i];
        if (c < 128 && !isalpha(c)) return false;
        w->letter[i] = c < 128 ? (uint8_t)tolower(c) : c;
    }
    return true;
}

// `most` words of a list at random; every tenth into `held`.
static void read_list(const Options *o, int language, Words *train, Words *held) {
    FILE *f = fopen(o->list[language], "r");
    char line[256];
    Words all = {malloc(sizeof(Word) * 1000000), 0};
    if (!f || !all.v) fail("cannot read", o->list[language]);
    while (all.n < 1000000 && fgets(line, sizeof line, f)) {
        Word w;
        if (read_word(&w, line, strcspn(line, "/\t\r\n"), language)) all.v[all.n++] = w;
    }
    fclose(f);
    shuffle(&all, 1);
    for (size_t i = 0; i < all.n && i < o->words; i++) {
        Words *to = i % 10 ? train : held;
        to->v[to->n++] = all.v[i];
    }
    free(all.v);
}

static const words_batch *fill(Batch *to, const Word *w, size_t n) {
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < LONGEST; k++) to->letters[i * LONGEST + k] = w[i].letter[k];
        to->length[i] = w[i].length;
        to->target[i] = w[i].language;
    }
    to->b = (words_batch){(int64_t)n, to->letters, to->length, to->target};
    return &to->b;
}

// ---- training -------------------------------------------------------------------------------------------

static double train_epoch(words_trainer *t, cnn_hyper *h, const Options *o, Batch *batch, Words *w, int epoch) {
    size_t steps = (w->n + BATCH - 1) / BATCH;
    double sum = 0, shown = 0;
    shuffle(w, (uint64_t)epoch + 2);
    for (size_t s = 0; s < steps; s++) {
        size_t n = w->n - s * BATCH < BATCH ? w->n - s * BATCH : BATCH;
        words_result r = {0};
        h->lr = cnn_lr_cosine(o->rate, 0, t->step, steps * (size_t)o->epochs);
        if (words_train_step(t, h, fill(batch, w->v + s * BATCH, n), &r)) fail("words_train_step", "failed");
        sum += (double)r.loss * (double)n;
        if (!isatty(STDOUT_FILENO) || seconds() - shown < 0.1) continue;
        shown = seconds();
        printf("\repoch %2d/%d  %5.1f %%  loss %.4f ", epoch + 1, o->epochs, 100.0 * (double)s / (double)steps, (double)r.loss);
        fflush(stdout);
    }
    return sum / (double)w->n;
}

typedef struct { double loss; size_t right, cell[LANGUAGES][LANGUAGES]; } Report; // cell[truth][guess]

static int best_of(const float *p) {
    int best = 0;
    for (int i = 1; i < LANGUAGES; i++)
        if (p[i] > p[best]) best = i;
    return best;
}

static Report evaluate(const words_trainer *t, Batch *batch, const Words *w) {
    static float p[BATCH * LANGUAGES];
    Report r = {0};
    for (size_t at = 0; at < w->n; at += BATCH) {
        size_t n = w->n - at < BATCH ? w->n - at : BATCH;
        words_result out = {.probability = p};
        if (words_eval_step(t, fill(batch, w->v + at, n), &out)) fail("words_eval_step", "failed");
        r.loss += (double)out.loss * (double)n / (double)w->n;
        r.right += (size_t)out.correct;
        for (size_t i = 0; i < n; i++) r.cell[w->v[at + i].language][best_of(p + i * LANGUAGES)]++;
    }
    return r;
}

static void print_matrix(const Options *o, const Report *r) {
    printf("\nrows: what it is; columns: what it is taken for\n%-18s", "");
    for (int k = 0; k < LANGUAGES; k++) printf("%9.8s", language_of(o, k));
    for (int c = 0; c < LANGUAGES; c++) {
        printf("\n%-18s", language_of(o, c));
        for (int k = 0; k < LANGUAGES; k++) printf("%9zu", r->cell[c][k]);
    }
    printf("\n\n");
}

static void ask(const words_trainer *t, const Options *o, Batch *batch) {
    for (const char *s = o->ask; *s; s += strspn(s, " ")) {
        float p[LANGUAGES];
        size_t n = strcspn(s, " ");
        Word w;
        words_result out = {.probability = p};
        if (read_word(&w, s, n, 0)) {
            if (words_predict(t, fill(batch, &w, 1), &out)) fail("words_predict", "failed");
            printf("%-20.*s %s, %.1f %%\n", (int)n, s, language_of(o, best_of(p)), 100 * (double)p[best_of(p)]);
        }
        s += n;
    }
}

// ---- the program ----------------------------------------------------------------------------------------

static int put(void *user, const void *data, size_t n) { return fwrite(data, 1, n, user) == n ? 0 : CNN_EDATA; }

static void export_model(const words_trainer *t, const char *from, const char *to) {
    static unsigned char model[1 << 20];
    FILE *f = fopen(from, "rb");
    size_t n = f ? fread(model, 1, sizeof model, f) : 0;
    if (f) fclose(f);
    f = fopen(to, "wb");
    if (!f || words_export(t, model, n, put, f) || fclose(f)) fail("cannot export", to);
}

static Options parse(int argc, char **argv) {
    Options o = {.epochs = 4, .threads = 1, .words = 30000, .rate = 4e-3};
    for (int i = 1; i < argc; i++) {
        const char *a = argv[i], *v = i + 1 < argc ? argv[i + 1] : "";
        if (a[0] != '-') {
            if (o.lists == LANGUAGES) fail("too many lists:", a);
            o.list[o.lists++] = a;
            continue;
        }
        i++;
        if (!strcmp(a, "--epochs")) o.epochs = atoi(v);
        else if (!strcmp(a, "--threads")) o.threads = atoi(v);
        else if (!strcmp(a, "--words")) o.words = strtoull(v, NULL, 10);
        else if (!strcmp(a, "--rate")) o.rate = atof(v);
        else if (!strcmp(a, "--at-least")) o.at_least = atof(v);
        else if (!strcmp(a, "--model")) o.model = v;
        else if (!strcmp(a, "--export")) o.export = v;
        else if (!strcmp(a, "--ask")) o.ask = v;
        else fail("no such option:", a);
    }
    if (o.lists != LANGUAGES || o.words > 1000000) fail("six lists of words are", "needed");
    return o;
}

int main(int argc, char **argv) {
    Options o = parse(argc, argv);
    Words train = {memory(sizeof(Word) * o.words * LANGUAGES), 0}, held = {memory(sizeof(Word) * o.words * LANGUAGES), 0};
    for (int i = 0; i < LANGUAGES; i++) read_list(&o, i, &train, &held);
    words_trainer t = {.threads = o.threads, .work_size = words_work_size(o.threads)};
    t.params = memory(sizeof(float) * WORDS_PARAMS);
    t.grads = memory(sizeof(float) * WORDS_TRAINED);
    t.state = memory(sizeof(float) * WORDS_STATE);
    t.work = memory(t.work_size);
    Batch *batch = memory(sizeof *batch);
    cnn_hyper h;
    words_defaults(&h);
    h.clip_norm = 1;
    if (words_init_random(&t, 1)) fail("words_init_random", "failed");
    printf("%zu words to learn from, %zu held out; %d parameters\n", train.n, held.n, WORDS_TRAINED);
    Report r = {0};
    for (int e = 0; e < o.epochs; e++) {
        double since = seconds(), loss = train_epoch(&t, &h, &o, batch, &train, e);
        r = evaluate(&t, batch, &held);
        printf("%sepoch %2d/%d  training loss %.4f  validation loss %.4f  accuracy %.2f %%  %.1f s\n", isatty(STDOUT_FILENO) ? "\r\x1b[K" : "", e + 1, o.epochs,
               loss, r.loss, 100.0 * (double)r.right / (double)held.n, seconds() - since);
        fflush(stdout);
    }
    print_matrix(&o, &r);
    if (o.ask) ask(&t, &o, batch);
    if (o.model && o.export) export_model(&t, o.model, o.export);
    return (double)r.right / (double)held.n < o.at_least;
}
