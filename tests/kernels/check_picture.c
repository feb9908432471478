/*
 * Holds the picture kernels of every tier against the scalar ones: the same bytes.
 *
 * Widths go around the vectors' and include primes; operands are misaligned by a byte and end where
 * memory that may not be read begins; outputs stand between canaries. Needs no GLib. Prints TAP.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tiers.h"

#define N_CANARIES 64
#define CANARY 0xa5
#define MAX_BYTES (1 << 16)

/** Memory before a page that may not be touched. */
typedef struct {
    uint8_t *end;
} Guarded;

typedef struct {
    uint8_t memory[MAX_BYTES + 2 * N_CANARIES];
    size_t n;
} Output;

static Guarded sources[3];
static Output expected, found;
static uint64_t random_state;
static int n_failed;
static const FastvlmKernels *reference, *tier;

static uint32_t draw(void)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(random_state >> 33);
}

static int make_guarded(Guarded *guarded)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE), size = 4 * MAX_BYTES;
    uint8_t *memory =
        mmap(NULL, size + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (memory == MAP_FAILED || mprotect(memory + size, page, PROT_NONE) != 0)
        return 0;
    guarded->end = memory + size;
    return 1;
}

/** The last n bytes before the page, random. */
static uint8_t *prepare_source(Guarded *guarded, size_t n)
{
    for (size_t i = 0; i < n; i++)
        guarded->end[-1 - (long)i] = (uint8_t)draw();
    return guarded->end - n;
}

static uint8_t *prepare(Output *output, size_t n)
{
    output->n = n;
    memset(output->memory, CANARY, n + 2 * N_CANARIES);
    return output->memory + N_CANARIES;
}

static void fail(const char *what, const char *detail, long n)
{
    if (n_failed++ < 20)
        printf("# %s %s: %s %ld\n", fastvlm_tier_to_string(tier->tier), what, detail, n);
}

/** The same bytes, and canaries whole but for `n_spare` behind the output. */
static void compare(const char *what, long n, size_t n_spare)
{
    const uint8_t *end = found.memory + N_CANARIES + found.n;

    if (memcmp(expected.memory + N_CANARIES, found.memory + N_CANARIES, found.n) != 0)
        fail(what, "differs, size", n);
    for (size_t i = 0; i < N_CANARIES; i++)
        if (found.memory[i] != CANARY || (i >= n_spare && end[i] != CANARY))
            fail(what, "wrote outside, size", n);
}

static FastvlmYuvMatrix draw_matrix(void)
{
    return (FastvlmYuvMatrix){
        .y_scale = (int16_t)(8192 + draw() % 1400),
        .bias = (int16_t)(16 - (int)(draw() % 600)),
        .red_v = (int16_t)(11000 + draw() % 4000),
        .green_u = (int16_t)(draw() % 5000),
        .green_v = (int16_t)(draw() % 7000),
        .blue_u = (int16_t)(14000 + draw() % 4000),
    };
}

static void check_yuv(const char *what, FastvlmYuvRow row, size_t n)
{
    const FastvlmYuvMatrix matrix = draw_matrix();

    row.matrix = &matrix;
    reference->yuv_to_rgbx(&row, n, prepare(&expected, 4 * n));
    tier->yuv_to_rgbx(&row, n, prepare(&found, 4 * n));
    compare(what, (long)n, 0);
}

static void check_yuv_rows(size_t n)
{
    const size_t n_half = (n + 1) / 2;
    uint8_t *y = prepare_source(&sources[0], n);
    uint8_t *u = prepare_source(&sources[1], n), *v = prepare_source(&sources[2], n);

    check_yuv("grey", (FastvlmYuvRow){.y = y, .y_step = 1}, n);
    check_yuv("planar, whole",
              (FastvlmYuvRow){.y = y, .u = u, .v = v, .y_step = 1, .chroma_step = 1}, n);
    u = prepare_source(&sources[1], n_half);
    v = prepare_source(&sources[2], n_half);
    check_yuv(
        "planar, half",
        (FastvlmYuvRow){.y = y, .u = u, .v = v, .y_step = 1, .chroma_step = 1, .chroma_shift = 1},
        n);
    u = prepare_source(&sources[1], 2 * n_half);
    for (int swap = 0; swap < 2; swap++)
        check_yuv("paired",
                  (FastvlmYuvRow){.y = y,
                                  .u = u + swap,
                                  .v = u + !swap,
                                  .y_step = 1,
                                  .chroma_step = 2,
                                  .chroma_shift = 1},
                  n);
    y = prepare_source(&sources[0], 4 * n_half);
    for (int swap = 0; swap < 2; swap++)
        check_yuv("packed",
                  (FastvlmYuvRow){.y = y + swap,
                                  .u = y + !swap,
                                  .v = y + !swap + 2,
                                  .y_step = 2,
                                  .chroma_step = 4,
                                  .chroma_shift = 1},
                  n);
}

