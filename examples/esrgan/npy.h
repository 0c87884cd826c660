/* NumPy's .npy: version 1 to 3 headers, f2 f4 f8 u1, both byte orders, both memory orders. */
#ifndef NPY_H
#define NPY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum { NPY_MAX_DIMS = 8 };

typedef struct npy_header {
    char kind;    /* 'f' or 'u'                                 */
    int bytes;    /* of an element: 2, 4, 8; 1 for 'u'          */
    bool swapped; /* not in this machine's byte order           */
    bool fortran; /* first dimension runs fastest               */
    int ndim;
    int64_t dims[NPY_MAX_DIMS];
    size_t count;  /* elements in all                            */
    size_t offset; /* of the data, from the beginning of the file */
} npy_header;

/*
 * Reads a header from the first `size` bytes of a file that is `file_size` long, and checks that
 * the data are all there.  `name` stands for the file in complaints.
 */
bool npy_parse(const void *data, size_t size, uint64_t file_size, const char *name,
               npy_header *header);

/* Does every dimension fit an int, and hold something?  Complains. */
bool npy_check_dims(const npy_header *header, const char *name);

/* Converts the data (at `data`, header->count elements) to C order.  binary64 to binary32 rounds
 * to nearest. */
void npy_to_f32(const npy_header *header, const void *data, float *out);
void npy_to_f64(const npy_header *header, const void *data, double *out);

/* A whole file ("-": standard input) as float32 in C order; *data is the caller's to free. */
bool npy_read(const char *path, npy_header *header, float **data);

/* Writes the header of a little-endian array: kind 'f' of 4 or 8 bytes, or 'u' of 1.  The data
 * follow in C order. */
bool npy_write_header(FILE *to, char kind, int bytes, int ndim, const int64_t *dims);

/* A whole float32 file ("-": standard output), written under a temporary name first. */
bool npy_write(const char *path, int ndim, const int64_t *dims, const float *data);

#endif
