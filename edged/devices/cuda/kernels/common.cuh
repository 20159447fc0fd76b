// What the kernels share. Compiled by NVRTC without any host header: half floats are moved as 16-bit words and
// converted by the instructions that cuda_fp16.h wraps. tests/devices/cuda/emulate.h gives the same names to a
// C++ compiler (EDGED_EMULATED), so that a CPU runs these very files.
#ifndef EDGED_COMMON
#define EDGED_COMMON

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

#ifndef EDGED_EMULATED
__device__ __forceinline__ u16 half_of(float v) {
    u16 h;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(h) : "f"(v));
    return h;
}

__device__ __forceinline__ float float_of(u16 h) {
    float v;
    asm("cvt.f32.f16 %0, %1;" : "=f"(v) : "h"(h));
    return v;
}

// What was read from memory is read again after this, and needs no register meanwhile.
__device__ __forceinline__ void forget() { asm volatile("" ::: "memory"); }
#endif

// 2^23 as bits: a byte or-ed into it is the float 2^23 + byte. Two full-rate instructions with the subtraction
// that any zero point needs anyway; the conversion instruction runs at a quarter of their rate.
#define BYTE_BITS 0x4B000000u
#define BYTE_ZERO 8388608.0f

// 1.5 * 2^23 and its bits: added downward to a float below 2^22 it gives that float's floor, as an integer in the bits
#define FLOORER 12582912.0f
#define FLOORER_BITS 0x4B400000

#endif
