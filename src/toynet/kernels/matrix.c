/* Convolutions, and their gradients by the maps, in a matrix unit. See matrix.h. */
#ifndef FLOATS

#include "matrix.h"

/* Whether there is one that this process may use. */
int matrix_is_there(void) { return tiles_granted(); }

/* A cell of maps that meets one of taps; those along a line for one cell of results. */
typedef struct {
    int32_t cell, tap;
} meeting;

typedef struct {
    int32_t count;
    meeting each[MOST_DISTANCES];
} meetings;

/* Numbers of a block of filters' cells: [tap down][distance along][cell of channels][CELL]. */
INLINE index panel_numbers(const job *j) { return j->side * distances(j) * cells_of(j->channels) * CELL; }

/* Numbers of what threads share: all blocks of filters, unless each turns those that it wants. */
INLINE index kernel_numbers(const job *j) { return j->fresh ? 0 : cells_of(j->filters) * panel_numbers(j); }

/* Numbers of a line of maps: [cell along][cell of channels][CELL]. */
INLINE index line_numbers(const job *j) { return across(j) * cells_of(j->channels) * CELL; }

INLINE index held_numbers(const job *j) { return j->groups * j->lines * line_numbers(j); }

/* Numbers of what a thread has for itself: lines of maps [block][line], a panel, and meetings. */
INLINE index meetings_numbers(const job *j) { return results_across(j) * sizeof(meetings) / sizeof(number); }

INLINE index thread_numbers(const job *j) {
    index all = held_numbers(j) + meetings_numbers(j) + (j->fresh ? panel_numbers(j) : 0);
    return parts(all, SIDE) * SIDE;
}

/* The words that `matrix_convolve` wants. */
index matrix_convolve_room(const job *j) { return (kernel_numbers(j) + j->threads * thread_numbers(j)) / 2; }

/* One tap from 32 channels to 32 filters. Those of the next cell are asked for meanwhile. */
INLINE void turn_cell(const job *j, const float *kernel, index tap, index channel, index filter, pairs *to) {
    index taps = j->side * j->side;
    if (j->reversed) { /* the kernel is (channels, taps, filters) */
        index apart = taps * j->filters;
        const float *from = kernel + channel * apart + tap * j->filters + filter;
        for (index pair = 0; pair < HALF_SIDE; pair++, from += 2 * apart) {
            __builtin_prefetch(from + SIDE * apart);
            __builtin_prefetch(from + SIDE * apart + HALF_SIDE);
            __builtin_prefetch(from + SIDE * apart + apart);
            __builtin_prefetch(from + SIDE * apart + apart + HALF_SIDE);
            pair_up(nearest_row(from), nearest_row(from + apart), to + pair, to + HALF_SIDE + pair);
        }
        return;
    }
    index apart = taps * j->channels; /* (filters, taps, channels) */
    const float *from = kernel + filter * apart + tap * j->channels + channel;
    for (index half = 0; half < 2; half++, to += HALF_SIDE) {
        pairs rows[HALF_SIDE];
        for (index column = 0; column < HALF_SIDE; column++, from += apart) {
            __builtin_prefetch(from + SIDE);
            __builtin_prefetch(from + SIDE + HALF_SIDE);
            rows[column] = (pairs)nearest_row(from);
        }
        transpose(rows);
        memcpy(to, rows, sizeof rows);
    }
}

/* A weight of the tap between these pixels of two cells, if there is one, else 0. */
INLINE float weight_at(const job *j, const float *kernel, index down, index along, index channel, index filter) {
    index tap = down * j->side + along, taps = j->side * j->side;
    if (along < 0 || along >= j->side) return 0;
    return kernel[j->reversed ? (channel * taps + tap) * j->filters + filter
                              : (filter * taps + tap) * j->channels + channel];
}

