/*
 * Writes docs/element.md from the element itself.
 *
 *     pad templates, properties, signals <- GObject and GStreamer, of an instance
 *     fields of message, metadata, stats <- the tables that the element fills them from
 *
 * A test compares what this prints with the file.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include <stdio.h>

#include <gst/gst.h>

#include "gstfastvlmcaption.h"
#include "gstfastvlmmeta.h"
#include "gstfastvlmregions.h"
#include "gstfastvlmstats.h"

/* ---- pads ---- */

static const char *describe_presence(GstPadPresence presence)
{
    switch (presence) {
    case GST_PAD_ALWAYS:
        return "always";
    case GST_PAD_REQUEST:
        return "on request";
    default:
        return "sometimes";
    }
}

/* The values of a field, which may be one string or a list. */
static char *describe_value(const GValue *value)
{
    GString *text;

    if (!GST_VALUE_HOLDS_LIST(value)) {
        return G_VALUE_HOLDS_STRING(value) ? g_value_dup_string(value) : gst_value_serialize(value);
    }
    text = g_string_new(NULL);
    for (guint i = 0; i < gst_value_list_get_size(value); i++) {
        g_autofree char *item = describe_value(gst_value_list_get_value(value, i));

        g_string_append_printf(text, "%s%s", i > 0 ? ", " : "", item);
    }
    return g_string_free(text, FALSE);
}

static gboolean print_caps_field(GQuark field, const GValue *value, gpointer user_data)
{
    g_autofree char *text = describe_value(value);

    printf("- %s: %s\n", g_quark_to_string(field), text);
    return TRUE;
}

static void print_pad(const GstPadTemplate *templ)
{
    g_autoptr(GstCaps) caps = gst_pad_template_get_caps((GstPadTemplate *)templ);

    printf("### `%s`\n\n%s, %s.\n\n", GST_PAD_TEMPLATE_NAME_TEMPLATE(templ),
           GST_PAD_TEMPLATE_DIRECTION(templ) == GST_PAD_SINK ? "Sink" : "Source",
           describe_presence(GST_PAD_TEMPLATE_PRESENCE(templ)));
    for (guint i = 0; i < gst_caps_get_size(caps); i++) {
        const GstStructure *structure = gst_caps_get_structure(caps, i);
        GstCapsFeatures *features = gst_caps_get_features(caps, i);
        g_autofree char *feature_text = gst_caps_features_to_string(features);
        const gboolean is_repeated =
            i > 0 && gst_structure_is_equal(structure, gst_caps_get_structure(caps, 0));

        if (gst_caps_features_is_equal(features, GST_CAPS_FEATURES_MEMORY_SYSTEM_MEMORY)) {
            printf("`%s`\n\n", gst_structure_get_name(structure));
        } else {
            printf("or `%s(%s)`%s\n\n", gst_structure_get_name(structure), feature_text,
                   is_repeated ? ", the same" : "");
        }
        if (!is_repeated) {
            gst_structure_foreach(structure, print_caps_field, NULL);
            printf("\n");
        }
    }
}

static void print_pads(GstElement *element)
{
    printf("## Pads\n\n");
    for (GList *item = gst_element_class_get_pad_template_list(GST_ELEMENT_GET_CLASS(element));
         item != NULL; item = item->next) {
        print_pad(item->data);
    }
}

/* ---- properties ---- */

static char *describe_default(GParamSpec *pspec)
{
    const GValue *value = g_param_spec_get_default_value(pspec);

    if (G_VALUE_HOLDS_ENUM(value)) {
        const GEnumValue *item =
            g_enum_get_value(G_PARAM_SPEC_ENUM(pspec)->enum_class, g_value_get_enum(value));

        return g_strdup(item->value_nick);
    }
    if (G_VALUE_HOLDS_STRING(value)) {
        return g_value_get_string(value) != NULL
                   ? g_strdup_printf("\"%s\"", g_value_get_string(value))
                   : g_strdup("none");
    }
    if (G_VALUE_HOLDS_BOXED(value)) {
        return g_strdup("none");
    }
    return gst_value_serialize(value);
}

