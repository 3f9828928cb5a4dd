// SPDX-License-Identifier: Apache-2.0
/*
 * Classifies the images of an IDX file with the network that cnncc compiled to convnet.c, and
 * reports how well and how fast.
 *
 *     fashion IMAGES LABELS [--at-least ACCURACY] [--ascii]
 *
 * IMAGES and LABELS are the unpacked files of Fashion-MNIST (or of any set in that format with
 * images of 28x28 and ten classes). With --at-least the exit status is 1 if the accuracy is lower.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>
#ifdef _OPENMP
#include <omp.h>
#endif

#include "convnet.h"

enum {
    SIDE = 28,
    PIXELS = SIDE * SIDE,
    CLASSES = 10,
    GAP = 2,                    /* columns between two images on the terminal */
    MAX_COUNT = 1 << 24,        /* images in a file: more is taken for a damaged header */
};

static const char *const class_name[CLASSES] = {
    "T-shirt", "Trouser", "Pullover", "Dress", "Coat",
    "Sandal",  "Shirt",   "Sneaker",  "Bag",   "Ankle boot",
};

typedef struct {
    size_t count;
    uint8_t *pixels;            /* [count][PIXELS] */
    uint8_t *labels;            /* [count] */
} Dataset;

typedef struct {
    int class;
    float confidence;
} Guess;

typedef struct {
    size_t cell[CLASSES][CLASSES];      /* [truth][guess] */
    size_t truth[CLASSES], guess[CLASSES];
    size_t total, right;
} Confusion;

typedef enum { ASCII, GREY_256, GREY_24_BIT } Display;

typedef struct {
    const char *images, *labels;
    double at_least;
    bool ascii;
} Options;

/* ---- Reading the data ---- */

static bool read_exactly(FILE *file, const char *path, void *to, size_t size)
{
    if (fread(to, 1, size, file) == size)
        return true;
    fprintf(stderr, "fashion: %s: %s\n", path,
            ferror(file) ? strerror(errno) : "the file is shorter than its header says");
    return false;
}

static uint32_t big_endian(const uint8_t *b)
{
    return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

/* The header of an IDX file of bytes: 0, 0, 8, rank, then each dimension in four bytes. */
static bool read_header(FILE *file, const char *path, uint8_t rank, uint32_t dims[])
{
    uint8_t magic[4], dim[4];
    if (!read_exactly(file, path, magic, sizeof magic))
        return false;
    if (magic[0] == 0x1f && magic[1] == 0x8b) {
        fprintf(stderr, "fashion: %s: still packed, run gzip -d on it\n", path);
        return false;
    }
    if (big_endian(magic) != (0x0800u | rank)) {
        fprintf(stderr, "fashion: %s: not an IDX file of bytes in %d dimensions\n", path, rank);
        return false;
    }
    for (int i = 0; i < rank; i++) {
        if (!read_exactly(file, path, dim, sizeof dim))
            return false;
        dims[i] = big_endian(dim);
    }
    if (dims[0] == 0 || dims[0] > MAX_COUNT) {
        fprintf(stderr, "fashion: %s: %lu items, expected 1 to %d\n", path,
                (unsigned long)dims[0], MAX_COUNT);
        return false;
    }
    return true;
}

/* The items after the header, each of item_size bytes; NULL after a message. */
static uint8_t *read_items(FILE *file, const char *path, size_t count, size_t item_size)
{
    uint8_t *items = malloc(count * item_size);
    if (!items) {
        fprintf(stderr, "fashion: %s: no memory for %zu items\n", path, count);
        return NULL;
    }
    if (read_exactly(file, path, items, count * item_size)) {
        if (fgetc(file) == EOF && !ferror(file))
            return items;
        fprintf(stderr, "fashion: %s: the file is longer than its header says\n", path);
    }
    free(items);
    return NULL;
}

static FILE *open_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (!file)
        fprintf(stderr, "fashion: %s: %s\n", path, strerror(errno));
    return file;
}

static bool read_images(const char *path, Dataset *data)
{
    uint32_t dims[3];
    FILE *file = open_file(path);
    if (!file)
        return false;
    if (read_header(file, path, 3, dims)) {
        data->count = dims[0];
        if (dims[1] == SIDE && dims[2] == SIDE)
            data->pixels = read_items(file, path, data->count, PIXELS);
        else
            fprintf(stderr, "fashion: %s: images of %lux%lu, expected %dx%d\n", path,
                    (unsigned long)dims[1], (unsigned long)dims[2], SIDE, SIDE);
    }
    fclose(file);
    return data->pixels != NULL;
}

static bool read_labels(const char *path, Dataset *data)
{
    uint32_t dims[1];
    FILE *file = open_file(path);
    if (!file)
        return false;
    if (read_header(file, path, 1, dims)) {
        if (dims[0] == data->count)
            data->labels = read_items(file, path, data->count, 1);
        else
            fprintf(stderr, "fashion: %s: %lu labels for %zu images\n", path,
                    (unsigned long)dims[0], data->count);
    }
    fclose(file);
    if (!data->labels)
        return false;
    for (size_t i = 0; i < data->count; i++)
        if (data->labels[i] >= CLASSES) {
            fprintf(stderr, "fashion: %s: label %zu is %d, expected 0 to %d\n", path, i,
                    data->labels[i], CLASSES - 1);
            return false;
        }
    return true;
}

