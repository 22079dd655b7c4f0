/* Winograd's filtering: the convolution, and its gradient by the maps. See winograd.h. */
#include "winograd.h"

/* Results that are wanted before they are turned back. */
enum { PANEL = 6 * LANES };

/* Whether there is an instruction for products of words. */
int winograd_is_fast(void) {
#ifdef __AVX512BF16__
    return 1;
#else
    return 0;
#endif
}

/* The words that `winograd_filter` wants for each thread, which takes `many` tiles at once. */
index winograd_filter_room(index channels, index many, index which) {
    return ACROSS[which] * ACROSS[which] * (many * (channels / 2 + PANEL) + 2 * LANES);
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
