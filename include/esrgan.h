/*
 * libesrgan: super-resolution with RRDBNet (ESRGAN, Real-ESRGAN) checkpoints on the CPU.
 *
 * SPDX-License-Identifier: MIT
 *
 * Conventions that hold for every function below
 *
 *  - Status.  A function that can fail returns an esrgan_status and takes an `esrgan_error *`
 *    as its last argument.  It may be NULL.  Where it is not, it is filled in on failure with the
 *    same status and one line of text (no newline) that names the file, the key, what was found
 *    and what was expected; on success it is left alone.
 *  - Options.  Every options struct begins with its own size.  Call its *_init function, then set
 *    the members that matter.  NULL in place of options means the defaults.
 *  - Ownership.  Handles are released by their *_free function, which accepts NULL.  Pointers that
 *    are handed in stay the caller's and need to live only until the call returns, unless the
 *    text says otherwise.
 *  - Threads.  An esrgan_model is immutable: any number of threads and sessions may use it at
 *    once.  An esrgan_session belongs to one thread at a time.  Functions without a handle may be
 *    called from any thread.
 *  - The library never prints, never exits, and never changes global state of the process but
 *    for two things: the openblas backend and esrgan_layer_compute load OpenBLAS and set it to one
 *    thread (without it they fail with ESRGAN_E_UNSUPPORTED), and on x86 CPUs with AMX tiles a BF16
 *    session or esrgan_tier_get asks Linux to let the process use them, after which sigaltstack
 *    wants stacks of at least getauxval(AT_MINSIGSTKSZ) bytes.
 *  - Tensors are NCHW, contiguous, float32.  Pictures are interleaved rows, 8 or 16 bits a sample.
 */
#ifndef ESRGAN_H
#define ESRGAN_H

#include <stddef.h>
#include <stdint.h>

#define ESRGAN_VERSION_MAJOR  0
#define ESRGAN_VERSION_MINOR  1
#define ESRGAN_VERSION_PATCH  0
#define ESRGAN_VERSION_STRING "0.1.0"
/* One number that grows with the version: 1.2.3 is 10203. */
#define ESRGAN_VERSION                                                                             \
    (ESRGAN_VERSION_MAJOR * 10000 + ESRGAN_VERSION_MINOR * 100 + ESRGAN_VERSION_PATCH)

#if defined(ESRGAN_STATIC)
#define ESRGAN_API
#elif defined(_WIN32)
#if defined(ESRGAN_BUILDING)
#define ESRGAN_API __declspec(dllexport)
#else
#define ESRGAN_API __declspec(dllimport)
#endif
#elif defined(__GNUC__)
#define ESRGAN_API __attribute__((visibility("default")))
#else
#define ESRGAN_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Version, status ---------------------------------------------------------------------- */

/* The version of the library that is running, as ESRGAN_VERSION. */
ESRGAN_API int esrgan_version(void);

/* The same as text: "0.1.0". */
ESRGAN_API const char *esrgan_version_string(void);

/* The values are pinned: they never change their meaning, new ones are added at the end. */
typedef enum esrgan_status {
    ESRGAN_OK = 0,
    ESRGAN_E_ARGUMENT = 1,        /* a NULL, a size, an enum value or an option that cannot be    */
    ESRGAN_E_MEMORY = 2,          /* the allocator gave nothing                                   */
    ESRGAN_E_IO = 3,              /* opening, reading or mapping a file failed                    */
    ESRGAN_E_NOT_CHECKPOINT = 4,  /* not a PyTorch checkpoint; the text says what it looks like   */
    ESRGAN_E_TRUNCATED = 5,       /* the file ends too early                                      */
    ESRGAN_E_CORRUPT = 6,         /* the file contradicts itself, or a checksum is wrong          */
    ESRGAN_E_UNSUPPORTED = 7,     /* sound, but not something this library does                   */
    ESRGAN_E_LIMIT = 8,           /* would pass a limit on size, depth, count or memory           */
    ESRGAN_E_UNKNOWN_NETWORK = 9, /* a checkpoint, but of no network that is known                */
    ESRGAN_E_MISSING_KEY = 10,    /* the network was recognised; a key it needs is not there      */
    ESRGAN_E_SURPLUS_KEY = 11,    /* the network was recognised; a key does not belong to it      */
    ESRGAN_E_SHAPE = 12,          /* a tensor has a shape that the network cannot have            */
    ESRGAN_E_CANCELLED = 13,      /* a callback returned non-zero                                 */
    ESRGAN_E_THREAD = 14,         /* a thread could not be created                                */
    ESRGAN_E_NOT_FOUND = 15,      /* no layer or value of that name                               */
    ESRGAN_E_NONFINITE = 16       /* the network's output holds NaN or Inf (see check_finite)     */
} esrgan_status;

