/* The one parser of command lines: tables of options in, settings and operands out. */
#ifndef OPTIONS_H
#define OPTIONS_H

#include <stddef.h>
#include <stdint.h>

typedef enum option_kind {
    OPTION_FLAG,   /* int: set to 1                                               */
    OPTION_TEXT,   /* const char *                                                */
    OPTION_INT,    /* int, from min to max                                        */
    OPTION_REAL,   /* double, from min to max                                     */
    OPTION_BYTES,  /* uint64_t; 512, 64K, 300M, 2G                                */
    OPTION_CHOICE, /* int: index into `choices`                                   */
    OPTION_SIZE,   /* int[2]: WxH                                                 */
    OPTION_OPERAND /* the value joins the operands, as if it stood there bare     */
} option_kind;

typedef struct option {
    char letter;       /* 0: none                                                 */
    const char *name;  /* long name; may be written with _ for -                  */
    const char *other; /* a second long name, or NULL                             */
    option_kind kind;
    const char *value; /* what stands for the value in the help, NULL for a flag  */
    const char *help;
    size_t offset; /* of the member in the settings                           */
    double min, max;
    const char *const *choices; /* NULL at the end */
} option;

/* A table, ended by an option without a name, and the settings it fills in. */
typedef struct option_group {
    const option *options;
    void *settings;
} option_group;

typedef struct command_line {
    const char *name;           /* "upscale"                                            */
    const char *synopsis;       /* "[options] IN..."                                    */
    const char *about;          /* paragraphs for --help                                */
    const char *notes;          /* after the options; may be NULL                       */
    const option_group *groups; /* ended by one without options                   */
} command_line;

typedef struct operand_list {
    char **items; /* point into argv */
    int count;
} operand_list;

/*
 * Parses argv[1..].  Options and operands may be mixed; `--` ends the options; `-` is an operand.
 * -h, --help, -V and --version are handled here.  Returns -1 to go on, or the exit status to leave
 * with (help printed, or a complaint made).  Release with operands_free.
 */
int options_parse(const command_line *line, int argc, char **argv, operand_list *operands);
void operands_free(operand_list *operands);

/* Prints what --help prints. */
void options_help(const command_line *line);

/* Parses "512", "64K", "300M", "2G"; returns 0, or -1 where it is none of these. */
int parse_bytes(const char *text, uint64_t *bytes);

#endif
