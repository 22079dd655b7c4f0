/* Winograd's filtering: the convolution, and its gradient by the maps. See winograd.h. */
#include "winograd.h"

/* The most filters whose results are wanted before they are turned back, a multiple of VECTORS * LANES; fewer where the
 * kernel is turned with them. */
enum { PANEL = 96, FRESH_PANEL = 48 };

INLINE index panel_of(const job *j) {
    index most = j->fresh ? FRESH_PANEL : PANEL;
    return j->g.filters < most ? j->g.filters : most;
}

/* Whether there is an instruction for products of words. */
int winograd_is_fast(void) {
#if defined FLOATS || defined __AVX512BF16__
    return 1;
#else
    return 0;
#endif
}

/* How far apart the points of so many filters are, in words. Were it a power of two, all would lie in the same places of
 * a cache. */
INLINE index kernel_apart(const job *j, index filters) { return filters * j->g.channels / PER_WORD + LINE_WORDS; }

INLINE index kernel_words(const job *j, index filters) { return points_in_all(j->kind) * kernel_apart(j, filters); }

INLINE index kernel_room(const job *j) { return j->fresh ? 0 : kernel_words(j, j->g.filters); }

INLINE index thread_room(const job *j) {
    index panel = panel_of(j), steps = j->g.channels / PER_WORD;
    return points_in_all(j->kind) * (j->many * (steps + panel) + 2 * LANES) + (j->fresh ? kernel_words(j, panel) : 0);
}

/* The words that `winograd_filter` wants. */
index winograd_filter_room(const job *j) { return kernel_room(j) + j->threads * thread_room(j); }

/* The results of one dimension. */
INLINE void results_of(const lanes *p, way w, lanes *results) {
    if (w == TWO) {
        results[0] = p[0] + p[1] + p[2];
        results[1] = p[1] - p[2] - p[3];
    } else if (w == FOUR) {
        lanes near = p[1] + p[2], skew = p[1] - p[2], far = p[3] + p[4], lean = p[3] - p[4];
        results[0] = p[0] + near + far;
        results[1] = skew * NEAR + lean * FAR;
        results[2] = near * NEAR2 + far * FAR2;
        results[3] = skew * (NEAR * NEAR2) + lean * (FAR * FAR2) + p[5];
    } else if (w == HALF) {
        results[0] = p[0] + p[1] + p[3];
        results[1] = p[1] + p[2] + p[4];
    } else {
        results[0] = p[0] + p[1];
        results[1] = p[3];
        results[2] = p[1] + p[2];
        results[3] = p[4];
    }
}

/* One line of a tile's results, to their places; plus what lies `aside` of these, if that is not 0. */
INLINE void put_line(const lanes *points, const window *w, int line, index filters, index filter, index aside, kind k) {
    if (w->row[line] == nothing) return;
    number *to = (number *)w->row[line] + filter;
    lanes results[4];
    results_of(points, ALONG[k], results);
#pragma GCC unroll 4
    for (int j = 0; j < RESULTS[ALONG[k]]; j++, to += filters)
        if (j >= w->first && j < w->end) store(to, aside ? results[j] + load(to + aside) : results[j]);
}

/* The results of one tile for LANES filters, from sums that are `apart` floats from point to point. Lines of the upper
 * half and the lower go in pairs, as FOUR's have most in common. */
INLINE void turn_back(const float *sums, index apart, const window *w, index filters, index filter, index aside,
                      kind k) {
    int across = POINTS[ALONG[k]], half = RESULTS[DOWN[k]] / 2;
#pragma GCC unroll 2
    for (int line = 0; line < half; line++) {
        lanes upper[MOST_SIDE], lower[MOST_SIDE];
        FORGET();
#pragma GCC unroll 6
        for (int j = 0; j < across; j++) {
            lanes points[MOST_SIDE], results[4];
            const float *from = sums + j * apart;
#pragma GCC unroll 6
            for (int i = 0; i < POINTS[DOWN[k]]; i++, from += across * apart) {
                STEPWISE(from);
                points[i] = load_floats(from);
            }
            results_of(points, DOWN[k], results);
            upper[j] = results[line];
            lower[j] = results[line + half];
        }
        put_line(upper, w, line, filters, filter, aside, k);
        put_line(lower, w, line + half, filters, filter, aside, k);
    }
}

/* One line of points of pixels, from those down the columns. */
INLINE void turn_line(const lanes *line, word *points, index channel, index apart, kind k) {
    lanes found[MOST_SIDE];
    pixel_points(line, ALONG[k], found);
#pragma GCC unroll 6
    for (int j = 0; j < POINTS[ALONG[k]]; j++, points += apart) {
        STEPWISE(points);
        store((number *)points + channel, found[j]);
    }
}

