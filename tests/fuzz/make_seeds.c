/* Writes the seeds of the fuzz targets into FOLDER/zip, pickle, legacy, open, trace. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../support/forge.h"
#include "../support/pth.h"

static const char *root;

static void save(const char *target, const char *name, const void *data, size_t size) {
    char path[500];
    snprintf(path, sizeof path, "%s/%s/%s", root, target, name);
    FILE *file = fopen(path, "wb");
    if (file == NULL || fwrite(data, 1, size, file) != size || fclose(file) != 0) {
        perror(path);
        exit(1);
    }
}

static void save_forge(const char *target, const char *name, forge *f) {
    save(target, name, f->data, f->size);
    forge_free(f);
}

static void zips(void) {
    static const char text[] = "some text that is long enough to be deflated, deflated, deflated";
    for (int kind = 0; kind < 16; kind++) {
        forge_entry entries[3];
        static const char *const names[] = {"a/data.pkl", "a/data/0", "a/version"};
        for (size_t i = 0; i < 3; i++) {
            entries[i] = (forge_entry){.name = names[i],
                                       .data = text,
                                       .size = sizeof text - i,
                                       .deflate = kind & 1,
                                       .zip64 = kind & 2,
                                       .descriptor = kind & 4};
        }
        forge f = {0};
        char name[16];
        snprintf(name, sizeof name, "kind%d", kind);
        forge_zip(&f, entries, 3, kind & 1 ? 0 : 64, kind & 8, kind == 8 ? "comment" : NULL);
        save_forge("zip", name, &f);
    }
}

/* One of each opcode, in a few pickles that load. */
static void opcodes(void) {
    static const struct {
        const char *text;
        size_t size;
    } pickles[] = {
#define PICKLE(literal) {literal, sizeof(literal) - 1}
        PICKLE("\x80\2}q\0(X\1\0\0\0aK\1U\1bM\1\2T\1\0\0\0cJ\1\2\3\4u."),
        PICKLE("\x80\4\x95\x10\0\0\0\0\0\0\0}\x94(\x8c\1a\x94\x8a\2\1\2\x8d\1\0\0\0\0\0\0\0bNu."),
        PICKLE("(dp0\nS'a\\x41'\np1\nI1\nsVb\\u0041\np2\nL12L\nsg1\nF1.5\ns."),
        PICKLE("](G\0\0\0\0\0\0\0\0\x88\x89)\x85\x86\x87(t(l\x8f(K\1\x90(\x91"
               "e."),
        PICKLE("ccollections\nOrderedDict\n](](K\1K\2ee\x85R}b."),
        PICKLE("(K\1icopy\nreg\n(cm\nC\no\x86."),
        PICKLE("\x8c\1m\x8c\1n\x93)\x81)}\x92Pid\nK\1Q\x82\1\x83\1\2\x84\1\2\3\4"
               "00."),
        PICKLE("C\1aB\1\0\0\0b\x8e\1\0\0\0\0\0\0\0c\x96\1\0\0\0\0\0\0\0d\x97\x98"
               "22"
               "1."),
        PICKLE("ctorch\nSize\nK\1K\2\x86\x85Rr\1\0\0\0j\1\0\0\0\x8b\2\0\0\0\1\2"
               "0."),
    };
    for (size_t i = 0; i < sizeof pickles / sizeof pickles[0]; i++) {
        char name[16];
        snprintf(name, sizeof name, "ops%zu", i);
        save("pickle", name, pickles[i].text, pickles[i].size);
    }
}

/* Tensors as they are and as they should not be, in all three containers. */
static void tensors(void) {
    static const forge_tensor shapes[] = {
        {.numel = 10, .ndim = 2, .shape = {2, 3}, .stride = {3, 1}},
        {.numel = 10, .ndim = 2, .shape = {3, 3}, .stride = {0, 1}, .offset = 2},
        {.numel = 5, .type = "DoubleStorage", .ndim = 0},
        {.numel = 20, .type = "HalfStorage", .ndim = 1, .shape = {7}, .stride = {3}},
        {.numel = 20, .type = "BFloat16Storage", .ndim = 1, .shape = {0}, .stride = {1}},
        {.numel = 10, .ndim = 1, .shape = {4}, .stride = {1}, .view = "U\1vK\1K\5\x87"},
    };
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        forge pickle = {0}, zip = {0}, legacy = {0};
        char name[16];
        snprintf(name, sizeof name, "tensor%zu", i);
        FORGE(&pickle, "\x80\2}q\0(");
        forge_text(&pickle, "params");
        FORGE(&pickle, "}q\1");
        forge_text(&pickle, "module.weight");
        forge_tensor_v2(&pickle, &shapes[i]);
        FORGE(&pickle, "su.");
        forge_checkpoint(&zip, &pickle, 10, i % 2);
        forge_legacy(&legacy, &pickle, 10);
        save("legacy", name, legacy.data + 15, legacy.size - 15);
        save_forge("pickle", name, &pickle);
        save_forge("open", name, &zip);
        forge_free(&legacy);
    }
}

