/*
 * A sample's way through the model: its picture, or each region of it, is encoded once, then question
 * by question.
 *
 *     questions, region by region -> picture to the engine where it is another -> answer -> the element
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "gstfastvlmworkerprivate.h"

#include <string.h>

#include "gstfastvlmsanitize.h"

#define PARTIAL_INTERVAL_US (200 * G_TIME_SPAN_MILLISECOND)

/* One sample's way through the model, and the question that is being answered. */
typedef struct {
    GstFastvlmWorker *worker;
    const GstFastvlmSample *sample;
    GstFastvlmSettings settings;
    guint64 epoch;
    gint64 start_us;
    double prepare_ms; /* from the start to the engine's own clock, which a picture starts anew */
    double earlier_ms; /* spent on the questions before about the same picture */
    guint resolution;  /* pixels */
    double picture_ms; /* spent on what goes with the picture's area */
    double done_ms;    /* from the sample's arrival to its last answer */
    GstFastvlmQuestion *question;
    double ttft_ms;
    char **choices; /* NULL: any answer */
    GString *text;
    guint n_tokens;
} Caption;

static double ms_since(gint64 start_us)
{
    return (double)(g_get_monotonic_time() - start_us) / 1000.0;
}

static void set_region(GstFastvlmAnswer *answer, const GstFastvlmQuestion *question)
{
    const GstFastvlmRegion *region = question->region;

    if (region == NULL) {
        return;
    }
    answer->is_region = TRUE;
    answer->region_index = question->region_index;
    answer->region_id = region->id;
    answer->region_type = g_strdup(region->type != 0 ? g_quark_to_string(region->type) : "");
    answer->region_x = region->x;
    answer->region_y = region->y;
    answer->region_w = region->w;
    answer->region_h = region->h;
}

static GstFastvlmAnswer *make_answer(const Caption *caption, const char *type, const char *text)
{
    const GstFastvlmSample *sample = caption->sample;
    GstFastvlmAnswer *answer = gst_fastvlm_answer_new();

    answer->type = type;
    answer->text = gst_fastvlm_sanitize_answer(text);
    answer->prompt = g_strdup(caption->question->prompt);
    answer->pts = sample->pts;
    answer->running_time = sample->running_time;
    answer->stream_time = sample->stream_time;
    answer->sequence = caption->question->sequence;
    answer->is_one_off = caption->question->is_one_off;
    answer->prompt_index = caption->question->index;
    answer->resolution = caption->resolution;
    set_region(answer, caption->question);
    return answer;
}

static gboolean publish(Caption *caption, GstFastvlmAnswer *answer, const FastvlmResult *result)
{
    GstFastvlmWorker *worker = caption->worker;

    if (!gst_fastvlm_worker_begin_publish(worker, caption->epoch)) {
        gst_fastvlm_answer_unref(answer);
        return FALSE;
    }
    caption->question->is_published = TRUE;
    worker->funcs->publish(worker->user_data, answer, caption->sample, result);
    gst_fastvlm_worker_end_call(worker);
    return TRUE;
}

static void on_text(const char *piece, int id, gpointer user_data)
{
    Caption *caption = user_data;
    GstFastvlmWorker *worker = caption->worker;
    const gint64 now_us = g_get_monotonic_time();

    g_string_append(caption->text, piece);
    if (caption->n_tokens++ == 0) {
        caption->ttft_ms = ms_since(caption->start_us);
    }
    /* A choice comes whole: its final follows at once. */
    if (caption->choices != NULL) {
        return;
    }
    if (now_us - worker->last_partial_us < PARTIAL_INTERVAL_US) {
        return;
    }
    GstFastvlmAnswer *answer = make_answer(caption, "partial", caption->text->str);
    if (*answer->text == '\0') {
        gst_fastvlm_answer_unref(answer);
        return;
    }
    worker->last_partial_us = now_us;
    answer->tokens = caption->n_tokens;
    answer->ttft_ms = caption->ttft_ms;
    answer->total_ms = ms_since(caption->start_us);
    publish(caption, answer, NULL);
}

static gboolean publish_final(Caption *caption, const FastvlmResult *result)
{
    GstFastvlmAnswer *answer = make_answer(caption, "final", result->text);

    answer->confidence = result->confidence;
    answer->tokens = (guint)result->n_tokens;
    answer->ttft_ms = caption->prepare_ms + caption->earlier_ms + result->ttft_ms;
    answer->total_ms = caption->prepare_ms + caption->earlier_ms + result->total_ms;
    for (guint i = 0; caption->choices != NULL && caption->choices[i] != NULL; i++) {
        gst_fastvlm_answer_add_choice(answer, caption->choices[i], result->choice_probabilities[i]);
    }
    caption->worker->last_total_ms = answer->total_ms;
    return publish(caption, answer, result);
}

