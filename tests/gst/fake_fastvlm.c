/*
 * The stand-in engine; see the header.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "fake_fastvlm.h"

#include <sched.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define STEP_MS 2
#define PATIENCE_US (30 * G_TIME_SPAN_SECOND)

struct _FastvlmModel {
    gint refs;
    FastvlmModelInfo info;
    FastvlmModelParams params;
};

struct _FastvlmSession {
    FastvlmModel *model;
    gint64 cancelled_us; /* 0: not */
    int mean[3];
    int encode_ms; /* of its picture */
    gboolean has_image;
};

FakeKnobs fake = {.load_error = -1, .generate_error = -1, .n_tokens = 4};

static GMutex lock;
static GCond changed;
static FakeRecord record;
static FakePicture picture;
static gboolean held;

G_DEFINE_QUARK(fastvlm - error - quark, fastvlm_error)

void fake_reset(void)
{
    const gint64 deadline = g_get_monotonic_time() + PATIENCE_US;

    g_mutex_lock(&lock);
    /* A cancelled load, or caption, that the element did not wait for ends by itself. */
    while ((record.n_models > 0 || record.n_loading > 0 || record.n_sessions > 0) &&
           g_cond_wait_until(&changed, &lock, deadline)) {
    }
    g_assert_cmpuint(record.n_loading, ==, 0);
    g_assert_cmpuint(record.n_models, ==, 0);
    g_assert_cmpuint(record.n_sessions, ==, 0);
    fake = (FakeKnobs){.load_error = -1, .generate_error = -1, .n_tokens = 4};
    record = (FakeRecord){0};
    g_clear_pointer(&picture.rgb, g_free);
    held = FALSE;
    g_mutex_unlock(&lock);
}

FakeRecord fake_get_record(void)
{
    g_mutex_lock(&lock);
    const FakeRecord copy = record;
    g_mutex_unlock(&lock);
    return copy;
}

FakePicture fake_get_picture(void)
{
    g_mutex_lock(&lock);
    FakePicture copy = picture;
    if (copy.rgb != NULL) {
        copy.rgb = g_memdup2(copy.rgb, (gsize)copy.width * (gsize)copy.height * 3);
    }
    g_mutex_unlock(&lock);
    return copy;
}

void fake_hold(gboolean hold)
{
    g_mutex_lock(&lock);
    held = hold;
    g_cond_broadcast(&changed);
    g_mutex_unlock(&lock);
}

void fake_set_deaf(gint ms)
{
    g_mutex_lock(&lock);
    fake.deaf = ms;
    g_cond_broadcast(&changed);
    g_mutex_unlock(&lock);
}

void fake_set_generate_error(gint code)
{
    g_mutex_lock(&lock);
    fake.generate_error = code;
    g_mutex_unlock(&lock);
}

gboolean fake_wait_encodes(guint n)
{
    const gint64 deadline = g_get_monotonic_time() + PATIENCE_US;
    gboolean in_time = TRUE;

    g_mutex_lock(&lock);
    while (in_time && record.n_encodes < n) {
        in_time = g_cond_wait_until(&changed, &lock, deadline);
    }
    g_mutex_unlock(&lock);
    return in_time;
}

static FastvlmModelInfo make_info(const char *name)
{
    return (FastvlmModelInfo){
        .path = g_strdup(name),
        .layout = "llava_qwen2",
        .tokenizer_size = strcmp(name, "untokenized") == 0 ? 0 : 300,
        .resolution = fake.resolution != 0 ? fake.resolution : 256,
    };
}

FastvlmModelInfo *fastvlm_model_inspect_for(const char *name, const FastvlmModelParams *params,
                                            GError **error)
{
    g_mutex_lock(&lock);
    record.n_inspects++;
    g_mutex_unlock(&lock);
    if (strcmp(name, "missing") == 0) {
        g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_NOT_FOUND,
                    "missing: no such directory: set model-path to a checkpoint's");
        return NULL;
    }
    if (strcmp(name, "broken") == 0) {
        g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_FORMAT,
                    "broken/config.json: not JSON: fetch the file again");
        return NULL;
    }
    FastvlmModelInfo *info = g_new(FastvlmModelInfo, 1);
    *info = make_info(name);
    return info;
}

