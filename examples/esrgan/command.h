/* What all parts of the esrgan command share: exit codes, messages, the table of sub-commands. */
#ifndef COMMAND_H
#define COMMAND_H

#include <stdbool.h>
#include <stdio.h>

/* What the command's exit status means; stated in README.md and esrgan.1 too. */
enum exit_code {
    EXIT_DONE = 0,
    EXIT_FAILED = 1,      /* nothing of what was asked for could be done          */
    EXIT_USAGE = 2,       /* the command line makes no sense                      */
    EXIT_SOME_FAILED = 3, /* some files of a batch failed, the others are written */
    EXIT_INTERRUPTED = 130
};

#if defined(__GNUC__)
#define PRINTF_LIKE(text, first) __attribute__((format(printf, text, first)))
#else
#define PRINTF_LIKE(text, first)
#endif

/*
 * Messages.  All go to stderr as one line "esrgan: ..."; control characters (they come out of file
 * names) are shown as '?'.  A progress bar that stands on the line is wiped first.  For any thread.
 */
void complain(const char *format, ...) PRINTF_LIKE(1, 2); /* an error; always shown          */
void warn(const char *format, ...) PRINTF_LIKE(1, 2);     /* "esrgan: warning: ..."; likewise */
void tell(const char *format, ...) PRINTF_LIKE(1, 2);     /* what was done; silent with -q   */

/* Set by -q. */
extern int quiet;

/* The text of this thread's last complain(), for reports that repeat it; "" before the first. */
const char *last_complaint(void);

/* Sub-commands.  argv[0] is the sub-command's name; the exit status comes back. */
int cmd_upscale(int argc, char **argv);
int cmd_forward(int argc, char **argv);
int cmd_info(int argc, char **argv);
int cmd_trace(int argc, char **argv);
int cmd_compare(int argc, char **argv);
int cmd_eval(int argc, char **argv);

/* Closes stdout so that a full disk or a closed pipe is noticed: `code`, or EXIT_FAILED. */
int finish_output(int code);

#endif
