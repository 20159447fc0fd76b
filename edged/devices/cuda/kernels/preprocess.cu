// A camera's bytes to a model's input in one pass: colour, resampling, padding, mean and std, layout, dtype.
// The meaning is edged/devices/reference.py's; the host's half is preprocess.py beside this folder.
//
// Compiled once for a kind of tensor:
//   CHANNELS 3 | 1        colour or grey
//   NHWC     0 | 1        planes or pixels
//   ELEMENT  0..3         float32, float16, uint8, int8
//   DEWARP   0 | 1        sample along an affine map, or through a table of source positions (dewarp.py)
// All that differs between cameras and frames comes from a row's Descriptor: one launch fills a batch whose rows
// show cameras of different sizes and formats, and a replayed graph follows addresses that change.
//
// A thread makes PIXELS neighbours of one row, so that a warp reads a run of a source row and writes a run of the
// tensor by one store a plane. Taps that the result does not depend on repeat the address of one that it does:
// shrinking reads no byte more than it needs, which counts where reads cross PCIe.
#include "common.cuh"

#define PIXELS 4  // preprocess.py has it, too
#define BLOCKS 4  // of 256 threads on a multiprocessor at once; preprocess.py makes one such wave of them

struct Descriptor {  // 112 bytes; descriptors.py has its mirror
    u64 plane0, plane1;                        // device addresses; plane1: NV12's chroma
    int pitch0, pitch1;                        // bytes between rows
    int format;                                // enum Format; 0: leave this row of the batch as it is
    int one_tap;                               // no position lies between pixels: no blending
    int roi_x, roi_y, roi_w, roi_h;            // what is seen of the source, in its pixels
    int place_x, place_y, place_w, place_h;    // where it goes in the tensor; the rest is padding
    float step_x, step_y;                      // roi_w / place_w, roi_h / place_h
    float rest_x, rest_y;                      // what the steps' doubles have beyond these floats
    float luma_zero, luma_gain;                // 2^23 + black; gain to 0..1
    float red_v, green_u, green_v, blue_u;     // to 0..1
    float tie;                                 // added before rounding (color.py), to 0..1
    int unused;
};

struct Target {  // 48 bytes; descriptors.py has its mirror
    int width, height;
    float pad;                    // a grey level
    int reversed;                 // the tensor's channels are B, G, R
    int vector;                   // rows are whole groups of PIXELS, and aligned to them
    float scale[3], shift[3];     // of the tensor's channels: value = level * scale + shift
    int unused;
};

static_assert(sizeof(Descriptor) == 112 && sizeof(Target) == 48, "descriptors.py has other sizes");

// Where the addresses allow it, a pair's or group's bytes come in one load (NV12_PAIRS and so on).
enum Format { UNUSED, BGR, RGB, GREY, YUYV, UYVY, NV12, YUYV_WORDS, UYVY_WORDS, NV12_PAIRS };

#if ELEMENT == 0
typedef float Element;
#elif ELEMENT == 1
typedef u16 Element;
#elif ELEMENT == 2
typedef u8 Element;
#else
typedef signed char Element;
#endif

struct __align__(PIXELS * sizeof(Element)) Group {
    Element at[PIXELS];
};

struct Colour {
    float at[CHANNELS];  // R, G, B or grey; 2^23 + a whole grey level, as a byte or-ed into BYTE_BITS is
};

__device__ __forceinline__ Element element_of(float value) {
#if ELEMENT == 0
    return value;
#elif ELEMENT == 1
    return half_of(value);
#else
    const int low = ELEMENT == 2 ? 0 : -128;
    return (Element)max(low, min(low + 255, __float2int_rn(value)));
#endif
}

__device__ __forceinline__ float number(u32 byte) { return __uint_as_float(byte | BYTE_BITS) - BYTE_ZERO; }

// Of 0..1: YUV is computed in that, where clipping is part of the multiplication.
__device__ __forceinline__ float whole_level(float share) { return __fmaf_rn(__saturatef(share), 255.0f, BYTE_ZERO); }

