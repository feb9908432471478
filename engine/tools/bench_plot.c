/*
 * Plots as SVG.
 *
 * Coordinates are tenths of a pixel, so that all of them are whole numbers and no locale's comma gets
 * into the file.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "tools/bench_plot.h"

#include <math.h>

#define WIDTH 8000
#define HEIGHT 5000
#define LEFT 800
#define RIGHT 2200 /* the lines' names stand there */
#define TOP 850
#define BOTTOM 750
#define N_COLOURS 6
#define N_MARKERS 4

/* Okabe and Ito's, without those too pale for lines on white. */
static const char *const colours[N_COLOURS] = {"#0072B2", "#D55E00", "#009E73",
                                               "#CC79A7", "#000000", "#E69F00"};

/* Of shapes around 0, 0. */
static const char *const markers[N_MARKERS] = {
    "<circle r=\"45\"/>",
    "<rect x=\"-42\" y=\"-42\" width=\"84\" height=\"84\"/>",
    "<path d=\"M0-55 52 40H-52Z\"/>",
    "<path d=\"M0-60 60 0 0 60-60 0Z\"/>",
};

typedef struct {
    const BenchPlot *plot;
    GString *svg;
    double least, most; /* values at the bottom and the top */
} Drawing;

static int place_x(const Drawing *drawing, int resolution)
{
    const BenchPlot *plot = drawing->plot;
    double first = plot->resolution[0], last = plot->resolution[plot->n_resolutions - 1];
    double at = last > first ? log(resolution / first) / log(last / first) : 0.5;
    return LEFT + 450 + (int)lround(at * (WIDTH - LEFT - RIGHT - 650));
}

static int place_y(const Drawing *drawing, double value)
{
    double at = log(value / drawing->least) / log(drawing->most / drawing->least);
    return HEIGHT - BOTTOM - (int)lround(at * (HEIGHT - TOP - BOTTOM));
}

/* 1, 2, 5, 10, 20, ..: the next one from `value` on, or before it. */
static double step_of(double value, gboolean up)
{
    static const double steps[] = {1, 2, 5, 10};
    double decade = pow(10, floor(log10(value) + 1e-9));
    for (int i = 0; i < 3; i++) {
        if (up && steps[i] * decade >= value * (1 - 1e-9))
            return steps[i] * decade;
        if (!up && steps[i + 1] * decade > value * (1 + 1e-9))
            return steps[i] * decade;
    }
    return 10 * decade;
}

static void find_range(Drawing *drawing)
{
    const BenchPlot *plot = drawing->plot;
    double least = INFINITY, most = 0;
    for (int line = 0; line < plot->n_lines; line++) {
        for (int i = 0; i < plot->n_resolutions; i++) {
            least = MIN(least, plot->lines[line].value[i]);
            most = MAX(most, plot->lines[line].value[i]);
        }
    }
    drawing->least = step_of(least * 0.9, FALSE);
    drawing->most = step_of(most * 1.15, TRUE);
}

/* Milliseconds, in the unit that reads well. */
static char *format_time(double ms)
{
    char text[G_ASCII_DTOSTR_BUF_SIZE];
    double value = ms < 1000 ? ms : ms / 1000;
    g_ascii_formatd(text, sizeof text, value < 10 ? "%.2g" : "%.0f", value);
    return g_strdup_printf("%s %s", text, ms < 1000 ? "ms" : "s");
}

static void add_text(Drawing *drawing, int x, int y, const char *attributes, const char *text)
{
    char *escaped = g_markup_escape_text(text, -1);
    g_string_append_printf(drawing->svg, "<text x=\"%d\" y=\"%d\" %s>%s</text>\n", x, y, attributes,
                           escaped);
    g_free(escaped);
}

static void add_line(Drawing *drawing, int x1, int y1, int x2, int y2)
{
    g_string_append_printf(drawing->svg, "<path d=\"M%d %dL%d %d\" stroke=\"#dddddd\"/>\n", x1, y1,
                           x2, y2);
}