/* One distance between cells, where one or both are of two pixels. */
static void turn_narrow_cell(const job *j, const float *kernel, index down, index distance, index cell, index block,
                             number *to) {
    int pairs_of = j->channels == NARROW, pairs_to = j->filters == NARROW;
    for (index place = 0; place < SIDE; place++)
        for (index column = 0; column < SIDE; column++) {
            index along = tap_of(j, distance, pairs_of ? place / NARROW : 0, pairs_to ? column / NARROW : 0);
            index channel = pairs_of ? place % NARROW : cell * SIDE + place;
            index filter = pairs_to ? column % NARROW : block * SIDE + column;
            to[column / HALF_SIDE * (CELL / 2) + place / 2 * SIDE + column % HALF_SIDE * 2 + place % 2] =
                narrowed(weight_at(j, kernel, down, along, channel, filter));
        }
}

/* The cells of one tap down of a block of filters. */
static void turn_panel(const job *j, const float *kernel, index block, index down, number *to) {
    int narrow = j->channels == NARROW || j->filters == NARROW;
    for (index along = 0; along < distances(j); along++)
        for (index cell = 0; cell < cells_of(j->channels); cell++, to += CELL)
            if (narrow) turn_narrow_cell(j, kernel, down, nearest(j) + along, cell, block, to);
            else turn_cell(j, kernel, down * j->side + along, cell * SIDE, block * SIDE, (pairs *)to);
}

/* One line of a block of maps as left cells; images that there are not are left as they are. Images lie far apart:
 * what is wanted soon is asked for, in this line and the next. */
static void take_line(const job *j, const number *x, index block, index line, number *to) {
    index pixels = pixels_of(j->channels), out = outside(j), row_numbers = j->width * j->channels;
    index apart = j->height * row_numbers, count = images_in(j, block), last = across(j) * cells_of(j->channels) - 1;
    index ahead = smaller(parts(AHEAD, row_numbers), count);
    const number *from = x + block * SIDE * apart + line * row_numbers - out * j->channels;
    for (index image = 0; image < count; image++, to += SIDE) {
        const number *at = from + image * apart;
        const number *next =
            image + ahead < count ? at + ahead * apart : from + (image + ahead - count) * apart + row_numbers;
        for (index cell = 0; cell <= last; cell++) {
            int edge = pixels > 1 && (cell == 0 || cell == last);
            row found = edge ? load_cell(at + cell * SIDE, place_of(cell, pixels, out, j->width), pixels)
                             : *(const unaligned_row *)(at + cell * SIDE);
            __builtin_prefetch(next + cell * SIDE);
            memcpy(to + cell * CELL, &found, sizeof found);
        }
    }
}

/* The first `numbers` of each line of sums as results of `count` images, `apart` numbers from one another; plus the
 * same of `addend`, if anything. */
INLINE void put_results(const float *sums, index count, index numbers, index apart, const number *addend, number *to) {
    if (numbers == SIDE && !addend) {
        for (index image = 0; image < count; image++, sums += SIDE, to += apart) {
            row found = nearest_row(sums);
            memcpy(to, &found, sizeof found);
        }
        return;
    }
    for (index image = 0; image < count; image++, sums += SIDE, to += apart) {
        for (index lane = 0; lane < numbers; lane += LANES) {
            lanes sum = load_floats(sums + lane);
            store(to + lane, addend ? sum + load(addend + lane) : sum);
        }
        if (addend) addend += apart;
    }
}

/* What a thread works in, and on. */
typedef struct {
    number *held, *panel;
    meetings *along;
} place_of_work;

static place_of_work work_in(const job *j, number *room) {
    place_of_work w = {.held = room, .panel = room + held_numbers(j)};
    w.along = (meetings *)(w.panel + (j->fresh ? panel_numbers(j) : 0));
    for (index result = 0; result < results_across(j); result++) {
        w.along[result].count = 0;
        for (index tap = 0; tap < distances(j); tap++) {
            index cell = cell_at(j, result, nearest(j) + tap);
            if (cell >= 0) w.along[result].each[w.along[result].count++] = (meeting){cell, tap};
        }
    }
    return w;
}

INLINE void sum_result(const meetings *down, const meetings *along, const number *held, const number *panel,
                       index line, index taps, index cells, int half) {
    clear_sums();
    for (index d = 0; d < down->count; d++)
        for (index a = 0; a < along->count; a++) {
            const number *from = held + down->each[d].cell * line + along->each[a].cell * cells * CELL;
            const number *with = panel + (down->each[d].tap * taps + along->each[a].tap) * cells * CELL;
            for (index cell = 0; cell < cells; cell++, from += CELL, with += CELL)
                if (half) add_upper_product(from, with);
                else add_product(from, with);
        }
}

