/*
 * bench quick              FP32 and BF16 at 128x128, a line each; exit 1 where an answer is wrong
 * bench part FOLDER PART   measures one part of `make bench`; bench parts lists them
 * bench report FOLDER      what was measured, as bench.md, bench.json and speed.svg
 * bench model SHAPE FILE   writes a checkpoint of that shape with random weights
 * bench onnx MODEL FILE    writes a checkpoint's network as ONNX
 * bench peer ...           is one side of a part with other engines, see peers.c
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench.h"

double seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double median(double *x, int n) {
    qsort(x, (size_t)n, sizeof *x, compare);
    return (x[n / 2] + x[(n - 1) / 2]) / 2;
}

static FILE *open_in(const char *folder, const char *name, const char *ending, const char *mode) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%s%s", folder, name, ending);
    FILE *f = fopen(path, mode);
    if (!f && *mode != 'r') perror(path), exit(2);
    return f;
}

static const net_shape *shape_named(const char *name) {
    for (int i = 0; i < 3; i++)
        if (strcmp(shapes[i].name, name) == 0) return &shapes[i];
    fprintf(stderr, "bench: no shape %s\n", name);
    exit(2);
}

bool write_checkpoint(const net_shape *s, const char *path) {
    size_t size;
    uint8_t *data = make_checkpoint(s, &size);
    FILE *f = fopen(path, "wb");
    bool good = f && fwrite(data, 1, size, f) == size;
    if (f && fclose(f) != 0) good = false;
    free(data);
    if (!good) perror(path);
    return good;
}

static int to_onnx(const char *from, const char *to) {
    esrgan_model *model;
    esrgan_error error;
    if (esrgan_open_file(from, NULL, &model, &error) != ESRGAN_OK) {
        fprintf(stderr, "bench: %s\n", error.message);
        return 2;
    }
    const bool good = write_onnx(model, to);
    esrgan_model_free(model);
    return good ? 0 : 2;
}

/* ---- make bench: its parts, and what becomes of them ------------------------------------------ */

typedef enum section { MACHINE, STAGES, NETWORKS, PEERS, SECTIONS } section;

static const struct {
    const char *name, *head;
} sections[SECTIONS] = {
    {"machine", "### This machine, a core while two are busy\n\n| | |\n| --- | --- |\n"},
    {"stages",
     "### Stages: products in F(6x6,3x3), of bfloat16 in F(4x4,3x3) or along rows, share of the "
     "peak of the "
     "instruction that multiplies; transforms, ns a tile and 16 channels\n\n"
     "| tier | 64→32 | 96→32 | 128→32 | 160→32 | 192→64 | 64→64 | in F6 | out F6 | in F6 x2 "
     "| in F4 | out F4 |\n"
     "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n"},
    {"networks",
     "### Whole networks\n\n| network | size | tier | precision | threads | runs | median s | "
     "spread | × direct roofline | MB | KB a pixel | dB from float64 |\n"
     "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n"},
    {"peers",
     "### Other engines, FP32, two threads\n\n| network | size | engine | runs | median s | spread "
     "| "
     "× direct roofline | × libesrgan's time | peak MB of the process | opening s | dB from "
     "libesrgan |\n| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n"},
};

static const struct {
    const char *name;
    section section;
    int shape, size; /* of a contest with peers */
} parts[] = {
    {"machine", MACHINE, 0, 0},
    {"stages", STAGES, 0, 0},
    {"x4plus", NETWORKS, 0, 0},
    {"x4plus-256", NETWORKS, 0, 0},
    {"x4plus-avx2", NETWORKS, 0, 0},
    {"x4plus-fp16", NETWORKS, 0, 0},
    {"x4plus-bf16", NETWORKS, 0, 0},
    {"x4plus-720p", NETWORKS, 0, 0},
    {"x4plus-720p-bf16", NETWORKS, 0, 0},
    {"x2plus", NETWORKS, 0, 0},
    {"anime_6B", NETWORKS, 0, 0},
    {"anime_6B-4k", NETWORKS, 0, 0},
    {"peers-x4plus-16", PEERS, 0, 16},
    {"peers-x4plus-32", PEERS, 0, 32},
    {"peers-x4plus-64", PEERS, 0, 64},
    {"peers-x4plus-128", PEERS, 0, 128},
    {"peers-x4plus-256", PEERS, 0, 256},
    {"peers-x2plus-128", PEERS, 1, 128},
    {"peers-anime_6B-128", PEERS, 2, 128},
};
enum { PARTS = sizeof parts / sizeof *parts };

