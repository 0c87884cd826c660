/*
 * bench quick             FP32 and BF16 at 128x128, a line each; exit 1 where an answer is wrong
 * bench full FOLDER       everything, to FOLDER/bench.md, bench.json, bench.svg
 * bench model SHAPE FILE  writes a checkpoint of that shape with random weights
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
    return x[n / 2];
}

static FILE *open_in(const char *folder, const char *name) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "w");
    if (!f) perror(path), exit(2);
    return f;
}

static int write_model(const char *name, const char *path) {
    for (int i = 0; i < 3; i++) {
        if (strcmp(shapes[i].name, name) != 0) continue;
        size_t size;
        uint8_t *data = make_checkpoint(&shapes[i], &size);
        FILE *f = fopen(path, "wb");
        bool fine = f && fwrite(data, 1, size, f) == size;
        if (f && fclose(f) != 0) fine = false;
        free(data);
        if (!fine) perror(path);
        return fine ? 0 : 2;
    }
    fprintf(stderr, "bench: no shape %s\n", name);
    return 2;
}

static int full(const char *folder) {
    FILE *markdown = open_in(folder, "bench.md"), *json = open_in(folder, "bench.json");
    FILE *svg = open_in(folder, "bench.svg");
    peaks p = measure_peaks(2);
    double l2 = read_bandwidth(1 << 20), l3 = read_bandwidth(8 << 20),
           memory = read_bandwidth((size_t)1 << 30);
    fprintf(markdown,
            "### This machine, a core while two are busy\n\n| | |\n| --- | --- |\n"
            "| FP32 FMA, 512 bit | %.0f GFLOP/s |\n| FP32 FMA, 256 bit | %.0f GFLOP/s |\n| "
            "VDPBF16PS | %.0f GFLOP/s |\n"
            "| read, 1 MiB / 8 MiB / 1 GiB | %.0f / %.0f / %.0f GB/s |\n",
            p.fma512 / 1e9, p.fma256 / 1e9, p.bf16dot / 1e9, l2 / 1e9, l3 / 1e9, memory / 1e9);
    fprintf(json,
            "{\"peaks\": {\"fma512\": %.4g, \"fma256\": %.4g, \"bf16dot\": %.4g, \"read\": [%.4g, "
            "%.4g, %.4g]},\n",
            p.fma512, p.fma256, p.bf16dot, l2, l3, memory);
    bench_stages(markdown, json);
    int status = bench_networks(&p, markdown, json, svg);
    fprintf(json, "}\n");
    if (status == 1) fprintf(stderr, "bench: wrong answers\n");
    fclose(markdown), fclose(json), fclose(svg);
    return status;
}

int main(int argc, char **argv) {
    if (argc == 3 && strcmp(argv[1], "full") == 0) return full(argv[2]);
    if (argc == 4 && strcmp(argv[1], "model") == 0) return write_model(argv[2], argv[3]);
    if (argc == 2 && strcmp(argv[1], "quick") == 0) {
        peaks p = measure_peaks(2);
        return bench_quick(&p);
    }
    fprintf(stderr, "usage: bench quick | full FOLDER | model x4plus|x2plus|anime_6B FILE\n");
    return 2;
}
