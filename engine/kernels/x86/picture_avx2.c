/*
 * Pictures: colour conversion and resizing, AVX2. See picture.h.
 *
 * A weight has 24 bits with its sign, which no multiplication of bytes or words takes: its parts
 * `high` and `low` are multiplied by pairs of taps and summed apart (vpmaddwd), and put together at
 * the end. Integers throughout, so that bytes are those of the scalar tier.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include <immintrin.h>
#include <string.h>

#include "kernels/kernels.h"

#define CHUNK 32 /* pixels converted at once */

/** 32 bytes from each of y, u, v, for 32 pixels. */
typedef struct {
    __m256i y, u, v;
} Samples;

static inline __m256i load(const uint8_t *from)
{
    return _mm256_loadu_si256((const __m256i *)from);
}

static inline __m128i load_half(const uint8_t *from)
{
    return _mm_loadu_si128((const __m128i *)from);
}

static inline void store(uint8_t *to, __m256i value)
{
    _mm256_storeu_si256((__m256i *)to, value);
}

/** 16 bytes to 32, each twice. */
static inline __m256i double_bytes(__m128i half)
{
    return _mm256_set_m128i(_mm_unpackhi_epi8(half, half), _mm_unpacklo_epi8(half, half));
}

/** 16 pairs of bytes: byte `which` of each pair, twice. */
static inline __m256i double_of_pairs(__m256i pairs, int which)
{
    const __m256i even = _mm256_setr_epi8(0, 0, 2, 2, 4, 4, 6, 6, 8, 8, 10, 10, 12, 12, 14, 14, 0,
                                          0, 2, 2, 4, 4, 6, 6, 8, 8, 10, 10, 12, 12, 14, 14);

    return _mm256_shuffle_epi8(pairs, _mm256_add_epi8(even, _mm256_set1_epi8((char)which)));
}

static inline Samples load_planar(const FastvlmYuvRow *row, size_t x)
{
    if (row->chroma_shift == 0)
        return (Samples){load(row->y + x), load(row->u + x), load(row->v + x)};
    return (Samples){load(row->y + x), double_bytes(load_half(row->u + x / 2)),
                     double_bytes(load_half(row->v + x / 2))};
}

static inline Samples split_pairs(__m256i y, __m256i pairs, int v_first)
{
    return (Samples){y, double_of_pairs(pairs, v_first), double_of_pairs(pairs, !v_first)};
}

/** Cb and Cr alternate, in either order. */
static inline Samples load_paired(const FastvlmYuvRow *row, size_t x)
{
    const int v_first = row->v < row->u;

    return split_pairs(load(row->y + x), load((v_first ? row->v : row->u) + x), v_first);
}

/** Every second byte of 64 is a Y, the first or the second one; the others are pairs of chroma. */
static inline Samples load_packed(const FastvlmYuvRow *row, size_t x)
{
    const __m256i low_bytes = _mm256_set1_epi16(0xff);
    const uint8_t *base = row->u < row->y ? row->u : row->y;
    const __m256i a = load(base + 2 * x), b = load(base + 2 * x + 32);
    const __m256i even = _mm256_permute4x64_epi64(
        _mm256_packus_epi16(_mm256_and_si256(a, low_bytes), _mm256_and_si256(b, low_bytes)), 0xd8);
    const __m256i odd = _mm256_permute4x64_epi64(
        _mm256_packus_epi16(_mm256_srli_epi16(a, 8), _mm256_srli_epi16(b, 8)), 0xd8);

    return base == row->y ? split_pairs(even, odd, 0) : split_pairs(odd, even, 0);
}

static inline Samples load_grey(const FastvlmYuvRow *row, size_t x)
{
    const __m256i middle = _mm256_set1_epi8((char)128);

    return (Samples){load(row->y + x), middle, middle};
}

/** Any layout, `n` pixels: for the end of a row. */
static Samples load_tail(const FastvlmYuvRow *row, size_t x, size_t n)
{
    uint8_t y[CHUNK] = {0}, u[CHUNK], v[CHUNK];

    memset(u, 128, sizeof u);
    memset(v, 128, sizeof v);
    for (size_t i = 0; i < n; i++) {
        const size_t at = ((x + i) >> row->chroma_shift) * (size_t)row->chroma_step;

        y[i] = row->y[(x + i) * (size_t)row->y_step];
        u[i] = row->u ? row->u[at] : 128;
        v[i] = row->v ? row->v[at] : 128;
    }
    return (Samples){load(y), load(u), load(v)};
}

