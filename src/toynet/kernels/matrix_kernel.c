/* The gradient of a convolution by its kernel, in a matrix unit. See matrix.h.
 *
 * The sum is over images, 32 at a step: for each tap, of 32 filters of results times 32 channels of the pixels under it.
 * So results are turned, filter by filter, and pixels lie in pairs of images.
 */
#ifndef FLOATS

#include "matrix.h"

/* Of a cell: 32 numbers; and 16 pairs of them. */
typedef uint16_t row __attribute__((vector_size(SIDE * sizeof(number))));
typedef uint32_t pairs __attribute__((vector_size(HALF_SIDE * sizeof(word))));

INLINE index groups_of(const job *j) { return j->threads / j->sharing; }

/* Blocks of filters of the largest share; cells of channels of the largest slice. */
INLINE index share_of(const job *j) { return parts(cells_of(j->filters), j->sharing); }

INLINE index slice_of(const job *j) { return parts(cells_of(j->channels), j->slices); }

/* Sums of a share: [block of filters][cell of channels][tap down][distance along][CELL]. */
INLINE index sums_of(const job *j) { return share_of(j) * cells_of(j->channels) * j->side * distances(j) * CELL; }

/* Numbers of what a thread holds: pixels [cell of channels][block][line][cell along][CELL], results likewise. */
INLINE index pixels_held(const job *j) { return slice_of(j) * j->groups * j->lines * across(j) * CELL; }

INLINE index results_held(const job *j) { return share_of(j) * j->groups * j->most * results_across(j) * CELL; }

INLINE index thread_room(const job *j) { return sums_of(j) + (pixels_held(j) + results_held(j)) / 2; }

/* The words that `matrix_kernel_gradient` wants. */
index matrix_kernel_room(const job *j) { return j->threads * thread_room(j); }

INLINE row load_row(const number *from, place p, index pixels) {
    row result;
    copy_cell(from, p, pixels, (number *)&result);
    return result;
}

/* 32 numbers of two images, as pairs. */
INLINE void pair_up(row one, row other, pairs *first, pairs *second) {
    *first = (pairs)__builtin_shufflevector(one, other, 0, 32, 1, 33, 2, 34, 3, 35, 4, 36, 5, 37, 6, 38, 7, 39, 8, 40, 9, 41,
                                            10, 42, 11, 43, 12, 44, 13, 45, 14, 46, 15, 47);
    *second = (pairs)__builtin_shufflevector(one, other, 16, 48, 17, 49, 18, 50, 19, 51, 20, 52, 21, 53, 22, 54, 23, 55, 24,
                                             56, 25, 57, 26, 58, 27, 59, 28, 60, 29, 61, 30, 62, 31, 63);
}

/* A cell of `count` images, `apart` numbers from one another, in pairs: of its first 16 numbers, and of the others. */
INLINE void pair_images(const number *from, index count, index apart, place p, index pixels, pairs *first, pairs *second) {
    for (index image = 0; image < SIDE; image += 2, from += 2 * apart) {
        row one = image < count ? load_row(from, p, pixels) : (row){0};
        row other = image + 1 < count ? load_row(from + apart, p, pixels) : (row){0};
        pair_up(one, other, first + image / 2, second + image / 2);
    }
}

/* Exchange what lies off the diagonal of squares of twice `size` pairs. */
#define UPPER(size, i) ((i) & (size) ? HALF_SIDE + (i) - (size) : (i))
#define LOWER(size, i) ((i) & (size) ? HALF_SIDE + (i) : (i) + (size))
#define EACH(which, size)                                                                                                \
    which(size, 0), which(size, 1), which(size, 2), which(size, 3), which(size, 4), which(size, 5), which(size, 6),      \
        which(size, 7), which(size, 8), which(size, 9), which(size, 10), which(size, 11), which(size, 12),               \
        which(size, 13), which(size, 14), which(size, 15)
#define EXCHANGE(rows, size)                                                                                             \
    _Pragma("GCC unroll 16") for (int i = 0; i < HALF_SIDE; i++) if (!(i & (size))) {                                    \
        pairs one = rows[i], other = rows[i + (size)];                                                                   \
        rows[i] = __builtin_shufflevector(one, other, EACH(UPPER, size));                                                \
        rows[i + (size)] = __builtin_shufflevector(one, other, EACH(LOWER, size));                                       \
    }

INLINE void transpose(pairs *rows) {
    EXCHANGE(rows, 8)
    EXCHANGE(rows, 4)
    EXCHANGE(rows, 2)
    EXCHANGE(rows, 1)
}

