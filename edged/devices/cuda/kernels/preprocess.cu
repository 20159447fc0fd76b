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

#define PIXELS 4

struct Descriptor {  // 96 bytes; descriptors.py has its mirror
    u64 plane0, plane1;                        // device addresses; plane1: NV12's chroma
    int pitch0, pitch1;                        // bytes between rows
    int format;                                // enum Format; 0: leave this row of the batch as it is
    int one_tap;                               // no position lies between pixels: no blending
    int roi_x, roi_y, roi_w, roi_h;            // what is seen of the source, in its pixels
    int place_x, place_y, place_w, place_h;    // where it goes in the tensor; the rest is padding
    float step_x, step_y;                      // roi_w / place_w, roi_h / place_h
    float luma_zero, luma_gain;                // 2^23 + black; gain to 0..1
    float red_v, green_u, green_v, blue_u;     // to 0..1
};

struct Target {  // 48 bytes; descriptors.py has its mirror
    int width, height;
    float pad;                    // a grey level
    int reversed;                 // the tensor's channels are B, G, R
    int vector;                   // rows are whole groups of PIXELS, and aligned to them
    float scale[3], shift[3];     // of the tensor's channels: value = level * scale + shift
    int unused;
};

static_assert(sizeof(Descriptor) == 96 && sizeof(Target) == 48, "descriptors.py has other sizes");

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
    float at[CHANNELS];  // R, G, B or grey; 0..255 / unit(format)
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

// Grey levels in one unit of a Colour. YUV is computed in 0..1, where clipping is part of the multiplication.
__device__ constexpr float unit(int format) { return format == BGR || format == RGB || format == GREY ? 1.0f : 255.0f; }

__device__ __forceinline__ Colour colour_of(const Descriptor& d, u32 y, u32 u, u32 v) {
    const float luma = fmaxf(__uint_as_float(y | BYTE_BITS) - d.luma_zero, 0.0f);
    Colour c;
#if CHANNELS == 1
    c.at[0] = __saturatef(luma * d.luma_gain);
#else
    const float cb = __uint_as_float(u | BYTE_BITS) - (BYTE_ZERO + 128.0f);
    const float cr = __uint_as_float(v | BYTE_BITS) - (BYTE_ZERO + 128.0f);
    c.at[0] = __saturatef(__fmaf_rn(cr, d.red_v, luma * d.luma_gain));
    c.at[1] = __saturatef(__fmaf_rn(cr, d.green_v, __fmaf_rn(cb, d.green_u, luma * d.luma_gain)));
    c.at[2] = __saturatef(__fmaf_rn(cb, d.blue_u, luma * d.luma_gain));
#endif
    return c;
}

__device__ __forceinline__ Colour colour_of(u32 r, u32 g, u32 b) {
    Colour c;
#if CHANNELS == 1
    c.at[0] = __fmaf_rn(number(r), 0.299f, __fmaf_rn(number(g), 0.587f, number(b) * 0.114f));
#else
    c.at[0] = number(r), c.at[1] = number(g), c.at[2] = number(b);
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
        const float level = number(__ldg(row.first + x));
        for (int k = 0; k < CHANNELS; k++) c.at[k] = level;
        return c;
    }
    const u8* rgb = row.first + 3 * x;
    const int red = FORMAT == RGB ? 0 : 2;
    return colour_of(__ldg(rgb + red), __ldg(rgb + 1), __ldg(rgb + 2 - red));
}

struct Taps {  // two neighbours on an axis, absolute, and the weight of the second
    int low, high;
    float weight;
};

// `at` is relative to the region of interest, which begins at `start`; pixel centres are whole numbers.
__device__ __forceinline__ Taps taps_at(float at, int start, int size) {
    at = fminf(fmaxf(at, 0.0f), (float)(size - 1));
    Taps t;
    t.low = (int)at;
    t.weight = at - (float)t.low;
    t.high = start + t.low + (t.weight > 0.0f);  // never beyond the last: there the weight is 0
    t.low += start;
    return t;
}

