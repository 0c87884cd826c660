/* A bar with the time left, on a terminal only; and what Ctrl-C does.  For any thread. */
#ifndef PROGRESS_H
#define PROGRESS_H

#include <stdbool.h>
#include <stddef.h>

/* Seconds of a clock that only goes forward. */
double seconds_now(void);

/* Begins a bar under `title`; nothing is drawn where stderr is no terminal or with -q. */
void progress_begin(const char *title);

/* Before pictures are worked at side by side: one bar for all of so many.  Each thread has a picture of
 * its own then, and says when it goes on to the next one. */
void progress_batch(size_t pictures);
void progress_next(void);

/* The share of the whole that the next calls of progress_update are: parts of a picture. */
void progress_span(double from, double to);

/* An esrgan_progress_fn: redraws at most ten times a second; non-zero once interrupted. */
int progress_update(void *context, double done);

/* The picture is done: wipes its bar. */
void progress_end(void);

/* A line on stderr, in place of the bar that stands there. */
void progress_say(const char *before, const char *text);

/*
 * From now on SIGINT, SIGTERM and SIGHUP make interrupted() true (and progress_update cancel)
 * instead of ending the process; a second one removes the temporary file and ends it at once.
 */
void interrupt_watch(void);
bool interrupted(void);

/* The thread's temporary file that a second signal removes; NULL for none. */
void interrupt_guard(const char *temporary);

#endif
