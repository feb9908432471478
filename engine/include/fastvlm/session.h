/*
 * A session: one timeline on a model (picture, prompt, KV cache).
 *
 *     fastvlm_session_set_image()   pixels -> preprocess -> FastViTHD -> projector
 *     fastvlm_session_generate()    prompt + picture -> prefill -> tokens, one by one -> text
 *
 * A session is used by one thread at a time; fastvlm_session_cancel() alone may be called from any
 * thread at any time. Several sessions of one model may run at once; they take turns at its threads, and
 * those that decode at the same time share their steps, so that many cost far less than many times one.
 * Results depend on inputs alone: the number of threads changes no byte.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_SESSION_H
#define FASTVLM_SESSION_H

#include <fastvlm/error.h>
#include <fastvlm/image.h>
#include <fastvlm/model.h>

G_BEGIN_DECLS

typedef struct _FastvlmSession FastvlmSession;

/** The default prompt: predict.py of apple/ml-fastvlm asks it, and the demo model knows it. */
#define FASTVLM_DEFAULT_PROMPT "Describe the image."
#define FASTVLM_DEFAULT_SYSTEM_PROMPT "You are a helpful assistant."
#define FASTVLM_DEFAULT_MAX_TOKENS 64

typedef enum {
    FASTVLM_FINISH_STOP,       /* the model ended its answer */
    FASTVLM_FINISH_LENGTH,     /* max_tokens were made, or the context is full */
    FASTVLM_FINISH_CHOICE,     /* the answer is one of the choices */
    FASTVLM_FINISH_REPETITION, /* it went round in circles: it ends with the first round */
    FASTVLM_FINISH_NOT_FINITE, /* the model computed a logit that is no number: it ends before that */
} FastvlmFinishReason;

/** "stop", "length", "choice", "repetition", "not_finite". */
FASTVLM_API const char *fastvlm_finish_reason_to_string(FastvlmFinishReason reason);

/**
 * Called from the generating thread with each piece of text as it comes.
 *
 * @param piece  the new text: whole UTF-8 characters, may be empty
 * @param id     the token just chosen
 */
typedef void (*FastvlmTextFunc)(const char *piece, int id, gpointer user_data);

/** Most choices that one answer may be chosen from. */
#define FASTVLM_MAX_CHOICES 64

/**
 * Reads choices as people write them: "yes, no", with commas between; blanks around them do not count.
 *
 * @return NULL-terminated, free with g_strfreev(); NULL on error
 * Errors: ARGUMENT (fewer than two, more than FASTVLM_MAX_CHOICES, one that is empty, there twice, no
 * UTF-8 or with control characters).
 */
FASTVLM_API char **fastvlm_choices_parse(const char *text, GError **error);

/** How to answer; all zero is the default (greedy). Pointers need only live during the call. */
typedef struct {
    const char *prompt;         /* UTF-8; NULL: FASTVLM_DEFAULT_PROMPT */
    const char *system_prompt;  /* UTF-8; NULL: FASTVLM_DEFAULT_SYSTEM_PROMPT */
    int max_tokens;             /* 0: FASTVLM_DEFAULT_MAX_TOKENS */
    double temperature;         /* 0: greedy */
    double top_p;               /* 0 or 1: off; else the smallest set of tokens this probable */
    int top_k;                  /* 0: off; else the k most probable tokens */
    guint64 seed;               /* same seed, same text */
    const char *const *choices; /* NULL-terminated: the answer is one of them; NULL: any answer */
    FastvlmTextFunc on_text;    /* may be NULL */
    gpointer on_text_data;

    /* Instead of a prompt, for tests and benchmarks: ids before and after the picture's rows. */
    const gint32 *prefix_ids; /* [n_prefix_ids] */
    int n_prefix_ids;
    const gint32 *suffix_ids; /* [n_suffix_ids] */
    int n_suffix_ids;
    gboolean use_ids;     /* take the two above and no prompt */
    gboolean ignore_stop; /* go on to max_tokens whatever is chosen, in circles too */
    gboolean no_draft;    /* without guesses; see fastvlm_session_generate() */
} FastvlmGenerateParams;