template <int FORMAT>
__device__ __forceinline__ void blend(const Descriptor& d, Row top, Row bottom, Taps x, float weight, float* level) {
    const Colour a = pixel<FORMAT>(d, top, x.low), b = pixel<FORMAT>(d, top, x.high);
    const Colour e = pixel<FORMAT>(d, bottom, x.low), f = pixel<FORMAT>(d, bottom, x.high);
    for (int k = 0; k < CHANNELS; k++) {
        const float upper = __fmaf_rn(b.at[k] - a.at[k], x.weight, a.at[k]);
        const float lower = __fmaf_rn(f.at[k] - e.at[k], x.weight, e.at[k]);
        level[k] = rounded(__fmaf_rn(lower - upper, weight, upper), unit(FORMAT));
    }
}

// Levels of pixels x .. x + PIXELS - 1 of row y of the tensor, where the picture is; the others stay.
template <int FORMAT>
__device__ __forceinline__ void levels_of(
    const Descriptor& d, const float2* map, int x, int y, float (&level)[PIXELS][CHANNELS]
) {
    const int left = x - d.place_x, down = y - d.place_y;
    float found[PIXELS][CHANNELS];
#if DEWARP
#pragma unroll
    for (int i = 0; i < PIXELS; i++) {
        const int column = min(max(left + i, 0), d.place_w - 1);
        const float2 at = __ldg(map + ((long long)down * d.place_w + column));
        // false for NaN: the table's word for "nothing is seen here"
        const bool seen = at.x >= -0.5f && at.y >= -0.5f && at.x < d.roi_w - 0.5f && at.y < d.roi_h - 0.5f;
        const Taps h = taps_at(seen ? at.x : 0.0f, d.roi_x, d.roi_w), v = taps_at(seen ? at.y : 0.0f, d.roi_y, d.roi_h);
        blend<FORMAT>(d, row_of<FORMAT>(d, v.low), row_of<FORMAT>(d, v.high), h, v.weight, found[i]);
        for (int k = 0; k < CHANNELS; k++) found[i][k] = seen ? found[i][k] : level[i][k];
    }
#else
    const Taps v = taps_at(__fmaf_rn(down + 0.5f, d.step_y, -0.5f), d.roi_y, d.roi_h);
    const Row top = row_of<FORMAT>(d, v.low), bottom = row_of<FORMAT>(d, v.high);
    if (d.one_tap) {
#pragma unroll
        for (int i = 0; i < PIXELS; i++) {
            const int column = min(max(left + i, 0), d.place_w - 1);
            const int at = d.roi_x + __float2int_rn(__fmaf_rn(column + 0.5f, d.step_x, -0.5f));
            const Colour c = pixel<FORMAT>(d, top, at);
            for (int k = 0; k < CHANNELS; k++) found[i][k] = rounded(c.at[k], unit(FORMAT));
        }
    } else {
#pragma unroll
        for (int i = 0; i < PIXELS; i++) {
            const int column = min(max(left + i, 0), d.place_w - 1);
            const Taps h = taps_at(__fmaf_rn(column + 0.5f, d.step_x, -0.5f), d.roi_x, d.roi_w);
            blend<FORMAT>(d, top, bottom, h, v.weight, found[i]);
        }
    }
#endif
#pragma unroll
    for (int i = 0; i < PIXELS; i++) {
        const bool inside = left + i >= 0 && left + i < d.place_w;
        for (int k = 0; k < CHANNELS; k++) level[i][k] = inside ? found[i][k] : level[i][k];
    }
}

// PIXELS elements, or the first `count` of them where a group would cross the row's end or an alignment
__device__ __forceinline__ void store(Element* to, const Group& group, bool whole, int count) {
    if (whole) {
        *(Group*)to = group;
    } else {
        for (int i = 0; i < count; i++) to[i] = group.at[i];
    }
}

