/*
 * Rows of any format to RGBX. See pixels.h.
 *
 *     format -> where each of Y, Cb, Cr lies (layouts) ┐
 *     matrix, range -> factors in fixed point          ┴-> kernel, a row at a time
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "image/pixels.h"

#include <math.h>

/* Where a packed RGB format's bytes lie; n_bytes is 0 for other formats. */
static const struct {
    guint8 n_bytes; /* of one pixel */
    guint8 order[3];
} packed_layouts[] = {
    [FASTVLM_PIXEL_RGB] = {3, {0, 1, 2}},
    [FASTVLM_PIXEL_BGR] = {3, {2, 1, 0}},
    [FASTVLM_PIXEL_RGBX] = {4, {0, 1, 2}},
    [FASTVLM_PIXEL_BGRX] = {4, {2, 1, 0}},
    [FASTVLM_PIXEL_XRGB] = {4, {1, 2, 3}},
    [FASTVLM_PIXEL_XBGR] = {4, {3, 2, 1}},
    [FASTVLM_PIXEL_UYVY] = {0},
};
#define N_FORMATS G_N_ELEMENTS(packed_layouts)

/* Where a sample lies: the plane, 0 (data), 1 or 2 (chroma), and its first byte in a row. */
typedef struct {
    guint8 plane, at;
} Place;

/* Where Y, Cb and Cr lie. A row has n_bytes[plane] for each pixel, or each two of chroma_shift 1. */
typedef struct {
    Place y, u, v;
    guint8 y_step, chroma_step; /* bytes from one to the next */
    guint8 shift_x, shift_y;    /* 1: two columns, or rows, share chroma */
} YuvLayout;

static const YuvLayout yuv_layouts[N_FORMATS] = {
    [FASTVLM_PIXEL_GRAY8] = {{0, 0}, {0, 0}, {0, 0}, 1, 0, 0, 0},
    [FASTVLM_PIXEL_I420] = {{0, 0}, {1, 0}, {2, 0}, 1, 1, 1, 1},
    [FASTVLM_PIXEL_NV12] = {{0, 0}, {1, 0}, {1, 1}, 1, 2, 1, 1},
    [FASTVLM_PIXEL_NV21] = {{0, 0}, {1, 1}, {1, 0}, 1, 2, 1, 1},
    [FASTVLM_PIXEL_Y42B] = {{0, 0}, {1, 0}, {2, 0}, 1, 1, 1, 0},
    [FASTVLM_PIXEL_Y444] = {{0, 0}, {1, 0}, {2, 0}, 1, 1, 0, 0},
    [FASTVLM_PIXEL_YUY2] = {{0, 0}, {0, 1}, {0, 3}, 2, 4, 1, 0},
    [FASTVLM_PIXEL_UYVY] = {{0, 1}, {0, 0}, {0, 2}, 2, 4, 1, 0},
};

/*
 * Shares of red and blue in Y: ITU-R BT.601-7 2.5.1, BT.709-6 3.2, BT.2020-2 table 4, SMPTE 240M,
 * 47 CFR 73.682(a)(20)(iv).
 */
static const struct {
    double red, blue;
} luma_shares[] = {
    [FASTVLM_COLOR_BT601] = {0.299, 0.114},    [FASTVLM_COLOR_BT709] = {0.2126, 0.0722},
    [FASTVLM_COLOR_BT2020] = {0.2627, 0.0593}, [FASTVLM_COLOR_SMPTE240M] = {0.212, 0.087},
    [FASTVLM_COLOR_FCC] = {0.30, 0.11},
};

static gboolean refuse(const char *field, gint64 found, const char *expected, GError **error)
{
    g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_ARGUMENT,
                "the picture's %s is %" G_GINT64_FORMAT ", expected %s", field, found, expected);
    return FALSE;
}

static gboolean check_side(const char *field, int value, GError **error)
{
    if (value >= 1 && value <= FASTVLM_IMAGE_MAX_SIDE)
        return TRUE;
    return refuse(field, value, "1 to " G_STRINGIFY(FASTVLM_IMAGE_MAX_SIDE), error);
}

/* A plane of n_rows rows of row_size bytes each. */
static gboolean check_plane(const char *name, const guint8 *data, gssize stride, gssize row_size,
                            int n_rows, GError **error)
{
    if (stride > -row_size && stride < row_size && n_rows > 1) {
        g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_ARGUMENT,
                    "the picture's %s has a stride of %" G_GSSIZE_FORMAT
                    " bytes, expected at least the %" G_GSSIZE_FORMAT " of a row",
                    name, stride, row_size);
        return FALSE;
    }
    if (data == NULL) {
        g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_ARGUMENT, "the picture's %s is NULL", name);
        return FALSE;
    }
    return TRUE;
}

/* Columns, or rows, of chroma for so many pixels. */
static int count_chroma(int n, int shift)
{
    return (n + shift) >> shift;
}

static gboolean check_planes(const FastvlmImage *image, GError **error)
{
    static const char *const names[] = {"first chroma plane", "second chroma plane"};
    const YuvLayout *layout = &yuv_layouts[image->format];
    int n_packed = packed_layouts[image->format].n_bytes;
    int n_chroma = count_chroma(image->width, layout->shift_x);
    gboolean is_packed_yuv = layout->y_step == 2;
    gssize row_size = (gssize)image->width * MAX(n_packed, 1);
    if (is_packed_yuv)
        row_size = (gssize)n_chroma * layout->chroma_step;
    if (!check_plane("data", image->data, image->stride, row_size, image->height, error))
        return FALSE;
    for (int i = 0; i < MAX(layout->u.plane, layout->v.plane); i++)
        if (!check_plane(names[i], image->chroma[i], image->chroma_stride[i],
                         (gssize)n_chroma * layout->chroma_step,
                         count_chroma(image->height, layout->shift_y), error))
            return FALSE;
    return TRUE;
}

