// Enough of CUDA C++ for a CPU to run the kernels: every thread of a block is a fibre, so that __syncthreads is one.
// One block runs after another on one thread: static stands for __shared__, plain arithmetic for atomics.
#pragma once
#define EDGED_EMULATED
#include <fenv.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#define __global__
#define __device__
#define __shared__ static
#define __forceinline__ inline
#define __align__(n) alignas(n)
#define __launch_bounds__(...)

struct dim3 {
    unsigned x, y, z;
};
struct alignas(8) float2 {
    float x, y;
};

static dim3 gridDim, blockDim, blockIdx, threadIdx;

// not <algorithm>, <functional> and <vector>: half of the time that a kernel takes to compile
template <class T>
T max(T a, T b) {
    return a < b ? b : a;
}
template <class T>
T min(T a, T b) {
    return b < a ? b : a;
}

template <class T>
T __ldg(const T* p) {
    return *p;
}
inline float __uint_as_float(unsigned v) {
    float f;
    memcpy(&f, &v, 4);
    return f;
}
inline unsigned __float_as_uint(float f) {
    unsigned v;
    memcpy(&v, &f, 4);
    return v;
}
inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
inline float __fmaf_rd(float a, float b, float c) {
    const int before = fegetround();
    fesetround(FE_DOWNWARD);
    const float found = fmaf(a, b, c);
    fesetround(before);
    return found;
}
inline float __fadd_rd(float a, float b) { return __fmaf_rd(a, 1.0f, b); }
inline float __saturatef(float v) { return v > 0 ? (v < 1 ? v : 1) : 0; }
inline int __float2int_rn(float v) { return (int)rintf(v); }
inline void __threadfence() {}
inline void forget() {}
inline unsigned atomicAdd(unsigned* p, unsigned v) { return (*p += v) - v; }
inline unsigned atomicExch(unsigned* p, unsigned v) {
    const unsigned before = *p;
    *p = v;
    return before;
}

// Round to nearest even, as cvt.rn.f16.f32 does.
inline unsigned short half_of(float v) {
    unsigned bits = __float_as_uint(v), sign = bits >> 16 & 0x8000;
    bits &= 0x7FFFFFFF;
    if (bits > 0x7F800000) return 0x7FFF;
    if (bits >= 0x477FF000) return sign | 0x7C00;
    if (bits < 0x38800000) return sign | (unsigned)rintf(__uint_as_float(bits) * 16777216.0f);
    bits += 0xFFF + (bits >> 13 & 1);
    return sign | ((bits - 0x38000000) >> 13);
}
inline float float_of(unsigned short h) {
    unsigned sign = (h & 0x8000u) << 16, e = h >> 10 & 31, m = h & 1023;
    if (e == 31) return __uint_as_float(sign | 0x7F800000 | m << 13);
    if (e) return __uint_as_float(sign | (e + 112) << 23 | m << 13);
    return sign ? -(m / 16777216.0f) : m / 16777216.0f;
}

namespace fibres {
const size_t STACK = 32 << 10, MOST_THREADS = 1024;  // as of a GPU
struct Fibre {
    ucontext_t context;
    dim3 index;
    bool done;
};
static ucontext_t scheduler;
static Fibre* current;
static const void* body;
static Fibre fibres[MOST_THREADS];
static char stacks[MOST_THREADS * STACK];

template <class Kernel>
void enter() {
    (*(const Kernel*)body)();
    current->done = true;
    swapcontext(&current->context, &scheduler);
}

// Runs every thread up to its next barrier, over and over, until all have ended.
template <class Kernel>
void launch(const int* grid, const int* block, const Kernel& kernel) {
    gridDim = {(unsigned)grid[0], (unsigned)grid[1], (unsigned)grid[2]};
    blockDim = {(unsigned)block[0], (unsigned)block[1], (unsigned)block[2]};
    body = &kernel;
    const unsigned threads = blockDim.x * blockDim.y * blockDim.z;
    if (threads > MOST_THREADS) abort();
    for (blockIdx.z = 0; blockIdx.z < gridDim.z; blockIdx.z++)
        for (blockIdx.y = 0; blockIdx.y < gridDim.y; blockIdx.y++)
            for (blockIdx.x = 0; blockIdx.x < gridDim.x; blockIdx.x++) {
                for (unsigned i = 0; i < threads; i++) {
                    Fibre& f = fibres[i];
                    f.index = {i % blockDim.x, i / blockDim.x % blockDim.y, i / blockDim.x / blockDim.y};
                    f.done = false;
                    getcontext(&f.context);
                    f.context.uc_stack.ss_sp = stacks + i * STACK;
                    f.context.uc_stack.ss_size = STACK;
                    f.context.uc_link = nullptr;
                    makecontext(&f.context, enter<Kernel>, 0);
                }
                for (unsigned live = threads; live;) {
                    live = 0;
                    for (unsigned i = 0; i < threads; i++) {
                        Fibre& f = fibres[i];
                        if (f.done) continue;
                        current = &f, threadIdx = f.index;
                        swapcontext(&scheduler, &f.context);
                        live += !f.done;
                    }
                }
            }
}
}  // namespace fibres

inline void __syncthreads() { swapcontext(&fibres::current->context, &fibres::scheduler); }
