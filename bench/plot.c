/* Time and speed against size, two panels of one SVG. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"

enum { POINTS = 256, TIME = 0, SPEED = 1, LEAST_SIZE = 16, MOST_SIZE = 1024 };

static const double left[] = {60, 530}, top = 30, wide = 400, high = 300;

typedef struct point {
    char series[40];
    double size, value[2]; /* pixels a side; seconds, times the direct roofline */
} point;

static double across(int panel, double size) {
    return left[panel] + wide * log2(size / LEAST_SIZE) / log2((double)MOST_SIZE / LEAST_SIZE);
}

/* Seconds are logarithmic, from 0.01 to 100. */
static double down(int panel, double value, double most) {
    return top + high * (1 - (panel == TIME ? (log10(value) + 2) / 4 : value / most));
}

static void line_at(int panel, double value, double most, const char *colour, FILE *svg) {
    const double y = down(panel, value, most);
    fprintf(svg,
            "<line x1=\"%g\" x2=\"%g\" y1=\"%.1f\" y2=\"%.1f\" stroke=\"%s\"/>"
            "<text x=\"%g\" y=\"%.1f\" text-anchor=\"end\">%g</text>\n",
            left[panel], left[panel] + wide, y, y, colour, left[panel] - 6, y + 4, value);
}

static void frame(int panel, double most, FILE *svg) {
    static const char *const titles[] = {"seconds", "speed, 1 = direct FP32 roofline"};
    fprintf(svg, "<text x=\"%g\" y=\"18\" font-weight=\"bold\">%s</text>\n", left[panel],
            titles[panel]);
    for (double v = panel == TIME ? 0.01 : 0; v <= (panel == TIME ? 100 : most);
         v = panel == TIME ? v * 10 : v + 1)
        line_at(panel, v, most, panel == SPEED && v == 1 ? "#c33" : "#ddd", svg);
    for (int size = LEAST_SIZE; size <= MOST_SIZE; size *= 2)
        fprintf(svg, "<text x=\"%.1f\" y=\"%g\" text-anchor=\"middle\">%d²</text>\n",
                across(panel, size), top + high + 18, size);
}

static int by_series_and_size(const void *a, const void *b) {
    const point *x = a, *y = b;
    const int order = strcmp(x->series, y->series);
    return order ? order : (x->size > y->size) - (x->size < y->size);
}

static void curve(int panel, const point *p, int count, double most, const char *colour,
                  FILE *svg) {
    fprintf(svg, "<polyline fill=\"none\" stroke=\"%s\" stroke-width=\"2\" points=\"", colour);
    for (int i = 0; i < count; i++)
        fprintf(svg, "%.1f,%.1f ", across(panel, p[i].size), down(panel, p[i].value[panel], most));
    fprintf(svg, "\"/>\n");
    for (int i = 0; i < count; i++)
        fprintf(svg, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3\" fill=\"%s\"/>\n",
                across(panel, p[i].size), down(panel, p[i].value[panel], most), colour);
}

void plot(FILE *from, FILE *svg) {
    static const char *const colours[] = {"#26c", "#2a2", "#a2a", "#e80",
                                          "#088", "#c44", "#777", "#960"};
    point points[POINTS];
    int count = 0;
    double most = 1;
    while (count < POINTS &&
           fscanf(from, " %39[^\t]\t%lf\t%lf\t%lf", points[count].series, &points[count].size,
                  &points[count].value[TIME], &points[count].value[SPEED]) == 4) {
        most = fmax(most, ceil(points[count].value[SPEED]));
        count++;
    }
    qsort(points, (size_t)count, sizeof *points, by_series_and_size);
    fprintf(svg, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"960\" height=\"400\" "
                 "font-family=\"sans-serif\" font-size=\"12\">\n"
                 "<rect width=\"960\" height=\"400\" fill=\"#fff\"/>\n");
    for (int panel = 0; panel < 2; panel++) frame(panel, most, svg);
    int series = 0;
    for (int i = 0, end; i < count; i = end, series++) {
        for (end = i; end < count && !strcmp(points[end].series, points[i].series); end++) continue;
        const char *colour = colours[series % 8];
        for (int panel = 0; panel < 2; panel++)
            curve(panel, points + i, end - i, most, colour, svg);
        fprintf(svg, "<text x=\"%g\" y=\"%d\" fill=\"%s\">%s</text>\n", 60 + 220.0 * (series % 4),
                372 + 18 * (series / 4), colour, points[i].series);
    }
    fprintf(svg, "</svg>\n");
}
