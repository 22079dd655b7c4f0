/* Vectors of the numbers that maps hold, and matrix products of them into floats.
 *
 * A word is what one lane of a product takes at each step: a float, or two bfloat16 numbers of neighbouring places in
 * the sum, both of which one instruction multiplies and adds up, where a processor has it. "Blocks" are arrays
 * [columns / LANES][steps][LANES] of words.
 */
#ifndef TOYNET_PRODUCTS_H
#define TOYNET_PRODUCTS_H

#include "numbers.h"

#ifdef __AVX512BF16__
#include <immintrin.h>
#endif

/* A vector, and the part of a product that the registers hold: there are 32 of 16 lanes, or 16 of 8. */
#ifdef __AVX512F__
enum { LANES = 16, ROWS = 8, VECTORS = 3 };
#else
enum { LANES = 8, ROWS = 4, VECTORS = 3 };
#endif

typedef float lanes __attribute__((vector_size(4 * LANES)));

INLINE lanes load_floats(const float *from) {
    lanes result;
    memcpy(&result, from, sizeof result);
    return result;
}

#ifdef FLOATS

enum { PER_WORD = 1 };
typedef float word;
typedef lanes words;

INLINE lanes load(const number *from) { return load_floats(from); }

INLINE void store(number *to, lanes value) { memcpy(to, &value, sizeof value); }

/* There is no second number in a word. */
INLINE void store_words(word *to, lanes first, lanes second) {
    (void)second;
    store(to, first);
}

INLINE lanes dotted(lanes sum, words a, words b) { return sum + a * b; }

#else

enum { PER_WORD = 2 };
typedef uint32_t word;
typedef uint32_t words __attribute__((vector_size(4 * LANES)));
typedef uint16_t halves __attribute__((vector_size(2 * LANES)));

#ifdef __AVX512BF16__

INLINE lanes load(const number *from) {
    /* One permutation; widening and shifting would be two instructions. */
    static const uint16_t order[2 * LANES] = {0, 0, 0, 1, 0, 2,  0, 3,  0, 4,  0, 5,  0, 6,  0, 7,
                                              0, 8, 0, 9, 0, 10, 0, 11, 0, 12, 0, 13, 0, 14, 0, 15};
    __m512i both = _mm512_castsi256_si512(_mm256_loadu_si256((const __m256i *)from));
    return (lanes)_mm512_maskz_permutexvar_epi16(0xaaaaaaaa, _mm512_loadu_si512(order), both);
}

INLINE void store(number *to, lanes value) {
    _mm256_storeu_si256((__m256i *)to, (__m256i)_mm512_cvtneps_pbh((__m512)value));
}

