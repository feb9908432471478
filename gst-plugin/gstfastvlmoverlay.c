/*
 * The caption on the picture, from text to pixels.
 *
 *     text -> layout that fits -> cairo surface, premultiplied ARGB -> rectangle -> composition
 *                                            (blended into YUV: AYUV of the video's own matrix)
 *
 * Text is laid out in square pixels and squeezed to the video's when drawn, so letters keep their
 * shape under any pixel aspect ratio.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "gstfastvlmoverlay.h"

#include <math.h>
#include <pango/pangocairo.h>

#include "gstfastvlmsanitize.h"

GST_DEBUG_CATEGORY_STATIC(gst_fastvlm_overlay_debug);
#define GST_CAT_DEFAULT gst_fastvlm_overlay_debug

/* Shorter side of the picture that font sizes in points are meant for. */
#define REFERENCE_SIDE 480.0
#define DPI 96.0
#define MARGIN 0.03         /* of the shorter side, around the box */
#define MAX_BOX_HEIGHT 0.45 /* of the video's height */
#define BOX_ALPHA 0.6
#define PADDING 0.45        /* of the type's size, around the text */
#define MIN_FONT_PX 9.0     /* smaller type cannot be read */
#define SHRINK 0.95         /* at least, from one try to the next */
#define MAX_CHARACTERS 2000 /* more never fit; Pango would be at it for long */

/* What is to be seen; owns text and font. */
typedef struct {
    char *text; /* one line, or NULL */
    PangoFontDescription *font;
    GstVideoInfo info; /* GST_VIDEO_FORMAT_UNKNOWN: not known yet */
    gboolean attach;
} Scene;

struct _GstFastvlmOverlay {
    PangoContext *context; /* of the thread that renders; NULL: not needed so far */

    GMutex lock; /* for what follows; never held while Pango works */
    Scene scene;
    guint version;  /* of the scene */
    guint rendered; /* the version that was rendered last */
    gboolean rendering;
    GstVideoOverlayComposition *composition; /* NULL: nothing to draw */
};

/* What is to be drawn where: `layout` in square pixels, the rest in the video's. */
typedef struct {
    PangoLayout *layout;
    PangoRectangle text; /* of the layout, square pixels */
    double squeeze;      /* the video's pixels to a square one, across */
    double padding;      /* square pixels */
    int x, y, width, height;
} Box;

/* ---- layout ---- */

static PangoContext *get_context(GstFastvlmOverlay *overlay)
{
    if (overlay->context == NULL) {
        PangoFontMap *font_map = pango_cairo_font_map_new();
        cairo_font_options_t *options = cairo_font_options_create();

        pango_cairo_font_map_set_resolution(PANGO_CAIRO_FONT_MAP(font_map), DPI);
        overlay->context = pango_font_map_create_context(font_map);
        /* No screen's subpixels: the picture will be scaled and encoded. */
        cairo_font_options_set_antialias(options, CAIRO_ANTIALIAS_GRAY);
        cairo_font_options_set_hint_style(options, CAIRO_HINT_STYLE_SLIGHT);
        pango_cairo_context_set_font_options(overlay->context, options);
        cairo_font_options_destroy(options);
        g_object_unref(font_map);
    }
    return overlay->context;
}

/* The font's size on a picture of this shorter side. */
static double get_font_px(const PangoFontDescription *font, double side)
{
    const double size = (double)pango_font_description_get_size(font) / PANGO_SCALE;

    if (pango_font_description_get_size_is_absolute(font)) {
        return size;
    }
    return size * DPI / 72.0 * side / REFERENCE_SIDE;
}

static void set_font_px(PangoLayout *layout, const PangoFontDescription *font, double font_px)
{
    PangoFontDescription *sized = pango_font_description_copy(font);

    pango_font_description_set_absolute_size(sized, font_px * PANGO_SCALE);
    pango_layout_set_font_description(layout, sized);
    pango_font_description_free(sized);
}

static PangoRectangle measure(PangoLayout *layout)
{
    PangoRectangle logical;

    pango_layout_get_pixel_extents(layout, NULL, &logical);
    return logical;
}

