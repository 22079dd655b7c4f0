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
#include "products.h"

typedef enum { SAME, HALVING, DOUBLING } kind;

enum { MOST_SIDE = 5, MOST_POINTS = 25, TAPS = 9, OUTPUTS = 4 };
/* Results that are wanted before they are turned back. */
enum { PANEL = 6 * LANES };

/* By kind: pixels, points and results of one dimension, and how far apart those of neighbouring tiles are. */
static const int PIXELS[] = {4, 5, 3}, ACROSS[] = {4, 5, 5}, RESULTS[] = {2, 2, 4};
static const int PIXEL_STEP[] = {2, 4, 2};

/* Each point of pixels is one of them plus a multiple of another. */
static const int ONE[][MOST_SIDE] = {{0, 1, 2, 1}, {0, 2, 4, 1, 3}, {0, 1, 2, 1, 2}};
static const int OTHER[][MOST_SIDE] = {{2, 2, 1, 3}, {2, 0, 2, 0, 0}, {1, 0, 1, 0, 0}};
static const float SHARE[][MOST_SIDE] = {{-1, 1, -1, -1}, {-1, 0, -1, 0, 0}, {-1, 0, -1, 0, 0}};

/* Each point of gradients by two outputs is so much of the first and so much of the second. */
static const float FIRST[][MOST_SIDE] = {{1, 1, 1, 0}, {1, 1, 0, 1, 0}};
static const float SECOND[][MOST_SIDE] = {{0, 1, -1, -1}, {0, 1, 1, 0, 1}};

/* Maps of height x width pixels and `channels`; results of tall x wide with `filters`. The first tile begins `top`
 * and `left` pixels outside the maps, and `over` and `before` outside the results. */
typedef struct {
    index images, height, width, channels, tall, wide, filters, top, left, over, before;
} geometry;

static const bf16 nothing[MOST_CHANNELS];

/* Whether there is an instruction for products of words. */
int winograd_is_fast(void) {
#ifdef __AVX512BF16__
    return 1;
#else
    return 0;
#endif
}

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

