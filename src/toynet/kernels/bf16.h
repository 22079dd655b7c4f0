/* bfloat16 and what all files here share. */
#ifndef TOYNET_BF16_H
#define TOYNET_BF16_H

#include <omp.h>
#include <stdint.h>
#include <string.h>

typedef uint16_t bf16;
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

INLINE float widened(bf16 value) { return of_bits((uint32_t)value << 16); }

/* To the nearest bfloat16, ties to even. */
INLINE bf16 narrowed(float value) {
    uint32_t bits = bits_of(value);
    return (bf16)((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

#endif
