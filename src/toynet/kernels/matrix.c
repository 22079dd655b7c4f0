/* Convolutions, and their gradients by the maps, in a matrix unit. See matrix.h. */
#ifndef FLOATS

#include "matrix.h"

/* Whether there is one that this process may use. */
int matrix_is_there(void) { return tiles_granted(); }

/* Numbers of the kernel's cells: [block of filters][tap down][distance along][cell of channels][CELL]. */
INLINE index kernel_numbers(const job *j) {
    return cells_of(j->filters) * j->side * distances(j) * cells_of(j->channels) * CELL;
}

/* Numbers of the maps' lines that a thread holds: [block][line][cell along][cell of channels][CELL]. */
INLINE index held_numbers(const job *j) { return j->groups * j->lines * across(j) * cells_of(j->channels) * CELL; }

/* The words that `matrix_convolve` wants. */
index matrix_room(const job *j) { return (kernel_numbers(j) + j->threads * held_numbers(j)) / 2; }

/* Sixteen channels' taps to sixteen filters, or none, as pairs of places in the sum for each column. */
INLINE void turn_taps(const job *j, const float *kernel, index down, index along, index channel, index filter, word *to) {
    index taps = j->side * j->side;
    if (along < 0 || along >= j->side) {
        for (index pair = 0; pair < NARROW / 2; pair++) memset(to + pair * HALF_SIDE, 0, HALF_SIDE * sizeof(word));
    } else if (j->reversed) { /* the kernel is (channels, taps, filters) */
        const float *from = kernel + (channel * taps + down * j->side + along) * j->filters + filter;
        index apart = taps * j->filters;
        for (index pair = 0; pair < NARROW / 2; pair++, from += 2 * apart)
            for (index lane = 0; lane < HALF_SIDE; lane += LANES)
                store_words(to + pair * HALF_SIDE + lane, load_floats(from + lane), load_floats(from + apart + lane));
    } else { /* (filters, taps, channels) */
        for (index column = 0; column < HALF_SIDE; column++) {
            const float *from = kernel + ((filter + column) * taps + down * j->side + along) * j->channels + channel;
            number narrow[NARROW];
            word pairs[NARROW / 2];
            for (index lane = 0; lane < NARROW; lane += LANES) store(narrow + lane, load_floats(from + lane));
            memcpy(pairs, narrow, sizeof pairs);
            for (index pair = 0; pair < NARROW / 2; pair++) to[pair * HALF_SIDE + column] = pairs[pair];
        }
    }
}

/* The cells of a tap down, for one block of filters. */
static void turn_kernel(const job *j, const float *kernel, index block, index down, number *to) {
    index unit = pixels_of(j->channels), results = pixels_of(j->filters), cells = cells_of(j->channels);
    for (index distance = nearest(j), end = distance + distances(j); distance < end; distance++)
        for (index cell = 0; cell < cells; cell++, to += CELL)
            for (index half = 0; half < 4; half++) {
                index upper = half / 2, right = half % 2; /* of the places in the sum, and of the columns */
                index channel = unit == 1 ? cell * SIDE + upper * NARROW : 0;
                index filter = results == 1 ? block * SIDE + right * NARROW : 0;
                index along = tap_of(j, distance, unit == 1 ? 0 : upper, results == 1 ? 0 : right);
                word *quarter = (word *)to + right * (CELL / 4) + upper * (CELL / 8);
                turn_taps(j, kernel, down, along, channel, filter, quarter);
            }
}

/* One line of a block of maps as left cells; images that there are not are left as they are. */
INLINE void take_line(const job *j, const number *x, index block, index line, number *to) {
    index pixels = pixels_of(j->channels), cells = cells_of(j->channels), count = images_in(j, block);
    for (index image = 0; image < count; image++, to += SIDE) {
        const number *row = x + ((block * SIDE + image) * j->height + line) * j->width * j->channels;
        number *cell_to = to;
        for (index cell = 0; cell < across(j); cell++) {
            place p = place_of(cell, pixels, outside(j), j->width);
            for (index part = 0; part < cells; part++, cell_to += CELL)
                copy_cell(row + p.at * j->channels + part * SIDE, p, pixels, cell_to);
        }
    }
}

/* The first `numbers` of each line of sums as results of `count` images, `apart` numbers from one another; plus what lies
 * at `addend`, if anything. */
INLINE void put_results(const float *sums, index count, index numbers, index apart, const number *addend, number *to) {
    for (index image = 0; image < count; image++, sums += SIDE, to += apart) {
        for (index lane = 0; lane < numbers; lane += LANES) {
            lanes sum = load_floats(sums + lane);
            store(to + lane, addend ? sum + load(addend + lane) : sum);
        }
        if (addend) addend += apart;
    }
}

