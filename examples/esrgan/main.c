/* esrgan: the command.  Chooses the sub-command; each lives in a file of its own. */
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "esrgan.h"
#include "progress.h"

static const struct sub_command {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *summary;
} COMMANDS[] = {
    {"upscale", cmd_upscale, "Upscale pictures"},
    {"forward", cmd_forward, "Run the network alone on a tensor (.npy)"},
    {"eval", cmd_eval, "Measure a model on pictures (PSNR, SSIM, beside bicubic)"},
    {"info", cmd_info, "Describe a model, or this CPU"},
    {"trace", cmd_trace, "Write every value on the way through a network"},
    {"compare", cmd_compare, "Find what is wrong between two traces, tensors or pictures"},
};

enum { COMMAND_COUNT = sizeof COMMANDS / sizeof *COMMANDS };

int quiet;

static _Thread_local char last_message[1024];

static void format_message(char *buffer, size_t size, const char *format, va_list arguments) {
    vsnprintf(buffer, size, format, arguments);
    for (char *c = buffer; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f) *c = '?';
}

void complain(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    format_message(last_message, sizeof last_message, format, arguments);
    va_end(arguments);
    progress_say("esrgan: ", last_message);
}

void warn(const char *format, ...) {
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    format_message(text, sizeof text, format, arguments);
    va_end(arguments);
    progress_say("esrgan: warning: ", text);
}

void tell(const char *format, ...) {
    if (quiet) return;
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    format_message(text, sizeof text, format, arguments);
    va_end(arguments);
    progress_say("", text);
}

const char *last_complaint(void) { return last_message; }

int finish_output(int code) {
    bool failed = ferror(stdout) != 0;
    if (fflush(stdout) != 0) failed = true;
    if (!failed || code != EXIT_DONE) return code;
    complain("writing to standard output failed");
    return EXIT_FAILED;
}

static void print_usage(FILE *to) {
    fprintf(to, "Usage: esrgan COMMAND [options] ...\n"
                "       esrgan [options of upscale] IN...\n\n"
                "Upscales pictures with ESRGAN and Real-ESRGAN models (.pth), on the CPU.\n\n"
                "Commands:\n");
    for (int i = 0; i < COMMAND_COUNT; i++)
        fprintf(to, "  %-10s%s\n", COMMANDS[i].name, COMMANDS[i].summary);
    fprintf(to, "  %-10s%s\n", "help", "Explain a command: esrgan help COMMAND");
    fprintf(to, "\n  -h, --help     Show this help.\n"
                "  -V, --version  Show the version.\n\n"
                "Exit status: 0 done, 1 failed, 2 wrong usage, 3 some files failed,\n"
                "130 interrupted.\n");
}

static const struct sub_command *find_command(const char *name) {
    for (int i = 0; i < COMMAND_COUNT; i++)
        if (!strcmp(COMMANDS[i].name, name)) return &COMMANDS[i];
    complain("unknown command '%s'; 'esrgan --help' lists them", name);
    return NULL;
}

static int help(int argc, char **argv) {
    if (argc < 2 || !strcmp(argv[1], "help")) {
        print_usage(stdout);
        return finish_output(EXIT_DONE);
    }
    const struct sub_command *command = find_command(argv[1]);
    if (!command) return EXIT_USAGE;
    char option[] = "--help", *arguments[] = {argv[1], option, NULL};
    return command->run(2, arguments);
}

int main(int argc, char **argv) {
    /* A closed pipe and a file-size limit are errors of writing, and treated as such. */
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
    if (argc < 2) {
        print_usage(stderr);
        return EXIT_USAGE;
    }
    const char *first = argv[1];
    if (!strcmp(first, "-h") || !strcmp(first, "--help")) return help(1, argv);
    if (!strcmp(first, "help")) return help(argc - 1, argv + 1);
    if (!strcmp(first, "-V") || !strcmp(first, "--version")) {
        printf("esrgan %s\n", esrgan_version_string());
        return finish_output(EXIT_DONE);
    }
    /* Options first, as Real-ESRGAN's own tool is called: that is upscaling. */
    if (first[0] == '-') {
        char name[] = "upscale";
        argv[0] = name;
        return cmd_upscale(argc, argv);
    }
    const struct sub_command *command = find_command(first);
    return command ? command->run(argc - 1, argv + 1) : EXIT_USAGE;
}