/** The factors, each in all lanes. */
typedef struct {
    __m256i y_scale, bias, red_v, green_u, green_v, blue_u;
} Factors;

/** 16 words each of red, green, blue, Q0, not yet clamped; `y` is Q8, `u` and `v` Q8 signed. */
static inline void convert_words(const Factors *f, __m256i y, __m256i u, __m256i v, __m256i rgb[3])
{
    const __m256i level =
        _mm256_add_epi16(_mm256_mulhrs_epi16(_mm256_srli_epi16(y, 1), f->y_scale), f->bias);
    __m256i green;

    u = _mm256_srai_epi16(u, 1);
    v = _mm256_srai_epi16(v, 1);
    green = _mm256_sub_epi16(level, _mm256_mulhrs_epi16(u, f->green_u));
    rgb[0] = _mm256_srai_epi16(_mm256_add_epi16(level, _mm256_mulhrs_epi16(v, f->red_v)), 5);
    rgb[1] = _mm256_srai_epi16(_mm256_sub_epi16(green, _mm256_mulhrs_epi16(v, f->green_v)), 5);
    rgb[2] = _mm256_srai_epi16(_mm256_add_epi16(level, _mm256_mulhrs_epi16(u, f->blue_u)), 5);
}

/** 32 pixels to out [32, 4]. */
static inline void convert_chunk(const Factors *f, Samples s, uint8_t *out)
{
    const __m256i zero = _mm256_setzero_si256(), sign = _mm256_set1_epi8((char)128);
    const __m256i u = _mm256_xor_si256(s.u, sign), v = _mm256_xor_si256(s.v, sign);
    __m256i low[3], high[3], rgb[3], rg[2], bx[2], p[4];

    convert_words(f, _mm256_unpacklo_epi8(zero, s.y), _mm256_unpacklo_epi8(zero, u),
                  _mm256_unpacklo_epi8(zero, v), low);
    convert_words(f, _mm256_unpackhi_epi8(zero, s.y), _mm256_unpackhi_epi8(zero, u),
                  _mm256_unpackhi_epi8(zero, v), high);
    for (int c = 0; c < 3; c++)
        rgb[c] = _mm256_packus_epi16(low[c], high[c]);
    rg[0] = _mm256_unpacklo_epi8(rgb[0], rgb[1]);
    rg[1] = _mm256_unpackhi_epi8(rgb[0], rgb[1]);
    bx[0] = _mm256_unpacklo_epi8(rgb[2], zero);
    bx[1] = _mm256_unpackhi_epi8(rgb[2], zero);
    /* Of each lane's 16 pixels, four each: 0-3, 4-7, 8-11, 12-15. */
    for (int i = 0; i < 2; i++) {
        p[2 * i] = _mm256_unpacklo_epi16(rg[i], bx[i]);
        p[2 * i + 1] = _mm256_unpackhi_epi16(rg[i], bx[i]);
    }
    store(out, _mm256_permute2x128_si256(p[0], p[1], 0x20));
    store(out + 32, _mm256_permute2x128_si256(p[2], p[3], 0x20));
    store(out + 64, _mm256_permute2x128_si256(p[0], p[1], 0x31));
    store(out + 96, _mm256_permute2x128_si256(p[2], p[3], 0x31));
}

static Factors spread(const FastvlmYuvMatrix *matrix)
{
    return (Factors){
        .y_scale = _mm256_set1_epi16(matrix->y_scale),
        .bias = _mm256_set1_epi16(matrix->bias),
        .red_v = _mm256_set1_epi16(matrix->red_v),
        .green_u = _mm256_set1_epi16(matrix->green_u),
        .green_v = _mm256_set1_epi16(matrix->green_v),
        .blue_u = _mm256_set1_epi16(matrix->blue_u),
    };
}

/** Pixels of whole chunks that `loader` reads; x: in and out. */
#define CONVERT_WITH(loader)           \
    for (; x + CHUNK <= n; x += CHUNK) \
    convert_chunk(&factors, loader(row, x), out + 4 * x)

