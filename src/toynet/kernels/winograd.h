/* 3x3 convolutions and their gradients by Winograd's minimal filtering, on maps in channels-last order.
 * Source: Lavin and Gray 2015, "Fast algorithms for convolutional neural networks"; stride 2 is ours.
 *
 * Results are taken in tiles. The pixels under a tile and the kernel are each turned into points; the points are
 * multiplied, each with its like, in matrix products over the channels; and the sums are turned back into results. At
 * stride 1 a tile of 4x4 outputs has 36 points where the convolution itself has 144 multiplications, or one of 2x4 24
 * for 72; at stride 2 one of 2x2 has 25 for 36. The gradient by the maps is such a filtering with the kernel turned
 * round. That by the kernel has the products of the points of both, pixels and gradients, summed over the tiles.
 *
 * The two dimensions are taken one after the other. For pixels d, kernel g, points p and results r of one:
 *
 *     TWO       p = d0 - d2, d1 + d2, d2 - d1, d1 - d3      times g0, (g0 + g1 + g2) / 2, (g0 - g1 + g2) / 2, g2
 *               r = p0 + p1 + p2, p1 - p2 - p3
 *     HALF      p = d0 - d2, d2, d4 - d2, d1, d3            times g0, g0 + g2, g2, g1, g1
 *               r = p0 + p1 + p3, p1 + p2 + p4
 *     TWICE     p = d0 - d1, d1, d2 - d1, d1, d2            times the same (the gradient of HALF by the maps)
 *               r = p0 + p1, p3, p1 + p2, p4
 *     FOUR      four results by six points, the polynomials' values at 0, NEAR, -NEAR, FAR, -FAR and infinity
 *
 * NEAR and FAR, its inverse, were chosen for small errors. For bfloat16 it serves along the maps only: in both
 * dimensions its errors would be six times that number's own.
 *
 * Points are numbers as those of the maps, everything else is float, so errors are a few times those of such numbers.
 * Every thread turns what it multiplies itself: what one core has written is slow for another to read. Numbers of
 * channels and filters are multiples of LANES.
 */
#ifndef TOYNET_WINOGRAD_H
#define TOYNET_WINOGRAD_H

#include "products.h"

typedef enum { TWO, FOUR, HALF, TWICE } way;
typedef enum { SAME, HALVING, DOUBLING } kind;

/* By kind, what is done down and along the maps. */
#ifdef FLOATS
static const way DOWN[] = {FOUR, HALF, TWICE}, ALONG[] = {FOUR, HALF, TWICE};
#else
static const way DOWN[] = {TWO, HALF, TWICE}, ALONG[] = {FOUR, HALF, TWICE};
#endif

enum { MOST_SIDE = 6, MOST_POINTS = 36, TAPS = 9 };

/* By way: pixels, points and results, and how far apart the pixels of neighbouring tiles are. */
static const int PIXELS[] = {4, 6, 5, 3}, POINTS[] = {4, 6, 5, 5}, RESULTS[] = {2, 4, 2, 4}, STEP[] = {2, 4, 4, 2};

/* But for FOUR, each point of pixels is one of them plus a multiple of another. */
static const int ONE[][MOST_SIDE] = {{0, 1, 2, 1}, {0}, {0, 2, 4, 1, 3}, {0, 1, 2, 1, 2}};
static const int OTHER[][MOST_SIDE] = {{2, 2, 1, 3}, {0}, {2, 0, 2, 0, 0}, {1, 0, 1, 0, 0}};
static const float SHARE[][MOST_SIDE] = {{-1, 1, -1, -1}, {0}, {-1, 0, -1, 0, 0}, {-1, 0, -1, 0, 0}};

static const float NEAR = 0.65f, FAR = 1 / 0.65f, NEAR2 = 0.4225f, FAR2 = 1 / 0.4225f;

/* In bytes, and in words. */
enum { CACHE_LINE = 64, LINE_WORDS = 16 };

/* Maps of height x width pixels and `channels`; results of tall x wide with `filters`. The first tile begins `top`
 * and `left` pixels outside the maps, and `over` and `before` outside the results. */