INLINE lanes combined_outputs(lanes first, lanes second, kind k, int point) {
    if (FIRST[k][point] != 0) return combined(first, second, SECOND[k][point]);
    return SECOND[k][point] > 0 ? second : -second;
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

/* One line of points of gradients by 2x2 outputs. */
INLINE void gradient_points(const bf16 *const *at, index filter, int line, kind k, lanes *points) {
    lanes t[2];
#pragma GCC unroll 2
    for (int j = 0; j < 2; j++) t[j] = combined_outputs(load(at[j] + filter), load(at[2 + j] + filter), k, line);
#pragma GCC unroll 5
    for (int j = 0; j < ACROSS[k]; j++) points[j] = combined_outputs(t[0], t[1], k, j);
}

INLINE void results_of(const lanes *p, kind k, lanes *results) {
    if (k == SAME) {
        results[0] = p[0] + p[1] + p[2];
        results[1] = p[1] - p[2] - p[3];
    } else if (k == HALVING) {
        results[0] = p[0] + p[1] + p[3];
        results[1] = p[1] + p[2] + p[4];
    } else {
        results[0] = p[0] + p[1];
        results[1] = p[3];
        results[2] = p[1] + p[2];
        results[3] = p[4];
    }
}

/* The results of one tile for LANES filters, from sums that are `apart` floats from point to point. */
INLINE void turn_back(const float *sums, index apart, bf16 *const *at, index filter, kind k) {
    int across = ACROSS[k], count = RESULTS[k];
    lanes t[MOST_SIDE][4];
#pragma GCC unroll 5
    for (int j = 0; j < across; j++) {
        lanes p[MOST_SIDE];
#pragma GCC unroll 5
        for (int i = 0; i < across; i++) p[i] = load_floats(sums + (i * across + j) * apart);
        results_of(p, k, t[j]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < count; i++) {
        lanes p[MOST_SIDE], results[4];
#pragma GCC unroll 5
        for (int j = 0; j < across; j++) p[j] = t[j][i];
        results_of(p, k, results);
#pragma GCC unroll 4
        for (int j = 0; j < count; j++)
            if (at[i * count + j] != nothing) store(at[i * count + j] + filter, results[j]);
    }
}

INLINE void filter_tiles(const bf16 *x, const uint32_t *kernel, bf16 *y, const geometry *g, uint32_t *points,
                         index start, index count, index many, kind k) {
    index channels = g->channels, filters = g->filters, steps = channels / 2;
    index rows = (count + ROWS - 1) / ROWS * ROWS;
    /* Arrays a power of two apart would lie in the same places of a cache. */
    index apart = many * steps + LANES, far = many * PANEL + LANES;
    int across = ACROSS[k], all = across * across;
    float *sums = (float *)(points + all * apart);
    const bf16 *at[MOST_POINTS];
    spot here = spot_of(g, k, start);
    for (index tile = 0; tile < count; tile++, here = next_spot(g, k, here)) {
        place_pixels(x, g, here, k, at);
        for (index channel = 0; channel < channels; channel += LANES) {
            lanes pixels[MOST_POINTS];
            load_all(at, channel, PIXELS[k] * PIXELS[k], pixels);
#pragma GCC unroll 5
            for (int line = 0; line < across; line++) {
                lanes found[MOST_SIDE];
                pixel_points(pixels, line, k, found);
#pragma GCC unroll 5
                for (int j = 0; j < across; j++)
                    store((bf16 *)(points + (line * across + j) * apart + tile * steps) + channel, found[j]);
            }
        }
    }
    for (index first = 0; first < filters; first += PANEL) {
        index width = filters - first < PANEL ? filters - first : PANEL;
        for (index point = 0; point < all; point++) {
            left a = {points + point * apart, steps, 1};
            multiply(a, kernel + (point * filters + first) * steps, sums + point * far, rows, width, PANEL,
                     steps, steps * LANES);
        }
        here = spot_of(g, k, start);
        for (index tile = 0; tile < count; tile++, here = next_spot(g, k, here)) {
            place_results(y, g, here, k, at);
            for (index filter = 0; filter < width; filter += LANES)
                turn_back(sums + tile * PANEL + filter, far, (bf16 *const *)at, first + filter, k);
        }
    }
}

/* y, the filtering of x with the points of a kernel (for each point, blocks of filters by pairs of channels).
 * room: for each thread, `size` words; a thread takes `many` tiles at once, a multiple of ROWS. */
void winograd_filter(const bf16 *x, const uint32_t *kernel, bf16 *y, const geometry *g, uint32_t *room, index size,
                     index many, int which, int threads) {
    index tiles = tiles_of(g, which);
#pragma omp parallel for num_threads(threads) schedule(dynamic)
    for (index start = 0; start < tiles; start += many) {
        index count = tiles - start < many ? tiles - start : many;
        uint32_t *own = room + omp_get_thread_num() * size;
        if (which == SAME) filter_tiles(x, kernel, y, g, own, start, count, many, SAME);
        else if (which == HALVING) filter_tiles(x, kernel, y, g, own, start, count, many, HALVING);
        else filter_tiles(x, kernel, y, g, own, start, count, many, DOUBLING);
    }
}

/* The points of one line, those from `begin` to `end`, of two tiles' pixels or of the gradients by their outputs. */
INLINE void pair_line(const bf16 *const *one, const bf16 *const *two, index channels, index apart, int begin, int end,
                      uint32_t *blocks, int line, kind k, int gradients) {
    for (index channel = 0; channel < channels; channel += LANES) {
        lanes a[MOST_SIDE], b[MOST_SIDE];
        if (gradients) {
            gradient_points(one, channel, line, k, a);
            gradient_points(two, channel, line, k, b);
        } else {
            lanes pixels[MOST_POINTS];
            load_all(one, channel, PIXELS[k] * PIXELS[k], pixels);
            pixel_points(pixels, line, k, a);
            load_all(two, channel, PIXELS[k] * PIXELS[k], pixels);
            pixel_points(pixels, line, k, b);
        }
#pragma GCC unroll 5
        for (int j = 0; j < ACROSS[k]; j++) {
            int point = line * ACROSS[k] + j;
            if (point >= begin && point < end)
                store_paired(blocks + ((point - begin) * channels + channel) / LANES * apart, a[j], b[j]);
        }
    }
}

/* All lines, each of which has additions of its own. */
INLINE void pair_points(const bf16 *const *one, const bf16 *const *two, index channels, index apart, int begin, int end,
                        uint32_t *blocks, kind k, int gradients) {
#pragma GCC unroll 5
    for (int line = 0; line < ACROSS[k]; line++)
        if (line * ACROSS[k] < end && (line + 1) * ACROSS[k] > begin)
            pair_line(one, two, channels, apart, begin, end, blocks, line, k, gradients);
}

/* The products of the points from `begin` to `end` for the tiles from `start` on, added to `sums` if they are not the
 * `first`. */
INLINE void sum_tiles(const bf16 *x, const bf16 *dy, float *sums, const geometry *g, uint32_t *pixels, index start,
                      index count, index many, int first, int begin, int end, kind k) {
    index channels = g->channels, filters = g->filters, pairs = (count + 1) / 2, apart = (many / 2 + 1) * LANES;
    uint32_t *gradients = pixels + (end - begin) * channels / LANES * apart;
    spot here = spot_of(g, k, start);
    for (index step = 0; step < pairs; step++) {
        const bf16 *one[MOST_POINTS], *two[MOST_POINTS];
        int alone = 2 * step + 1 == count;
        spot next = alone ? here : next_spot(g, k, here);
        place_pixels(x, g, here, k, one);
        place_pixels(x, g, next, k, two);
        pair_points(one, two, channels, apart, begin, end, pixels + step * LANES, k, 0);
        place_results(dy, g, here, k, one);
        place_results(dy, g, next, k, two);
        for (int output = 0; alone && output < OUTPUTS; output++) two[output] = nothing;
        pair_points(one, two, filters, apart, begin, end, gradients + step * LANES, k, 1);
        here = next_spot(g, k, next);
    }
    for (int point = 0; point < end - begin; point++)
        for (index filter = 0; filter < filters; filter += LANES) {
            left a = {gradients + (point * filters + filter) / LANES * apart, 1, LANES};
            (first ? multiply : multiply_add)(a, pixels + point * channels / LANES * apart,
                                              sums + (point * filters + filter) * channels, LANES, channels, channels,
                                              pairs, apart);
        }
}

/* The sums over tiles of products of points, by point, filter and channel, from x and `dy`, the gradient by its
 * outputs. `sharing` threads each take some points of the same tiles; each group of so many threads has sums of its
 * own, and at least one tile. room: for each thread, `size` words; a thread takes `many` tiles at once, an even number. */
void winograd_kernel_sums(const bf16 *x, const bf16 *dy, float *sums, const geometry *g, uint32_t *room, index size,
                          index many, int sharing, int which, int threads) {
    int points = ACROSS[which] * ACROSS[which];
    index tiles = tiles_of(g, which), groups = threads / sharing;
#pragma omp parallel for num_threads(threads) schedule(static, 1)
    for (index share = 0; share < threads; share++) { /* not by thread: there may be fewer than asked for */
        index group = share / sharing, origin = tiles * group / groups, last = tiles * (group + 1) / groups;
        int mine = (int)(share % sharing), begin = points * mine / sharing, end = points * (mine + 1) / sharing;
        float *own = sums + (group * points + begin) * g->filters * g->channels;
        for (index start = origin; start < last; start += many) {
            index count = last - start < many ? last - start : many;
            uint32_t *free = room + share * size;
            if (which == SAME) sum_tiles(x, dy, own, g, free, start, count, many, start == origin, begin, end, SAME);
            else sum_tiles(x, dy, own, g, free, start, count, many, start == origin, begin, end, HALVING);
        }
    }
}

/* Points of three taps that are `apart` vectors from one another. */
INLINE void tap_points(const lanes *taps, int apart, kind k, lanes *points) {
    lanes first = taps[0], middle = taps[apart], last = taps[2 * apart];
    points[0] = first;
    if (k == SAME) {
        points[1] = (first + middle + last) * 0.5f;
        points[2] = (first - middle + last) * 0.5f;
        points[3] = last;
    } else {
        points[1] = first + last;
        points[2] = last;
        points[3] = points[4] = middle;
    }
}

/* Points of a kernel from its 3x3 taps, each for LANES channels. */
INLINE void kernel_points(const lanes *taps, kind k, lanes *points) {
    lanes t[3][MOST_SIDE];
    for (int j = 0; j < 3; j++) tap_points(taps + j, 3, k, t[j]);
    for (int i = 0; i < ACROSS[k]; i++) {
        lanes line[3] = {t[0][i], t[1][i], t[2][i]};
        tap_points(line, 1, k, points + i * ACROSS[k]);
    }
}

/* kernel (filters, 3, 3, channels) -> for each point, blocks of filters by pairs of channels. */
void winograd_kernel(const float *kernel, uint32_t *points, index channels, index filters, int which, int threads) {
    index across = channels / LANES, steps = channels / 2;
    int count = ACROSS[which] * ACROSS[which];
#pragma omp parallel for num_threads(threads)
    for (index item = 0; item < filters / LANES * across; item++) {
        index first = item / across * LANES, channel = item % across * LANES;
        uint32_t found[MOST_POINTS][LANES][LANES / 2];
        for (index filter = 0; filter < LANES; filter++) {
            lanes taps[TAPS], turned[MOST_POINTS];
            for (int tap = 0; tap < TAPS; tap++)
                taps[tap] = load_floats(kernel + ((first + filter) * TAPS + tap) * channels + channel);
            if (which == SAME) kernel_points(taps, SAME, turned);
            else kernel_points(taps, HALVING, turned);
            for (int point = 0; point < count; point++) store((bf16 *)found[point][filter], turned[point]);
        }
        for (int point = 0; point < count; point++) {
            uint32_t *to = points + (point * filters + first) * steps + channel / 2 * LANES;
            for (index pair = 0; pair < LANES / 2; pair++)
                for (index filter = 0; filter < LANES; filter++) to[pair * LANES + filter] = found[point][filter][pair];
        }
    }
}

/* The same for the gradient by the maps: taps in reverse, blocks of channels by pairs of filters. */
void winograd_kernel_reversed(const float *kernel, uint32_t *points, index channels, index filters, int which,
                              int threads) {
    index steps = filters / 2;
    int count = ACROSS[which] * ACROSS[which];
#pragma omp parallel for num_threads(threads)
    for (index pair = 0; pair < steps; pair++)
        for (index channel = 0; channel < channels; channel += LANES) {
            lanes found[2][MOST_POINTS];
            for (int one = 0; one < 2; one++) {
                lanes taps[TAPS];
                for (int tap = 0; tap < TAPS; tap++)
                    taps[TAPS - 1 - tap] = load_floats(kernel + ((2 * pair + one) * TAPS + tap) * channels + channel);
                if (which == SAME) kernel_points(taps, SAME, found[one]);
                else kernel_points(taps, HALVING, found[one]);
            }
            for (int point = 0; point < count; point++)
                store_paired(points + (point * channels + channel) * steps + pair * LANES, found[0][point],
                             found[1][point]);
        }
}

/* The gradient by three taps from that by their points. */
INLINE void taps_of(const lanes *p, kind k, lanes *taps) {
    if (k == SAME) {
        lanes both = (p[1] + p[2]) * 0.5f;
        taps[0] = p[0] + both;
        taps[1] = (p[1] - p[2]) * 0.5f;
        taps[2] = both + p[3];
    } else {
        taps[0] = p[0] + p[1];
        taps[1] = p[3] + p[4];
        taps[2] = p[1] + p[2];
    }
}

INLINE void kernel_taps(const lanes *points, kind k, lanes *taps) {
    lanes t[MOST_SIDE][3];
    for (int i = 0; i < ACROSS[k]; i++) taps_of(points + i * ACROSS[k], k, t[i]);
    for (int j = 0; j < 3; j++) {
        lanes column[MOST_SIDE], found[3];
        for (int i = 0; i < ACROSS[k]; i++) column[i] = t[i][j];
        taps_of(column, k, found);
        for (int i = 0; i < 3; i++) taps[i * 3 + j] = found[i];
    }
}

/* The gradient by the kernel (filters, 3, 3, channels) from the sums of `winograd_kernel_sums`, of all groups. */
void winograd_kernel_gradient(const float *sums, index groups, float *gradient, index channels, index filters,
                              int which, int threads) {
    int count = ACROSS[which] * ACROSS[which];
#pragma omp parallel for num_threads(threads)
    for (index filter = 0; filter < filters; filter++)
        for (index channel = 0; channel < channels; channel += LANES) {
            lanes points[MOST_POINTS], taps[TAPS];
            for (int point = 0; point < count; point++) {
                const float *from = sums + (point * filters + filter) * channels + channel;
                points[point] = load_floats(from);
                for (index group = 1; group < groups; group++)
                    points[point] += load_floats(from + group * count * filters * channels);
            }
            if (which == SAME) kernel_taps(points, SAME, taps);
            else kernel_taps(points, HALVING, taps);
            for (int tap = 0; tap < TAPS; tap++)
                memcpy(gradient + (filter * TAPS + tap) * channels + channel, &taps[tap], sizeof taps[tap]);
        }
}