void fastvlm_yuv_to_rgbx_avx2(const FastvlmYuvRow *row, size_t n, uint8_t *out)
{
    const Factors factors = spread(row->matrix);
    size_t x = 0;

    if (row->y_step == 2)
        CONVERT_WITH(load_packed);
    else if (!row->u)
        CONVERT_WITH(load_grey);
    else if (row->chroma_step == 2)
        CONVERT_WITH(load_paired);
    else
        CONVERT_WITH(load_planar);
    if (x < n) {
        uint8_t tail[4 * CHUNK];

        convert_chunk(&factors, load_tail(row, x, n - x), tail);
        memcpy(out + 4 * x, tail, 4 * (n - x));
    }
}

void fastvlm_packed_to_rgbx_avx2(const FastvlmPackedRow *row, size_t n, uint8_t *out)
{
    const size_t n_bytes = (size_t)row->n_bytes;
    uint8_t order[16];
    size_t x = 0;

    for (size_t i = 0; i < 16; i++)
        order[i] = i % 4 == 3 ? 0x80 : (uint8_t)(i / 4 * n_bytes + row->order[i % 4]);
    const __m128i shuffle = load_half(order);
    /* All 16 bytes must be there, though of three a pixel the last four are not wanted. */
    for (; x * n_bytes + 16 <= n * n_bytes; x += 4)
        _mm_storeu_si128((__m128i *)(out + 4 * x),
                         _mm_shuffle_epi8(load_half(row->data + x * n_bytes), shuffle));
    for (; x < n; x++) {
        const uint8_t *pixel = row->data + x * n_bytes;

        out[4 * x] = pixel[row->order[0]];
        out[4 * x + 1] = pixel[row->order[1]];
        out[4 * x + 2] = pixel[row->order[2]];
        out[4 * x + 3] = 0;
    }
}

/** Two taps' weights in all lanes. */
static inline __m256i spread_pair(const int16_t *weights)
{
    int32_t pair;

    memcpy(&pair, weights, sizeof pair);
    return _mm256_set1_epi32(pair);
}

/** The two sums put together, rounded to whole numbers. */
static inline __m256i round_sums(__m256i high, __m256i low)
{
    const __m256i half = _mm256_set1_epi32(1 << (FASTVLM_WEIGHT_BITS - 1));
    const __m256i sum = _mm256_add_epi32(_mm256_slli_epi32(high, FASTVLM_WEIGHT_LOW_BITS),
                                         _mm256_add_epi32(low, half));

    return _mm256_srai_epi32(sum, FASTVLM_WEIGHT_BITS);
}

/** One output pixel of two rows, a row in each lane: bytes R, G, B, X at each lane's beginning. */
static inline __m256i resize_pixel(const uint8_t *row0, const uint8_t *row1, const int16_t *high,
                                   const int16_t *low, int n_taps)
{
    /* Of four pixels: the first two, or the last two, as pairs of words R R G G B B X X. */
    const __m256i first = _mm256_setr_epi8(0, -1, 4, -1, 1, -1, 5, -1, 2, -1, 6, -1, 3, -1, 7, -1,
                                           0, -1, 4, -1, 1, -1, 5, -1, 2, -1, 6, -1, 3, -1, 7, -1);
    const __m256i second =
        _mm256_setr_epi8(8, -1, 12, -1, 9, -1, 13, -1, 10, -1, 14, -1, 11, -1, 15, -1, 8, -1, 12,
                         -1, 9, -1, 13, -1, 10, -1, 14, -1, 11, -1, 15, -1);
    __m256i high_sum = _mm256_setzero_si256(), low_sum = _mm256_setzero_si256();

    for (int tap = 0; tap < n_taps; tap += 4) {
        const __m256i pixels = _mm256_inserti128_si256(
            _mm256_castsi128_si256(load_half(row0 + 4 * tap)), load_half(row1 + 4 * tap), 1);
        const __m256i a = _mm256_shuffle_epi8(pixels, first);
        const __m256i b = _mm256_shuffle_epi8(pixels, second);

        high_sum = _mm256_add_epi32(high_sum, _mm256_madd_epi16(a, spread_pair(high + tap)));
        low_sum = _mm256_add_epi32(low_sum, _mm256_madd_epi16(a, spread_pair(low + tap)));
        high_sum = _mm256_add_epi32(high_sum, _mm256_madd_epi16(b, spread_pair(high + tap + 2)));
        low_sum = _mm256_add_epi32(low_sum, _mm256_madd_epi16(b, spread_pair(low + tap + 2)));
    }
    const __m256i words = _mm256_packs_epi32(round_sums(high_sum, low_sum), _mm256_setzero_si256());
    return _mm256_packus_epi16(words, words);
}

