/*
 * Depthwise convolution, 7x7 taps, of values rounded to bf16: AVX-512 BF16.
 *
 *     part of the output -> 16 channels at a time: input -> L1, two rows in a word -> blocks
 *
 * vdpbf16ps adds two products, here of a pixel and of the one below it. Rows 2 i and 2 i + 1 of the output
 * read the same four pairs of rows, each with weights of its own, of which one is 0:
 *
 *     2 i        (w0 w1) (w2 w3) (w4 w5) (w6 0)
 *     2 i + 1    (0 w0)  (w1 w2) (w3 w4) (w5 w6)
 *
 * That is 4/7 of the multiply-adds' instructions and half of the copy in L1. As in conv_dw.h the copy has
 * zeros around the picture. Pairs begin at the same rows wherever a tile begins, so that every output is
 * the same chain of sums.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include <string.h>

#include "kernels/kernels.h"
#include "kernels/x86/block.h"
#include "kernels/x86/simd_avx512.h"

#define CHANNELS 16
#define TAPS 7
#define PAIRS 4 /* of rows that a pair of output rows reads */
#define BLOCK_PIXELS 8
#define COPY_PIXELS 420 /* of a part: 27 KB */
#define PART_ROWS 16

/** What a chunk of 16 channels is computed from, in L1. */
typedef struct {
    _Alignas(64) uint32_t input[COPY_PIXELS * CHANNELS]; /* [pairs of rows, n_columns, 16] */
    _Alignas(64) uint32_t weight[2 * PAIRS * TAPS * CHANNELS];
    float bias[CHANNELS];
} Copy;

/** A part of the output. */
typedef struct {
    const FastvlmConvDw *conv;
    FastvlmConvTile tile;
    int y; /* its first row, or the one above: even */
    int n_pairs;
    int n_columns; /* of the copy */
} Part;

/** Two rows of 16 values, rounded, in the low and the high halves of words. */
static BLOCK __m512i pair_rows(const float *low, const float *high)
{
    const __m512i order = _mm512_setr_epi32(
        0x100000, 0x110001, 0x120002, 0x130003, 0x140004, 0x150005, 0x160006, 0x170007, 0x180008,
        0x190009, 0x1a000a, 0x1b000b, 0x1c000c, 0x1d000d, 0x1e000e, 0x1f000f);
    const __m512bh rounded = _mm512_cvtne2ps_pbh(_mm512_loadu_ps(high), _mm512_loadu_ps(low));
    __m512i both;

    memcpy(&both, &rounded, sizeof both);
    return _mm512_permutexvar_epi16(order, both);
}

static const float zeros[CHANNELS];

static void copy_weights(const FastvlmConvDw *conv, int channel, Copy *copy)
{
    const float *weight = conv->weight + channel;
    uint32_t *to = copy->weight;

    for (int row = 0; row < 2; row++)
        for (int pair = 0; pair < PAIRS; pair++)
            for (int j = 0; j < TAPS; j++, to += CHANNELS) {
                const int low = 2 * pair - row, high = low + 1;

                _mm512_store_si512(
                    (void *)to,
                    pair_rows(low < 0 ? zeros : weight + (low * TAPS + j) * conv->n_channels,
                              high < TAPS ? weight + (high * TAPS + j) * conv->n_channels : zeros));
            }
    memcpy(copy->bias, conv->bias + channel, sizeof copy->bias);
}

/** Rows y and y + 1 of the input, where they are in the picture, from column x on. */
static BLOCK void copy_pair(const Part *part, int y, int x, int channel, uint32_t *to)
{
    const FastvlmConvDw *conv = part->conv;
    const ptrdiff_t row_step = (ptrdiff_t)conv->width * conv->n_channels;
    const int begin = x < 0 ? -x : 0;
    const int end = conv->width - x < part->n_columns ? conv->width - x : part->n_columns;
    const int has_low = y >= 0 && y < conv->height, has_high = y >= -1 && y + 1 < conv->height;
    const float *row = conv->input + (ptrdiff_t)(x + begin) * conv->n_channels + channel;
    const float *low = has_low ? row + y * row_step : zeros;
    const float *high = has_high ? row + (y + 1) * row_step : zeros;
    const ptrdiff_t low_step = has_low ? conv->n_channels : 0;
    const ptrdiff_t high_step = has_high ? conv->n_channels : 0;

    memset(to, 0, (size_t)begin * CHANNELS * sizeof *to);
    for (int i = begin; i < end; i++, low += low_step, high += high_step) {
        _mm_prefetch((const char *)(low + CHANNELS), _MM_HINT_T1); /* the next chunk's */
        _mm_prefetch((const char *)(high + CHANNELS), _MM_HINT_T1);
        _mm512_store_si512((void *)(to + i * CHANNELS), pair_rows(low, high));
    }
    memset(to + end * CHANNELS, 0, (size_t)(part->n_columns - end) * CHANNELS * sizeof *to);
}

