/* The patches under a convolution's windows as rows of a matrix, and back: im2col and col2im, on maps in
 * channels-last order.
 */
#include "numbers.h"

/* Channels that are summed at once. */
enum { LANES = 256 };

/* Geometry of a convolution: maps of height x width, tall x wide windows of side x side pixels, `stride` apart,
 * the first one `top` and `left` pixels outside the map. */
typedef struct {
    index images, height, width, channels, tall, wide, side, stride, top, left;
} windows;

enum { MOST_SIDE = 3, MOST_PARTS = 9 };

/* Every window as a row of side * side * channels numbers, by line, pixel and channel; zero outside the map. */
void gather(const number *x, number *rows, const windows *w, int threads) {
    index side = w->side, channels = w->channels, line = w->width * channels;
#pragma omp parallel for num_threads(threads)
    for (index output = 0; output < w->images * w->tall; output++) {
        const number *image = x + output / w->tall * w->height * line;
        index top = output % w->tall * w->stride - w->top;
        number *to = rows + output * w->wide * side * side * channels;
        for (index column = 0; column < w->wide; column++) {
            index start = column * w->stride - w->left, end = start + side;
            index first = start < 0 ? 0 : start, last = end > w->width ? w->width : end;
            for (index row = top; row < top + side; row++, to += side * channels) {
                if (row < 0 || row >= w->height) {
                    memset(to, 0, side * channels * sizeof(number));
                    continue;
                }
                if (first == start && last == end) {
                    memcpy(to, image + row * line + start * channels, side * channels * sizeof(number));
                    continue;
                }
                memset(to, 0, (first - start) * channels * sizeof(number));
                memcpy(to + (first - start) * channels, image + row * line + first * channels,
                       (last - first) * channels * sizeof(number));
                memset(to + (last - start) * channels, 0, (end - last) * channels * sizeof(number));
            }
        }
    }
}

/* The converse: every pixel of dx is the sum of what the windows' rows hold for it. */
void fold(const number *rows, number *dx, const windows *w, int threads) {
    index side = w->side, channels = w->channels, line = w->width * channels;
#pragma omp parallel for num_threads(threads)
    for (index row = 0; row < w->images * w->height; row++) {
        index image = row / w->height, y = row % w->height + w->top, downs[MOST_SIDE], lines = 0;
        for (index down = 0; down < side; down++)
            if (y >= down && (y - down) % w->stride == 0 && (y - down) / w->stride < w->tall) downs[lines++] = down;
        if (lines == 0) {
            memset(dx + row * line, 0, line * sizeof(number));
            continue;
        }
        for (index column = 0; column < w->width; column++) {
            const number *parts[MOST_PARTS];
            index count = 0, x = column + w->left;
            for (index along = 0; along < side; along++) {
                index before = x - along, out_x = before / w->stride;
                if (before < 0 || out_x * w->stride != before || out_x >= w->wide) continue;
                for (index l = 0; l < lines; l++) {
                    index output = (image * w->tall + (y - downs[l]) / w->stride) * w->wide + out_x;
                    parts[count++] = rows + ((output * side + downs[l]) * side + along) * channels;
                }
            }
            number *restrict to = dx + row * line + column * channels;
            if (count <= 1) {
                if (count) memcpy(to, parts[0], channels * sizeof(number));
                else memset(to, 0, channels * sizeof(number));
                continue;
            }
            for (index first = 0; first < channels; first += LANES) {
                index size = channels - first < LANES ? channels - first : LANES;
                float sums[LANES] = {0};
                for (index part = 0; part < count; part++)
#pragma omp simd
                    for (index lane = 0; lane < size; lane++) sums[lane] += widened(parts[part][first + lane]);
#pragma omp simd
                for (index lane = 0; lane < size; lane++) to[first + lane] = narrowed(sums[lane]);
            }
        }
    }
}
