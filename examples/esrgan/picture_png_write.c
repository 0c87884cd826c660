/*
 * PNG files written: rows are filtered and packed by zlib in parts, by several threads.  libpng, on
 * one thread, takes longer for a large picture than a small network does.  The bytes do not depend
 * on the number of threads.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <zlib.h>

#include "codec.h"
#include "command.h"
#include "files.h"

enum {
    PART_BYTES = 1 << 18, /* filtered bytes a part, about */
    MAX_THREADS = 16,
    SYNC_BYTES = 16, /* room for the empty block that ends a part */
    FILTER_SUB = 1,
    FILTER_PAETH = 4
};

typedef struct part {
    uint8_t *packed;
    size_t size;
    uint32_t adler;  /* of the filtered bytes */
    size_t filtered; /* how many these are    */
} part;

typedef struct png_parts {
    const picture *picture;
    size_t row_bytes; /* of samples, without the filter's byte */
    int rows;         /* a part                                */
    int count;
    part *parts;
    atomic_int next;
    atomic_int failed;
} png_parts;

/* ---- Filters ------------------------------------------------------------------------------ */

/* 8 bytes at once, in 16-bit lanes: the compilers make of it what the machine has. */
typedef uint8_t bytes8 __attribute__((vector_size(8)));
typedef int16_t lanes8 __attribute__((vector_size(16)));

static inline lanes8 load(const uint8_t *from) {
    bytes8 bytes;
    memcpy(&bytes, from, 8);
    return __builtin_convertvector(bytes, lanes8);
}

static inline lanes8 magnitude(lanes8 v) {
    lanes8 sign = v < 0;
    return (v ^ sign) - sign;
}

static inline lanes8 choose(lanes8 mask, lanes8 yes, lanes8 no) {
    return (mask & yes) | (~mask & no);
}

/* `a` left, `b` above, `c` above left: the one nearest to a + b - c. */
static void paeth_8(const uint8_t *now, const uint8_t *up, size_t pixel, uint8_t *out) {
    lanes8 a = load(now - pixel), b = load(up), c = load(up - pixel);
    lanes8 to_a = magnitude(b - c), to_b = magnitude(a - c), to_c = magnitude(a + b - c - c);
    lanes8 nearest = choose((to_a <= to_b) & (to_a <= to_c), a, choose(to_b <= to_c, b, c));
    bytes8 result = __builtin_convertvector((load(now) - nearest) & 255, bytes8);
    memcpy(out, &result, 8);
}

static uint8_t paeth(int a, int b, int c) {
    int to_a = abs(b - c), to_b = abs(a - c), to_c = abs(a + b - 2 * c);
    return (uint8_t)(to_a <= to_b && to_a <= to_c ? a : to_b <= to_c ? b : c);
}

/* One row with its filter's byte; `up` is NULL for the first. */
static void filter_row(const uint8_t *now, const uint8_t *up, size_t size, size_t pixel,
                       uint8_t *out) {
    *out++ = up ? FILTER_PAETH : FILTER_SUB;
    size_t x = 0;
    for (; x < pixel && x < size; x++) out[x] = (uint8_t)(now[x] - (up ? up[x] : 0));
    if (!up) {
        for (; x < size; x++) out[x] = (uint8_t)(now[x] - now[x - pixel]);
        return;
    }
    for (; x + 8 <= size; x += 8) paeth_8(now + x, up + x, pixel, out + x);
    for (; x < size; x++) out[x] = (uint8_t)(now[x] - paeth(now[x - pixel], up[x], up[x - pixel]));
}

/* The row's samples as PNG has them: 16-bit ones with the high byte first, in `room`. */
static const uint8_t *png_row(const png_parts *p, int y, uint8_t *room) {
    const uint8_t *row = picture_row(p->picture, y);
    if (p->picture->pixels.bits == 8) return row;
    for (size_t i = 0; i < p->row_bytes; i += 2) {
        uint16_t sample;
        memcpy(&sample, row + i, 2);
        room[i] = (uint8_t)(sample >> 8);
        room[i + 1] = (uint8_t)sample;
    }
    return room;
}

