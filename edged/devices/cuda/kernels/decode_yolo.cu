// The raw outputs of YOLO-like detectors to the rows above the score threshold: edged/parsers' `decode` up to
// the bound on candidates, which the host applies (decode.py). Only survivors are written, to mapped memory: only
// they cross to the host.
//
// Compiled once for a kind of output:
//   HEAD  0 yolov5 (and decoded yolox): rows of cx, cy, w, h, objectness, classes
//         1 yolov8: columns of cx, cy, w, h, classes, keypoints
//         2 yolox: rows as yolov5's, relative to their cells
//         3 end2end: rows of x1, y1, x2, y2, score, class
//   HALF  0 float32, 1 float16
// A thread looks at one row. Survivors take places in no particular order: each carries its row's number.
#include "common.cuh"

#define MOST_LEVELS 8
#define MOST_CLASSES 1e6f

#if HALF
typedef u16 Element;
__device__ __forceinline__ float value(const Element* p) { return float_of(__ldg(p)); }
#else
typedef float Element;
__device__ __forceinline__ float value(const Element* p) { return __ldg(p); }
#endif

struct Head {  // 144 bytes; decode.py has its mirror
    int rows, columns;              // of one image's output, whichever way it lies in memory
    int classes, keypoints, keypoint_values;
    int capacity;                   // survivors that an image's buffer holds
    float row_threshold;            // for the objectness, rounded as the output's dtype
    float score_threshold, score_limit;
    float scale_x, scale_y;         // end2end: to model-input pixels
    int levels;
    struct {
        int first, width;           // the level's first row; cells in one of its lines
        float stride;               // model-input pixels
    } level[MOST_LEVELS];
};

static_assert(sizeof(Head) == 144, "decode.py has another size");

struct Counter {  // 16 bytes of device memory an image, zero between launches
    u32 found, rejected, blocks, unused;
};

struct Survivor {  // 32 bytes, then x, y of each keypoint
    float x1, y1, x2, y2, score;
    int class_id, row, unused;
};

// Best class of `count` scores, `step` elements apart; its score is NaN if any is.
__device__ __forceinline__ float best_of(const Element* scores, int count, long long step, int* best) {
    float top = value(scores);
    bool bad = top != top;
    int at = 0;
#pragma unroll 8
    for (int k = 1; k < count; k++) {
        const float v = value(scores + k * step);
        bad |= v != v;
        if (v > top) top = v, at = k;
    }
    *best = at;
    return bad ? __uint_as_float(0x7FC00000u) : top;
}

// Whether row `row` is to be kept; fills all of `s` but its number. Counts what is no score.
__device__ __forceinline__ bool look(const Element* image, const Head& h, int row, Survivor* s, bool* refused) {
#if HEAD == 1
    const Element* from = image + row;
    const long long step = h.rows;
    s->score = best_of(from + 4 * step, h.classes, step, &s->class_id);
#else
    const Element* from = image + (long long)row * h.columns;
    const long long step = 1;
    s->score = value(from + 4);
#if HEAD != 3
    if (s->score < h.row_threshold) return false;  // NaN goes on, to be counted
    s->score *= best_of(from + 5, h.classes, step, &s->class_id);
#endif
#endif
    if (s->score < h.score_threshold) return false;
    if (!(s->score <= h.score_limit)) {
        *refused = true;
        return false;
    }
    const float a = value(from), b = value(from + step), c = value(from + 2 * step), e = value(from + 3 * step);
#if HEAD == 3
    s->x1 = a * h.scale_x, s->y1 = b * h.scale_y, s->x2 = c * h.scale_x, s->y2 = e * h.scale_y;
    const float number = value(from + 5);
    s->class_id = number >= 0.0f && number <= MOST_CLASSES ? __float2int_rn(number) : -1;
#else
    float cx = a, cy = b, w = c, height = e;
#if HEAD == 2
    int n = 0;
    while (n + 1 < h.levels && row >= h.level[n + 1].first) n++;
    const int cell = row - h.level[n].first, line = cell / h.level[n].width;
    const float stride = h.level[n].stride;
    cx = (cx + (float)(cell - line * h.level[n].width)) * stride, cy = (cy + (float)line) * stride;
    w = expf(w) * stride, height = expf(height) * stride;
#endif
    s->x1 = cx - w * 0.5f, s->y1 = cy - height * 0.5f, s->x2 = cx + w * 0.5f, s->y2 = cy + height * 0.5f;
#endif
    return true;
}

// Grid: x over rows, y over images. `survivors` has, an image, one Survivor's room for (found, rejected) and then
// `capacity` of them with their keypoints.
extern "C" __global__ void __launch_bounds__(256)
    decode(const Element* output, const Head h, Counter* counters, float* survivors) {
    const int row = blockIdx.x * blockDim.x + threadIdx.x;
    const Element* image = output + (long long)blockIdx.y * h.rows * h.columns;
    const int words = sizeof(Survivor) / 4 + 2 * h.keypoints;
    float* mine = survivors + (long long)blockIdx.y * (sizeof(Survivor) / 4 + (long long)h.capacity * words);
    Counter* counter = counters + blockIdx.y;
    Survivor s;
    bool refused = false;
    if (row < h.rows && look(image, h, row, &s, &refused)) {
        s.row = row, s.unused = 0;
        const u32 place = atomicAdd(&counter->found, 1u);
        if (place < (u32)h.capacity) {
            float* to = mine + sizeof(Survivor) / 4 + (long long)place * words;
            *(Survivor*)to = s;
#if HEAD == 1
            const Element* point = image + row + (long long)(4 + h.classes) * h.rows;
            for (int k = 0; k < h.keypoints; k++, point += (long long)h.keypoint_values * h.rows) {
                to[sizeof(Survivor) / 4 + 2 * k] = value(point);
                to[sizeof(Survivor) / 4 + 2 * k + 1] = value(point + h.rows);
            }
#endif
        }
    }
    if (refused) atomicAdd(&counter->rejected, 1u);
    // the last block of an image tells the host, and leaves zeros for the next launch
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0 && atomicAdd(&counter->blocks, 1u) == gridDim.x - 1) {
        __threadfence();
        u32* told = (u32*)mine;
        told[0] = atomicExch(&counter->found, 0u);
        told[1] = atomicExch(&counter->rejected, 0u);
        atomicExch(&counter->blocks, 0u);
    }
}