/* ---- Running the network ---- */

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static Guess most_probable(const float probability[CLASSES])
{
    int best = 0;
    for (int c = 1; c < CLASSES; c++)
        if (probability[c] > probability[best])
            best = c;
    return (Guess){ best, probability[best] };
}

/* One image at a time on one thread. The time is that spent in convnet() alone. */
static bool classify(const Dataset *data, Guess *guesses, double *elapsed)
{
    float image[PIXELS];
    float probability[CLASSES];
    size_t work_size = ((size_t)CONVNET_WORK_SIZE / 64 + 1) * 64;
    void *work = aligned_alloc(64, work_size);
    if (!work) {
        fprintf(stderr, "fashion: no memory for a work area of %zu bytes\n", work_size);
        return false;
    }
#ifdef _OPENMP
    omp_set_num_threads(1);
#endif
    *elapsed = 0;
    for (size_t i = 0; i < data->count; i++) {
        const uint8_t *pixels = data->pixels + i * PIXELS;
        for (int p = 0; p < PIXELS; p++)
            image[p] = (float)pixels[p] / 255.0f;

        double start = seconds();
        int status = convnet(image, probability, work);
        *elapsed += seconds() - start;

        if (status != CNN_OK) {
            fprintf(stderr, "fashion: image %zu: convnet() returned status %d\n", i, status);
            free(work);
            return false;
        }
        guesses[i] = most_probable(probability);
    }
    free(work);
    return true;
}

/* ---- Showing images ---- */

static Display choose_display(bool ascii)
{
    const char *term = getenv("TERM"), *depth = getenv("COLORTERM");
    if (ascii || !isatty(STDOUT_FILENO) || getenv("NO_COLOR") || !term || !strcmp(term, "dumb"))
        return ASCII;
    if (depth && (!strcmp(depth, "truecolor") || !strcmp(depth, "24bit")))
        return GREY_24_BIT;
    return GREY_256;
}

static int images_per_row(void)
{
    struct winsize size;
    int columns = 80;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
        columns = size.ws_col;
    int fit = (columns + GAP) / (SIDE + GAP);
    return fit < 1 ? 1 : fit > 5 ? 5 : fit;
}

/* Two pixels, one above the other, as one character. */
static void print_pixels(Display display, int top, int bottom)
{
    static const char ramp[] = " .:-=+*#%@";
    if (display == ASCII)
        putchar(ramp[(top + bottom) * (int)(sizeof ramp - 2) / (2 * 255)]);
    else if (display == GREY_256)
        printf("\x1b[38;5;%d;48;5;%dm\u2580", 232 + top * 23 / 255, 232 + bottom * 23 / 255);
    else
        printf("\x1b[38;2;%d;%d;%d;48;2;%d;%d;%dm\u2580", top, top, top, bottom, bottom, bottom);
}

static void print_caption(Display display, uint8_t label, Guess guess)
{
    bool right = guess.class == label;
    char text[64];
    int length = right
        ? snprintf(text, sizeof text, "%s %.0f%%", class_name[label], 100 * (double)guess.confidence)
        : snprintf(text, sizeof text, "%s %.0f%%, is %s", class_name[guess.class],
                   100 * (double)guess.confidence, class_name[label]);
    if (display == ASCII)
        printf("%s", text);
    else
        printf("\x1b[%dm%s\x1b[0m", right ? 32 : 31, text);
    printf("%*s", length < SIDE + GAP ? SIDE + GAP - length : 1, "");
}

/* The images side by side, each above its caption. */
static void show_row(Display display, const Dataset *data, const Guess *guesses,
                     const size_t *which, int count)
{
    for (int y = 0; y < SIDE; y += 2) {
        for (int i = 0; i < count; i++) {
            const uint8_t *row = data->pixels + which[i] * PIXELS + y * SIDE;
            for (int x = 0; x < SIDE; x++)
                print_pixels(display, row[x], row[x + SIDE]);
            printf("%s%*s", display == ASCII ? "" : "\x1b[0m", GAP, "");
        }
        putchar('\n');
    }
    for (int i = 0; i < count; i++)
        print_caption(display, data->labels[which[i]], guesses[which[i]]);
    printf("\n\n");
}

/* The mistakes of highest confidence, surest first; fewer than room if there are fewer. */
static int surest_mistakes(const Dataset *data, const Guess *guesses, size_t *which, int room)
{
    int found = 0;
    for (size_t i = 0; i < data->count; i++) {
        if (guesses[i].class == data->labels[i])
            continue;
        int at = found < room ? found++ : room;
        while (at > 0 && guesses[which[at - 1]].confidence < guesses[i].confidence) {
            if (at < room)
                which[at] = which[at - 1];
            at--;
        }
        if (at < room)
            which[at] = i;
    }
    return found;
}

