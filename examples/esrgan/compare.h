/* What a comparison finds, and the parts that find it; the reports are made from this alone. */
#ifndef COMPARE_H
#define COMPARE_H

#include <stdbool.h>

#include "graph.h"
#include "layer_names.h"
#include "tensor.h"
#include "trace_file.h"

/* ---- Tolerances ---- */

typedef struct tolerance {
    const char *name;
    double u;     /* unit roundoff */
    double c;     /* of c * u * sqrt(K) * sum |w||x| */
    bool wide;    /* operands are rounded to u, sums are kept in FP32: sqrt(K) does not grow past 3,
                      and the error's rms over a value is bounded too */
    double floor; /* where numbers become so small that their rounding is absolute */
    double drift; /* accumulated error, rms over the reference's rms, that is healthy */
    int lsb;      /* end to end: most steps of 8 bits that a sample may be off by, ...  */
    double share; /* ... but for this share of the samples */
    double psnr;  /* and the least PSNR in dB; 0: none */
} tolerance;

extern const char *const TOLERANCE_NAMES[]; /* "auto", "fp32", ...; NULL at the end */

/* By index into TOLERANCE_NAMES; 0 takes the coarser of the two precisions ("" where unknown), and
 * for FP32 "winograd" where a side is known to convolve by transforms. */
const tolerance *tolerance_get(int index, const char *precision_a, const char *precision_b,
                               bool transformed);

/* ---- Recomputing ---- */

/* Where values come from when a layer, or a piece of the network, is recomputed. */
typedef struct evaluation {
    const graph *g;
    bool (*has)(const void *context, int index);
    bool (*load)(const void *context, int index, tensor *value); /* complains */
    const void *context;
    fault what; /* computed into layer `where`, or every layer it applies to where that is -1 */
    int where;
    const tolerance *noise; /* not NULL: values are disturbed as rounding would disturb them */
} evaluation;

/* Marks in needed[g->count] the layers to compute for `target` from what there is; their number, or
 * 0 where something that cannot be computed is missing. */
int evaluation_span(const evaluation *e, int target, bool *needed);

/* Computes `target` from the values that there are.  `bound` (may be NULL) is that of the last
 * layer.  Complains. */
bool evaluate(const evaluation *e, int target, tensor *out, tensor *bound);

/* ---- What is found ---- */

/* What an explanation is worth beside others that explain as much. */
typedef enum explanation_kind {
    EXPLAINS_WHY,
    EXPLAINS_BY_FIT, /* with so many parameters found from the data that much would fit */
    EXPLAINS_WHERE   /* says where it is wrong, not why */
} explanation_kind;

typedef struct explanation {
    char id[48];
    char layer[LAYER_NAME_SIZE];
    char text[360];
    explanation_kind kind;
    double explained; /* share of the error's energy that goes away, 0..1 */
    double rms, max;  /* of what is left */
    bool fits;        /* what is left is within tolerance */
} explanation;

typedef struct explanations {
    explanation *items;
    int count, room;
} explanations;

typedef enum layer_state {
    LAYER_MATCH,  /* close to the reference */
    LAYER_DRIFT,  /* away from the reference, but rightly computed from its own input */
    LAYER_AWAY,   /* away from the reference; whether by its own fault is not known */
    LAYER_WRONG,  /* wrong from its own input */
    LAYER_SHAPE,  /* has another shape than the reference */
    LAYER_MISSING /* not in the test */
} layer_state;

typedef struct layer_result {
    char name[LAYER_NAME_SIZE];
    const char *op;
    layer_state state;
    bool compared;                   /* the figures of the accumulated error are there */
    bool sampled;                    /* they come from samples */
    bool identical;                  /* by hash or by data */
    double max, mean, rms, relative; /* |test - ref|; relative: rms over the reference's rms */
    size_t nonfinite;                /* elements NaN or Inf in the test and not in the reference */
    int c, h, w;                     /* of the test */
    int worst[3];                    /* channel, row, column of the largest error */
    bool local;                      /* was recomputed from the tester's own input */
    double local_max, local_rms;
    double ratio; /* largest |local error| over its tolerance; wrong above 1 */
    int span;     /* layers that were recomputed for it */
} layer_result;