/* A short name for a status: "ok", "truncated file" ...  Never NULL. */
ESRGAN_API const char *esrgan_status_text(esrgan_status status);

/* Filled in on failure; belongs to the caller, needs no initialisation and no release. */
typedef struct esrgan_error {
    esrgan_status status;
    char message[508]; /* UTF-8, zero-terminated, one line */
} esrgan_error;

/* ---- Memory ------------------------------------------------------------------------------- */

/*
 * Where all memory of a model or a session comes from.  `alloc` returns `size` bytes aligned to
 * `alignment` (a power of two of at most 4096), or NULL; `release` gets what alloc returned and
 * the same size, never NULL.  Both may be called from several threads at once.  The struct is
 * copied; `context` must outlive every handle made with it.
 */
typedef struct esrgan_allocator {
    void *(*alloc)(void *context, size_t size, size_t alignment);
    void (*release)(void *context, void *pointer, size_t size);
    void *context;
} esrgan_allocator;

/* ---- Models ------------------------------------------------------------------------------- */

typedef struct esrgan_model esrgan_model;

typedef struct esrgan_open_options {
    size_t size; /* set by esrgan_open_options_init */
    int copy;    /* non-zero: read the file into memory; zero: map it.  A mapped file must
                            not be changed or cut short while the model lives.  Default 0.         */
    int verify;  /* non-zero: check the CRC-32 of every zip entry used.  Default 0.        */
    const char *wrapper; /* which dictionary of the checkpoint holds the weights, for example
                            "params".  NULL: the first present of params_ema, params-ema, params,
                            model_state_dict, state_dict, model, net, netG, generator.             */
    uint64_t max_bytes;  /* most bytes that reading may allocate (inflated entries, copies,
                            tables).  0: 4 GiB.                                                    */
    const esrgan_allocator *allocator; /* NULL: malloc and free */
    int up_factor; /* what one up stage multiplies the size by: 0 or 2, or 3 for the x3 models
                            of the old layout, which nothing inside the file tells from x2 models.
                            Default 0.                                                             */
} esrgan_open_options;

ESRGAN_API void esrgan_open_options_init(esrgan_open_options *options);

/* Opens the checkpoint at `path` (UTF-8).  *model is set on success and NULL on failure. */
ESRGAN_API esrgan_status esrgan_open_file(const char *path, const esrgan_open_options *options,
                                          esrgan_model **model, esrgan_error *error);

/*
 * Opens a checkpoint that lies in memory.  With options->copy zero the bytes are used in place and
 * must stay as they are until the model is freed.  `name` stands for the file in messages; it may
 * be NULL.
 */
ESRGAN_API esrgan_status esrgan_open_memory(const void *data, size_t size, const char *name,
                                            const esrgan_open_options *options,
                                            esrgan_model **model, esrgan_error *error);

/*
 * Where a checkpoint comes from when it is neither a file nor in memory.  `read` copies `size`
 * bytes at `offset` to `buffer` and returns 0, or non-zero on failure; it is called only from
 * inside esrgan_open_callbacks, on the calling thread.
 */
typedef struct esrgan_reader {
    int (*read)(void *context, uint64_t offset, void *buffer, size_t size);
    void *context;
    uint64_t size; /* bytes in all */
} esrgan_reader;

ESRGAN_API esrgan_status esrgan_open_callbacks(const esrgan_reader *reader, const char *name,
                                               const esrgan_open_options *options,
                                               esrgan_model **model, esrgan_error *error);

/* Releases a model.  Every session made from it must be freed before. */
ESRGAN_API void esrgan_model_free(esrgan_model *model);

