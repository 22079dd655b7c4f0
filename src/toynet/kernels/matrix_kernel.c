/* The gradient of a convolution by its kernel, in a matrix unit. See matrix.h.
 *
 * The sum is over images, 32 at a step: for each tap, of 32 filters of results times 32 channels of the pixels under
 * it. So results are turned, filter by filter, and pixels lie in pairs of images.
 */
#ifndef FLOATS

#include "matrix.h"

INLINE index groups_of(const job *j) { return j->threads / j->sharing; }

/* Whether a thread's sums are the gradient itself. */
INLINE int direct(const job *j) { return groups_of(j) == 1 && j->channels != NARROW && j->filters != NARROW; }

/* Blocks of filters of the largest share; cells of channels of the largest slice. */
INLINE index share_of(const job *j) { return parts(cells_of(j->filters), j->sharing); }

INLINE index slice_of(const job *j) { return parts(cells_of(j->channels), j->slices); }

/* Sums of a share: [block of filters][cell of channels][tap down][distance along][CELL]. */
INLINE index sums_of(const job *j) {
    return direct(j) ? 0 : share_of(j) * cells_of(j->channels) * j->side * distances(j) * CELL;
}

/* Numbers of what a thread holds: pixels [cell of channels][block][line][cell along][CELL], results likewise. */
INLINE index pixels_held(const job *j) { return slice_of(j) * j->groups * j->lines * across(j) * CELL; }

INLINE index results_held(const job *j) { return share_of(j) * j->groups * j->most * results_across(j) * CELL; }

INLINE index thread_room(const job *j) { return sums_of(j) + (pixels_held(j) + results_held(j)) / 2; }

/* The words that `matrix_kernel_gradient` wants. */
index matrix_kernel_gradient_room(const job *j) { return j->threads * thread_room(j); }

/* A line of maps as it lies: images in a block of it, from the first one, `apart` numbers from one another, of so many
 * channels and cells along, the first `outside` of the map. */
typedef struct {
    const number *from;
    index count, apart, channels, width, along, outside;
} line_of_maps;

/* It in pairs of images: of cells of channels from `first` to `end`, each `far` numbers from the one before. */
INLINE void pair_images(line_of_maps l, index first, index end, index far, number *to) {
    index pixels = pixels_of(l.channels), step = pixels * l.channels, last = l.along - 1;
    index ahead = 2 * parts(AHEAD, 2 * l.width * l.channels) * l.apart;
    const number *from = l.from - l.outside * l.channels + first * SIDE;
    for (index image = 0; image < SIDE; image += 2, from += 2 * l.apart, to += SIDE)
        for (index along = 0; along < l.along; along++) {
            int edge = pixels > 1 && (along == 0 || along == last);
            place p = place_of(along, pixels, l.outside, l.width);
            const number *at = from + along * step;
            number *pair = to + along * CELL;
            for (index cell = first; cell < end; cell++, at += SIDE, pair += far) {
                row one = {0}, other = {0};
                if (image < l.count) one = edge ? load_cell(at, p, pixels) : *(const unaligned_row *)at;
                if (image + 1 < l.count)
                    other = edge ? load_cell(at + l.apart, p, pixels) : *(const unaligned_row *)(at + l.apart);
                __builtin_prefetch(at + ahead);
                __builtin_prefetch(at + ahead + l.apart);
                pair_up(one, other, (pairs *)pair, (pairs *)pair + HALF_SIDE);
            }
        }
}

/* A line of a block of pixels as right cells, of cells of channels from `first` to `end`. */
static void take_pixels(const job *j, const number *x, index block, index line, index first, index end, number *to) {
    index apart = j->height * j->width * j->channels;
    const number *from = x + block * SIDE * apart + line * j->width * j->channels;
    line_of_maps l = {from, images_in(j, block), apart, j->channels, j->width, across(j), outside(j)};
    pair_images(l, first, end, pixels_held(j) / slice_of(j), to);
}

