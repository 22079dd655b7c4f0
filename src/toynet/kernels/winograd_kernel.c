/* Winograd's filtering: what becomes of the kernel, and the gradient by it. See winograd.h. */
#include "winograd.h"

/* But for FOUR, each point of gradients by two outputs is so much of the first and so much of the second. */
static const float FIRST[][MOST_SIDE] = {{1, 1, 1, 0}, {0}, {1, 1, 0, 1, 0}};
static const float SECOND[][MOST_SIDE] = {{0, 1, -1, -1}, {0}, {0, 1, 1, 0, 1}};

/* One point of gradients by outputs of one dimension. */
INLINE lanes output_point(const lanes *r, way w, int point) {
    if (w != FOUR && FIRST[w][point] != 0) return combined(r[0], r[1], SECOND[w][point]);
    if (w != FOUR) return SECOND[w][point] > 0 ? r[1] : -r[1];
    if (point == 0) return r[0];
    if (point == 5) return r[3];
    float value = point < 3 ? NEAR : FAR, square = point < 3 ? NEAR2 : FAR2;
    return with_sign(r[0] + r[2] * square, r[1] * value + r[3] * (value * square), point);
}

/* One line of points of gradients by outputs. */
INLINE void gradient_points(const number *const *at, index filter, int line, kind k, lanes *points) {
    lanes t[4];
    way along = ALONG[k];
    int wide = RESULTS[along];
#pragma GCC unroll 4
    for (int j = 0; j < wide; j++) {
        lanes column[4];
#pragma GCC unroll 4
        for (int i = 0; i < RESULTS[DOWN[k]]; i++) column[i] = load(at[i * wide + j] + filter);
        t[j] = output_point(column, DOWN[k], line);
    }
#pragma GCC unroll 6
    for (int j = 0; j < POINTS[along]; j++) points[j] = output_point(t, along, j);
}

/* The points of one line, those from `begin` to `end`, of two tiles' pixels or of the gradients by their outputs. */
INLINE void pair_line(const number *const *one, const number *const *two, index channels, index apart, int begin,
                      int end, word *blocks, int line, kind k, int gradients) {
    for (index channel = 0; channel < channels; channel += LANES) {
        lanes a[MOST_SIDE], b[MOST_SIDE];
        if (gradients) {
            gradient_points(one, channel, line, k, a);
            gradient_points(two, channel, line, k, b);
        } else {
            lanes pixels[MOST_POINTS];
            load_all(one, channel, pixels_in_all(k), pixels);
            pixel_points(pixels, line, k, a);
            load_all(two, channel, pixels_in_all(k), pixels);
            pixel_points(pixels, line, k, b);
        }
#pragma GCC unroll 6
        for (int j = 0; j < POINTS[ALONG[k]]; j++) {
            int point = line * POINTS[ALONG[k]] + j;
            if (point >= begin && point < end)
                store_words(blocks + ((point - begin) * channels + channel) / LANES * apart, a[j], b[j]);
        }
    }
}

/* All lines, each of which has additions of its own. */
INLINE void pair_points(const number *const *one, const number *const *two, index channels, index apart, int begin,
                        int end, word *blocks, kind k, int gradients) {
#pragma GCC unroll 6
    for (int line = 0; line < POINTS[DOWN[k]]; line++)
        if (line * POINTS[ALONG[k]] < end && (line + 1) * POINTS[ALONG[k]] > begin)
            pair_line(one, two, channels, apart, begin, end, blocks, line, k, gradients);
}

/* The products of the points from `begin` to `end` for the tiles from `start` on, added to `sums` if they are not the
 * `first`. */
INLINE void sum_tiles(const number *x, const number *dy, float *sums, const geometry *g, word *pixels, index start,
                      index count, index many, int first, int begin, int end, kind k) {
    index channels = g->channels, filters = g->filters, steps = parts(count, PER_WORD);
    index apart = (many / PER_WORD + 1) * LANES;
    word *gradients = pixels + (end - begin) * channels / LANES * apart;
    spot here = spot_of(g, k, start);
    for (index step = 0; step < steps; step++) {
        const number *one[MOST_POINTS], *two[MOST_POINTS];
        int alone = PER_WORD == 1 || 2 * step + 1 == count;
        spot next = alone ? here : next_spot(g, k, here);
        place_pixels(x, g, here, k, one);
        place_pixels(x, g, next, k, two);
        ask_pixels(x, g, here, k);
        if (!alone) ask_pixels(x, g, next, k);
        pair_points(one, two, channels, apart, begin, end, pixels + step * LANES, k, 0);
        place_results(dy, g, here, k, one);
        place_results(dy, g, next, k, two);
        ask_results(dy, g, here, k);
        if (!alone) ask_results(dy, g, next, k);
        for (int output = 0; alone && output < MOST_OUTPUTS; output++) two[output] = nothing;
        pair_points(one, two, filters, apart, begin, end, gradients + step * LANES, k, 1);
        here = next_spot(g, k, next);
    }
    for (int point = 0; point < end - begin; point++)
        for (index filter = 0; filter < filters; filter += LANES) {
            left a = {gradients + (point * filters + filter) / LANES * apart, 1, LANES};
            (first ? multiply : multiply_add)(a, pixels + point * channels / LANES * apart,
                                              sums + (point * filters + filter) * channels, LANES, channels, channels,
                                              steps, apart);
        }
}

