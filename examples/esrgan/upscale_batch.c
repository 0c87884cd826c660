/* Pictures read, enlarged, written and reported, one after the other or side by side. */
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "files.h"
#include "gate.h"
#include "progress.h"
#include "upscale.h"

/*
 * Threads of a batch at most.  Pixels that the network gets of a picture for each core: with fewer, cores would
 * mostly wait for each other, and pictures get one each.  (x4plus, two cores, against all on both: 0.81 of the
 * time for pictures of 16 x 16, 0.91 for 32 x 32; for 64 x 64 it would be 1.03 to 1.14.)
 */
enum { MOST_AT_ONCE = 64, SMALL_A_CORE = 1024 };

typedef enum outcome { DONE, SKIPPED, FAILED, CANCELLED } outcome;

typedef struct account {
    outcome outcome;
    int width, height, out_width, out_height;
    double read_s, run_s, write_s;
    int threads;
    bool fell_back;
    bool ended;
    char *error; /* what was complained about */
} account;

/* A batch under way. */
typedef struct run {
    enlarger *e;    /* on all cores */
    enlarger alone; /* on one, not opened: threads have one each */
    const upscale_settings *s;
    const batch *b;
    json *to;
    int at_once;
    gate gate;
    pthread_mutex_t lock; /* for what follows; accounts are shown in the order of their jobs */
    account *accounts;
    size_t next, shown, done, failed;
} run;

static picture_format result_format(const upscale_settings *s, const char *out) {
    const char *extension =
        s->extension != EXT_AUTO ? UPSCALE_EXTENSIONS[s->extension] : path_extension(out);
    picture_format format = picture_format_of(extension);
    return format == PICTURE_OTHER ? PICTURE_PNG : format;
}

static int result_bits(const upscale_settings *s, const picture *in, picture_format format) {
    if (!picture_format_deep(format)) return 8;
    return s->bits == 0 ? in->pixels.bits : s->bits == 1 ? 8 : 16;
}

/* The folder of a file that is about to be written. */
static bool make_folder_of(const char *path) {
    const char *name = path_name(path);
    if (name == path || !strcmp(path, "-")) return true;
    char *folder = text_format("%.*s", (int)(name - path), path);
    bool good = folder && (is_folder(folder) || make_folders(folder));
    free(folder);
    return good;
}

static bool may_write(const job *j) {
    if (j->clash) {
        complain("%s: its result %s is already that of %s", j->in, j->out, j->clash);
        return false;
    }
    if (strcmp(j->in, "-") && strcmp(j->out, "-") && is_file(j->in) && same_file(j->in, j->out)) {
        complain("%s: the result would replace the picture itself; use -o or --suffix", j->in);
        return false;
    }
    return true;
}

/* Small enough for one core, and with others to be done beside it. */
static bool is_small(const run *r, size_t index, const picture *in) {
    const size_t left = r->b->count - index, cores = (size_t)r->e->threads;
    const size_t step = (size_t)r->e->info.unshuffle;
    const size_t pixels = (size_t)in->pixels.width * (size_t)in->pixels.height / (step * step);
    return r->at_once > 1 && pixels <= SMALL_A_CORE * (left < cores ? left : cores);
}

/* Enlarged on all cores, or by the thread's own session on one. */
static bool compute(run *r, enlarger *own, bool small, const char *name, const picture *in,
                    int bits, picture *out, account *did) {
    enlarger *e = small ? own : r->e;
    if (small && !own->session && !enlarger_open(own)) return false;
    progress_begin(name);
    const double started = seconds_now();
    const bool good = enlarge(e, name, in, bits, out);
    did->run_s = seconds_now() - started;
    did->fell_back = e->fell_back;
    did->threads = e->threads;
    progress_end();
    return good && !interrupted();
}

static bool upscale_one(run *r, enlarger *own, size_t index, account *did) {
    const job *j = &r->b->jobs[index];
    const char *name = strcmp(j->in, "-") ? j->in : "standard input";
    picture in, out = {0};
    if (!may_write(j)) return false;
    gate_read(&r->gate);
    double started = seconds_now();
    if (interrupted() || !picture_read(j->in, &in)) {
        gate_unread(&r->gate);
        return false;
    }
    did->width = in.pixels.width;
    did->height = in.pixels.height;
    did->read_s = seconds_now() - started;
    picture_write_options how = {.format = result_format(r->s, j->out),
                                 .quality = r->s->quality,
                                 .lossless = r->s->lossless};
    const int bits = result_bits(r->s, &in, how.format);
    const bool small = is_small(r, index, &in);
    /* What it takes matters to others alone. */
    const uint64_t bytes = r->at_once > 1 ? enlarger_bytes(small ? own : r->e, &in, bits) : 0;
    gate_compute(&r->gate, small, bytes);
    bool good = !interrupted() && compute(r, own, small, name, &in, bits, &out, did);
    gate_write(&r->gate, small);
    picture_free(&in);
    if (good) {
        did->out_width = out.pixels.width;
        did->out_height = out.pixels.height;
        started = seconds_now();
        good = make_folder_of(j->out) && picture_write(j->out, &out, &how);
        did->write_s = seconds_now() - started;
    }
    picture_free(&out);
    gate_done(&r->gate, bytes);
    return good;
}