/* A line of a block of pixels as right cells, of one cell of channels. */
INLINE void take_pixels(const job *j, const number *x, index block, index line, index cell, number *to) {
    index pixels = pixels_of(j->channels), apart = j->height * j->width * j->channels, count = images_in(j, block);
    const number *from = x + block * SIDE * apart + line * j->width * j->channels + cell * SIDE;
    for (index along = 0; along < across(j); along++, to += CELL) {
        place p = place_of(along, pixels, outside(j), j->width);
        pair_images(from + p.at * j->channels, count, apart, p, pixels, (pairs *)to, (pairs *)to + HALF_SIDE);
    }
}

/* A line of a block of results as left cells, of one block of filters. */
INLINE void take_results(const job *j, const number *dy, index block, index line, index filters, number *to) {
    index pixels = pixels_of(j->filters), apart = j->tall * j->wide * j->filters, count = images_in(j, block);
    const number *from = dy + block * SIDE * apart + line * j->wide * j->filters + filters * SIDE;
    for (index along = 0; along < results_across(j); along++, to += CELL, from += pixels * j->filters) {
        pairs halves[2][HALF_SIDE];
        pair_images(from, count, apart, place_of(along, pixels, 0, j->wide), pixels, halves[0], halves[1]);
        transpose(halves[0]);
        transpose(halves[1]);
        memcpy(to, halves, sizeof halves);
    }
}

/* Cells of results and of pixels that meet along a line: the first, how far on the next, and how many. */
typedef struct {
    index result, pixel, results_on, pixels_on, count;
} run;

static run run_at(const job *j, index distance) {
    run found = {0, 0, 0, 0, 0};
    for (index result = 0; result < results_across(j); result++) {
        index pixel = cell_at(j, result, distance);
        if (pixel < 0) continue;
        if (found.count == 0) found.result = result, found.pixel = pixel;
        if (found.count == 1) found.results_on = result - found.result, found.pixels_on = pixel - found.pixel;
        found.count++;
    }
    return found;
}

/* Some blocks, and lines of results of them. */
typedef struct {
    index first, last, line, end;
} piece;

/* Add to the sums of one tap what these lines of one block of filters and one cell of channels have of it. */
static void sum_tap(const job *j, const number *results, const number *pixels, piece p, index tap, run along, float *sums,
                    int fresh) {
    index wide = across(j) * CELL, results_wide = results_across(j) * CELL;
    if (fresh) clear_sums();
    else take_sums(sums);
    for (index block = 0; block < p.last - p.first; block++)
        for (index line = p.line; line < p.end; line++) {
            index from = line_at(j, line, tap);
            if (from < 0) continue;
            const number *a = results + (block * j->most + line - p.line) * results_wide + along.result * CELL;
            const number *b = pixels + (block * j->lines + from % j->lines) * wide + along.pixel * CELL;
            for (index i = 0; i < along.count; i++, a += along.results_on * CELL, b += along.pixels_on * CELL)
                add_product(a, b);
        }
    put_sums(sums);
}

/* What a thread works in. */
typedef struct {
    float *sums;
    number *pixels, *results;
    index share;
    int fresh;
} place_of_work;

/* Lines that are held at once; those of maps up to `taken` are there already. Returns up to where they are now. */
static index sum_lines(const job *j, const number *x, const number *dy, piece p, index taken, place_of_work *w) {
    index all = cells_of(j->filters), cells = cells_of(j->channels), taps = distances(j);
    index begin = all * w->share / j->sharing, end = all * (w->share + 1) / j->sharing;
    index results = results_held(j) / share_of(j), pixels = pixels_held(j) / slice_of(j), last = last_line(j, p.end - 1);
    for (index filters = begin; filters < end; filters++)
        for (index block = p.first; block < p.last; block++)
            for (index line = p.line; line < p.end; line++)
                take_results(j, dy, block, line, filters,
                             w->results + (filters - begin) * results +
                                 ((block - p.first) * j->most + line - p.line) * results_across(j) * CELL);
    for (index slice = 0; slice < j->slices; slice++) {
        index start = cells * slice / j->slices, stop = cells * (slice + 1) / j->slices;
        for (index cell = start; cell < stop; cell++)
            for (index block = p.first; block < p.last; block++)
                for (index line = taken; line <= last; line++)
                    take_pixels(j, x, block, line, cell,
                                w->pixels + (cell - start) * pixels +
                                    ((block - p.first) * j->lines + line % j->lines) * across(j) * CELL);
        for (index filters = begin; filters < end; filters++)
            for (index cell = start; cell < stop; cell++)
                for (index tap = 0; tap < j->side; tap++)
                    for (index along = 0; along < taps; along++)
                        sum_tap(j, w->results + (filters - begin) * results, w->pixels + (cell - start) * pixels, p, tap,
                                run_at(j, nearest(j) + along),
                                w->sums + ((((filters - begin) * cells + cell) * j->side + tap) * taps + along) * CELL,
                                w->fresh);
    }
    w->fresh = 0;
    return last + 1;
}

