/* What the parts of the benchmark share. */
#ifndef BENCH_H
#define BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "esrgan.h"

double seconds(void);            /* of the wall */
double median(double *x, int n); /* sorts */

/* What this machine does at most: FP32 by vector width; BF16 by VDPBF16PS and TDPBF16PS;
 * instructions that do nothing. */
typedef enum peak_kind { PEAK_FMA512, PEAK_FMA256, PEAK_DOT, PEAK_TILES, PEAK_NOTHING } peak_kind;

/* Operations a second of one core, now, while `threads` cores do the same; 0 where there is no such
 * instruction.  Takes a few milliseconds, so that whatever is measured can have its own. */
double peak_of(peak_kind kind, int threads);
double peak_fma(bool narrow, int threads); /* the widest there is, or of 256 bits */
/* To be freed; in large pages where there are any, as the engine's arena is; NULL: no memory. */
void *large_pages(size_t bytes);

double read_bandwidth(size_t bytes); /* bytes a second of one core over a buffer of this size */

/*
 * Where a part of the benchmark writes to: rows of a Markdown table; JSON, an object a line; points
 * of the plot, "SERIES<tab>PIXELS A SIDE<tab>SECONDS<tab>TIMES THE DIRECT ROOFLINE" a line.
 */
typedef struct output {
    FILE *markdown, *json, *points;
} output;

/* What this machine can do; the stages of each tier, as shares of it. */
int bench_machine(output *to);
int bench_stages(output *to);

/* Shapes of networks people use, with random weights. */
typedef struct net_shape {
    const char *name;
    int in, features, growth, blocks, ups, unshuffle;
} net_shape;

extern const net_shape shapes[3]; /* x4plus, x2plus, anime_6B */

/* The bytes of a checkpoint; free() */
uint8_t *make_checkpoint(const net_shape *s, size_t *size);
esrgan_model *make_model(const net_shape *s);
float *make_picture(int channels, int height, int width); /* smooth, with noise; free() */

/* One setting measured: times of `repeats` runs after a first one, peak memory by the meter. */
typedef struct setting {
    esrgan_backend backend;
    const char *isa;
    esrgan_precision precision;
    int threads, height, width;
} setting;

void print_size(FILE *to, int height, int width); /* "128²", "1280×720" */

typedef struct outcome {
    int runs;              /* counted */
    double median, spread; /* seconds; (worst - best) / median */
    double ratio;          /* direct roofline's time / a run's, the median; peaks before each run */
    double first;          /* seconds of the first run */
    uint64_t memory;       /* most bytes that the session held at once */
    float *result;         /* free() */
    size_t count;
    char tier[32];
} outcome;

/* Seconds that plain convolution takes on as many cores at nothing but FMA, each at `peak`. */
double direct_time(const esrgan_model *model, int height, int width, int threads, double peak);

bool measure(const esrgan_model *model, const setting *s, int repeats, outcome *o);

/* What the network makes of make_picture in double, layer by layer; free() */
float *exact_result(const esrgan_model *model, int height, int width);

/* Writes such a checkpoint; a model as ONNX.  False with a message. */
bool write_checkpoint(const net_shape *s, const char *path);
bool write_onnx(const esrgan_model *model, const char *path);

/* Ours as peers are: MODEL IN OUT CHANNELS HEIGHT WIDTH THREADS. */
int peer_ourselves(char **arguments);

/* Rows of the table of engines; files are left in the folder.  1 where an output is wrong. */
int bench_peers(const net_shape *shape, int size, const char *folder, output *to);

/* Rows of the table of networks, those that the plan lists under this name. */
int bench_networks(const char *part, output *to);
int bench_quick(void);

/* The points as a picture. */
void plot(FILE *points, FILE *svg);

#endif
