/* Vectors of bfloat16 numbers, and matrix products of them into floats.
 *
 * A word is two bfloat16 numbers, of neighbouring places in the sum that a product takes; one instruction multiplies
 * both and adds them up, where a processor has it. "Blocks" are arrays [columns / LANES][steps][LANES] of words.
 */
#ifndef TOYNET_PRODUCTS_H
#define TOYNET_PRODUCTS_H

#include "bf16.h"

#ifdef __AVX512BF16__
#include <immintrin.h>
#endif

enum { LANES = 16 };
/* The part of a product that the registers hold. */
enum { ROWS = 8, VECTORS = 3 };

typedef float lanes __attribute__((vector_size(64)));
typedef uint32_t words __attribute__((vector_size(64)));
typedef uint16_t halves __attribute__((vector_size(32)));

INLINE lanes load(const bf16 *from) {
#ifdef __AVX512BF16__
    /* One permutation; widening and shifting would be two instructions. */
    static const uint16_t order[2 * LANES] = {0, 0, 0, 1, 0, 2,  0, 3,  0, 4,  0, 5,  0, 6,  0, 7,
                                              0, 8, 0, 9, 0, 10, 0, 11, 0, 12, 0, 13, 0, 14, 0, 15};
    __m512i both = _mm512_castsi256_si512(_mm256_loadu_si256((const __m256i *)from));
    return (lanes)_mm512_maskz_permutexvar_epi16(0xaaaaaaaa, _mm512_loadu_si512(order), both);
#else
    halves bits;
    memcpy(&bits, from, sizeof bits);
    return (lanes)(__builtin_convertvector(bits, words) << 16);
#endif
}

INLINE lanes load_floats(const float *from) {
    lanes result;
    memcpy(&result, from, sizeof result);
    return result;
}

/* To the nearest bfloat16, ties to even, in the upper half of each word. */
INLINE words rounded(lanes value) {
    words bits = (words)value;
    return bits + 0x7fffu + ((bits >> 16) & 1u);
}

INLINE void store(bf16 *to, lanes value) {
#ifdef __AVX512BF16__
    _mm256_storeu_si256((__m256i *)to, (__m256i)_mm512_cvtneps_pbh((__m512)value));
#else
    halves bits = __builtin_convertvector(rounded(value) >> 16, halves);
    memcpy(to, &bits, sizeof bits);
#endif
}

INLINE void store_paired(uint32_t *to, lanes first, lanes second) {
#ifdef __AVX512BF16__
    static const uint16_t order[2 * LANES] = {0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
                                              8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
    __m512i both = (__m512i)_mm512_cvtne2ps_pbh((__m512)second, (__m512)first);
    _mm512_storeu_si512(to, _mm512_permutexvar_epi16(_mm512_loadu_si512(order), both));
#else
    words both = rounded(first) >> 16 | (rounded(second) & 0xffff0000u);
    memcpy(to, &both, sizeof both);
#endif
}

/* sum + the products of both numbers in each word. */
INLINE lanes dotted(lanes sum, words a, words b) {
#ifdef __AVX512BF16__
    return (lanes)_mm512_dpbf16_ps((__m512)sum, (__m512bh)a, (__m512bh)b);
#else
    return sum + (lanes)(a << 16) * (lanes)(b << 16) + (lanes)(a & 0xffff0000u) * (lanes)(b & 0xffff0000u);
#endif
}

/* The words of a product's left factor: that of row r and step s lies at r * row + s * step. */
typedef struct {
    const uint32_t *at;
    index row, step;
} left;

/* sums (ROWS lines, `line` floats apart, of `vectors` vectors) = or += the left factor times `blocks`. */
INLINE void multiply_part(left a, const uint32_t *blocks, float *sums, index line, index steps, index apart,
                          int vectors, int add) {
    lanes part[ROWS][VECTORS];
#pragma GCC unroll 8
    for (int row = 0; row < ROWS; row++)
#pragma GCC unroll 3
        for (int v = 0; v < vectors; v++)
            part[row][v] = add ? load_floats(sums + row * line + v * LANES) : (lanes){0};
    for (index step = 0; step < steps; step++) {
        words b[VECTORS];
#pragma GCC unroll 3
        for (int v = 0; v < vectors; v++) memcpy(&b[v], blocks + v * apart + step * LANES, sizeof b[v]);
#pragma GCC unroll 8
        for (int row = 0; row < ROWS; row++) {
            words each = (words){0} + a.at[row * a.row + step * a.step];
#pragma GCC unroll 3
            for (int v = 0; v < vectors; v++) part[row][v] = dotted(part[row][v], each, b[v]);
        }
    }
#pragma GCC unroll 8
    for (int row = 0; row < ROWS; row++)
#pragma GCC unroll 3
        for (int v = 0; v < vectors; v++) memcpy(sums + row * line + v * LANES, &part[row][v], sizeof(lanes));
}

INLINE void multiply_any(left a, const uint32_t *blocks, float *sums, index rows, index columns, index line,
                         index steps, index apart, int add) {
    for (index row = 0; row < rows; row += ROWS, a.at += ROWS * a.row, sums += ROWS * line) {
        index column = 0;
        for (; column + VECTORS * LANES <= columns; column += VECTORS * LANES)
            multiply_part(a, blocks + column / LANES * apart, sums + column, line, steps, apart, VECTORS, add);
        for (; column < columns; column += LANES)
            multiply_part(a, blocks + column / LANES * apart, sums + column, line, steps, apart, 1, add);
    }
}

/* sums (rows lines, `line` floats apart) = the left factor times the blocks, which begin `apart` words after one
 * another. `rows` is a multiple of ROWS, `columns` of LANES. */
static void multiply(left a, const uint32_t *blocks, float *sums, index rows, index columns, index line, index steps,
                     index apart) {
    multiply_any(a, blocks, sums, rows, columns, line, steps, apart, 0);
}

/* The same, added to `sums`. */
static void multiply_add(left a, const uint32_t *blocks, float *sums, index rows, index columns, index line,
                         index steps, index apart) {
    multiply_any(a, blocks, sums, rows, columns, line, steps, apart, 1);
}

#endif