INLINE index sums_room(const job *j) {
    return j->threads / j->sharing * points_in_all(j->kind) * j->g.filters * j->g.channels;
}

INLINE index thread_room(const job *j) {
    return parts(points_in_all(j->kind), j->sharing) * (j->many / PER_WORD + 1) * (j->g.channels + j->g.filters);
}

/* The words that `winograd_kernel_gradient` wants. */
index winograd_gradient_room(const job *j) { return sums_room(j) + j->threads * thread_room(j); }

/* The sums over tiles of products of points, by point, filter and channel. Each group of threads that share tiles has
 * sums of its own, and at least one tile. */
static void sum_points(const number *x, const number *dy, float *sums, word *room, const job *j) {
    const geometry *g = &j->g;
    int points = points_in_all(j->kind);
    index tiles = tiles_of(g, j->kind), sharing = j->sharing, groups = j->threads / sharing, many = j->many;
#pragma omp parallel for num_threads(j->threads) schedule(static, 1)
    for (index share = 0; share < j->threads; share++) { /* not by thread: there may be fewer than asked for */
        index group = share / sharing, origin = tiles * group / groups, last = tiles * (group + 1) / groups;
        int mine = (int)(share % sharing), begin = points * mine / sharing, end = points * (mine + 1) / sharing;
        float *own = sums + (group * points + begin) * g->filters * g->channels;
        word *free = room + share * thread_room(j);
        for (index start = origin; start < last; start += many) {
            index count = last - start < many ? last - start : many;
            int first = start == origin;
            if (j->kind == SAME) sum_tiles(x, dy, own, g, free, start, count, many, first, begin, end, SAME);
            else sum_tiles(x, dy, own, g, free, start, count, many, first, begin, end, HALVING);
        }
    }
}

/* By NEAR and FAR: what divides the values of a kernel there, as those of the pixels are not. */
static const float NEAR_PART = 0.5f / (0.4225f * (0.4225f - 1 / 0.4225f));
static const float FAR_PART = 0.5f / (1 / 0.4225f * (1 / 0.4225f - 0.4225f));

/* Points of three taps that are `apart` vectors from one another. */
INLINE void tap_points(const lanes *taps, int apart, way w, lanes *points) {
    lanes first = taps[0], middle = taps[apart], last = taps[2 * apart];
    points[0] = first;
    if (w == TWO) {
        points[1] = (first + middle + last) * 0.5f;
        points[2] = (first - middle + last) * 0.5f;
        points[3] = last;
    } else if (w == FOUR) {
        lanes even = (first + last * NEAR2) * NEAR_PART, odd = middle * (NEAR * NEAR_PART);
        lanes flat = (first + last * FAR2) * FAR_PART, steep = middle * (FAR * FAR_PART);
        points[1] = even + odd;
        points[2] = even - odd;
        points[3] = flat + steep;
        points[4] = flat - steep;
        points[5] = last;
    } else {
        points[1] = first + last;
        points[2] = last;
        points[3] = points[4] = middle;
    }
}

/* Points of a kernel from its 3x3 taps, each for LANES channels. */
INLINE void kernel_points(const lanes *taps, kind k, lanes *points) {
    lanes t[3][MOST_SIDE];
#pragma GCC unroll 3
    for (int j = 0; j < 3; j++) tap_points(taps + j, 3, DOWN[k], t[j]);
#pragma GCC unroll 6
    for (int i = 0; i < POINTS[DOWN[k]]; i++) {
        lanes line[3] = {t[0][i], t[1][i], t[2][i]};
        tap_points(line, 1, ALONG[k], points + i * POINTS[ALONG[k]]);
    }
}

/* Taps of a kernel, for LANES channels by LANES filters. */
typedef float block[LANES][TAPS][LANES];

/* Of a kernel (filters, 3, 3, channels), from this filter and channel on. */
INLINE void straight_taps(const float *kernel, index channels, index filter, index channel, block taps) {
    for (index one = 0; one < LANES; one++)
        for (index tap = 0; tap < TAPS; tap++) {
            const float *from = kernel + ((filter + one) * TAPS + tap) * channels + channel;
            for (index other = 0; other < LANES; other++) taps[other][tap][one] = from[other];
        }
}