/* Small pictures of values, for the report. */
typedef struct exhibit {
    char title[200];
    tensor ref, test, difference; /* 1 or 3 channels, 0..1 */
} exhibit;

enum { MAX_EXHIBITS = 4 };

typedef struct comparison {
    const char *kind; /* "traces", "tensors", "pictures" */
    const char *ref, *test;
    const tolerance *limits;
    bool match;
    char verdict[1600];
    layer_result *layers;
    int layer_count;
    int culprit;                                 /* index into layers, -1: none */
    char culprit_span[2 * LAYER_NAME_SIZE + 64]; /* "from A to B" where several were recomputed */
    char next_dump[4 * LAYER_NAME_SIZE];         /* "" where nothing is to be asked for */
    char notes[6][300];
    int note_count;
    explanations why;
    /* End to end: two pictures, or two values that are one. */
    bool pictured;
    double psnr, ssim, max_lsb;    /* ssim NaN where too small for it */
    double share0, share1, share2; /* of samples off by 1/255 or more, by more than 1 and 2 */
    int worst[3];
    exhibit exhibits[MAX_EXHIBITS];
    int exhibit_count;
} comparison;

void comparison_free(comparison *result);
void comparison_note(comparison *result, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Puts the explanations in order: fitting before others, causes before places, more before less. */
void explanations_sort(explanations *list);
/* The one to believe: it fits or explains most of the error; NULL where none does. */
const explanation *explanations_best(const explanations *list);
/* ref, test and |test - ref| times a power of two, as pictures; of other than 1 or 3 channels the
 * given channel. */
void comparison_exhibit(comparison *result, const char *title, const tensor *ref,
                        const tensor *test, int channel);
/* PSNR, SSIM and the rest of two values that are pictures in 0..1. */
bool comparison_end_to_end(comparison *result, const tensor *ref, const tensor *test);
/* Is the end-to-end result within tolerance? */
bool comparison_picture_good(const comparison *result);

/* ---- Comparing ---- */

typedef struct compare_settings {
    const char *model, *input, *map, *html, *extract, *out, *wrapper;
    int json, tolerance, threads, up_factor;
} compare_settings;

/* Two traces; g is NULL where no model was given.  False: a failure that was complained about. */
bool compare_traces(const compare_settings *settings, const graph *g, const trace_file *ref,
                    const trace_file *test, const tensor *input, comparison *result);
/* Two tensors that are not pictures, or pictures; g and input may be NULL. */
bool compare_values(const compare_settings *settings, const graph *g, const tensor *ref,
                    const tensor *test, const tensor *input, comparison *result);

/* ---- Diagnosis ---- */

/* A wrong value and what it should be. */
typedef struct suspect {
    const evaluation *from; /* how it was recomputed; NULL: `right` is the reference's value */
    int index;              /* its layer, -1 where there is no graph */
    const char *name;
    const tensor *right, *test;
    const tensor *limit; /* tolerance of each element */
    double rms_limit;    /* of the whole; 0: none */
    bool all_faults;     /* try every layer of a longer span on its own */
} suspect;

bool diagnose(const suspect *s, explanations *list);
/* Its parts. */
bool diagnose_readings(const suspect *s, explanations *list);
bool diagnose_fits(const suspect *s, explanations *list);
bool diagnose_places(const suspect *s, explanations *list);
bool diagnose_numbers(const suspect *s, explanations *list);
/* Adds an explanation whose prediction is `made` (`margin` elements of the edge left out). */
bool diagnose_consider(const suspect *s, explanations *list, const char *id, const char *layer,
                       const char *text, const tensor *made, int margin);
/* NULL, having complained, without memory.  The kind follows from the id. */
explanation *explanations_add(explanations *list, const char *id, const char *layer,
                              const char *text);

/* ---- Reports ---- */

void report_text(const comparison *result);
bool report_json(const comparison *result, FILE *to);
bool report_html(const comparison *result, const char *path);
bool extract_layer(const compare_settings *settings, const graph *g, const trace_file *ref,
                   const trace_file *test, const tensor *input, const char *name);

#endif