static void show_some(Display display, const Dataset *data, const Guess *guesses)
{
    size_t which[5];
    int room = images_per_row(), count = 0;
    while (count < room && (size_t)count < data->count) {
        which[count] = (size_t)count;
        count++;
    }
    printf("The first images, what the network sees in them, and how sure it is:\n\n");
    show_row(display, data, guesses, which, count);
    count = surest_mistakes(data, guesses, which, room);
    if (count > 0) {
        printf("The mistakes it is surest of:\n\n");
        show_row(display, data, guesses, which, count);
    }
}

/* ---- Reporting ---- */

static Confusion count_up(const Dataset *data, const Guess *guesses)
{
    Confusion m = { .total = data->count };
    for (size_t i = 0; i < data->count; i++) {
        int truth = data->labels[i], guess = guesses[i].class;
        m.cell[truth][guess]++;
        m.truth[truth]++;
        m.guess[guess]++;
        m.right += truth == guess;
    }
    return m;
}

static double ratio(size_t part, size_t whole)
{
    return whole ? (double)part / (double)whole : 0;
}

static void print_classes(const Confusion *m)
{
    const double classes = CLASSES;
    double sum[3] = { 0 };
    printf("%-12s %9s %9s %9s %9s\n", "class", "precision", "recall", "F1", "images");
    for (int c = 0; c < CLASSES; c++) {
        double precision = ratio(m->cell[c][c], m->guess[c]);
        double recall = ratio(m->cell[c][c], m->truth[c]);
        double f1 = ratio(2 * m->cell[c][c], m->guess[c] + m->truth[c]);
        printf("%-12s %9.3f %9.3f %9.3f %9zu\n", class_name[c], precision, recall, f1, m->truth[c]);
        sum[0] += precision;
        sum[1] += recall;
        sum[2] += f1;
    }
    printf("%-12s %9.3f %9.3f %9.3f %9zu\n\n", "mean", sum[0] / classes, sum[1] / classes,
           sum[2] / classes, m->total);
}

static void print_confusion(const Confusion *m)
{
    printf("Confusion: a row for each true class, a column for each predicted one.\n%-12s", "");
    for (int c = 0; c < CLASSES; c++)
        printf(" %5.5s", class_name[c]);
    for (int truth = 0; truth < CLASSES; truth++) {
        printf("\n%-12s", class_name[truth]);
        for (int guess = 0; guess < CLASSES; guess++)
            if (m->cell[truth][guess])
                printf(" %5zu", m->cell[truth][guess]);
            else
                printf(" %5s", ".");
    }
    printf("\n\n");
}

static int report(const Dataset *data, const Guess *guesses, double elapsed, const Options *options)
{
    Confusion m = count_up(data, guesses);
    double accuracy = ratio(m.right, m.total);
    show_some(choose_display(options->ascii), data, guesses);
    print_classes(&m);
    print_confusion(&m);
    printf("accuracy  %.2f %%, %zu of %zu images\n", 100 * accuracy, m.right, m.total);
    printf("speed     %.0f images/s, %.1f us each, one at a time on one thread\n",
           elapsed > 0 ? (double)m.total / elapsed : 0, 1e6 * elapsed / (double)m.total);
    if (accuracy < options->at_least) {
        fprintf(stderr, "fashion: expected an accuracy of %.2f %% or more\n",
                100 * options->at_least);
        return 1;
    }
    if (fflush(stdout) != 0) {
        fprintf(stderr, "fashion: output: %s\n", strerror(errno));
        return 1;
    }
    return 0;
}

/* ---- Command line ---- */

static bool parse_ratio(const char *text, double *value)
{
    char *end;
    *value = strtod(text, &end);
    return end != text && !*end && *value >= 0 && *value <= 1;
}

static bool parse_options(int argc, char **argv, Options *options)
{
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--ascii"))
            options->ascii = true;
        else if (!strcmp(argv[i], "--at-least") && i + 1 < argc &&
                 parse_ratio(argv[i + 1], &options->at_least))
            i++;
        else if (argv[i][0] == '-')
            return false;
        else if (!options->images)
            options->images = argv[i];
        else if (!options->labels)
            options->labels = argv[i];
        else
            return false;
    }
    return options->labels != NULL;
}

int main(int argc, char **argv)
{
    Options options = { 0 };
    if (!parse_options(argc, argv, &options)) {
        fprintf(stderr, "usage: fashion IMAGES LABELS [--at-least 0..1] [--ascii]\n");
        return 2;
    }
    Dataset data = { 0 };
    Guess *guesses = NULL;
    double elapsed;
    int status = 1;
    if (read_images(options.images, &data) && read_labels(options.labels, &data)) {
        guesses = malloc(data.count * sizeof *guesses);
        if (!guesses)
            fprintf(stderr, "fashion: no memory for %zu results\n", data.count);
        else if (classify(&data, guesses, &elapsed))
            status = report(&data, guesses, elapsed, &options);
    }
    free(guesses);
    free(data.labels);
    free(data.pixels);
    return status;
}