typedef struct {
    index images, height, width, channels, tall, wide, filters, top, left, over, before;
} geometry;

/* A filtering, and how it is gone about: each thread takes `many` tiles at once, and `sharing` threads the same tiles
 * with some filters each, or for the gradient by the kernel some points each. fresh: a thread turns the kernel itself,
 * a panel of filters at a time, for every `many` tiles; otherwise it is turned as a whole, beforehand. reversed: the
 * kernel is that of the convolution of which this is the gradient by the maps. */
typedef struct {
    geometry g;
    index kind, reversed, fresh, many, sharing, threads;
} job;

/* A row of a window that is outside of the maps. */
static const number nothing[MOST_SIDE * MOST_CHANNELS];

INLINE index parts(index whole, index part) { return (whole + part - 1) / part; }

INLINE index rows_of(const geometry *g, kind k) { return parts(g->tall + g->over, RESULTS[DOWN[k]]); }

INLINE index columns_of(const geometry *g, kind k) { return parts(g->wide + g->before, RESULTS[ALONG[k]]); }

INLINE index tiles_of(const geometry *g, kind k) { return g->images * rows_of(g, k) * columns_of(g, k); }

/* Which tile of which image. */
typedef struct {
    index image, row, column;
} spot;

INLINE spot spot_of(const geometry *g, kind k, index tile) {
    index rows = rows_of(g, k), columns = columns_of(g, k);
    return (spot){tile / columns / rows, tile / columns % rows, tile % columns};
}

/* The tile behind it; cheaper than `spot_of`, which divides. */
INLINE spot next_spot(const geometry *g, kind k, spot at) {
    if (++at.column == columns_of(g, k)) at.column = 0, at.row++;
    if (at.row == rows_of(g, k)) at.row = 0, at.image++;
    return at;
}

/* A window over a map: where its rows begin, `nothing` for those outside, and which of its columns are inside. */
typedef struct {
    const number *row[MOST_SIDE];
    int first, end;
} window;

INLINE window window_of(const number *map, index height, index width, index channels, index row, index column, int down,
                        int along) {
    window w = {.first = column < 0 ? (int)-column : 0, .end = column + along > width ? (int)(width - column) : along};
    const number *first = map + (row * width + column) * channels;
#pragma GCC unroll 6
    for (int i = 0; i < down; i++, first += width * channels)
        w.row[i] = row + i >= 0 && row + i < height ? first : nothing;
    return w;
}

INLINE window pixels_of(const number *maps, const geometry *g, spot tile, kind k) {
    index row = tile.row * STEP[DOWN[k]] - g->top, column = tile.column * STEP[ALONG[k]] - g->left;
    const number *map = maps + tile.image * g->height * g->width * g->channels;
    return window_of(map, g->height, g->width, g->channels, row, column, PIXELS[DOWN[k]], PIXELS[ALONG[k]]);
}

INLINE window outputs_of(const number *maps, const geometry *g, spot tile, kind k) {
    index row = tile.row * RESULTS[DOWN[k]] - g->over, column = tile.column * RESULTS[ALONG[k]] - g->before;
    const number *map = maps + tile.image * g->tall * g->wide * g->filters;
    return window_of(map, g->tall, g->wide, g->filters, row, column, RESULTS[DOWN[k]], RESULTS[ALONG[k]]);
}

/* Ask for down x along places of a map early, that they may be near when they are needed. Places behind the maps do no
 * harm: nothing is read. */
INLINE void ask(const number *map, index width, index channels, index row, index column, int down, int along) {
    const number *first = map + (row * width + column) * channels;
    for (int i = 0; i < down; i++, first += width * channels)
        for (index place = 0; place < along * channels; place += CACHE_LINE / sizeof(number))
            __builtin_prefetch(first + place, 0, 2);
}

/* How many tiles before its turn the memory of a tile is asked for: small ones earlier. Found by timing, 32 for floats
 * alone. */
INLINE index ahead(index channels) { return PER_WORD == 1 && channels <= 32 ? 32 : 16; }