/* ---- one caption ---- */

/* The picture, or that region of it, to the engine. */
static gboolean show_frame(Caption *caption, const GstFastvlmRegion *region, GError **error)
{
    GstFastvlmWorker *worker = caption->worker;
    const GstFastvlmFrame *frame = &caption->sample->frame;
    const GstFastvlmFrame part = region != NULL ? gst_fastvlm_region_crop(region, frame) : *frame;
    FastvlmImage image;

    if (!gst_fastvlm_viewer_open(worker->viewer, &part, &image)) {
        g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_ARGUMENT,
                    "a frame of %dx%d %s at %" GST_TIME_FORMAT
                    " cannot be read as pixels: convert it upstream",
                    frame->width, frame->height,
                    gst_video_format_to_string(GST_VIDEO_INFO_FORMAT(&frame->info)),
                    GST_TIME_ARGS(caption->sample->pts));
        return FALSE;
    }
    caption->prepare_ms = ms_since(caption->start_us);
    caption->earlier_ms = 0;
    const gboolean ok = fastvlm_session_set_image(worker->session, &image, (int)caption->resolution,
                                                  caption->settings.fit, error);
    gst_fastvlm_viewer_close(worker->viewer);
    return ok;
}

/* Sets caption->choices. */
static gboolean read_choices(Caption *caption, GError **error)
{
    if (!gst_fastvlm_settings_has_choices(&caption->settings)) {
        return TRUE;
    }
    caption->choices = fastvlm_choices_parse(caption->settings.choices, error);
    return caption->choices != NULL;
}

static gboolean answer_prompt(Caption *caption, FastvlmResult *result, GError **error)
{
    const GstFastvlmSettings *settings = &caption->settings;
    const FastvlmGenerateParams params = {
        .prompt = caption->question->prompt,
        .system_prompt = settings->system_prompt,
        .max_tokens = (int)settings->max_tokens,
        .temperature = settings->temperature,
        .top_p = settings->top_p,
        .top_k = (int)settings->top_k,
        .seed = settings->seed,
        .choices = (const char *const *)caption->choices,
        .on_text = on_text,
        .on_text_data = caption,
    };

    return fastvlm_session_generate(caption->worker->session, &params, result, error);
}

/* Whether a failure ends the worker: what a changed property could mend does not, in mode live, and a
 * frame that the model computes no finite numbers of (FORMAT) does not at all. */
static gboolean is_fatal(const GError *error, const GstFastvlmSample *sample)
{
    if (g_error_matches(error, FASTVLM_ERROR, FASTVLM_ERROR_FORMAT)) {
        return FALSE;
    }
    return sample->complete || !(g_error_matches(error, FASTVLM_ERROR, FASTVLM_ERROR_ARGUMENT) ||
                                 g_error_matches(error, FASTVLM_ERROR, FASTVLM_ERROR_LIMIT));
}

/* Returns FALSE where the worker must end. */
static gboolean tell_failure(const Caption *caption, const GError *error)
{
    GstFastvlmWorker *worker = caption->worker;
    const gboolean fatal = is_fatal(error, caption->sample);

    /* Cancelled, or of no interest any more. */
    if (g_error_matches(error, FASTVLM_ERROR, FASTVLM_ERROR_CANCELLED) ||
        !gst_fastvlm_worker_begin_publish(worker, caption->epoch)) {
        return TRUE;
    }
    worker->funcs->failed(worker->user_data, error, FALSE, fatal);
    gst_fastvlm_worker_end_call(worker);
    return !fatal;
}

/* ---- questions ---- */

static gboolean has_budget(const Caption *caption)
{
    return caption->settings.resolution == 0 && caption->settings.latency_budget != 0;
}

/* For the whole sample: what a user set, what keeps the budget, or the model's own. */
static void choose_resolution(Caption *caption)
{
    GstFastvlmWorker *worker = caption->worker;
    const guint fixed = caption->settings.resolution;

    caption->resolution = fixed != 0 ? fixed : worker->own_resolution;
    if (has_budget(caption)) {
        caption->resolution = gst_fastvlm_budget_choose(
            &worker->budget, caption->settings.latency_budget, worker->own_resolution);
    }
}

/* The picture is encoded before the first question about it. */
static void note_time(Caption *caption, const FastvlmResult *result)
{
    if (caption->earlier_ms == 0) {
        caption->picture_ms += result->encode_ms;
    }
    caption->picture_ms += result->prefill_ms;
    caption->earlier_ms += result->total_ms - result->preprocess_ms - result->encode_ms;
    caption->done_ms = ms_since(caption->sample->arrival_us);
}