void fastvlm_model_info_free(FastvlmModelInfo *info)
{
    if (info != NULL) {
        g_free(info->path);
        g_free(info);
    }
}

/* Without int4, as a version of the engine may be. */
gboolean fastvlm_model_check_params(const FastvlmModelParams *params, GError **error)
{
    if (params->precision != FASTVLM_PRECISION_INT4) {
        return TRUE;
    }
    g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_UNSUPPORTED,
                "precision int4 is not in this version: use auto");
    return FALSE;
}

char *fastvlm_model_resolve(const char *name)
{
    return g_strdup(name);
}

static gboolean fail(int code, GError **error)
{
    if (code < 0) {
        return FALSE;
    }
    g_set_error(error, FASTVLM_ERROR, code, "fake/model.safetensors: told to fail with %d: do not",
                code);
    return TRUE;
}

static gboolean wait_for_load(const FastvlmModelParams *params, GError **error)
{
    const gint64 start = g_get_monotonic_time();
    double fraction = 0;

    while (fraction < 1) {
        const double passed_ms = (double)(g_get_monotonic_time() - start) / 1000;
        fraction = passed_ms >= fake.load_ms ? 1 : passed_ms / fake.load_ms;
        if (params->progress != NULL && !params->progress(fraction, params->progress_data)) {
            g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_CANCELLED, "load cancelled");
            return FALSE;
        }
        if (fraction < 1) {
            g_usleep(STEP_MS * 1000);
        }
    }
    return !fail(fake.load_error, error);
}

FastvlmModel *fastvlm_model_load(const char *name, const FastvlmModelParams *params, GError **error)
{
    g_mutex_lock(&lock);
    record.n_loads++;
    record.n_loading++;
    record.worker_nice = params->worker_nice;
    record.n_threads = params->n_threads;
    g_mutex_unlock(&lock);
    FastvlmModel *model = NULL;
    if (wait_for_load(params, error)) {
        model = g_new0(FastvlmModel, 1);
        model->refs = 1;
        model->info = make_info(name);
        model->params = *params;
    }
    g_mutex_lock(&lock);
    record.n_loading--;
    record.n_models += model != NULL;
    g_cond_broadcast(&changed);
    g_mutex_unlock(&lock);
    return model;
}

FastvlmModel *fastvlm_model_ref(FastvlmModel *model)
{
    g_atomic_int_inc(&model->refs);
    return model;
}

void fastvlm_model_unref(FastvlmModel *model)
{
    if (model == NULL || !g_atomic_int_dec_and_test(&model->refs)) {
        return;
    }
    g_mutex_lock(&lock);
    record.n_models--;
    g_cond_broadcast(&changed);
    g_mutex_unlock(&lock);
    g_free(model->info.path);
    g_free(model);
}

const FastvlmModelInfo *fastvlm_model_get_info(const FastvlmModel *model)
{
    return &model->info;
}

const char *fastvlm_model_get_cache_note(const FastvlmModel *model)
{
    return "none: nothing is loaded";
}

FastvlmPrecision fastvlm_model_get_precision(const FastvlmModel *model)
{
    return model->params.precision == FASTVLM_PRECISION_AUTO ? FASTVLM_PRECISION_F32
                                                             : model->params.precision;
}

const char *fastvlm_model_get_precision_note(const FastvlmModel *model)
{
    return fastvlm_precision_to_string(fastvlm_model_get_precision(model));
}

const char *fastvlm_precision_to_string(FastvlmPrecision precision)
{
    static const char *const names[] = {"auto", "f32", "bf16", "int8", "int4"};
    return names[precision];
}

