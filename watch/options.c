/*
 * The command line; see the header. Options that are properties of the element are kept as
 * NAME=VALUE, so that there is one way to them.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "options.h"

#include <string.h>

#define DAY_S 86400.0

static GPtrArray *properties; /* while the command line is read */

static gboolean take_property(const char *name, const char *value, gpointer data, GError **error)
{
    if (g_str_equal(name, "--property") && strchr(value, '=') == NULL) {
        g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                    "--property %s: write NAME=VALUE", value);
        return FALSE;
    }
    g_ptr_array_add(properties, g_str_equal(name, "--property")
                                    ? g_strdup(value)
                                    : g_strdup_printf("%s=%s", name + 2, value));
    return TRUE;
}

static const char summary[] =
    "Watches cameras and writes what they show: a line of JSON for each caption, alert and change "
    "of\n"
    "a camera's state. Goes on until it is told to stop, whatever the cameras do.";
static const char description[] = "URL: rtsp://USER:PASSWORD@HOST/PATH, http://..., a /dev/video "
                                  "device, or a video file, which ends.\n"
                                  "Passwords are never written anywhere; to keep them out of the "
                                  "list of processes use --cameras.\n";

static gboolean check_range(const char *name, double value, double from, double to, GError **error)
{
    if (value >= from && value <= to) {
        return TRUE;
    }
    g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE, "--%s %g: %g to %g is possible",
                name, value, from, to);
    return FALSE;
}

static gboolean take_speak_by(WatchOptions *options, const char *by, GError **error)
{
    static const char *const names[] = {"auto", "dispatcher", "espeak", NULL};
    guint i = 0;

    while (by != NULL && names[i] != NULL && !g_str_equal(by, names[i])) {
        i++;
    }
    if (names[i] == NULL) {
        g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                    "--speak-by %s: auto, dispatcher or espeak", by);
        return FALSE;
    }
    options->speak_by = (WatchSpeakBy)i;
    const gboolean is_file = options->speak_to != NULL && *options->speak_to != '\0';
    if (is_file && options->speak_by == WATCH_SPEAK_BY_DISPATCHER) {
        g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                    "--speak-by dispatcher: it speaks by itself and into no file; leave out "
                    "--speak-to");
        return FALSE;
    }
    return TRUE;
}

static gboolean check(const WatchOptions *options, GError **error)
{
    const char *protocol = options->protocol;

    if (protocol != NULL && !g_str_equal(protocol, "tcp") && !g_str_equal(protocol, "udp") &&
        !g_str_equal(protocol, "auto")) {
        g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                    "--protocol %s: tcp, udp or auto", protocol);
        return FALSE;
    }
    if (options->addresses == NULL && options->cameras == NULL) {
        g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                    "no camera: name an rtsp:// address, a device or a file; --help says more");
        return FALSE;
    }
    return check_range("interval", options->interval_s, 0.01, DAY_S, error) &&
           check_range("stall", options->stall_s, 0.5, DAY_S, error) &&
           check_range("retry", options->retry_s, 0.01, DAY_S, error) &&
           check_range("retry-max", options->retry_max_s, options->retry_s, DAY_S, error) &&
           check_range("retry-refused", options->retry_refused_s, 0.01, DAY_S, error) &&
           check_range("latency", options->latency_ms, 0, 60000, error);
}

#define PASSED(name, arg, text)                                     \
    {                                                               \
        name, 0, 0, G_OPTION_ARG_CALLBACK, take_property, text, arg \
    }

