/*
 * One-dimensional Winograd transforms of F(m, 3), written over the vector type VF of the file that
 * includes this.  Points: F(6,3) 0 1 -1 2 -2 1/2 -1/2 inf, F(4,3) 0 2/3 -2/3 3/2 -3/2 inf, F(2,3) 0 1
 * -1 inf.  The `up` inputs are those of a row enlarged by nearest x2 that starts at an odd place:
 * e0 e1 e1 e2 e2 ...; point -1 vanishes there and is left out, for which F(4,3) takes 0 1 2 -2 inf.
 *
 * Rounding errors of what is multiplied grow by the sum over points of |A|^2 |B|^2 |G|^2, rows and
 * columns of that point, over the outputs; in two dimensions F(6,3) 26.3 dB, F(2,3) 4.4.  For F(4,3) at
 * 0 1 -1 2 -2 it would be 20.7 dB; +-2/3 and +-3/2 have 13.6, next to the least there is of +-a, +-b,
 * and as many operations.
 */
#ifndef ES_KERNELS_NATIVE_WINOGRAD_H
#define ES_KERNELS_NATIVE_WINOGRAD_H

#include "inline.h"

/* Points of one value and two signs share sums; those of inverse values, differences as well. */
ES_INLINE void winograd_in6(const VF *d, VF *t) {
    const VF c525 = vf_set1(5.25), c425 = vf_set1(-4.25), m4 = vf_set1(-4.0);
    const VF m025 = vf_set1(-0.25), c05 = vf_set1(0.5), m05 = vf_set1(-0.5);
    const VF c2 = vf_set1(2.0), m2 = vf_set1(-2.0);
    VF d42 = vf_sub(d[4], d[2]), d64 = vf_sub(d[6], d[4]);
    VF d35 = vf_sub(d[3], d[5]), d13 = vf_sub(d[1], d[3]);
    t[0] = vf_fma(c525, d42, vf_sub(d[0], d[6]));
    t[7] = vf_fma(c525, d35, vf_sub(d[7], d[1]));
    VF even = vf_fma(c425, d[4], vf_add(d[2], d[6]));
    VF odd = vf_fma(c425, d[3], vf_add(d[1], d[5]));
    t[1] = vf_add(even, odd);
    t[2] = vf_sub(even, odd);
    even = vf_fma(m025, d42, d64), odd = vf_fma(m4, d35, d13);
    t[3] = vf_fma(c05, odd, even);
    t[4] = vf_fma(m05, odd, even);
    even = vf_fma(m4, d42, d64), odd = vf_fma(m025, d35, d13);
    t[5] = vf_fma(c2, odd, even);
    t[6] = vf_fma(m2, odd, even);
}

ES_INLINE void winograd_in4(const VF *d, VF *t) {
    const VF both = vf_set1(-97.0 / 36), m225 = vf_set1(-2.25), m49 = vf_set1(-4.0 / 9);
    const VF c23 = vf_set1(2.0 / 3), m23 = vf_set1(-2.0 / 3), c15 = vf_set1(1.5),
             m15 = vf_set1(-1.5);
    t[0] = vf_fma(both, d[2], vf_add(d[0], d[4]));
    t[5] = vf_fma(both, d[3], vf_add(d[1], d[5]));
    VF even = vf_fma(m225, d[2], d[4]), odd = vf_fma(m225, d[1], d[3]);
    t[1] = vf_fma(c23, odd, even);
    t[2] = vf_fma(m23, odd, even);
    even = vf_fma(m49, d[2], d[4]), odd = vf_fma(m49, d[1], d[3]);
    t[3] = vf_fma(c15, odd, even);
    t[4] = vf_fma(m15, odd, even);
}

ES_INLINE void winograd_in2(const VF *d, VF *t) {
    t[0] = vf_sub(d[0], d[2]);
    t[1] = vf_add(d[1], d[2]);
    t[2] = vf_sub(d[2], d[1]);
    t[3] = vf_sub(d[3], d[1]);
}

/*
 * Fewer outputs with some of F(6,3)'s points and its weights: 0 1 -1 inf, or 0 1 -1 2 -2 inf.  What weights
 * are divided by is the product of the distances to the other points, so inputs make up for points left out.
 */
ES_INLINE void winograd_in2_of6(const VF *d, VF *t) {
    const VF m225 = vf_set1(-2.25);
    winograd_in2(d, t);
    t[1] = vf_mul(m225, t[1]);
    t[2] = vf_mul(m225, t[2]);
}

