/* Batch norm with the activation behind it, and 2x2 max-pooling, on maps in channels-last order.
 *
 * What surrounds a convolution is limited by memory, so every function here reads and writes each map as few
 * times as its mathematics allows. Maps are flat arrays whose last, fastest axis is the channel. Sums are taken
 * in blocks of float and added up in double, one partial sum per thread in the threads' order: the result
 * depends on the number of threads, not on their timing.
 *
 * Plain C without headers of torch: compiled at first use, called through ctypes. See kernels/build.py.
 */
#include <math.h>

#include "numbers.h"

enum activation { NONE = 0, RELU = 1, GELU = 2 };

/* Channels are repeated up to about this many lanes, so that narrow maps vectorise as well as wide ones. */
enum { LANES = 256 };
/* Elements that are summed in float before they are added to the sum in double. */
enum { BLOCK = 1 << 16 };

/* exp(-value) for value >= 0, to about 1e-7 relative and never below 1e-18: subnormal numbers are slow. */
INLINE float exp_minus(float value) {
    float power = value * -1.44269504f;
    power = power < -60.0f ? -60.0f : power;
    float whole = (power + 12582912.0f) - 12582912.0f;
    float part = (power - whole) * 0.69314718f;
    float series = 1.0f + part * (1.0f + part * (0.5f + part * (0.16666667f + part * (0.041666668f
                   + part * (0.0083333338f + part * 0.0013888889f)))));
    return series * of_bits((uint32_t)((int32_t)whole + 127) << 23);
}

/* The normal distribution's cumulative probability, to 1e-7: Abramowitz and Stegun 7.1.26. `bell` receives
 * exp(-z^2/2). */
INLINE float normal_share(float z, float *bell) {
    float size = fabsf(z) * 0.70710678f;
    float t = 1.0f / (1.0f + 0.3275911f * size);
    float tail = t * (0.254829592f + t * (-0.284496736f + t * (1.421413741f
                 + t * (-1.453152027f + t * 1.061405429f))));
    *bell = exp_minus(size * size);
    float beyond = 0.5f * tail * *bell;
    return z < 0.0f ? beyond : 1.0f - beyond;
}

/* NaN passes, so that a diverged run shows. */
INLINE float activated(float z, int activation) {
    float bell;
    if (activation == RELU) return z < 0.0f ? 0.0f : z;
    if (activation == GELU) return z * normal_share(z, &bell);
    return z;
}

/* The gradient by z from that by activated(z). */
INLINE float through(float gradient, float z, int activation) {
    float bell;
    /* The mask is all ones where z > 0: compilers make a branch of a condition, which keeps a loop from being
     * vectorised. */
    if (activation == RELU) return of_bits(bits_of(gradient) & ~(uint32_t)((int32_t)(bits_of(z) - 1u) >> 31));
    if (activation == GELU) {
        float share = normal_share(z, &bell);
        return gradient * (share + z * bell * 0.39894228f);
    }
    return gradient;
}

/* The part of `rows` rows that falls to this thread, in elements. */
INLINE void portion(index rows, index channels, index *first, index *end) {
    index threads = omp_get_num_threads(), mine = omp_get_thread_num();
    *first = rows * mine / threads * channels;
    *end = rows * (mine + 1) / threads * channels;
}

INLINE index lanes_of(index channels) {
    index repeats = LANES / channels;
    return channels * (repeats > 1 ? repeats : 1);
}

static void repeat(const float *from, float *to, index channels, index lanes) {
    for (index lane = 0; lane < lanes; lane++) to[lane] = from[lane % channels];
}

static void add_lanes(float *sums, double *totals, index channels, index lanes) {
    for (index lane = 0; lane < lanes; lane++) {
        totals[lane % channels] += sums[lane];
        sums[lane] = 0.0f;
    }
}

/* totals[c] and totals[channels + c]: the sums of x - origin and of its square. */
static void sum_squares(const number *restrict x, index first, index end, index channels, index lanes,
                        const float *restrict origin, double *totals) {
    float sums[MOST_CHANNELS], squares[MOST_CHANNELS];
    memset(sums, 0, sizeof(float) * lanes);
    memset(squares, 0, sizeof(float) * lanes);
    memset(totals, 0, sizeof(double) * 2 * channels);
    index pending = 0;
    for (index start = first; start < end; start += lanes) {
        index count = end - start < lanes ? end - start : lanes;
        const number *restrict row = x + start;
#pragma omp simd
        for (index lane = 0; lane < count; lane++) {
            float distance = widened(row[lane]) - origin[lane];
            sums[lane] += distance;
            squares[lane] += distance * distance;
        }
        pending += count;
        if (pending >= BLOCK) {
            add_lanes(sums, totals, channels, lanes);
            add_lanes(squares, totals + channels, channels, lanes);
            pending = 0;
        }
    }
    add_lanes(sums, totals, channels, lanes);
    add_lanes(squares, totals + channels, channels, lanes);
}