static int measure_part(const char *folder, const char *name) {
    int i = 0, status = 0;
    while (i < PARTS && strcmp(parts[i].name, name) != 0) i++;
    if (i == PARTS) {
        fprintf(stderr, "bench: no part %s\n", name);
        return 2;
    }
    output to = {open_in(folder, name, ".md", "w"), open_in(folder, name, ".jsonl", "w"),
                 open_in(folder, name, ".points", "w")};
    switch (parts[i].section) {
    case MACHINE: status = bench_machine(&to); break;
    case STAGES: status = bench_stages(&to); break;
    case NETWORKS: status = bench_networks(name, &to); break;
    default: status = bench_peers(&shapes[parts[i].shape], parts[i].size, folder, &to);
    }
    fclose(to.markdown), fclose(to.json), fclose(to.points);
    return status;
}

/* Every line of a part's file, with `between` before each but the first of all. */
static void copy_lines(const char *folder, const char *name, const char *ending,
                       const char *between, bool *first, FILE *to) {
    char line[4096];
    FILE *from = open_in(folder, name, ending, "r");
    while (from && fgets(line, sizeof line, from)) {
        line[strcspn(line, "\n")] = 0;
        fprintf(to, "%s%s", *first ? "" : between, line);
        *first = false;
    }
    if (from) fclose(from);
}

static int report(const char *folder) {
    FILE *markdown = open_in(folder, "bench", ".md", "w"),
         *json = open_in(folder, "bench", ".json", "w");
    FILE *points = tmpfile(), *svg = open_in(folder, "speed", ".svg", "w");
    if (!points) perror("tmpfile"), exit(2);
    for (int s = 0; s < SECTIONS; s++) {
        bool first_row = true, first_object = true, first_point = true;
        fprintf(markdown, "%s%s", s ? "\n\n" : "", sections[s].head);
        fprintf(json, "%s\"%s\": [\n", s ? ",\n" : "{", sections[s].name);
        for (int i = 0; i < PARTS; i++) {
            if ((int)parts[i].section != s) continue;
            copy_lines(folder, parts[i].name, ".md", "\n", &first_row, markdown);
            copy_lines(folder, parts[i].name, ".jsonl", ",\n", &first_object, json);
            copy_lines(folder, parts[i].name, ".points", "\n", &first_point, points);
        }
        if (!first_point) fprintf(points, "\n");
        fprintf(json, "]");
    }
    fprintf(markdown, "\n");
    fprintf(json, "}\n");
    rewind(points);
    plot(points, svg);
    fclose(markdown), fclose(json), fclose(points), fclose(svg);
    return 0;
}

int main(int argc, char **argv) {
    const char *what = argc > 1 ? argv[1] : "";
    if (argc == 2 && strcmp(what, "parts") == 0) {
        for (int i = 0; i < PARTS; i++) puts(parts[i].name);
        return 0;
    }
    if (argc == 4 && strcmp(what, "part") == 0) return measure_part(argv[2], argv[3]);
    if (argc == 3 && strcmp(what, "report") == 0) return report(argv[2]);
    if (argc == 4 && strcmp(what, "model") == 0)
        return write_checkpoint(shape_named(argv[2]), argv[3]) ? 0 : 2;
    if (argc == 4 && strcmp(what, "onnx") == 0) return to_onnx(argv[2], argv[3]);
    if (argc == 9 && strcmp(what, "peer") == 0) return peer_ourselves(argv + 2);
    if (argc == 2 && strcmp(what, "quick") == 0) return bench_quick();
    fprintf(stderr, "usage: bench quick | parts | part FOLDER PART | report FOLDER | "
                    "model x4plus|x2plus|anime_6B FILE | onnx MODEL FILE\n");
    return 2;
}