/* What may be set: a range or a list of nicks; empty where that goes without saying. */
static char *describe_range(GParamSpec *pspec)
{
    if (G_IS_PARAM_SPEC_UINT(pspec)) {
        const GParamSpecUInt *spec = G_PARAM_SPEC_UINT(pspec);

        return g_strdup_printf("%u to %u", spec->minimum, spec->maximum);
    }
    if (G_IS_PARAM_SPEC_INT(pspec)) {
        const GParamSpecInt *spec = G_PARAM_SPEC_INT(pspec);

        return g_strdup_printf("%d to %d", spec->minimum, spec->maximum);
    }
    if (G_IS_PARAM_SPEC_DOUBLE(pspec)) {
        const GParamSpecDouble *spec = G_PARAM_SPEC_DOUBLE(pspec);

        return g_strdup_printf("%g to %g", spec->minimum, spec->maximum);
    }
    if (G_IS_PARAM_SPEC_ENUM(pspec)) {
        const GEnumClass *klass = G_PARAM_SPEC_ENUM(pspec)->enum_class;
        GString *text = g_string_new(NULL);

        for (guint i = 0; i < klass->n_values; i++) {
            g_string_append_printf(text, "%s`%s`", i > 0 ? ", " : "", klass->values[i].value_nick);
        }
        return g_string_free(text, FALSE);
    }
    return g_strdup("");
}

static const char *describe_mutability(const GParamSpec *pspec)
{
    if (!(pspec->flags & G_PARAM_WRITABLE)) {
        return "read only";
    }
    if (pspec->flags & GST_PARAM_MUTABLE_PLAYING) {
        return "any time";
    }
    if (pspec->flags & GST_PARAM_MUTABLE_PAUSED) {
        return "up to PAUSED";
    }
    return "up to READY";
}

/* The type's name without GLib's and our own prefix, as "uint64" or "mode". */
static char *describe_type(GType type)
{
    if (G_TYPE_IS_ENUM(type)) {
        return g_strdup("enum");
    }
    if (type == G_TYPE_STRING) {
        return g_strdup("string");
    }
    if (type == G_TYPE_BOXED) {
        return g_strdup("GstValueArray");
    }
    return g_strdup(g_type_name(type));
}

static void print_property(GParamSpec *pspec)
{
    g_autofree char *type = describe_type(pspec->value_type);
    g_autofree char *fallback = describe_default(pspec);
    g_autofree char *range = describe_range(pspec);

    printf("| `%s` | %s | %s | %s | %s | %s |\n", pspec->name, type,
           pspec->flags & G_PARAM_WRITABLE ? fallback : "", range, describe_mutability(pspec),
           g_param_spec_get_blurb(pspec));
}

static void print_properties(GstElement *element)
{
    guint n_properties;
    g_autofree GParamSpec **properties =
        g_object_class_list_properties(G_OBJECT_GET_CLASS(element), &n_properties);

    printf("## Properties\n\n"
           "A new value of a property that changes at any time holds from the next caption on.\n\n"
           "| name | type | default | values | may change | what it is |\n"
           "| --- | --- | --- | --- | --- | --- |\n");
    for (guint i = 0; i < n_properties; i++) {
        if (properties[i]->owner_type == G_OBJECT_TYPE(element)) {
            print_property(properties[i]);
        }
    }
    printf("\n");
}

static void print_overlay(void)
{
    printf(
        "### `overlay`, `font-desc`\n\n"
        "The caption stands at the bottom, wrapped, in type that goes with the size of the video, "
        "and takes at most\n45 %% of the height: a long one gets smaller type.\n\n"
        "![A long caption on two lines](images/overlay-wrapped.png)\n\n"
        "`font-desc=\"Sans Bold 32\"`, for those who see little:\n\n"
        "![The same scene with a caption in large letters](images/overlay-large.png)\n\n"
        "Scripts need fonts; those that run from right to left do:\n\n"
        "![A caption in Arabic](images/overlay-arabic.png)\n\n"
        "`meson compile update-overlay-images` draws these pictures again, with the element's own "
        "code on a\npainted scene (`docs/draw_images.sh`).\n\n");
}

static void print_budget(void)
{
    printf(
        "### `latency-budget`\n\n"
        "Where `resolution` is 0 the element chooses one so that a sample's last caption is out "
        "no later than\nthis after its frame came in: the model's own, or 3/4, 1/2, 3/8 or 1/4 "
        "of it. The encoder's time goes\nwith the area; at half the side the released models "
        "read text in pictures worse (TextVQA, 0.5B: some 64\nat 1024 pixels, 59 at 512).\n\n"
        "The first caption is made at the lowest, which measures this machine; what it took says "
        "which comes next.\nTwo captions in a row over the budget, or one far over it, lead "
        "down; five with room for the next\nresolution lead up, and more each time that was too "
        "much. `stats` has the `resolution` and `precision` in\nuse; where not even the lowest "
        "will do, a WARNING tells. With `precision=auto` the precision is the\nfastest that was "
        "measured to leave the encoder's features as they are: a budget gives up size, never\n"
        "that. What a frame had behind it when it came in, as a camera's own delay, is not "
        "counted.\n\n");
}