static void report_as_json(json *to, const job *j, const account *r) {
    static const char *const words[] = {"done", "skipped", "failed", "cancelled"};
    json_object(to, NULL);
    json_text(to, "input", j->in);
    json_text(to, "output", j->out);
    json_text(to, "status", words[r->outcome]);
    if (r->outcome == FAILED) json_text(to, "error", r->error ? r->error : "");
    if (r->outcome == DONE) {
        json_integer(to, "width", r->width);
        json_integer(to, "height", r->height);
        json_integer(to, "out_width", r->out_width);
        json_integer(to, "out_height", r->out_height);
        json_integer(to, "threads", r->threads);
        json_number(to, "read_s", r->read_s);
        json_number(to, "run_s", r->run_s);
        json_number(to, "write_s", r->write_s);
        json_bool(to, "repeated_fp32", r->fell_back);
    }
    json_close_object(to);
}

static void report_as_text(const job *j, const account *r, size_t index, size_t count) {
    char place[48] = "";
    if (count > 1) snprintf(place, sizeof place, "[%zu/%zu] ", index + 1, count);
    if (r->outcome == SKIPPED)
        tell("%s%s: skipped, %s is there", place, j->in, j->out);
    else if (r->outcome == DONE)
        tell("%s%s -> %s: %dx%d -> %dx%d, %.2f s", place, j->in, j->out, r->width, r->height,
             r->out_width, r->out_height, r->read_s + r->run_s + r->write_s);
}

static int exit_code(size_t done, size_t failed, bool cancelled) {
    if (cancelled) return EXIT_INTERRUPTED;
    return !failed ? EXIT_DONE : done ? EXIT_SOME_FAILED : EXIT_FAILED;
}

/* Accounts that are next in order. */
static void show(run *r) {
    for (; r->shown < r->b->count && r->accounts[r->shown].ended; r->shown++) {
        const job *j = &r->b->jobs[r->shown];
        account *did = &r->accounts[r->shown];
        r->done += did->outcome == DONE || did->outcome == SKIPPED;
        r->failed += did->outcome == FAILED;
        if (r->to) report_as_json(r->to, j, did);
        report_as_text(j, did, r->shown, r->b->count);
        free(did->error);
    }
}

/* One job after the other, of those that nobody else has begun. */
static void *work(void *context) {
    run *r = context;
    enlarger own = r->alone;
    pthread_mutex_lock(&r->lock);
    while (r->next < r->b->count && !interrupted()) {
        const size_t index = r->next++;
        const job *j = &r->b->jobs[index];
        account did = {.outcome = SKIPPED};
        pthread_mutex_unlock(&r->lock);
        if (!(r->s->skip_existing && strcmp(j->out, "-") && is_file(j->out)))
            did.outcome = upscale_one(r, &own, index, &did) ? DONE
                          : interrupted()                   ? CANCELLED
                                                            : FAILED;
        if (did.outcome == FAILED) did.error = strdup(last_complaint());
        did.ended = true;
        progress_next();
        pthread_mutex_lock(&r->lock);
        r->accounts[index] = did;
        show(r);
    }
    pthread_mutex_unlock(&r->lock);
    enlarger_close(&own);
    return NULL;
}

int batch_at_once(const enlarger *e, const upscale_settings *s, const batch *b) {
    int most = s->at_once;
    /* One that is read or written beside those that are computed; but of a memory limit each may take all. */
    if (most == 0) most = e->threads > 1 ? e->threads + 1 : 1;
    if (e->run.max_memory) most = 1;
    if (most > MOST_AT_ONCE) most = MOST_AT_ONCE;
    return (size_t)most < b->count ? most : (int)b->count;
}

/* The calling thread works, too; threads that cannot be made are done without. */
static void work_together(run *r) {
    pthread_t threads[MOST_AT_ONCE];
    int made = 0;
    if (r->at_once > 1) progress_batch(r->b->count);
    while (made + 1 < r->at_once && pthread_create(&threads[made], NULL, work, r) == 0) made++;
    work(r);
    for (int i = 0; i < made; i++) pthread_join(threads[i], NULL);
}

int batch_run(enlarger *e, const upscale_settings *s, const batch *b, size_t missing, json *to) {
    run r = {.e = e, .alone = *e, .s = s, .b = b, .to = to, .failed = missing};
    r.alone.session = r.alone.fallback = NULL;
    r.alone.run.threads = 1;
    r.at_once = batch_at_once(e, s, b);
    r.accounts = allocate(b->count, sizeof *r.accounts);
    if (!r.accounts) return EXIT_FAILED;
    pthread_mutex_init(&r.lock, NULL);
    gate_open(&r.gate, e->threads, available_memory() / 4);
    work_together(&r);
    gate_close(&r.gate);
    pthread_mutex_destroy(&r.lock);
    free(r.accounts);
    if (interrupted())
        complain("interrupted; %zu of %zu done", r.done, b->count);
    else if (r.failed && b->count + missing > 1)
        complain("%zu done, %zu failed", r.done, r.failed);
    return exit_code(r.done, r.failed, interrupted());
}