/* A line of a block of results as left cells, of blocks of filters from `first` to `end`. */
static void take_results(const job *j, const number *dy, index block, index line, index first, index end, number *to) {
    index apart = j->tall * j->wide * j->filters, far = results_held(j) / share_of(j);
    const number *from = dy + block * SIDE * apart + line * j->wide * j->filters;
    line_of_maps l = {from, images_in(j, block), apart, j->filters, j->wide, results_across(j), 0};
    pair_images(l, first, end, far, to);
    for (index filters = first; filters < end; filters++, to += far)
        for (index half = 0; half < 2 * results_across(j); half++) {
            pairs rows[HALF_SIDE], *cell = (pairs *)to + half * HALF_SIDE;
            memcpy(rows, cell, sizeof rows);
            transpose(rows);
            memcpy(cell, rows, sizeof rows);
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

/* What a thread works in, and for which share of the filters. Sums are in `gradient` where these are direct. */
typedef struct {
    float *gradient, *sums;
    number *pixels, *results;
    index share;
    int fresh;
} place_of_work;

/* Add to the sums of one tap, `apart` floats from line to line, what these lines of one block of filters and one cell
 * of channels have of it. */
static void sum_tap(const job *j, const number *results, const number *pixels, piece p, index tap, run along,
                    float *sums, index apart, int fresh) {
    index wide = across(j) * CELL, results_wide = results_across(j) * CELL;
    if (fresh) clear_sums();
    else take_sums(sums, apart);
    for (index block = 0; block < p.last - p.first; block++)
        for (index line = p.line; line < p.end; line++) {
            index from = line_at(j, line, tap);
            if (from < 0) continue;
            const number *a = results + (block * j->most + line - p.line) * results_wide + along.result * CELL;
            const number *b = pixels + (block * j->lines + from % j->lines) * wide + along.pixel * CELL;
            for (index i = 0; i < along.count; i++, a += along.results_on * CELL, b += along.pixels_on * CELL)
                add_product(a, b);
        }
    put_sums(sums, apart);
}

/* All taps of a block of filters, the `filters`th of the share, for one cell of channels. */
static void sum_taps(const job *j, const number *results, const number *pixels, piece p, index block, index filters,
                     index cell, const run *along, const place_of_work *w) {
    index taps = distances(j), cells = cells_of(j->channels), apart = direct(j) ? j->side * taps * j->channels : SIDE;
    for (index tap = 0; tap < j->side * taps; tap++) {
        float *sums = direct(j) ? w->gradient + block * SIDE * apart + tap * j->channels + cell * SIDE
                                : w->sums + ((filters * cells + cell) * j->side * taps + tap) * CELL;
        sum_tap(j, results, pixels, p, tap / taps, along[tap % taps], sums, apart, w->fresh);
    }
}

/* Lines that are held at once; those of maps up to `taken` are there already. Returns up to where they are now. */
static index sum_lines(const job *j, const number *x, const number *dy, piece p, index taken, const run *along,
                       place_of_work *w) {
    index all = cells_of(j->filters), cells = cells_of(j->channels), last = last_line(j, p.end - 1);
    index begin = all * w->share / j->sharing, end = all * (w->share + 1) / j->sharing;
    index results = results_held(j) / share_of(j), pixels = pixels_held(j) / slice_of(j);
    for (index block = p.first; block < p.last; block++)
        for (index line = p.line; line < p.end; line++)
            take_results(j, dy, block, line, begin, end,
                         w->results + ((block - p.first) * j->most + line - p.line) * results_across(j) * CELL);
    for (index slice = 0; slice < j->slices; slice++) {
        index start = cells * slice / j->slices, stop = cells * (slice + 1) / j->slices;
        for (index block = p.first; block < p.last; block++)
            for (index line = taken; line <= last; line++)
                take_pixels(j, x, block, line, start, stop,
                            w->pixels + ((block - p.first) * j->lines + line % j->lines) * across(j) * CELL);
        for (index filters = begin; filters < end; filters++)
            for (index cell = start; cell < stop; cell++)
                sum_taps(j, w->results + (filters - begin) * results, w->pixels + (cell - start) * pixels, p, filters,
                         filters - begin, cell, along, w);
    }
    w->fresh = 0;
    return last + 1;
}

static void sum_piece(const job *j, const number *x, const number *dy, piece p, place_of_work *w) {
    index end = p.end, taken = 0;
    run along[MOST_DISTANCES];
    for (index distance = 0; distance < distances(j); distance++) along[distance] = run_at(j, nearest(j) + distance);
    for (; p.line < end; p.line = p.end) {
        p.end = smaller(end_of_lines(j, p.line, end, j->lines), p.line + j->most);
        /* Slices of channels are taken one after the other, and nothing is left of them. */
        taken = j->slices > 1 ? first_line(j, p.line) : larger(taken, first_line(j, p.line));
        taken = sum_lines(j, x, dy, p, taken, along, w);
    }
}

/* A thread's share of filters of its share of blocks, or of their lines where blocks are taken one at a time. */
static void sum_share(const job *j, const number *x, const number *dy, index thread, float *gradient, word *room) {
    index group = thread / j->sharing, groups = groups_of(j), whole = j->groups > 1, lines = whole ? 1 : j->tall;
    index all = parts(blocks_of(j), j->groups) * lines, at = all * group / groups, end = all * (group + 1) / groups;
    place_of_work w = {.gradient = gradient, .sums = (float *)room, .share = thread % j->sharing, .fresh = 1};
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

/* `count` numbers of all groups' sums, to `to` or added there. */
INLINE void add_up(const float *sums, index groups, index apart, index count, int fresh, float *to) {
    for (index lane = 0; lane < count; lane += LANES) {
        lanes sum = fresh ? (lanes){0} : load_floats(to + lane);
        for (index group = 0; group < groups; group++) sum += load_floats(sums + group * apart + lane);
        memcpy(to + lane, &sum, sizeof sum);
    }
}

/* The gradient (side, side, channels) by the weights of a filter, from what the threads have. */
static void put_filter(const job *j, const word *room, index filter, float *gradient) {
    index unit = pixels_of(j->channels), results = pixels_of(j->filters), cells = cells_of(j->channels);
    index all = cells_of(j->filters), block = filter / SIDE, share = 0, taps = distances(j);
    while (all * (share + 1) / j->sharing <= block) share++;
    block -= all * share / j->sharing;
    const float *own = (const float *)(room + share * thread_room(j)) + block * cells * j->side * taps * CELL;
    for (index tap = 0; tap < j->side * j->side; tap++) {
        int fresh = 1;
        for (index pixels = 0; pixels < results * unit; pixels++) {
            index to = pixels / unit, from = pixels % unit;
            index distance = tap % j->side - from + to * j->stride - nearest(j);
            if (distance < 0 || distance >= taps) continue;
            index line = results == 1 ? filter % SIDE : to * NARROW + filter;
            const float *sums = own + (tap / j->side * taps + distance) * CELL + line * SIDE + from * NARROW;
            for (index cell = 0; cell < cells; cell++)
                add_up(sums + cell * j->side * taps * CELL, groups_of(j), j->sharing * thread_room(j), SIDE / unit,
                       fresh, gradient + tap * j->channels + cell * SIDE);
            fresh = 0;
        }
    }
}

/* The gradient by the kernel (filters, side, side, channels) of the convolution of x, from `dy`, that by its results.
 */
void matrix_kernel_gradient(const number *x, const number *dy, float *gradient, word *room, const job *j) {
#pragma omp parallel num_threads(j->threads)
    {
        begin_tiles();
#pragma omp for schedule(static, 1)
        for (index thread = 0; thread < j->threads; thread++) /* not its number: there may be fewer threads */
            sum_share(j, x, dy, thread, gradient, room + thread * thread_room(j));
        end_tiles();
#pragma omp for
        for (index filter = 0; filter < (direct(j) ? 0 : j->filters); filter++)
            put_filter(j, room, filter, gradient + filter * j->side * j->side * j->channels);
    }
}

#endif
