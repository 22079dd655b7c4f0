/* 3x3 convolutions at stride 1 and their gradients by Winograd's minimal filtering, F(2x2, 3x3), on bfloat16 maps
 * in channels-last order. Source: Lavin and Gray 2015, "Fast algorithms for convolutional neural networks".
 *
 * Outputs are taken in tiles of 2x2. Tile and kernel are each turned into 16 points, with additions only; the
 * points are multiplied, channel by channel, in 16 matrix products; and the sums are turned back into outputs. That is
 * 16 multiplications for 4 outputs, where the convolution itself has 36. The gradient by the maps is a convolution
 * with the kernel turned round; that by the kernel has the products of both tiles' points, summed over the tiles.
 *
 * Points are rounded to bfloat16, everything else is float, so errors are about twice those of bfloat16. Every
 * thread turns the tiles that it multiplies itself: what one core has written is slow for another to read.
 *
 * A word is two bfloat16 numbers, of neighbouring places in the sum that the product takes. Numbers of channels and
 * filters are multiples of LANES. "Blocks" are arrays [count / LANES][steps][LANES] of words.
 */
#include "bf16.h"

#ifdef __AVX512BF16__
#include <immintrin.h>
#endif

enum { LANES = 16, POINTS = 16, LINE = 4, OUTPUTS = 4, TAPS = 9 };
/* A part of a product that the registers hold, and how many results are wanted before they are turned back. */
enum { ROWS = 8, VECTORS = 3, PANEL = 6 * LANES };

typedef float lanes __attribute__((vector_size(64)));
typedef uint32_t words __attribute__((vector_size(64)));
typedef uint16_t halves __attribute__((vector_size(32)));

typedef struct {
    index images, height, width, channels, filters;
} convolution;

static const bf16 nothing[MOST_CHANNELS];

INLINE lanes load(const bf16 *from) {
#ifdef __AVX512BF16__
    return (lanes)_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)from)), 16);
#else
    halves bits;
    memcpy(&bits, from, sizeof bits);
    return (lanes)(__builtin_convertvector(bits, words) << 16);
#endif
}

INLINE lanes load_floats(const float *from) {
    lanes result;
    memcpy(&result, from, sizeof result);
    return result;
}

/* To the nearest bfloat16, ties to even, in the upper half of each word. */
INLINE words rounded(lanes value) {
    words bits = (words)value;
    return bits + 0x7fffu + ((bits >> 16) & 1u);
}

INLINE void store(bf16 *to, lanes value) {
#ifdef __AVX512BF16__
    _mm256_storeu_si256((__m256i *)to, (__m256i)_mm512_cvtneps_pbh((__m512)value));
#else
    halves bits = __builtin_convertvector(rounded(value) >> 16, halves);
    memcpy(to, &bits, sizeof bits);
#endif
}