gboolean watch_options_parse(WatchOptions *options, int *argc, char ***argv, GError **error)
{
    gboolean speak = FALSE;
    char *speak_by = NULL;
    const GOptionEntry entries[] = {
        {"cameras", 0, 0, G_OPTION_ARG_FILENAME, &options->cameras,
         "Cameras, one [NAME=]URL a line; - for standard input", "FILE"},
        PASSED("prompt", "TEXT", "What to ask about each picture"),
        PASSED("choices", "A,B", "The answer is one of these"),
        PASSED("alert-on", "A", "Alert when this choice becomes probable"),
        PASSED("alert-threshold", "P", "Probability at which an alert is raised"),
        PASSED("alert-clear", "P", "Probability at which it is cleared"),
        PASSED("alert-cooldown", "NS", "No new alert for so long, nanoseconds"),
        PASSED("change-threshold", "X", "Skip pictures that look like the last, see the element"),
        PASSED("model-path", "DIR", "Checkpoint directory, or the name of a model (demo)"),
        PASSED("resolution", "R", "Side of the picture that the model sees"),
        PASSED("max-tokens", "N", "Longest caption"),
        PASSED("property", "NAME=VALUE", "Any property of fastvlmcaption"),
        {"interval", 0, 0, G_OPTION_ARG_DOUBLE, &options->interval_s,
         "Seconds between looks at a camera (1)", "S"},
        {"record", 0, 0, G_OPTION_ARG_FILENAME, &options->record,
         "Keep a JPEG of the picture that raised an alert", "DIR"},
        {"speak", 0, 0, G_OPTION_ARG_NONE, &speak, "Say it, too, by the loudspeaker", NULL},
        {"speak-to", 0, 0, G_OPTION_ARG_FILENAME, &options->speak_to, "Say it into a WAV file",
         "FILE"},
        {"speak-by", 0, 0, G_OPTION_ARG_STRING, &speak_by,
         "Who speaks: dispatcher, espeak, or auto: speech-dispatcher where one answers (auto)",
         "BY"},
        {"voice", 0, 0, G_OPTION_ARG_STRING, &options->voice, "Voice or language that speaks (en)",
         "NAME"},
        {"protocol", 0, 0, G_OPTION_ARG_STRING, &options->protocol,
         "tcp, udp, or auto: udp, then tcp (tcp)", "P"},
        {"latency", 0, 0, G_OPTION_ARG_INT, &options->latency_ms,
         "Time for RTP packets to come late, ms (200)", "MS"},
        {"stall", 0, 0, G_OPTION_ARG_DOUBLE, &options->stall_s,
         "Seconds without a picture until a stream is given up (10)", "S"},
        {"retry", 0, 0, G_OPTION_ARG_DOUBLE, &options->retry_s,
         "Seconds until the first new try; doubles with each (1)", "S"},
        {"retry-max", 0, 0, G_OPTION_ARG_DOUBLE, &options->retry_max_s,
         "Longest wait between tries (60)", "S"},
        {"retry-refused", 0, 0, G_OPTION_ARG_DOUBLE, &options->retry_refused_s,
         "Wait where the camera refused name and password (300)", "S"},
        {G_OPTION_REMAINING, 0, 0, G_OPTION_ARG_FILENAME_ARRAY, &options->addresses, NULL,
         "[NAME=]URL..."},
        {NULL, 0, 0, G_OPTION_ARG_NONE, NULL, NULL, NULL}};
    GOptionContext *context = g_option_context_new(NULL);

    properties = g_ptr_array_new();
    g_option_context_set_summary(context, summary);
    g_option_context_set_description(context, description);
    g_option_context_add_main_entries(context, entries, NULL);
    const gboolean parsed = g_option_context_parse(context, argc, argv, error);
    g_option_context_free(context);
    g_ptr_array_add(properties, NULL);
    options->properties = (char **)g_ptr_array_free(properties, FALSE);
    if (speak && options->speak_to == NULL) {
        options->speak_to = g_strdup("");
    }
    const gboolean ok = parsed && take_speak_by(options, speak_by, error) && check(options, error);
    g_free(speak_by);
    return ok;
}

void watch_options_clear(WatchOptions *options)
{
    g_strfreev(options->addresses);
    g_strfreev(options->properties);
    g_free(options->cameras);
    g_free(options->record);
    g_free(options->protocol);
    g_free(options->speak_to);
    g_free(options->voice);
    *options = (WatchOptions){0};
}