/* One line of a block of results for one block of filters; plus the same of `addend`. held: the block's lines. */
static void convolve_line(const job *j, const number *held, const number *panel, index block, index line,
                          index filters, const number *addend, number *y, const place_of_work *w) {
    index cells = cells_of(j->channels), pixels = pixels_of(j->filters), count = images_in(j, block);
    index apart = j->tall * j->wide * j->filters;
    index start = block * SIDE * apart + line * j->wide * j->filters + filters * SIDE;
    meetings down = {0};
    for (index tap = 0; tap < j->side; tap++) {
        index from = line_at(j, line, tap);
        if (from >= 0) down.each[down.count++] = (meeting){from % j->lines, tap};
    }
    if (down.count == 0 && addend == y) return;
    for (index result = 0; result < results_across(j); result++, start += pixels * j->filters) {
        float sums[CELL] __attribute__((aligned(64)));
        if (count > HALF_SIDE)
            sum_result(&down, w->along + result, held, panel, line_numbers(j), distances(j), cells, 0);
        else sum_result(&down, w->along + result, held, panel, line_numbers(j), distances(j), cells, 1);
        put_sums(sums, SIDE);
        index numbers = pixels == 1 ? SIDE : place_of(result, pixels, 0, j->wide).end * NARROW;
        put_results(sums, count, numbers, apart, addend ? addend + start : 0, y + start);
    }
}

/* Some blocks' strip of lines, for a share of the filters; plus the same of `addend`. turned: all panels, unless they
 * are turned here. */
static void convolve_strip(const job *j, const number *x, const float *kernel, const number *turned,
                           const number *addend, number *y, number *room, index task) {
    index share = task % j->sharing, strip = task / j->sharing % j->strips, group = task / j->sharing / j->strips;
    index first = group * j->groups, last = smaller(first + j->groups, blocks_of(j)), all = cells_of(j->filters);
    index line = j->tall * strip / j->strips, end = j->tall * (strip + 1) / j->strips;
    place_of_work w = work_in(j, room);
    for (index taken = 0, next; line < end; line = next) {
        next = end_of_lines(j, line, end, j->lines);
        taken = larger(taken, first_line(j, line));
        for (; taken <= last_line(j, next - 1); taken++)
            for (index block = first; block < last; block++)
                take_line(j, x, block, taken,
                          w.held + ((block - first) * j->lines + taken % j->lines) * line_numbers(j));
        for (index filters = all * share / j->sharing; filters < all * (share + 1) / j->sharing; filters++) {
            const number *panel = j->fresh ? w.panel : turned + filters * panel_numbers(j);
            for (index down = 0; j->fresh && down < j->side; down++)
                turn_panel(j, kernel, filters, down, w.panel + down * panel_numbers(j) / j->side);
            for (index block = first; block < last; block++)
                for (index each = line; each < next; each++)
                    convolve_line(j, w.held + (block - first) * j->lines * line_numbers(j), panel, block, each,
                                  filters, addend, y, &w);
        }
    }
}

/* y, the convolution of x; plus `addend`, which may be y itself, or 0. */
void matrix_convolve(const number *x, const float *kernel, const number *addend, number *y, number *room,
                     const job *j) {
    index panels = j->fresh ? 0 : cells_of(j->filters) * j->side;
#pragma omp parallel num_threads(j->threads)
    {
#pragma omp for
        for (index panel = 0; panel < panels; panel++)
            turn_panel(j, kernel, panel / j->side, panel % j->side, room + panel * panel_numbers(j) / j->side);
        begin_tiles();
#pragma omp for schedule(dynamic)
        for (index task = 0; task < parts(blocks_of(j), j->groups) * j->strips * j->sharing; task++)
            convolve_strip(j, x, kernel, room, addend, y,
                           room + kernel_numbers(j) + omp_get_thread_num() * thread_numbers(j), task);
        end_tiles();
    }
}

#endif
