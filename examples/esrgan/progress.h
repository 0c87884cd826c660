/* A bar with the time left, on a terminal only; and what Ctrl-C does. */
#ifndef PROGRESS_H
#define PROGRESS_H

#include <stdbool.h>

/* Seconds of a clock that only goes forward. */
double seconds_now(void);

/* Begins a bar under `title`; nothing is drawn where stderr is no terminal or with -q. */
void progress_begin(const char *title);

/* The share of the whole that the next calls of progress_update are: parts of a picture. */
void progress_span(double from, double to);

/* An esrgan_progress_fn: redraws at most ten times a second; non-zero once interrupted. */
int progress_update(void *context, double done);

/* Wipes the bar. */
void progress_wipe(void);
void progress_end(void);

/*
 * From now on SIGINT, SIGTERM and SIGHUP make interrupted() true (and progress_update cancel)
 * instead of ending the process; a second one removes the temporary file and ends it at once.
 */
void interrupt_watch(void);
bool interrupted(void);

/* The temporary file a second signal removes; NULL for none. */
void interrupt_guard(const char *temporary);

#endif