static void note_budget(Caption *caption)
{
    GstFastvlmWorker *worker = caption->worker;

    if (!has_budget(caption) || caption->done_ms == 0 ||
        gst_fastvlm_budget_note(&worker->budget, caption->done_ms, caption->picture_ms) ||
        !gst_fastvlm_worker_begin_publish(worker, caption->epoch)) {
        return;
    }
    worker->funcs->over_budget(worker->user_data, caption->done_ms, caption->resolution);
    gst_fastvlm_worker_end_call(worker);
}

/* Returns FALSE where nothing more is to be asked; *go_on where the worker must end. */
static gboolean answer_question(Caption *caption, GstFastvlmQuestion *question, gboolean *captioned,
                                gboolean *go_on)
{
    FastvlmResult result;
    GError *error = NULL;

    caption->question = question;
    caption->n_tokens = 0;
    g_string_truncate(caption->text, 0);
    if (answer_prompt(caption, &result, &error)) {
        *captioned |= publish_final(caption, &result);
        note_time(caption, &result);
        fastvlm_result_clear(&result);
        return TRUE;
    }
    *go_on = tell_failure(caption, error);
    const gboolean cancelled = g_error_matches(error, FASTVLM_ERROR, FASTVLM_ERROR_CANCELLED);
    g_clear_error(&error);
    return *go_on && !cancelled;
}

/* The questions about one region, or the picture, from `first` on; returns the next one's place, or -1
 * where nothing more is to be asked. A region that cannot be shown leaves the others theirs. */
static gint answer_part(Caption *caption, GArray *questions, guint first, gboolean *captioned,
                        gboolean *go_on)
{
    const GstFastvlmRegion *region = g_array_index(questions, GstFastvlmQuestion, first).region;
    GError *error = NULL;
    guint i = first;

    const gboolean shown = show_frame(caption, region, &error);
    gboolean goes_on = shown;
    if (!shown) {
        *go_on = tell_failure(caption, error);
        goes_on = *go_on && !g_error_matches(error, FASTVLM_ERROR, FASTVLM_ERROR_CANCELLED);
        g_clear_error(&error);
    }
    for (; goes_on && i < questions->len; i++) {
        GstFastvlmQuestion *question = &g_array_index(questions, GstFastvlmQuestion, i);

        if (question->region != region) {
            break;
        }
        goes_on = !shown || answer_question(caption, question, captioned, go_on);
    }
    return goes_on ? (gint)i : -1;
}

static gboolean answer_questions(Caption *caption, GArray *questions, gboolean *captioned)
{
    GError *error = NULL;
    gboolean go_on = TRUE;
    gint place = 0;

    if (!read_choices(caption, &error)) {
        go_on = tell_failure(caption, error);
        g_clear_error(&error);
        return go_on;
    }
    while (place >= 0 && (guint)place < questions->len) {
        place = answer_part(caption, questions, (guint)place, captioned, &go_on);
    }
    if (caption->sample->regions != NULL &&
        gst_fastvlm_worker_begin_publish(caption->worker, caption->epoch)) {
        caption->worker->funcs->regions_done(caption->worker->user_data);
        gst_fastvlm_worker_end_call(caption->worker);
    }
    return go_on;
}

gboolean gst_fastvlm_worker_answer(GstFastvlmWorker *worker, GstFastvlmSample *sample,
                                   guint64 epoch)
{
    Caption caption = {.worker = worker, .sample = sample, .epoch = epoch};

    if (!gst_fastvlm_worker_begin_publish(worker, epoch)) {
        return TRUE;
    }
    worker->funcs->get_settings(worker->user_data, &caption.settings);
    gst_fastvlm_worker_end_call(worker);
    caption.start_us = g_get_monotonic_time();
    caption.text = g_string_new(NULL);
    choose_resolution(&caption);
    char **prompts = gst_fastvlm_settings_list_prompts(&caption.settings);
    GArray *questions = gst_fastvlm_questions_list(sample, prompts);
    gst_fastvlm_worker_number(worker, questions);
    const gboolean go_on = answer_questions(&caption, questions, &sample->captioned);
    note_budget(&caption);
    gst_fastvlm_worker_give_back(worker, questions);
    g_array_unref(questions);
    g_strfreev(prompts);
    gst_fastvlm_settings_clear(&caption.settings);
    g_strfreev(caption.choices);
    g_string_free(caption.text, TRUE);
    return go_on;
}
