/* Attention of `attend_compiled.py`, float32 on a CPU: value, slope and the slope's derivative of each head and image while
 * its matrices are in the caches. The formulas are in `attend.py`; names are the same.
 *
 * A row of z holds, for each of H heads of D channels, one after the other: query D, r 3, s 1, key D, value D.
 * Keys and values grow by the place p of their bead, (x, |x|^2), so a head has C = D + 4 columns.
 * Rows of beads of one image follow each other; images follow each other; all arrays are dense.
 *
 * Built for several instruction sets (`hatch_build.py`): nothing here is particular to one, vectors are the compiler's.
 */

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))
typedef ptrdiff_t size;

#ifdef __AVX512F__
enum { LANES = 16, PANEL = 4 }; /* 4 rows of 4 vectors and a shorter one are 20 of 32 registers */
#else
enum { LANES = 8, PANEL = 2 }; /* 4 rows of 2 vectors and a shorter one are 12 of 16 */
#endif
typedef float full __attribute__((vector_size(4 * LANES), may_alias));
typedef float half __attribute__((vector_size(32), may_alias));
typedef float quarter __attribute__((vector_size(16), may_alias));
typedef int32_t whole __attribute__((vector_size(4 * LANES)));

enum { PADDING = 16, PLACE = 4 };

#ifndef SOURCE
#define SOURCE ""
#endif

/* SHA-256 of the file this was compiled from, for those who load it. */
const char *attend_source(void) { return SOURCE; }

INLINE size padded(size columns) { return (columns + PADDING - 1) / PADDING * PADDING; }

/* ---- products ------------------------------------------------------------------------------------------------- */

/* Rows [0, ROWS) of c (+)= a b, where b is NV vectors and a REST wide; a(i, k) is a[i * ai + k * ak]. */
#define DEFINE_TILE(NAME, ROWS, NV, REST_TYPE, REST)                                                                  \
    INLINE void NAME(float *c, size ldc, const float *a, size ai, size ak, const float *b, size ldb, size depth,     \
                     int add) {                                                                                       \
        full sum[ROWS][NV + 1];                                                                                       \
        REST_TYPE rest[ROWS];                                                                                         \
        for (int i = 0; i < ROWS; i++) {                                                                              \
            for (int v = 0; v < NV; v++) sum[i][v] = add ? *(full *)(c + i * ldc + LANES * v) : (full){0};            \
            if (REST) rest[i] = add ? *(REST_TYPE *)(c + i * ldc + LANES * NV) : (REST_TYPE){0};                      \
        }                                                                                                             \
        for (size k = 0; k < depth; k++) {                                                                            \
            const float *row = b + k * ldb;                                                                           \
            for (int i = 0; i < ROWS; i++) {                                                                          \
                float one = a[i * ai + k * ak];                                                                       \
                for (int v = 0; v < NV; v++) sum[i][v] += one * *(const full *)(row + LANES * v);                     \
                if (REST) rest[i] += one * *(const REST_TYPE *)(row + LANES * NV);                                    \
            }                                                                                                         \
        }                                                                                                             \
        for (int i = 0; i < ROWS; i++) {                                                                              \
            for (int v = 0; v < NV; v++) *(full *)(c + i * ldc + LANES * v) = sum[i][v];                              \
            if (REST) *(REST_TYPE *)(c + i * ldc + LANES * NV) = rest[i];                                             \
        }                                                                                                             \
    }