const char *fastvlm_cpu_tier(void)
{
    return "fake";
}

FastvlmSession *fastvlm_session_new(FastvlmModel *model)
{
    FastvlmSession *session = g_new0(FastvlmSession, 1);

    session->model = fastvlm_model_ref(model);
    g_mutex_lock(&lock);
    record.n_sessions++;
    g_mutex_unlock(&lock);
    return session;
}

void fastvlm_session_free(FastvlmSession *session)
{
    if (session == NULL) {
        return;
    }
    g_mutex_lock(&lock);
    record.n_sessions--;
    g_mutex_unlock(&lock);
    fastvlm_model_unref(session->model);
    g_free(session);
}

void fastvlm_session_cancel(FastvlmSession *session)
{
    g_mutex_lock(&lock);
    if (session->cancelled_us == 0) {
        session->cancelled_us = g_get_monotonic_time();
    }
    g_cond_broadcast(&changed);
    g_mutex_unlock(&lock);
}

void fastvlm_session_reset_cancel(FastvlmSession *session)
{
    g_mutex_lock(&lock);
    session->cancelled_us = 0;
    g_mutex_unlock(&lock);
}

/* With the lock held. */
static gboolean is_cancelled(const FastvlmSession *session)
{
    return session->cancelled_us != 0 &&
           g_get_monotonic_time() >= session->cancelled_us + fake.deaf * G_TIME_SPAN_MILLISECOND;
}

/* Works for `ms`, and for as long as it is held where `holdable`. */
static gboolean work(FastvlmSession *session, int ms, gboolean holdable, GError **error)
{
    const gint64 end = g_get_monotonic_time() + ms * G_TIME_SPAN_MILLISECOND;
    gboolean cancelled;

    g_mutex_lock(&lock);
    while (!(cancelled = is_cancelled(session)) &&
           ((holdable && held) || g_get_monotonic_time() < end)) {
        g_cond_wait_until(&changed, &lock,
                          g_get_monotonic_time() + STEP_MS * G_TIME_SPAN_MILLISECOND);
    }
    if (cancelled) {
        record.n_cancelled++;
        g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_CANCELLED, "cancelled");
    }
    g_mutex_unlock(&lock);
    return !cancelled;
}

static guint8 to_byte(double value)
{
    return (guint8)(CLAMP(value, 0, 255) + 0.5);
}

/* Y, Cb and Cr, 0 to 255, to RGB by the formulas. */
static void convert_pixel(const FastvlmImage *image, double y, double cb, double cr, guint8 rgb[3])
{
    static const double shares[][2] = {
        {0.299, 0.114}, {0.2126, 0.0722}, {0.2627, 0.0593}, {0.212, 0.087}, {0.30, 0.11}};
    const double red = shares[image->matrix][0], blue = shares[image->matrix][1];
    const gboolean limited = image->range == FASTVLM_COLOR_LIMITED;

    y = limited ? (y - 16) * 255 / 219 : y;
    cb = (cb - 128) * (limited ? 255.0 / 224 : 1);
    cr = (cr - 128) * (limited ? 255.0 / 224 : 1);
    const double r = y + 2 * (1 - red) * cr, b = y + 2 * (1 - blue) * cb;
    rgb[0] = to_byte(r);
    rgb[1] = to_byte((y - red * r - blue * b) / (1 - red - blue));
    rgb[2] = to_byte(b);
}

/* Two pixels in four bytes, Y at `luma` and two further on, Cb and Cr beside. */
static void read_packed_yuv(const FastvlmImage *image, int x, int y, int luma, guint8 rgb[3])
{
    const guint8 *pair = image->data + (gssize)y * image->stride + x / 2 * 4;

    convert_pixel(image, pair[luma + x % 2 * 2], pair[1 - luma], pair[3 - luma], rgb);
}

