/*
 * Change; see the header.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "gstfastvlmchange.h"

#include <math.h>
#include <string.h>

/* Pixels of a cell's side, where the picture is large enough. */
#define CELL_SIDE 40
#define LEAST_SIDE 4

/* Rows of a cell that are read; of packed formats so many columns, too. */
#define ROWS_READ 16
#define COLUMNS_READ 20

/* A mean that moves by more has changed: about three times what noise of 12 levels does to the smallest
 * cells, and a third of what a dim lamp does. */
#define LEAST_STEP 6.0f

/* One component of a mapped frame, and how it is read. */
typedef struct {
    const guint8 *data;
    gint stride, pixel_stride;
    gint width, height;
    guint shift; /* from 16 bits to 8; 0: bytes */
    gboolean is_wide;
} Component;

static Component get_component(const GstVideoFrame *frame, guint i)
{
    const GstVideoFormatInfo *format = frame->info.finfo;
    const guint depth = GST_VIDEO_FORMAT_INFO_DEPTH(format, i);
    /* P010's V is one sample behind its U: two bytes, where GStreamer (1.22) says one. */
    const gint missing = depth > 8 ? GST_VIDEO_FORMAT_INFO_POFFSET(format, i) % 2 : 0;

    return (Component){
        .data = (const guint8 *)GST_VIDEO_FRAME_COMP_DATA(frame, i) + missing,
        .stride = GST_VIDEO_FRAME_COMP_STRIDE(frame, i),
        .pixel_stride = GST_VIDEO_FRAME_COMP_PSTRIDE(frame, i),
        .width = GST_VIDEO_FRAME_COMP_WIDTH(frame, i),
        .height = GST_VIDEO_FRAME_COMP_HEIGHT(frame, i),
        .shift = depth > 8 ? GST_VIDEO_FORMAT_INFO_SHIFT(format, i) + depth - 8 : 0,
        .is_wide = depth > 8,
    };
}

static guint read_wide(const guint8 *sample)
{
    guint16 value; /* strides may be odd */

    memcpy(&value, sample, sizeof value);
    return GUINT16_FROM_LE(value);
}

static guint64 sum_bytes(const guint8 *pixel, gint n)
{
    guint32 sum = 0;

    for (gint i = 0; i < n; i++) {
        sum += pixel[i];
    }
    return sum;
}

static guint64 sum_strided(const Component *component, const guint8 *pixel, gint n, gint step)
{
    guint64 sum = 0;

    for (gint i = 0; i < n; i += step, pixel += step * component->pixel_stride) {
        sum += component->is_wide ? read_wide(pixel) >> component->shift : *pixel;
    }
    return sum;
}

static float measure_cell(const Component *component, gint x, gint y, gint width, gint height)
{
    const gboolean is_planar = component->pixel_stride == 1 && !component->is_wide;
    const gint row_step = MAX(1, height / ROWS_READ);
    const gint column_step = is_planar ? 1 : MAX(1, width / COLUMNS_READ);
    guint64 sum = 0, n = 0;

    for (gint row = y; row < y + height; row += row_step) {
        const guint8 *pixel =
            component->data + (gssize)row * component->stride + (gssize)x * component->pixel_stride;

        sum +=
            is_planar ? sum_bytes(pixel, width) : sum_strided(component, pixel, width, column_step);
        n += (guint64)((width + column_step - 1) / column_step);
    }
    return n > 0 ? (float)((double)sum / (double)n) : 0;
}

static void measure_component(GstFastvlmGrid *grid, const Component *component, float *means)
{
    const gint n_columns = (gint)grid->n_columns, n_rows = (gint)grid->n_rows;

    for (gint row = 0; row < n_rows; row++) {
        const gint y = component->height * row / n_rows;
        const gint height = component->height * (row + 1) / n_rows - y;

        for (gint column = 0; column < n_columns; column++) {
            const gint x = component->width * column / n_columns;
            const gint width = component->width * (column + 1) / n_columns - x;

            means[row * n_columns + column] = measure_cell(component, x, y, width, height);
        }
    }
}

GstFastvlmGrid *gst_fastvlm_grid_new(const GstVideoInfo *info, GstBuffer *buffer)
{
    GstVideoFrame frame;

    if (!gst_video_frame_map(&frame, info, buffer, GST_MAP_READ)) {
        return NULL;
    }
    GstFastvlmGrid *grid = g_atomic_rc_box_new0(GstFastvlmGrid);
    grid->format = GST_VIDEO_FRAME_FORMAT(&frame);
    grid->width = GST_VIDEO_FRAME_WIDTH(&frame);
    grid->height = GST_VIDEO_FRAME_HEIGHT(&frame);
    grid->n_columns = (guint)CLAMP(grid->width / CELL_SIDE, LEAST_SIDE, GST_FASTVLM_GRID_MAX_SIDE);
    grid->n_rows = (guint)CLAMP(grid->height / CELL_SIDE, LEAST_SIDE, GST_FASTVLM_GRID_MAX_SIDE);
    /* Without alpha, which is not seen. */
    grid->n_components = MIN(GST_VIDEO_FRAME_N_COMPONENTS(&frame), 3);
    for (guint i = 0; i < grid->n_components; i++) {
        const Component component = get_component(&frame, i);
        measure_component(grid, &component, grid->means[i]);
    }
    gst_video_frame_unmap(&frame);
    return grid;
}