ES_INLINE void winograd_in4_of6(const VF *d, VF *t) {
    const VF c075 = vf_set1(0.75), m3 = vf_set1(-3.0), c75 = vf_set1(7.5), m75 = vf_set1(-7.5);
    VF even = vf_fma(c075, d[4], vf_mul(m3, d[2])), odd = vf_fma(c075, d[3], vf_mul(m3, d[1]));
    VF d31 = vf_sub(d[3], d[1]);
    t[0] = vf_fma(vf_set1(0.25), d[4], vf_fma(vf_set1(-1.25), d[2], d[0]));
    t[1] = vf_add(even, odd);
    t[2] = vf_sub(even, odd);
    even = vf_mul(vf_set1(3.75), vf_sub(d[4], d[2]));
    t[3] = vf_fma(c75, d31, even);
    t[4] = vf_fma(m75, d31, even);
    t[5] = vf_fma(vf_set1(4.0), d[1], vf_fma(vf_set1(-5.0), d[3], d[5]));
}

ES_INLINE void winograd_in6_up(const VF *e, VF *t) {
    const VF m525 = vf_set1(-5.25), c4 = vf_set1(4.0);
    VF d12 = vf_sub(e[1], e[2]), d32 = vf_sub(e[3], e[2]);
    t[0] = vf_fma(m525, d12, vf_sub(e[0], e[3]));
    t[1] = vf_mul(vf_set1(2.0), vf_fma(vf_set1(-4.25), e[2], vf_add(e[1], e[3])));
    VF a = vf_fma(c4, d32, d12), b = vf_fma(c4, d12, d32);
    t[2] = vf_mul(vf_set1(0.75), a);
    t[3] = vf_mul(vf_set1(-0.25), a);
    t[4] = vf_mul(vf_set1(1.5), b);
    t[5] = vf_mul(vf_set1(0.5), b);
    t[6] = vf_fma(m525, d32, vf_sub(e[4], e[1]));
}

ES_INLINE void winograd_in4_up(const VF *e, VF *t) {
    const VF c4 = vf_set1(4.0), m5 = vf_set1(-5.0);
    VF a = vf_sub(e[2], e[1]);
    t[0] = vf_fma(c4, e[0], vf_fma(m5, e[1], e[2]));
    t[1] = vf_mul(vf_set1(2.0), vf_fma(vf_set1(-4.0), e[1], e[2]));
    t[2] = vf_mul(vf_set1(3.0), a);
    t[3] = vf_sub(e[1], e[2]);
    t[4] = vf_fma(c4, e[1], vf_fma(m5, e[2], e[3]));
}

ES_INLINE void winograd_in2_up(const VF *e, VF *t) {
    t[0] = vf_sub(e[0], e[1]);
    t[1] = vf_add(e[1], e[1]);
    t[2] = vf_sub(e[2], e[1]);
}

/* The way back: m[8] (m[7] without point -1) -> six outputs.  What is even in a picture is all in point 1,
 * which is added last: the others, small then, are rounded as small ones. */
ES_INLINE void winograd_out6(const VF *m, int up, VF *o) {
    const VF *n = up ? m - 1 : m; /* n[3].. are the points from 2 on */
    VF s1 = up ? m[1] : vf_add(m[1], m[2]), d1 = up ? m[1] : vf_sub(m[1], m[2]);
    VF s2 = vf_add(n[3], n[4]), d2 = vf_sub(n[3], n[4]);
    VF s3 = vf_add(n[5], n[6]), d3 = vf_sub(n[5], n[6]);
    o[0] = vf_add(s1, vf_add(m[0], vf_add(s2, s3)));
    o[1] = vf_fma(vf_set1(2.0), vf_fma(vf_set1(0x1p-2), d3, d2), d1);
    o[2] = vf_fma(vf_set1(4.0), vf_fma(vf_set1(0x1p-4), s3, s2), s1);
    o[3] = vf_fma(vf_set1(8.0), vf_fma(vf_set1(0x1p-6), d3, d2), d1);
    o[4] = vf_fma(vf_set1(16.0), vf_fma(vf_set1(0x1p-8), s3, s2), s1);
    o[5] = vf_add(d1, vf_fma(vf_set1(32.0), vf_fma(vf_set1(0x1p-10), d3, d2), n[7]));
}

ES_INLINE void winograd_out4(const VF *m, VF *o) {
    const VF c23 = vf_set1(2.0 / 3), c49 = vf_set1(4.0 / 9), c827 = vf_set1(8.0 / 27);
    VF s1 = vf_add(m[1], m[2]), d1 = vf_sub(m[1], m[2]);
    VF s2 = vf_add(m[3], m[4]), d2 = vf_sub(m[3], m[4]);
    o[0] = vf_add(vf_add(m[0], s1), s2);
    o[1] = vf_fma(vf_set1(1.5), d2, vf_mul(c23, d1));
    o[2] = vf_fma(vf_set1(2.25), s2, vf_mul(c49, s1));
    o[3] = vf_fma(vf_set1(3.375), d2, vf_fma(c827, d1, m[5]));
}

