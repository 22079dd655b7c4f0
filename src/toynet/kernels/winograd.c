/* Winograd's filtering: the convolution, and its gradient by the maps. See winograd.h. */
#include "winograd.h"

/* The most filters whose results are wanted before they are turned back, a multiple of VECTORS * LANES. */
enum { PANEL = 96 };

INLINE index panel_of(index filters) { return filters < PANEL ? filters : PANEL; }

/* Whether there is an instruction for products of words. */
int winograd_is_fast(void) {
#if defined FLOATS || defined __AVX512BF16__
    return 1;
#else
    return 0;
#endif
}

INLINE index kernel_room(const job *j) { return points_in_all(j->kind) * (j->g.filters * j->g.channels / PER_WORD); }

INLINE index thread_room(const job *j) {
    return points_in_all(j->kind) * (j->many * (j->g.channels / PER_WORD + panel_of(j->g.filters)) + 2 * LANES);
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

INLINE void filter_tiles(const number *x, const word *kernel, number *y, index aside, const geometry *g,
                         word *points, index start, index count, index many, kind k) {
    index channels = g->channels, filters = g->filters, steps = channels / PER_WORD;
    index rows = (count + ROWS - 1) / ROWS * ROWS;
    /* Arrays a power of two apart would lie in the same places of a cache. */
    index panel = panel_of(filters), apart = many * steps + LANES, far = many * panel + LANES;
    int lines = POINTS[DOWN[k]], across = POINTS[ALONG[k]], all = points_in_all(k);
    float *sums = (float *)(points + all * apart);
    const number *at[MOST_POINTS];
    spot here = spot_of(g, k, start);
    for (index tile = 0; tile < count; tile++, here = next_spot(g, k, here)) {
        place_pixels(x, g, here, k, at);
        ask_pixels(x, g, here, k);
        for (index channel = 0; channel < channels; channel += LANES) {
            lanes pixels[MOST_POINTS];
            load_all(at, channel, pixels_in_all(k), pixels);
#pragma GCC unroll 6
            for (int line = 0; line < lines; line++) {
                lanes found[MOST_SIDE];
                pixel_points(pixels, line, k, found);
#pragma GCC unroll 6
                for (int j = 0; j < across; j++)
                    store((number *)(points + (line * across + j) * apart + tile * steps) + channel, found[j]);
            }
        }
    }
    for (index first = 0; first < filters; first += panel) {
        index width = filters - first < panel ? filters - first : panel;
        for (index point = 0; point < all; point++) {
            left a = {points + point * apart, steps, 1};
            multiply(a, kernel + (point * filters + first) * steps, sums + point * far, rows, width, panel,
                     steps, steps * LANES);
        }
        here = spot_of(g, k, start);
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
    index tiles = tiles_of(g, j->kind), many = j->many;
    index aside = addend ? addend - y : 0;
    winograd_points(kernel, room, j);
#pragma omp parallel for num_threads(j->threads) schedule(dynamic)
    for (index start = 0; start < tiles; start += many) {
        index count = tiles - start < many ? tiles - start : many;
        word *own = room + kernel_room(j) + omp_get_thread_num() * thread_room(j);
        if (j->kind == SAME) filter_tiles(x, room, y, aside, g, own, start, count, many, SAME);
        else if (j->kind == HALVING) filter_tiles(x, room, y, aside, g, own, start, count, many, HALVING);
        else filter_tiles(x, room, y, aside, g, own, start, count, many, DOUBLING);
    }
}
