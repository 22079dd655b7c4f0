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

/* All of them. */
INLINE void output_points(const lanes *r, way w, lanes *points) {
#pragma GCC unroll 6
    for (int point = 0; point < POINTS[w]; point++) points[point] = output_point(r, w, point);
}

/* One line of the points of the gradients by a tile's outputs down its columns, for LANES filters, and the next, if it
 * is `paired`. */
INLINE void output_line(const window *w, index filters, index filter, kind k, int line, lanes found[2][MOST_SIDE]) {
#pragma GCC unroll 4
    for (int j = 0; j < RESULTS[ALONG[k]]; j++, filter += filters) {
        lanes outputs[4];
        STEPWISE(filter);
        column_of(w, filter, j, RESULTS[DOWN[k]], outputs);
        found[0][j] = output_point(outputs, DOWN[k], line);
        if (paired(DOWN[k], line)) found[1][j] = output_point(outputs, DOWN[k], line + 1);
    }
}

/* What a word of points is made of: the pixels of one tile or two, as many as it holds numbers, or the gradients by their
 * outputs. */
typedef struct {
    window one, two;
    int gradients;
} source;

INLINE void line_of(const window *w, int gradients, index channels, index channel, kind k, int line,
                    lanes found[2][MOST_SIDE]) {
    if (gradients) output_line(w, channels, channel, k, line, found);
    else pixel_line(w, channels, channel, k, line, found);
}

INLINE void points_of(const lanes *line, int gradients, way w, lanes *points) {
    if (gradients) output_points(line, w, points);
    else pixel_points(line, w, points);
}

/* The points of one line, those from `begin` to `end`, from what lies down the columns of both tiles. */
INLINE void word_line(const lanes *one, const lanes *two, int gradients, index channels, index channel, index apart,
                      int line, int begin, int end, word *blocks, kind k) {
    lanes a[MOST_SIDE], b[MOST_SIDE];
    points_of(one, gradients, ALONG[k], a);
    points_of(PER_WORD > 1 ? two : one, gradients, ALONG[k], b);
#pragma GCC unroll 6
    for (int j = 0; j < POINTS[ALONG[k]]; j++) {
        int point = line * POINTS[ALONG[k]] + j;
        word *to = blocks + ((point - begin) * channels + channel) / LANES * apart;
        STEPWISE(to);
        if (point >= begin && point < end) store_words(to, a[j], b[j]);
    }
}

/* The points from `begin` to `end` of a source. */
INLINE void word_points(const source *s, index channels, index apart, int begin, int end, word *blocks, kind k) {
    int across = POINTS[ALONG[k]];
    for (index channel = 0; channel < channels; channel += LANES)
#pragma GCC unroll 6
        for (int line = 0; line < POINTS[DOWN[k]]; line++) {
            lanes one[2][MOST_SIDE], two[2][MOST_SIDE];
            int pair = paired(DOWN[k], line);
            if (second(DOWN[k], line) || line * across >= end || (line + 1 + pair) * across <= begin) continue;
            FORGET();
            line_of(&s->one, s->gradients, channels, channel, k, line, one);
            if (PER_WORD > 1) line_of(&s->two, s->gradients, channels, channel, k, line, two);
            word_line(one[0], two[0], s->gradients, channels, channel, apart, line, begin, end, blocks, k);
            if (pair)
                word_line(one[1], two[1], s->gradients, channels, channel, apart, line + 1, begin, end, blocks, k);
        }
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
        int alone = PER_WORD == 1 || 2 * step + 1 == count;
        spot next = alone ? here : next_spot(g, k, here);
        source of_pixels = {pixels_of(x, g, here, k), pixels_of(x, g, next, k), 0};
        ask_pixels(x, g, here, k);
        if (!alone) ask_pixels(x, g, next, k);
        word_points(&of_pixels, channels, apart, begin, end, pixels + step * LANES, k);
        source of_gradients = {outputs_of(dy, g, here, k), outputs_of(dy, g, next, k), 1};
        ask_results(dy, g, here, k);
        if (!alone) ask_results(dy, g, next, k);
        else of_gradients.two.end = 0; /* nothing is inside */
        word_points(&of_gradients, filters, apart, begin, end, gradients + step * LANES, k);
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
index winograd_kernel_gradient_room(const job *j) { return sums_room(j) + j->threads * thread_room(j); }

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
