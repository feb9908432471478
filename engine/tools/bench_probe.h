/*
 * What bench asks a model: a made-up picture of 1920 x 1080 and a prompt of ids, new ones in each run.
 *
 *     model, resolution, lengths -> BenchProbe -> bench_probe_run(), run by run -> FastvlmResult
 *     figures of the runs        -> BenchSeries -> median, least and greatest
 *
 * What the picture and the ids are changes no timing. Every run has other ids, so that nothing kept
 * from the last one shortens it, and stop tokens are passed over.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_TOOLS_BENCH_PROBE_H
#define FASTVLM_TOOLS_BENCH_PROBE_H

#include <jansson.h>

#include <fastvlm/session.h>

G_BEGIN_DECLS

#define BENCH_TEXT_TOKENS 24 /* the released chat template with a short question, without picture */

/** Tokens of a prompt that a picture takes. */
int bench_image_tokens(int resolution);

typedef struct BenchProbe BenchProbe;

/**
 * @param n_prompt_tokens  more than bench_image_tokens(resolution)
 * @param n_decode_tokens  of the answer
 */
BenchProbe *bench_probe_new(int resolution, int n_prompt_tokens, int n_decode_tokens);
void bench_probe_free(BenchProbe *probe);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(BenchProbe, bench_probe_free)

/** Sets the ids of run number `run`. Done by bench_probe_run() itself. */
void bench_probe_draw_ids(BenchProbe *probe, const FastvlmModel *model, int run);

/** What to hand to a session; both borrow from the probe. */
FastvlmImage bench_probe_picture(const BenchProbe *probe);
FastvlmGenerateParams bench_probe_params(const BenchProbe *probe);

/** One caption. The result is cleared by the caller. Errors: those of a session. */
gboolean bench_probe_run(BenchProbe *probe, FastvlmSession *session, const FastvlmModel *model,
                         int run, FastvlmResult *result, GError **error);

/** Values of one figure, a double each. */
typedef GArray BenchSeries;

BenchSeries *bench_series_new(void);
void bench_series_add(BenchSeries *series, double value);

/** Of a series that is not empty; they sort it. */
double bench_series_median(BenchSeries *series);
double bench_series_min(BenchSeries *series);
double bench_series_max(BenchSeries *series);

/** {"median": .., "min": .., "max": ..} */
json_t *bench_series_to_json(BenchSeries *series);

G_END_DECLS

#endif