/* What a model is.  The strings belong to the model. */
typedef struct esrgan_model_info {
    size_t size; /* set by the caller to sizeof(esrgan_model_info)                       */
    const char
        *container;      /* "pytorch-zip" or "pytorch-legacy"                                    */
    const char *wrapper; /* "params_ema", ... or "" where the weights are at the top             */
    const char *layout;  /* key names: "basicsr", "bsrgan", "esrgan" (old) or "mixed"            */
    const char *family;  /* "RRDBNet"                                                            */
    const char
        *weight_type; /* as stored: "float32", "float16", "bfloat16", "float64", "mixed"    */
    int in_channels;  /* of a picture handed to the network, before any pixel-unshuffle       */
    int out_channels; /* of the picture it returns                                            */
    int scale;        /* output pixels an input pixel, each way                               */
    int features, growth, blocks;
    int up_stages; /* nearest x2 (or x3) stages                                            */
    int up_factor; /* of one such stage: 2, or 3 for a x3 model                            */
    int unshuffle; /* 1, 2 or 4: height and width of esrgan_forward must be multiples      */
    int plus;      /* dense blocks with a 1x1 shortcut ("plus" variant)                    */
    uint64_t parameters;
    uint64_t tensors;
    double
        macs_per_pixel; /* multiply-adds an input pixel, by plain convolution                   */
    uint64_t file_bytes;
} esrgan_model_info;

ESRGAN_API esrgan_status esrgan_model_get_info(const esrgan_model *model, esrgan_model_info *info,
                                               esrgan_error *error);

/* SHA-256 of the whole file or memory the model was opened from (reads all of it). */
ESRGAN_API esrgan_status esrgan_model_sha256(const esrgan_model *model, uint8_t digest[32],
                                             esrgan_error *error);

/* Checks the CRC-32 of every entry of the container that carries one. */
ESRGAN_API esrgan_status esrgan_model_verify(const esrgan_model *model, esrgan_error *error);

/* ---- Sessions ----------------------------------------------------------------------------- */

typedef struct esrgan_session esrgan_session;

typedef enum esrgan_precision {
    ESRGAN_FP32 = 0,
    ESRGAN_FP16 = 1, /* weights and activations rounded to binary16, sums in FP32 or wider        */
    ESRGAN_BF16 = 2, /* the same with bfloat16                                                    */
    ESRGAN_FP64 = 3  /* everything in double; reference backend only                              */
} esrgan_precision;

typedef enum esrgan_backend {
    ESRGAN_AUTO = 0,      /* the fastest that this CPU and this model allow                       */
    ESRGAN_REFERENCE = 1, /* scalar, sums in double: the oracle                                   */
    ESRGAN_OPENBLAS = 2,  /* im2col in bands and sgemm                                            */
    ESRGAN_NATIVE = 3     /* the library's own vector kernels                                     */
} esrgan_backend;

/*
 * Called from the thread that runs the session; `done` grows from 0 to 1.  A call comes with every
 * 1/256 of the work or so, and in a long run ten times a second.  Non-zero cancels: the call under
 * way returns ESRGAN_E_CANCELLED soon and the session stays usable.
 */
typedef int (*esrgan_progress_fn)(void *context, double done);

/* Element types of traced data. */
typedef enum esrgan_dtype { ESRGAN_F32 = 0, ESRGAN_F64 = 1, ESRGAN_U8 = 2 } esrgan_dtype;

/* What a trace hands out of each value. */
typedef enum esrgan_trace_content {
    ESRGAN_TRACE_DATA = 0,       /* its data                                                      */
    ESRGAN_TRACE_STATISTICS = 1, /* its statistics; the native backend takes them as results pass
                                    by, which costs little time and keeps no value                */
    ESRGAN_TRACE_BOTH = 2
} esrgan_trace_content;

#define ESRGAN_SAMPLES 1024

/*
 * What is worth knowing of a value when the value itself is not kept.  Elements count from 0 in
 * NCHW order.  The same for every number of threads; for the same data on every backend, too, but
 * for the order of the additions in `mean` and `rms` (of double).
 */