/* All rows of one panel of columns. */
#define DEFINE_PANEL(NV, REST_TYPE, REST)                                                                             \
    DEFINE_TILE(tile_4_##NV##_##REST, 4, NV, REST_TYPE, REST)                                                         \
    DEFINE_TILE(tile_1_##NV##_##REST, 1, NV, REST_TYPE, REST)                                                         \
    static void panel_##NV##_##REST(float *c, size ldc, const float *a, size ai, size ak, const float *b, size ldb,  \
                                    size rows, size depth, int add) {                                                 \
        size i = 0;                                                                                                   \
        for (; i + 4 <= rows; i += 4) tile_4_##NV##_##REST(c + i * ldc, ldc, a + i * ai, ai, ak, b, ldb, depth, add); \
        for (; i < rows; i++) tile_1_##NV##_##REST(c + i * ldc, ldc, a + i * ai, ai, ak, b, ldb, depth, add);         \
    }
#define DEFINE_PANELS(NV) DEFINE_PANEL(NV, quarter, 0) DEFINE_PANEL(NV, quarter, 4) DEFINE_PANEL(NV, half, 8)
DEFINE_PANELS(0)
DEFINE_PANELS(1)
DEFINE_PANELS(2)
#ifdef __AVX512F__
DEFINE_PANELS(3)
DEFINE_PANELS(4)
#endif

typedef void panel(float *, size, const float *, size, size, const float *, size, size, size, int);
static panel *const PANELS[PANEL + 1][3] = {
    {panel_0_0, panel_0_4, panel_0_8}, {panel_1_0, panel_1_4, panel_1_8}, {panel_2_0, panel_2_4, panel_2_8},
#ifdef __AVX512F__
    {panel_3_0, panel_3_4, panel_3_8}, {panel_4_0, panel_4_4, panel_4_8},
#endif
};

/* c (+)= a b for c [rows, columns] and b [depth, columns], both aligned, their rows padded; a anyhow. */
static void multiply(float *c, size ldc, const float *a, size ai, size ak, const float *b, size ldb, size rows,
                     size depth, size columns, int add) {
    while (columns > 0) {
        size vectors = columns / LANES, rest = columns % LANES;
        if (rest > 8) { vectors++, rest = 0; }
        if (vectors > PANEL) { vectors = PANEL, rest = 0; }
        PANELS[vectors][(rest + 3) / 4](c, ldc, a, ai, ak, b, ldb, rows, depth, add);
        size done = LANES * vectors + rest;
        c += done, b += done, columns -= done;
    }
}

/* ---- rows of weights -------------------------------------------------------------------------------------------- */

INLINE float sum_of(full v) {
    float parts[LANES];
    memcpy(parts, &v, sizeof v);
    for (int half_way = LANES / 2; half_way > 0; half_way /= 2)
        for (int i = 0; i < half_way; i++) parts[i] += parts[i + half_way];
    return parts[0];
}

INLINE full larger(full a, full b) {
    for (int i = 0; i < LANES; i++) a[i] = a[i] > b[i] ? a[i] : b[i];
    return a;
}

/* exp(x) for x <= 0, to about 1e-7 relative; 0 below -87. x = k ln 2 + rest, and a polynomial of the rest. */
INLINE full exponential(full x) {
    const float round = 12582912.0f; /* 1.5 2^23: adding it rounds to a whole number, in the last bits */
    whole kept = ~(x < (full){0} - 87.0f); /* and what is not a number */
    full bounded = (full)((whole)x & kept);
    full shifted = bounded * 1.44269504f + round;
    full k = shifted - round;
    full r = bounded - k * 0.693359375f + k * 2.12194440e-4f;
    full series = r * 1.9875691500e-4f + 1.3981999507e-3f;
    series = series * r + 8.3334519073e-3f;
    series = series * r + 4.1665795894e-2f;
    series = series * r + 1.6666665459e-1f;
    series = series * r + 5.0000001201e-1f;
    full fraction = series * r * r + r + 1.0f;
    whole power = ((whole)shifted - (int32_t)0x4B400000 + 127) << 23;
    return (full)((whole)(fraction * (full)power) & kept);
}

/* Softmax of every row of p in place; padding becomes 0. */
static void softmax(float *p, size n, size ld) {
    for (size i = 0; i < n; i++) {
        float *row = p + i * ld;
        for (size j = n; j < ld; j++) row[j] = -__builtin_inff();
        full most = *(full *)row;
        for (size j = LANES; j < ld; j += LANES) most = larger(most, *(full *)(row + j));
        float largest = most[0];
        for (int v = 1; v < LANES; v++) largest = most[v] > largest ? most[v] : largest;
        full total = {0};
        for (size j = 0; j < ld; j += LANES) total += *(full *)(row + j) = exponential(*(full *)(row + j) - largest);
        float scale = 1.0f / sum_of(total);
        for (size j = 0; j < ld; j += LANES) *(full *)(row + j) *= scale;
    }
}

/* ---- one head of one image ---------------------------------------------------------------------------------------- */

/* Matrices of one head: [bead, bead] and [bead, C], rows padded; and [C, bead] for transposes. */
typedef struct {
    size n, d, c, heads, ldp, ldc; /* beads, D, C, H, and the padded rows */
    float *p, *by_p, *by_logits, *u, *w, *transposed;
    float *q, *k, *v, *g, *h_q, *h_k, *h_v, *out;
    float *place, *by_r; /* [bead, PADDING] */
    float *memory;
} Head;

static int head_of(Head *h, size n, size heads, size d) {
    *h = (Head){.n = n, .d = d, .c = d + PLACE, .heads = heads, .ldp = padded(n), .ldc = padded(d + PLACE)};
    float **pairs[] = {&h->p, &h->by_p, &h->by_logits, &h->u, &h->w};
    float **beads[] = {&h->q, &h->k, &h->v, &h->g, &h->h_q, &h->h_k, &h->h_v, &h->out};
    float **short_rows[] = {&h->place, &h->by_r};
    size by_pairs = n * h->ldp, by_beads = n * h->ldc, by_columns = padded(h->c) * h->ldp, by_places = n * PADDING;
    size bytes = sizeof(float) * (5 * by_pairs + 8 * by_beads + 2 * by_places + by_columns);
    float *next = h->memory = aligned_alloc(64, (bytes + 63) / 64 * 64);
    if (!next) return 0;
    memset(next, 0, bytes); /* padding stays 0 */
    for (int i = 0; i < 5; i++, next += by_pairs) *pairs[i] = next;
    for (int i = 0; i < 8; i++, next += by_beads) *beads[i] = next;
    for (int i = 0; i < 2; i++, next += by_places) *short_rows[i] = next;
    h->transposed = next;
    return 1;
}

/* [first, second] of every bead into rows of `to`, from rows of lengths ld_first and ld_second. */
INLINE void gather(const Head *h, float *to, const float *first, size ld_first, const float *second, size ld_second) {
    for (size i = 0; i < h->n; i++) {
        memcpy(to + i * h->ldc, first + i * ld_first, sizeof(float) * h->d);
        memcpy(to + i * h->ldc + h->d, second + i * ld_second, sizeof(float) * PLACE);
    }
}

/* The inverse. */
INLINE void scatter(const Head *h, const float *from, float *first, size ld_first, float *second, size ld_second) {
    for (size i = 0; i < h->n; i++) {
        memcpy(first + i * ld_first, from + i * h->ldc, sizeof(float) * h->d);
        memcpy(second + i * ld_second, from + i * h->ldc + h->d, sizeof(float) * PLACE);
    }
}

/* pairs (+)= a b^T, and beads (+)= pairs b or pairs^T b. */
static void by_pairs(const Head *h, float *pairs, const float *a, const float *b, int add) {
    for (size i = 0; i < h->n; i++)
        for (size j = 0; j < h->c; j++) h->transposed[j * h->ldp + i] = b[i * h->ldc + j];
    multiply(pairs, h->ldp, a, h->ldc, 1, h->transposed, h->ldp, h->n, h->c, h->n, add);
}

INLINE void weighted(const Head *h, float *beads, const float *pairs, const float *b, int add) {
    multiply(beads, h->ldc, pairs, h->ldp, 1, b, h->ldc, h->n, h->n, h->c, add);
}

INLINE void weighted_back(const Head *h, float *beads, const float *pairs, const float *b, int add) {
    multiply(beads, h->ldc, pairs, 1, h->ldp, b, h->ldc, h->n, h->n, h->c, add);
}

/* q' = q + bias, tilted: r less 2 s x. */
static void queries(const Head *h, float *q, const float *z, size ldz, const float *bias, const float *place,
                    int tilted) {
    for (size i = 0; i < h->n; i++) {
        float *row = q + i * h->ldc;
        for (size j = 0; j < h->c; j++) row[j] = z[i * ldz + j] + (bias ? bias[j] : 0);
        for (int a = 0; tilted && a < 3; a++) row[h->d + a] -= 2 * row[h->d + 3] * place[PLACE * i + a];
    }
}

INLINE float dot3(const float *a, const float *b) { return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]; }