/* Sets type and width so that the text stays within `width` x `height`; returns the type's size. */
static double fit(PangoLayout *layout, const PangoFontDescription *font, double font_px,
                  double width, double height)
{
    for (;;) {
        const double padding = 2 * PADDING * font_px;

        set_font_px(layout, font, font_px);
        pango_layout_set_width(layout, (int)(MAX(width - padding, font_px) * PANGO_SCALE));
        const double found = measure(layout).height + padding;
        if (found <= height) {
            return font_px;
        }
        if (font_px <= MIN_FONT_PX) {
            pango_layout_set_height(layout, (int)(MAX(height - padding, font_px) * PANGO_SCALE));
            pango_layout_set_ellipsize(layout, PANGO_ELLIPSIZE_END);
            return font_px;
        }
        /* A text's area grows with the square of its type. */
        font_px = MAX(font_px * MIN(SHRINK, 1.02 * sqrt(height / found)), MIN_FONT_PX);
    }
}

static double get_pixel_aspect(const GstVideoInfo *info)
{
    const double n = GST_VIDEO_INFO_PAR_N(info), d = GST_VIDEO_INFO_PAR_D(info);

    return n > 0 && d > 0 ? CLAMP(n / d, 0.125, 8.0) : 1.0;
}

/* Even numbers: subsampled chroma starts and ends with the box. */
static void place(Box *box, const GstVideoInfo *info, double margin)
{
    const int width = GST_VIDEO_INFO_WIDTH(info), height = GST_VIDEO_INFO_HEIGHT(info);
    const double across = (box->text.width + 2 * box->padding) * box->squeeze;
    const double down = box->text.height + 2 * box->padding;

    box->width = MIN(GST_ROUND_UP_2((int)ceil(across)), width);
    box->height = MIN(GST_ROUND_UP_2((int)ceil(down)), height);
    box->x = GST_ROUND_DOWN_2((width - box->width) / 2);
    box->y = GST_ROUND_DOWN_2(MAX(height - box->height - (int)margin, 0));
}

static Box make_box(PangoContext *context, const Scene *scene)
{
    const double aspect = get_pixel_aspect(&scene->info);
    const double width = GST_VIDEO_INFO_WIDTH(&scene->info) * aspect;
    const double height = GST_VIDEO_INFO_HEIGHT(&scene->info);
    const double side = MIN(width, height);
    const double margin = MARGIN * side;
    const double font_px = CLAMP(get_font_px(scene->font, side), MIN_FONT_PX, height);
    Box box = {.layout = pango_layout_new(context), .squeeze = 1.0 / aspect};

    pango_layout_set_text(box.layout, scene->text, -1);
    pango_layout_set_alignment(box.layout, PANGO_ALIGN_CENTER);
    pango_layout_set_wrap(box.layout, PANGO_WRAP_WORD_CHAR);
    box.padding = PADDING * fit(box.layout, scene->font, font_px, width - 2 * margin,
                                MAX_BOX_HEIGHT * height);
    box.text = measure(box.layout);
    place(&box, &scene->info, margin);
    return box;
}

/* ---- pixels ---- */

static void add_rounded_rectangle(cairo_t *cr, double width, double height, double radius)
{
    radius = MIN(radius, MIN(width, height) / 2);
    cairo_new_sub_path(cr);
    cairo_arc(cr, width - radius, radius, radius, -G_PI_2, 0);
    cairo_arc(cr, width - radius, height - radius, radius, 0, G_PI_2);
    cairo_arc(cr, radius, height - radius, radius, G_PI_2, G_PI);
    cairo_arc(cr, radius, radius, radius, G_PI, 3 * G_PI_2);
    cairo_close_path(cr);
}

/* Cairo's ARGB32 is native-endian, as the composition's RGB format is. */
static void draw(const Box *box, guint8 *pixels /* [height, width, 4] */)
{
    cairo_surface_t *surface = cairo_image_surface_create_for_data(
        pixels, CAIRO_FORMAT_ARGB32, box->width, box->height, 4 * box->width);
    cairo_t *cr = cairo_create(surface);
    const double width = box->width / box->squeeze;

    cairo_scale(cr, box->squeeze, 1);
    add_rounded_rectangle(cr, width, box->height, 0.8 * box->padding);
    cairo_set_source_rgba(cr, 0, 0, 0, BOX_ALPHA);
    cairo_fill(cr);
    cairo_translate(cr, (width - box->text.width) / 2.0 - box->text.x,
                    (box->height - box->text.height) / 2.0 - box->text.y);
    cairo_set_source_rgb(cr, 1, 1, 1);
    pango_cairo_show_layout(cr, box->layout);
    cairo_destroy(cr);
    cairo_surface_flush(surface);
    cairo_surface_destroy(surface);
}