/** Writes four bytes, of which the last is the next pixel's or nobody's. */
static inline void store_pixel(uint8_t *to, __m128i bytes)
{
    const int32_t pixel = _mm_cvtsi128_si32(bytes);

    memcpy(to, &pixel, sizeof pixel);
}

void fastvlm_resize_across_avx2(const FastvlmResize *resize, int n_rows)
{
    const FastvlmTaps *taps = resize->taps;
    const uint8_t *in = resize->in;
    uint8_t *out = resize->out;

    const int n_taps = taps->n_taps;

    for (int row = 0; row < n_rows;
         row += 2, in += 2 * resize->in_stride, out += 2 * resize->out_stride) {
        const size_t has_second = row + 1 < n_rows;
        const int16_t *high = taps->high, *low = taps->low;
        const uint8_t *in1 = in + has_second * resize->in_stride;
        uint8_t *out1 = out + has_second * resize->out_stride;

        for (int x = 0; x < taps->n_out; x++, high += n_taps, low += n_taps) {
            const size_t at = (size_t)taps->first[x] * 4;
            const __m256i pixels = resize_pixel(in + at, in1 + at, high, low, n_taps);

            store_pixel(out + 3 * x, _mm256_castsi256_si128(pixels));
            store_pixel(out1 + 3 * x, _mm256_extracti128_si256(pixels, 1));
        }
    }
}

/** 32 columns of one output row. */
static inline __m256i resize_columns(const uint8_t *in, size_t in_stride, const int16_t *high,
                                     const int16_t *low, int n_taps)
{
    const __m256i zero = _mm256_setzero_si256();
    __m256i high_sum[4] = {zero, zero, zero, zero}, low_sum[4] = {zero, zero, zero, zero};

    for (int tap = 0; tap < n_taps; tap += 2, in += 2 * in_stride) {
        const __m256i a = load(in), b = load(in + in_stride);
        const __m256i ab[2] = {_mm256_unpacklo_epi8(a, b), _mm256_unpackhi_epi8(a, b)};
        const __m256i h = spread_pair(high + tap), l = spread_pair(low + tap);

        for (int i = 0; i < 4; i++) {
            const __m256i pairs = i % 2 ? _mm256_unpackhi_epi8(ab[i / 2], zero)
                                        : _mm256_unpacklo_epi8(ab[i / 2], zero);

            high_sum[i] = _mm256_add_epi32(high_sum[i], _mm256_madd_epi16(pairs, h));
            low_sum[i] = _mm256_add_epi32(low_sum[i], _mm256_madd_epi16(pairs, l));
        }
    }
    return _mm256_packus_epi16(_mm256_packs_epi32(round_sums(high_sum[0], low_sum[0]),
                                                  round_sums(high_sum[1], low_sum[1])),
                               _mm256_packs_epi32(round_sums(high_sum[2], low_sum[2]),
                                                  round_sums(high_sum[3], low_sum[3])));
}

void fastvlm_resize_down_avx2(const FastvlmResize *resize, int y, size_t n)
{
    const FastvlmTaps *taps = resize->taps;
    const size_t in_stride = resize->in_stride;
    uint8_t *out = resize->out;

    const int16_t *high = taps->high + (size_t)y * (size_t)taps->n_taps;
    const int16_t *low = taps->low + (size_t)y * (size_t)taps->n_taps;
    const uint8_t *in = resize->in + (size_t)taps->first[y] * in_stride;
    size_t i = 0;

    for (; i + FASTVLM_RESIZE_COLUMNS <= n; i += FASTVLM_RESIZE_COLUMNS)
        store(out + i, resize_columns(in + i, in_stride, high, low, taps->n_taps));
    if (i < n) {
        uint8_t tail[FASTVLM_RESIZE_COLUMNS];

        store(tail, resize_columns(in + i, in_stride, high, low, taps->n_taps));
        memcpy(out + i, tail, n - i);
    }
}