typedef struct esrgan_statistics {
    size_t size;       /* set by the caller of esrgan_statistics_compute                          */
    uint64_t count;    /* elements                                                                */
    uint64_t nan, inf; /* how many are; the four figures below leave both out, and are NaN where
                          nothing is left                                                         */
    double min, max, mean, rms; /* rms: the root of the mean of the squares                       */
    /* Equal values have equal hashes.  Of the data as words w[i] of 32 bits (a double is two, the
     * lower half first; a byte is one): the sum of all w[i] below, the sum of all w[i] * (2 i + 1)
     * above, each modulo 2^32. */
    uint64_t hash;
    int samples; /* how many there are: ESRGAN_SAMPLES or, if that is less, `count`; others are 0 */
    /* Element k where there are no more than ESRGAN_SAMPLES; otherwise, with all divisions rounded
     * down, element k * count / 1024 + (k * 2654435761 mod 2^32) * (count / 1024) / 2^32. */
    double sample[ESRGAN_SAMPLES];
} esrgan_statistics;

/*
 * One value as it comes into being, see esrgan_session_options.trace.  All pointers are valid
 * during the callback only.  Pictures of a batch come one after the other, each with N = 1 and
 * with an index that begins at 0.
 */
typedef struct esrgan_trace_value {
    size_t size;
    const char *name; /* canonical: "body.7.rdb2.conv3.act", see esrgan_model_layer               */
    const char *op;   /* "input", "unshuffle", "conv", "lrelu", "residual", "add", "nearest"      */
    int index;        /* place in execution order, from 0                                         */
    esrgan_dtype dtype;
    int64_t dims[4];  /* N, C, H, W                                                               */
    const void *data; /* contiguous NCHW; NULL where only statistics are asked for                */
    const esrgan_statistics *statistics; /* NULL where only data is asked for                     */
} esrgan_trace_value;

typedef int (*esrgan_trace_fn)(void *context, const esrgan_trace_value *value);

typedef struct esrgan_session_options {
    size_t size; /* set by esrgan_session_options_init */
    esrgan_precision precision;
    esrgan_backend backend;
    const char *isa; /* forces a kernel tier of the native backend: "scalar", "avx2", "avx512",
                        "avx512bf16", "amx", "neon", "neonbf16", "neonfp16" (those with "bf16" in
                        their name and "amx": bfloat16 only; "neonfp16": binary16 only).  NULL:
                        ESRGAN_ISA from the environment, else the best.  A tier that the CPU lacks
                        is ESRGAN_E_UNSUPPORTED.                                                   */
    int threads;     /* 0: ESRGAN_THREADS from the environment, else the CPUs this process may use.
                        The team is created with the session and lives as long.                    */
    uint64_t max_memory; /* bytes a run may allocate; a run that would need more is refused with
                            ESRGAN_E_LIMIT before it starts.  0: ESRGAN_MAX_MEMORY from the
                            environment (K, M, G accepted), else no limit.                         */
    int keep_weights;    /* non-zero: keep weights in the kernels' form between runs: faster for
                            many small pictures, costs memory.  Default 0.                         */
    int check_finite;    /* non-zero: NaN or Inf in the network's output is ESRGAN_E_NONFINITE
                            (the output is written all the same).  Default 1.                      */
    esrgan_progress_fn progress; /* NULL: none */
    void *progress_context;
    esrgan_trace_fn trace; /* NULL: none.  Costs speed: fusion is given up where data is asked
                              for.  Called on the thread that runs the session.  BF16 by
                              direct convolution (tier "amx"; "avx512bf16" where features or growth
                              are no multiple of 32) is not traced: AUTO and native then run the
                              vector kernels of the next tier.                                     */
    void *trace_context;
    const char *trace_filter; /* globs with * and ?, separated by commas; NULL: every value */
    const esrgan_allocator *allocator;  /* NULL: malloc and free */
    esrgan_trace_content trace_content; /* default ESRGAN_TRACE_DATA */
} esrgan_session_options;

ESRGAN_API void esrgan_session_options_init(esrgan_session_options *options);

/* The model must outlive the session.  Where there is no max_memory, the native backend keeps what it worked
 * in, up to 48 MiB, for the next run. */
ESRGAN_API esrgan_status esrgan_session_create(const esrgan_model *model,
                                               const esrgan_session_options *options,
                                               esrgan_session **session, esrgan_error *error);

ESRGAN_API void esrgan_session_free(esrgan_session *session);

typedef struct esrgan_session_info {
    size_t size; /* set by the caller to sizeof(esrgan_session_info)                       */
    const char
        *backend;     /* "reference", "openblas", "native"                                      */
    const char *tier; /* kernel tier in use: "scalar", "avx2", ...; for openblas its core name  */
    const char
        *precision; /* "fp32", "fp16", "bf16", "fp64"                                       */
    int threads;
} esrgan_session_info;