static gboolean check_aspect(const FastvlmImage *image, GError **error)
{
    gint64 width = image->pixel_aspect_width, height = image->pixel_aspect_height;
    if (width == 0 && height == 0)
        return TRUE;
    if (width >= 1 && height >= 1 && width <= height * FASTVLM_IMAGE_MAX_ASPECT &&
        height <= width * FASTVLM_IMAGE_MAX_ASPECT)
        return TRUE;
    g_set_error(
        error, FASTVLM_ERROR, FASTVLM_ERROR_ARGUMENT,
        "the picture's pixel aspect is %d:%d, expected 0:0 (square) or a ratio of at most %d",
        image->pixel_aspect_width, image->pixel_aspect_height, FASTVLM_IMAGE_MAX_ASPECT);
    return FALSE;
}

gboolean fastvlm_pixels_check(const FastvlmImage *image, GError **error)
{
    if ((guint)image->format >= N_FORMATS)
        return refuse("format", image->format, "one of FastvlmPixelFormat", error);
    if ((guint)image->matrix >= G_N_ELEMENTS(luma_shares))
        return refuse("matrix", image->matrix, "one of FastvlmColorMatrix", error);
    if (image->range != FASTVLM_COLOR_FULL && image->range != FASTVLM_COLOR_LIMITED)
        return refuse("range", image->range, "one of FastvlmColorRange", error);
    return check_side("width", image->width, error) && check_side("height", image->height, error) &&
           check_aspect(image, error) && check_planes(image, error);
}

static gint16 to_fixed(double factor, int n_bits)
{
    return (gint16)lrint(ldexp(factor, n_bits));
}

/* With Y, Cb and Cr from 0 to 1 and -0.5 to 0.5: R = Y + 2 (1 - Kr) Cr, B = Y + 2 (1 - Kb) Cb, and
 * Y = Kr R + Kg G + Kb B. */
static FastvlmYuvMatrix make_matrix(FastvlmColorMatrix matrix, FastvlmColorRange range)
{
    gboolean limited = range == FASTVLM_COLOR_LIMITED;
    double y_scale = limited ? 255.0 / 219 : 1, chroma_scale = limited ? 255.0 / 224 : 1;
    double red = luma_shares[matrix].red, blue = luma_shares[matrix].blue;
    double green = 1 - red - blue;
    double red_v = 2 * (1 - red) * chroma_scale, blue_u = 2 * (1 - blue) * chroma_scale;
    return (FastvlmYuvMatrix){
        .y_scale = to_fixed(y_scale, 13),
        .bias = to_fixed((limited ? -16 * y_scale : 0) + 0.5, 5),
        .red_v = to_fixed(red_v, 13),
        .green_u = to_fixed(blue_u * blue / green, 13),
        .green_v = to_fixed(red_v * red / green, 13),
        .blue_u = to_fixed(blue_u, 13),
    };
}

void fastvlm_pixels_init(FastvlmPixels *pixels, const FastvlmImage *image,
                         const FastvlmKernels *kernels)
{
    pixels->image = image;
    pixels->kernels = kernels;
    pixels->matrix = make_matrix(image->matrix, image->range);
}

/* Row `y` of the picture in the plane where `place` lies, from the pair that pixel x is in. */
static const guint8 *find_chroma(const FastvlmImage *image, const YuvLayout *layout, Place place,
                                 int y, int x)
{
    const guint8 *plane = place.plane == 0 ? image->data : image->chroma[place.plane - 1];
    gssize stride = place.plane == 0 ? image->stride : image->chroma_stride[place.plane - 1];
    gsize column = (gsize)(x >> layout->shift_x) * layout->chroma_step;
    return plane + (y >> layout->shift_y) * stride + column + place.at;
}

static void read_yuv(const FastvlmPixels *pixels, int y, int x, int n, guint8 *rgbx)
{
    const FastvlmImage *image = pixels->image;
    const YuvLayout *layout = &yuv_layouts[image->format];
    FastvlmYuvRow row = {
        .matrix = &pixels->matrix,
        .y = image->data + y * image->stride + (gsize)x * layout->y_step + layout->y.at,
        .y_step = layout->y_step,
        .chroma_step = layout->chroma_step,
        .chroma_shift = layout->shift_x,
    };
    if (layout->chroma_step > 0) {
        row.u = find_chroma(image, layout, layout->u, y, x);
        row.v = find_chroma(image, layout, layout->v, y, x);
    }
    pixels->kernels->yuv_to_rgbx(&row, (gsize)n, rgbx);
}

void fastvlm_pixels_read(const FastvlmPixels *pixels, int y, int x, int n, guint8 *rgbx)
{
    const FastvlmImage *image = pixels->image;
    FastvlmPackedRow row = {.n_bytes = packed_layouts[image->format].n_bytes};
    if (row.n_bytes == 0) {
        read_yuv(pixels, y, x, n, rgbx);
        return;
    }
    row.data = image->data + y * image->stride + (gssize)x * row.n_bytes;
    for (int c = 0; c < 3; c++)
        row.order[c] = packed_layouts[image->format].order[c];
    pixels->kernels->packed_to_rgbx(&row, (gsize)n, rgbx);
}