/* Small networks of every layout. */
static void networks(void) {
    for (int layout = PTH_BASICSR; layout <= PTH_ESRGAN; layout++) {
        for (int ups = 0; ups < 3; ups++) {
            const pth_rrdbnet net = {.layout = (pth_layout)layout,
                                     .in = ups == 1 ? 12 : 1,
                                     .out = ups == 1 ? 3 : 1,
                                     .features = 1,
                                     .growth = 1,
                                     .blocks = 1,
                                     .ups = ups,
                                     .plus = layout == PTH_ESRGAN && ups == 2};
            pth_list list = {0};
            pth_add_rrdbnet(&list, &net);
            size_t size;
            uint8_t *file = pth_write(&list, 1, &size);
            char name[32];
            snprintf(name, sizeof name, "network%d%d", layout, ups);
            save("open", name, file, size);
            free(file);
            pth_clear(&list);
        }
    }
}

/* An .npy file of this header and so many bytes of data. */
static forge array(const char *header, size_t bytes, int version) {
    forge f = {0};
    forge_bytes(&f, "\x93NUMPY", 6);
    forge_le(&f, (uint64_t)version, 2);
    forge_le(&f, strlen(header), version > 1 ? 4 : 2);
    forge_bytes(&f, header, strlen(header));
    for (size_t i = 0; i < bytes; i++) forge_le(&f, i * 37 % 120, 1);
    return f;
}

/* Arrays of all types and orders, and traces of them by the names of every layout. */
static void traces(void) {
    static const struct {
        const char *header;
        size_t bytes;
        int version;
    } arrays[] = {
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2, 3, 4), }\n", 96, 1},
        {"{'descr': '>f8', 'fortran_order': True, 'shape': (2, 3, 4), }\n", 192, 2},
        {"{\"descr\": \"<f2\", \"fortran_order\": False, \"shape\": (2, 3, 4, 2)}\n", 96, 3},
        {"{'descr': '|u1', 'fortran_order': False, 'shape': (3, 4), }\n", 12, 1},
    };
    static const char *const manifests[] = {
        "{\"format\": \"esrgan-trace\", \"version\": 1, \"layout\": \"NHWC\", \"model\": "
        "{\"sha256\": \"00\"},"
        " \"values\": [{\"name\": \"conv_first\", \"op\": \"conv\", \"shape\": [1, 2, 3, 4],"
        " \"file\": \"a.npy\"}, {\"name\": \"body.0.rdb1.conv1.act\", \"layout\": \"NCHW\","
        " \"file\": \"b.npy\", \"stats\": {\"min\": -1e3, \"nan\": 2, \"inf\": 0, \"hash\":"
        " \"0123456789abcdef\", \"samples\": [1, NaN, -Infinity, \"-inf\"]}}]}",
        "{\"format\": \"esrgan-trace\", \"values\": [{\"name\": \"model.1.sub.0.RDB1.conv1.0\"},"
        "{\"name\": \"model.1.sub.1\", \"file\": \"a.npy\"}, {\"name\": \"model.3\"}, {\"name\":"
        " \"model.10\", \"shape\": [2, 3, 4]}, {\"name\": \"\\u00e4\\ud83d\\ude42\"}]}",
        "{\"format\": \"esrgan-trace\", \"values\": [{\"name\": "
        "\"/body/body.0/rdb1/conv1/Conv_output_0\"},"
        "{\"name\": \"/body/body.0/rdb1/lrelu_1/LeakyRelu_output_0\"}, {\"name\": "
        "\"/Resize_1_output_0\"},"
        "{\"name\": \"/Add_output_0\"}, {\"name\": \"netG.RRDB_trunk.0.RDB1.conv5.weight\"},"
        "{\"name\": \"upconv1\"}]}",
    };
    forge made[4];
    for (size_t i = 0; i < 4; i++) {
        char name[16];
        made[i] = array(arrays[i].header, arrays[i].bytes, arrays[i].version);
        snprintf(name, sizeof name, "array%zu", i);
        save("trace", name, made[i].data, made[i].size);
    }
    for (size_t i = 0; i < 6; i++) {
        const char *manifest = manifests[i / 2];
        const bool deflate = i % 2;
        const forge_entry entries[] = {
            {.name = "manifest.json",
             .data = manifest,
             .size = strlen(manifest),
             .deflate = deflate},
            {.name = "a.npy",
             .data = made[i / 2].data,
             .size = made[i / 2].size,
             .deflate = deflate},
            {.name = "b.npy", .data = made[2].data, .size = made[2].size, .zip64 = deflate},
        };
        forge f = {0};
        char name[16];
        forge_zip(&f, entries, 3, 0, deflate, NULL);
        snprintf(name, sizeof name, "trace%zu", i);
        save_forge("trace", name, &f);
    }
    for (size_t i = 0; i < 4; i++) forge_free(&made[i]);
}

int main(int argc, char **argv) {
    if (argc != 2) return 2;
    root = argv[1];
    zips();
    opcodes();
    tensors();
    networks();
    traces();
    return 0;
}
