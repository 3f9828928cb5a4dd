// SPDX-License-Identifier: Apache-2.0
// Places of buffers whose size only the run knows.
#include "../../runtime/room.h"
#include "../../runtime/stack.h"
#include <criterion/criterion.h>

static const short none[] = {-1};

Test(room, first_fit) {
    cnn_span s[4] = {{0, 0}};
    static const short after0[] = {0, -1}, after1[] = {0, 1, -1}, after2[] = {0, 2, -1};
    cr_assert_eq(cnn_place(s, 0, none, 64, 1024, 100), CNN_OK);
    cr_assert(s[0].at == 64 && s[0].end == 192);
    cr_assert_eq(cnn_place(s, 1, after0, 64, 1024, 64), CNN_OK);
    cr_assert(s[1].at == 192 && s[1].end == 256);
    cr_assert_eq(cnn_place(s, 2, after1, 64, 1024, 1), CNN_OK);
    cr_assert(s[2].at == 256 && s[2].end == 320);
    cr_assert_eq(cnn_place(s, 3, after2, 64, 1024, 64), CNN_OK, "the place of 1, which is over");
    cr_assert_eq(s[3].at, 192);
    cr_assert_eq(cnn_place(s, 3, after2, 64, 1024, 65), CNN_OK);
    cr_assert_eq(s[3].at, 320, "does not fit between");
}

Test(room, limits) {
    cnn_span s[2] = {{0, 0}};
    static const short after0[] = {0, -1};
    cr_assert_eq(cnn_place(s, 0, none, 0, 100, 100), CNN_OK);
    cr_assert_eq(s[0].end, 100, "rounded up, but not past the work area");
    cr_assert_eq(cnn_place(s, 1, after0, 0, 100, 1), CNN_ECAPACITY);
    cr_assert_eq(cnn_place(s, 1, after0, 0, 100, 0), CNN_OK);
    cr_assert_eq(cnn_place(s, 1, none, 0, 100, 101), CNN_ECAPACITY);
    cr_assert_eq(cnn_place(s, 1, none, 64, 0, 0), CNN_ECAPACITY);
    cr_assert_eq(cnn_place(s, 1, none, 0, 100, -1), CNN_ECAPACITY);
    cr_assert_eq(cnn_place(s, 1, none, 0, 100, INT64_MAX), CNN_ECAPACITY);
}

Test(room, growth_leaves_room) {
    static unsigned char work[4096];
    cnn_span s[2] = {{0, 64}, {64, 128}};
    static const short first[] = {0, -1}, second[] = {1, -1};
    cr_assert_eq(cnn_grow(work, s, 1, first, 0, 4096, 1000), CNN_OK);
    cr_assert(s[1].at == 64 && s[1].end == 64 + 1024, "more than twice as much, and no more than needed");
    cr_assert_eq(cnn_grow(work, s, 0, second, 0, 4096, 1000), CNN_OK);
    cr_assert_eq(s[0].at, 64 + 1024);
}

Test(room, growth) {
    static unsigned char work[1024];
    cnn_span s[2] = {{0, 0}};
    static const short other[] = {1, -1};
    cr_assert_eq(cnn_place(s, 1, none, 0, 1024, 64), CNN_OK);
    for (int n = 1; n <= 896; n++) {
        cr_assert_eq(cnn_grow(work, s, 0, other, 0, 1024, n), CNN_OK, "%d bytes", n);
        cr_assert(s[0].at >= 64 && s[0].end <= 1024 && s[0].end - s[0].at >= (size_t)n);
        work[s[0].at + (size_t)n - 1] = (unsigned char)n;
        for (int i = 1; i <= n; i++) cr_assert_eq(work[s[0].at + (size_t)i - 1], (unsigned char)i, "byte %d of %d", i, n);
        if (n == 100) { // in the way: it moves, and keeps its bytes
            s[1].at = s[0].end, s[1].end = s[0].end + 64;
        }
        if (n == 300) s[1].at = 0, s[1].end = 64;
    }
    cr_assert_eq(cnn_grow(work, s, 0, other, 0, 1024, 1025), CNN_ECAPACITY);
    cr_assert_eq(cnn_grow(work, s, 0, other, 0, 1024, -1), CNN_ECAPACITY);
}

Test(stack, behind_the_highest_below) {
    static const int below[] = {-1, 0, -1, -1, 1, 2, -1};
    int64_t place[5];
    cr_assert_eq(cnn_stack(4, (const int64_t[]){128, 64, 512, 64}, below, place), 576);
    cr_assert(place[0] == 0 && place[1] == 128 && place[2] == 0 && place[3] == 512 && place[4] == 576);
    cr_assert_eq(cnn_stack(4, (const int64_t[]){128, 640, 512, 64}, below, place), 832, "other sizes, another one is the highest");
    cr_assert_eq(place[3], 768);
    cr_assert_eq(cnn_stack(0, NULL, below, place), 0);
}
