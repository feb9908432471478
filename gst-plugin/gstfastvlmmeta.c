/*
 * Answers as structures and as metadata; see the header.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "gstfastvlmmeta.h"

#define AT(member) G_STRUCT_OFFSET(GstFastvlmAnswer, member)

static const GstFastvlmAnswerField fields[] = {
    {"type", G_TYPE_STRING, AT(type), "`partial`: more will come; `final`; `unchanged`"},
    {"text", G_TYPE_STRING, AT(text),
     "the model's words so far in UTF-8, at most 4,096 characters; of control characters only tabs "
     "and line feeds"},
    {"prompt", G_TYPE_STRING, AT(prompt), "the prompt in force when the caption began"},
    {"pts", G_TYPE_UINT64, AT(pts), "PTS of the frame that the caption is about, ns"},
    {"running-time", G_TYPE_UINT64, AT(running_time), "running time of that frame, ns"},
    {"stream-time", G_TYPE_UINT64, AT(stream_time), "stream time of that frame, ns"},
    {"sequence", G_TYPE_UINT64, AT(sequence),
     "number of the caption, shared by its partials and its final; 1 at READY to PAUSED, then one "
     "more a caption"},
    {"confidence", G_TYPE_DOUBLE, AT(confidence),
     "exp of the mean log-probability of the tokens at temperature 1; 0 in partials"},
    {"tokens", G_TYPE_UINT, AT(tokens), "tokens made so far"},
    {"ttft-ms", G_TYPE_DOUBLE, AT(ttft_ms), "from starting on the frame to the first token"},
    {"total-ms", G_TYPE_DOUBLE, AT(total_ms),
     "from starting on the frame to the last token so far"},
    {"age-ms", G_TYPE_DOUBLE, AT(age_ms),
     "running time when this was made, less the frame's; without a clock or not playing, the time "
     "since the frame came in"},
    {"prompt-index", G_TYPE_UINT, AT(prompt_index),
     "place of the prompt among `prompts`, from 0 on; 0 without them"},
    {"choices", G_TYPE_BOXED, AT(choices),
     "structures `choice` with `name` (string) and `probability` (double), in the order of the "
     "property; empty without choices, and in partials"},
    {"region-type", G_TYPE_STRING, AT(region_type),
     "type of the region that the caption is about, as the detector named it; none where it is "
     "about the whole picture, and the other region fields are 0"},
    {"region-id", G_TYPE_INT, AT(region_id),
     "id of the region, as its GstVideoRegionOfInterestMeta says"},
    {"region-x", G_TYPE_UINT, AT(region_x), "left edge of the region in the picture, pixels"},
    {"region-y", G_TYPE_UINT, AT(region_y), "its upper edge"},
    {"region-w", G_TYPE_UINT, AT(region_w), "its width"},
    {"region-h", G_TYPE_UINT, AT(region_h), "its height"},
};

const GstFastvlmAnswerField *gst_fastvlm_answer_get_fields(guint *n_fields)
{
    *n_fields = G_N_ELEMENTS(fields);
    return fields;
}

GstFastvlmAnswer *gst_fastvlm_answer_new(void)
{
    return g_atomic_rc_box_new0(GstFastvlmAnswer);
}

GstFastvlmAnswer *gst_fastvlm_answer_ref(GstFastvlmAnswer *answer)
{
    return g_atomic_rc_box_acquire(answer);
}

static void clear_answer(gpointer data)
{
    GstFastvlmAnswer *answer = data;

    g_free(answer->text);
    g_free(answer->prompt);
    g_free(answer->region_type);
    g_clear_pointer(&answer->choices, g_array_unref);
}

static void clear_choice(gpointer choice)
{
    g_free(((GstFastvlmChoice *)choice)->name);
}

void gst_fastvlm_answer_add_choice(GstFastvlmAnswer *answer, const char *name, double probability)
{
    const GstFastvlmChoice choice = {g_strdup(name), probability};

    if (answer->choices == NULL) {
        answer->choices = g_array_new(FALSE, FALSE, sizeof choice);
        g_array_set_clear_func(answer->choices, clear_choice);
    }
    g_array_append_val(answer->choices, choice);
}

void gst_fastvlm_answer_unref(GstFastvlmAnswer *answer)
{
    if (answer != NULL) {
        g_atomic_rc_box_release_full(answer, clear_answer);
    }
}

static void set_choices(GstStructure *structure, const char *name, const GArray *choices)
{
    GValue array = G_VALUE_INIT, item = G_VALUE_INIT;

    gst_value_array_init(&array, choices != NULL ? choices->len : 0);
    for (guint i = 0; choices != NULL && i < choices->len; i++) {
        const GstFastvlmChoice *choice = &g_array_index(choices, GstFastvlmChoice, i);

        g_value_init(&item, GST_TYPE_STRUCTURE);
        g_value_take_boxed(&item, gst_structure_new("choice", "name", G_TYPE_STRING, choice->name,
                                                    "probability", G_TYPE_DOUBLE,
                                                    choice->probability, NULL));
        gst_value_array_append_and_take_value(&array, &item);
    }
    gst_structure_take_value(structure, name, &array);
}

static void set_field(GstStructure *structure, const GstFastvlmAnswerField *field,
                      const GstFastvlmAnswer *answer)
{
    gconstpointer member = (const char *)answer + field->offset;

    switch (field->type) {
    case G_TYPE_STRING:
        gst_structure_set(structure, field->name, G_TYPE_STRING, *(char *const *)member, NULL);
        break;
    case G_TYPE_UINT64:
        gst_structure_set(structure, field->name, G_TYPE_UINT64, *(const guint64 *)member, NULL);
        break;
    case G_TYPE_INT:
        gst_structure_set(structure, field->name, G_TYPE_INT, *(const gint *)member, NULL);
        break;
    case G_TYPE_UINT:
        gst_structure_set(structure, field->name, G_TYPE_UINT, *(const guint *)member, NULL);
        break;
    case G_TYPE_DOUBLE:
        gst_structure_set(structure, field->name, G_TYPE_DOUBLE, *(const double *)member, NULL);
        break;
    case G_TYPE_BOXED:
        set_choices(structure, field->name, *(GArray *const *)member);
        break;
    default:
        g_assert_not_reached();
    }
}

static void set_fields(GstStructure *structure, const GstFastvlmAnswer *answer)
{
    for (gsize i = 0; i < G_N_ELEMENTS(fields); i++) {
        set_field(structure, &fields[i], answer);
    }
}

GstStructure *gst_fastvlm_answer_to_structure(const GstFastvlmAnswer *answer, const char *name)
{
    GstStructure *structure = gst_structure_new_empty(name);

    set_fields(structure, answer);
    return structure;
}

void gst_fastvlm_meta_register(void)
{
    static gsize once = 0;

    if (!g_once_init_enter(&once)) {
        return;
    }
    /* No tags: whatever a filter changes in the picture, the words about it still hold. A second
     * copy of this code in the process (a static build beside the plugin) finds the name taken. */
    const char *no_tags[] = {NULL};
    if (gst_meta_get_info(GST_FASTVLM_META_NAME) == NULL) {
        gst_meta_register_custom(GST_FASTVLM_META_NAME, no_tags, NULL, NULL, NULL);
    }
    g_once_init_leave(&once, 1);
}

void gst_fastvlm_meta_set(GstBuffer *buffer, const GstFastvlmAnswer *answer)
{
    GstCustomMeta *meta;

    while ((meta = gst_buffer_get_custom_meta(buffer, GST_FASTVLM_META_NAME)) != NULL) {
        gst_buffer_remove_meta(buffer, &meta->meta);
    }
    meta = gst_buffer_add_custom_meta(buffer, GST_FASTVLM_META_NAME);
    set_fields(gst_custom_meta_get_structure(meta), answer);
}
