// Numbers of 16 and 8 bits: computed with in f32, then rounded.
#pragma once

struct __half {
    uint16_t bits;
    __half() = default;
    __half(float x) : bits(emulated_cast<uint16_t>((_Float16)x)) {}
    operator float() const { return (float)emulated_cast<_Float16>(bits); }
};
struct __nv_bfloat16 {
    uint16_t bits;
    __nv_bfloat16() = default;
    __nv_bfloat16(float x) {
        uint32_t of = __float_as_uint(x);
        bits = x != x ? 0x7fff : (uint16_t)((of + 0x7fffu + (of >> 16 & 1u)) >> 16);
    }
    operator float() const { return __uint_as_float((uint32_t)bits << 16); }
};
// Declared for candle's headers; none of its kernels of this type can be called.
struct __nv_fp8_e4m3 {
    unsigned char __x;
    __nv_fp8_e4m3() = default;
    __nv_fp8_e4m3(float);
    operator float() const;
};
enum { __NV_E4M3 };
__half __nv_cvt_fp8_to_halfraw(unsigned char, int);

struct __nv_bfloat162 { __nv_bfloat16 x, y; };

inline float __half2float(__half x) { return x; }
inline __half __float2half(float x) { return x; }
inline uint16_t __half_as_ushort(__half x) { return x.bits; }
inline __half __ushort_as_half(unsigned x) {
    __half of;
    of.bits = (uint16_t)x;
    return of;
}
inline float __bfloat162float(__nv_bfloat16 x) { return x; }
inline __nv_bfloat16 __float2bfloat16(float x) { return x; }
inline __nv_bfloat16 __float2bfloat16_rn(float x) { return x; }

template <typename T> constexpr bool emulated_small = false;
template <> constexpr bool emulated_small<__half> = true;
template <> constexpr bool emulated_small<__nv_bfloat16> = true;
#define EMULATED_SMALL template <typename T, typename = std::enable_if_t<emulated_small<T>>>
EMULATED_SMALL T &operator+=(T &a, T b) { return a = (float)a + (float)b; }
EMULATED_SMALL T &operator-=(T &a, T b) { return a = (float)a - (float)b; }
EMULATED_SMALL T &operator*=(T &a, float b) { return a = (float)a * b; }
EMULATED_SMALL bool __hisnan(T x) { return isnan((float)x); }
EMULATED_SMALL T __hmax_nan(T a, T b) { return __hisnan(a) || b < a ? a : b; }
EMULATED_SMALL T __hmin_nan(T a, T b) { return __hisnan(a) || a < b ? a : b; }
EMULATED_SMALL T __habs(T x) { return fabsf(x); }
EMULATED_SMALL T hsqrt(T x) { return sqrtf(x); }
EMULATED_SMALL T hcos(T x) { return cosf(x); }
EMULATED_SMALL T hsin(T x) { return sinf(x); }
EMULATED_SMALL T hlog(T x) { return logf(x); }
EMULATED_SMALL T hexp(T x) { return expf(x); }
inline __nv_bfloat162 __hadd2(__nv_bfloat162 a, __nv_bfloat162 b) { return {(float)a.x + b.x, (float)a.y + b.y}; }
inline __nv_bfloat162 __hsub2(__nv_bfloat162 a, __nv_bfloat162 b) { return {(float)a.x - b.x, (float)a.y - b.y}; }
inline __nv_bfloat162 __hmul2(__nv_bfloat162 a, __nv_bfloat162 b) { return {(float)a.x * b.x, (float)a.y * b.y}; }
inline __nv_bfloat162 __h2div(__nv_bfloat162 a, __nv_bfloat162 b) { return {(float)a.x / b.x, (float)a.y / b.y}; }
