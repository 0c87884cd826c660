#include "options.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "esrgan.h"

/* Where the help of an option begins, and how wide lines become. */
enum { HELP_COLUMN = 28, HELP_WIDTH = 88 };

static bool same_name(const char *a, size_t length, const char *b) {
    if (!b || strlen(b) != length) return false;
    for (size_t i = 0; i < length; i++)
        if ((a[i] == '_' ? '-' : a[i]) != b[i]) return false;
    return true;
}

static const option *find_long(const command_line *line, const char *name, size_t length,
                               void **settings) {
    for (const option_group *g = line->groups; g->options; g++)
        for (const option *o = g->options; o->name; o++)
            if (same_name(name, length, o->name) || same_name(name, length, o->other)) {
                *settings = g->settings;
                return o;
            }
    return NULL;
}

static const option *find_letter(const command_line *line, char letter, void **settings) {
    for (const option_group *g = line->groups; g->options; g++)
        for (const option *o = g->options; o->name; o++)
            if (o->letter == letter) {
                *settings = g->settings;
                return o;
            }
    return NULL;
}

int parse_bytes(const char *text, uint64_t *bytes) {
    char *end;
    errno = 0;
    double number = strtod(text, &end);
    if (end == text || errno || !(number >= 0)) return -1;
    double unit = 1;
    switch (*end) {
    case 'k':
    case 'K': unit = 1024.0; break;
    case 'm':
    case 'M': unit = 1024.0 * 1024; break;
    case 'g':
    case 'G': unit = 1024.0 * 1024 * 1024; break;
    case 't':
    case 'T': unit = 1024.0 * 1024 * 1024 * 1024; break;
    default: break;
    }
    if (unit > 1) end++;
    if (unit > 1 && *end == 'i') end++;
    if (*end == 'B') end++;
    if (*end || number * unit > 9e18) return -1;
    *bytes = (uint64_t)(number * unit);
    return 0;
}

static int parse_size(const char *text, int size[2]) {
    char tail;
    if (sscanf(text, "%dx%d%c", &size[0], &size[1], &tail) != 2) return -1;
    return size[0] > 0 && size[1] > 0 ? 0 : -1;
}

/* Names an option the way it was most likely typed. */
static const char *shown(const option *o, char buffer[64]) {
    if (o->letter)
        snprintf(buffer, 64, "-%c/--%s", o->letter, o->name);
    else
        snprintf(buffer, 64, "--%s", o->name);
    return buffer;
}

static int bad_number(const command_line *line, const option *o, const char *text) {
    char name[64];
    complain("%s: %s: '%s' is not a number from %g to %g", line->name, shown(o, name), text, o->min,
             o->max);
    return EXIT_USAGE;
}

static int bad_choice(const command_line *line, const option *o, const char *text) {
    char name[64], list[256] = "";
    for (int i = 0; o->choices[i]; i++) {
        size_t used = strlen(list);
        snprintf(list + used, sizeof list - used, "%s%s", i ? ", " : "", o->choices[i]);
    }
    complain("%s: %s: '%s' is none of %s", line->name, shown(o, name), text, list);
    return EXIT_USAGE;
}

/* Stores one value; -1, or EXIT_USAGE after a complaint. */
static int store(const command_line *line, const option *o, void *settings, char *text,
                 operand_list *operands) {
    void *target = (char *)settings + o->offset;
    char name[64], *end = NULL;
    switch (o->kind) {
    case OPTION_FLAG: *(int *)target = 1; break;
    case OPTION_TEXT: *(const char **)target = text; break;
    case OPTION_OPERAND: operands->items[operands->count++] = text; break;
    case OPTION_INT: {
        errno = 0;
        long number = strtol(text, &end, 10);
        if (end == text || *end || errno || number < o->min || number > o->max)
            return bad_number(line, o, text);
        *(int *)target = (int)number;
        break;
    }
    case OPTION_REAL: {
        double number = strtod(text, &end);
        if (end == text || *end || !(number >= o->min && number <= o->max))
            return bad_number(line, o, text);
        *(double *)target = number;
        break;
    }
    case OPTION_BYTES:
        if (parse_bytes(text, target) == 0) break;
        complain("%s: %s: '%s' is not a number of bytes such as 512M or 2G", line->name,
                 shown(o, name), text);
        return EXIT_USAGE;
    case OPTION_SIZE:
        if (parse_size(text, target) == 0) break;
        complain("%s: %s: '%s' is not a size such as 640x480", line->name, shown(o, name), text);
        return EXIT_USAGE;
    case OPTION_CHOICE:
        for (int i = 0; o->choices[i]; i++)
            if (!strcmp(o->choices[i], text)) {
                *(int *)target = i;
                return -1;
            }
        return bad_choice(line, o, text);
    }
    return -1;
}

static int print_version(void) {
    printf("esrgan %s\n", esrgan_version_string());
    return finish_output(EXIT_DONE);
}