/* A meeting of a cell of pixels with one of taps. */
typedef struct {
    index cell, tap;
} meeting;

enum { MOST_MEETINGS = 8 };

/* Those along a line for one cell of results. */
INLINE index meetings_along(const job *j, index result, meeting *found) {
    index count = 0;
    for (index tap = 0; tap < distances(j); tap++) {
        index cell = cell_at(j, result, nearest(j) + tap);
        if (cell >= 0) found[count++] = (meeting){cell, tap};
    }
    return count;
}

/* Those of a line of results with lines of maps. */
INLINE index meetings_down(const job *j, index line, meeting *found) {
    index count = 0;
    for (index tap = 0; tap < j->side; tap++) {
        index from = line_at(j, line, tap);
        if (from >= 0) found[count++] = (meeting){from, tap};
    }
    return count;
}

/* One line of a block of results for one block of filters; plus the same of `addend`. held: the block's lines. */
static void convolve_line(const job *j, const number *held, const number *kernel, index block, index line, index filters,
                          const number *addend, number *y) {
    index cells = cells_of(j->channels), wide = across(j) * cells * CELL, taps = distances(j) * cells * CELL;
    index count = images_in(j, block), pixels = pixels_of(j->filters), apart = j->tall * j->wide * j->filters;
    index start = block * SIDE * apart + line * j->wide * j->filters + filters * SIDE;
    meeting down[MOST_MEETINGS], along[MOST_MEETINGS];
    index downs = meetings_down(j, line, down);
    if (downs == 0 && addend == y) return;
    for (index result = 0; result < results_across(j); result++, start += pixels * j->filters) {
        float sums[CELL] __attribute__((aligned(64)));
        index alongs = meetings_along(j, result, along);
        clear_sums();
        for (index d = 0; d < downs; d++)
            for (index a = 0; a < alongs; a++) {
                const number *from = held + down[d].cell % j->lines * wide + along[a].cell * cells * CELL;
                const number *with = kernel + down[d].tap * taps + along[a].tap * cells * CELL;
                if (count > HALF_SIDE)
                    for (index cell = 0; cell < cells; cell++) add_product(from + cell * CELL, with + cell * CELL);
                else
                    for (index cell = 0; cell < cells; cell++) add_upper_product(from + cell * CELL, with + cell * CELL);
            }
        put_sums(sums);
        index numbers = pixels == 1 ? SIDE : place_of(result, pixels, 0, j->wide).end * NARROW;
        put_results(sums, count, numbers, apart, addend ? addend + start : 0, y + start);
    }
}

/* Some blocks' strip of lines, for a share of the filters; plus the same of `addend`. */
static void convolve_strip(const job *j, const number *x, const number *kernel, const number *addend, number *y,
                           number *held, index task) {
    index share = task % j->sharing, strip = task / j->sharing % j->strips, group = task / j->sharing / j->strips;
    index first = group * j->groups, last = smaller(first + j->groups, blocks_of(j)), all = cells_of(j->filters);
    index line = j->tall * strip / j->strips, end = j->tall * (strip + 1) / j->strips;
    index wide = across(j) * cells_of(j->channels) * CELL, panel = kernel_numbers(j) / all;
    for (index taken = 0, next; line < end; line = next) {
        next = end_of_lines(j, line, end, j->lines);
        taken = larger(taken, first_line(j, line));
        for (; taken <= last_line(j, next - 1); taken++)
            for (index block = first; block < last; block++)
                take_line(j, x, block, taken, held + ((block - first) * j->lines + taken % j->lines) * wide);
        for (index filters = all * share / j->sharing; filters < all * (share + 1) / j->sharing; filters++)
            for (index block = first; block < last; block++)
                for (index each = line; each < next; each++)
                    convolve_line(j, held + (block - first) * j->lines * wide, kernel + filters * panel, block, each,
                                  filters, addend, y);
    }
}

/* y, the convolution of x; plus `addend`, which may be y itself, or 0. */
void matrix_convolve(const number *x, const float *kernel, const number *addend, number *y, number *room, const job *j) {
    index panels = cells_of(j->filters) * j->side, tap = kernel_numbers(j) / panels;
    number *held = room + kernel_numbers(j);
#pragma omp parallel num_threads(j->threads)
    {
#pragma omp for
        for (index panel = 0; panel < panels; panel++)
            turn_kernel(j, kernel, panel / j->side, panel % j->side, room + panel * tap);
        begin_tiles();
#pragma omp for schedule(dynamic)
        for (index task = 0; task < parts(blocks_of(j), j->groups) * j->strips * j->sharing; task++)
            convolve_strip(j, x, room, addend, y, held + omp_get_thread_num() * held_numbers(j), task);
        end_tiles();
    }
}

#endif
