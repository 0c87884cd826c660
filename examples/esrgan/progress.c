#include "progress.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "command.h"

enum { BAR_CELLS = 30, GUARDED = 72 };

static struct {
    pthread_mutex_t lock;
    bool active, drawn;
    char title[64];
    double started, shown;
    double done; /* of pictures side by side: those done and the shares of the others */
    size_t pictures, finished; /* 0: one after the other */
} bar = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* The thread's picture. */
static _Thread_local struct { double from, to, done; } mine;

static atomic_int signals;

/* Temporary files by thread. */
static struct {
    atomic_bool there;
    char name[4096];
} guarded[GUARDED];
static atomic_int guards;
static _Thread_local int guard = -1;

double seconds_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static void begin(void) {
    bar.active = !quiet && isatty(STDERR_FILENO);
    bar.drawn = false;
    bar.started = seconds_now();
    bar.shown = 0;
}

void progress_batch(size_t pictures) {
    begin();
    bar.pictures = pictures;
    bar.finished = 0;
    bar.done = 0;
}

void progress_begin(const char *title) {
    mine.from = 0;
    mine.to = 1;
    if (bar.pictures > 0) return;
    begin();
    const char *slash = strrchr(title, '/');
    snprintf(bar.title, sizeof bar.title, "%s", slash ? slash + 1 : title);
    for (char *c = bar.title; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f) *c = '?';
}

void progress_span(double from, double to) {
    mine.from = from;
    mine.to = to;
}

static void draw(double done, double now) {
    char cells[BAR_CELLS + 1], left[32] = "";
    int full = (int)(done * BAR_CELLS);
    memset(cells, '.', BAR_CELLS);
    memset(cells, '#', (size_t)full);
    cells[BAR_CELLS] = 0;
    /* The first moments say nothing about the rest. */
    if (done > 0.02 && now - bar.started > 0.5) {
        int seconds = (int)((now - bar.started) * (1 - done) / done + 0.5);
        snprintf(left, sizeof left, "  %d:%02d left", seconds / 60, seconds % 60);
    }
    if (bar.pictures > 0)
        snprintf(bar.title, sizeof bar.title, "%zu of %zu", bar.finished, bar.pictures);
    fprintf(stderr, "\r\033[K%s [%s] %3d %%%s", bar.title, cells, (int)(done * 100), left);
    fflush(stderr);
    bar.drawn = true;
    bar.shown = now;
}

/* The thread's picture is done up to this share of it. */
static void update(double share) {
    if (share < 0) share = 0;
    if (share > 1) share = 1;
    pthread_mutex_lock(&bar.lock);
    bar.done += share - mine.done;
    mine.done = share;
    const double now = seconds_now();
    if (bar.active && now - bar.shown >= 0.1)
        draw(bar.pictures > 0 ? bar.done / (double)bar.pictures : share, now);
    pthread_mutex_unlock(&bar.lock);
}

int progress_update(void *context, double done) {
    (void)context;
    update(mine.from + (mine.to - mine.from) * done);
    return interrupted();
}

void progress_next(void) {
    if (bar.pictures == 0) return;
    update(1);
    mine.done = 0;
    pthread_mutex_lock(&bar.lock);
    bar.finished++;
    pthread_mutex_unlock(&bar.lock);
}

static void wipe(void) {
    if (!bar.drawn) return;
    fputs("\r\033[K", stderr);
    fflush(stderr);
    bar.drawn = false;
}

void progress_end(void) {
    if (bar.pictures > 0) return;
    wipe();
    bar.active = false;
}

void progress_say(const char *before, const char *text) {
    pthread_mutex_lock(&bar.lock);
    wipe();
    fprintf(stderr, "%s%s\n", before, text);
    pthread_mutex_unlock(&bar.lock);
}

static void on_signal(int number) {
    (void)number;
    if (atomic_fetch_add(&signals, 1) == 0) return;
    for (int i = 0; i < GUARDED; i++)
        if (atomic_load(&guarded[i].there)) unlink(guarded[i].name);
    _exit(EXIT_INTERRUPTED);
}

void interrupt_watch(void) {
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
    struct sigaction action, before;
    memset(&action, 0, sizeof action);
    sigemptyset(&action.sa_mask);
    action.sa_handler = on_signal;
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        /* What nohup or a shell's background job ignores stays ignored. */
        if (sigaction(numbers[i], NULL, &before) == 0 && before.sa_handler == SIG_IGN) continue;
        sigaction(numbers[i], &action, NULL);
    }
}

bool interrupted(void) { return atomic_load(&signals) != 0; }

void interrupt_guard(const char *temporary) {
    if (guard < 0) guard = atomic_fetch_add(&guards, 1);
    if (guard >= GUARDED) return;
    /* The handler sees a whole name or none. */
    atomic_store(&guarded[guard].there, false);
    if (!temporary || strlen(temporary) >= sizeof guarded[guard].name) return;
    strcpy(guarded[guard].name, temporary);
    atomic_store(&guarded[guard].there, true);
}