/* From R'G'B' in 0 to 255, straight, to the video's Y'CbCr. */
typedef struct {
    double matrix[3][3];
    double offset[3];
} Colors;

/* ITU-R BT.601 and 709: Y' = Kr R + Kg G + Kb B, Cb = (B - Y') / (2 - 2 Kb), Cr likewise. */
static Colors make_colors(const GstVideoColorimetry *colorimetry)
{
    const GstVideoFormatInfo *ayuv = gst_video_format_get_info(GST_VIDEO_FORMAT_AYUV);
    const GstVideoColorRange range = colorimetry->range == GST_VIDEO_COLOR_RANGE_UNKNOWN
                                         ? GST_VIDEO_COLOR_RANGE_16_235
                                         : colorimetry->range;
    gint offset[GST_VIDEO_MAX_COMPONENTS], scale[GST_VIDEO_MAX_COMPONENTS];
    double kr = 0.299, kb = 0.114;

    gst_video_color_matrix_get_Kr_Kb(colorimetry->matrix, &kr, &kb);
    gst_video_color_range_offsets(range, ayuv, offset, scale);
    const double kg = 1 - kr - kb;
    const double y = scale[0] / 255.0, u = scale[1] / 255.0 / (2 - 2 * kb),
                 v = scale[2] / 255.0 / (2 - 2 * kr);
    return (Colors){.matrix = {{y * kr, y * kg, y * kb},
                               {-u * kr, -u * kg, u * (1 - kb)},
                               {v * (1 - kr), -v * kg, -v * kb}},
                    .offset = {offset[0], offset[1], offset[2]}};
}

/* Premultiplied native-endian ARGB to straight A, Y, U, V bytes, in place. */
static void convert_to_ayuv(guint8 *pixels, gsize n_pixels, const Colors *colors)
{
    for (gsize i = 0; i < n_pixels; i++) {
        const guint32 argb = ((const guint32 *)pixels)[i];
        const guint32 alpha = argb >> 24;
        const double straight = alpha > 0 ? 255.0 / alpha : 0;
        const double rgb[3] = {(argb >> 16 & 0xff) * straight, (argb >> 8 & 0xff) * straight,
                               (argb & 0xff) * straight};

        pixels[4 * i] = (guint8)alpha;
        for (guint c = 0; c < 3; c++) {
            const double value = colors->offset[c] + colors->matrix[c][0] * rgb[0] +
                                 colors->matrix[c][1] * rgb[1] + colors->matrix[c][2] * rgb[2];

            pixels[4 * i + 1 + c] = (guint8)CLAMP(value + 0.5, 0, 255);
        }
    }
}

static GstVideoOverlayComposition *compose(const Box *box, const GstVideoInfo *info, gboolean ayuv)
{
    const gsize n_pixels = (gsize)box->width * box->height;
    guint8 *pixels = g_malloc0(4 * n_pixels);
    const GstVideoFormat format =
        ayuv ? GST_VIDEO_OVERLAY_COMPOSITION_FORMAT_YUV : GST_VIDEO_OVERLAY_COMPOSITION_FORMAT_RGB;

    draw(box, pixels);
    if (ayuv) {
        const Colors colors = make_colors(&GST_VIDEO_INFO_COLORIMETRY(info));

        convert_to_ayuv(pixels, n_pixels, &colors);
    }
    GstBuffer *buffer = gst_buffer_new_wrapped(pixels, 4 * n_pixels);
    gst_buffer_add_video_meta(buffer, GST_VIDEO_FRAME_FLAG_NONE, format, box->width, box->height);
    GstVideoOverlayRectangle *rectangle = gst_video_overlay_rectangle_new_raw(
        buffer, box->x, box->y, box->width, box->height,
        ayuv ? GST_VIDEO_OVERLAY_FORMAT_FLAG_NONE
             : GST_VIDEO_OVERLAY_FORMAT_FLAG_PREMULTIPLIED_ALPHA);
    GstVideoOverlayComposition *composition = gst_video_overlay_composition_new(rectangle);
    gst_video_overlay_rectangle_unref(rectangle);
    gst_buffer_unref(buffer);
    return composition;
}

/* Fonts are looked for at the first layout, which takes 100 ms: not in the streaming thread. */
static void warm_up(PangoContext *context, const Scene *scene)
{
    PangoLayout *layout = pango_layout_new(context);

    pango_layout_set_font_description(layout, scene->font);
    pango_layout_set_text(layout, scene->text, -1);
    measure(layout);
    g_object_unref(layout);
}