/** What came of it. `text`, `ids` and `choice_probabilities` are freed by fastvlm_result_clear(). */
typedef struct {
    char *text;   /* valid UTF-8 without special tokens, blanks at both ends removed; never NULL */
    gint32 *ids;  /* [n_tokens], without the stop token */
    int n_tokens; /* tokens made, the stop token not counted */
    int n_prompt_tokens; /* positions of the prompt, the picture's rows included */
    int n_reused_tokens; /* how many of them the session had computed already */
    FastvlmFinishReason finish_reason;
    int choice;                   /* the place of `text` among the choices; -1 without any */
    double *choice_probabilities; /* in the choices' order, 1 in all; NULL without any */
    double
        confidence; /* exp of the mean log-probability of the tokens (with the stop) at temperature 1 */
    double preprocess_ms; /* of the session's picture */
    double encode_ms;     /* of the session's picture: encoder and projector */
    double prefill_ms;    /* of the prompt, to the first logits */
    double ttft_ms;       /* preprocess + encode + prefill + choosing the first token */
    double decode_ms;     /* from the first token to the last */
    double total_ms;      /* ttft_ms + decode_ms */
} FastvlmResult;

FASTVLM_API void fastvlm_result_clear(FastvlmResult *result);

/** Makes a session; it holds a reference to `model`. Free with fastvlm_session_free(). */
FASTVLM_API FastvlmSession *fastvlm_session_new(FastvlmModel *model);

/** Frees `session`; NULL is fine. No call may be running. */
FASTVLM_API void fastvlm_session_free(FastvlmSession *session);

/**
 * Encodes a picture; it stays the session's until the next one.
 *
 * @param resolution  pixels, a multiple of 64, at most 4096; 0: the model's own
 * @return FALSE on error: then the session has no picture
 * Errors: ARGUMENT, LIMIT (memory), CANCELLED.
 */
FASTVLM_API gboolean fastvlm_session_set_image(FastvlmSession *session, const FastvlmImage *image,
                                               int resolution, FastvlmFit fit, GError **error);

/** Forgets the picture: the next answer is to the prompt alone. */
FASTVLM_API void fastvlm_session_clear_image(FastvlmSession *session);

/**
 * Answers a prompt about the session's picture. Text in `prompt` never becomes a special token or a
 * picture.
 *
 * What a session has computed it does not compute again: the beginning of a prompt that is the same as
 * last time, and the picture's part while the picture stays, cost nothing. Where temperature is 0 the
 * session's previous answer is tried as a draft of this one: several tokens are checked at once, and
 * kept if the model would have chosen them. Neither changes a byte of the result. `no_draft` does
 * without the latter, so that benchmarks measure single steps.
 *
 * With `choices` the answer is the most probable of them (or drawn among them, where temperature is above
 * 0). Each choice weighs what the model itself makes of it: the product of the probabilities of all its
 * tokens as the beginning of an answer, and of the answer's end where another choice goes on from there.
 * Written with a capital or small first letter it is the same choice, unless both are given. Choices that
 * are single tokens cost nothing but the prompt.
 *
 * @param params  NULL: the defaults
 * @param result  out, set on success alone; clear it with fastvlm_result_clear()
 * Errors: ARGUMENT, LIMIT (the prompt does not fit the context), UNSUPPORTED (the checkpoint has no
 * tokenizer files and no ids are given), FORMAT (not even the first logits are finite), CANCELLED.
 */
FASTVLM_API gboolean fastvlm_session_generate(FastvlmSession *session,
                                              const FastvlmGenerateParams *params,
                                              FastvlmResult *result, GError **error);

/**
 * Makes the call that runs now in another thread, or the next one, fail with
 * FASTVLM_ERROR_CANCELLED within 100 ms. Stays in force until fastvlm_session_reset_cancel().
 */
FASTVLM_API void fastvlm_session_cancel(FastvlmSession *session);

/** Ends a cancellation. Thread-safe. */
FASTVLM_API void fastvlm_session_reset_cancel(FastvlmSession *session);

typedef enum {
    FASTVLM_TENSOR_VISION,    /* [n_image_tokens, vision width], the encoder's output */
    FASTVLM_TENSOR_PROJECTED, /* [n_image_tokens, hidden], in the decoder's space */
    FASTVLM_TENSOR_LOGITS,    /* [1, vocab_size] of the first generated position */
} FastvlmTensor;

/**
 * A tensor of the session, for comparisons with a reference.
 *
 * @param n_rows, n_columns  its shape, out
 * @return row-major f32 owned by the session, valid until its next call; NULL where there is none
 */
FASTVLM_API const float *fastvlm_session_get_tensor(const FastvlmSession *session,
                                                    FastvlmTensor tensor, int *n_rows,
                                                    int *n_columns);

G_END_DECLS

#endif