__device__ __forceinline__ void write(const Target& t, Element* out, int x, int y, float (&level)[PIXELS][CHANNELS]) {
    Element value[PIXELS][CHANNELS];
#pragma unroll
    for (int i = 0; i < PIXELS; i++) {
#pragma unroll
        for (int k = 0; k < CHANNELS; k++) {
            const float of = CHANNELS == 3 && t.reversed ? level[i][CHANNELS - 1 - k] : level[i][k];
            value[i][k] = element_of(__fmaf_rn(of, t.scale[k], t.shift[k]));
        }
    }
    const int count = min(PIXELS, t.width - x);
    const long long at = (long long)y * t.width + x;
#pragma unroll
    for (int k = 0; k < CHANNELS; k++) {
        Group group;
#if NHWC
#pragma unroll
        for (int i = 0; i < PIXELS; i++) group.at[i] = value[(k * PIXELS + i) / CHANNELS][(k * PIXELS + i) % CHANNELS];
        store(out + at * CHANNELS + k * PIXELS, group, t.vector, min(PIXELS, max(0, count * CHANNELS - k * PIXELS)));
#else
#pragma unroll
        for (int i = 0; i < PIXELS; i++) group.at[i] = value[i][k];
        store(out + (long long)k * t.width * t.height + at, group, t.vector, count);
#endif
    }
}

__device__ __forceinline__ void fill(const Descriptor& d, const float2* map, const Target& t, Element* out) {
    const int x = (blockIdx.x * blockDim.x + threadIdx.x) * PIXELS, y = blockIdx.y * blockDim.y + threadIdx.y;
    if (x >= t.width || y >= t.height) return;
    float level[PIXELS][CHANNELS];
    for (int i = 0; i < PIXELS; i++)
        for (int k = 0; k < CHANNELS; k++) level[i][k] = t.pad;
    const bool row_seen = y >= d.place_y && y < d.place_y + d.place_h;
    if (row_seen && x + PIXELS > d.place_x && x < d.place_x + d.place_w) {
        switch (d.format) {
            case BGR: levels_of<BGR>(d, map, x, y, level); break;
            case RGB: levels_of<RGB>(d, map, x, y, level); break;
            case GREY: levels_of<GREY>(d, map, x, y, level); break;
            case YUYV: levels_of<YUYV>(d, map, x, y, level); break;
            case UYVY: levels_of<UYVY>(d, map, x, y, level); break;
            case NV12: levels_of<NV12>(d, map, x, y, level); break;
            case YUYV_WORDS: levels_of<YUYV_WORDS>(d, map, x, y, level); break;
            case UYVY_WORDS: levels_of<UYVY_WORDS>(d, map, x, y, level); break;
            case NV12_PAIRS: levels_of<NV12_PAIRS>(d, map, x, y, level); break;
        }
    }
    write(t, out, x, y, level);
}

// Rows 0 .. gridDim.z - 1 of the batch at `out`, as table[row] says (mapped memory: for graphs).
extern "C" __global__ void __launch_bounds__(256)
    preprocess_rows(const Descriptor* table, const float2* map, const Target t, Element* out) {
    // read once a block: the table may be on the other side of PCIe
    __shared__ u32 words[sizeof(Descriptor) / 4] __attribute__((aligned(16)));
    const int thread = threadIdx.y * blockDim.x + threadIdx.x;
    if (thread < (int)sizeof(Descriptor) / 4) words[thread] = ((const u32*)(table + blockIdx.z))[thread];
    __syncthreads();
    const Descriptor& d = *(const Descriptor*)words;
    if (d.format == UNUSED) return;
    fill(d, map, t, out + (long long)blockIdx.z * CHANNELS * t.width * t.height);
}

// The row at `out`, its descriptor given by value: work queued ahead needs no table that outlives it.
extern "C" __global__ void __launch_bounds__(256)
    preprocess_one(const Descriptor d, const float2* map, const Target t, Element* out) {
    fill(d, map, t, out);
}