__device__ __forceinline__ Colour colour_of(const Descriptor& d, u32 y, u32 u, u32 v) {
    const float luma = fmaxf(__uint_as_float(y | BYTE_BITS) - d.luma_zero, 0.0f);
    const float light = __fmaf_rn(luma, d.luma_gain, d.tie);
    Colour c;
#if CHANNELS == 1
    c.at[0] = whole_level(light);
#else
    const float cb = __uint_as_float(u | BYTE_BITS) - (BYTE_ZERO + 128.0f);
    const float cr = __uint_as_float(v | BYTE_BITS) - (BYTE_ZERO + 128.0f);
    c.at[0] = whole_level(__fmaf_rn(cr, d.red_v, light));
    c.at[1] = whole_level(__fmaf_rn(cr, d.green_v, __fmaf_rn(cb, d.green_u, light)));
    c.at[2] = whole_level(__fmaf_rn(cb, d.blue_u, light));
#endif
    return c;
}

__device__ __forceinline__ Colour colour_of(u32 r, u32 g, u32 b) {
    Colour c;
#if CHANNELS == 1
    // color.py's GREY_WEIGHTS, exact in a float; half a step more, so that halves go up
    const float unit = 1.0f / 32768, half = 0.5f / 32768;
    const float grey = __fmaf_rn(number(g), 19235 * unit, __fmaf_rn(number(b), 3735 * unit, half));
    c.at[0] = __fmaf_rn(number(r), 9798 * unit, grey) + BYTE_ZERO;
#else
    c.at[0] = __uint_as_float(r | BYTE_BITS), c.at[1] = __uint_as_float(g | BYTE_BITS);
    c.at[2] = __uint_as_float(b | BYTE_BITS);
#endif
    return c;
}

struct Row {  // one row of the source
    const u8 *first, *chroma;
};

template <int FORMAT>
__device__ __forceinline__ Row row_of(const Descriptor& d, int y) {
    Row row;
    row.first = (const u8*)d.plane0 + (long long)y * d.pitch0;
    row.chroma = (const u8*)d.plane1 + (long long)(y >> 1) * d.pitch1;
    return row;
}

template <int FORMAT>
__device__ __forceinline__ Colour pixel(const Descriptor& d, Row row, int x) {
    if (FORMAT == NV12_PAIRS) {
        const u32 y = __ldg(row.first + x);
#if CHANNELS == 1
        return colour_of(d, y, 0, 0);
#else
        const u32 pair = __ldg((const u16*)row.chroma + (x >> 1));
        return colour_of(d, y, pair & 255, pair >> 8);
#endif
    }
    if (FORMAT == NV12) {
        const u8* pair = row.chroma + (x & ~1);
        return colour_of(d, __ldg(row.first + x), __ldg(pair), __ldg(pair + 1));
    }
    if (FORMAT == YUYV_WORDS || FORMAT == UYVY_WORDS) {
        const u32 word = __ldg((const u32*)row.first + (x >> 1));
        const int luma = FORMAT == YUYV_WORDS ? 0 : 8, chroma = 8 - luma;
        return colour_of(d, word >> (luma + 16 * (x & 1)) & 255, word >> chroma & 255, word >> (chroma + 16) & 255);
    }
    if (FORMAT == YUYV || FORMAT == UYVY) {
        const u8* group = row.first + 4 * (x >> 1);
        const int luma = FORMAT == YUYV ? 0 : 1, chroma = 1 - luma;
        return colour_of(d, __ldg(group + luma + 2 * (x & 1)), __ldg(group + chroma), __ldg(group + chroma + 2));
    }
    if (FORMAT == GREY) {
        Colour c;
        const float level = __uint_as_float(__ldg(row.first + x) | BYTE_BITS);
        for (int k = 0; k < CHANNELS; k++) c.at[k] = level;
        return c;
    }
    const u8* rgb = row.first + 3 * x;
    const int red = FORMAT == RGB ? 0 : 2;
    return colour_of(__ldg(rgb + red), __ldg(rgb + 1), __ldg(rgb + 2 - red));
}

struct Taps {  // two neighbours on an axis, absolute, and the weight of the second: a multiple of 2^-11
    int low, high;
    float weight;
};