/* Where the parts of a head of an image are in a row of z, and where the row ends. */
typedef struct {
    size q, k, v, row;
} Columns;

INLINE Columns columns_of(const Head *h, size a) {
    size each = h->c + 2 * h->d, q = a * each;
    return (Columns){q, q + h->c, q + h->c + h->d, h->heads * each};
}

static void queries_keys_values(const Head *h, const float *z, Columns at, const float *bias, const float *place,
                                int tilted) {
    queries(h, h->q, z + at.q, at.row, bias, place, tilted);
    gather(h, h->k, z + at.k, at.row, place, PLACE);
    gather(h, h->v, z + at.v, at.row, place, PLACE);
}

INLINE void copy_weights(const Head *h, const float *p) {
    for (size i = 0; i < h->n; i++) memcpy(h->p + i * h->ldp, p + i * h->n, sizeof(float) * h->n);
}

/* What reaches keys or values: their D columns into rows of length ld, the place's four added to its own. */
INLINE void hand_back(const Head *h, float *rows, size ld, float *place) {
    for (size i = 0; i < h->n; i++) {
        const float *row = h->out + i * h->ldc;
        memcpy(rows + i * ld, row, sizeof(float) * h->d);
        for (int a = 0; a < PLACE; a++) place[PLACE * i + a] += row[h->d + a];
    }
}

