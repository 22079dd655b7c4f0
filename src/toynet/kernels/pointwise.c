/* 1x1 convolutions at a stride, and their gradients, on maps in channels-last order: products of a kernel (filters,
 * channels) with every `stride`th pixel, down and along.
 *
 * A thread takes so many pixels at once that they and their products stay in its caches. Numbers of channels and
 * filters are multiples of LANES.
 */
#include "products.h"

enum { MANY = 64 };

/* Maps of height x width pixels and `channels`; results of tall x wide with `filters`. */
typedef struct {
    index images, height, width, channels, tall, wide, filters, stride, threads;
} pointwise;

INLINE index parts(index whole, index part) { return (whole + part - 1) / part; }

/* Lines of results that a thread takes at once, and their results, in whole ROWS. */
INLINE index lines_of(const pointwise *p) { return p->wide < MANY ? MANY / p->wide : 1; }

INLINE index rows_of(const pointwise *p) { return parts(lines_of(p) * p->wide, ROWS) * ROWS; }

INLINE index tasks_of(const pointwise *p) { return parts(p->images * p->tall, lines_of(p)); }

INLINE index kernel_room(const pointwise *p) { return p->channels * p->filters; }

INLINE index thread_room(const pointwise *p) {
    return 3 * rows_of(p) * (p->channels + p->filters) + p->channels * p->filters;
}

/* The words that either function wants. */
index pointwise_room(const pointwise *p) { return kernel_room(p) + p->threads * thread_room(p); }

/* What a thread works on: lines of results, and how many these and their results are. */
typedef struct {
    index first, end, rows;
} task;

INLINE task task_of(const pointwise *p, index number) {
    index first = number * lines_of(p), last = p->images * p->tall;
    index end = first + lines_of(p) < last ? first + lines_of(p) : last;
    return (task){first, end, (end - first) * p->wide};
}

/* Where the pixels of a line of results begin. */
INLINE index start_of(const pointwise *p, index line) {
    return (line / p->tall * p->height + line % p->tall * p->stride) * p->width * p->channels;
}

/* The pixels of a task as rows, and 0 up to whole ROWS. */
INLINE void take_pixels(const number *x, const pointwise *p, task t, number *to) {
    for (index line = t.first; line < t.end; line++) {
        const number *from = x + start_of(p, line);
        for (index column = 0; column < p->wide; column++, from += p->stride * p->channels)
            for (index channel = 0; channel < p->channels; channel += LANES, to += LANES)
                memcpy(to, from + channel, LANES * sizeof(number));
    }
    memset(to, 0, (parts(t.rows, ROWS) * ROWS - t.rows) * p->channels * sizeof(number));
}

/* The same of its results. */
INLINE void take_results(const number *y, const pointwise *p, task t, number *to) {
    index size = t.rows * p->filters;
    memcpy(to, y + t.first * p->wide * p->filters, size * sizeof(number));
    memset(to + size, 0, (parts(t.rows, ROWS) * ROWS - t.rows) * p->filters * sizeof(number));
}

INLINE void put_results(const float *rows, const pointwise *p, task t, number *y) {
    y += t.first * p->wide * p->filters;
    for (index place = 0; place < t.rows * p->filters; place += LANES) store(y + place, load_floats(rows + place));
}

INLINE void add_to_pixels(const float *rows, const pointwise *p, task t, number *dx) {
    for (index line = t.first; line < t.end; line++) {
        number *to = dx + start_of(p, line);
        for (index column = 0; column < p->wide; column++, to += p->stride * p->channels)
            for (index channel = 0; channel < p->channels; channel += LANES, rows += LANES)
                store(to + channel, load(to + channel) + load_floats(rows));
    }
}

/* Rows in words that hold what is summed over them: numbers of PER_WORD rows. `apart` lie between one LANES columns and
 * the next, `step` between one row and the next. */
INLINE void sum_over_rows(const number *rows, index count, index columns, word *to, index apart, index step) {
    for (index row = 0; row < count; row += PER_WORD, rows += PER_WORD * columns, to += step)
        for (index column = 0; column < columns; column += LANES)
            store_words(to + column / LANES * apart, load(rows + column),
                        load(rows + (PER_WORD - 1) * columns + column));
}

