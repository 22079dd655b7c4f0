/* Matrix products of vectors' numbers into floats. "Blocks" are arrays [columns / LANES][steps][LANES] of words. */
#ifndef TOYNET_PRODUCTS_H
#define TOYNET_PRODUCTS_H

#include "vectors.h"

/* The part of a product that the registers hold: there are 32 of 16 lanes, or 16 of 8. */
#ifdef __AVX512F__
enum { ROWS = 8, VECTORS = 3 };
#else
enum { ROWS = 4, VECTORS = 3 };
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