GstFastvlmGrid *gst_fastvlm_grid_ref(GstFastvlmGrid *grid)
{
    return g_atomic_rc_box_acquire(grid);
}

void gst_fastvlm_grid_unref(GstFastvlmGrid *grid)
{
    if (grid != NULL) {
        g_atomic_rc_box_release(grid);
    }
}

/* ---- the mask ---- */

static gboolean parse_number(const char *text, double *value, gboolean *is_share)
{
    char *end = NULL;

    *value = g_ascii_strtod(text, &end);
    *is_share = *end == '%';
    end += *is_share;
    while (g_ascii_isspace(*end)) {
        end++;
    }
    return end != text && *end == '\0' && isfinite(*value) && *value >= 0;
}

static gboolean parse_rectangle(const char *text, GstFastvlmMaskRectangle *rectangle)
{
    char **numbers = g_strsplit(text, ",", -1);
    gboolean ok = g_strv_length(numbers) == 4;

    for (guint i = 0; ok && i < 4; i++) {
        ok = parse_number(numbers[i], &rectangle->value[i], &rectangle->is_share[i]);
    }
    g_strfreev(numbers);
    return ok;
}

gboolean gst_fastvlm_mask_parse(const char *mask, GArray **rectangles)
{
    GArray *list = g_array_new(FALSE, FALSE, sizeof(GstFastvlmMaskRectangle));
    char **parts = g_strsplit(mask != NULL ? mask : "", ";", -1);
    gboolean ok = TRUE;

    for (char **part = parts; ok && *part != NULL; part++) {
        GstFastvlmMaskRectangle rectangle;

        if (*g_strstrip(*part) != '\0') {
            ok = parse_rectangle(*part, &rectangle);
            g_array_append_val(list, rectangle);
        }
    }
    g_strfreev(parts);
    if (ok && rectangles != NULL) {
        *rectangles = g_array_ref(list);
    }
    g_array_unref(list);
    return ok;
}

/* In pixels of a side that is so long. */
static double resolve(const GstFastvlmMaskRectangle *rectangle, guint i, gint side)
{
    return rectangle->is_share[i] ? rectangle->value[i] * side / 100 : rectangle->value[i];
}

/* Whether [from, to) and the mask's part of that side have a pixel in common. */
static gboolean meets(const GstFastvlmMaskRectangle *rectangle, guint axis, gint side, double from,
                      double to)
{
    const double start = resolve(rectangle, axis, side);
    const double length = resolve(rectangle, axis + 2, side);

    return length > 0 && start < to && start + length > from;
}

static gboolean is_masked(const GstFastvlmGrid *grid, const GArray *rectangles, guint column,
                          guint row)
{
    const double cell_width = (double)grid->width / grid->n_columns;
    const double cell_height = (double)grid->height / grid->n_rows;

    for (guint i = 0; rectangles != NULL && i < rectangles->len; i++) {
        const GstFastvlmMaskRectangle *rectangle =
            &g_array_index(rectangles, GstFastvlmMaskRectangle, i);

        if (meets(rectangle, 0, grid->width, column * cell_width, (column + 1) * cell_width) &&
            meets(rectangle, 1, grid->height, row * cell_height, (row + 1) * cell_height)) {
            return TRUE;
        }
    }
    return FALSE;
}

/* ---- comparing ---- */

static gboolean differs(const GstFastvlmGrid *a, const GstFastvlmGrid *b, guint cell)
{
    for (guint i = 0; i < a->n_components; i++) {
        if (fabsf(a->means[i][cell] - b->means[i][cell]) > LEAST_STEP) {
            return TRUE;
        }
    }
    return FALSE;
}

double gst_fastvlm_grid_compare(const GstFastvlmGrid *a, const GstFastvlmGrid *b,
                                const GArray *rectangles)
{
    guint n_changed = 0, n = 0;

    if (a->format != b->format || a->width != b->width || a->height != b->height) {
        return 1;
    }
    for (guint row = 0; row < a->n_rows; row++) {
        for (guint column = 0; column < a->n_columns; column++) {
            if (!is_masked(a, rectangles, column, row)) {
                n++;
                n_changed += differs(a, b, row * a->n_columns + column);
            }
        }
    }
    return n > 0 ? (double)n_changed / n : 1;
}
