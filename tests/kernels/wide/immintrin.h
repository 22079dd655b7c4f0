/* What the kernels take of AVX-512, in plain vectors: slow, but their text for it can be tried without it.
 *
 * Source of what each function does: Intel's Intrinsics Guide.
 */
#include <stdint.h>
#include <string.h>

typedef float __m512 __attribute__((vector_size(64)));
typedef long long __m512i __attribute__((vector_size(64)));
typedef long long __m256i __attribute__((vector_size(32)));
typedef uint16_t __m512bh __attribute__((vector_size(64)));
typedef uint16_t __m256bh __attribute__((vector_size(32)));
typedef uint32_t emulated_words __attribute__((vector_size(64)));

#define EMULATED static inline __attribute__((always_inline, unused))
#define CALLED static __attribute__((noinline, unused)) /* or compiling takes half a minute */

EMULATED __m256i _mm256_loadu_si256(const __m256i *from) {
    __m256i found;
    memcpy(&found, from, sizeof found);
    return found;
}

EMULATED void _mm256_storeu_si256(__m256i *to, __m256i value) { memcpy(to, &value, sizeof value); }

EMULATED __m512i _mm512_loadu_si512(const void *from) {
    __m512i found;
    memcpy(&found, from, sizeof found);
    return found;
}

EMULATED __m512 _mm512_loadu_ps(const void *from) { return (__m512)_mm512_loadu_si512(from); }

EMULATED void _mm512_storeu_si512(void *to, __m512i value) { memcpy(to, &value, sizeof value); }

/* In the upper half may be anything. */
EMULATED __m512i _mm512_castsi256_si512(__m256i lower) {
    __m512i found;
    memset(&found, 0x7f, sizeof found);
    memcpy(&found, &lower, sizeof lower);
    return found;
}

CALLED __m512i _mm512_permutexvar_epi16(__m512i order, __m512i from) {
    return (__m512i)__builtin_shuffle((__m512bh)from, (__m512bh)order);
}

CALLED __m512i _mm512_maskz_permutexvar_epi16(uint32_t mask, __m512i order, __m512i from) {
    __m512bh kept;
    for (int i = 0; i < 32; i++) kept[i] = mask >> i & 1 ? 0xffff : 0;
    return _mm512_permutexvar_epi16(order, from) & (__m512i)kept;
}

/* To the nearest, ties to even. */
CALLED __m256bh _mm512_cvtneps_pbh(__m512 value) {
    emulated_words bits = (emulated_words)value;
    return __builtin_convertvector((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16, __m256bh);
}

CALLED __m512bh _mm512_cvtne2ps_pbh(__m512 upper, __m512 lower) {
    __m256bh halves[] = {_mm512_cvtneps_pbh(lower), _mm512_cvtneps_pbh(upper)};
    return (__m512bh)_mm512_loadu_si512(halves);
}

EMULATED __m512 _mm512_dpbf16_ps(__m512 sum, __m512bh a, __m512bh b) {
    emulated_words x = (emulated_words)a, y = (emulated_words)b;
    sum += (__m512)(x & 0xffff0000u) * (__m512)(y & 0xffff0000u);
    return sum + (__m512)(x << 16) * (__m512)(y << 16);
}
