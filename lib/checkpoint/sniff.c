#include "checkpoint/sniff.h"

#include <string.h>

typedef struct signature {
    size_t offset, size;
    const char *bytes;
    const char *text;
} signature;

#define SIGNATURE(offset, bytes, text)                                                             \
    { offset, sizeof(bytes) - 1, bytes, text }

static const signature signatures[] = {
    SIGNATURE(0, "version https://git-lfs",
              "a Git LFS pointer, not the file it points to: fetch it with `git lfs pull`, or "
              "download the file itself"),
    SIGNATURE(
        257, "ustar",
        "a tar archive; where it is a checkpoint from before PyTorch 0.1.10, load and save it "
        "once with a newer PyTorch"),
    SIGNATURE(0, "7767517\n", "an ncnn .param file, not a PyTorch checkpoint"),
    SIGNATURE(0, "7767517\r\n", "an ncnn .param file, not a PyTorch checkpoint"),
    SIGNATURE(0, "\x47\x6b\x30\x01", "an ncnn .bin file, not a PyTorch checkpoint"),
    SIGNATURE(0, "GGUF", "a GGUF file, not a PyTorch checkpoint"),
    SIGNATURE(4, "TFL3", "a TensorFlow Lite model, not a PyTorch checkpoint"),
    SIGNATURE(0, "\x89HDF\r\n\x1a\n", "an HDF5 file (Keras?), not a PyTorch checkpoint"),
    SIGNATURE(0, "\x93NUMPY", "a NumPy .npy array, not a PyTorch checkpoint"),
    SIGNATURE(0, "\x89PNG\r\n\x1a\n", "a PNG picture, not a model"),
    SIGNATURE(0, "\xff\xd8\xff", "a JPEG picture, not a model"),
    SIGNATURE(0, "GIF8", "a GIF picture, not a model"),
    SIGNATURE(8, "WEBP", "a WebP picture, not a model"),
    SIGNATURE(0, "II*\0", "a TIFF picture, not a model"),
    SIGNATURE(0, "MM\0*", "a TIFF picture, not a model"),
    SIGNATURE(0, "%PDF-", "a PDF document, not a model"),
    SIGNATURE(0, "\x1f\x8b", "compressed with gzip: unpack it first"),
    SIGNATURE(0, "BZh", "compressed with bzip2: unpack it first"),
    SIGNATURE(0,
              "\xfd"
              "7zXZ",
              "compressed with xz: unpack it first"),
    SIGNATURE(0, "\x28\xb5\x2f\xfd", "compressed with zstd: unpack it first"),
    SIGNATURE(0, "7z\xbc\xaf\x27\x1c", "a 7-Zip archive: unpack it first"),
    SIGNATURE(0, "Rar!\x1a\x07", "a RAR archive: unpack it first"),
    SIGNATURE(0,
              "\x7f"
              "ELF",
              "a program or library (ELF), not a model"),
    SIGNATURE(0, "MZ", "a Windows program, not a model"),
};

static bool is_space(uint8_t c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

/* Whether the text at `at` begins with `word`, in any case. */
static bool begins(const es_bytes *b, size_t at, const char *word) {
    for (; *word != 0; word++, at++) {
        if (at >= b->size) return false;
        uint8_t c = b->data[at];
        if (c >= 'A' && c <= 'Z') c |= 0x20;
        if (c != (uint8_t)*word) return false;
    }
    return true;
}

/* Kinds of text, after a byte order mark and blanks. */
static const char *text_kind(const es_bytes *b) {
    size_t at = b->size >= 3 && memcmp(b->data, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
    while (at < b->size && at < 4096 && is_space(b->data[at])) at++;
    if (begins(b, at, "<!doctype html") || begins(b, at, "<html") || begins(b, at, "<head") ||
        begins(b, at, "<!--")) {
        return "an HTML page, not a checkpoint: the download ended at a web page (a login, a "
               "warning, an error); open it to see which";
    }
    if (begins(b, at, "<")) return "XML or HTML text, not a checkpoint";
    if (begins(b, at, "{") || begins(b, at, "[")) return "JSON text, not a checkpoint";
    size_t looked = b->size < 512 ? b->size : 512;
    for (size_t i = 0; i < looked; i++) {
        if (b->data[i] >= 0x7f || (b->data[i] < 0x20 && !is_space(b->data[i]))) return NULL;
    }
    return "plain text, not a checkpoint";
}

/* safetensors: the length of a JSON header, and the header. */
static bool is_safetensors(const es_bytes *b) {
    return b->size > 9 && b->data[8] == '{' && es_le64(b->data) <= b->size;
}

/* ONNX is a protocol buffer: field 1 (IR version), then field 2 (producer) or 8 (operators). */
static bool is_onnx(const es_bytes *b) {
    return b->size > 16 && b->data[0] == 0x08 && b->data[1] < 0x20 &&
           (b->data[2] == 0x12 || b->data[2] == 0x3a || b->data[2] == 0x42);
}

static bool all_zero(const es_bytes *b) {
    size_t looked = b->size < 4096 ? b->size : 4096;
    for (size_t i = 0; i < looked; i++) {
        if (b->data[i] != 0) return false;
    }
    return true;
}

static const char *kind_of(const es_bytes *b) {
    if (b->size == 0) return "the file is empty";
    for (size_t i = 0; i < sizeof signatures / sizeof signatures[0]; i++) {
        const signature *s = &signatures[i];
        if (b->size >= s->offset + s->size && memcmp(b->data + s->offset, s->bytes, s->size) == 0) {
            return s->text;
        }
    }
    if (is_safetensors(b)) {
        return "a safetensors file, not a PyTorch checkpoint; safetensors cannot be read yet";
    }
    if (all_zero(b)) return "begins with zeros only: the download was never finished";
    if (is_onnx(b)) return "an ONNX model, not a PyTorch checkpoint";
    const char *text = text_kind(b);
    if (text != NULL) return text;
    if (b->data[0] == 0x80 && b->size > 1 && b->data[1] <= 5) {
        return "a Python pickle, but not one that torch.save wrote";
    }
    return NULL;
}

esrgan_status es_sniff_refuse(const es_source *source) {
    const es_bytes *b = source->bytes;
    const char *text = kind_of(b);
    if (text != NULL) return es_source_fail(source, ESRGAN_E_NOT_CHECKPOINT, "%s", text);
    char head[3 * 8 + 1] = "";
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < 8 && i < b->size; i++) {
        head[3 * i] = digits[b->data[i] >> 4];
        head[3 * i + 1] = digits[b->data[i] & 15];
        head[3 * i + 2] = ' ';
        head[3 * i + 3] = 0;
    }
    return es_source_fail(source, ESRGAN_E_NOT_CHECKPOINT,
                          "not a PyTorch checkpoint (begins with bytes %s)", head);
}
