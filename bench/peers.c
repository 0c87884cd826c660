/*
 * Other engines on the same weights, the same picture and as many threads.  Each runs as a process
 * of its own, ours too:
 *
 *     PROGRAM MODEL IN OUT CHANNELS HEIGHT WIDTH THREADS
 *
 * It opens MODEL.pth or MODEL.onnx, takes IN (float32, C x H x W), writes OUT the same way, and
 * says "version V", "load SECONDS", "ready".  If its output is right, it is sent lines; it answers
 * each by running once more and saying "run SECONDS".  At the end of its input it says "memory
 * BYTES", its peak.  A peer that is not installed ends with status 77.
 *
 * All are made ready first; then they run in turns, so that what else happens on the machine
 * happens to all.
 */
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"
#include "support/decibels.h"

enum { THREADS = 2, ROUNDS = 15, ABSENT = 77 };
static const double ERROR = 1e-5; /* of the largest value */

#ifndef BENCH_PYTHON
#define BENCH_PYTHON "python3"
#endif

/* ---- Ours ------------------------------------------------------------------------------------ */

/* Bytes that this process has had in memory at most.  (getrusage's figure is also what its parent had,
 * before it became this one.) */
static long long peak_memory(void) {
    long long kilobytes = 0;
    char line[128];
    FILE *status = fopen("/proc/self/status", "r");
    while (status && fgets(line, sizeof line, status))
        if (sscanf(line, "VmHWM: %lld", &kilobytes) == 1) break;
    if (status) fclose(status);
    return 1024 * kilobytes;
}

static bool transfer(const char *path, float *data, size_t count, bool write) {
    FILE *f = fopen(path, write ? "wb" : "rb");
    bool good = f && (write ? fwrite(data, sizeof *data, count, f)
                            : fread(data, sizeof *data, count, f)) == count;
    if (f && fclose(f) != 0) good = false;
    if (!good) perror(path);
    return good;
}

int peer_ourselves(char **arguments) {
    int n[4]; /* channels, height, width, threads */
    for (int i = 0; i < 4; i++) n[i] = atoi(arguments[3 + i]);
    char path[4096];
    snprintf(path, sizeof path, "%s.pth", arguments[0]);
    esrgan_session_options options;
    esrgan_session_options_init(&options);
    options.threads = n[3];
    esrgan_model *model;
    esrgan_session *session;
    esrgan_error error;
    double t = seconds();
    if (esrgan_open_file(path, NULL, &model, &error) != ESRGAN_OK ||
        esrgan_session_create(model, &options, &session, &error) != ESRGAN_OK) {
        fprintf(stderr, "bench: %s\n", error.message);
        return 2;
    }
    const double load = seconds() - t;
    esrgan_model_info info = {.size = sizeof info};
    if (esrgan_model_get_info(model, &info, NULL) != ESRGAN_OK) abort();
    const size_t in = (size_t)n[0] * (size_t)n[1] * (size_t)n[2],
                 out = in * (size_t)(info.scale * info.scale);
    float *x = malloc(in * sizeof *x), *y = malloc(out * sizeof *y);
    if (!x || !y) abort();
    bool good = transfer(arguments[1], x, in, false) &&
                esrgan_forward(session, 1, n[1], n[2], x, y, &error) == ESRGAN_OK &&
                transfer(arguments[2], y, out, true);
    if (good) printf("version %s\nload %.6f\nready\n", ESRGAN_VERSION_STRING, load);
    fflush(stdout);
    for (char line[16]; good && fgets(line, sizeof line, stdin);) {
        t = seconds();
        good = esrgan_forward(session, 1, n[1], n[2], x, y, &error) == ESRGAN_OK;
        printf("run %.6f\n", seconds() - t);
        fflush(stdout);
    }
    printf("memory %lld\n", peak_memory());
    esrgan_session_free(session);
    esrgan_model_free(model);
    free(x), free(y);
    return good ? 0 : 2;
}

/* ---- One engine as a process ----------------------------------------------------------------- */

typedef struct engine {
    const char *name;
    const char *command[3]; /* before the arguments; "" is this program itself */
} engine;

typedef struct child {
    pid_t pid;
    FILE *to, *from;
} child;

