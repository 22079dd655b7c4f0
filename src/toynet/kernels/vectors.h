/* Vectors of the numbers that maps hold.
 *
 * A word is what one lane of a product takes at each step: a float, or two bfloat16 numbers of neighbouring places in
 * the sum, both of which one instruction multiplies and adds up, where a processor has it.
 */
#ifndef TOYNET_VECTORS_H
#define TOYNET_VECTORS_H

#include "numbers.h"

#ifdef __AVX512BF16__
#include <immintrin.h>
#endif

#ifdef __AVX512F__
enum { LANES = 16 };
#else
enum { LANES = 8 };
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

#endif
