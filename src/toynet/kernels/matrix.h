/* Convolutions in a matrix unit: where maps' pixels and a kernel's taps meet.
 *
 * 32 images are taken at once: of one pixel of all of them, 32 channels are a left cell (tiles.h), and a kernel's tap
 * from 32 channels to 32 filters is a right cell. The results of a pixel are sums over the taps inside of the map, so
 * no border is filled with zeros and multiplied, and any stride and any order of the sum, the gradient's by the maps
 * too, is the same loop.
 *
 * Where there are only 16 channels, or 16 filters, two neighbouring pixels of a line fill a cell, and what lies
 * between cells of pixels is a tap whose cell holds more than one of the kernel's, beside zeros. All is told by the
 * distance from the place under the first tap to a cell's first pixel.
 */
#ifndef TOYNET_MATRIX_H
#define TOYNET_MATRIX_H

#include "tiles.h"

enum { NARROW = 16 };

/* Numbers between what is read of a line and what is asked for. */
enum { AHEAD = 2048 };

/* Maps of height x width pixels and `channels`; results of tall x wide with `filters`, each under side x side taps,
 * `stride` apart, the first one `top` and `left` pixels outside the map. reversed: what are maps here were results
 * there, as a gradient by the maps goes. Behind these, how it is gone about, see matrix.py. */
typedef struct {
    index images, height, width, channels, tall, wide, filters, side, stride, top, left, reversed;
    index threads, groups, strips, sharing, lines, most, slices, fresh;
} job;

INLINE index parts(index whole, index part) { return (whole + part - 1) / part; }

INLINE index smaller(index one, index other) { return one < other ? one : other; }

INLINE index larger(index one, index other) { return one > other ? one : other; }

/* Rounded down. */
INLINE index quotient(index a, index b) { return a >= 0 ? a / b : -((b - 1 - a) / b); }

/* Pixels of a cell. */
INLINE index pixels_of(index channels) { return channels == NARROW ? 2 : 1; }

/* Cells of all channels of a pixel. */
INLINE index cells_of(index channels) { return parts(channels, SIDE); }

INLINE index blocks_of(const job *j) { return parts(j->images, SIDE); }

INLINE index images_in(const job *j, index block) { return smaller(j->images - block * SIDE, SIDE); }

/* Pixels that the first cell of a line lies outside of the map. */
INLINE index outside(const job *j) { return j->channels == NARROW ? j->left & 1 : 0; }

/* Cells along a line of maps, and of results. */
INLINE index across(const job *j) { return parts(j->width + outside(j), pixels_of(j->channels)); }

INLINE index results_across(const job *j) { return parts(j->wide, pixels_of(j->filters)); }

/* The distances along a line at which a cell of pixels counts for one of results: the least, and how many. */
INLINE index nearest(const job *j) { return 1 - pixels_of(j->reversed ? j->filters : j->channels); }

enum { MOST_DISTANCES = 6 }; /* of three taps between cells of two pixels, two apart */

INLINE index distances(const job *j) {
    index unit = pixels_of(j->channels), results = pixels_of(j->filters);
    return j->side + (j->reversed ? results - 1 + (unit - 1) * j->stride : unit - 1 + (results - 1) * j->stride);
}

/* The tap of that distance between pixel `from` of a cell and pixel `to` of a cell of results; side or more, or less
 * than 0, if there is none. */
INLINE index tap_of(const job *j, index distance, index from, index to) {
    return j->reversed ? distance + to - from * j->stride : distance + from - to * j->stride;
}

/* Which cell of pixels lies at that distance from one of results; or -1. */
INLINE index cell_at(const job *j, index result, index distance) {
    index first = result * pixels_of(j->filters), unit = pixels_of(j->channels), step = unit, start;
    if (j->reversed) {
        start = first + j->left + j->stride * outside(j) - distance;
        step *= j->stride;
    } else {
        start = distance + outside(j) + first * j->stride - j->left;
    }
    return start >= 0 && start % step == 0 && start / step < across(j) ? start / step : -1;
}

/* Which line of maps is under that tap of a line of results; or -1. */
INLINE index line_at(const job *j, index line, index tap) {
    index start = j->reversed ? line + j->top - tap : line * j->stride + tap - j->top;
    index step = j->reversed ? j->stride : 1;
    return start >= 0 && start % step == 0 && start / step < j->height ? start / step : -1;
}

/* No line of results from this one on wants a line of maps above; and none up to this one wants one below. */
INLINE index first_line(const job *j, index line) {
    index start = j->reversed ? -quotient(j->side - 1 - line - j->top, j->stride) : line * j->stride - j->top;
    return larger(start, 0);
}

INLINE index last_line(const job *j, index line) {
    index end = j->reversed ? quotient(line + j->top, j->stride) : line * j->stride + j->side - 1 - j->top;
    return smaller(end, j->height - 1);
}

/* The end of the lines of results from `line` on that want no more than `held` lines of maps; one at least. */
INLINE index end_of_lines(const job *j, index line, index last, index held) {
    index end = line + 1, first = first_line(j, line);
    while (end < last && last_line(j, end) - first < held) end++;
    return end;
}

/* Where cell `cell` of a line of pixels begins, and which of its pixels are inside of the map. */
typedef struct {
    index at, first, end;
} place;

INLINE place place_of(index cell, index pixels, index outside, index width) {
    index pixel = cell * pixels - outside;
    return (place){pixel, larger(-pixel, 0), smaller(width - pixel, pixels)};
}

/* SIDE numbers of a cell at `from`, of which only these pixels are inside. */
INLINE row load_cell(const number *from, place p, index pixels) {
    row result = {0};
    if (p.first == 0 && p.end == pixels) memcpy(&result, from, sizeof result);
    else
        memcpy((number *)&result + p.first * NARROW, from + p.first * NARROW,
               (p.end - p.first) * NARROW * sizeof(number));
    return result;
}

#endif