/* One argument that begins with "--"; *at moves on where the value is an argument of its own. */
static int take_long(const command_line *line, int argc, char **argv, int *at,
                     operand_list *operands) {
    char *name = argv[*at] + 2, *equals = strchr(name, '='), *value = equals ? equals + 1 : NULL;
    size_t length = equals ? (size_t)(equals - name) : strlen(name);
    void *settings = NULL;
    if (!strcmp(name, "help")) {
        options_help(line);
        return finish_output(EXIT_DONE);
    }
    if (!strcmp(name, "version")) return print_version();
    const option *o = find_long(line, name, length, &settings);
    if (!o) {
        complain("%s: unknown option '--%.*s'; 'esrgan help %s' lists them", line->name,
                 (int)length, name, line->name);
        return EXIT_USAGE;
    }
    if (o->kind == OPTION_FLAG && value) {
        complain("%s: --%s takes no value", line->name, o->name);
        return EXIT_USAGE;
    }
    if (o->kind != OPTION_FLAG && !value) {
        if (*at + 1 >= argc) {
            complain("%s: --%s needs a value (%s)", line->name, o->name, o->value);
            return EXIT_USAGE;
        }
        value = argv[++*at];
    }
    return store(line, o, settings, value, operands);
}

/* One argument of letters: "-q", "-j4", "-qj4", "-j 4". */
static int take_letters(const command_line *line, int argc, char **argv, int *at,
                        operand_list *operands) {
    for (char *letter = argv[*at] + 1; *letter; letter++) {
        void *settings = NULL;
        const option *o = find_letter(line, *letter, &settings);
        if (!o && *letter == 'h') {
            options_help(line);
            return finish_output(EXIT_DONE);
        }
        if (!o && *letter == 'V') return print_version();
        if (!o) {
            complain("%s: unknown option '-%c'; 'esrgan help %s' lists them", line->name, *letter,
                     line->name);
            return EXIT_USAGE;
        }
        if (o->kind == OPTION_FLAG) {
            store(line, o, settings, NULL, operands);
            continue;
        }
        char *value = letter + 1;
        if (!*value) {
            if (*at + 1 >= argc) {
                complain("%s: -%c needs a value (%s)", line->name, *letter, o->value);
                return EXIT_USAGE;
            }
            value = argv[++*at];
        }
        return store(line, o, settings, value, operands);
    }
    return -1;
}

int options_parse(const command_line *line, int argc, char **argv, operand_list *operands) {
    int code = -1;
    operands->count = 0;
    operands->items = calloc((size_t)argc + 1, sizeof *operands->items);
    if (!operands->items) {
        complain("out of memory");
        return EXIT_FAILED;
    }
    for (int at = 1; at < argc && code < 0; at++) {
        if (!strcmp(argv[at], "--")) {
            while (++at < argc) operands->items[operands->count++] = argv[at];
        } else if (!strncmp(argv[at], "--", 2)) {
            code = take_long(line, argc, argv, &at, operands);
        } else if (argv[at][0] == '-' && argv[at][1]) {
            code = take_letters(line, argc, argv, &at, operands);
        } else {
            operands->items[operands->count++] = argv[at];
        }
    }
    if (code >= 0) operands_free(operands);
    return code;
}

void operands_free(operand_list *operands) {
    free(operands->items);
    operands->items = NULL;
    operands->count = 0;
}

/* Prints `text` word by word from `column` on, breaking lines before HELP_WIDTH. */
static void print_wrapped(const char *text, int indent, int column) {
    while (*text) {
        int length = (int)strcspn(text, " ");
        if (column > indent && column + 1 + length > HELP_WIDTH) {
            printf("\n%*s", indent, "");
            column = indent;
        } else if (column > indent) {
            putchar(' ');
            column++;
        }
        printf("%.*s", length, text);
        column += length;
        text += length;
        while (*text == ' ') text++;
    }
    putchar('\n');
}

static void print_option(const option *o) {
    char left[128];
    int used = o->letter ? snprintf(left, sizeof left, "  -%c, --%s", o->letter, o->name)
                         : snprintf(left, sizeof left, "      --%s", o->name);
    if (o->value) used += snprintf(left + used, sizeof left - (size_t)used, " %s", o->value);
    fputs(left, stdout);
    if (used + 2 > HELP_COLUMN) {
        putchar('\n');
        used = 0;
    }
    printf("%*s", HELP_COLUMN - used, "");
    print_wrapped(o->help, HELP_COLUMN, HELP_COLUMN);
}

void options_help(const command_line *line) {
    printf("Usage: esrgan %s %s\n\n%s\nOptions:\n", line->name, line->synopsis, line->about);
    for (const option_group *g = line->groups; g->options; g++)
        for (const option *o = g->options; o->name; o++) print_option(o);
    static const option common[] = {
        {.letter = 'h', .name = "help", .help = "Show this help."},
        {.letter = 'V', .name = "version", .help = "Show the version."},
    };
    for (size_t i = 0; i < sizeof common / sizeof *common; i++) print_option(&common[i]);
    if (line->notes) printf("\n%s", line->notes);
}
