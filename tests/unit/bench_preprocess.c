/*
 * How long a 1080p frame takes to become the encoder's input: colour, resizing, bars.
 *
 *     I420, NV12, RGB 1920x1080 -> 1024 and 512 pixels, 1 and 2 threads -> median and least ms
 *
 * Prints TAP with a comment for each.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "image/preprocess.h"

#include <stdio.h>
#include <stdlib.h>

#define WIDTH 1920
#define HEIGHT 1080
#define N_RUNS 41

static const struct {
    const char *name;
    FastvlmPixelFormat format;
} formats[] = {{"I420", FASTVLM_PIXEL_I420},
               {"NV12", FASTVLM_PIXEL_NV12},
               {"YUY2", FASTVLM_PIXEL_YUY2},
               {"RGB", FASTVLM_PIXEL_RGB}};

static FastvlmImage make_view(FastvlmPixelFormat format, const guint8 *bytes)
{
    gsize n_pixels = WIDTH * HEIGHT;
    FastvlmImage image = {.format = format,
                          .width = WIDTH,
                          .height = HEIGHT,
                          .stride = format == FASTVLM_PIXEL_RGB    ? 3 * WIDTH
                                    : format == FASTVLM_PIXEL_YUY2 ? 2 * WIDTH
                                                                   : WIDTH,
                          .data = bytes,
                          .chroma = {bytes + n_pixels, bytes + n_pixels + n_pixels / 4},
                          .matrix = FASTVLM_COLOR_BT709,
                          .range = FASTVLM_COLOR_LIMITED};
    image.chroma_stride[0] = image.chroma_stride[1] =
        format == FASTVLM_PIXEL_NV12 ? WIDTH : WIDTH / 2;
    return image;
}

static int compare_times(const void *a, const void *b)
{
    gint64 left = *(const gint64 *)a, right = *(const gint64 *)b;
    return (left > right) - (left < right);
}

/* Prints the median and the least, which other programs disturb less. */
static void measure(const FastvlmImage *image, int resolution, FastvlmPool *pool, guint8 *rgb)
{
    gint64 times_us[N_RUNS];
    for (int i = 0; i < N_RUNS; i++) {
        gint64 start_us = g_get_monotonic_time();
        fastvlm_preprocess_run(image, resolution, FASTVLM_FIT_PAD, pool, NULL, rgb, NULL);
        times_us[i] = g_get_monotonic_time() - start_us;
    }
    qsort(times_us, N_RUNS, sizeof *times_us, compare_times);
    printf("%.2f ms, least %.2f ms\n", (double)times_us[N_RUNS / 2] / 1000,
           (double)times_us[0] / 1000);
}

int main(void)
{
    gsize n_bytes = (gsize)WIDTH * HEIGHT * 3;
    guint8 *bytes = g_malloc(n_bytes), *rgb = g_malloc(1024 * 1024 * 3);
    guint32 noise = 1;
    for (gsize i = 0; i < n_bytes; i++) {
        noise = noise * 1664525 + 1013904223;
        bytes[i] = (guint8)(noise >> 24);
    }
    printf("1..1\n");
    for (int n_threads = 1; n_threads <= 2; n_threads++) {
        FastvlmPool *pool = fastvlm_pool_new(n_threads, 0, NULL);
        for (gsize i = 0; pool != NULL && i < G_N_ELEMENTS(formats); i++) {
            FastvlmImage image = make_view(formats[i].format, bytes);
            for (int resolution = 1024; resolution >= 512; resolution /= 2) {
                printf("# %dx%d %s to %d px, %d threads: ", WIDTH, HEIGHT, formats[i].name,
                       resolution, n_threads);
                measure(&image, resolution, pool, rgb);
            }
        }
        fastvlm_pool_free(pool);
    }
    printf("ok 1 - preprocess\n");
    g_free(bytes);
    g_free(rgb);
    return 0;
}