/* ---- Parts -------------------------------------------------------------------------------- */

static int part_begin(const png_parts *p, int index) { return index * p->rows; }

static int part_end(const png_parts *p, int index) {
    int end = (index + 1) * p->rows;
    return end < p->picture->pixels.height ? end : p->picture->pixels.height;
}

/* Filters into `filtered`; `rooms` are two rows for swapped samples. */
static size_t filter_part(const png_parts *p, int index, uint8_t *filtered, uint8_t *rooms) {
    const esrgan_picture *v = &p->picture->pixels;
    size_t pixel = (size_t)v->channels * (size_t)v->bits / 8, used = 0;
    int first = part_begin(p, index);
    const uint8_t *up = first ? png_row(p, first - 1, rooms + (first & 1) * p->row_bytes) : NULL;
    for (int y = first; y < part_end(p, index); y++) {
        const uint8_t *now = png_row(p, y, rooms + (~y & 1) * p->row_bytes);
        filter_row(now, up, p->row_bytes, pixel, filtered + used);
        used += p->row_bytes + 1;
        up = now;
    }
    return used;
}

/*
 * One part of a deflate stream: whole bytes (flushed), not final, so that parts made apart can
 * follow one another.  Runs and Huffman codes only: on filtered photographs a search for other
 * matches finds next to nothing and takes most of the time.
 */
static bool deflate_part(const uint8_t *data, size_t size, part *to) {
    z_stream z = {.next_in = (Bytef *)(uintptr_t)data, .avail_in = (uInt)size};
    if (deflateInit2(&z, 1, Z_DEFLATED, -MAX_WBITS, MAX_MEM_LEVEL, Z_RLE) != Z_OK) return false;
    size_t bound = deflateBound(&z, (uLong)size) + SYNC_BYTES;
    to->packed = malloc(bound);
    z.next_out = to->packed;
    z.avail_out = (uInt)bound;
    bool good = to->packed && deflate(&z, Z_SYNC_FLUSH) == Z_OK && z.avail_in == 0;
    to->size = bound - z.avail_out;
    deflateEnd(&z);
    return good;
}

static bool pack_part(const png_parts *p, int index, uint8_t *filtered, uint8_t *rooms) {
    part *to = &p->parts[index];
    to->filtered = filter_part(p, index, filtered, rooms);
    to->adler = (uint32_t)adler32_z(adler32_z(0, NULL, 0), filtered, to->filtered);
    if (!deflate_part(filtered, to->filtered, to)) return false;
    uint8_t *less = realloc(to->packed, to->size);
    if (less) to->packed = less;
    return true;
}

static void *work(void *context) {
    png_parts *p = context;
    uint8_t *filtered = malloc((size_t)p->rows * (p->row_bytes + 1));
    uint8_t *rooms = malloc(2 * p->row_bytes);
    if (!filtered || !rooms) atomic_store(&p->failed, 1);
    while (!atomic_load(&p->failed)) {
        int index = atomic_fetch_add(&p->next, 1);
        if (index >= p->count) break;
        if (!pack_part(p, index, filtered, rooms)) atomic_store(&p->failed, 1);
    }
    free(filtered);
    free(rooms);
    return NULL;
}

/* The calling thread works too; threads that cannot be made are done without. */
static void pack_all(png_parts *p) {
    pthread_t threads[MAX_THREADS];
    cpu_set_t cpus;
    int wanted = sched_getaffinity(0, sizeof cpus, &cpus) == 0 ? CPU_COUNT(&cpus) : 1, made = 0;
    if (wanted > MAX_THREADS) wanted = MAX_THREADS;
    if (wanted > p->count) wanted = p->count;
    while (made < wanted - 1 && pthread_create(&threads[made], NULL, work, p) == 0) made++;
    work(p);
    for (int i = 0; i < made; i++) pthread_join(threads[i], NULL);
}

/* ---- The file ----------------------------------------------------------------------------- */