/* addend: NULL if nothing is added before the activation. */
INLINE void apply(const number *restrict x, const number *restrict addend, number *restrict y, index first, index end,
                  index lanes, const float *restrict scale, const float *restrict shift, int activation) {
    for (index start = first; start < end; start += lanes) {
        index count = end - start < lanes ? end - start : lanes;
        const number *restrict row = x + start;
        number *restrict out = y + start;
#pragma omp simd
        for (index lane = 0; lane < count; lane++) {
            float value = widened(row[lane]) * scale[lane] + shift[lane];
            if (addend) value += widened(addend[start + lane]);
            out[lane] = narrowed(activated(value, activation));
        }
    }
}

/* An addend is for RELU only. */
static void apply_any(const number *x, const number *addend, number *y, index first, index end, index lanes,
                      const float *scale, const float *shift, int activation) {
    if (addend) apply(x, addend, y, first, end, lanes, scale, shift, RELU);
    else if (activation == RELU) apply(x, NULL, y, first, end, lanes, scale, shift, RELU);
    else if (activation == GELU) apply(x, NULL, y, first, end, lanes, scale, shift, GELU);
    else apply(x, NULL, y, first, end, lanes, scale, shift, NONE);
}

/* y = activation(x * scale + shift), the normalisation of evaluation. */
void scale_shift(const number *x, number *y, index rows, index channels, const float *scale, const float *shift,
                 int activation, int threads) {
    index lanes = lanes_of(channels);
    float scales[MOST_CHANNELS], shifts[MOST_CHANNELS];
    repeat(scale, scales, channels, lanes);
    repeat(shift, shifts, channels, lanes);
#pragma omp parallel num_threads(threads)
    {
        index first, end;
        portion(rows, channels, &first, &end);
        apply_any(x, NULL, y, first, end, lanes, scales, shifts, activation);
    }
}

/* y = activation(batch norm of x), or if there is an addend RELU(batch norm of x + addend). statistics (2, channels):
 * the mean and 1 / standard deviation are kept for the gradient; the moving averages take `momentum` of the batch's.
 * `partial`: 2 * channels doubles for every thread. */
void norm_forward(const number *x, const number *addend, number *y, index rows, index channels, const float *weight,
                  const float *bias, float *moving_mean, float *moving_variance, float momentum, float epsilon,
                  float *statistics, double *partial, int activation, int threads) {
    index lanes = lanes_of(channels);
    float *mean = statistics, *inverse = statistics + channels;
    float origin[MOST_CHANNELS], scale[MOST_CHANNELS], shift[MOST_CHANNELS];
    for (index lane = 0; lane < lanes; lane++) origin[lane] = widened(x[lane % channels]);
#pragma omp parallel num_threads(threads)
    {
        index first, end;
        portion(rows, channels, &first, &end);
        sum_squares(x, first, end, channels, lanes, origin, partial + 2 * channels * omp_get_thread_num());
#pragma omp barrier
#pragma omp single
        {
            for (index channel = 0; channel < channels; channel++) {
                double sum = 0.0, squares = 0.0;
                for (index thread = 0; thread < omp_get_num_threads(); thread++) {
                    sum += partial[2 * channels * thread + channel];
                    squares += partial[2 * channels * thread + channels + channel];
                }
                double offset = sum / rows, variance = squares / rows - offset * offset;
                variance = variance < 0.0 ? 0.0 : variance;
                mean[channel] = (float)(origin[channel] + offset);
                inverse[channel] = (float)(1.0 / sqrt(variance + epsilon));
                double unbiased = rows > 1 ? variance * rows / (rows - 1) : variance;
                moving_mean[channel] += momentum * (mean[channel] - moving_mean[channel]);
                moving_variance[channel] += momentum * ((float)unbiased - moving_variance[channel]);
                scale[channel] = weight[channel] * inverse[channel];
                shift[channel] = bias[channel] - mean[channel] * scale[channel];
            }
            for (index lane = channels; lane < lanes; lane++) {
                scale[lane] = scale[lane % channels];
                shift[lane] = shift[lane % channels];
            }
        }
        apply_any(x, addend, y, first, end, lanes, scale, shift, activation);
    }
}

/* totals: the sums of the gradient before the activation, and of its product with x - mean. y: where the activation is
 * known by its result, else NULL. kept: where that gradient is put then, and with GELU. */