/* NULL: nothing to draw. */
static GstVideoOverlayComposition *render(PangoContext *context, const Scene *scene)
{
    if (GST_VIDEO_INFO_FORMAT(&scene->info) == GST_VIDEO_FORMAT_UNKNOWN) {
        warm_up(context, scene);
        return NULL;
    }
    Box box = make_box(context, scene);
    /* Renderers downstream know RGB best; a blend goes fastest, and with the right colours, from
     * the frame's own kind. */
    GstVideoOverlayComposition *composition =
        compose(&box, &scene->info, !scene->attach && !GST_VIDEO_INFO_IS_RGB(&scene->info));
    g_object_unref(box.layout);
    return composition;
}

/* ---- the scene ---- */

static Scene copy_scene(const Scene *scene)
{
    return (Scene){.text = g_strdup(scene->text),
                   .font = pango_font_description_copy(scene->font),
                   .info = scene->info,
                   .attach = scene->attach};
}

static void clear_scene(Scene *scene)
{
    g_free(scene->text);
    pango_font_description_free(scene->font);
}

/* With the lock held, `composition` is the caller's. */
static void replace_composition(GstFastvlmOverlay *overlay, GstVideoOverlayComposition *composition)
{
    g_clear_pointer(&overlay->composition, gst_video_overlay_composition_unref);
    overlay->composition = composition;
}

/* With the lock held, and given up in between: renders what has changed, unless another thread is
 * at it; that one will go on with this scene, and nobody waits. */
static void update(GstFastvlmOverlay *overlay)
{
    overlay->version++;
    if (overlay->scene.text == NULL) {
        replace_composition(overlay, NULL);
    }
    while (!overlay->rendering && overlay->rendered != overlay->version) {
        const guint version = overlay->version;
        GstVideoOverlayComposition *composition = NULL;

        if (overlay->scene.text != NULL) {
            Scene scene = copy_scene(&overlay->scene);

            overlay->rendering = TRUE;
            g_mutex_unlock(&overlay->lock);
            composition = render(get_context(overlay), &scene);
            clear_scene(&scene);
            g_mutex_lock(&overlay->lock);
            overlay->rendering = FALSE;
        }
        overlay->rendered = version;
        if (version == overlay->version) {
            replace_composition(overlay, composition);
        } else {
            g_clear_pointer(&composition, gst_video_overlay_composition_unref);
        }
    }
}

/* ---- what the element calls ---- */

static PangoFontDescription *parse_font(const char *font_desc)
{
    PangoFontDescription *font =
        pango_font_description_from_string(GST_FASTVLM_OVERLAY_DEFAULT_FONT);
    PangoFontDescription *asked =
        pango_font_description_from_string(font_desc != NULL ? font_desc : "");

    if (pango_font_description_get_size(asked) <= 0) {
        pango_font_description_unset_fields(asked, PANGO_FONT_MASK_SIZE);
    }
    pango_font_description_merge(font, asked, TRUE);
    pango_font_description_free(asked);
    return font;
}

GstFastvlmOverlay *gst_fastvlm_overlay_new(void)
{
    static gsize registered = 0;
    GstFastvlmOverlay *overlay = g_new0(GstFastvlmOverlay, 1);

    if (g_once_init_enter(&registered)) {
        GST_DEBUG_CATEGORY_INIT(gst_fastvlm_overlay_debug, "fastvlmoverlay", 0,
                                "captions drawn on the video");
        g_once_init_leave(&registered, 1);
    }
    g_mutex_init(&overlay->lock);
    gst_video_info_init(&overlay->scene.info);
    overlay->scene.font = parse_font(NULL);
    return overlay;
}

void gst_fastvlm_overlay_free(GstFastvlmOverlay *overlay)
{
    if (overlay == NULL) {
        return;
    }
    g_clear_pointer(&overlay->composition, gst_video_overlay_composition_unref);
    g_clear_object(&overlay->context);
    clear_scene(&overlay->scene);
    g_mutex_clear(&overlay->lock);
    g_free(overlay);
}

void gst_fastvlm_overlay_set_font_desc(GstFastvlmOverlay *overlay, const char *font_desc)
{
    PangoFontDescription *font = parse_font(font_desc);

    g_mutex_lock(&overlay->lock);
    if (pango_font_description_equal(font, overlay->scene.font)) {
        pango_font_description_free(font);
    } else {
        pango_font_description_free(overlay->scene.font);
        overlay->scene.font = font;
        update(overlay);
    }
    g_mutex_unlock(&overlay->lock);
}

