/*
 * A plot of times over resolutions, a line for each model, as SVG.
 *
 * Both axes are logarithmic; the picture has its own white ground and colours that the colour-blind
 * tell apart, with a marker of another shape for each line.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_TOOLS_BENCH_PLOT_H
#define FASTVLM_TOOLS_BENCH_PLOT_H

#include <glib.h>

G_BEGIN_DECLS

typedef struct {
    char *label;   /* any UTF-8 */
    double *value; /* [n_resolutions], above 0 */
} BenchPlotLine;

typedef struct {
    const char *title, *subtitle;
    const int *resolution; /* [n_resolutions], rising, above 0 */
    int n_resolutions;
    const BenchPlotLine *lines; /* [n_lines] */
    int n_lines;
} BenchPlot;

/** The SVG text, to be freed. At least one line of at least one resolution. */
char *bench_plot_to_svg(const BenchPlot *plot);

G_END_DECLS

#endif