/** sum + both products of words of bf16. As assembly: see gemm_avx512_bf16.c. */
static BLOCK __m512 add_products(__m512 sum, __m512i a, __m512i b)
{
#ifdef FASTVLM_EMULATE
    return _mm512_dpbf16_ps(sum, a, b);
#else
    __asm__("vdpbf16ps %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b));
    return sum;
#endif
}

/** Two rows of BLOCK_PIXELS pixels; `input` is the first tap of the first. */
static BLOCK void add_taps(const Copy *copy, const uint32_t *input, ptrdiff_t row_step,
                           __m512 sums[2][BLOCK_PIXELS])
{
    const uint32_t *weight = copy->weight;

    for (int pair = 0; pair < PAIRS; pair++, input += row_step, weight += TAPS * CHANNELS)
#pragma GCC unroll 7
        for (int j = 0; j < TAPS; j++) {
            const __m512i first = _mm512_load_si512((const void *)(weight + j * CHANNELS));
            const __m512i second =
                _mm512_load_si512((const void *)(weight + (PAIRS * TAPS + j) * CHANNELS));

#pragma GCC unroll 8
            for (int p = 0; p < BLOCK_PIXELS; p++) {
                const __m512i value = _mm512_load_si512((const void *)(input + (p + j) * CHANNELS));

                sums[0][p] = add_products(sums[0][p], value, first);
                sums[1][p] = add_products(sums[1][p], value, second);
            }
        }
}

/** Rows y and y + 1, pixels x to x + BLOCK_PIXELS - 1, as far as they are the part's. */
static void convolve_block(const Part *part, const Copy *copy, int y, int x, int channel)
{
    const FastvlmConvTile *tile = &part->tile;
    const ptrdiff_t row_step = (ptrdiff_t)part->n_columns * CHANNELS;
    const __m512 bias = _mm512_loadu_ps(copy->bias);
    __m512 sums[2][BLOCK_PIXELS];

#pragma GCC unroll 2
    for (int r = 0; r < 2; r++)
#pragma GCC unroll 8
        for (int p = 0; p < BLOCK_PIXELS; p++)
            sums[r][p] = bias;
    add_taps(copy,
             copy->input + (y - part->y) / 2 * row_step + (ptrdiff_t)(x - tile->x0) * CHANNELS,
             row_step, sums);
#pragma GCC unroll 2
    for (int r = 0; r < 2; r++) {
        float *out = tile->out + (ptrdiff_t)(y + r - tile->y0) * (ptrdiff_t)tile->row_step +
                     (ptrdiff_t)(x - tile->x0) * part->conv->n_channels + channel;

        if (y + r < tile->y0 || y + r >= tile->y1)
            continue;
#pragma GCC unroll 8
        for (int p = 0; p < BLOCK_PIXELS; p++)
            if (x + p < tile->x1)
                _mm512_storeu_ps(out + (ptrdiff_t)p * part->conv->n_channels, sums[r][p]);
    }
}

static void convolve_part(const Part *part)
{
    const FastvlmConvTile *tile = &part->tile;
    Copy copy;

    for (int c = 0; c < part->conv->n_channels; c += CHANNELS) {
        copy_weights(part->conv, c, &copy);
        for (int i = 0; i < part->n_pairs; i++)
            copy_pair(part, part->y - TAPS / 2 + 2 * i, tile->x0 - TAPS / 2, c,
                      copy.input + (ptrdiff_t)i * part->n_columns * CHANNELS);
        for (int y = part->y; y < tile->y1; y += 2)
            for (int x = tile->x0; x < tile->x1; x += BLOCK_PIXELS)
                convolve_block(part, &copy, y, x, c);
    }
}

void fastvlm_conv_dw_f32_avx512_bf16(const FastvlmConvDw *conv, const FastvlmConvTile *tile)
{
    const int first = tile->y0 & ~1;
    const int n_rows = tile->y1 - first < PART_ROWS ? tile->y1 - first : PART_ROWS;
    const int n_pairs = (n_rows + 1) / 2 + PAIRS - 1;
    const int most = (COPY_PIXELS / n_pairs - (TAPS - 1)) / BLOCK_PIXELS * BLOCK_PIXELS;

    if (!conv->is_bf16 || conv->kernel_size != TAPS || conv->stride != 1 || conv->multiplier != 1 ||
        conv->n_channels % CHANNELS != 0) {
        fastvlm_conv_dw_f32_avx512(conv, tile);
        return;
    }
    for (int y = first; y < tile->y1; y += PART_ROWS)
        for (int x = tile->x0; x < tile->x1; x += most) {
            const int y0 = y < tile->y0 ? tile->y0 : y;
            const int n_pixels = tile->x1 - x < most ? tile->x1 - x : most;
            const int n_whole = (n_pixels + BLOCK_PIXELS - 1) / BLOCK_PIXELS * BLOCK_PIXELS;
            const Part part = {
                .conv = conv,
                .tile = {.y0 = y0,
                         .y1 = tile->y1 - y < PART_ROWS ? tile->y1 : y + PART_ROWS,
                         .x0 = x,
                         .x1 = x + n_pixels,
                         .out = tile->out + (size_t)(y0 - tile->y0) * tile->row_step +
                                (size_t)(x - tile->x0) * (size_t)conv->n_channels,
                         .row_step = tile->row_step},
                .y = y,
                .n_pairs = n_pairs,
                .n_columns = n_whole + TAPS - 1,
            };

            convolve_part(&part);
        }
}