/* Ask for the pixels of the tile that is `ahead` of this one, but for those that tiles above it have used. */
INLINE void ask_pixels(const number *maps, const geometry *g, spot tile, kind k) {
    int fresh = STEP[DOWN[k]], used = PIXELS[DOWN[k]] - fresh;
    index row = tile.row * fresh - g->top + used, column = (tile.column + ahead(g->channels)) * STEP[ALONG[k]];
    const number *map = maps + tile.image * g->height * g->width * g->channels;
    ask(map, g->width, g->channels, row, column, fresh, STEP[ALONG[k]]);
}

INLINE void ask_results(const number *maps, const geometry *g, spot tile, kind k) {
    index row = tile.row * RESULTS[DOWN[k]], column = (tile.column + ahead(g->filters)) * RESULTS[ALONG[k]];
    const number *map = maps + tile.image * g->tall * g->wide * g->filters;
    ask(map, g->wide, g->filters, row, column, RESULTS[DOWN[k]], RESULTS[ALONG[k]]);
}

/* one + share * other, for shares of -1, 0 and 1. */
INLINE lanes combined(lanes one, lanes other, float share) {
    return share == 0 ? one : share > 0 ? one + other : one - other;
}

/* LANES numbers of one column of a window, `at` that distance from where its rows begin; 0 if the column is outside. */
INLINE void column_of(const window *w, index at, int column, int count, lanes *found) {
    int inside = column >= w->first && column < w->end;
#pragma GCC unroll 6
    for (int i = 0; i < count; i++) found[i] = inside ? load(w->row[i] + at) : (lanes){0};
}

/* FOUR's points 1 to 4, by the values NEAR, -NEAR, FAR and -FAR, from what is even and odd in the value. */
INLINE lanes with_sign(lanes even, lanes odd, int point) { return point % 2 ? even + odd : even - odd; }

/* Whether this point and the next are the sum and the difference of the same two. */
INLINE int paired(way w, int point) { return w == FOUR && (point == 1 || point == 3); }

/* Whether it is the second of such a pair. */
INLINE int second(way w, int point) { return point > 0 && paired(w, point - 1); }

/* One point of pixels of one dimension. */
INLINE lanes pixel_point(const lanes *d, way w, int point) {
    if (w != FOUR) return combined(d[ONE[w][point]], d[OTHER[w][point]], SHARE[w][point]);
    if (point == 0) return d[0] - d[2] * (NEAR2 + FAR2) + d[4];
    if (point == 5) return d[1] - d[3] * (NEAR2 + FAR2) + d[5];
    int near = point < 3;
    lanes even = d[4] - d[2] * (near ? FAR2 : NEAR2);
    lanes odd = d[3] * (near ? NEAR : FAR) - d[1] * (near ? FAR : NEAR);
    return with_sign(even, odd, point);
}

/* All of them. What two points have in common the compiler computes once. */
INLINE void pixel_points(const lanes *d, way w, lanes *points) {
#pragma GCC unroll 6
    for (int point = 0; point < POINTS[w]; point++) points[point] = pixel_point(d, w, point);
}

/* One line of the points of a tile's pixels down its columns, for LANES channels, and the next, if it is `paired`. */
INLINE void pixel_line(const window *w, index channels, index channel, kind k, int line, lanes found[2][MOST_SIDE]) {
#pragma GCC unroll 6
    for (int j = 0; j < PIXELS[ALONG[k]]; j++, channel += channels) {
        lanes pixels[MOST_SIDE];
        STEPWISE(channel);
        column_of(w, channel, j, PIXELS[DOWN[k]], pixels);
        found[0][j] = pixel_point(pixels, DOWN[k], line);
        if (paired(DOWN[k], line)) found[1][j] = pixel_point(pixels, DOWN[k], line + 1);
    }
}

/* The points of LANES filters of a kernel by LANES channels, from these on: a part of a block, `apart` words from point
 * to point. */
void winograd_points(const float *kernel, index filter, index channel, word *points, index apart, const job *j);

INLINE int points_in_all(kind k) { return POINTS[DOWN[k]] * POINTS[ALONG[k]]; }

#endif