/* Of a kernel (channels, 3, 3, filters), in reverse. */
INLINE void reversed_taps(const float *kernel, index filters, index filter, index channel, block taps) {
    for (index one = 0; one < LANES; one++)
        for (index tap = 0; tap < TAPS; tap++) {
            const float *from = kernel + ((channel + one) * TAPS + tap) * filters + filter;
            memcpy(taps[one][TAPS - 1 - tap], from, sizeof taps[one][tap]);
        }
}

/* The points by one channel's taps. */
INLINE void channel_points(const float taps[TAPS][LANES], kind k, lanes *points) {
    lanes t[TAPS];
    for (int tap = 0; tap < TAPS; tap++) t[tap] = load_floats(taps[tap]);
    kernel_points(t, k, points);
}

INLINE void block_points(block taps, word *points, index apart, kind k) {
    for (index one = 0; one < LANES; one += PER_WORD, points += LANES) {
        lanes first[MOST_POINTS], second[MOST_POINTS];
        channel_points(taps[one], k, first);
        channel_points(taps[one + PER_WORD - 1], k, second);
        for (int point = 0; point < points_in_all(k); point++)
            store_words(points + point * apart, first[point], second[point]);
    }
}

void winograd_points(const float *kernel, index filter, index channel, word *points, index apart, const job *j) {
    block taps;
    if (j->reversed) reversed_taps(kernel, j->g.filters, filter, channel, taps);
    else straight_taps(kernel, j->g.channels, filter, channel, taps);
    if (j->kind == SAME) block_points(taps, points, apart, SAME);
    else if (j->kind == HALVING) block_points(taps, points, apart, HALVING);
    else block_points(taps, points, apart, DOUBLING);
}

/* The gradient by three taps from that by their points. */
INLINE void taps_of(const lanes *p, way w, lanes *taps) {
    if (w == TWO) {
        lanes both = (p[1] + p[2]) * 0.5f;
        taps[0] = p[0] + both;
        taps[1] = (p[1] - p[2]) * 0.5f;
        taps[2] = both + p[3];
    } else if (w == FOUR) {
        lanes near = (p[1] + p[2]) * NEAR_PART, far = (p[3] + p[4]) * FAR_PART;
        taps[0] = p[0] + near + far;
        taps[1] = (p[1] - p[2]) * (NEAR * NEAR_PART) + (p[3] - p[4]) * (FAR * FAR_PART);
        taps[2] = near * NEAR2 + far * FAR2 + p[5];
    } else {
        taps[0] = p[0] + p[1];
        taps[1] = p[3] + p[4];
        taps[2] = p[1] + p[2];
    }
}

INLINE void kernel_taps(const lanes *points, kind k, lanes *taps) {
    lanes t[MOST_SIDE][3];
#pragma GCC unroll 6
    for (int i = 0; i < POINTS[DOWN[k]]; i++) taps_of(points + i * POINTS[ALONG[k]], ALONG[k], t[i]);
#pragma GCC unroll 3
    for (int j = 0; j < 3; j++) {
        lanes column[MOST_SIDE], found[3];
#pragma GCC unroll 6
        for (int i = 0; i < POINTS[DOWN[k]]; i++) column[i] = t[i][j];
        taps_of(column, DOWN[k], found);
#pragma GCC unroll 3
        for (int i = 0; i < 3; i++) taps[i * 3 + j] = found[i];
    }
}

/* The gradient by the kernel (filters, 3, 3, channels) from x and `dy`, that by the outputs. `many` is even. */
void winograd_kernel_gradient(const number *x, const number *dy, float *gradient, word *room, const job *j) {
    index channels = j->g.channels, filters = j->g.filters, groups = j->threads / j->sharing;
    int count = points_in_all(j->kind);
    float *sums = (float *)room;
    sum_points(x, dy, sums, room + sums_room(j), j);
#pragma omp parallel for num_threads(j->threads)
    for (index filter = 0; filter < filters; filter++)
        for (index channel = 0; channel < channels; channel += LANES) {
            lanes points[MOST_POINTS], taps[TAPS];
            for (int point = 0; point < count; point++) {
                const float *from = sums + (point * filters + filter) * channels + channel;
                points[point] = load_floats(from);
                for (index group = 1; group < groups; group++)
                    points[point] += load_floats(from + group * count * filters * channels);
            }
            if (j->kind == SAME) kernel_taps(points, SAME, taps);
            else kernel_taps(points, HALVING, taps);
            for (int tap = 0; tap < TAPS; tap++)
                memcpy(gradient + (filter * TAPS + tap) * channels + channel, &taps[tap], sizeof taps[tap]);
        }
}