static void read_planar_yuv(const FastvlmImage *image, int x, int y, guint8 rgb[3])
{
    const int luma = image->data[(gssize)y * image->stride + x];
    const gboolean is_whole = image->format == FASTVLM_PIXEL_Y444;
    const int column = is_whole ? x : x / 2;
    const int row = is_whole || image->format == FASTVLM_PIXEL_Y42B ? y : y / 2;
    const guint8 *first = image->chroma[0] + (gssize)row * image->chroma_stride[0];

    if (image->format == FASTVLM_PIXEL_NV12) {
        convert_pixel(image, luma, first[2 * column], first[2 * column + 1], rgb);
    } else if (image->format == FASTVLM_PIXEL_NV21) {
        convert_pixel(image, luma, first[2 * column + 1], first[2 * column], rgb);
    } else {
        const guint8 *second = image->chroma[1] + (gssize)row * image->chroma_stride[1];
        convert_pixel(image, luma, first[column], second[column], rgb);
    }
}

static void read_packed_rgb(const FastvlmImage *image, int x, int y, guint8 rgb[3])
{
    static const int offsets[][4] = {{0, 1, 2, 3}, {2, 1, 0, 3}, {0, 1, 2, 4},
                                     {2, 1, 0, 4}, {1, 2, 3, 4}, {3, 2, 1, 4}};
    const int *offset = offsets[image->format];
    const guint8 *pixel = image->data + (gssize)y * image->stride + (gssize)x * offset[3];

    for (int i = 0; i < 3; i++) {
        rgb[i] = pixel[offset[i]];
    }
}

static void read_pixel(const FastvlmImage *image, int x, int y, guint8 rgb[3])
{
    switch (image->format) {
    case FASTVLM_PIXEL_GRAY8:
        convert_pixel(image, image->data[(gssize)y * image->stride + x], 128, 128, rgb);
        break;
    case FASTVLM_PIXEL_YUY2:
    case FASTVLM_PIXEL_UYVY:
        read_packed_yuv(image, x, y, image->format == FASTVLM_PIXEL_UYVY, rgb);
        break;
    case FASTVLM_PIXEL_I420:
    case FASTVLM_PIXEL_NV12:
    case FASTVLM_PIXEL_NV21:
    case FASTVLM_PIXEL_Y42B:
    case FASTVLM_PIXEL_Y444:
        read_planar_yuv(image, x, y, rgb);
        break;
    default:
        read_packed_rgb(image, x, y, rgb);
    }
}

static void keep_picture(FastvlmSession *session, const FastvlmImage *image)
{
    const gsize n = (gsize)image->width * (gsize)image->height;
    double sums[3] = {0};

    g_free(picture.rgb);
    picture = (FakePicture){image->width,
                            image->height,
                            g_malloc(n * 3),
                            image->format,
                            image->pixel_aspect_width,
                            image->pixel_aspect_height};
    for (int y = 0; y < image->height; y++) {
        for (int x = 0; x < image->width; x++) {
            guint8 *rgb = picture.rgb + 3 * ((gsize)y * (gsize)image->width + (gsize)x);
            read_pixel(image, x, y, rgb);
            for (int i = 0; i < 3; i++) {
                sums[i] += rgb[i];
            }
        }
    }
    for (int i = 0; i < 3; i++) {
        session->mean[i] = (int)(sums[i] / (double)n * 4 / 255 + 0.5);
    }
}

gboolean fastvlm_session_set_image(FastvlmSession *session, const FastvlmImage *image,
                                   int resolution, FastvlmFit fit, GError **error)
{
    g_mutex_lock(&lock);
    record.n_encodes++;
    record.resolution = resolution;
    record.fit = fit;
    record.thread_nice = getpriority(PRIO_PROCESS, (id_t)gettid());
    record.thread_policy = sched_getscheduler(0);
    keep_picture(session, image);
    g_cond_broadcast(&changed);
    g_mutex_unlock(&lock);
    const double share = (double)resolution / session->model->info.resolution;
    session->encode_ms = fake.scales ? (int)(fake.encode_ms * share * share) : fake.encode_ms;
    session->has_image = work(session, session->encode_ms, TRUE, error);
    return session->has_image;
}