INLINE void store_paired(uint32_t *to, lanes first, lanes second) {
#ifdef __AVX512BF16__
    static const uint16_t order[2 * LANES] = {0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
                                              8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
    __m512i both = (__m512i)_mm512_cvtne2ps_pbh((__m512)second, (__m512)first);
    _mm512_storeu_si512(to, _mm512_permutexvar_epi16(_mm512_loadu_si512(order), both));
#else
    words both = rounded(first) >> 16 | (rounded(second) & 0xffff0000u);
    memcpy(to, &both, sizeof both);
#endif
}

/* sum + the products of both numbers in each word. */
INLINE lanes dotted(lanes sum, words a, words b) {
#ifdef __AVX512BF16__
    return (lanes)_mm512_dpbf16_ps((__m512)sum, (__m512bh)a, (__m512bh)b);
#else
    return sum + (lanes)(a << 16) * (lanes)(b << 16) + (lanes)(a & 0xffff0000u) * (lanes)(b & 0xffff0000u);
#endif
}

/* Whether `dotted` is one instruction. */
int winograd_is_fast(void) {
#ifdef __AVX512BF16__
    return 1;
#else
    return 0;
#endif
}

/* The words of a product's left factor: that of row r and step s lies at r * row + s * step. */
typedef struct {
    const uint32_t *at;
    index row, step;
} left;

/* sums (ROWS lines, `line` floats apart, of `vectors` vectors) = or += the left factor times `blocks`. */
INLINE void multiply_part(left a, const uint32_t *blocks, float *sums, index line, index steps, index apart,
                          int vectors, int add) {
    lanes part[ROWS][VECTORS];
#pragma GCC unroll 8
    for (int row = 0; row < ROWS; row++)
#pragma GCC unroll 3
        for (int v = 0; v < vectors; v++)
            part[row][v] = add ? load_floats(sums + row * line + v * LANES) : (lanes){0};
    for (index step = 0; step < steps; step++) {
        words b[VECTORS];
#pragma GCC unroll 3
        for (int v = 0; v < vectors; v++) memcpy(&b[v], blocks + v * apart + step * LANES, sizeof b[v]);
#pragma GCC unroll 8
        for (int row = 0; row < ROWS; row++) {
            words each = (words){0} + a.at[row * a.row + step * a.step];
#pragma GCC unroll 3
            for (int v = 0; v < vectors; v++) part[row][v] = dotted(part[row][v], each, b[v]);
        }
    }
#pragma GCC unroll 8
    for (int row = 0; row < ROWS; row++)
#pragma GCC unroll 3
        for (int v = 0; v < vectors; v++) memcpy(sums + row * line + v * LANES, &part[row][v], sizeof(lanes));
}

/* `rows` is a multiple of ROWS, `columns` of LANES; blocks begin `apart` words after one another. */
INLINE void multiply(left a, const uint32_t *blocks, float *sums, index rows, index columns, index line, index steps,
                     index apart, int add) {
    for (index row = 0; row < rows; row += ROWS, a.at += ROWS * a.row, sums += ROWS * line) {
        index column = 0;
        for (; column + VECTORS * LANES <= columns; column += VECTORS * LANES)
            multiply_part(a, blocks + column / LANES * apart, sums + column, line, steps, apart, VECTORS, add);
        for (; column < columns; column += LANES)
            multiply_part(a, blocks + column / LANES * apart, sums + column, line, steps, apart, 1, add);
    }
}

INLINE index tall_of(const convolution *c) { return (c->height + 1) / 2; }

INLINE index wide_of(const convolution *c) { return (c->width + 1) / 2; }

INLINE index tiles_of(const convolution *c) { return c->images * tall_of(c) * wide_of(c); }

/* Where the `side` x `side` pixels of a tile lie, `margin` pixels before its outputs; `nothing` outside the map. */
INLINE void place(const bf16 *maps, const convolution *c, index channels, index tile, int side, int margin,
                  const bf16 **at) {
    index tall = tall_of(c), wide = wide_of(c);
    index image = tile / (tall * wide), top = tile / wide % tall * 2 - margin, first = tile % wide * 2 - margin;
    for (int down = 0; down < side; down++)
        for (int along = 0; along < side; along++) {
            index row = top + down, column = first + along;
            int inside = row >= 0 && row < c->height && column >= 0 && column < c->width;
            index pixel = (image * c->height + row) * c->width + column;
            at[down * side + along] = inside ? maps + pixel * channels : nothing;
        }
}

/* One line of the points of 4x4 pixels. */
INLINE void pixel_points(const bf16 *const *at, index channel, int line, lanes *points) {
    static const int one[LINE] = {0, 1, 2, 1}, other[LINE] = {2, 2, 1, 3};
    static const float sign[LINE] = {-1.0f, 1.0f, -1.0f, -1.0f};
    lanes t[LINE];
#pragma GCC unroll 4
    for (int j = 0; j < LINE; j++)
        t[j] = load(at[one[line] * LINE + j] + channel) + sign[line] * load(at[other[line] * LINE + j] + channel);
    points[0] = t[0] - t[2];
    points[1] = t[1] + t[2];
    points[2] = t[2] - t[1];
    points[3] = t[1] - t[3];
}

/* One line of the points of the gradient by 2x2 outputs. */
INLINE void gradient_points(const bf16 *const *at, index filter, int line, lanes *points) {
    static const float above[LINE] = {1.0f, 1.0f, 1.0f, 0.0f}, below[LINE] = {0.0f, 1.0f, -1.0f, -1.0f};
    lanes t[2];
#pragma GCC unroll 2
    for (int j = 0; j < 2; j++) t[j] = above[line] * load(at[j] + filter) + below[line] * load(at[2 + j] + filter);
    points[0] = t[0];
    points[1] = t[0] + t[1];
    points[2] = t[0] - t[1];
    points[3] = -t[1];
}

/* y, the convolution of x with the kernel of `kernel` (POINTS blocks, filters by pairs of channels).
 * room: for each thread, `size` words; a thread takes `many` tiles at once, a multiple of ROWS. */
void winograd_outputs(const bf16 *x, const uint32_t *kernel, bf16 *y, const convolution *c, uint32_t *room,
                      index size, index many, int threads) {
    index channels = c->channels, filters = c->filters, steps = channels / 2, tiles = tiles_of(c);
#pragma omp parallel for num_threads(threads) schedule(dynamic)
    for (index start = 0; start < tiles; start += many) {
        index count = tiles - start < many ? tiles - start : many, rows = (count + ROWS - 1) / ROWS * ROWS;
        uint32_t *points = room + omp_get_thread_num() * size;
        float *sums = (float *)(points + POINTS * many * steps);
        const bf16 *at[POINTS];
        for (index tile = 0; tile < count; tile++) {
            place(x, c, channels, start + tile, LINE, 1, at);
            for (index channel = 0; channel < channels; channel += LANES)
#pragma GCC unroll 4
                for (int line = 0; line < LINE; line++) {
                    lanes found[LINE];
                    pixel_points(at, channel, line, found);
#pragma GCC unroll 4
                    for (int j = 0; j < LINE; j++)
                        store((bf16 *)(points + ((line * LINE + j) * many + tile) * steps) + channel, found[j]);
                }
        }
        for (index first = 0; first < filters; first += PANEL) {
            index width = filters - first < PANEL ? filters - first : PANEL;
            for (index point = 0; point < POINTS; point++) {
                left a = {points + point * many * steps, steps, 1};
                multiply(a, kernel + (point * filters + first) * steps, sums + point * many * PANEL, rows, width,
                         PANEL, steps, steps * LANES, 0);
            }
            for (index tile = 0; tile < count; tile++) {
                place(y, c, filters, start + tile, 2, 0, at);
                for (index filter = 0; filter < width; filter += LANES) {
                    const float *from = sums + tile * PANEL + filter;
                    lanes t[2][LINE];
#pragma GCC unroll 4
                    for (int j = 0; j < LINE; j++) {
                        lanes p[LINE];
#pragma GCC unroll 4
                        for (int i = 0; i < LINE; i++) p[i] = load_floats(from + (i * LINE + j) * many * PANEL);
                        t[0][j] = p[0] + p[1] + p[2];
                        t[1][j] = p[1] - p[2] - p[3];
                    }
#pragma GCC unroll 2
                    for (int i = 0; i < 2; i++) {
                        bf16 *one = (bf16 *)at[2 * i], *two = (bf16 *)at[2 * i + 1];
                        if (one != nothing) store(one + first + filter, t[i][0] + t[i][1] + t[i][2]);
                        if (two != nothing) store(two + first + filter, t[i][1] - t[i][2] - t[i][3]);
                    }
                }
            }
        }
    }
}

/* The points of the pixels of two tiles, or of the gradients by their outputs, as blocks; of `lines` lines from
 * `first` on. */
INLINE void pair_points(const bf16 *const *one, const bf16 *const *two, index channels, index steps, int first,
                        int lines, uint32_t *blocks, int gradients) {
    for (int line = 0; line < lines; line++)
        for (index channel = 0; channel < channels; channel += LANES) {
            lanes a[LINE], b[LINE];
            if (gradients) {
                gradient_points(one, channel, first + line, a);
                gradient_points(two, channel, first + line, b);
            } else {
                pixel_points(one, channel, first + line, a);
                pixel_points(two, channel, first + line, b);
            }
#pragma GCC unroll 4
            for (int j = 0; j < LINE; j++)
                store_paired(blocks + ((line * LINE + j) * channels + channel) * steps, a[j], b[j]);
        }
}

/* The sums over tiles of products of points, by point, filter and channel, from x and `dy`, the gradient by its
 * outputs. `sharing` threads (1, 2 or 4) each take a share of the points of the same tiles; as many such groups as
 * there are in `threads` have an array of sums each, which begin at 0. room: for each thread, `size` words; a thread
 * takes `many` tiles at once, an even number. */
void winograd_kernel_sums(const bf16 *x, const bf16 *dy, float *sums, const convolution *c, uint32_t *room,
                          index size, index many, int sharing, int threads) {
    index channels = c->channels, filters = c->filters, steps = many / 2, tiles = tiles_of(c);
    int lines = LINE / sharing;
#pragma omp parallel num_threads(threads)
    {
        index thread = omp_get_thread_num(), group = thread / sharing, groups = threads / sharing;
        int line = (int)(thread % sharing) * lines;
        index end = tiles * (group + 1) / groups;
        float *own = sums + (group * POINTS + line * LINE) * filters * channels;
        uint32_t *pixels = room + thread * size, *gradients = pixels + lines * LINE * channels * steps;
        for (index start = tiles * group / groups; start < end; start += many) {
            index count = end - start < many ? end - start : many, pairs = (count + 1) / 2;
            for (index step = 0; step < pairs; step++) {
                const bf16 *one[POINTS], *two[POINTS];
                index tile = start + 2 * step, next = tile + 1;
                place(x, c, channels, tile, LINE, 1, one);
                place(x, c, channels, next < end ? next : tile, LINE, 1, two);
                pair_points(one, two, channels, steps, line, lines, pixels + step * LANES, 0);
                place(dy, c, filters, tile, 2, 0, one);
                place(dy, c, filters, next, 2, 0, two);
                for (int output = 0; next >= end && output < OUTPUTS; output++) two[output] = nothing;
                pair_points(one, two, filters, steps, line, lines, gradients + step * LANES, 1);
            }
            for (index point = 0; point < lines * LINE; point++)
                for (index filter = 0; filter < filters; filter += LANES) {
                    left a = {gradients + (point * filters + filter) * steps, 1, LANES};
                    multiply(a, pixels + point * channels * steps, own + (point * filters + filter) * channels, LANES,
                             channels, channels, pairs, steps * LANES, 1);
                }
        }
    }
}

/* Points of a kernel from its 3x3 taps, each for LANES channels. */
INLINE void tap_points(const lanes *taps, lanes *points) {
    lanes t[LINE][3];
    for (int j = 0; j < 3; j++) {
        lanes ends = (taps[j] + taps[6 + j]) * 0.5f, middle = taps[3 + j] * 0.5f;
        t[0][j] = taps[j];
        t[1][j] = ends + middle;
        t[2][j] = ends - middle;
        t[3][j] = taps[6 + j];
    }
    for (int i = 0; i < LINE; i++) {
        lanes ends = (t[i][0] + t[i][2]) * 0.5f, middle = t[i][1] * 0.5f;
        points[i * LINE] = t[i][0];
        points[i * LINE + 1] = ends + middle;
        points[i * LINE + 2] = ends - middle;
        points[i * LINE + 3] = t[i][2];
    }
}

/* kernel (filters, 3, 3, channels) -> POINTS blocks, filters by pairs of channels. */
void winograd_kernel(const float *kernel, uint32_t *points, index channels, index filters, int threads) {
    index across = channels / LANES, steps = channels / 2;
#pragma omp parallel for num_threads(threads)
    for (index item = 0; item < filters / LANES * across; item++) {
        index first = item / across * LANES, channel = item % across * LANES;
        uint32_t found[POINTS][LANES][LANES / 2];
        for (index filter = 0; filter < LANES; filter++) {
            lanes taps[TAPS], turned[POINTS];
            for (int tap = 0; tap < TAPS; tap++)
                taps[tap] = load_floats(kernel + ((first + filter) * TAPS + tap) * channels + channel);
            tap_points(taps, turned);
            for (int point = 0; point < POINTS; point++) store((bf16 *)found[point][filter], turned[point]);
        }
        for (index point = 0; point < POINTS; point++) {
            uint32_t *to = points + (point * filters + first) * steps + channel / 2 * LANES;
            for (index pair = 0; pair < LANES / 2; pair++)
                for (index filter = 0; filter < LANES; filter++) to[pair * LANES + filter] = found[point][filter][pair];
        }
    }
}

/* The same for the gradient by the maps: taps in reverse, channels by pairs of filters. */
void winograd_kernel_reversed(const float *kernel, uint32_t *points, index channels, index filters, int threads) {
    index steps = filters / 2;
#pragma omp parallel for num_threads(threads)
    for (index pair = 0; pair < steps; pair++)
        for (index channel = 0; channel < channels; channel += LANES) {
            lanes found[2][POINTS];
            for (int which = 0; which < 2; which++) {
                lanes taps[TAPS];
                for (int tap = 0; tap < TAPS; tap++)
                    taps[TAPS - 1 - tap] =
                        load_floats(kernel + ((2 * pair + which) * TAPS + tap) * channels + channel);
                tap_points(taps, found[which]);
            }
            for (index point = 0; point < POINTS; point++)
                store_paired(points + (point * channels + channel) * steps + pair * LANES, found[0][point],
                             found[1][point]);
        }
}

/* The gradient by the kernel (filters, 3, 3, channels) from the sums of `winograd_kernel_sums`, of all groups. */
void winograd_kernel_gradient(const float *sums, index groups, float *gradient, index channels, index filters,
                              int threads) {
#pragma omp parallel for num_threads(threads)
    for (index filter = 0; filter < filters; filter++)
        for (index channel = 0; channel < channels; channel += LANES) {
            lanes points[POINTS], t[3][LINE];
            for (int point = 0; point < POINTS; point++) {
                const float *from = sums + (point * filters + filter) * channels + channel;
                points[point] = load_floats(from);
                for (index group = 1; group < groups; group++)
                    points[point] += load_floats(from + group * POINTS * filters * channels);
            }
            for (int j = 0; j < LINE; j++) {
                lanes one = points[LINE + j], two = points[2 * LINE + j];
                t[0][j] = points[j] + (one + two) * 0.5f;
                t[1][j] = (one - two) * 0.5f;
                t[2][j] = (one + two) * 0.5f + points[3 * LINE + j];
            }
            for (int i = 0; i < 3; i++) {
                lanes taps[3] = {t[i][0] + (t[i][1] + t[i][2]) * 0.5f, (t[i][1] - t[i][2]) * 0.5f,
                                 (t[i][1] + t[i][2]) * 0.5f + t[i][3]};
                float *to = gradient + (filter * TAPS + i * 3) * channels + channel;
                for (int j = 0; j < 3; j++) memcpy(to + j * channels, &taps[j], sizeof taps[j]);
            }
        }
}
