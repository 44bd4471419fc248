// Convolutions as matrix products on tensor cores, over pictures (n, h, w, c) and weights (o, kh, kw, c). No matrix of
// patches is written out: tiles are gathered from the pictures on their way to shared memory.
//
// Operands of products are TF32 or rounded to bf16 beforehand, whose subnormal numbers become 0. In f32, each operand is the
// sum of two TF32 numbers; three of the four products are taken (the fourth is below the last bit), and the sums of sixteen
// are added up in f32 registers, because tensor cores truncate their sums instead of rounding them. In f32, an infinite
// operand gives NaN.

#include <cuda_bf16.h>
#include <stdint.h>

#include "instructions.cuh"

typedef unsigned long long u64;

enum Way { FORWARD, INPUT, WEIGHT };
enum Kind { F32, TF32, BF16 };

struct Conv {
    int n, c, h, w, o, kh, kw, stride, padding, oh, ow;
    // The product's sizes, and the part of k of one of the grid's third dimension.
    int rows, columns, depth, part;
    // The result is added to the destination.
    int join;
};

constexpr int DEEP = 16;
constexpr int STAGES = 3;
constexpr int THREADS = 128;

// An operand of a product: every bf16 is a TF32.
template <int KIND> __device__ __forceinline__ uint32_t operand(float x) {
    if (KIND == BF16) return __float_as_uint(__bfloat162float(__float2bfloat16_rn(flushed(x))));
    return tf32(x);
}

