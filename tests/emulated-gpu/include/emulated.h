// CUDA's language on the CPU: a kernel's threads are fibers of one thread of the host, which take turns at barriers and
// at the exchanges of a warp. Included before every file of device code.
#pragma once

#include <assert.h>
#include <limits.h>
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <utility>

// As low as the operators allow, so that candle leaves out kernels in 8 bits.
#define __CUDA_ARCH__ 800
#define __CUDACC_VER_MAJOR__ 13
#define __CUDACC_VER_MINOR__ 0

// The compile script finds kernels, their launch bounds and shared memory by these words.
#define __global__ EMULATED_KERNEL
#define __launch_bounds__(...) EMULATED_BOUNDS(__VA_ARGS__)
#define __shared__ EMULATED_SHARED
#define __device__
#define __host__
#define __constant__ static
#define __forceinline__ inline
#define __grid_constant__
#define __align__(n) __attribute__((aligned(n)))

struct alignas(8) uint2 { unsigned x, y; };
struct uint3 { unsigned x, y, z; };
struct alignas(16) uint4 { unsigned x, y, z, w; };
struct alignas(8) float2 { float x, y; };
struct alignas(16) double2 { double x, y; };
struct alignas(16) float4 { float x, y, z, w; };
inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline double2 make_double2(double x, double y) { return {x, y}; }

// --- what the driver provides -------------------------------------------------------------------------------------------

extern "C" {
// Of the thread that runs now, and of the launch.
extern uint3 emulated_thread, emulated_block, emulated_block_size, emulated_grid_size;
// Shared memory of the size that the launch asks for.
extern char *emulated_dynamic;
// Unique for each block that runs.
extern uint64_t emulated_block_count;
// Makes static shared memory NaN, once in each block that reaches it.
void emulated_shared(void *at, size_t size, uint64_t *block);
// Waits for all threads of the block that have not returned.
void emulated_sync_block();
// Gives `size` bytes to the other threads of the warp and waits for theirs; returns the 32 values, EMULATED_SLOT bytes each.
// All lanes that have not returned must ask for the same kind of exchange.
const char *emulated_exchange(const void *value, int size, int kind);
// Whether a lane took part in the last exchange.
bool emulated_took_part(int lane);
// Ends the program with the kernel's name.
[[noreturn]] void emulated_fail(const char *what);
}
constexpr int EMULATED_SLOT = 64;

#define threadIdx emulated_thread
#define blockIdx emulated_block
#define blockDim emulated_block_size
#define gridDim emulated_grid_size
constexpr int warpSize = 32;

inline void __syncthreads() { emulated_sync_block(); }
inline void __threadfence() {}

// --- exchanges of a warp ------------------------------------------------------------------------------------------------

namespace emulated {
enum Kind { SHUFFLE, REDUCE, MULTIPLY, WAIT };
// Exchanges of a part of a warp are not emulated.
inline void whole(unsigned mask) {
    if (mask != 0xffffffffu) emulated_fail("an exchange between some lanes of a warp is not emulated");
}
inline int lane() { return (threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z)) % 32; }

template <typename T> T of_lane(const char *all, int lane) {
    T value;
    memcpy(&value, all + lane * EMULATED_SLOT, sizeof value);
    return value;
}
template <typename T> T shuffle(T value, int from) {
    static_assert(sizeof(T) <= EMULATED_SLOT, "the slot has room");
    const char *all = emulated_exchange(&value, sizeof value, SHUFFLE);
    // The value of a lane that does not take part is undefined.
    return emulated_took_part(from) ? of_lane<T>(all, from) : value;
}
template <typename T, typename F> T reduce(T value, F add) {
    const char *all = emulated_exchange(&value, sizeof value, REDUCE);
    T sum = value;
    for (int i = 0, me = lane(); i < 32; i++)
        if (i != me && emulated_took_part(i)) sum = add(sum, of_lane<T>(all, i));
    return sum;
}
} // namespace emulated