static void sum_piece(const job *j, const number *x, const number *dy, piece p, place_of_work *w) {
    index end = p.end, taken = 0;
    for (; p.line < end; p.line = p.end) {
        p.end = smaller(end_of_lines(j, p.line, end, j->lines), p.line + j->most);
        /* Slices of channels are taken one after the other, and nothing is left of them. */
        taken = j->slices > 1 ? first_line(j, p.line) : larger(taken, first_line(j, p.line));
        taken = sum_lines(j, x, dy, p, taken, w);
    }
}

/* A thread's share of filters of its share of blocks, or of their lines where blocks are taken one at a time. */
static void sum_share(const job *j, const number *x, const number *dy, index thread, word *room) {
    index group = thread / j->sharing, groups = groups_of(j), whole = j->groups > 1, lines = whole ? 1 : j->tall;
    index all = parts(blocks_of(j), j->groups) * lines, at = all * group / groups, end = all * (group + 1) / groups;
    place_of_work w = {.sums = (float *)room, .share = thread % j->sharing, .fresh = 1};
    w.pixels = (number *)(room + sums_of(j));
    w.results = w.pixels + pixels_held(j);
    if (at == end) memset(w.sums, 0, sums_of(j) * sizeof(float));
    while (at < end) {
        index first = at / lines * j->groups, line = whole ? 0 : at % lines;
        index stop = whole ? j->tall : smaller(j->tall, line + end - at);
        sum_piece(j, x, dy, (piece){first, smaller(first + j->groups, blocks_of(j)), line, stop}, &w);
        at += whole ? 1 : stop - line;
    }
}

/* The gradient by one tap of sixteen channels of a filter, from what the threads have. */
INLINE void put_tap(const job *j, const word *room, index filter, index channel, index tap, index along, float *to) {
    index unit = pixels_of(j->channels), results = pixels_of(j->filters), cells = cells_of(j->channels);
    index all = cells_of(j->filters), block = filter / SIDE, share = 0, taps = distances(j);
    while (all * (share + 1) / j->sharing <= block) share++;
    index begin = all * share / j->sharing, apart = j->sharing * thread_room(j);
    for (index lane = 0; lane < NARROW; lane += LANES) {
        lanes sum = {0};
        for (index group = 0; group < groups_of(j); group++)
            for (index to_pixel = 0; to_pixel < results; to_pixel++)
                for (index from_pixel = 0; from_pixel < unit; from_pixel++) {
                    index distance = along - from_pixel + to_pixel * j->stride - nearest(j);
                    if (distance < 0 || distance >= taps) continue;
                    index line = results == 1 ? filter % SIDE : to_pixel * NARROW + filter;
                    index column = unit == 1 ? channel % SIDE : from_pixel * NARROW;
                    index cell = (((block - begin) * cells + channel / SIDE) * j->side + tap) * taps + distance;
                    const float *sums = (const float *)(room + share * thread_room(j) + group * apart);
                    sum += load_floats(sums + cell * CELL + line * SIDE + column + lane);
                }
        memcpy(to + lane, &sum, sizeof sum);
    }
}

/* The gradient by the kernel (filters, side, side, channels) of the convolution of x, from `dy`, that by its results. */
void matrix_kernel_gradient(const number *x, const number *dy, float *gradient, word *room, const job *j) {
#pragma omp parallel num_threads(j->threads)
    {
        begin_tiles();
#pragma omp for schedule(static, 1)
        for (index thread = 0; thread < j->threads; thread++) /* not by its number: there may be fewer than asked for */
            sum_share(j, x, dy, thread, room + thread * thread_room(j));
        end_tiles();
#pragma omp for
        for (index filter = 0; filter < j->filters; filter++)
            for (index tap = 0; tap < j->side * j->side; tap++)
                for (index channel = 0; channel < j->channels; channel += NARROW)
                    put_tap(j, room, filter, channel, tap / j->side, tap % j->side,
                            gradient + (filter * j->side * j->side + tap) * j->channels + channel);
    }
}

#endif
