#include "deflate.h"

#include <stdlib.h>
#include <string.h>

enum {
    SYMBOLS = 286, /* literals, end of block, lengths */
    END_OF_BLOCK = 256,
    LONGEST_CODE = 15,
    SHORTEST_RUN = 4, /* besides the byte that is repeated */
    LONGEST_RUN = 258
};

/* ---- Huffman codes ------------------------------------------------------------------------ */

typedef struct code_table {
    uint16_t bits[SYMBOLS]; /* reversed, as the stream wants them */
    uint8_t length[SYMBOLS];
} code_table;

typedef struct leaf {
    uint32_t count;
    uint16_t symbol;
} leaf;

static int by_count(const void *a, const void *b) {
    const leaf *one = a, *two = b;
    if (one->count != two->count) return one->count < two->count ? -1 : 1;
    return one->symbol < two->symbol ? -1 : 1;
}

/* Code lengths of the leaves, sorted by count; returns the longest.  Nodes 0..n-1 are the leaves,
 * the others come into being in order of their weight, so two queues suffice. */
static int code_lengths(const leaf *leaves, int n, uint8_t *lengths) {
    uint32_t weight[2 * SYMBOLS];
    uint16_t parent[2 * SYMBOLS];
    uint8_t depth[2 * SYMBOLS];
    int next_leaf = 0, next_node = n, made = n, longest = 0;
    for (int i = 0; i < n; i++) weight[i] = leaves[i].count;
    for (; made < 2 * n - 1; made++) {
        weight[made] = 0;
        for (int k = 0; k < 2; k++) {
            int take =
                next_leaf < n && (next_node >= made || weight[next_leaf] <= weight[next_node])
                    ? next_leaf++
                    : next_node++;
            weight[made] += weight[take];
            parent[take] = (uint16_t)made;
        }
    }
    depth[made - 1] = 0;
    for (int i = made - 2; i >= 0; i--) {
        depth[i] = (uint8_t)(depth[parent[i]] + 1);
        if (i < n) lengths[leaves[i].symbol] = depth[i];
        if (i < n && depth[i] > longest) longest = depth[i];
    }
    return longest;
}

static uint16_t reversed(uint32_t bits, int length) {
    uint32_t result = 0;
    for (int i = 0; i < length; i++) result |= (bits >> i & 1) << (length - 1 - i);
    return (uint16_t)result;
}

/* The canonical code for these counts.  The end of the block and one length symbol always have
 * counts, so there are two leaves at least. */
static void make_codes(uint32_t counts[SYMBOLS], code_table *table) {
    leaf leaves[SYMBOLS];
    int n;
    for (;;) {
        n = 0;
        for (int s = 0; s < SYMBOLS; s++)
            if (counts[s]) leaves[n++] = (leaf){counts[s], (uint16_t)s};
        qsort(leaves, (size_t)n, sizeof *leaves, by_count);
        memset(table->length, 0, sizeof table->length);
        if (code_lengths(leaves, n, table->length) <= LONGEST_CODE) break;
        /* Too uneven for 15 bits: even it out and try again. */
        for (int s = 0; s < SYMBOLS; s++)
            if (counts[s]) counts[s] = counts[s] / 2 + 1;
    }
    uint32_t code = 0;
    for (int length = 1; length <= LONGEST_CODE; length++, code <<= 1)
        for (int s = 0; s < SYMBOLS; s++)
            if (table->length[s] == length) table->bits[s] = reversed(code++, length);
}

/* ---- Bits --------------------------------------------------------------------------------- */

typedef struct bit_writer {
    uint8_t *at;
    uint64_t held;
    int count;
} bit_writer;

static inline void put_bits(bit_writer *w, uint32_t bits, int count) {
    w->held |= (uint64_t)bits << w->count;
    w->count += count;
}

/* Writes whole bytes out; afterwards at least 56 bits have room. */
static inline void flush_bits(bit_writer *w) {
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    memcpy(w->at, &w->held, 8);
#else
    for (int i = 0; i < 8; i++) w->at[i] = (uint8_t)(w->held >> 8 * i);
#endif
    w->at += w->count >> 3;
    w->held >>= w->count & ~7;
    w->count &= 7;
}

/* ---- Runs --------------------------------------------------------------------------------- */