char **fastvlm_choices_parse(const char *text, GError **error)
{
    char **names = g_strsplit(text != NULL ? text : "", ",", -1);

    if (g_strv_length(names) < 2) {
        g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_ARGUMENT, "1 choice: expected 2 or more");
        g_clear_pointer(&names, g_strfreev);
    }
    return names;
}

/* The first choice is as probable as `fake` says, the others share the rest. */
static void choose(const FastvlmSession *session, const FastvlmGenerateParams *params,
                   FastvlmResult *result)
{
    const guint n = g_strv_length((char **)params->choices);
    const double first = fake.sees_choice ? session->mean[0] / 4.0 : fake.first_choice;

    result->choice_probabilities = g_new(double, n);
    for (guint i = 0; i < n; i++) {
        result->choice_probabilities[i] = i == 0 ? first : (1 - first) / (n - 1);
    }
    result->choice = first >= 0.5 ? 0 : 1;
    result->finish_reason = FASTVLM_FINISH_CHOICE;
    g_free(result->text);
    result->text = g_strdup(params->choices[result->choice]);
}

static char *make_piece(const FastvlmSession *session, int i)
{
    if (i == 0) {
        return g_strdup(" saw");
    }
    if (i < 4) {
        return g_strdup_printf(" %d", session->mean[i - 1]);
    }
    return g_strdup(fake.ending != NULL ? fake.ending : " and so on");
}

gboolean fastvlm_session_generate(FastvlmSession *session, const FastvlmGenerateParams *params,
                                  FastvlmResult *result, GError **error)
{
    const int n_tokens = MIN(fake.n_tokens, params->max_tokens);
    GString *text = g_string_new(NULL);
    const gint64 start = g_get_monotonic_time();

    g_assert_true(session->has_image);
    g_assert_true(g_utf8_validate(params->prompt, -1, NULL));
    g_mutex_lock(&lock);
    record.max_tokens = params->max_tokens;
    record.temperature = params->temperature;
    record.top_p = params->top_p;
    record.top_k = params->top_k;
    record.seed = params->seed;
    g_strlcpy(record.prompt, params->prompt, sizeof record.prompt);
    g_strlcpy(record.system_prompt, params->system_prompt, sizeof record.system_prompt);
    const gint code = fake.generate_error;
    g_mutex_unlock(&lock);
    gboolean ok = !fail(code, error);
    for (int i = 0; ok && i < n_tokens; i++) {
        ok = work(session, fake.token_ms, FALSE, error);
        if (ok) {
            char *piece = make_piece(session, i);
            g_string_append(text, piece);
            params->on_text(piece, i, params->on_text_data);
            g_free(piece);
        }
    }
    if (!ok) {
        g_string_free(text, TRUE);
        return FALSE;
    }
    const double decode_ms = (double)(g_get_monotonic_time() - start) / 1000;
    *result = (FastvlmResult){
        .text = g_strstrip(g_string_free(text, FALSE)),
        .n_tokens = n_tokens,
        .finish_reason = fake.finish_reason,
        .choice = -1,
        .confidence = 0.5,
        .encode_ms = session->encode_ms,
        .prefill_ms = 1,
        .ttft_ms = session->encode_ms + 1,
        .decode_ms = decode_ms,
        .total_ms = session->encode_ms + 1 + decode_ms,
    };
    if (params->choices != NULL) {
        choose(session, params, result);
    }
    g_mutex_lock(&lock);
    record.n_captions++;
    g_mutex_unlock(&lock);
    return TRUE;
}

void fastvlm_result_clear(FastvlmResult *result)
{
    g_clear_pointer(&result->text, g_free);
    g_clear_pointer(&result->ids, g_free);
    g_clear_pointer(&result->choice_probabilities, g_free);
}