static child start(const engine *e, const char *model, const char *in, const char *out,
                   int channels, int size) {
    char numbers[4][16];
    const int values[] = {channels, size, size, THREADS};
    char *argv[16];
    int n = 0, to[2], from[2];
    for (; n < 3 && e->command[n]; n++)
        argv[n] = e->command[n][0] ? (char *)e->command[n] : "/proc/self/exe";
    argv[n++] = (char *)model;
    argv[n++] = (char *)in;
    argv[n++] = (char *)out;
    for (int i = 0; i < 4; i++) {
        snprintf(numbers[i], sizeof numbers[i], "%d", values[i]);
        argv[n++] = numbers[i];
    }
    argv[n] = NULL;
    if (pipe2(to, O_CLOEXEC) != 0 || pipe2(from, O_CLOEXEC) != 0) abort();
    fflush(NULL);
    child c = {.pid = fork()};
    if (c.pid < 0) abort();
    if (c.pid == 0) {
        dup2(to[0], 0), dup2(from[1], 1);
        execvp(argv[0], argv);
        _exit(ABSENT);
    }
    close(to[0]), close(from[1]);
    c.to = fdopen(to[1], "w");
    c.from = fdopen(from[0], "r");
    if (!c.to || !c.from) abort();
    return c;
}

/* An engine's part in a contest. */
typedef struct part {
    const engine *engine;
    child child;
    int status; /* 0, ABSENT, 1 where the output is wrong, 2 where it failed */
    char version[32];
    double load, memory, db, run[ROUNDS], ratio[ROUNDS];
    int runs;
} part;

/* Reads what an engine says until it is ready, has run once or has come to its end. */
static bool listen(part *p) {
    char line[256];
    while (fgets(line, sizeof line, p->child.from)) {
        if (strcmp(line, "ready\n") == 0) return true;
        if (p->runs < ROUNDS && sscanf(line, "run %lf", &p->run[p->runs]) == 1)
            return p->runs++, true;
        sscanf(line, "version %31s", p->version);
        sscanf(line, "load %lf", &p->load);
        sscanf(line, "memory %lf", &p->memory);
    }
    return false;
}

/* Ends it and says what was wrong. */
static void finish(part *p) {
    int status = 0;
    if (!p->child.to) return;
    fclose(p->child.to);
    p->child.to = NULL;
    while (listen(p)) continue;
    fclose(p->child.from);
    waitpid(p->child.pid, &status, 0);
    status = WIFEXITED(status) ? WEXITSTATUS(status) : 2;
    if (status && p->status != 1) p->status = status == ABSENT ? ABSENT : 2;
    if (p->status == ABSENT)
        fprintf(stderr, "bench: %s is not installed: make deps-dev\n", p->engine->name);
    else if (p->status == 2)
        fprintf(stderr, "bench: %s failed\n", p->engine->name);
}

/* ---- All of them ----------------------------------------------------------------------------- */

static const engine engines[] = {
    {"libesrgan", {"", "peer"}},
    {"ONNX Runtime", {"node", "bench/peer_onnxruntime.mjs"}},
    {"PyTorch", {BENCH_PYTHON, "bench/peer_torch.py"}},
};
enum { ENGINES = sizeof engines / sizeof *engines };

typedef struct contest {
    const net_shape *shape;
    int size;
    char model[4096], in[4096], out[4096];
    float *ours, *theirs;
    size_t count;
    double direct; /* floating-point operations of the plain convolutions */
} contest;

/* Starts an engine and compares its first output with ours. */
static void make_ready(contest *t, part *p) {
    const bool ourselves = p->engine == engines;
    float *y = ourselves ? t->ours : t->theirs;
    p->child = start(p->engine, t->model, t->in, t->out, t->shape->in, t->size);
    if (!listen(p)) {
        p->status = 2;
        finish(p);
        return;
    }
    if (!transfer(t->out, y, t->count, false)) exit(2);
    double most = 0, error = 0;
    for (size_t i = 0; i < t->count; i++) {
        const double d = fabs((double)y[i] - t->ours[i]);
        if (fabsf(t->ours[i]) > most) most = fabsf(t->ours[i]);
        if (!(d <= error)) error = d; /* a NaN stays */
    }
    p->db = decibels(t->ours, y, t->count);
    if (error <= ERROR * most) return;
    fprintf(stderr, "bench: %s %d x %d: %s is off by %g of %g: not timed\n", t->shape->name,
            t->size, t->size, p->engine->name, error, most);
    p->status = 1;
    finish(p);
}

static double spent(const part *p) {
    double sum = 0;
    for (int i = 0; i < p->runs; i++) sum += p->run[i];
    return sum;
}

/* Rounds of one run each.  An engine takes part in as many as go into its time, two at least: a slow one does
 * not keep others from being measured more often. */