template <typename T> T __shfl_sync(unsigned mask, T value, int from, int width = 32) {
    emulated::whole(mask);
    return emulated::shuffle(value, emulated::lane() / width * width + from % width);
}
template <typename T> T __shfl_xor_sync(unsigned mask, T value, int other, int width = 32) {
    emulated::whole(mask);
    int me = emulated::lane(), from = me ^ other;
    return emulated::shuffle(value, from / width == me / width ? from : me);
}
template <typename T> T __shfl_down_sync(unsigned mask, T value, unsigned by, int width = 32) {
    emulated::whole(mask);
    int me = emulated::lane(), from = me + (int)by;
    return emulated::shuffle(value, from / width == me / width ? from : me);
}
inline unsigned __ballot_sync(unsigned mask, bool mine) {
    emulated::whole(mask);
    unsigned bit = mine ? 1u << emulated::lane() : 0u;
    return emulated::reduce(bit, [](unsigned a, unsigned b) { return a | b; });
}
inline bool __any_sync(unsigned mask, bool mine) { return __ballot_sync(mask, mine) != 0; }
inline int __reduce_add_sync(unsigned mask, int value) {
    emulated::whole(mask);
    return emulated::reduce(value, [](int a, int b) { return a + b; });
}
inline void __syncwarp(unsigned mask = ~0u) {
    emulated::whole(mask);
    char nothing = 0;
    emulated_exchange(&nothing, 1, emulated::WAIT);
}

// --- memory and numbers -------------------------------------------------------------------------------------------------

// One thread of the host runs all threads of a kernel, so that plain operations are atomic.
template <typename T, typename U> T atomicAdd(T *at, U value) { T old = *at; *at = old + (T)value; return old; }
template <typename T, typename U> T atomicMin(T *at, U value) { T old = *at; *at = (T)value < old ? (T)value : old; return old; }
template <typename T, typename U> T atomicMax(T *at, U value) { T old = *at; *at = (T)value > old ? (T)value : old; return old; }
template <typename T, typename U, typename V> T atomicCAS(T *at, U expected, V value) {
    T old = *at;
    if (old == (T)expected) *at = (T)value;
    return old;
}
template <typename T> T __ldcg(const T *at) { return *at; }
template <typename T> T __ldg(const T *at) { return *at; }

template <typename To, typename From> To emulated_cast(From from) {
    static_assert(sizeof(To) == sizeof(From), "the same bits");
    To to;
    memcpy(&to, &from, sizeof to);
    return to;
}
inline float __int_as_float(int x) { return emulated_cast<float>(x); }
inline float __uint_as_float(unsigned x) { return emulated_cast<float>(x); }
inline int __float_as_int(float x) { return emulated_cast<int>(x); }
inline unsigned __float_as_uint(float x) { return emulated_cast<unsigned>(x); }
inline double __longlong_as_double(long long x) { return emulated_cast<double>(x); }
inline long long __double_as_longlong(double x) { return emulated_cast<long long>(x); }
inline unsigned __umulhi(unsigned a, unsigned b) { return (unsigned)((uint64_t)a * b >> 32); }
inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
inline double rsqrt(double x) { return 1.0 / sqrt(x); }
inline double normcdf(double x) { return 0.5 * erfc(-x * 0.70710678118654752440); }
inline float normcdff(float x) { return (float)normcdf((double)x); }

// Of a NaN and a number, the number.
inline float min(float a, float b) { return fminf(a, b); }
inline float max(float a, float b) { return fmaxf(a, b); }
inline double min(double a, double b) { return fmin(a, b); }
inline double max(double a, double b) { return fmax(a, b); }
template <typename A, typename B> auto min(A a, B b) -> decltype(a + b) { return b < a ? b : a; }
template <typename A, typename B> auto max(A a, B b) -> decltype(a + b) { return a < b ? b : a; }

// --- launches -----------------------------------------------------------------------------------------------------------

namespace emulated {
constexpr unsigned first(unsigned threads, unsigned = 0, unsigned = 0) { return threads; }
// Calls a kernel with the addresses of its arguments.
template <typename... A, size_t... I> void call(void (*kernel)(A...), void **at, std::index_sequence<I...>) {
    kernel(*reinterpret_cast<std::remove_const_t<A> *>(at[I])...);
}
template <typename... A> void call(void (*kernel)(A...), void **at) {
    call(kernel, at, std::index_sequence_for<A...>());
}
} // namespace emulated
// The device code's PTX is replaced by these.
#include "emulated_instructions.h"