/* How often the byte before `at` follows, 0 where that is too little to be a run. */
static inline size_t run_at(const uint8_t *data, size_t at, size_t size) {
    uint32_t here, before;
    if (at == 0 || at + SHORTEST_RUN > size) return 0;
    memcpy(&here, data + at, 4);
    memcpy(&before, data + at - 1, 4);
    if (here != before) return 0;
    size_t length = SHORTEST_RUN, most = size - at < LONGEST_RUN ? size - at : LONGEST_RUN;
    while (length < most && data[at + length] == data[at]) length++;
    return length;
}

/* Length symbols of deflate: the first length of each, and how many extra bits follow. */
static int length_symbol(size_t length, int *extra, uint32_t *rest) {
    static const uint16_t first[] = {3,  4,  5,  6,   7,   8,   9,   10,  11, 13,
                                     15, 17, 19, 23,  27,  31,  35,  43,  51, 59,
                                     67, 83, 99, 115, 131, 163, 195, 227, 258};
    int i = (int)(sizeof first / sizeof *first) - 1;
    while (first[i] > length) i--;
    *extra = i < 8 || i == 28 ? 0 : i / 4 - 1;
    *rest = (uint32_t)(length - first[i]);
    return 257 + i;
}

static void count_symbols(const uint8_t *data, size_t size, uint32_t counts[SYMBOLS]) {
    int extra;
    uint32_t rest;
    memset(counts, 0, SYMBOLS * sizeof *counts);
    counts[END_OF_BLOCK] = counts[257] = 1;
    for (size_t i = 0; i < size;) {
        size_t run = run_at(data, i, size);
        counts[run ? length_symbol(run, &extra, &rest) : data[i]]++;
        i += run ? run : 1;
    }
}

/* ---- The part ----------------------------------------------------------------------------- */

size_t deflate_bound(size_t size) { return size * LONGEST_CODE / 8 + 512; }

static void put_header(bit_writer *w, const code_table *table) {
    put_bits(w, 0, 1); /* not final     */
    put_bits(w, 2, 2); /* dynamic codes */
    put_bits(w, SYMBOLS - 257, 5);
    put_bits(w, 1, 5);      /* two distance codes, of which one is used                 */
    put_bits(w, 19 - 4, 4); /* the lengths of codes have a code too: 4 bits for 0 to 15 */
    flush_bits(w);
    static const uint8_t order[19] = {16, 17, 18, 0, 8,  7, 9,  6, 10, 5,
                                      11, 4,  12, 3, 13, 2, 14, 1, 15};
    for (int i = 0; i < 19; i++) {
        put_bits(w, order[i] < 16 ? 4 : 0, 3);
        flush_bits(w);
    }
    for (int s = 0; s < SYMBOLS; s++) {
        put_bits(w, reversed(table->length[s], 4), 4);
        flush_bits(w);
    }
    put_bits(w, reversed(1, 4), 4); /* both of one bit: distance 1 is 0 */
    put_bits(w, reversed(1, 4), 4);
    flush_bits(w);
}

size_t deflate_part(const uint8_t *data, size_t size, uint8_t *out) {
    uint32_t counts[SYMBOLS];
    code_table table;
    bit_writer w = {.at = out};
    count_symbols(data, size, counts);
    make_codes(counts, &table);
    put_header(&w, &table);
    for (size_t i = 0; i < size;) {
        size_t run = run_at(data, i, size);
        int symbol = data[i], extra = 0;
        uint32_t rest = 0;
        if (run) symbol = length_symbol(run, &extra, &rest);
        put_bits(&w, table.bits[symbol], table.length[symbol]);
        if (run) put_bits(&w, rest, extra + 1); /* and the distance: one bit, 0 */
        if (w.count > 32) flush_bits(&w);
        i += run ? run : 1;
    }
    put_bits(&w, table.bits[END_OF_BLOCK], table.length[END_OF_BLOCK]);
    /* An empty stored block brings the stream to a whole byte. */
    put_bits(&w, 0, 3);
    flush_bits(&w);
    if (w.count) w.count = 8;
    flush_bits(&w);
    memcpy(w.at, "\0\0\xff\xff", 4);
    return (size_t)(w.at + 4 - out);
}