static void check_packed(size_t n)
{
    static const FastvlmPackedRow rows[] = {{.n_bytes = 3, .order = {0, 1, 2}},
                                            {.n_bytes = 3, .order = {2, 1, 0}},
                                            {.n_bytes = 4, .order = {0, 1, 2}},
                                            {.n_bytes = 4, .order = {3, 2, 1}}};

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        FastvlmPackedRow row = rows[i];

        row.data = prepare_source(&sources[0], n * (size_t)row.n_bytes);
        reference->packed_to_rgbx(&row, n, prepare(&expected, 4 * n));
        tier->packed_to_rgbx(&row, n, prepare(&found, 4 * n));
        compare("packed_to_rgbx", (long)n, 0);
    }
}

/** Random weights that add up to one or a little more, with negative ones; inputs all there. */
static FastvlmTaps draw_taps(int n_out, int n_taps, int n_in)
{
    static int32_t first[1024];
    static int16_t high[1 << 16], low[1 << 16];

    for (int i = 0; i < n_out; i++)
        first[i] = (int32_t)(draw() % (uint32_t)(n_in - n_taps + 1));
    for (int i = 0; i < n_out * n_taps; i++) {
        const int one = 1 << FASTVLM_WEIGHT_BITS;
        const int weight = (int)(draw() % (uint32_t)(3 * one / n_taps)) - one / n_taps / 2;

        high[i] = (int16_t)(weight >> FASTVLM_WEIGHT_LOW_BITS);
        low[i] = (int16_t)(weight & ((1 << FASTVLM_WEIGHT_LOW_BITS) - 1));
    }
    return (FastvlmTaps){n_out, n_taps, first, high, low};
}

static void check_across(int n_out, int n_taps, int n_in, int n_rows)
{
    const FastvlmTaps taps = draw_taps(n_out, n_taps, n_in);
    const size_t in_stride = (size_t)n_in * 4, row = (size_t)n_out * 3, out_stride = row + 5;
    const size_t n = out_stride * (size_t)(n_rows - 1) + row;
    const uint8_t *in = prepare_source(&sources[0], in_stride * (size_t)n_rows);

    FastvlmResize resize = {&taps, in, in_stride, prepare(&expected, n), out_stride};

    reference->resize_across(&resize, n_rows);
    resize.out = prepare(&found, n);
    tier->resize_across(&resize, n_rows);
    /* Between rows one byte may be touched, and nothing more. */
    for (int y = 0; y + 1 < n_rows; y++) {
        const size_t behind = N_CANARIES + (size_t)y * out_stride + row;

        expected.memory[behind] = found.memory[behind];
    }
    compare("resize_across", n_out, 1);
}

static void check_down(int n_taps, int n_in, size_t n)
{
    const FastvlmTaps taps = draw_taps(3, n_taps, n_in);
    const size_t stride =
        (n + FASTVLM_RESIZE_COLUMNS - 1) / FASTVLM_RESIZE_COLUMNS * FASTVLM_RESIZE_COLUMNS;
    const uint8_t *in = prepare_source(&sources[0], stride * (size_t)n_in);

    for (int y = 0; y < 3; y++) {
        FastvlmResize resize = {&taps, in, stride, prepare(&expected, n), n};

        reference->resize_down(&resize, y, n);
        resize.out = prepare(&found, n);
        tier->resize_down(&resize, y, n);
        compare("resize_down", (long)n, 0);
    }
}

static void check_all(void)
{
    for (size_t n = 1; n <= 200; n++) {
        check_yuv_rows(n);
        check_packed(n);
    }
    check_yuv_rows(1921);
    check_packed(1921);
    for (int n_out = 1; n_out <= 40; n_out++)
        for (int n_taps = 4; n_taps <= 16; n_taps += 4)
            check_across(n_out, n_taps, n_taps + n_out % 5 * 7, 1 + n_out % 3);
    check_across(5, 2048, 2053, 3);
    for (size_t n = 1; n <= 100; n++)
        for (int n_taps = 4; n_taps <= 16; n_taps += 4)
            check_down(n_taps, n_taps + (int)n % 4, n);
    check_down(2048, 2049, 33);
}

int main(void)
{
    int n_tests = 0, n_bad = 0;

    for (int i = 0; i < 3; i++)
        if (!make_guarded(&sources[i]))
            return EXIT_FAILURE;
    reference = fastvlm_kernels_get(FASTVLM_TIER_SCALAR);
    for (int t = 0; t < FASTVLM_N_TIERS; t++) {
        if (!tier_is_built((FastvlmTier)t))
            continue;
        n_tests++;
        tier = fastvlm_kernels_get((FastvlmTier)t);
        n_failed = 0;
        random_state = 1;
        if (!tier_is_run((FastvlmTier)t)) {
            printf("ok %d - %s # SKIP this processor has no %s\n", n_tests,
                   fastvlm_tier_to_string(tier->tier), fastvlm_tier_to_string(tier->tier));
            continue;
        }
        check_all();
        printf("%sok %d - %s\n", n_failed ? "not " : "", n_tests,
               fastvlm_tier_to_string(tier->tier));
        n_bad += n_failed != 0;
    }
    printf("1..%d\n", n_tests);
    return n_bad ? EXIT_FAILURE : EXIT_SUCCESS;
}
