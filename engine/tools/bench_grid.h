/*
 * Time to first token over input resolution and model size.
 *
 *     models x resolutions -> runs -> a line (table or JSON) for each pair as it is measured -> SVG
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_TOOLS_BENCH_GRID_H
#define FASTVLM_TOOLS_BENCH_GRID_H

#include "tools/loading.h"

G_BEGIN_DECLS

typedef struct {
    ModelArguments common;     /* its `model` is not looked at */
    const char *const *models; /* [n_models], directories or names */
    int n_models;
    const GArray *resolutions; /* of gint32; each from 64 to 4096, a multiple of 64, rising */
    int n_runs;
    const char *svg_path; /* NULL: no picture */
} BenchGrid;

/** Measures and reports. Returns the exit code; error lines are written. */
int bench_grid(const BenchGrid *grid, const ToolCommand *command);

G_END_DECLS

#endif
