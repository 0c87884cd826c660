#include <string.h>

#include "compare.h"

const char *const TOLERANCE_NAMES[] = {"auto", "fp32", "fp16", "bf16", "winograd", NULL};

static const tolerance TOLERANCES[] = {
    {.name = "fp32",
     .u = 0x1p-24,
     .c = 4,
     .floor = 0x1p-120,
     .drift = 1e-3,
     .lsb = 1,
     .share = 1e-3},
    {.name = "fp16",
     .u = 0x1p-11,
     .c = 1,
     .wide = true,
     .floor = 0x1p-22,
     .drift = 2e-2,
     .lsb = 2,
     .share = 1,
     .psnr = 50},
    {.name = "bf16",
     .u = 0x1p-8,
     .c = 1,
     .wide = true,
     .floor = 0x1p-110,
     .drift = 0.1,
     .lsb = 16,
     .share = 1,
     .psnr = 35},
    {.name = "winograd",
     .u = 0x1p-24,
     .c = 40,
     .floor = 0x1p-100,
     .drift = 1e-3,
     .lsb = 1,
     .share = 1e-3},
};

static int from_precision(const char *precision) {
    return strstr(precision, "bf16") || strstr(precision, "bfloat16") ? 2
           : strstr(precision, "16") || !strcmp(precision, "half")    ? 1
                                                                      : 0;
}

const tolerance *tolerance_get(int index, const char *a, const char *b, bool transformed) {
    if (index > 0) return &TOLERANCES[index - 1];
    int i = from_precision(a), j = from_precision(b), coarser = i > j ? i : j;
    return &TOLERANCES[coarser == 0 && transformed ? 3 : coarser];
}
