// Instructions that CUDA has no functions for: asynchronous copies to shared memory, rounding, and products on tensor cores.

#ifndef LRLAB_INSTRUCTIONS
#define LRLAB_INSTRUCTIONS

#include <stdint.h>

// Copies V floats, or zeros, to shared memory asynchronously, as a part of the current group.
template <int V> __device__ __forceinline__ void fetch(float *to, const float *from, bool real) {
    uint32_t at = (uint32_t)__cvta_generic_to_shared(to);
    int bytes = real ? 4 * V : 0;
    if (V == 4) asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(at), "l"(from), "r"(bytes));
    else asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(at), "l"(from), "r"(bytes));
}
__device__ __forceinline__ void end_group() { asm volatile("cp.async.commit_group;"); }
// Waits until at most N groups are under way.
template <int N> __device__ __forceinline__ void wait_for_groups() { asm volatile("cp.async.wait_group %0;" ::"n"(N)); }

// x with its subnormal numbers as zeros.
__device__ __forceinline__ float flushed(float x) {
    float r;
    asm("mul.ftz.f32 %0, %1, 0f3F800000;" : "=f"(r) : "f"(x));
    return r;
}

// The nearest TF32, ties away from zero.
__device__ __forceinline__ uint32_t tf32(float x) {
    uint32_t r;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(r) : "f"(x));
    return r;
}
// d (16, 8) += a (16, 8) b (8, 8) in TF32, a warp's share each.
__device__ __forceinline__ void multiply(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
                 "{%0, %1, %2, %3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

#endif