INLINE void sum_gradients(const number *restrict x, const number *y, const number *dy, number *kept, index first,
                          index end, index channels, index lanes, const float *restrict scale,
                          const float *restrict shift, const float *restrict mean, double *totals,
                          int activation) {
    int keep = y || activation == GELU; /* known to the compiler, unlike `kept` */
    float sums[MOST_CHANNELS], products[MOST_CHANNELS];
    memset(sums, 0, sizeof(float) * lanes);
    memset(products, 0, sizeof(float) * lanes);
    memset(totals, 0, sizeof(double) * 2 * channels);
    index pending = 0;
    for (index start = first; start < end; start += lanes) {
        index count = end - start < lanes ? end - start : lanes;
        const number *restrict row = x + start;
        const number *by = dy + start;
#pragma omp simd
        for (index lane = 0; lane < count; lane++) {
            float value = widened(row[lane]);
            float z = y ? widened(y[start + lane]) : value * scale[lane] + shift[lane];
            float gradient = through(widened(by[lane]), z, activation);
            if (keep) {
                kept[start + lane] = narrowed(gradient);
                gradient = widened(kept[start + lane]);
            }
            sums[lane] += gradient;
            products[lane] += gradient * (value - mean[lane]);
        }
        pending += count;
        if (pending >= BLOCK) {
            add_lanes(sums, totals, channels, lanes);
            add_lanes(products, totals + channels, channels, lanes);
            pending = 0;
        }
    }
    add_lanes(sums, totals, channels, lanes);
    add_lanes(products, totals + channels, channels, lanes);
}

/* dx = gradient * scale + x * tilt + level, plus `past` where it is given. */
INLINE void spread_gradients(const number *restrict x, const number *dy, const number *past, number *dx, index first,
                             index end, index lanes, const float *restrict scale, const float *restrict shift,
                             const float *restrict tilt, const float *restrict level, int activation) {
    for (index start = first; start < end; start += lanes) {
        index count = end - start < lanes ? end - start : lanes;
        const number *row = x + start, *by = dy + start;
        number *out = dx + start;
#pragma omp simd
        for (index lane = 0; lane < count; lane++) {
            float value = widened(row[lane]);
            float gradient = through(widened(by[lane]), value * scale[lane] + shift[lane], activation);
            float result = gradient * scale[lane] + value * tilt[lane] + level[lane];
            if (past) result += widened(past[start + lane]);
            out[lane] = narrowed(result);
        }
    }
}

/* GELU's gradient costs enough to be kept, and one that an addend shares is wanted: `kept` is where for either. */
static void sum_gradients_any(const number *x, const number *y, const number *dy, number *kept, index first, index end,
                              index channels, index lanes, const float *scale, const float *shift,
                              const float *mean, double *totals, int activation) {
    if (y) sum_gradients(x, y, dy, kept, first, end, channels, lanes, scale, shift, mean, totals, RELU);
    else if (activation == RELU)
        sum_gradients(x, NULL, dy, NULL, first, end, channels, lanes, scale, shift, mean, totals, RELU);
    else if (activation == GELU)
        sum_gradients(x, NULL, dy, kept, first, end, channels, lanes, scale, shift, mean, totals, GELU);
    else sum_gradients(x, NULL, dy, NULL, first, end, channels, lanes, scale, shift, mean, totals, NONE);
}

static void spread_gradients_any(const number *x, const number *by, const number *past, number *dx, index first,
                                 index end, index lanes, const float *scale, const float *shift, const float *tilt,
                                 const float *level, int activation) {
    if (activation == RELU && past)
        spread_gradients(x, by, past, dx, first, end, lanes, scale, shift, tilt, level, RELU);
    else if (activation == RELU)
        spread_gradients(x, by, NULL, dx, first, end, lanes, scale, shift, tilt, level, RELU);
    else if (past)
        spread_gradients(x, by, past, dx, first, end, lanes, scale, shift, tilt, level, NONE);
    else
        spread_gradients(x, by, NULL, dx, first, end, lanes, scale, shift, tilt, level, NONE);
}

/* The gradients of norm_forward by x, weight and bias, from `dy`, that by y. `past` may be NULL; it is what comes to x
 * by another way, and is added to dx. `dx` may be `dy`. y: NULL unless there was an addend, the gradient by which goes
 * into `by_addend`. */
