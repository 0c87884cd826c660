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

/* Peaks of this machine; 0 where there is no such instruction.  Operations a second of one core
 * while `threads` cores do the same. */
typedef struct peaks {
    double fma512, fma256, bf16dot;
} peaks;

peaks measure_peaks(int threads);
double peak_fma(bool wide);          /* of one core, now: 10 ms */
double read_bandwidth(size_t bytes); /* bytes a second of one core over a buffer of this size */

/* The stages of each tier, as shares of its peak. */
void bench_stages(FILE *markdown, FILE *json);

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
    int threads, size;
} setting;

typedef struct outcome {
    double median, best, ratio; /* seconds; direct roofline's time / median */
    double first;               /* seconds of the first run */
    uint64_t memory;            /* peak bytes beyond the model */
    float *result;              /* free() */
    size_t count;
    char tier[32];
} outcome;

bool measure(const esrgan_model *model, const setting *s, int repeats, const peaks *p, outcome *o);

/* Signal to error in decibels, of a against b. */
double decibels(const float *truth, const float *x, size_t n);

int bench_networks(const peaks *p, FILE *markdown, FILE *json, FILE *svg);
int bench_quick(const peaks *p);

#endif
