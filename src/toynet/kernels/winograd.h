/* 3x3 convolutions and their gradients by Winograd's minimal filtering, on bfloat16 maps in channels-last order.
 * Source: Lavin and Gray 2015, "Fast algorithms for convolutional neural networks"; stride 2 is ours.
 *
 * Results are taken in tiles. The pixels under a tile and the kernel are each turned into points, with additions
 * only; the points are multiplied, each with its like, in matrix products over the channels; and the sums are turned
 * back into results. A tile of 2x2 outputs has 16 points at stride 1 and 25 at stride 2, and so many multiplications
 * where the convolution itself has 36. The gradient by the maps is such a filtering with the kernel turned round. That by
 * the kernel has the products of the points of both, pixels and gradients, summed over the tiles.
 *
 * All are of two dimensions, taken one after the other. For pixels d, kernel g, points p and results r of one:
 *
 *     SAME      p = d0 - d2, d1 + d2, d2 - d1, d1 - d3      times g0, (g0 + g1 + g2) / 2, (g0 - g1 + g2) / 2, g2
 *               r = p0 + p1 + p2, p1 - p2 - p3
 *     HALVING   p = d0 - d2, d2, d4 - d2, d1, d3            times g0, g0 + g2, g2, g1, g1
 *               r = p0 + p1 + p3, p1 + p2 + p4
 *     DOUBLING  p = d0 - d1, d1, d2 - d1, d1, d2            times the same (the gradient of HALVING by the maps)
 *               r = p0 + p1, p3, p1 + p2, p4
 *
 * Points are rounded to bfloat16, everything else is float, so errors are about twice those of bfloat16. Every
 * thread turns what it multiplies itself: what one core has written is slow for another to read. Numbers of channels
 * and filters are multiples of LANES.
 */
#ifndef TOYNET_WINOGRAD_H
#define TOYNET_WINOGRAD_H

#include "products.h"

typedef enum { SAME, HALVING, DOUBLING } kind;

enum { MOST_SIDE = 5, MOST_POINTS = 25, TAPS = 9, OUTPUTS = 4 };

/* By kind: pixels, points and results of one dimension, and how far apart those of neighbouring tiles are. */
static const int PIXELS[] = {4, 5, 3}, ACROSS[] = {4, 5, 5}, RESULTS[] = {2, 2, 4};
static const int PIXEL_STEP[] = {2, 4, 2};

/* Each point of pixels is one of them plus a multiple of another. */
static const int ONE[][MOST_SIDE] = {{0, 1, 2, 1}, {0, 2, 4, 1, 3}, {0, 1, 2, 1, 2}};
static const int OTHER[][MOST_SIDE] = {{2, 2, 1, 3}, {2, 0, 2, 0, 0}, {1, 0, 1, 0, 0}};
static const float SHARE[][MOST_SIDE] = {{-1, 1, -1, -1}, {-1, 0, -1, 0, 0}, {-1, 0, -1, 0, 0}};

/* Maps of height x width pixels and `channels`; results of tall x wide with `filters`. The first tile begins `top`
 * and `left` pixels outside the maps, and `over` and `before` outside the results. */
typedef struct {
    index images, height, width, channels, tall, wide, filters, top, left, over, before;
} geometry;

static const bf16 nothing[MOST_CHANNELS];

INLINE index rows_of(const geometry *g, kind k) { return (g->tall + g->over + RESULTS[k] - 1) / RESULTS[k]; }

INLINE index columns_of(const geometry *g, kind k) { return (g->wide + g->before + RESULTS[k] - 1) / RESULTS[k]; }

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

/* Where side x side places lie of which the first is at (row, column); `nothing` outside the map. */
INLINE void place(const bf16 *map, index height, index width, index channels, index row, index column, int side,
                  const bf16 **at) {
    if (row >= 0 && column >= 0 && row + side <= height && column + side <= width) {
        const bf16 *first = map + (row * width + column) * channels;
        for (int down = 0; down < side; down++, first += width * channels)
            for (int along = 0; along < side; along++) at[down * side + along] = first + along * channels;
        return;
    }
    for (int down = 0; down < side; down++)
        for (int along = 0; along < side; along++) {
            index y = row + down, x = column + along;
            int inside = y >= 0 && y < height && x >= 0 && x < width;
            at[down * side + along] = inside ? map + (y * width + x) * channels : nothing;
        }
}

INLINE void place_pixels(const bf16 *maps, const geometry *g, spot tile, kind k, const bf16 **at) {
    index row = tile.row * PIXEL_STEP[k] - g->top, column = tile.column * PIXEL_STEP[k] - g->left;
    const bf16 *map = maps + tile.image * g->height * g->width * g->channels;
    place(map, g->height, g->width, g->channels, row, column, PIXELS[k], at);
}

INLINE void place_results(const bf16 *maps, const geometry *g, spot tile, kind k, const bf16 **at) {
    index row = tile.row * RESULTS[k] - g->over, column = tile.column * RESULTS[k] - g->before;
    const bf16 *map = maps + tile.image * g->tall * g->wide * g->filters;
    place(map, g->tall, g->wide, g->filters, row, column, RESULTS[k], at);
}

/* one + share * other, for shares of -1, 0 and 1. */
INLINE lanes combined(lanes one, lanes other, float share) {
    return share == 0 ? one : share > 0 ? one + other : one - other;
}

INLINE void load_all(const bf16 *const *at, index channel, int count, lanes *found) {
#pragma GCC unroll 25
    for (int i = 0; i < count; i++) found[i] = load(at[i] + channel);
}

/* One line of points of pixels. */
INLINE void pixel_points(const lanes *pixels, int line, kind k, lanes *points) {
    lanes t[MOST_SIDE];
    const lanes *one = pixels + ONE[k][line] * PIXELS[k], *other = pixels + OTHER[k][line] * PIXELS[k];
#pragma GCC unroll 5
    for (int j = 0; j < PIXELS[k]; j++) t[j] = combined(one[j], other[j], SHARE[k][line]);
#pragma GCC unroll 5
    for (int j = 0; j < ACROSS[k]; j++) points[j] = combined(t[ONE[k][j]], t[OTHER[k][j]], SHARE[k][j]);
}

#endif
