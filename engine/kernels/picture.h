/*
 * Pictures: samples of any layout to RGBX, and resizing in fixed point, one direction after the
 * other.
 *
 *     row of samples -> RGBX [n, 4] -> resized across: RGB [n_out, 3] -> rows resized down -> RGB
 *
 * RGBX is R, G, B and a byte that means nothing: four bytes a pixel, so that vectors find pixels at
 * even distances. All tiers give the same bytes.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_KERNELS_PICTURE_H
#define FASTVLM_KERNELS_PICTURE_H

#include <stddef.h>
#include <stdint.h>

/**
 * Y, Cb, Cr to R, G, B:
 *
 *     level = (y << 7) * y_scale + bias         R = level + red_v * (cr - 128)
 *     B = level + blue_u * (cb - 128)           G = level - green_u * (cb - 128) - green_v * (cr - 128)
 *
 * Factors have 13 fractional bits, samples are multiplied by 2^7 first, and each product is rounded
 * to 5 fractional bits, (a * b + 2^14) >> 15; `bias` has 5 too and holds the rounding of the sum.
 */
typedef struct {
    int16_t y_scale;
    int16_t bias;
    int16_t red_v;
    int16_t green_u;
    int16_t green_v;
    int16_t blue_u;
} FastvlmYuvMatrix;

/** One row of Y, Cb and Cr. Pixel x has y[x * y_step] and u, v[(x >> chroma_shift) * chroma_step]. */
typedef struct {
    const FastvlmYuvMatrix *matrix;
    const uint8_t *y;
    const uint8_t *u; /* Cb; NULL, as v: none, grey */
    const uint8_t *v; /* Cr */
    int y_step;       /* bytes from one to the next: 1, or 2 where Y and chroma alternate */
    int chroma_step;  /* 1, 2 where Cb and Cr alternate, 4 where Y is among them too */
    int chroma_shift; /* 1: two pixels share one; 0 */
} FastvlmYuvRow;

/** One row of packed pixels. */
typedef struct {
    const uint8_t *data; /* [n, n_bytes] */
    int n_bytes;         /* of a pixel: 3 or 4 */
    uint8_t order[3];    /* where in it red, green, blue lie */
} FastvlmPackedRow;

/** Fractional bits of a weight, and of its part `high`: weight = high * 2^11 + low, low >= 0. */
#define FASTVLM_WEIGHT_BITS 22
#define FASTVLM_WEIGHT_LOW_BITS 11
/** Weights an output has come in groups of so many; those that it has no use for are 0. */
#define FASTVLM_WEIGHT_GROUP 4
/** Columns of a picture that is resized down come in groups of so many bytes. */
#define FASTVLM_RESIZE_COLUMNS 32

/** How one direction is resized: output o = sum over t of weight [o, t] * input [first[o] + t]. */
typedef struct {
    int n_out;
    int n_taps;           /* weights of an output, a multiple of FASTVLM_WEIGHT_GROUP */
    const int32_t *first; /* [n_out] */
    const int16_t *high;  /* [n_out, n_taps] */
    const int16_t *low;   /* [n_out, n_taps] */
} FastvlmTaps;

/** Rows that are resized. */
typedef struct {
    const FastvlmTaps *taps;
    /* Across: RGBX, as many rows as are wanted. Down: bytes of any meaning, all rows that `taps` reads;
     * of each, as many as are wanted, rounded up to FASTVLM_RESIZE_COLUMNS, can be read. */
    const uint8_t *in;
    size_t in_stride; /* bytes from one row to the next, as out_stride */
    /* Across: RGB [n_out, 3] a row; the byte behind it may be overwritten. Down: one row. */
    uint8_t *out;
    size_t out_stride;
} FastvlmResize;

#endif