static void big_endian(uint8_t *to, uint32_t number) {
    for (int i = 0; i < 4; i++) to[i] = (uint8_t)(number >> 8 * (3 - i));
}

/* One chunk made of two pieces; false where the stream refuses. */
static bool write_chunk(FILE *to, const char *type, const void *head, size_t head_size,
                        const void *body, size_t body_size) {
    uint8_t start[8], end[4];
    big_endian(start, (uint32_t)(head_size + body_size));
    memcpy(start + 4, type, 4);
    uLong crc = crc32_z(crc32_z(0, NULL, 0), start + 4, 4);
    if (head_size) crc = crc32_z(crc, head, head_size);
    if (body_size) crc = crc32_z(crc, body, body_size);
    big_endian(end, (uint32_t)crc);
    return fwrite(start, 1, 8, to) == 8 &&
           (!head_size || fwrite(head, 1, head_size, to) == head_size) &&
           (!body_size || fwrite(body, 1, body_size, to) == body_size) &&
           fwrite(end, 1, 4, to) == 4;
}

static bool write_header(FILE *to, const esrgan_picture *v) {
    static const uint8_t colour[] = {0, 0, 4, 2, 6};
    uint8_t header[13] = {0};
    big_endian(header, (uint32_t)v->width);
    big_endian(header + 4, (uint32_t)v->height);
    header[8] = (uint8_t)v->bits;
    header[9] = colour[v->channels];
    return fwrite("\x89PNG\r\n\x1a\n", 1, 8, to) == 8 &&
           write_chunk(to, "IHDR", header, sizeof header, NULL, 0);
}

static bool write_metadata(FILE *to, const picture *p) {
    bool good = true;
    if (p->icc) {
        static const char name[] = "ICC profile\0"; /* the zero behind it: packed by deflate */
        uLong size = compressBound(p->icc_size);
        uint8_t *packed = malloc(size);
        good = packed && compress(packed, &size, p->icc, p->icc_size) == Z_OK &&
               write_chunk(to, "iCCP", name, sizeof name, packed, size);
        free(packed);
    }
    return good && (!p->exif || write_chunk(to, "eXIf", p->exif, p->exif_size, NULL, 0));
}

static bool write_parts(FILE *to, const png_parts *p) {
    static const uint8_t zlib_start[2] = {0x78, 0x01};
    uLong adler = adler32_z(0, NULL, 0);
    for (int i = 0; i < p->count; i++) {
        const part *now = &p->parts[i];
        adler = adler32_combine(adler, now->adler, (z_off_t)now->filtered);
        if (!write_chunk(to, "IDAT", zlib_start, i ? 0 : 2, now->packed, now->size)) return false;
    }
    uint8_t end[6];
    memcpy(end, "\x03\x00", 2); /* an empty last block */
    big_endian(end + 2, (uint32_t)adler);
    return write_chunk(to, "IDAT", end, sizeof end, NULL, 0) &&
           write_chunk(to, "IEND", NULL, 0, NULL, 0);
}

bool png_encode(FILE *to, const char *name, const picture *p) {
    const esrgan_picture *v = &p->pixels;
    png_parts parts = {.picture = p,
                       .row_bytes = (size_t)v->width * (size_t)v->channels * (size_t)v->bits / 8};
    parts.rows = (int)(PART_BYTES / (parts.row_bytes + 1)) + 1;
    parts.count = (v->height - 1) / parts.rows + 1;
    parts.parts = allocate((size_t)parts.count, sizeof *parts.parts);
    bool good = parts.parts != NULL;
    if (good) pack_all(&parts);
    if (good && atomic_load(&parts.failed)) {
        complain("%s: out of memory while packing the PNG", name);
        good = false;
    }
    if (good && !(write_header(to, v) && write_metadata(to, p) && write_parts(to, &parts))) {
        complain("%s: writing failed: %s", name, strerror(errno));
        good = false;
    }
    for (int i = 0; parts.parts && i < parts.count; i++) free(parts.parts[i].packed);
    free(parts.parts);
    return good;
}