/* Points 0 1 -1 2 -2 inf (without -1). */
ES_INLINE void winograd_out4_at2(const VF *m, int up, VF *o) {
    const VF *n = up ? m - 1 : m; /* n[3].. are the points from 2 on */
    VF s1 = up ? m[1] : vf_add(m[1], m[2]), d1 = up ? m[1] : vf_sub(m[1], m[2]);
    VF s2 = vf_add(n[3], n[4]), d2 = vf_sub(n[3], n[4]);
    o[0] = vf_add(s1, vf_add(m[0], s2));
    o[1] = vf_fma(vf_set1(2.0), d2, d1);
    o[2] = vf_fma(vf_set1(4.0), s2, s1);
    o[3] = vf_add(d1, vf_fma(vf_set1(8.0), d2, n[5]));
}

ES_INLINE void winograd_out2(const VF *m, int up, VF *o) {
    VF s1 = up ? m[1] : vf_add(m[1], m[2]), d1 = up ? m[1] : vf_sub(m[1], m[2]);
    o[0] = vf_add(m[0], s1);
    o[1] = vf_add(d1, m[up ? 2 : 3]);
}

ES_INLINE void winograd_weights6(const VF *g, int up, VF *t) {
    const VF c29 = vf_set1(-2.0 / 9), c190 = vf_set1(1.0 / 90), c245 = vf_set1(2.0 / 45);
    const VF c145 = vf_set1(1.0 / 45), c1645 = vf_set1(16.0 / 45), c845 = vf_set1(8.0 / 45);
    VF ends = vf_mul(c29, vf_add(g[0], g[2])), middle = vf_mul(c29, g[1]);
    *t++ = g[0];
    *t++ = vf_add(ends, middle);
    if (!up) *t++ = vf_sub(ends, middle);
    ends = vf_fma(c245, g[2], vf_mul(c190, g[0])), middle = vf_mul(c145, g[1]);
    *t++ = vf_add(ends, middle);
    *t++ = vf_sub(ends, middle);
    ends = vf_fma(vf_set1(32.0 / 45), g[0], vf_mul(c845, g[2])), middle = vf_mul(c1645, g[1]);
    *t++ = vf_add(ends, middle);
    *t++ = vf_sub(ends, middle);
    *t = g[2];
}

ES_INLINE void winograd_weights4(const VF *g, VF *t) {
    const VF m81 = vf_set1(-81.0 / 130), m54 = vf_set1(-54.0 / 130), m36 = vf_set1(-36.0 / 130);
    const VF c8 = vf_set1(8.0 / 65), c12 = vf_set1(12.0 / 65), c18 = vf_set1(18.0 / 65);
    t[0] = g[0];
    VF ends = vf_fma(m36, g[2], vf_mul(m81, g[0])), middle = vf_mul(m54, g[1]);
    t[1] = vf_add(ends, middle);
    t[2] = vf_sub(ends, middle);
    ends = vf_fma(c18, g[2], vf_mul(c8, g[0])), middle = vf_mul(c12, g[1]);
    t[3] = vf_add(ends, middle);
    t[4] = vf_sub(ends, middle);
    t[5] = g[2];
}

ES_INLINE void winograd_weights4_up(const VF *g, VF *t) {
    const VF c6 = vf_set1(-1.0 / 6), c24 = vf_set1(1.0 / 24), c12 = vf_set1(1.0 / 12);
    t[0] = vf_mul(vf_set1(0.25), g[0]);
    t[1] = vf_mul(c6, vf_add(vf_add(g[0], g[2]), g[1]));
    VF ends = vf_fma(vf_set1(1.0 / 6), g[2], vf_mul(c24, g[0])), middle = vf_mul(c12, g[1]);
    t[2] = vf_add(ends, middle);
    t[3] = vf_sub(ends, middle);
    t[4] = g[2];
}

ES_INLINE void winograd_weights2(const VF *g, int up, VF *t) {
    const VF half = vf_set1(0.5);
    VF ends = vf_mul(half, vf_add(g[0], g[2])), middle = vf_mul(half, g[1]);
    *t++ = g[0];
    *t++ = vf_add(ends, middle);
    if (!up) *t++ = vf_sub(ends, middle);
    *t = g[2];
}

#endif