static void print_regions(void)
{
    printf("### `regions`\n\n"
           "A detector upstream marks regions of a frame by GstVideoRegionOfInterestMeta. With "
           "`regions` each is\na picture of its own to the model: its rectangle, clipped to the "
           "visible part (what lies outside or is\nempty is none). The largest comes first, and of "
           "more than %d the largest are taken; a WARNING tells.\nEach prompt is asked about each "
           "region, and the fields `region-...` of message and metadata say which\nit was.\n\n"
           "- The answer to the first prompt about the largest region is the caption: metadata, "
           "`caption`, text and\n  drawing carry it. Messages and the signal carry all.\n"
           "- A frame without regions is no sample: the first frame at or after a point of the "
           "grid that has\n  some is. One that `caption-now` asks about is captioned as a whole "
           "instead; where it has some, the\n  number that was promised is the largest's.\n"
           "- For `change-threshold` a sample looks like the last one if the whole picture does "
           "and its regions\n  are of the same types, as many of each; wherever they are.\n"
           "- Alerts go by the region that shows what is watched for most probably, once all have "
           "been answered:\n  raised if any shows it, cleared when none does.\n\n",
           GST_FASTVLM_MAX_REGIONS);
}

static void print_stats(void)
{
    guint n_fields;
    const GstFastvlmStatsField *fields = gst_fastvlm_stats_get_fields(&n_fields);

    printf("### `stats`\n\n"
           "A GstStructure `fastvlm-stats`; it begins anew at READY to PAUSED.\n\n"
           "| field | type | what it is |\n| --- | --- | --- |\n");
    for (guint i = 0; i < n_fields; i++) {
        g_autofree char *type = describe_type(fields[i].type);

        printf("| `%s` | %s | %s |\n", fields[i].name, type, fields[i].blurb);
    }
    printf("\n");
}

/* ---- signals ---- */

static void print_signal(const GSignalQuery *signal)
{
    printf("### `%s` (", signal->signal_name);
    for (guint i = 0; i < signal->n_params; i++) {
        const GType type = signal->param_types[i] & ~G_SIGNAL_TYPE_STATIC_SCOPE;
        g_autofree char *name = describe_type(type);

        printf("%s%s", i > 0 ? ", " : "", name);
    }
    printf(")%s%s\n\n", signal->return_type != G_TYPE_NONE ? " returns " : "",
           signal->return_type != G_TYPE_NONE ? g_type_name(signal->return_type) : "");
    if (signal->signal_flags & G_SIGNAL_ACTION) {
        printf("An action signal: the application emits it.\n\n");
    }
}

static void print_signals(GstElement *element)
{
    guint n_ids;
    g_autofree guint *ids = g_signal_list_ids(G_OBJECT_TYPE(element), &n_ids);

    printf("## Signals\n\n");
    for (guint i = 0; i < n_ids; i++) {
        GSignalQuery signal;

        g_signal_query(ids[i], &signal);
        print_signal(&signal);
    }
    printf("`captioned` is emitted for each final caption, from the thread that computes: hand "
           "the structure\non and return. Its fields are those of the bus message.\n\n"
           "`caption-now` asks about the next frame, whatever `trigger` and `interval` say: the "
           "prompt given, or\nwith NULL what `prompt` or `prompts` say. It returns the `sequence` "
           "that the caption will carry (of\nseveral prompts: that of the first), or 0 where there "
           "will be none: the element is not in PAUSED or\nPLAYING, its model failed, or 32 wait "
           "for a frame already. In mode `live` a frame asked about is never\nreplaced by a newer "
           "one. The custom event `fastvlm-caption-now`, with a string `prompt` or without, does "
           "the\nsame, sent downstream or upstream; the first element it meets takes it. A flush "
           "drops frames asked\nabout that have no answer yet; an error leaves a warning.\n\n");
}

/* ---- messages and metadata ---- */

static void print_answer_fields(void)
{
    guint n_fields;
    const GstFastvlmAnswerField *fields = gst_fastvlm_answer_get_fields(&n_fields);

    printf("| field | type | what it is |\n| --- | --- | --- |\n");
    for (guint i = 0; i < n_fields; i++) {
        g_autofree char *type = describe_type(fields[i].type);

        printf("| `%s` | %s | %s |\n", fields[i].name, type, fields[i].blurb);
    }
    printf("\n");
}