/* The kernel as blocks to be summed over channels, for these LANES filters. */
static void turn_kernel(const float *kernel, index channels, index filter, word *blocks) {
    for (index channel = 0; channel < channels; channel += PER_WORD, blocks += LANES) {
        float first[LANES], second[LANES];
        for (index lane = 0; lane < LANES; lane++) {
            first[lane] = kernel[(filter + lane) * channels + channel];
            second[lane] = kernel[(filter + lane) * channels + channel + PER_WORD - 1];
        }
        store_words(blocks, load_floats(first), load_floats(second));
    }
}

/* Over filters, for these LANES channels. */
static void turn_reversed(const float *kernel, index channels, index filters, index channel, word *blocks) {
    for (index filter = 0; filter < filters; filter += PER_WORD, blocks += LANES) {
        const float *from = kernel + filter * channels + channel;
        store_words(blocks, load_floats(from), load_floats(from + (PER_WORD - 1) * channels));
    }
}

/* y, the convolution of x. */
void pointwise_filter(const number *x, const float *kernel, number *y, word *room, const pointwise *p) {
    index steps = p->channels / PER_WORD;
#pragma omp parallel num_threads(p->threads)
    {
        number *pixels = (number *)(room + kernel_room(p) + omp_get_thread_num() * thread_room(p));
        float *results = (float *)pixels + rows_of(p) * p->channels;
#pragma omp for
        for (index filter = 0; filter < p->filters; filter += LANES)
            turn_kernel(kernel, p->channels, filter, room + filter * steps);
#pragma omp for
        for (index number = 0; number < tasks_of(p); number++) {
            task t = task_of(p, number);
            take_pixels(x, p, t, pixels);
            left a = {(word *)pixels, steps, 1};
            multiply(a, room, results, parts(t.rows, ROWS) * ROWS, p->filters, p->filters, steps, steps * LANES);
            put_results(results, p, t, y);
        }
    }
}

/* The gradients of a task by its pixels, which are added to `dx`, and by the kernel, which are added to `sums`. */
static void take_gradients(const number *x, const number *dy, const word *kernel, number *dx, float *sums, word *room,
                           const pointwise *p, task t) {
    index channels = p->channels, filters = p->filters, most = rows_of(p), rows = parts(t.rows, ROWS) * ROWS;
    index steps = rows / PER_WORD;
    number *pixels = (number *)room, *results = pixels + most * channels * PER_WORD;
    word *summed_pixels = (word *)results + most * filters, *summed_results = summed_pixels + most * channels;
    float *products = (float *)summed_results + most * filters;
    take_results(dy, p, t, results);
    multiply((left){(word *)results, filters / PER_WORD, 1}, kernel, products, rows, channels, channels,
             filters / PER_WORD, filters / PER_WORD * LANES);
    add_to_pixels(products, p, t, dx);
    take_pixels(x, p, t, pixels);
    sum_over_rows(pixels, rows, channels, summed_pixels, steps * LANES, LANES);
    sum_over_rows(results, rows, filters, summed_results, LANES, filters);
    multiply_add((left){summed_results, 1, filters}, summed_pixels, sums, filters, channels, channels, steps,
                 steps * LANES);
}

/* The gradients, from `dy`, that by y: by x, which is added to `dx`, and by the kernel (filters, channels). */
void pointwise_gradients(const number *x, const number *dy, const float *kernel, number *dx, float *gradient,
                         word *room, const pointwise *p) {
    index channels = p->channels, filters = p->filters, tasks = tasks_of(p), apart = thread_room(p);
    word *own = room + kernel_room(p);
    float *sums = (float *)own + apart - channels * filters;
#pragma omp parallel num_threads(p->threads)
    {
#pragma omp for
        for (index channel = 0; channel < channels; channel += LANES)
            turn_reversed(kernel, channels, filters, channel, room + channel * filters / PER_WORD);
#pragma omp for schedule(static, 1)
        for (index share = 0; share < p->threads; share++) { /* not by thread: there may be fewer than asked for */
            memset(sums + share * apart, 0, channels * filters * sizeof(float));
            for (index number = tasks * share / p->threads; number < tasks * (share + 1) / p->threads; number++)
                take_gradients(x, dy, room, dx, sums + share * apart, own + share * apart, p, task_of(p, number));
        }
#pragma omp for
        for (index place = 0; place < channels * filters; place += LANES) {
            lanes sum = load_floats(sums + place);
            for (index share = 1; share < p->threads; share++) sum += load_floats(sums + share * apart + place);
            memcpy(gradient + place, &sum, sizeof sum);
        }
    }
}