ESRGAN_API esrgan_status esrgan_session_get_info(const esrgan_session *session,
                                                 esrgan_session_info *info, esrgan_error *error);

/*
 * Bytes that a run over n x in_channels x height x width allocates beyond the model, at most, for
 * a session with these options.  The figure is within 5 % of what is used; the little that working
 * it out takes is given back before this returns.  OpenBLAS keeps buffers of its own, some 32 MB a
 * thread, which no allocator sees and no figure counts.
 */
ESRGAN_API esrgan_status esrgan_estimate_memory(const esrgan_model *model,
                                                const esrgan_session_options *options, int n,
                                                int height, int width, uint64_t *bytes,
                                                esrgan_error *error);

/*
 * The network alone: what RRDBNet.forward returns, not clamped.
 * input:  n x in_channels x height x width, normally in [0, 1].
 * output: n x out_channels x height*scale x width*scale; must not overlap the input.
 * Height and width must be multiples of info.unshuffle: ESRGAN_E_ARGUMENT otherwise.
 */
ESRGAN_API esrgan_status esrgan_forward(esrgan_session *session, int n, int height, int width,
                                        const float *input, float *output, esrgan_error *error);

/* ---- Pictures ----------------------------------------------------------------------------- */

/* Interleaved rows, top to bottom.  16-bit samples are in the machine's byte order. */
typedef struct esrgan_picture {
    int width,
        height;       /* pixels, from 1                                                           */
    int channels;     /* 1 grey, 2 grey+alpha, 3 RGB, 4 RGB+alpha; alpha is straight              */
    int bits;         /* 8 or 16                                                                  */
    ptrdiff_t stride; /* bytes from a row to the next                                             */
    void *data;       /* the first row                                                            */
} esrgan_picture;

/*
 * Upscales a picture by the model's scale.  `out` has the same channels, scale times the width and
 * height, any bits.  Samples are divided by 255 or 65535, the result is clamped to [0, 1] and
 * rounded to nearest.  Sizes that a pixel-unshuffle model cannot take are padded by reflection at
 * the right and bottom, as Real-ESRGAN does, and cropped.  A grey picture through a colour model is
 * repeated over the channels and averaged afterwards: grey stays grey.  Alpha goes through the
 * network on its own (a traced value comes once for colour, then once for alpha); constant alpha
 * is carried over.  Fully transparent pixels take the colour of the nearest one that shows.
 */
ESRGAN_API esrgan_status esrgan_upscale(esrgan_session *session, const esrgan_picture *in,
                                        const esrgan_picture *out, esrgan_error *error);

typedef enum esrgan_filter {
    ESRGAN_BICUBIC = 0, /* a = -0.5, widened when reducing: as PIL and MATLAB's imresize */
    ESRGAN_LANCZOS = 1, /* three lobes, widened when reducing                            */
    ESRGAN_NEAREST = 2,
    ESRGAN_BILINEAR = 3
} esrgan_filter;

/*
 * Resamples a picture to the size of `out` (same channels, any bits), separably, in double, one
 * rounding at the end.  Colour is weighted by alpha where there is alpha.
 */
ESRGAN_API esrgan_status esrgan_resize(const esrgan_picture *in, const esrgan_picture *out,
                                       esrgan_filter filter, esrgan_error *error);

/* How pictures are compared: over all colour samples, or over Y of ITU-R BT.601 (16..235) as
 * papers do (a grey picture is taken as it is).  Alpha is left out. */
typedef enum esrgan_metric_space { ESRGAN_RGB = 0, ESRGAN_LUMA = 1 } esrgan_metric_space;

/*
 * Peak signal-to-noise ratio in dB of two pictures of one size, channel count and depth, leaving
 * out `border` pixels at each side.  Equal pictures give +infinity.
 */
ESRGAN_API esrgan_status esrgan_psnr(const esrgan_picture *a, const esrgan_picture *b, int border,
                                     esrgan_metric_space space, double *decibels,
                                     esrgan_error *error);

/*
 * Structural similarity (Wang et al. 2004: 11x11 Gaussian window of sigma 1.5, K1 0.01, K2 0.03,
 * valid positions only), averaged over channels.  Pictures smaller than 11 pixels inside the
 * border are ESRGAN_E_ARGUMENT.
 */