static void take_turns(const contest *t, part *all, double budget) {
    int running = ENGINES;
    for (int round = 0; round < ROUNDS && running > 0; round++) {
        running = 0;
        for (int i = 0; i < ENGINES; i++) {
            part *p = &all[i];
            const bool enough = round >= 2 && spent(p) * (round + 1) / round > budget;
            if (p->status || p->runs < round || enough) continue;
            usleep(100000); /* the threads of the one before have gone to sleep */
            const double direct = t->direct / (THREADS * peak_fma(false, THREADS));
            fputs("run\n", p->child.to);
            fflush(p->child.to);
            if (!listen(p)) p->status = 2;
            p->ratio[round] = direct / p->run[round];
            running++;
        }
    }
}

static void report(const contest *t, part *p, double against_ours, output *to) {
    const double mid = median(p->run, p->runs), spread = (p->run[p->runs - 1] - p->run[0]) / mid,
                 ratio = median(p->ratio, p->runs);
    fprintf(to->markdown, "| %s | %d² | %s %s | %d | %.3f | %.0f %% | %.2f | %.2f | %.0f | %.3f |",
            t->shape->name, t->size, p->engine->name, p->version, p->runs, mid, 100 * spread, ratio,
            against_ours, p->memory / 1e6, p->load);
    fprintf(to->json,
            "{\"network\": \"%s\", \"size\": %d, \"engine\": \"%s\", \"version\": \"%s\", "
            "\"threads\": %d, \"median_s\": %.5f, \"spread\": %.3f, \"runs\": %d, \"roofline\": "
            "%.3f, \"times_ours\": %.3f, \"peak_rss\": %.0f, \"load_s\": %.5f, \"db\": ",
            t->shape->name, t->size, p->engine->name, p->version, THREADS, mid, spread, p->runs,
            ratio, against_ours, p->memory, p->load);
    if (p->engine == engines) {
        fprintf(to->markdown, " |\n");
        fprintf(to->json, "null}\n");
    } else {
        fprintf(to->markdown, " %.1f |\n", p->db);
        fprintf(to->json, "%.1f}\n", p->db);
        if (t->shape == shapes)
            fprintf(to->points, "%s fp32\t%d\t%.5f\t%.4f\n", p->engine->name, t->size, mid, ratio);
    }
}

/* Model, picture and room for one contest. */
static contest prepare(const net_shape *shape, int size, const char *folder) {
    contest t = {.shape = shape, .size = size};
    char path[4200];
    snprintf(t.model, sizeof t.model, "%s/%s", folder, shape->name);
    snprintf(t.in, sizeof t.in, "%s/in.f32", folder);
    snprintf(t.out, sizeof t.out, "%s/out.f32", folder);
    snprintf(path, sizeof path, "%s.pth", t.model);
    if (!write_checkpoint(shape, path)) exit(2);
    esrgan_model *model = make_model(shape);
    esrgan_model_info info = {.size = sizeof info};
    if (esrgan_model_get_info(model, &info, NULL) != ESRGAN_OK) abort();
    snprintf(path, sizeof path, "%s.onnx", t.model);
    if (!write_onnx(model, path)) exit(2);
    t.direct = direct_time(model, size, size, 1, 1);
    esrgan_model_free(model);
    const size_t pixels = (size_t)size * (size_t)size;
    float *in = make_picture(info.in_channels, size, size);
    if (!transfer(t.in, in, (size_t)info.in_channels * pixels, true)) exit(2);
    free(in);
    t.count = (size_t)(info.out_channels * info.scale * info.scale) * pixels;
    t.ours = malloc(t.count * sizeof *t.ours);
    t.theirs = malloc(t.count * sizeof *t.theirs);
    if (!t.ours || !t.theirs) abort();
    return t;
}

int bench_peers(const net_shape *shape, int size, const char *folder, output *to) {
    contest t = prepare(shape, size, folder);
    part all[ENGINES] = {0};
    double ratios[ENGINES][ROUNDS];
    int worst = 0;
    signal(SIGPIPE, SIG_IGN);
    for (int i = 0; i < ENGINES; i++) {
        all[i].engine = &engines[i];
        make_ready(&t, &all[i]);
    }
    take_turns(&t, all, 30);
    for (int i = 0; i < ENGINES; i++) {
        finish(&all[i]);
        for (int k = 0; k < all[i].runs && k < all[0].runs; k++)
            ratios[i][k] = all[i].run[k] / all[0].run[k];
        if (all[i].status == 1 || (all[i].status == 2 && worst == 0)) worst = all[i].status;
    }
    for (int i = 0; i < ENGINES; i++)
        if (all[i].status == 0 && all[0].status == 0)
            report(&t, &all[i], median(ratios[i], all[i].runs), to);
    free(t.ours), free(t.theirs);
    return worst;
}