// out (rows, columns) = A B:
//   FORWARD  rows are output pixels, depth (tap, c), columns o;      A gathered from x,  B = w
//   INPUT    rows are input pixels, depth (tap, o), columns c;       A gathered from dy, B = w
//   WEIGHT   rows are (tap, c), depth output pixels, columns o;      A gathered from x,  B = dy; written as (o, tap, c)
// M × N per block by WM × WN warps, V floats fetched at once.
template <int WAY, int M, int N, int WM, int WN, int V, int KIND>
__device__ void convolve(const Conv &g, const float *__restrict__ from, const float *__restrict__ with, float *__restrict__ out) {
    constexpr bool EXACT = KIND == F32;
    constexpr bool A_DEEP = WAY != WEIGHT, B_DEEP = WAY == FORWARD;
    constexpr int A_PITCH = A_DEEP ? DEEP + 4 : M + 8, B_PITCH = B_DEEP ? DEEP + 4 : N + 8;
    constexpr int A_SIZE = A_DEEP ? M * A_PITCH : DEEP * A_PITCH, B_SIZE = B_DEEP ? N * B_PITCH : DEEP * B_PITCH;
    constexpr int FM = M / WM / 16, FN = N / WN / 8;
    __shared__ __align__(16) float a_tiles[STAGES][A_SIZE];
    __shared__ __align__(16) float b_tiles[STAGES][B_SIZE];
    // Of the block's rows: the picture's first value, and the window's corner.
    __shared__ int corners[3][A_DEEP ? M : 1];
    int thread = threadIdx.x, first_row = blockIdx.x * M, first_column = blockIdx.y * N;
    int begin = blockIdx.z * g.part, end = min(g.depth, begin + g.part);
    if (A_DEEP) {
        for (int i = thread; i < M; i += THREADS) {
            int row = first_row + i;
            int y = 0, x = 0, picture = -1;
            if (row < g.rows) {
                if (WAY == FORWARD) {
                    x = row % g.ow * g.stride - g.padding;
                    y = row / g.ow % g.oh * g.stride - g.padding;
                    picture = row / g.ow / g.oh * g.h * g.w;
                } else {
                    x = row % g.w + g.padding;
                    y = row / g.w % g.h + g.padding;
                    picture = row / g.w / g.h * g.oh * g.ow;
                }
            }
            corners[0][i] = picture;
            corners[1][i] = y;
            corners[2][i] = x;
        }
        __syncthreads();
    }
    auto load = [&](int stage, int k0) {
        float *a = a_tiles[stage], *b = b_tiles[stage];
        if (A_DEEP) {
            constexpr int ACROSS = DEEP / V, LINES = THREADS / ACROSS;
            int k = k0 + thread % ACROSS * V;
            int channels = WAY == FORWARD ? g.c : g.o;
            int tap = k / channels, channel = k - tap * channels, ky = tap / g.kw, kx = tap - ky * g.kw;
            bool deep = k < end;
#pragma unroll
            for (int i = 0; i < M / LINES; i++) {
                int line = thread / ACROSS + i * LINES;
                int picture = corners[0][line], y = corners[1][line], x = corners[2][line];
                bool real = deep && picture >= 0;
                int at = 0;
                if (WAY == FORWARD) {
                    y += ky;
                    x += kx;
                    real = real && y >= 0 && y < g.h && x >= 0 && x < g.w;
                    at = picture + y * g.w + x;
                } else {
                    y -= ky;
                    x -= kx;
                    real = real && y >= 0 && x >= 0;
                    if (g.stride > 1) {
                        int oy = y / g.stride, ox = x / g.stride;
                        real = real && oy * g.stride == y && ox * g.stride == x;
                        y = oy;
                        x = ox;
                    }
                    real = real && y < g.oh && x < g.ow;
                    at = picture + y * g.ow + x;
                }
                fetch<V>(a + line * A_PITCH + thread % ACROSS * V, from + (real ? (u64)at * channels + channel : 0), real);
            }
        } else {
            constexpr int ACROSS = M / V, ALL = ACROSS * DEEP;
#pragma unroll
            for (int i = 0; i < (ALL + THREADS - 1) / THREADS; i++) {
                int item = thread + i * THREADS;
                if (ALL % THREADS != 0 && item >= ALL) break;
                int line = item / ACROSS, of = item % ACROSS * V;
                int row = first_row + of, k = k0 + line;
                int tap = row / g.c, channel = row - tap * g.c, ky = tap / g.kw, kx = tap - ky * g.kw;
                int x = k % g.ow * g.stride - g.padding + kx, rest = k / g.ow;
                int y = rest % g.oh * g.stride - g.padding + ky;
                bool real = k < end && row < g.rows && y >= 0 && y < g.h && x >= 0 && x < g.w;
                u64 at = real ? ((u64)(rest / g.oh * g.h + y) * g.w + x) * g.c + channel : 0;
                fetch<V>(a + line * A_PITCH + of, from + at, real);
            }
        }
        if (B_DEEP) {
            constexpr int ACROSS = DEEP / V, ALL = ACROSS * N;
#pragma unroll
            for (int i = 0; i < (ALL + THREADS - 1) / THREADS; i++) {
                int item = thread + i * THREADS;
                if (ALL % THREADS != 0 && item >= ALL) break;
                int line = item / ACROSS, k = k0 + item % ACROSS * V, column = first_column + line;
                bool real = k < end && column < g.columns;
                fetch<V>(b + line * B_PITCH + item % ACROSS * V, with + (real ? (u64)column * g.depth + k : 0), real);
            }
        } else {
            constexpr int ACROSS = N / V, ALL = ACROSS * DEEP;
#pragma unroll
            for (int i = 0; i < (ALL + THREADS - 1) / THREADS; i++) {
                int item = thread + i * THREADS;
                if (ALL % THREADS != 0 && item >= ALL) break;
                int line = item / ACROSS, of = item % ACROSS * V, k = k0 + line, column = first_column + of;
                bool real = k < end && column < g.columns;
                u64 at = 0;
                if (real) {
                    if (WAY == WEIGHT) {
                        at = (u64)k * g.o + column;
                    } else {
                        int tap = k / g.o, of_o = k - tap * g.o;
                        at = ((u64)of_o * g.kh * g.kw + tap) * g.c + column;
                    }
                }
                fetch<V>(b + line * B_PITCH + of, with + at, real);
            }
        }
    };
    int warp = thread / 32, lane = thread % 32, across = lane % 4, down = lane / 4;
    int row0 = warp / WN * (M / WM), column0 = warp % WN * (N / WN);
    float sums[FM][FN][4];
#pragma unroll
    for (int i = 0; i < FM; i++)
#pragma unroll
        for (int j = 0; j < FN; j++)
#pragma unroll
            for (int e = 0; e < 4; e++) sums[i][j][e] = 0.0f;
    int steps = (end - begin + DEEP - 1) / DEEP;
#pragma unroll
    for (int s = 0; s < STAGES - 1; s++) {
        if (s < steps) load(s, begin + s * DEEP);
        end_group();
    }
    for (int step = 0; step < steps; step++) {
        wait_for_groups<STAGES - 2>();
        __syncthreads();
        if (step + STAGES - 1 < steps) load((step + STAGES - 1) % STAGES, begin + (step + STAGES - 1) * DEEP);
        end_group();
        const float *a = a_tiles[step % STAGES], *b = b_tiles[step % STAGES];
        float part[EXACT ? FM : 1][EXACT ? FN : 1][4];
        if (EXACT) {
#pragma unroll
            for (int i = 0; i < (EXACT ? FM : 1); i++)
#pragma unroll
                for (int j = 0; j < (EXACT ? FN : 1); j++)
#pragma unroll
                    for (int e = 0; e < 4; e++) part[i][j][e] = 0.0f;
        }
#pragma unroll
        for (int k = 0; k < DEEP; k += 8) {
            uint32_t a_high[FM][4], a_low[EXACT ? FM : 1][4];
#pragma unroll
            for (int i = 0; i < FM; i++)
#pragma unroll
                for (int e = 0; e < 4; e++) {
                    int row = row0 + i * 16 + down + (e & 1) * 8, depth = k + across + (e >> 1) * 4;
                    float v = a[A_DEEP ? row * A_PITCH + depth : depth * A_PITCH + row];
                    a_high[i][e] = operand<KIND>(v);
                    if (EXACT) a_low[EXACT ? i : 0][e] = operand<KIND>(v - __uint_as_float(a_high[i][e]));
                }
#pragma unroll
            for (int j = 0; j < FN; j++) {
                uint32_t b_high[2], b_low[2];
#pragma unroll
                for (int e = 0; e < 2; e++) {
                    int column = column0 + j * 8 + down, depth = k + across + e * 4;
                    float v = b[B_DEEP ? column * B_PITCH + depth : depth * B_PITCH + column];
                    b_high[e] = operand<KIND>(v);
                    if (EXACT) b_low[e] = operand<KIND>(v - __uint_as_float(b_high[e]));
                }
#pragma unroll
                for (int i = 0; i < FM; i++) {
                    if (EXACT) {
                        float(&d)[4] = part[EXACT ? i : 0][EXACT ? j : 0];
                        multiply(d, a_low[EXACT ? i : 0], b_high);
                        multiply(d, a_high[i], b_low);
                        multiply(d, a_high[i], b_high);
                    } else {
                        multiply(sums[i][j], a_high[i], b_high);
                    }
                }
            }
        }
        if (EXACT) {
#pragma unroll
            for (int i = 0; i < FM; i++)
#pragma unroll
                for (int j = 0; j < FN; j++)
#pragma unroll
                    for (int e = 0; e < 4; e++) sums[i][j][e] += part[EXACT ? i : 0][EXACT ? j : 0][e];
        }
    }
    float *to = out + (u64)blockIdx.z * g.rows * g.columns;
#pragma unroll
    for (int i = 0; i < FM; i++)
#pragma unroll
        for (int j = 0; j < FN; j++)
#pragma unroll
            for (int half = 0; half < 2; half++) {
                int row = first_row + row0 + i * 16 + down + half * 8;
                int column = first_column + column0 + j * 8 + across * 2;
                if (row >= g.rows) continue;
#pragma unroll
                for (int e = 0; e < 2; e++) {
                    if (column + e >= g.columns) continue;
                    u64 at = WAY == WEIGHT ? (u64)(column + e) * g.rows + row : (u64)row * g.columns + column + e;
                    float v = sums[i][j][half * 2 + e];
                    to[at] = g.join ? to[at] + v : v;
                }
            }
}

