/* Winograd's filtering: what becomes of the kernel, and the gradient by it. See winograd.h. */
#include "winograd.h"

/* Each point of gradients by two outputs is so much of the first and so much of the second. */
static const float FIRST[][MOST_SIDE] = {{1, 1, 1, 0}, {1, 1, 0, 1, 0}};
static const float SECOND[][MOST_SIDE] = {{0, 1, -1, -1}, {0, 1, 1, 0, 1}};

INLINE lanes combined_outputs(lanes first, lanes second, kind k, int point) {
    if (FIRST[k][point] != 0) return combined(first, second, SECOND[k][point]);
    return SECOND[k][point] > 0 ? second : -second;
}

/* One line of points of gradients by 2x2 outputs. */
INLINE void gradient_points(const bf16 *const *at, index filter, int line, kind k, lanes *points) {
    lanes t[2];
#pragma GCC unroll 2
    for (int j = 0; j < 2; j++) t[j] = combined_outputs(load(at[j] + filter), load(at[2 + j] + filter), k, line);
#pragma GCC unroll 5
    for (int j = 0; j < ACROSS[k]; j++) points[j] = combined_outputs(t[0], t[1], k, j);
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

/* The words that `winograd_kernel_sums` wants for each thread. */
index winograd_sums_room(index channels, index filters, index many, index sharing, index which) {
    index points = (ACROSS[which] * ACROSS[which] + sharing - 1) / sharing;
    return points * (many / 2 + 1) * (channels + filters);
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