/* ---- the three functions -------------------------------------------------------------------------------------------- */

/* weights [image, head, bead, bead], seen [row, H D] and mean [row, H 4] from z [row, H (C + 2 D)], bias [H C] and
 * place [row, 4]. Returns 0 if memory is short, as all three. */
int attend_value(const float *z, const float *bias, const float *place, float *weights, float *seen, float *mean,
                 size images, size n, size heads, size d, int tilted) {
    Head h;
    if (!head_of(&h, n, heads, d)) return 0;
    for (size image = 0; image < images; image++) {
        for (size a = 0; a < heads; a++) {
            Columns at = columns_of(&h, a);
            const float *rows = z + image * n * at.row, *places = place + image * n * PLACE;
            queries_keys_values(&h, rows, at, bias + a * h.c, places, tilted);
            by_pairs(&h, h.p, h.q, h.k, 0);
            softmax(h.p, n, h.ldp);
            weighted(&h, h.out, h.p, h.v, 0);
            for (size i = 0; i < n; i++)
                memcpy(weights + ((image * heads + a) * n + i) * n, h.p + i * h.ldp, sizeof(float) * n);
            scatter(&h, h.out, seen + image * n * heads * d + a * d, heads * d,
                    mean + image * n * heads * PLACE + a * PLACE, heads * PLACE);
        }
    }
    free(h.memory);
    return 1;
}

/* by_z and by_place where g_seen and g_mean arrive. */
int attend_slope(const float *g_seen, const float *g_mean, const float *z, const float *bias, const float *place,
                 const float *weights, float *by_z, float *by_place, size images, size n, size heads, size d,
                 int tilted) {
    Head h;
    if (!head_of(&h, n, heads, d)) return 0;
    memset(by_place, 0, sizeof(float) * images * n * PLACE);
    for (size image = 0; image < images; image++) {
        for (size a = 0; a < heads; a++) {
            Columns at = columns_of(&h, a);
            const float *rows = z + image * n * at.row, *places = place + image * n * PLACE;
            float *by_rows = by_z + image * n * at.row, *by_places = by_place + image * n * PLACE;
            queries_keys_values(&h, rows, at, bias + a * h.c, places, tilted);
            gather(&h, h.g, g_seen + image * n * heads * d + a * d, heads * d,
                   g_mean + image * n * heads * PLACE + a * PLACE, heads * PLACE);
            copy_weights(&h, weights + (image * heads + a) * n * n);
            by_pairs(&h, h.by_p, h.g, h.v, 0);
            for (size i = 0; i < n; i++) {
                const float *p = h.p + i * h.ldp, *by_p = h.by_p + i * h.ldp;
                full total = {0};
                for (size j = 0; j < h.ldp; j += LANES) total += *(full *)(p + j) * *(full *)(by_p + j);
                float mean_by_p = sum_of(total);
                for (size j = 0; j < h.ldp; j += LANES)
                    *(full *)(h.by_logits + i * h.ldp + j) = *(full *)(p + j) * (*(full *)(by_p + j) - mean_by_p);
            }
            weighted(&h, h.out, h.by_logits, h.k, 0);
            for (size i = 0; i < n; i++) {
                float *row = h.out + i * h.ldc, *by_r = row + d, s = h.q[i * h.ldc + d + 3];
                if (tilted) {
                    for (int b = 0; b < 3; b++) by_places[PLACE * i + b] -= 2 * s * by_r[b];
                    row[d + 3] -= 2 * dot3(by_r, places + PLACE * i);
                }
                memcpy(by_rows + i * at.row + at.q, row, sizeof(float) * h.c);
            }
            weighted_back(&h, h.out, h.by_logits, h.q, 0);
            hand_back(&h, by_rows + at.k, at.row, by_places);
            weighted_back(&h, h.out, h.p, h.g, 0);
            hand_back(&h, by_rows + at.v, at.row, by_places);
        }
    }
    free(h.memory);
    return 1;
}