static void print_messages(void)
{
    printf("## Messages\n\n"
           "An element message `%s` carries each caption, partial ones at most every 200 ms:\n\n",
           GST_FASTVLM_MESSAGE_NAME);
    print_answer_fields();
    printf(
        "With `change-threshold`, a message of type `unchanged` (at most every 200 ms) says that "
        "the caption "
        "holds\nfor the sample whose times it has; the other fields are the caption's.\n\n"
        "An element message `fastvlm-alert` has the same fields, those of the answer that brought "
        "it "
        "about, but\n`type` is `alert` or `clear`, and further\n\n"
        "- `alert-on` (string): what is watched for,\n"
        "- `probability` (gdouble): of that, the choices it names together,\n"
        "- `since` (guint64): running time of the frame that the alert began with, ns.\n\n"
        "An alert is raised once and cleared once, however the probability wavers between the two "
        "thresholds.\nEach of several prompts has an alert of its own; questions asked by "
        "`caption-now` have none. A flush\nforgets alerts silently.\n\n"
        "Others:\n\n"
        "- PROGRESS, code `loading`, while a model loads.\n"
        "- WARNING with details, field `reason`: `behind` where captions fall behind (with "
        "`skipped`,\n  `total-ms`, `interval`; at most every 30 s), `complete-live` where mode "
        "`complete` runs behind a\n  live source, `repetition` and `not-finite` where a caption "
        "was cut short (with "
        "`sequence`; at most every\n  30 s), `regions` where a frame has too many (with "
        "`n-regions`; the same),\n  `latency-budget` where no resolution keeps it (with "
        "`total-ms`, "
        "`resolution`; the same).\n"
        "- ERROR where a model is missing or broken: RESOURCE (not found, cannot be read, no "
        "memory) or\n  LIBRARY (damaged, unsupported, wrong settings); the text names the file and "
        "the remedy.\n\n");
}

static void print_meta(void)
{
    printf("## Metadata\n\n"
           "Every buffer from the first caption on carries a custom meta `%s` with the fields\n"
           "above, so the current caption can be read anywhere downstream. A meta of that name "
           "that came\nfrom upstream is replaced. It has no tags and so survives videoconvert, "
           "videoscale and encoders;\ndeinterlace and compositor drop it.\n\n"
           "In C `gst_buffer_get_custom_meta()` and `gst_custom_meta_get_structure()` find it; in "
           "Python:\n\n"
           "```python\n"
           "meta = buffer.get_custom_meta(\"%s\")\n"
           "text = meta.get_structure().get_string(\"text\") if meta else None\n"
           "```\n",
           GST_FASTVLM_META_NAME, GST_FASTVLM_META_NAME);
}

static void print_head(GstElement *element)
{
    GstElementClass *klass = GST_ELEMENT_GET_CLASS(element);

    printf("# fastvlmcaption\n\n"
           "<!-- Made by docs/generate_element_docs.c; `meson compile update-element-docs` makes "
           "it again. -->\n\n"
           "%s.\n\n"
           "Class `%s`. Video passes untouched (unless `overlay` draws on it); the pictures of a "
           "sampling grid go\nto the model, and what it says leaves as metadata, text, messages "
           "and drawing. docs/architecture.md\ntells how.\n\n",
           gst_element_class_get_metadata(klass, GST_ELEMENT_METADATA_DESCRIPTION),
           gst_element_class_get_metadata(klass, GST_ELEMENT_METADATA_KLASS));
}

static void print_text_pad(void)
{
    printf("There is at most one `text_src`; it may come and go while the video plays. Each "
           "caption is one buffer:\nin mode `complete` with the time of its frame and the "
           "duration to the next sample, in mode `live` with\nthe position of the video at that "
           "moment. GAP events fill the time between, at least every 100 ms, so\nthat muxers and "
           "`textoverlay` never wait. The text is made fit for them: line breaks become a space,\n"
           "control characters go, `-->` becomes `→`, `<` and `>` become `‹` and `›`.\n\n");
}

int main(int argc, char **argv)
{
    /* No plugin but ours is wanted, so none is looked for. */
    g_setenv("GST_REGISTRY_UPDATE", "no", TRUE);
    gst_init(&argc, &argv);
    if (!GST_ELEMENT_REGISTER(fastvlmcaption, NULL)) {
        g_printerr("generate_element_docs: the element cannot be registered\n");
        return 1;
    }
    g_autoptr(GstElement) element =
        gst_object_ref_sink(gst_element_factory_make("fastvlmcaption", NULL));

    print_head(element);
    print_pads(element);
    print_text_pad();
    print_properties(element);
    print_overlay();
    print_budget();
    print_regions();
    print_stats();
    print_signals(element);
    print_messages();
    print_meta();
    return 0;
}