// Where pixel `n` of the picture is in the region of interest: the double of OpenCV's formula, rounded once to a float.
__device__ __forceinline__ float position(u32 n, float step, float rest) {
    const float centre = __uint_as_float(n | BYTE_BITS) - (BYTE_ZERO - 0.5f);
    return __fmaf_rn(centre, step, __fmaf_rn(centre, rest, -0.5f));
}

// `at` is relative to the region of interest, which begins at `start`; pixel centres are whole numbers. At an edge
// both taps are the last pixel. The weight stays what it is, as OpenCV's of rows do: it decides what is cut off.
__device__ __forceinline__ Taps taps_at(float at, int start, int size) {
    const float floor = __fadd_rd(at, FLOORER);
    const int low = (int)__float_as_uint(floor) - FLOORER_BITS;
    Taps t;
    t.weight = (at - (floor - FLOORER) + 6144.0f) - 6144.0f;  // floats from 2^12 on have steps of 2^-11
    t.low = start + max(low, 0);
    t.high = start + min(low + (t.weight > 0.0f), size - 1);
    return t;
}

// How a row of `upper` and one of `lower` make one, by floats whose steps do the cutting: those from 2^16 on have
// steps of 2^-7, those from 2^21 on of 2^-2, those from 2^23 on of 1.
struct Mix {
    float upper, upper_zero, lower, lower_zero;
};

#define FINE_ZERO 65536.0f
#define COARSE_ZERO 2097152.0f

__device__ __forceinline__ Mix mix_of(float weight) {
    Mix m;
    m.upper = 1.0f - weight;
    m.lower = weight;
    m.upper_zero = __fmaf_rn(m.upper, -FINE_ZERO, COARSE_ZERO);
    // 256 more, so that the steps are the same below zero; a half, so that the sum's floor is rounded
    m.lower_zero = __fmaf_rn(m.lower, -FINE_ZERO, -(COARSE_ZERO + 256.0f - 0.5f));
    return m;
}

// OpenCV's INTER_LINEAR for 8 bits, to the last bit, so that a model sees from a GPU what it sees from a CPU: weights
// of 11 bits; columns blended and cut to 1/128 of a level; each row's share of that cut to 1/4; their sum rounded.
template <int FORMAT>
__device__ __forceinline__ void blend(const Descriptor& d, Row top, Row bottom, Taps x, const Mix& y, float* level) {
    const Colour a = pixel<FORMAT>(d, top, x.low), b = pixel<FORMAT>(d, top, x.high);
    const Colour e = pixel<FORMAT>(d, bottom, x.low), f = pixel<FORMAT>(d, bottom, x.high);
    for (int k = 0; k < CHANNELS; k++) {
        const float upper = __fmaf_rd(b.at[k] - a.at[k], x.weight, a.at[k] - (BYTE_ZERO - FINE_ZERO));
        const float lower = __fmaf_rd(f.at[k] - e.at[k], x.weight, e.at[k] - (BYTE_ZERO - FINE_ZERO));
        const float sum = __fmaf_rd(upper, y.upper, y.upper_zero) + __fmaf_rd(lower, y.lower, y.lower_zero);
        level[k] = __fadd_rd(sum, BYTE_ZERO + 256.0f) - BYTE_ZERO;
    }
}

// The pixel of the source that column `at` of the picture shows, and its neighbour.
__device__ __forceinline__ Taps column_taps(const Descriptor& d, int at) {
    const int column = min(max(at, 0), d.place_w - 1);
    return taps_at(position(column, d.step_x, d.rest_x), d.roi_x, d.roi_w);
}

struct Columns {  // of the PIXELS neighbours that a thread makes in every row that it makes
    int left;             // in the picture: negative, or beyond its end, where that is padding
    int source[PIXELS];   // the pixels of the source, if it is one for each
};