static void draw_axes(Drawing *drawing)
{
    const BenchPlot *plot = drawing->plot;
    for (double tick = drawing->least; tick <= drawing->most * 1.001;
         tick = step_of(tick * 1.01, TRUE)) {
        int y = place_y(drawing, tick);
        char *text = format_time(tick);
        add_line(drawing, LEFT, y, WIDTH - RIGHT, y);
        add_text(drawing, LEFT - 80, y + 45, "text-anchor=\"end\"", text);
        g_free(text);
    }
    for (int i = 0; i < plot->n_resolutions; i++) {
        int x = place_x(drawing, plot->resolution[i]);
        char *text = g_strdup_printf("%d", plot->resolution[i]);
        add_line(drawing, x, TOP, x, HEIGHT - BOTTOM);
        add_text(drawing, x, HEIGHT - BOTTOM + 190, "text-anchor=\"middle\"", text);
        g_free(text);
    }
    add_text(drawing, LEFT, 320, "font-size=\"190\" font-weight=\"bold\"", plot->title);
    add_text(drawing, LEFT, 580, "fill=\"#555555\"", plot->subtitle);
    add_text(drawing, (LEFT + WIDTH - RIGHT) / 2, HEIGHT - BOTTOM + 450, "text-anchor=\"middle\"",
             "resolution of the encoder's input, pixels");
}

/* Values of the slowest line stand above it, those of others below theirs: between two is room. */
static gboolean is_slowest(const BenchPlot *plot, int index)
{
    for (int other = 0; other < plot->n_lines; other++) {
        if (plot->lines[other].value[0] > plot->lines[index].value[0])
            return FALSE;
    }
    return TRUE;
}

static void draw_line(Drawing *drawing, int index)
{
    const BenchPlot *plot = drawing->plot;
    const BenchPlotLine *line = &plot->lines[index];
    const char *colour = colours[index % N_COLOURS];
    gboolean above = is_slowest(plot, index);
    g_string_append_printf(drawing->svg,
                           "<path fill=\"none\" stroke-width=\"22\" stroke=\"%s\" d=\"", colour);
    for (int i = 0; i < plot->n_resolutions; i++)
        g_string_append_printf(drawing->svg, "%c%d %d", i ? 'L' : 'M',
                               place_x(drawing, plot->resolution[i]),
                               place_y(drawing, line->value[i]));
    g_string_append(drawing->svg, "\"/>\n");
    for (int i = 0; i < plot->n_resolutions; i++) {
        int x = place_x(drawing, plot->resolution[i]), y = place_y(drawing, line->value[i]);
        char *text = format_time(line->value[i]);
        g_string_append_printf(drawing->svg,
                               "<g fill=\"%s\" transform=\"translate(%d %d)\">%s</g>\n", colour, x,
                               y, markers[index % N_MARKERS]);
        if (above)
            add_text(drawing, x - 40, y - 100, "text-anchor=\"end\" font-size=\"120\"", text);
        else
            add_text(drawing, x + 40, y + 190, "font-size=\"120\"", text);
        g_free(text);
    }
}

/* The name of each line at its end, moved up where it would stand on the one below. */
static void draw_names(Drawing *drawing)
{
    const BenchPlot *plot = drawing->plot;
    int *taken = g_new0(int, plot->n_lines);
    for (int index = 0; index < plot->n_lines; index++) {
        const int last = plot->n_resolutions - 1;
        int y = place_y(drawing, plot->lines[index].value[last]) + 50;
        for (int other = 0; other < index; other++) {
            if (ABS(taken[other] - y) < 190) {
                y = taken[other] - 190;
                other = -1;
            }
        }
        taken[index] = y;
        char *attributes = g_strdup_printf("fill=\"%s\"", colours[index % N_COLOURS]);
        add_text(drawing, place_x(drawing, plot->resolution[last]) + 130, y, attributes,
                 plot->lines[index].label);
        g_free(attributes);
    }
    g_free(taken);
}

char *bench_plot_to_svg(const BenchPlot *plot)
{
    Drawing drawing = {.plot = plot, .svg = g_string_new(NULL)};
    find_range(&drawing);
    g_string_append_printf(
        drawing.svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" "
        "viewBox=\"0 0 %d %d\" font-family=\"sans-serif\" font-size=\"140\" fill=\"#222222\" "
        "stroke-width=\"10\">\n"
        "<rect width=\"%d\" height=\"%d\" fill=\"#ffffff\"/>\n",
        WIDTH / 10, HEIGHT / 10, WIDTH, HEIGHT, WIDTH, HEIGHT);
    draw_axes(&drawing);
    for (int line = 0; line < plot->n_lines; line++)
        draw_line(&drawing, line);
    draw_names(&drawing);
    g_string_append(drawing.svg, "</svg>\n");
    return g_string_free(drawing.svg, FALSE);
}