void norm_backward(const number *x, const number *y, const number *dy, const number *past, number *dx,
                   number *by_addend, index rows, index channels, const float *weight, const float *bias,
                   const float *statistics, float *by_weight, float *by_bias, double *partial, int activation,
                   int threads) {
    index lanes = lanes_of(channels);
    const float *mean = statistics, *inverse = statistics + channels;
    float means[MOST_CHANNELS], scale[MOST_CHANNELS], shift[MOST_CHANNELS];
    float tilt[MOST_CHANNELS], level[MOST_CHANNELS];
    int is_kept = y || activation == GELU;
    number *kept = y ? by_addend : dx;
    for (index lane = 0; lane < lanes; lane++) {
        index channel = lane % channels;
        means[lane] = mean[channel];
        scale[lane] = weight[channel] * inverse[channel];
        shift[lane] = bias[channel] - mean[channel] * scale[lane];
    }
#pragma omp parallel num_threads(threads)
    {
        index first, end;
        portion(rows, channels, &first, &end);
        sum_gradients_any(x, y, dy, kept, first, end, channels, lanes, scale, shift, means,
                          partial + 2 * channels * omp_get_thread_num(), activation);
#pragma omp barrier
#pragma omp single
        {
            for (index channel = 0; channel < channels; channel++) {
                double sum = 0.0, product = 0.0;
                for (index thread = 0; thread < omp_get_num_threads(); thread++) {
                    sum += partial[2 * channels * thread + channel];
                    product += partial[2 * channels * thread + channels + channel];
                }
                product *= inverse[channel];
                by_bias[channel] = (float)sum;
                by_weight[channel] = (float)product;
                double slant = -(double)scale[channel] * inverse[channel] * product / rows;
                tilt[channel] = (float)slant;
                level[channel] = (float)(-scale[channel] * sum / rows - slant * mean[channel]);
            }
            for (index lane = channels; lane < lanes; lane++) {
                tilt[lane] = tilt[lane % channels];
                level[lane] = level[lane % channels];
            }
        }
        spread_gradients_any(x, is_kept ? kept : dy, past, dx, first, end, lanes, scale, shift, tilt, level,
                             is_kept ? NONE : activation);
    }
}

INLINE int larger(float value, float best) { return value > best || value != value; }

/* The largest of every 2x2 window, and its place 0 to 3 in reading order, the first among equals. A last odd
 * line of the input is left out. */
void pool_forward(const number *x, number *y, uint8_t *place, index images, index height, index width,
                  index channels, int threads) {
    index tall = height / 2, wide = width / 2, line = width * channels;
#pragma omp parallel for num_threads(threads)
    for (index row = 0; row < images * tall; row++) {
        const number *above = x + (row / tall * height + row % tall * 2) * line;
        for (index column = 0; column < wide; column++) {
            const number *restrict from = above + 2 * column * channels;
            number *restrict to = y + (row * wide + column) * channels;
            uint8_t *restrict at = place + (row * wide + column) * channels;
#pragma omp simd
            for (index channel = 0; channel < channels; channel++) {
                float best = widened(from[channel]);
                uint8_t found = 0;
                float right = widened(from[channel + channels]);
                float below = widened(from[channel + line]), across = widened(from[channel + line + channels]);
                found = larger(right, best) ? 1 : found;
                best = larger(right, best) ? right : best;
                found = larger(below, best) ? 2 : found;
                best = larger(below, best) ? below : best;
                found = larger(across, best) ? 3 : found;
                best = larger(across, best) ? across : best;
                to[channel] = narrowed(best);
                at[channel] = found;
            }
        }
    }
}

/* dx (images, height, width, channels) from dy, that by y: every entry goes to its window's place. */
void pool_backward(const number *dy, const uint8_t *place, number *dx, index images, index height, index width,
                   index channels, int threads) {
    index tall = height / 2, wide = width / 2, line = width * channels;
#pragma omp parallel for num_threads(threads)
    for (index image = 0; image < images; image++) {
        number *all = dx + image * height * line;
        for (index row = 0; row < tall; row++) {
            number *above = all + 2 * row * line;
            for (index column = 0; column < wide; column++) {
                index source = ((image * tall + row) * wide + column) * channels;
                const number *restrict by = dy + source;
                const uint8_t *restrict at = place + source;
                number *restrict to = above + 2 * column * channels;
#pragma omp simd
                for (index channel = 0; channel < channels; channel++) {
                    to[channel] = at[channel] == 0 ? by[channel] : 0;
                    to[channel + channels] = at[channel] == 1 ? by[channel] : 0;
                    to[channel + line] = at[channel] == 2 ? by[channel] : 0;
                    to[channel + line + channels] = at[channel] == 3 ? by[channel] : 0;
                }
            }
            if (width % 2) {
                memset(above + (width - 1) * channels, 0, channels * sizeof(number));
                memset(above + line + (width - 1) * channels, 0, channels * sizeof(number));
            }
        }
        if (height % 2) memset(all + (height - 1) * line, 0, line * sizeof(number));
    }
}