// Levels of a thread's pixels in row `down` of the picture.
template <int FORMAT, int ONE_TAP>
__device__ __forceinline__ void levels_of(
    const Descriptor& d, const float2* map, const Columns& c, int down, float pad, float (&level)[PIXELS][CHANNELS]
) {
#if DEWARP
#pragma unroll
    for (int i = 0; i < PIXELS; i++) {
        const int column = min(max(c.left + i, 0), d.place_w - 1);
        const float2 at = __ldg(map + ((long long)down * d.place_w + column));
        // false for NaN: the table's word for "nothing is seen here"
        const bool seen = at.x >= -0.5f && at.y >= -0.5f && at.x < d.roi_w - 0.5f && at.y < d.roi_h - 0.5f;
        const Taps h = taps_at(seen ? at.x : 0.0f, d.roi_x, d.roi_w), v = taps_at(seen ? at.y : 0.0f, d.roi_y, d.roi_h);
        const Mix mix = mix_of(v.weight);
        blend<FORMAT>(d, row_of<FORMAT>(d, v.low), row_of<FORMAT>(d, v.high), h, mix, level[i]);
        for (int k = 0; k < CHANNELS; k++) level[i][k] = seen ? level[i][k] : pad;
    }
#else
    const Taps v = taps_at(position(down, d.step_y, d.rest_y), d.roi_y, d.roi_h);
    const Mix mix = mix_of(v.weight);
    const Row top = row_of<FORMAT>(d, v.low), bottom = row_of<FORMAT>(d, v.high);
#pragma unroll
    for (int i = 0; i < PIXELS; i++) {
        if (ONE_TAP) {
            const Colour found = pixel<FORMAT>(d, top, c.source[i]);
            for (int k = 0; k < CHANNELS; k++) level[i][k] = found.at[k] - BYTE_ZERO;
        } else {
            blend<FORMAT>(d, top, bottom, column_taps(d, c.left + i), mix, level[i]);
        }
    }
#endif
    if (c.left >= 0 && c.left + PIXELS <= d.place_w) return;
#pragma unroll
    for (int i = 0; i < PIXELS; i++) {
        const bool inside = c.left + i >= 0 && c.left + i < d.place_w;
        for (int k = 0; k < CHANNELS; k++) level[i][k] = inside ? level[i][k] : pad;
    }
}

// PIXELS pixels of a row as they are stored: a group a plane, or groups that follow one another
struct Pack {
    Group group[CHANNELS];
};

__device__ __forceinline__ Pack pack(const Target& t, const float (&level)[PIXELS][CHANNELS]) {
    Element value[PIXELS][CHANNELS];
#pragma unroll
    for (int i = 0; i < PIXELS; i++) {
#pragma unroll
        for (int k = 0; k < CHANNELS; k++) {
            const float of = CHANNELS == 3 && t.reversed ? level[i][CHANNELS - 1 - k] : level[i][k];
            value[i][k] = element_of(__fmaf_rn(of, t.scale[k], t.shift[k]));
        }
    }
    Pack p;
#pragma unroll
    for (int k = 0; k < CHANNELS; k++) {
#pragma unroll
        for (int i = 0; i < PIXELS; i++) {
            const int n = k * PIXELS + i;
            p.group[k].at[i] = NHWC ? value[n / CHANNELS][n % CHANNELS] : value[i][k];
        }
    }
    return p;
}

// PIXELS elements, or the first `count` of them where a group would cross the row's end or an alignment
__device__ __forceinline__ void store(Element* to, const Group& group, bool whole, int count) {
    if (whole) {
        *(Group*)to = group;
    } else {
        for (int i = 0; i < PIXELS; i++)
            if (i < count) to[i] = group.at[i];
    }
}

__device__ __forceinline__ void write(const Target& t, Element* out, int x, int y, const Pack& p) {
    const int count = min(PIXELS, t.width - x);
    const long long at = (long long)y * t.width + x;
#pragma unroll
    for (int k = 0; k < CHANNELS; k++) {
        if (NHWC)
            store(out + at * CHANNELS + k * PIXELS, p.group[k], t.vector, count * CHANNELS - k * PIXELS);
        else
            store(out + (long long)k * t.width * t.height + at, p.group[k], t.vector, count);
    }
}

// Every `step`th row of the tensor from `y` to before `end`, all in the picture; gives the row after those.
template <int FORMAT, int ONE_TAP>
__device__ __forceinline__ int picture_rows(
    const Descriptor& d, const float2* map, const Target& t, Element* out, const Columns& c, int x, int y, int end, int step
) {
#pragma unroll 1
    for (; y < end; y += step) {
        if (!ONE_TAP) forget();
        float level[PIXELS][CHANNELS];
        levels_of<FORMAT, ONE_TAP>(d, map, c, y - d.place_y, t.pad, level);
        write(t, out, x, y, pack(t, level));
    }
    return y;
}

