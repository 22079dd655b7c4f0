/* Products of a matrix unit's tiles: 32 x 32 sums in floats of bfloat16 numbers, 32 of them at a step.
 *
 * A left cell is 32 rows of 32 numbers, one after the other. A right cell is two halves for 16 columns each: 16 pairs
 * of neighbouring places in the sum, of each column its pair. Intel's AMX has eight tiles of 16 rows of 64 bytes: four
 * hold the sums, two a left cell, two a right one, so that four products wait for four loads. Elsewhere plain C does
 * the same. Source: Intel's Architecture Instruction Set Extensions Programming Reference, chapter 3.
 */
#ifndef TOYNET_TILES_H
#define TOYNET_TILES_H

#include "vectors.h"

enum { SIDE = 32, HALF_SIDE = SIDE / 2, CELL = SIDE * SIDE };

#ifdef __AMX_BF16__

#include <sys/syscall.h>

extern long syscall(long number, ...); /* of C's library, if not of its standard */

enum { ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18 };

/* Whether the system lets this process use the tiles. */
INLINE int tiles_granted(void) { return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0; }

/* Before a thread's products, and behind them. */
INLINE void begin_tiles(void) {
    static const struct {
        uint8_t palette, start, reserved[14];
        uint16_t bytes[16];
        uint8_t rows[16];
    } whole = {1, 0, {0}, {64, 64, 64, 64, 64, 64, 64, 64}, {16, 16, 16, 16, 16, 16, 16, 16}};
    __asm__ volatile("ldtilecfg %0" ::"m"(whole));
}

INLINE void end_tiles(void) { _tile_release(); }

INLINE void clear_sums(void) {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
}

/* `line`: floats from one of the 32 lines of sums to the next. */
INLINE void take_sums(const float *sums, index line) {
    _tile_loadd(0, sums, line * 4);
    _tile_loadd(1, sums + HALF_SIDE, line * 4);
    _tile_loadd(2, sums + HALF_SIDE * line, line * 4);
    _tile_loadd(3, sums + HALF_SIDE * line + HALF_SIDE, line * 4);
}

INLINE void put_sums(float *sums, index line) {
    _tile_stored(0, sums, line * 4);
    _tile_stored(1, sums + HALF_SIDE, line * 4);
    _tile_stored(2, sums + HALF_SIDE * line, line * 4);
    _tile_stored(3, sums + HALF_SIDE * line + HALF_SIDE, line * 4);
}

/* Add the product of a left and a right cell. */
INLINE void add_product(const number *a, const number *b) {
    _tile_loadd(4, a, 64);
    _tile_loadd(6, b, 64);
    _tile_loadd(7, b + CELL / 2, 64);
    _tile_loadd(5, a + CELL / 2, 64);
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
}

/* The same of the upper 16 rows. */
INLINE void add_upper_product(const number *a, const number *b) {
    _tile_loadd(4, a, 64);
    _tile_loadd(6, b, 64);
    _tile_loadd(7, b + CELL / 2, 64);
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
}

#else

INLINE int tiles_granted(void) { return 0; }

INLINE void begin_tiles(void) {}

INLINE void end_tiles(void) {}

static _Thread_local float tile_sums[CELL];

INLINE void clear_sums(void) { memset(tile_sums, 0, sizeof tile_sums); }

INLINE void take_sums(const float *sums, index line) {
    for (index row = 0; row < SIDE; row++) memcpy(tile_sums + row * SIDE, sums + row * line, SIDE * sizeof(float));
}

INLINE void put_sums(float *sums, index line) {
    for (index row = 0; row < SIDE; row++) memcpy(sums + row * line, tile_sums + row * SIDE, SIDE * sizeof(float));
}

INLINE void add_rows(const number *a, const number *b, index rows) {
    for (index row = 0; row < rows; row++)
        for (index step = 0; step < SIDE; step++)
            for (index column = 0; column < SIDE; column++) {
                const number *pair = b + column / HALF_SIDE * (CELL / 2) + step / 2 * SIDE + column % HALF_SIDE * 2;
                tile_sums[row * SIDE + column] += widened(a[row * SIDE + step]) * widened(pair[step % 2]);
            }
}

INLINE void add_product(const number *a, const number *b) { add_rows(a, b, SIDE); }

INLINE void add_upper_product(const number *a, const number *b) { add_rows(a, b, HALF_SIDE); }

#endif

/* Of a cell: 32 numbers; and 16 pairs of them. */
typedef uint16_t row __attribute__((vector_size(SIDE * sizeof(number))));
typedef row unaligned_row __attribute__((aligned(2)));
typedef uint32_t pairs __attribute__((vector_size(HALF_SIDE * sizeof(word))));

/* 32 floats, to the nearest numbers. */
INLINE row nearest_row(const float *from) {
#ifdef __AVX512BF16__
    /* Two halves written and read as a whole would wait for memory. */
    return (row)_mm512_cvtne2ps_pbh(_mm512_loadu_ps(from + HALF_SIDE), _mm512_loadu_ps(from));
#else
    row result;
    for (index lane = 0; lane < SIDE; lane += LANES) store((number *)&result + lane, load_floats(from + lane));
    return result;
#endif
}

/* 32 numbers of two rows, as pairs: of the first 16 columns, and of the others. */
INLINE void pair_up(row one, row other, pairs *first, pairs *second) {
    *first = (pairs)__builtin_shufflevector(one, other, 0, 32, 1, 33, 2, 34, 3, 35, 4, 36, 5, 37, 6, 38, 7, 39, 8, 40,
                                            9, 41, 10, 42, 11, 43, 12, 44, 13, 45, 14, 46, 15, 47);
    *second = (pairs)__builtin_shufflevector(one, other, 16, 48, 17, 49, 18, 50, 19, 51, 20, 52, 21, 53, 22, 54, 23,
                                             55, 24, 56, 25, 57, 26, 58, 27, 59, 28, 60, 29, 61, 30, 62, 31, 63);
}

/* Exchange what lies off the diagonal of squares of twice `size` pairs. */
#define UPPER(size, i) ((i) & (size) ? HALF_SIDE + (i) - (size) : (i))
#define LOWER(size, i) ((i) & (size) ? HALF_SIDE + (i) : (i) + (size))
#define EACH(which, size)                                                                                             \
    which(size, 0), which(size, 1), which(size, 2), which(size, 3), which(size, 4), which(size, 5), which(size, 6),   \
        which(size, 7), which(size, 8), which(size, 9), which(size, 10), which(size, 11), which(size, 12),            \
        which(size, 13), which(size, 14), which(size, 15)
#define EXCHANGE(rows, size)                                                                                          \
    _Pragma("GCC unroll 16") for (int i = 0; i < HALF_SIDE; i++) if (!(i & (size))) {                                 \
        pairs one = rows[i], other = rows[i + (size)];                                                                \
        rows[i] = __builtin_shufflevector(one, other, EACH(UPPER, size));                                             \
        rows[i + (size)] = __builtin_shufflevector(one, other, EACH(LOWER, size));                                    \
    }

/* 16 rows of 16 pairs. */
INLINE void transpose(pairs *rows) {
    EXCHANGE(rows, 8)
    EXCHANGE(rows, 4)
    EXCHANGE(rows, 2)
    EXCHANGE(rows, 1)
}

#endif