void gst_fastvlm_overlay_set_video_info(GstFastvlmOverlay *overlay, const GstVideoInfo *info,
                                        gboolean attach)
{
    g_mutex_lock(&overlay->lock);
    if (!gst_video_info_is_equal(info, &overlay->scene.info) || attach != overlay->scene.attach) {
        overlay->scene.info = *info;
        overlay->scene.attach = attach;
        /* What is there was made for other frames. */
        replace_composition(overlay, NULL);
        update(overlay);
    }
    g_mutex_unlock(&overlay->lock);
}

/* `text` as it is drawn, or NULL for none. */
static char *make_line(const char *text)
{
    char *line = gst_fastvlm_sanitize_line(text);

    if (*line == '\0') {
        g_clear_pointer(&line, g_free);
    } else if (g_utf8_strlen(line, -1) > MAX_CHARACTERS) {
        *g_utf8_offset_to_pointer(line, MAX_CHARACTERS) = '\0';
    }
    return line;
}

void gst_fastvlm_overlay_set_text(GstFastvlmOverlay *overlay, const char *text)
{
    char *line = make_line(text);

    g_mutex_lock(&overlay->lock);
    if (g_strcmp0(line, overlay->scene.text) == 0) {
        g_free(line);
    } else {
        g_free(overlay->scene.text);
        overlay->scene.text = line;
        update(overlay);
    }
    g_mutex_unlock(&overlay->lock);
}

/* Both's rectangles, themselves: who has uploaded one of them knows it again. */
static GstVideoOverlayComposition *stack(GstVideoOverlayComposition *below,
                                         GstVideoOverlayComposition *above)
{
    GstVideoOverlayComposition *all = gst_video_overlay_composition_new(NULL);
    GstVideoOverlayComposition *const both[] = {below, above};

    for (guint i = 0; i < G_N_ELEMENTS(both); i++) {
        for (guint j = 0; j < gst_video_overlay_composition_n_rectangles(both[i]); j++) {
            gst_video_overlay_composition_add_rectangle(
                all, gst_video_overlay_composition_get_rectangle(both[i], j));
        }
    }
    return all;
}

/* Takes `frame`. */
static GstBuffer *attach_to(GstBuffer *frame, GstVideoOverlayComposition *composition)
{
    GstVideoOverlayCompositionMeta *meta;

    frame = gst_buffer_make_writable(frame);
    meta = gst_buffer_get_video_overlay_composition_meta(frame);
    if (meta == NULL) {
        gst_buffer_add_video_overlay_composition_meta(frame, composition);
        return frame;
    }
    GstVideoOverlayComposition *all = stack(meta->overlay, composition);
    gst_video_overlay_composition_unref(meta->overlay);
    meta->overlay = all;
    return frame;
}

/* Takes `frame`. Mapping copies the pixels where somebody else can see them. */
static GstBuffer *blend_into(GstBuffer *frame, GstVideoOverlayComposition *composition,
                             const GstVideoInfo *info)
{
    GstVideoFrame mapped;

    frame = gst_buffer_make_writable(frame);
    if (!gst_video_frame_map(&mapped, info, frame, GST_MAP_READWRITE)) {
        GST_WARNING("frame %" GST_PTR_FORMAT " cannot be mapped: no caption drawn", frame);
        return frame;
    }
    if (!gst_video_overlay_composition_blend(composition, &mapped)) {
        GST_WARNING("caption cannot be blended into %s",
                    gst_video_format_to_string(GST_VIDEO_INFO_FORMAT(info)));
    }
    gst_video_frame_unmap(&mapped);
    return frame;
}

GstBuffer *gst_fastvlm_overlay_apply(GstFastvlmOverlay *overlay, GstBuffer *frame)
{
    GstVideoOverlayComposition *composition = NULL;

    g_mutex_lock(&overlay->lock);
    if (overlay->composition != NULL) {
        composition = gst_video_overlay_composition_ref(overlay->composition);
    }
    const GstVideoInfo info = overlay->scene.info;
    const gboolean attach = overlay->scene.attach;
    g_mutex_unlock(&overlay->lock);
    if (composition == NULL) {
        return frame;
    }
    frame = attach ? attach_to(frame, composition) : blend_into(frame, composition, &info);
    gst_video_overlay_composition_unref(composition);
    return frame;
}
