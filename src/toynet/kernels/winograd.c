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

/* The results of one tile for LANES filters, from sums that are `apart` floats from point to point; plus what lies
 * `aside` of their places, if that is not 0. */
INLINE void turn_back(const float *sums, index apart, number *const *at, index filter, index aside, kind k) {
    int across = POINTS[ALONG[k]], tall = RESULTS[DOWN[k]], wide = RESULTS[ALONG[k]];
    lanes t[MOST_SIDE][4];
#pragma GCC unroll 6
    for (int j = 0; j < across; j++) {
        lanes p[MOST_SIDE];
#pragma GCC unroll 6
        for (int i = 0; i < POINTS[DOWN[k]]; i++) p[i] = load_floats(sums + (i * across + j) * apart);
        results_of(p, DOWN[k], t[j]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < tall; i++) {
        lanes p[MOST_SIDE], results[4];
#pragma GCC unroll 6
        for (int j = 0; j < across; j++) p[j] = t[j][i];
        results_of(p, ALONG[k], results);
#pragma GCC unroll 4
        for (int j = 0; j < wide; j++) {
            number *to = at[i * wide + j] + filter;
            if (at[i * wide + j] != nothing) store(to, aside ? results[j] + load(to + aside) : results[j]);
        }
    }
}

/* The points of `count` tiles' pixels: by point, which are `apart` words from one another, tile and channel. */
INLINE void turn_pixels(const number *x, const geometry *g, index start, index count, word *points, index apart, kind k) {
    index channels = g->channels, steps = channels / PER_WORD;
    int across = POINTS[ALONG[k]];
    const number *at[MOST_POINTS];
    spot here = spot_of(g, k, start);
    for (index tile = 0; tile < count; tile++, here = next_spot(g, k, here)) {
        place_pixels(x, g, here, k, at);
        ask_pixels(x, g, here, k);
        for (index channel = 0; channel < channels; channel += LANES) {
            lanes pixels[MOST_POINTS];
            load_all(at, channel, pixels_in_all(k), pixels);
#pragma GCC unroll 6
            for (int line = 0; line < POINTS[DOWN[k]]; line++) {
                lanes found[MOST_SIDE];
                pixel_points(pixels, line, k, found);
#pragma GCC unroll 6
                for (int j = 0; j < across; j++)
                    store((number *)(points + (line * across + j) * apart + tile * steps) + channel, found[j]);
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
    const number *at[MOST_POINTS];
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
            place_results(y, g, here, k, at);
            ask_results(y, g, here, k);
            for (index filter = 0; filter < width; filter += LANES)
                turn_back(sums + tile * panel + filter, far, (number *const *)at, first + filter, aside, k);
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
