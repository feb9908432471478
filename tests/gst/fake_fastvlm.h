/*
 * A stand-in for the engine: the functions of <fastvlm/...> that the plugin calls, with knobs for
 * how long things take and how they fail, and a record of what was asked.
 *
 *     picture -> mean colour, 0 to 4 -> "saw R G B" and as many " and so on" as tokens are wanted
 *
 * Model names decide what fastvlm_model_inspect_for() says: "missing", "broken" and "untokenized" are
 * that; any other name is sound.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FAKE_FASTVLM_H
#define FAKE_FASTVLM_H

#include <fastvlm/fastvlm.h>

typedef struct {
    gint load_ms;
    gint load_error; /* a FastvlmError, or -1 */
    gint encode_ms;
    gint resolution; /* the model's own; 0: 256 */
    gboolean scales; /* encode_ms is for that, and goes with the area */
    gint token_ms;
    gint n_tokens;       /* 4 at least */
    const char *ending;  /* of tokens from the fifth on; NULL: " and so on" */
    gint generate_error; /* a FastvlmError, or -1 */
    FastvlmFinishReason finish_reason;
    double first_choice;  /* probability of the first choice */
    gboolean sees_choice; /* it is instead the share of red in the picture */
    gint deaf;            /* the engine hears of a cancellation this many ms late */
} FakeKnobs;

typedef struct {
    guint n_inspects;
    guint n_loading;  /* now */
    guint n_loads;    /* started */
    guint n_models;   /* alive */
    guint n_sessions; /* alive */
    guint n_encodes;  /* started */
    guint n_captions; /* finished */
    guint n_cancelled;
    int worker_nice; /* of the last load */
    int n_threads;
    int thread_nice; /* of the thread that encoded last */
    int thread_policy;
    int resolution; /* of the last encode */
    FastvlmFit fit;
    int max_tokens; /* of the last caption */
    double temperature;
    double top_p;
    int top_k;
    guint64 seed;
    char prompt[64];
    char system_prompt[64];
} FakeRecord;

/** A picture as the engine got it, RGB without padding, and what it was told of it. */
typedef struct {
    int width, height;
    guint8 *rgb;
    FastvlmPixelFormat format;
    int aspect_width, aspect_height; /* of a pixel */
} FakePicture;

/** Read at every step; plain stores are fine while nothing runs. */
extern FakeKnobs fake;

/** All knobs and counts to their defaults; no model may be alive for longer than half a minute. */
void fake_reset(void);

FakeRecord fake_get_record(void);

/** The last picture; free rgb. */
FakePicture fake_get_picture(void);

/** While held, encoding waits (and may be cancelled). */
void fake_hold(gboolean hold);

/** Sets fake.deaf, also while the model runs. */
void fake_set_deaf(gint ms);

/** The same for fake.generate_error. */
void fake_set_generate_error(gint code);

/** Waits until `n` encodes have started; FALSE after half a minute. */
gboolean fake_wait_encodes(guint n);

#endif
