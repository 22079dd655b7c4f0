/* Products of a matrix unit's tiles: 32 x 32 sums in floats of bfloat16 numbers, 32 of them at a step.
 *
 * A left cell is 32 rows of 32 numbers, one after the other. A right cell is two halves for 16 columns each: 16 pairs of
 * neighbouring places in the sum, of each column its pair. Intel's AMX has eight tiles of 16 rows of 64 bytes: four hold the
 * sums, two a left cell, two a right one, so that four products wait for four loads. Elsewhere plain C does the same.
 * Source: Intel's Architecture Instruction Set Extensions Programming Reference, chapter 3.
 */
#ifndef TOYNET_TILES_H
#define TOYNET_TILES_H

#include "products.h"

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

INLINE void take_sums(const float *sums) {
    _tile_loadd(0, sums, SIDE * 4);
    _tile_loadd(1, sums + HALF_SIDE, SIDE * 4);
    _tile_loadd(2, sums + HALF_SIDE * SIDE, SIDE * 4);
    _tile_loadd(3, sums + HALF_SIDE * SIDE + HALF_SIDE, SIDE * 4);
}

INLINE void put_sums(float *sums) {
    _tile_stored(0, sums, SIDE * 4);
    _tile_stored(1, sums + HALF_SIDE, SIDE * 4);
    _tile_stored(2, sums + HALF_SIDE * SIDE, SIDE * 4);
    _tile_stored(3, sums + HALF_SIDE * SIDE + HALF_SIDE, SIDE * 4);
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

INLINE void take_sums(const float *sums) { memcpy(tile_sums, sums, sizeof tile_sums); }

INLINE void put_sums(float *sums) { memcpy(sums, tile_sums, sizeof tile_sums); }

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
#endif