/* The derivative of h_z . by_z + h_place . by_place by g_seen, g_mean, z and place. */
int attend_slope_derivative(const float *h_z, const float *h_place, const float *g_seen, const float *g_mean,
                            const float *z, const float *bias, const float *place, const float *weights,
                            float *g_seen_again, float *g_mean_again, float *z_again, float *place_again, size images,
                            size n, size heads, size d, int tilted) {
    Head h;
    if (!head_of(&h, n, heads, d)) return 0;
    memset(place_again, 0, sizeof(float) * images * n * PLACE);
    for (size image = 0; image < images; image++) {
        for (size a = 0; a < heads; a++) {
            Columns at = columns_of(&h, a);
            size first = image * n, g_at = first * heads * d + a * d, mean_at = first * heads * PLACE + a * PLACE;
            const float *rows = z + first * at.row, *h_rows = h_z + first * at.row;
            const float *places = place + first * PLACE, *h_places = h_place + first * PLACE;
            float *rows_again = z_again + first * at.row, *places_again = place_again + first * PLACE;
            queries_keys_values(&h, rows, at, bias + a * h.c, places, tilted);
            gather(&h, h.g, g_seen + g_at, heads * d, g_mean + mean_at, heads * PLACE);
            queries(&h, h.h_q, h_rows + at.q, at.row, NULL, places, tilted);
            for (size i = 0; tilted && i < n; i++)
                for (int b = 0; b < 3; b++)
                    h.h_q[i * h.ldc + d + b] -= 2 * h.q[i * h.ldc + d + 3] * h_places[PLACE * i + b];
            gather(&h, h.h_k, h_rows + at.k, at.row, h_places, PLACE);
            gather(&h, h.h_v, h_rows + at.v, at.row, h_places, PLACE);
            copy_weights(&h, weights + (image * heads + a) * n * n);
            by_pairs(&h, h.by_p, h.g, h.v, 0);
            by_pairs(&h, h.u, h.h_q, h.k, 0);
            by_pairs(&h, h.u, h.q, h.h_k, 1);
            by_pairs(&h, h.w, h.g, h.h_v, 0);
            for (size i = 0; i < n; i++) {
                size row = i * h.ldp;
                full sum_u = {0}, sum_by_p = {0}, sum_w = {0};
                for (size j = row; j < row + h.ldp; j += LANES) {
                    sum_u += *(full *)(h.p + j) * *(full *)(h.u + j);
                    sum_by_p += *(full *)(h.p + j) * *(full *)(h.by_p + j);
                }
                float mean_u = sum_of(sum_u), mean_by_p = sum_of(sum_by_p);
                for (size j = row; j < row + h.ldp; j += LANES) {
                    full by_p = *(full *)(h.by_p + j), u = *(full *)(h.u + j);
                    full w = *(full *)(h.w + j) + (by_p - mean_by_p) * u - by_p * mean_u;
                    *(full *)(h.w + j) = w;
                    sum_w += *(full *)(h.p + j) * w;
                }
                float mean_w = sum_of(sum_w);
                for (size j = row; j < row + h.ldp; j += LANES) {
                    full p = *(full *)(h.p + j);
                    *(full *)(h.by_logits + j) = p * (*(full *)(h.by_p + j) - mean_by_p);
                    *(full *)(h.u + j) = p * (*(full *)(h.u + j) - mean_u); /* t */
                    *(full *)(h.w + j) = p * (*(full *)(h.w + j) - mean_w); /* W */
                }
            }
            weighted(&h, h.out, h.p, h.h_v, 0);
            weighted(&h, h.out, h.u, h.v, 1);
            scatter(&h, h.out, g_seen_again + g_at, heads * d, g_mean_again + mean_at, heads * PLACE);
            weighted_back(&h, h.out, h.u, h.g, 0);
            hand_back(&h, rows_again + at.v, at.row, places_again);
            weighted_back(&h, h.out, h.by_logits, h.h_q, 0);
            weighted_back(&h, h.out, h.w, h.q, 1);
            hand_back(&h, rows_again + at.k, at.row, places_again);
            weighted(&h, h.out, h.by_logits, h.h_k, 0);
            weighted(&h, h.out, h.w, h.k, 1);
            for (size i = 0; tilted && i < n; i++)
                memcpy(h.place + i * PADDING, places + PLACE * i, sizeof(float) * PLACE);
            if (tilted) multiply(h.by_r, PADDING, h.by_logits, h.ldp, 1, h.place, PADDING, n, n, PLACE, 0);
            for (size i = 0; i < n; i++) {
                float *row = h.out + i * h.ldc, *by_r_again = row + d;
                if (tilted) {
                    float s = h.q[i * h.ldc + d + 3], h_s = h.h_q[i * h.ldc + d + 3], *by_r = h.by_r + i * PADDING;
                    for (int b = 0; b < 3; b++)
                        places_again[PLACE * i + b] -= 2 * (h_s * by_r[b] + s * by_r_again[b]);
                    row[d + 3] -= 2 * (dot3(by_r_again, places + PLACE * i) + dot3(by_r, h_places + PLACE * i));
                }
                memcpy(rows_again + i * at.row + at.q, row, sizeof(float) * h.c);
            }
        }
    }
    free(h.memory);
    return 1;
}
