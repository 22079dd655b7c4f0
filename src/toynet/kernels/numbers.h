/* The numbers that maps hold, and what all files here share.
 *
 * Every file is compiled twice: for maps of floats, where FLOATS is defined, and for maps of bfloat16.
 */
#ifndef TOYNET_NUMBERS_H
#define TOYNET_NUMBERS_H

#include <omp.h>
#include <stdint.h>
#include <string.h>

#ifdef FLOATS
typedef float number;
#else
typedef uint16_t number;
#endif
typedef int64_t index;

enum { MOST_CHANNELS = 4096 };

#define INLINE static inline __attribute__((always_inline))

INLINE float of_bits(uint32_t bits) {
    float result;
    memcpy(&result, &bits, sizeof result);
    return result;
}

INLINE uint32_t bits_of(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

#ifdef FLOATS
INLINE float widened(number value) { return value; }

INLINE number narrowed(float value) { return value; }
#else
INLINE float widened(number value) { return of_bits((uint32_t)value << 16); }

/* To the nearest bfloat16, ties to even. */
INLINE number narrowed(float value) {
    uint32_t bits = bits_of(value);
    return (number)((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}
#endif

#endif