INLINE void store_words(word *to, lanes first, lanes second) {
    static const uint16_t order[2 * LANES] = {0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
                                              8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
    __m512i both = (__m512i)_mm512_cvtne2ps_pbh((__m512)second, (__m512)first);
    _mm512_storeu_si512(to, _mm512_permutexvar_epi16(_mm512_loadu_si512(order), both));
}

INLINE lanes dotted(lanes sum, words a, words b) {
    return (lanes)_mm512_dpbf16_ps((__m512)sum, (__m512bh)a, (__m512bh)b);
}

#else

/* To the nearest bfloat16, ties to even, in the upper half of each word. */
INLINE words rounded(lanes value) {
    words bits = (words)value;
    return bits + 0x7fffu + ((bits >> 16) & 1u);
}

INLINE lanes load(const number *from) {
    halves bits;
    memcpy(&bits, from, sizeof bits);
    return (lanes)(__builtin_convertvector(bits, words) << 16);
}

INLINE void store(number *to, lanes value) {
    halves bits = __builtin_convertvector(rounded(value) >> 16, halves);
    memcpy(to, &bits, sizeof bits);
}

INLINE void store_words(word *to, lanes first, lanes second) {
    words both = rounded(first) >> 16 | (rounded(second) & 0xffff0000u);
    memcpy(to, &both, sizeof both);
}

INLINE lanes dotted(lanes sum, words a, words b) {
    return sum + (lanes)(a << 16) * (lanes)(b << 16) + (lanes)(a & 0xffff0000u) * (lanes)(b & 0xffff0000u);
}

#endif
#endif

/* Hold a vector in a register: gcc would read it again for every row, and reading is what a product waits for. */
#if defined FLOATS && defined __AVX512F__
#define KEEP(vector) __asm__("" : "+v"(vector))
#elif defined FLOATS && defined __AVX2__
#define KEEP(vector) __asm__("" : "+x"(vector))
#else
#define KEEP(vector) (void)(vector)
#endif

/* Let nothing stay in registers from here on: where there are few, a compiler would write to memory what it wants to keep,
 * and to fetch what was read before is cheaper. */
#ifdef __AVX512F__
#define FORGET() (void)0
#else
#define FORGET() __asm__ volatile("" ::: "memory")
#endif

/* Reach a place from the one before it: a compiler would compute all beforehand, and keep them in memory. */
#define STEPWISE(place) __asm__("" : "+r"(place))

/* The words of a product's left factor: that of row r and step s lies at r * row + s * step. */
typedef struct {
    const word *at;
    index row, step;
} left;

/* sums (ROWS lines, `line` floats apart, of `vectors` vectors) = or += the left factor times `blocks`. */
INLINE void multiply_part(left a, const word *blocks, float *sums, index line, index steps, index apart,
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
        for (int v = 0; v < vectors; v++) {
            memcpy(&b[v], blocks + v * apart + step * LANES, sizeof b[v]);
            KEEP(b[v]);
        }
#pragma GCC unroll 8
        for (int row = 0; row < ROWS; row++) {
            words each = a.at[row * a.row + step * a.step] - (words){0}; /* not +, which would cost an addition */
#pragma GCC unroll 3
            for (int v = 0; v < vectors; v++) part[row][v] = dotted(part[row][v], each, b[v]);
        }
    }
#pragma GCC unroll 8
    for (int row = 0; row < ROWS; row++)
#pragma GCC unroll 3
        for (int v = 0; v < vectors; v++) memcpy(sums + row * line + v * LANES, &part[row][v], sizeof(lanes));
}

INLINE void multiply_any(left a, const word *blocks, float *sums, index rows, index columns, index line,
                         index steps, index apart, int add) {
    for (index row = 0; row < rows; row += ROWS, a.at += ROWS * a.row, sums += ROWS * line) {
        index column = 0;
        /* Four vectors are taken as two and two: one alone has too few sums to keep the adders busy. */
        for (; column + VECTORS * LANES <= columns && columns - column != 4 * LANES; column += VECTORS * LANES)
            multiply_part(a, blocks + column / LANES * apart, sums + column, line, steps, apart, VECTORS, add);
        for (; column + 2 * LANES <= columns; column += 2 * LANES)
            multiply_part(a, blocks + column / LANES * apart, sums + column, line, steps, apart, 2, add);
        for (; column < columns; column += LANES)
            multiply_part(a, blocks + column / LANES * apart, sums + column, line, steps, apart, 1, add);
    }
}

/* sums (rows lines, `line` floats apart) = the left factor times the blocks, which begin `apart` words after one
 * another. `rows` is a multiple of ROWS, `columns` of LANES. */
static void multiply(left a, const word *blocks, float *sums, index rows, index columns, index line, index steps,
                     index apart) {
    multiply_any(a, blocks, sums, rows, columns, line, steps, apart, 0);
}

/* The same, added to `sums`. */
static void multiply_add(left a, const word *blocks, float *sums, index rows, index columns, index line,
                         index steps, index apart) {
    multiply_any(a, blocks, sums, rows, columns, line, steps, apart, 1);
}

#endif