#define CONV(WAY, NAME, M, N, WM, WN, V, KIND, SUFFIX)                                                                 \
    extern "C" __global__ void __launch_bounds__(THREADS)                                                               \
        conv_##NAME##_##M##x##N##_##V##_##SUFFIX(const __grid_constant__ Conv g, const float *from, const float *with,  \
                                                 float *out) {                                                          \
        convolve<WAY, M, N, WM, WN, V, KIND>(g, from, with, out);                                                      \
    }
#define TILES(WAY, NAME, V, KIND, SUFFIX)                                                                              \
    CONV(WAY, NAME, 128, 16, 4, 1, V, KIND, SUFFIX)                                                                    \
    CONV(WAY, NAME, 128, 32, 4, 1, V, KIND, SUFFIX)                                                                    \
    CONV(WAY, NAME, 64, 64, 2, 2, V, KIND, SUFFIX)
#define EACH(WAY, NAME, V)                                                                                              \
    TILES(WAY, NAME, V, F32, f32)                                                                                       \
    TILES(WAY, NAME, V, TF32, tf32)                                                                                     \
    TILES(WAY, NAME, V, BF16, bf16)
EACH(FORWARD, forward, 4)
EACH(FORWARD, forward, 1)
EACH(INPUT, input, 4)
EACH(INPUT, input, 1)
#define NARROW(V, KIND, SUFFIX)                                                                                        \
    CONV(WEIGHT, weight, 64, 16, 4, 1, V, KIND, SUFFIX)                                                                \
    CONV(WEIGHT, weight, 64, 32, 2, 2, V, KIND, SUFFIX)                                                                \
    CONV(WEIGHT, weight, 64, 64, 2, 2, V, KIND, SUFFIX)
NARROW(4, F32, f32)
NARROW(4, TF32, tf32)
NARROW(4, BF16, bf16)
NARROW(1, F32, f32)
NARROW(1, TF32, tf32)
NARROW(1, BF16, bf16)

// Adds up parts in their order.
extern "C" __global__ void sum_parts(const float *parts, float *out, int count, int join, u64 n) {
    for (u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += (u64)gridDim.x * blockDim.x) {
        float sum = join ? out[i] : 0.0f;
        for (int part = 0; part < count; part++) sum += parts[part * n + i];
        out[i] = sum;
    }
}