ESRGAN_API esrgan_status esrgan_ssim(const esrgan_picture *a, const esrgan_picture *b, int border,
                                     esrgan_metric_space space, double *similarity,
                                     esrgan_error *error);

/* ---- Looking inside ----------------------------------------------------------------------- */

/*
 * One step of a network.  A layer is named after the value it produces, in BasicSR's words:
 *
 *   input, unshuffle, conv_first,
 *   body.I.rdbJ.convK.pre   a convolution before its activation (K = 1..4)
 *   body.I.rdbJ.convK.act   after it
 *   body.I.rdbJ.conv5, body.I.rdbJ, body.I, conv_body, trunk_sum,
 *   up1.nearest, conv_up1.pre, conv_up1.act, ..., conv_hr.pre, conv_hr.act, conv_last
 */
typedef struct esrgan_layer {
    size_t size; /* set by the caller to sizeof(esrgan_layer) */
    const char *name;
    const char *op; /* as in esrgan_trace_value                                            */
    const char
        *weight_key;      /* of the checkpoint, for a convolution; NULL otherwise                */
    const char *bias_key; /* NULL where there is none                                            */
    int inputs[8];        /* layer indices of what it reads, in order of concatenation           */
    int input_count;
    int channels_in; /* summed over the inputs                                              */
    int channels_out;
    int kernel;   /* 3 or 1 for a convolution, 0 otherwise                               */
    int num, den; /* height and width are those of "input" (layer 0) times num / den     */
    double alpha; /* slope of an lrelu, factor of a residual (out = alpha*a + b)         */
} esrgan_layer;

ESRGAN_API int esrgan_layer_count(const esrgan_model *model);
ESRGAN_API esrgan_status esrgan_layer_get(const esrgan_model *model, int index, esrgan_layer *layer,
                                          esrgan_error *error);

/* Index of a layer by canonical name, or by the key of its weight in the checkpoint with or
 * without ".weight"; -1 if there is none. */
ESRGAN_API int esrgan_layer_find(const esrgan_model *model, const char *name);

/*
 * Copies a convolution's weight (channels_out x channels_in x k x k) and bias (channels_out; zeros
 * where there is none) as stored, widened to double.  Either pointer may be NULL.
 */
ESRGAN_API esrgan_status esrgan_layer_weights(const esrgan_model *model, int index, double *weight,
                                              double *bias, esrgan_error *error);

/*
 * The statistics of `count` elements that lie one after the other in NCHW order: what a trace says
 * of a value with this data.
 */
ESRGAN_API esrgan_status esrgan_statistics_compute(esrgan_dtype dtype, const void *data,
                                                   uint64_t count, esrgan_statistics *statistics,
                                                   esrgan_error *error);

/*
 * Recomputes one layer in double from given inputs: inputs[i] is 1 x C x H x W, contiguous, for
 * the i-th entry of esrgan_layer.inputs; height and width are those of the inputs.  `output`
 * receives channels_out x H' x W'.  Where `bound` is not NULL it receives, for each element, the
 * sum of |w||x| + |bias| that rounding errors are measured against (for the other kinds: the sum
 * of the magnitudes of what is added).  Either of `output` and `bound` may be NULL.  Runs on the
 * calling thread; several threads may compute layers of one model at once.
 */
ESRGAN_API esrgan_status esrgan_layer_compute(const esrgan_model *model, int index,
                                              const double *const *inputs, int height, int width,
                                              double *output, double *bound, esrgan_error *error);

/* One tier of the native kernels on this CPU. */
typedef struct esrgan_tier {
    size_t size; /* set by the caller to sizeof(esrgan_tier) */
    const char *name;
    int built;  /* in this build of the library                                                   */
    int usable; /* the CPU has the instructions and the operating system saves the registers      */
    int chosen_fp32, chosen_fp16,
        chosen_bf16; /* what backend AUTO takes for that precision       */
    const char
        *why; /* one sentence                                                               */
} esrgan_tier;

ESRGAN_API int esrgan_tier_count(void);
ESRGAN_API esrgan_status esrgan_tier_get(int index, esrgan_tier *tier, esrgan_error *error);

#ifdef __cplusplus
}
#endif

#endif /* ESRGAN_H */
