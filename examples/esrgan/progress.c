#include "progress.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "command.h"

enum { BAR_CELLS = 30 };

static struct {
    bool active, drawn;
    char title[64];
    double started, shown, from, to;
} bar;

static volatile sig_atomic_t signals;
static char guarded[4096];

double seconds_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

void progress_begin(const char *title) {
    bar.active = !quiet && isatty(STDERR_FILENO);
    bar.drawn = false;
    bar.started = seconds_now();
    bar.shown = bar.from = 0;
    bar.to = 1;
    const char *slash = strrchr(title, '/');
    snprintf(bar.title, sizeof bar.title, "%s", slash ? slash + 1 : title);
    for (char *c = bar.title; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f) *c = '?';
}

void progress_span(double from, double to) {
    bar.from = from;
    bar.to = to;
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
    fprintf(stderr, "\r\033[K%s [%s] %3d %%%s", bar.title, cells, (int)(done * 100), left);
    fflush(stderr);
    bar.drawn = true;
    bar.shown = now;
}

int progress_update(void *context, double done) {
    (void)context;
    if (bar.active) {
        double now = seconds_now();
        double share = bar.from + (bar.to - bar.from) * done;
        if (now - bar.shown >= 0.1) draw(share < 0 ? 0 : share > 1 ? 1 : share, now);
    }
    return interrupted();
}

void progress_wipe(void) {
    if (!bar.drawn) return;
    fputs("\r\033[K", stderr);
    fflush(stderr);
    bar.drawn = false;
}

void progress_end(void) {
    progress_wipe();
    bar.active = false;
}

static void on_signal(int number) {
    (void)number;
    if (++signals == 1) return;
    if (guarded[0]) unlink(guarded);
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

bool interrupted(void) { return signals != 0; }

void interrupt_guard(const char *temporary) {
    char next[sizeof guarded] = "";
    if (temporary && strlen(temporary) < sizeof guarded) strcpy(next, temporary);
    /* First byte last: the handler sees a whole name or none. */
    guarded[0] = 0;
    memcpy(guarded + 1, next + 1, sizeof guarded - 1);
    guarded[0] = next[0];
}