template <int FORMAT>
__device__ __forceinline__ int picture(
    const Descriptor& d, const float2* map, const Target& t, Element* out, int x, int y, int end, int step
) {
    forget();
    Columns c;
    c.left = x - d.place_x;
#pragma unroll
    for (int i = 0; i < PIXELS; i++) c.source[i] = column_taps(d, c.left + i).low;
    if (!DEWARP && d.one_tap) return picture_rows<FORMAT, !DEWARP>(d, map, t, out, c, x, y, end, step);
    return picture_rows<FORMAT, 0>(d, map, t, out, c, x, y, end, step);
}

// A thread makes the same columns of every row that is its own: what depends on a column is computed once.
__device__ __forceinline__ void fill(const Descriptor& d, const float2* map, const Target& t, Element* out) {
    const int x = (blockIdx.x * blockDim.x + threadIdx.x) * PIXELS, step = gridDim.y * blockDim.y;
    if (x >= t.width) return;
    float level[PIXELS][CHANNELS];
    for (int i = 0; i < PIXELS; i++)
        for (int k = 0; k < CHANNELS; k++) level[i][k] = t.pad;
    const Pack padding = pack(t, level);
    const bool seen = x + PIXELS > d.place_x && x < d.place_x + d.place_w;
    const int first = seen ? d.place_y : t.height, end = seen ? first + d.place_h : t.height;
    int y = blockIdx.y * blockDim.y + threadIdx.y;
    for (; y < first; y += step) write(t, out, x, y, padding);
    if (y < end) {
        switch (d.format) {
            case BGR: y = picture<BGR>(d, map, t, out, x, y, end, step); break;
            case RGB: y = picture<RGB>(d, map, t, out, x, y, end, step); break;
            case GREY: y = picture<GREY>(d, map, t, out, x, y, end, step); break;
            case YUYV: y = picture<YUYV>(d, map, t, out, x, y, end, step); break;
            case UYVY: y = picture<UYVY>(d, map, t, out, x, y, end, step); break;
            case NV12: y = picture<NV12>(d, map, t, out, x, y, end, step); break;
            case YUYV_WORDS: y = picture<YUYV_WORDS>(d, map, t, out, x, y, end, step); break;
            case UYVY_WORDS: y = picture<UYVY_WORDS>(d, map, t, out, x, y, end, step); break;
            case NV12_PAIRS: y = picture<NV12_PAIRS>(d, map, t, out, x, y, end, step); break;
        }
    }
    for (; y < t.height; y += step) write(t, out, x, y, padding);
}

// Rows 0 .. gridDim.z - 1 of the batch at `out`, as table[row] says (mapped memory: for graphs).
extern "C" __global__ void __launch_bounds__(256, BLOCKS)
    preprocess_rows(const Descriptor* table, const float2* map, const Target t, Element* out) {
    // read once a block: the table may be on the other side of PCIe
    __shared__ u32 words[sizeof(Descriptor) / 4] __attribute__((aligned(16)));
    const int thread = threadIdx.y * blockDim.x + threadIdx.x;
    if (thread < (int)sizeof(Descriptor) / 4) words[thread] = ((const u32*)(table + blockIdx.z))[thread];
    __syncthreads();
    const Descriptor& d = *(const Descriptor*)words;
    if (d.format != UNUSED) fill(d, map, t, out + (long long)blockIdx.z * CHANNELS * t.width * t.height);
}

// The row at `out`, its descriptor given by value: work queued ahead needs no table that outlives it.
extern "C" __global__ void __launch_bounds__(256, BLOCKS)
    preprocess_one(const Descriptor d, const float2* map, const Target t, Element* out) {
    __shared__ u32 words[sizeof(Descriptor) / 4] __attribute__((aligned(16)));
    if (threadIdx.y * blockDim.x + threadIdx.x == 0) *(Descriptor*)words = d;
    __syncthreads();
    fill(*(const Descriptor*)words, map, t, out);
}