/* The points of `count` tiles' pixels: by point, which are `apart` words from one another, tile and channel. */
INLINE void turn_pixels(const number *x, const geometry *g, index start, index count, word *points, index apart, kind k) {
    index channels = g->channels, step = POINTS[ALONG[k]] * apart;
    spot here = spot_of(g, k, start);
    for (index tile = 0; tile < count; tile++, here = next_spot(g, k, here), points += channels / PER_WORD) {
        window w = pixels_of(x, g, here, k);
        ask_pixels(x, g, here, k);
        for (index channel = 0; channel < channels; channel += LANES) {
#pragma GCC unroll 6
            for (int line = 0; line < POINTS[DOWN[k]]; line++) {
                lanes found[2][MOST_SIDE];
                if (second(DOWN[k], line)) continue;
                FORGET();
                pixel_line(&w, channels, channel, k, line, found);
                turn_line(found[0], points + line * step, channel, apart, k);
                if (paired(DOWN[k], line)) turn_line(found[1], points + (line + 1) * step, channel, apart, k);
            }
        }
    }
}

/* The points of a kernel's filters from `first` to `end`. */
static void turn_kernel(const float *kernel, index first, index end, word *points, const job *j) {
    index steps = j->g.channels / PER_WORD, apart = kernel_apart(j, end - first);
    for (index filter = first; filter < end; filter += LANES)
        for (index channel = 0; channel < j->g.channels; channel += LANES)
            winograd_points(kernel, filter, channel, points + (filter - first) * steps + channel / PER_WORD * LANES,
                            apart, j);
}

/* The results of the filters from `begin` to `end` for `count` tiles. kernel: if it is not fresh, its points. */
INLINE void filter_tiles(const number *x, const void *kernel, number *y, index aside, const job *j, word *room,
                         index start, index count, index begin, index end, kind k) {
    const geometry *g = &j->g;
    index steps = g->channels / PER_WORD, rows = parts(count, ROWS) * ROWS;
    /* Arrays a power of two apart would lie in the same places of a cache. */
    index panel = panel_of(j), apart = j->many * steps + LANES, far = j->many * panel + LANES;
    int all = points_in_all(k);
    float *sums = (float *)(room + all * apart);
    word *fresh = (word *)(sums + all * far);
    turn_pixels(x, g, start, count, room, apart, k);
    for (index first = begin; first < end; first += panel) {
        index width = end - first < panel ? end - first : panel, held = kernel_apart(j, j->fresh ? width : g->filters);
        const word *blocks = j->fresh ? fresh : (const word *)kernel + first * steps;
        if (j->fresh) turn_kernel(kernel, first, first + width, fresh, j);
        for (int point = 0; point < all; point++) {
            left a = {room + point * apart, steps, 1};
            multiply(a, blocks + point * held, sums + point * far, rows, width, panel, steps, steps * LANES);
        }
        spot here = spot_of(g, k, start);
        for (index tile = 0; tile < count; tile++, here = next_spot(g, k, here)) {
            window w = outputs_of(y, g, here, k);
            ask_results(y, g, here, k);
            for (index filter = 0; filter < width; filter += LANES)
                turn_back(sums + tile * panel + filter, far, &w, g->filters, first + filter, aside, k);
        }
    }
}

/* y, the filtering of x with a kernel (filters, 3, 3, channels), or if that is reversed (channels, 3, 3, filters); plus
 * `addend`, which may be NULL. `many` is a multiple of ROWS. */
void winograd_filter(const number *x, const float *kernel, const number *addend, number *y, word *room, const job *j) {
    const geometry *g = &j->g;
    index tiles = tiles_of(g, j->kind), many = j->many, sharing = j->sharing, blocks = g->filters / LANES;
    index aside = addend ? addend - y : 0;
    const void *turned = j->fresh ? (const void *)kernel : room;
    if (!j->fresh) {
        index steps = g->channels / PER_WORD, across = g->channels / LANES;
#pragma omp parallel for num_threads(j->threads)
        for (index item = 0; item < blocks * across; item++) {
            index filter = item / across * LANES, channel = item % across * LANES;
            winograd_points(kernel, filter, channel, room + filter * steps + channel / PER_WORD * LANES,
                            kernel_apart(j, g->filters), j);
        }
    }
#pragma omp parallel for num_threads(j->threads) schedule(dynamic)
    for (index task = 0; task < parts(tiles, many) * sharing; task++) {
        index start = task / sharing * many, count = tiles - start < many ? tiles - start : many;
        index share = task % sharing, begin = blocks * share / sharing * LANES;
        index end = blocks * (share + 1) / sharing * LANES;
        word *own = room + kernel_room(j) + omp_get_thread_num() * thread_room(j);
        if (j->kind == SAME) filter_tiles(x, turned, y, aside, j, own, start, count, begin, end, SAME);
        else if (j->kind == HALVING) filter_tiles(x, turned, y, aside, j, own, start, count, begin, end, HALVING);
        else filter_tiles(x, turned, y, aside, j, own, start, count, begin, end, DOUBLING);
    }
}
