// Device code of the operators. Sums have a fixed order: no floating-point atomics, so equal input gives equal bits.
// Pictures are (n, h, w, c), "rows" of c channels. Matrices are row after row. Everything is f32.

#include <cuda_bf16.h>
#include <stdint.h>

#include "instructions.cuh"

typedef __nv_bfloat16 bf16;
typedef unsigned long long u64;

// V values at once.
template <int V> struct Pack { float v[V]; };
template <int V> __device__ __forceinline__ Pack<V> load_pack(const float *p) {
    Pack<V> r;
    if (V == 4) {
        float4 q = *reinterpret_cast<const float4 *>(p);
        r.v[0] = q.x; r.v[1 % V] = q.y; r.v[2 % V] = q.z; r.v[3 % V] = q.w;
    } else {
        r.v[0] = *p;
    }
    return r;
}
template <int V> __device__ __forceinline__ void store_pack(float *p, const Pack<V> &r) {
    if (V == 4) *reinterpret_cast<float4 *>(p) = make_float4(r.v[0], r.v[1 % V], r.v[2 % V], r.v[3 % V]);
    else *p = r.v[0];
}
__device__ __forceinline__ float warp_sum(float v) {
#pragma unroll
    for (int d = 16; d > 0; d >>= 1) v += __shfl_xor_sync(0xffffffffu, v, d);
    return v;
}
__device__ __forceinline__ double warp_sum(double v) {
#pragma unroll
    for (int d = 16; d > 0; d >>= 1) v += __shfl_xor_sync(0xffffffffu, v, d);
    return v;
}
__device__ __forceinline__ float warp_max(float v) {
#pragma unroll
    for (int d = 16; d > 0; d >>= 1) v = fmaxf(v, __shfl_xor_sync(0xffffffffu, v, d));
    return v;
}

// --- draws: Philox4x32-10 ---------------------------------------------------------------------------------------------

__device__ __forceinline__ uint4 philox(u64 index, uint2 key) {
    uint4 c = make_uint4((uint32_t)index, (uint32_t)(index >> 32), 0u, 0u);
#pragma unroll
    for (int i = 0; i < 10; i++) {
        uint32_t hi0 = __umulhi(0xD2511F53u, c.x), lo0 = 0xD2511F53u * c.x;
        uint32_t hi1 = __umulhi(0xCD9E8D57u, c.z), lo1 = 0xCD9E8D57u * c.z;
        c = make_uint4(hi1 ^ c.y ^ key.x, lo1, hi0 ^ c.w ^ key.y, lo0);
        key.x += 0x9E3779B9u;
        key.y += 0xBB67AE85u;
    }
    return c;
}

// Which elements are kept, a bit each: element i is bit i % 64 of words[i / 64]. Element i has word (i / 16) % 4 of block
// 16 (i / 64) + i % 16.
extern "C" __global__ void draw_bits(u64 *words, u64 count, uint32_t key0, uint32_t key1, uint32_t threshold) {
    u64 at = (u64)blockIdx.x * blockDim.x + threadIdx.x;
    uint4 w = philox(at, make_uint2(key0, key1));
    uint32_t v[4] = {w.x, w.y, w.z, w.w};
    u64 word = 0;
    int lane = threadIdx.x & 31;
#pragma unroll
    for (int i = 0; i < 4; i++) {
        uint32_t ballot = __ballot_sync(0xffffffffu, v[i] >= threshold);
        uint32_t mine = lane < 16 ? ballot & 0xffffu : ballot >> 16;
        word |= (u64)mine << (16 * i);
    }
    u64 group = at / 16;
    if (at % 16 == 0 && group < count) words[group] = word;
}
__device__ __forceinline__ bool kept(const u64 *bits, u64 i) { return bits[i >> 6] >> (i & 63) & 1; }

extern "C" __global__ void apply_bits(const float *x, const u64 *bits, float gain, float *y, u64 n) {
    for (u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += (u64)gridDim.x * blockDim.x)
        y[i] = kept(bits, i) ? x[i] * gain : 0.0f;
}

// --- pictures ---------------------------------------------------------------------------------------------------------

// (n, c, p) <-> (n, p, c)
extern "C" __global__ void to_rows(const float *x, float *y, int c, int p, u64 n) {
    for (u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += (u64)gridDim.x * blockDim.x) {
        u64 ch = i % c, rest = i / c, px = rest % p, picture = rest / p;
        y[i] = x[(picture * c + ch) * p + px];
    }
}
extern "C" __global__ void to_planes(const float *x, float *y, int c, int p, u64 n) {
    for (u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += (u64)gridDim.x * blockDim.x) {
        u64 px = i % p, rest = i / p, ch = rest % c, picture = rest / c;
        y[i] = x[(picture * p + px) * c + ch];
    }
}

// Many weights at once, (o, c, k) <-> (o, k, c).
struct Weights {
    u64 planes[48];
    u64 rows[48];
    int c[48];
    int k[48];
    int size[48];
};
extern "C" __global__ void weights_to_rows(const __grid_constant__ Weights t) {
    int i = blockIdx.y;
    const float *from = reinterpret_cast<const float *>(t.planes[i]);
    float *to = reinterpret_cast<float *>(t.rows[i]);
    int c = t.c[i], k = t.k[i];
    for (unsigned at = blockIdx.x * blockDim.x + threadIdx.x; at < (unsigned)t.size[i]; at += gridDim.x * blockDim.x) {
        unsigned ch = at % c, rest = at / c;
        to[at] = from[(rest / k * c + ch) * k + rest % k];
    }
}
extern "C" __global__ void weights_to_planes(const __grid_constant__ Weights t) {
    int i = blockIdx.y;
    float *to = reinterpret_cast<float *>(t.planes[i]);
    const float *from = reinterpret_cast<const float *>(t.rows[i]);
    int c = t.c[i], k = t.k[i];
    for (unsigned at = blockIdx.x * blockDim.x + threadIdx.x; at < (unsigned)t.size[i]; at += gridDim.x * blockDim.x) {
        unsigned tap = at % k, rest = at / k;
        to[at] = from[(rest / c * k + tap) * c + rest % c];
    }
}

// --- sums per channel ---------------------------------------------------------------------------------------------------
// A block of 256 threads sums TX packs of V channels over a run of rows; the last block to finish adds the runs up in
// their order, in f64. The functor says what is summed and how the sums are used.

// The last block resets the counter to zero.
__device__ bool last_block(unsigned int *counter) {
    __shared__ bool last;
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0) {
        unsigned int before = atomicAdd(counter + blockIdx.x, 1u);
        last = before == gridDim.y - 1;
        if (last) counter[blockIdx.x] = 0;
    }
    __syncthreads();
    if (last) __threadfence();
    return last;
}

template <int V, typename F>
__device__ void channel_sums(const F &f, int rows, int c, int tx, int rows_per_block, float *partial, unsigned int *counter) {
    __shared__ float2 shared[256 * V];
    __shared__ double2 totals[256];
    int packs = c / V;
    int lane = threadIdx.x % tx, line = threadIdx.x / tx, lines = blockDim.x / tx;
    int pack = blockIdx.x * tx + lane;
    float a[V], b[V];
#pragma unroll
    for (int v = 0; v < V; v++) a[v] = b[v] = 0.0f;
    int first = blockIdx.y * rows_per_block, end = min(rows, first + rows_per_block);
    if (pack < packs) {
        typename F::Channel channel = f.channel(pack * V);
#pragma unroll 4
        for (int row = first + line; row < end; row += lines) f.add(channel, (u64)row * c + pack * V, a, b);
    }
#pragma unroll
    for (int v = 0; v < V; v++) shared[threadIdx.x * V + v] = make_float2(a[v], b[v]);
    __syncthreads();
    // Every channel of the tile by one thread, the lines in their order.
    int tile = tx * V;
    for (int ch = threadIdx.x; ch < tile; ch += blockDim.x) {
        float2 sum = make_float2(0.0f, 0.0f);
        for (int i = 0; i < lines; i++) {
            float2 s = shared[i * tile + ch];
            sum.x += s.x;
            sum.y += s.y;
        }
        int of = blockIdx.x * tile + ch;
        if (of < c) reinterpret_cast<float2 *>(partial)[(u64)blockIdx.y * c + of] = sum;
    }
    if (!last_block(counter)) return;
    // A power of two of threads per channel.
    int each = max(1, (int)blockDim.x / tile);
    for (int base = 0; base < tile; base += blockDim.x / each) {
        int ch = base + threadIdx.x / each, part = threadIdx.x % each;
        int of = blockIdx.x * tile + ch;
        double2 sum = make_double2(0.0, 0.0);
        if (ch < tile && of < c) {
            for (int run = part; run < gridDim.y; run += each) {
                float2 s = __ldcg(reinterpret_cast<const float2 *>(partial) + (u64)run * c + of);
                sum.x += s.x;
                sum.y += s.y;
            }
        }
        totals[threadIdx.x] = sum;
        __syncthreads();
        if (part == 0 && ch < tile && of < c) {
            for (int i = 1; i < each; i++) {
                sum.x += totals[threadIdx.x + i].x;
                sum.y += totals[threadIdx.x + i].y;
            }
            f.finish(of, sum.x, sum.y);
        }
        __syncthreads();
    }
}

// Mean and variance of a convolution's output, which also go to `batch` (2, c) in f64, and the norm's coefficients.
template <int V> struct Moments {
    const float *y;
    const float *scale, *shift;
    float *mean, *inverse, *gain, *offset;
    double *batch;
    double count;
    float eps;
    int channels;
    struct Channel { float start[V]; };
    __device__ Channel channel(int ch) const {
        Channel c;
        Pack<V> p = load_pack<V>(y + ch);
#pragma unroll
        for (int v = 0; v < V; v++) c.start[v] = p.v[v];
        return c;
    }
    __device__ void add(const Channel &c, u64 at, float *a, float *b) const {
        Pack<V> p = load_pack<V>(y + at);
#pragma unroll
        for (int v = 0; v < V; v++) {
            float d = p.v[v] - c.start[v];
            a[v] += d;
            b[v] = fmaf(d, d, b[v]);
        }
    }
    __device__ void finish(int ch, double a, double b) const {
        double centre = a / count;
        double m = (double)y[ch] + centre;
        double var = b / count - centre * centre;
        if (var < 0.0) var = 0.0;
        double inv = 1.0 / sqrt(var + (double)eps);
        double g = (double)scale[ch] * inv;
        mean[ch] = (float)m;
        inverse[ch] = (float)inv;
        gain[ch] = (float)g;
        offset[ch] = (float)((double)shift[ch] - m * g);
        batch[ch] = m;
        batch[channels + ch] = var;
    }
};
#define MOMENTS(NAME, V)                                                                                                \
    extern "C" __global__ void __launch_bounds__(256)                                                                   \
        NAME(const float *y, const float *scale, const float *shift, float *mean, float *inverse, float *gain, float *offset, \
             double *batch, float eps, int rows, int c, int tx, int rows_per_block, float *partial, unsigned int *counter) { \
        Moments<V> f = {y, scale, shift, mean, inverse, gain, offset, batch, (double)rows, eps, c};                     \
        channel_sums<V>(f, rows, c, tx, rows_per_block, partial, counter);                                              \
    }
MOMENTS(moments_4, 4)
MOMENTS(moments_1, 1)

// Running statistics of norms, and what `moments` left of the batch, which has `count` values per channel.
struct Statistics {
    u64 running_mean[48];
    u64 running_var[48];
    u64 batch[48];
    int c[48];
    int count[48];
};
// Moves running statistics towards those of the batch, the variance unbiased: a block of the second dimension per norm.
extern "C" __global__ void move_statistics(const __grid_constant__ Statistics t, float momentum) {
    int i = blockIdx.y, c = t.c[i], ch = blockIdx.x * blockDim.x + threadIdx.x;
    if (ch >= c) return;
    float *running_mean = reinterpret_cast<float *>(t.running_mean[i]);
    float *running_var = reinterpret_cast<float *>(t.running_var[i]);
    const double *batch = reinterpret_cast<const double *>(t.batch[i]);
    double m = batch[ch], var = batch[c + ch], count = t.count[i];
    running_mean[ch] = (float)((1.0 - (double)momentum) * running_mean[ch] + (double)momentum * m);
    running_var[ch] = (float)((1.0 - (double)momentum) * running_var[ch] + (double)momentum * var * (count / (count - 1.0)));
}

// The norm's coefficients from the running statistics.
extern "C" __global__ void fixed_norm(const float *scale, const float *shift, const float *running_mean,
                                      const float *running_var, float eps, float *mean, float *inverse, float *gain,
                                      float *offset, int c) {
    int ch = blockIdx.x * blockDim.x + threadIdx.x;
    if (ch >= c) return;
    double inv = 1.0 / sqrt((double)running_var[ch] + (double)eps), g = (double)scale[ch] * inv;
    mean[ch] = running_mean[ch];
    inverse[ch] = (float)inv;
    gain[ch] = (float)g;
    offset[ch] = (float)((double)shift[ch] - (double)running_mean[ch] * g);
}

// z = max(y gain + offset + residual, 0)
template <int V>
__device__ void norm_apply(const float *y, const float *gain, const float *offset, const float *residual, int relu, float *z, int c,
                           u64 packs) {
    for (u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x; i < packs; i += (u64)gridDim.x * blockDim.x) {
        u64 at = i * V;
        int ch = (int)(at % c);
        Pack<V> p = load_pack<V>(y + at), g = load_pack<V>(gain + ch), o = load_pack<V>(offset + ch), r;
        if (residual) r = load_pack<V>(residual + at);
#pragma unroll
        for (int v = 0; v < V; v++) {
            float value = fmaf(p.v[v], g.v[v], o.v[v]);
            if (residual) value += r.v[v];
            // A NaN propagates.
            p.v[v] = relu && value <= 0.0f ? 0.0f : value;
        }
        store_pack<V>(z + at, p);
    }
}
#define NORM_APPLY(NAME, V)                                                                                          \
    extern "C" __global__ void NAME(const float *y, const float *gain, const float *offset, const float *residual, int relu,    \
                                    float *z, int c, u64 packs) {                                                           \
        norm_apply<V>(y, gain, offset, residual, relu, z, c, packs);                                                 \
    }
NORM_APPLY(norm_apply_4, 4)
NORM_APPLY(norm_apply_1, 1)

// Sums of the gradient (where z > 0, with z) and of its products with the normed values: the gradients of shift and scale,
// and the coefficients with which the gradient of y is  a g + b y + d.
template <int V> struct NormGrad {
    const float *grad, *y, *z;
    const float *scale, *mean, *inverse;
    float *d_scale, *d_shift, *a, *b, *d;
    double count;
    int train;
    struct Channel { float mean[V]; };
    __device__ Channel channel(int ch) const {
        Channel c;
        Pack<V> p = load_pack<V>(mean + ch);
#pragma unroll
        for (int v = 0; v < V; v++) c.mean[v] = p.v[v];
        return c;
    }
    __device__ void add(const Channel &c, u64 at, float *s, float *t) const {
        Pack<V> g = load_pack<V>(grad + at), p = load_pack<V>(y + at), o;
        if (z) o = load_pack<V>(z + at);
#pragma unroll
        for (int v = 0; v < V; v++) {
            float value = z && !(o.v[v] > 0.0f) ? 0.0f : g.v[v];
            s[v] += value;
            t[v] = fmaf(value, p.v[v] - c.mean[v], t[v]);
        }
    }
    __device__ void finish(int ch, double s, double t) const {
        double inv = inverse[ch], gain = (double)scale[ch] * inv, m = mean[ch];
        d_shift[ch] = (float)s;
        d_scale[ch] = (float)(t * inv);
        if (train) {
            // gain (g − s / count − (y − m) inv² t / count)
            double slope = -gain * inv * inv * t / count;
            a[ch] = (float)gain;
            b[ch] = (float)slope;
            d[ch] = (float)(-gain * s / count - slope * m);
        } else {
            a[ch] = (float)gain;
            b[ch] = 0.0f;
            d[ch] = 0.0f;
        }
    }
};
#define NORM_GRAD(NAME, V)                                                                                           \
    extern "C" __global__ void __launch_bounds__(256)                                                                   \
        NAME(const float *grad, const float *y, const float *z, const float *scale, const float *mean, const float *inverse,        \
             float *d_scale, float *d_shift, float *a, float *b, float *d, int train, int rows, int c, int tx,          \
             int rows_per_block, float *partial, unsigned int *counter) {                                               \
        NormGrad<V> f = {grad, y, z, scale, mean, inverse, d_scale, d_shift, a, b, d, (double)rows, train};          \
        channel_sums<V>(f, rows, c, tx, rows_per_block, partial, counter);                                              \
    }
NORM_GRAD(norm_grad_4, 4)
NORM_GRAD(norm_grad_1, 1)

// dy = a g + b y + d with g the gradient where z > 0; g goes to or joins the residual's gradient.
template <int V>
__device__ void norm_back(const float *grad, const float *y, const float *z, const float *a, const float *b, const float *d, float *dy,
                          float *residual, int join, int c, u64 packs) {
    for (u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x; i < packs; i += (u64)gridDim.x * blockDim.x) {
        u64 at = i * V;
        int ch = (int)(at % c);
        Pack<V> g = load_pack<V>(grad + at), p = load_pack<V>(y + at), o, r;
        Pack<V> ka = load_pack<V>(a + ch), kb = load_pack<V>(b + ch), kd = load_pack<V>(d + ch);
        if (z) o = load_pack<V>(z + at);
        if (residual && join) r = load_pack<V>(residual + at);
#pragma unroll
        for (int v = 0; v < V; v++) {
            float value = z && !(o.v[v] > 0.0f) ? 0.0f : g.v[v];
            p.v[v] = fmaf(ka.v[v], value, fmaf(kb.v[v], p.v[v], kd.v[v]));
            if (residual) r.v[v] = join ? r.v[v] + value : value;
        }
        store_pack<V>(dy + at, p);
        if (residual) store_pack<V>(residual + at, r);
    }
}
#define NORM_BACK(NAME, V)                                                                                           \
    extern "C" __global__ void NAME(const float *grad, const float *y, const float *z, const float *a, const float *b,              \
                                    const float *d, float *dy, float *residual, int join, int c, u64 packs) {                   \
        norm_back<V>(grad, y, z, a, b, d, dy, residual, join, c, packs);                                             \
    }
NORM_BACK(norm_back_4, 4)
NORM_BACK(norm_back_1, 1)

struct Window { int h, w, oh, ow, kernel, stride, padding; };

// The maxima and the pixel each comes from; the first of equal ones, as torch has it. After a NaN the maximum is NaN, and
// the pixel that of the others' maximum unless the NaN is the first, as on the CPU.
extern "C" __global__ void max_pool(const float *x, float *y, int *picks, Window g, int c, u64 n) {
    for (u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += (u64)gridDim.x * blockDim.x) {
        int ch = (int)(i % c);
        u64 rest = i / c;
        int ox = (int)(rest % g.ow), oy = (int)(rest / g.ow % g.oh);
        const float *picture = x + rest / g.ow / g.oh * g.h * g.w * c + ch;
        float best = 0.0f, nan = 0.0f;
        int pick = -1;
        for (int ky = 0; ky < g.kernel; ky++) {
            int py = oy * g.stride + ky - g.padding;
            if (py < 0 || py >= g.h) continue;
            for (int kx = 0; kx < g.kernel; kx++) {
                int px = ox * g.stride + kx - g.padding;
                if (px < 0 || px >= g.w) continue;
                float v = picture[(u64)(py * g.w + px) * c];
                if (pick < 0 || v > best) { best = v; pick = py * g.w + px; }
                if (v != v) nan = v;
            }
        }
        y[i] = nan != nan ? nan : best;
        picks[i] = pick;
    }
}
extern "C" __global__ void max_pool_back(const float *grad, const int *picks, float *dx, int join, Window g, int c, u64 n) {
    for (u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += (u64)gridDim.x * blockDim.x) {
        int ch = (int)(i % c);
        u64 rest = i / c, picture = rest / g.w / g.h;
        int px = (int)(rest % g.w), py = (int)(rest / g.w % g.h);
        float sum = join ? dx[i] : 0.0f;
        int low_y = max(0, (py + g.padding - g.kernel + g.stride) / g.stride), high_y = min(g.oh - 1, (py + g.padding) / g.stride);
        int low_x = max(0, (px + g.padding - g.kernel + g.stride) / g.stride), high_x = min(g.ow - 1, (px + g.padding) / g.stride);
        for (int oy = low_y; oy <= high_y; oy++)
            for (int ox = low_x; ox <= high_x; ox++) {
                u64 at = ((picture * g.oh + oy) * g.ow + ox) * c + ch;
                if (picks[at] == py * g.w + px) sum += grad[at];
            }
        dx[i] = sum;
    }
}
// Every stride-th pixel with channels of zeros before and after: c channels to `channels`.
extern "C" __global__ void subsample(const float *x, float *y, Window g, int c, int before, int channels, u64 n) {
    for (u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += (u64)gridDim.x * blockDim.x) {
        int ch = (int)(i % channels) - before;
        u64 rest = i / channels;
        int ox = (int)(rest % g.ow), oy = (int)(rest / g.ow % g.oh);
        u64 picture = rest / g.ow / g.oh;
        bool inside = ch >= 0 && ch < c;
        u64 from = ((picture * g.h + oy * g.stride) * g.w + ox * g.stride) * c + (inside ? ch : 0);
        y[i] = inside ? x[from] : 0.0f;
    }
}
extern "C" __global__ void subsample_back(const float *grad, float *dx, int join, Window g, int c, int before, int channels, u64 n) {
    for (u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += (u64)gridDim.x * blockDim.x) {
        int ch = (int)(i % c);
        u64 rest = i / c, picture = rest / g.w / g.h;
        int px = (int)(rest % g.w), py = (int)(rest / g.w % g.h);
        float sum = join ? dx[i] : 0.0f;
        if (px % g.stride == 0 && py % g.stride == 0) {
            u64 at = ((picture * g.oh + py / g.stride) * g.ow + px / g.stride) * channels + before + ch;
            sum += grad[at];
        }
        dx[i] = sum;
    }
}
// The mean over the pixels: (n, p, c) to (n, c); a warp's lanes are channels, so that reads are coalesced.
extern "C" __global__ void average(const float *x, float *y, int c, int p, int n) {
    u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= (u64)n * c) return;
    const float *from = x + i / c * p * c + i % c;
    float sum = 0.0f;
    for (int px = 0; px < p; px++) sum += from[(u64)px * c];
    y[i] = sum / p;
}
extern "C" __global__ void spread(const float *grad, float *dx, int c, int p, u64 n) {
    for (u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += (u64)gridDim.x * blockDim.x)
        dx[i] = grad[i / c / p * c + i % c] / p;
}

// --- matrices -----------------------------------------------------------------------------------------------------------

// The nearest bf16, ties to even; subnormal numbers become 0.
__device__ __forceinline__ bf16 nearest_bf16(float x) { return __float2bfloat16_rn(flushed(x)); }

extern "C" __global__ void to_bf16(const float *x, bf16 *y, u64 n) {
    for (u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += (u64)gridDim.x * blockDim.x)
        y[i] = nearest_bf16(x[i]);
}

// Sums of the columns of g (rows, c), and of g ∘ v where there is a v.
template <int V> struct Columns {
    const float *g, *v;
    float *sums, *products;
    struct Channel {};
    __device__ Channel channel(int) const { return Channel(); }
    __device__ void add(const Channel &, u64 at, float *s, float *t) const {
        Pack<V> x = load_pack<V>(g + at), w;
        if (v) w = load_pack<V>(v + at);
#pragma unroll
        for (int i = 0; i < V; i++) {
            s[i] += x.v[i];
            if (v) t[i] = fmaf(x.v[i], w.v[i], t[i]);
        }
    }
    __device__ void finish(int ch, double s, double t) const {
        sums[ch] = (float)s;
        if (v) products[ch] = (float)t;
    }
};
#define COLUMNS(NAME, V)                                                                                                \
    extern "C" __global__ void __launch_bounds__(256)                                                                   \
        NAME(const float *g, const float *v, float *sums, float *products, int rows, int c, int tx, int rows_per_block, \
             float *partial, unsigned int *counter) {                                                                   \
        Columns<V> f = {g, v, sums, products};                                                                          \
        channel_sums<V>(f, rows, c, tx, rows_per_block, partial, counter);                                              \
    }
COLUMNS(columns_4, 4)
COLUMNS(columns_1, 1)

extern "C" __global__ void join(float *sum, const float *more, u64 n) {
    for (u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += (u64)gridDim.x * blockDim.x) sum[i] += more[i];
}

extern "C" __global__ void copy(const float *x, float *y, u64 n) {
    for (u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += (u64)gridDim.x * blockDim.x) y[i] = x[i];
}
extern "C" __global__ void add_bias(float *y, const float *bias, int c, u64 n) {
    for (u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += (u64)gridDim.x * blockDim.x) y[i] += bias[i % c];
}

__device__ __forceinline__ float gaussian(float x) { return 0.5f * (1.0f + erff(x * 0.70710678118654752f)); }

__device__ __forceinline__ float activated(float v, int gelu) { return gelu ? v * gaussian(v) : (v <= 0.0f ? 0.0f : v); }

// y = max(x, 0) or x Φ(x)
extern "C" __global__ void activate(const float *x, float *y, int gelu, u64 n) {
    for (u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += (u64)gridDim.x * blockDim.x)
        y[i] = activated(x[i], gelu);
}
// inner += bias; hidden = max(inner, 0) or inner Φ(inner)
extern "C" __global__ void bias_act(float *inner, const float *bias, float *hidden, int gelu, int c, u64 n) {
    for (u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += (u64)gridDim.x * blockDim.x) {
        float v = inner[i] + bias[i % c];
        inner[i] = v;
        hidden[i] = activated(v, gelu);
    }
}
// to = grad · slope at inner; where the slope of a ReLU is 0, any gradient gives 0.
extern "C" __global__ void act_back(const float *grad, const float *inner, float *to, int gelu, u64 n) {
    for (u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += (u64)gridDim.x * blockDim.x) {
        float v = inner[i], g = grad[i];
        if (gelu) to[i] = g * (gaussian(v) + v * 0.39894228040143268f * expf(-0.5f * v * v));
        else to[i] = v > 0.0f ? g : 0.0f;
    }
}

// --- rows of a Transformer ----------------------------------------------------------------------------------------------

// A warp per row of w: sum = base + dropout(x + bias), each part optional; then the norm of sum.
// `sum`, `normed` with `inverse`, and `y` are written where they are given.
extern "C" __global__ void row_norm(const float *x, const float *bias, const u64 *bits, float keep, const float *base,
                                    float *sum, const float *scale, const float *shift, float eps, float *normed,
                                    float *inverse, float *y, int w, int rows) {
    int row = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32, lane = threadIdx.x & 31;
    if (row >= rows) return;
    u64 start = (u64)row * w;
    const int MOST = 32;
    float v[MOST];
    float total = 0.0f;
#pragma unroll
    for (int i = 0; i < MOST; i++) {
        int at = i * 32 + lane;
        v[i] = 0.0f;
        if (i * 32 < w && at < w) {
            float value = x[start + at];
            if (bias) value += bias[at];
            if (bits) value = kept(bits, start + at) ? value * keep : 0.0f;
            if (base) value += base[start + at];
            if (sum) sum[start + at] = value;
            v[i] = value;
            total += value;
        }
    }
    if (!scale) return;
    float mean = warp_sum(total) / w, squares = 0.0f;
#pragma unroll
    for (int i = 0; i < MOST; i++)
        if (i * 32 + lane < w) {
            float d = v[i] - mean;
            squares = fmaf(d, d, squares);
        }
    float inv = (float)(1.0 / sqrt((double)(warp_sum(squares) / w) + (double)eps));
    if (lane == 0) inverse[row] = inv;
#pragma unroll
    for (int i = 0; i < MOST; i++) {
        int at = i * 32 + lane;
        if (at < w) {
            float n = (v[i] - mean) * inv;
            normed[start + at] = n;
            y[start + at] = fmaf(n, scale[at], shift[at]);
        }
    }
}

// The gradient of a norm's input; with `join` it is added to the destination.
extern "C" __global__ void row_norm_back(const float *grad, const float *normed, const float *inverse, const float *scale,
                                         float *dx, int join, int w, int rows) {
    int row = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32, lane = threadIdx.x & 31;
    if (row >= rows) return;
    u64 start = (u64)row * w;
    float total = 0.0f, product = 0.0f;
    for (int at = lane; at < w; at += 32) {
        float g = grad[start + at] * scale[at];
        total += g;
        product = fmaf(g, normed[start + at], product);
    }
    total = warp_sum(total) / w;
    product = warp_sum(product) / w;
    float inv = inverse[row];
    for (int at = lane; at < w; at += 32) {
        float g = grad[start + at] * scale[at];
        float d = inv * (g - total - normed[start + at] * product);
        dx[start + at] = join ? dx[start + at] + d : d;
    }
}

// qkv (b, l, 3, heads, d) + bias to q, k, v, each (b, heads, l, d). Masked keys and values are 0, so that they have no
// influence even if they are NaN.
extern "C" __global__ void split_heads(const float *qkv, const float *bias, const float *mask, float *out, int l, int heads, int d,
                                       u64 each) {
    for (u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x; i < 3 * each; i += (u64)gridDim.x * blockDim.x) {
        int part = (int)(i / each);
        u64 at = i % each;
        int x = (int)(at % d), t = (int)(at / d % l);
        u64 bh = at / d / l;
        int head = (int)(bh % heads);
        u64 b = bh / heads;
        int column = (part * heads + head) * d + x;
        bool masked = part > 0 && mask[b * l + t] == 0.0f;
        out[i] = masked ? 0.0f : qkv[(b * l + t) * 3 * heads * d + column] + bias[column];
    }
}
// Back to (b, l, parts, heads, d). A mask is given with the gradients of q, k and v: those of masked keys and values are 0.
extern "C" __global__ void merge_heads(const float *in, const float *mask, float *out, int l, int heads, int d, int parts,
                                       u64 each) {
    for (u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x; i < parts * each; i += (u64)gridDim.x * blockDim.x) {
        int x = (int)(i % d), head = (int)(i / d % heads), part = (int)(i / d / heads % parts);
        u64 bt = i / d / heads / parts;
        int t = (int)(bt % l);
        u64 b = bt / l;
        bool masked = mask && part > 0 && mask[bt] == 0.0f;
        out[i] = masked ? 0.0f : in[part * each + ((b * heads + head) * l + t) * d + x];
    }
}
// (b, l, heads, d) to (b, heads, l, d).
extern "C" __global__ void to_heads(const float *in, float *out, int l, int heads, int d, u64 n) {
    for (u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += (u64)gridDim.x * blockDim.x) {
        int x = (int)(i % d), t = (int)(i / d % l);
        u64 bh = i / d / l;
        out[i] = in[((bh / heads * l + t) * heads + bh % heads) * d + x];
    }
}

// A warp per row of scores (b, heads, l, l): softmax over the keys that are tokens; then dropout into `dropped`, where a
// row of NaN stays one. Masked keys have a weight of 0 even in such a row.
extern "C" __global__ void softmax_rows(float *scores, const float *mask, const u64 *bits, float keep, float *dropped,
                                        int heads, int l, int rows) {
    int row = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32, lane = threadIdx.x & 31;
    if (row >= rows) return;
    u64 start = (u64)row * l;
    const float *keys = mask + (u64)(row / l / heads) * l;
    float most = -INFINITY;
    bool any = false;
    for (int at = lane; at < l; at += 32)
        if (keys[at] != 0.0f) { most = fmaxf(most, scores[start + at]); any = true; }
    most = warp_max(most);
    any = __any_sync(0xffffffffu, any);
    float total = 0.0f;
    for (int at = lane; at < l; at += 32) {
        float e = keys[at] != 0.0f ? expf(scores[start + at] - most) : 0.0f;
        scores[start + at] = e;
        total += e;
    }
    total = warp_sum(total);
    float share = any ? 1.0f / total : 0.0f;
    for (int at = lane; at < l; at += 32) {
        float p = keys[at] != 0.0f ? scores[start + at] * share : 0.0f;
        scores[start + at] = p;
        if (bits) dropped[start + at] = p != p ? p : kept(bits, start + at) ? p * keep : 0.0f;
    }
}
// The scores' gradient from that of the weights, in place; that of masked keys is 0.
extern "C" __global__ void softmax_back(float *grad, const float *weights, const float *mask, const u64 *bits, float keep,
                                        int heads, int l, int rows) {
    int row = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32, lane = threadIdx.x & 31;
    if (row >= rows) return;
    u64 start = (u64)row * l;
    const float *keys = mask + (u64)(row / l / heads) * l;
    float total = 0.0f;
    for (int at = lane; at < l; at += 32) {
        float g = grad[start + at];
        if (bits) g = kept(bits, start + at) ? g * keep : 0.0f;
        total = fmaf(g, weights[start + at], total);
    }
    total = warp_sum(total);
    for (int at = lane; at < l; at += 32) {
        float g = grad[start + at];
        if (bits) g = kept(bits, start + at) ? g * keep : 0.0f;
        grad[start + at] = keys[at] != 0.0f ? weights[start + at] * (g - total) : 0.0f;
    }
}

// --- embeddings ---------------------------------------------------------------------------------------------------------

// Indices below `count`; others become one that is none.
extern "C" __global__ void known_indices(const long long *x, uint32_t *y, u64 count, u64 n) {
    for (u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += (u64)gridDim.x * blockDim.x)
        y[i] = (u64)x[i] < count ? (uint32_t)x[i] : 0xffffffffu;
}

// Rows of the table times gain, plus the position's row, after dropout. An id outside the table reads NaN.
extern "C" __global__ void gather_rows(const uint32_t *ids, const float *table, float gain, const float *positions,
                                       const u64 *bits, float keep, float *y, int v, int d, int l, u64 n) {
    for (u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += (u64)gridDim.x * blockDim.x) {
        int x = (int)(i % d);
        u64 place = i / d;
        uint32_t id = ids[place];
        float value = id < (uint32_t)v ? table[(u64)id * d + x] * gain : __int_as_float(0x7fc00000);
        if (positions) value += positions[(place % l) * d + x];
        if (bits) value = kept(bits, i) ? value * keep : 0.0f;
        y[i] = value;
    }
}
// The places sorted by what they read, those of one row in their order: a place's rank is how many come before it. A warp
// counts for 32 places, a lane each over a 32nd of all ids.
extern "C" __global__ void sort_places(const uint32_t *ids, uint32_t *sorted, int n) {
    int lane = threadIdx.x & 31, first = (blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32) * 32;
    if (first >= n) return;
    uint32_t mine = first + lane < n ? ids[first + lane] : 0xffffffffu;
    int before[32];
#pragma unroll
    for (int i = 0; i < 32; i++) before[i] = 0;
    uint32_t of[32];
#pragma unroll
    for (int i = 0; i < 32; i++) of[i] = __shfl_sync(0xffffffffu, mine, i);
    for (int base = 0; base < n; base += 32) {
        int place = base + lane;
        uint32_t id = place < n ? ids[place] : 0xffffffffu;
        // A place beyond the end is not counted, because its id is the largest.
        bool there = place < n;
        if (base + 32 <= first) {
#pragma unroll
            for (int i = 0; i < 32; i++) before[i] += there && id <= of[i];
        } else if (base > first) {
#pragma unroll
            for (int i = 0; i < 32; i++) before[i] += there && id < of[i];
        } else {
#pragma unroll
            for (int i = 0; i < 32; i++) before[i] += there && (id < of[i] || (id == of[i] && place < first + i));
        }
    }
    int rank = 0;
#pragma unroll
    for (int i = 0; i < 32; i++) {
        int sum = __reduce_add_sync(0xffffffffu, before[i]);
        if (lane == i) rank = sum;
    }
    if (first + lane < n) sorted[rank] = first + lane;
}
// A block per run of `chunk` sorted places: rows that begin and end in the run are written, the sums of a row that extends
// beyond an end are left in `edges` (two of d per run: of the run's first row and of its last).
extern "C" __global__ void table_runs(const uint32_t *ids, const uint32_t *sorted, const float *grad, const u64 *bits,
                                      float keep, float gain, float *table, float *edges, int v, int d, int chunk, int n) {
    int first = blockIdx.x * chunk, end = min(n, first + chunk);
    for (int x = threadIdx.x; x < d; x += blockDim.x) {
        float sum = 0.0f;
        uint32_t row = ids[sorted[first]];
        bool head = true;
        for (int i = first; i < end; i++) {
            uint32_t place = sorted[i], id = ids[place];
            if (id != row) {
                if (head) edges[(u64)(2 * blockIdx.x) * d + x] = sum;
                else if (row < (uint32_t)v) table[(u64)row * d + x] = sum * gain;
                head = false;
                sum = 0.0f;
                row = id;
            }
            u64 at = (u64)place * d + x;
            float g = grad[at];
            if (bits) g = kept(bits, at) ? g * keep : 0.0f;
            sum += g;
        }
        if (head) edges[(u64)(2 * blockIdx.x) * d + x] = sum;
        else edges[(u64)(2 * blockIdx.x + 1) * d + x] = sum;
    }
}
// Puts the edges together: a block per run writes the row that its last place reads, where no later run reads it, from the
// run in which that row begins on; and the row of its first place where it ends here.
extern "C" __global__ void table_edges(const uint32_t *ids, const uint32_t *sorted, const float *edges, float gain,
                                       float *table, int v, int d, int chunk, int n) {
    int run = blockIdx.x, first = run * chunk, end = min(n, first + chunk);
    uint32_t head = ids[sorted[first]], tail = ids[sorted[end - 1]];
    bool tail_ends = end == n || ids[sorted[end]] != tail;
    // The runs before that end with this run's first row; the first of them is the one that it begins in.
    int begin = run;
    if (head != tail || tail_ends)
        while (begin > 0 && ids[sorted[begin * chunk - 1]] == head) begin--;
    for (int x = threadIdx.x; x < d; x += blockDim.x) {
        if (head != tail || tail_ends) {
            float sum = 0.0f;
            for (int r = begin; r < run; r++) {
                // All of the run, or its end.
                bool whole = ids[sorted[r * chunk]] == head;
                sum += edges[(u64)(2 * r + (whole ? 0 : 1)) * d + x];
            }
            sum += edges[(u64)(2 * run) * d + x];
            if (head < (uint32_t)v) table[(u64)head * d + x] = sum * gain;
        }
        if (head != tail && tail_ends && tail < (uint32_t)v)
            table[(u64)tail * d + x] = edges[(u64)(2 * run + 1) * d + x] * gain;
    }
}
// Sums over the batch: grad (b, l, d) after dropout to (l, d).
extern "C" __global__ void position_grad(const float *grad, const u64 *bits, float keep, float *to, int b, u64 each) {
    u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= each) return;
    float sum = 0.0f;
    for (int n = 0; n < b; n++) {
        u64 at = n * each + i;
        float g = grad[at];
        if (bits) g = kept(bits, at) ? g * keep : 0.0f;
        sum += g;
    }
    to[i] = sum;
}

// Σ_t weights[b, t] x[b, t, ·]
extern "C" __global__ void weighted_sum(const float *x, const float *weights, float *y, int l, int d, u64 n) {
    u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    u64 b = i / d;
    int column = (int)(i % d);
    float sum = 0.0f;
    for (int t = 0; t < l; t++) {
        float w = weights[b * l + t];
        // The state of padding is ignored, even NaN.
        if (w != 0.0f) sum = fmaf(w, x[(b * l + t) * d + column], sum);
    }
    y[i] = sum;
}
extern "C" __global__ void weighted_sum_back(const float *grad, const float *weights, float *dx, int l, int d, u64 n) {
    for (u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += (u64)gridDim.x * blockDim.x)
        dx[i] = weights[i / d] * grad[i / d / l * d + i % d];
}

// --- recurrence ---------------------------------------------------------------------------------------------------------
// Gates are in the order i, f, g, o: row gate · h + unit of the weights.

__device__ __forceinline__ float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }
__device__ __forceinline__ float rounded(float x, int bf) { return bf ? __bfloat162float(nearest_bf16(x)) : x; }

// y (rows, d) is x where the mask is not 0, and 0 elsewhere; y may be x.
extern "C" __global__ void mask_rows(const float *x, const float *mask, float *y, int d, u64 n) {
    for (u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += (u64)gridDim.x * blockDim.x)
        y[i] = mask[i / d] == 0.0f ? 0.0f : x[i];
}

// This thread's row of weights, of which R lie in registers and the others in shared memory, times a vector.
template <int H, int R>
__device__ __forceinline__ float times_row(const float (&w)[R], const float4 *weights, const float4 *from) {
    float s0 = 0.0f, s1 = 0.0f, s2 = 0.0f, s3 = 0.0f;
#pragma unroll
    for (int k = 0; k < R; k += 4) {
        float4 v = from[k / 4];
        s0 = fmaf(w[k], v.x, s0);
        s1 = fmaf(w[k + 1], v.y, s1);
        s2 = fmaf(w[k + 2], v.z, s2);
        s3 = fmaf(w[k + 3], v.w, s3);
    }
#pragma unroll 8
    for (int k = R; k < H; k += 4) {
        float4 v = from[k / 4], q = weights[(k - R) / 4 * (4 * H) + threadIdx.x];
        s0 = fmaf(q.x, v.x, s0);
        s1 = fmaf(q.y, v.y, s1);
        s2 = fmaf(q.z, v.z, s2);
        s3 = fmaf(q.w, v.w, s3);
    }
    return (s0 + s1) + (s2 + s3);
}

// A block per sequence, a thread per gate; the recurrent weights lie in registers (the first R columns) and in shared
// memory. H is h rounded up. Where the mask is 0, states and cells are those before.
template <int H, int R>
__device__ void lstm_forward(const float *projected, const float *w_hh, const float *mask, int reverse, int bf, int h, int l,
                             float *gates, float *cells, float *states, float *before, float *last) {
    extern __shared__ float4 weights[];
    __shared__ float4 state[2][H / 4];
    int b = blockIdx.x, unit = threadIdx.x / 4, gate = threadIdx.x % 4;
    bool real = unit < h;
    float w[R];
    const float *row = w_hh + (u64)(gate * h + unit) * h;
#pragma unroll
    for (int k = 0; k < R; k++) w[k] = real && k < h ? rounded(row[k], bf) : 0.0f;
#pragma unroll 1
    for (int k = R; k < H; k += 4) {
        float4 q;
        q.x = real && k < h ? rounded(row[k], bf) : 0.0f;
        q.y = real && k + 1 < h ? rounded(row[k + 1], bf) : 0.0f;
        q.z = real && k + 2 < h ? rounded(row[k + 2], bf) : 0.0f;
        q.w = real && k + 3 < h ? rounded(row[k + 3], bf) : 0.0f;
        weights[(k - R) / 4 * (4 * H) + threadIdx.x] = q;
    }
    if (threadIdx.x < H) reinterpret_cast<float *>(state[0])[threadIdx.x] = 0.0f;
    float c = 0.0f, out = 0.0f;
    u64 at = (u64)b * l + (reverse ? l - 1 : 0);
    float next = real ? projected[at * 4 * h + gate * h + unit] : 0.0f, next_mask = mask[at];
    __syncthreads();
    // Tokens alternate between the two states.
    int turn = 0;
    for (int step = 0; step < l; step++) {
        at = (u64)b * l + (reverse ? l - 1 - step : step);
        float x = next;
        bool token = next_mask != 0.0f;
        if (step + 1 < l) {
            u64 then = reverse ? at - 1 : at + 1;
            next_mask = mask[then];
            if (real) next = projected[then * 4 * h + gate * h + unit];
        }
        if (!token) {
            if (real && gate == 1) cells[at * h + unit] = c;
            if (real && gate == 2 && states) states[at * h + unit] = out;
            if (real && gate == 3) before[at * h + unit] = 0.0f;
            continue;
        }
        const float4 *from = state[turn];
        turn ^= 1;
        float z = x + times_row<H, R>(w, weights, from);
        float a = gate == 2 ? tanhf(z) : sigmoid(z);
        float i = __shfl_sync(0xffffffffu, a, 0, 4), f = __shfl_sync(0xffffffffu, a, 1, 4);
        float g = __shfl_sync(0xffffffffu, a, 2, 4), o = __shfl_sync(0xffffffffu, a, 3, 4);
        c = fmaf(f, c, i * g);
        float old = out;
        out = o * tanhf(c);
        if (real) {
            gates[at * 4 * h + gate * h + unit] = a;
            if (gate == 0) reinterpret_cast<float *>(state[turn])[unit] = rounded(out, bf);
            if (gate == 1) cells[at * h + unit] = c;
            if (gate == 2 && states) states[at * h + unit] = out;
            if (gate == 3) before[at * h + unit] = rounded(old, bf);
        } else if (gate == 0) {
            reinterpret_cast<float *>(state[turn])[unit] = 0.0f;
        }
        __syncthreads();
    }
    if (real && gate == 0 && last) last[(u64)b * h + unit] = out;
}

// The backward pass: a thread per state (a quarter of the gates each) for the product, and per gate for the slopes.
// `d_states` is (b, l, h) or null, `d_last` (b, h) or null; `d_gates` (b, l, 4h) is before the gates' functions.
template <int H, int R>
__device__ void lstm_backward(const float *d_states, const float *d_last, const float *w_hh, const float *mask, int reverse,
                              int bf, int h, int l, const float *gates, const float *cells, float *d_gates) {
    extern __shared__ float4 weights[];
    // A quarter of the gates, and four floats so that quarters lie in other banks.
    __shared__ float4 slopes[4 * (H / 4 + 1)];
    int b = blockIdx.x, unit = threadIdx.x / 4, gate = threadIdx.x % 4;
    bool real = unit < h;
    // In the product this thread sums gate `gate` of every unit: row gate · h + k, column unit.
    float w[R];
#pragma unroll
    for (int k = 0; k < R; k++) w[k] = real && k < h ? rounded(w_hh[(u64)(gate * h + k) * h + unit], bf) : 0.0f;
#pragma unroll 1
    for (int k = R; k < H; k += 4) {
        float q[4];
        for (int i = 0; i < 4; i++)
            q[i] = real && k + i < h ? rounded(w_hh[(u64)(gate * h + k + i) * h + unit], bf) : 0.0f;
        weights[(k - R) / 4 * (4 * H) + threadIdx.x] = make_float4(q[0], q[1], q[2], q[3]);
    }
    float dh = real && d_last ? d_last[(u64)b * h + unit] : 0.0f, dc = 0.0f;
    // The row of the last step, and the way to the one before it.
    int row = b * l + (reverse ? 0 : l - 1), back = reverse ? 1 : -1;
    bool token = mask[row] != 0.0f;
    __syncthreads();
    for (int left = l; left > 0; left--, row += back) {
        u64 at = row;
        bool now = token;
        if (left > 1) token = mask[row + back] != 0.0f;
        if (real && d_states) dh += d_states[at * h + unit];
        if (!now) {
            // The state was carried, and so is its gradient.
            if (real) d_gates[at * 4 * h + gate * h + unit] = 0.0f;
            continue;
        }
        float own = 0.0f;
        if (real) {
            float i = gates[at * 4 * h + unit], f = gates[at * 4 * h + h + unit];
            float g = gates[at * 4 * h + 2 * h + unit], o = gates[at * 4 * h + 3 * h + unit];
            float c = cells[at * h + unit];
            float old = left > 1 ? cells[(u64)(row + back) * h + unit] : 0.0f;
            float tc = tanhf(c);
            dc = fmaf(dh * o, 1.0f - tc * tc, dc);
            if (gate == 0) own = dc * g * i * (1.0f - i);
            else if (gate == 1) own = dc * old * f * (1.0f - f);
            else if (gate == 2) own = dc * i * (1.0f - g * g);
            else own = dh * tc * o * (1.0f - o);
            dc *= f;
            d_gates[at * 4 * h + gate * h + unit] = own;
        }
        reinterpret_cast<float *>(slopes)[gate * (H + 4) + unit] = rounded(own, bf);
        __syncthreads();
        const float4 *from = slopes + gate * (H / 4 + 1);
        float sum = times_row<H, R>(w, weights, from);
        sum += __shfl_xor_sync(0xffffffffu, sum, 1, 4);
        sum += __shfl_xor_sync(0xffffffffu, sum, 2, 4);
        dh = sum;
        __syncthreads();
    }
}
#define LSTM(H, R)                                                                                                      \
    extern "C" __global__ void __launch_bounds__(4 * H, 1)                                                              \
        lstm_forward_##H(const float *projected, const float *w_hh, const float *mask, int reverse, int bf, int h,      \
                         int l, float *gates, float *cells, float *states, float *before, float *last) {                \
        lstm_forward<H, R>(projected, w_hh, mask, reverse, bf, h, l, gates, cells, states, before, last);               \
    }                                                                                                                   \
    extern "C" __global__ void __launch_bounds__(4 * H, 1)                                                              \
        lstm_backward_##H(const float *d_states, const float *d_last, const float *w_hh, const float *mask, int reverse, \
                          int bf, int h, int l, const float *gates, const float *cells, float *d_gates) {               \
        lstm_backward<H, R>(d_states, d_last, w_hh, mask, reverse, bf, h, l, gates, cells, d_gates);                    \
    }
LSTM(32, 32)
LSTM(64, 64)
LSTM(96, 80)
LSTM(128, 80)

// Wider layers, a step at a time: `recurrent` (b, 4h) is the product of the step's state with the weights.
extern "C" __global__ void lstm_step(const float *projected, const float *recurrent, const float *mask, int reverse, int step,
                                     int bf, int h, int l, int b, float *gates, float *cells, float *states, float *before,
                                     float *state, float *cell) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= b * h) return;
    int s = i / h, unit = i % h;
    int t = reverse ? l - 1 - step : step;
    u64 at = (u64)s * l + t;
    float old = state[i];
    if (mask[at] == 0.0f) {
        cells[at * h + unit] = cell[i];
        states[at * h + unit] = old;
        before[at * h + unit] = 0.0f;
        return;
    }
    float z[4];
    for (int g = 0; g < 4; g++) z[g] = projected[at * 4 * h + g * h + unit] + recurrent[(u64)s * 4 * h + g * h + unit];
    float ig = sigmoid(z[0]), f = sigmoid(z[1]), g = tanhf(z[2]), o = sigmoid(z[3]);
    float c = fmaf(f, cell[i], ig * g), out = o * tanhf(c);
    gates[at * 4 * h + unit] = ig;
    gates[at * 4 * h + h + unit] = f;
    gates[at * 4 * h + 2 * h + unit] = g;
    gates[at * 4 * h + 3 * h + unit] = o;
    cells[at * h + unit] = c;
    states[at * h + unit] = out;
    before[at * h + unit] = rounded(old, bf);
    state[i] = out;
    cell[i] = c;
}
// `dh` (b, h) is the gradient that comes from the step after; it is left for the product where the place is padding.
extern "C" __global__ void lstm_step_back(const float *d_states, const float *mask, int reverse, int step, int h, int l, int b,
                                          const float *gates, const float *cells, const float *carried, float *dh, float *dc,
                                          float *d_gates, float *of_step) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= b * h) return;
    int s = i / h, unit = i % h;
    int t = reverse ? l - 1 - step : step;
    u64 at = (u64)s * l + t;
    // The product of the step after is added to the gradient carried over padding.
    float total = dh[i] + carried[i];
    if (d_states) total += d_states[at * h + unit];
    if (mask[at] == 0.0f) {
        // The state was carried, and so is its gradient.
        dh[i] = total;
        for (int g = 0; g < 4; g++) d_gates[at * 4 * h + g * h + unit] = of_step[(u64)s * 4 * h + g * h + unit] = 0.0f;
        return;
    }
    float ig = gates[at * 4 * h + unit], f = gates[at * 4 * h + h + unit];
    float g = gates[at * 4 * h + 2 * h + unit], o = gates[at * 4 * h + 3 * h + unit];
    float c = cells[at * h + unit], tc = tanhf(c);
    float old = step > 0 ? cells[(reverse ? at + 1 : at - 1) * h + unit] : 0.0f;
    float d = fmaf(total * o, 1.0f - tc * tc, dc[i]);
    float slopes[4] = {d * g * ig * (1.0f - ig), d * old * f * (1.0f - f), d * ig * (1.0f - g * g), total * tc * o * (1.0f - o)};
#pragma unroll
    for (int k = 0; k < 4; k++) d_gates[at * 4 * h + k * h + unit] = of_step[(u64)s * 4 * h + k * h + unit] = slopes[k];
    dc[i] = d * f;
    dh[i] = 0.0f;
}

// --- loss ---------------------------------------------------------------------------------------------------------------

// A block: the mean over n rows of −Σ q log softmax, and (q − softmax) / n for the backward pass. A label that is not below
// the number of classes gives NaN.
extern "C" __global__ __launch_bounds__(1024, 1) void cross_entropy(const float *logits, const uint32_t *labels, float smoothing,
                                                                    float *loss, float *slope, int n, int c) {
    __shared__ double sums[32];
    double total = 0.0;
    for (int row = threadIdx.x; row < n; row += blockDim.x) {
        const float *z = logits + (u64)row * c;
        float most = z[0];
        bool bad = false;
        for (int i = 0; i < c; i++) { most = fmaxf(most, z[i]); bad |= z[i] != z[i]; }
        float sum = 0.0f, all = 0.0f;
        for (int i = 0; i < c; i++) { sum += expf(z[i] - most); all += z[i] - most; }
        float log_sum = logf(sum);
        uint32_t label = labels[row];
        float at = label < (uint32_t)c && !bad ? z[label] - most - log_sum : __int_as_float(0x7fc00000);
        // A class of probability 0 has a term of −∞, which only smoothing weighs.
        float even = smoothing > 0.0f ? smoothing * (all / c - log_sum) : 0.0f;
        total += -(double)((1.0f - smoothing) * at + even);
        for (int i = 0; i < c; i++) {
            float p = expf(z[i] - most - log_sum), q = smoothing / c + ((uint32_t)i == label ? 1.0f - smoothing : 0.0f);
            slope[(u64)row * c + i] = at == at ? (p - q) / n : at;
        }
    }
    total = warp_sum(total);
    if (threadIdx.x % 32 == 0) sums[threadIdx.x / 32] = total;
    __syncthreads();
    if (threadIdx.x == 0) {
        total = 0.0;
        for (int i = 0; i < blockDim.x / 32; i++) total += sums[i];
        *loss = (float)(total / n);
    }
}
// y = x · *factor
extern "C" __global__ void times(const float *x, const float *factor, float *y, u64 n) {
    for (u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += (u64)gridDim.x * blockDim.x) y[i] = x[i] * *factor;
}

// --- updates ------------------------------------------------------------------------------------------------------------
// Many parameters at once: a block of the second dimension each.

struct Parameters {
    u64 var[40];
    u64 grad[40];
    u64 first[40];
    u64 second[40];
    float decay[40];
    int size[40];
};
struct SgdRule { float lr, momentum, keep; int nesterov; };
extern "C" __global__ void sgd(const __grid_constant__ Parameters t, SgdRule r) {
    int i = blockIdx.y;
    float *var = reinterpret_cast<float *>(t.var[i]), *buffer = reinterpret_cast<float *>(t.first[i]);
    const float *grad = reinterpret_cast<const float *>(t.grad[i]);
    float decay = t.decay[i];
    for (unsigned at = blockIdx.x * blockDim.x + threadIdx.x; at < (unsigned)t.size[i]; at += gridDim.x * blockDim.x) {
        float w = var[at], g = grad[at] + decay * w, direction = g;
        if (buffer) {
            float m = r.keep == 0.0f ? g : fmaf(r.keep, buffer[at], g);
            buffer[at] = m;
            direction = r.nesterov ? fmaf(r.momentum, m, g) : m;
        }
        var[at] = w - r.lr * direction;
    }
}
struct AdamRule { float keep1, keep2, take1, take2, rate, root, eps, lr; int decoupled; };
extern "C" __global__ void adam(const __grid_constant__ Parameters t, AdamRule r) {
    int i = blockIdx.y;
    float *var = reinterpret_cast<float *>(t.var[i]);
    float *first = reinterpret_cast<float *>(t.first[i]), *second = reinterpret_cast<float *>(t.second[i]);
    const float *grad = reinterpret_cast<const float *>(t.grad[i]);
    float decay = t.decay[i];
    float shrink = r.decoupled ? (float)(1.0 - (double)r.lr * decay) : 1.0f;
    if (r.decoupled) decay = 0.0f;
    for (unsigned at = blockIdx.x * blockDim.x + threadIdx.x; at < (unsigned)t.size[i]; at += gridDim.x * blockDim.x) {
        float w = var[at], g = fmaf(decay, w, grad[at]);
        float m = fmaf(r.keep1, first[at], r.take1 * g), v = fmaf(r.keep2, second[at], r.take2 * g * g);
        first[at] = m;
        second[at] = v;
        var[at] = shrink * w - r.rate * m / fmaf(sqrtf(v), r.root, r.eps);
    }
}
// Sums of squares in f64: a sum per block, of which there are `gridDim.x` per parameter.
extern "C" __global__ void squares(const __grid_constant__ Parameters t, double *partial) {
    __shared__ double sums[8];
    int i = blockIdx.y;
    const float *grad = reinterpret_cast<const float *>(t.grad[i]);
    double total = 0.0;
    for (unsigned at = blockIdx.x * blockDim.x + threadIdx.x; at < (unsigned)t.size[i]; at += gridDim.x * blockDim.x) {
        double v = grad[at];
        total += v * v;
    }
    total = warp_sum(total);
    if (threadIdx.x % 32 == 0) sums[threadIdx.x / 32] = total;
    __syncthreads();
    if (threadIdx.x == 0) {
        total = 0.0;
        for (int k = 0; k < blockDim.x / 32; k++) total += sums[k];
        partial[i * gridDim.x + blockIdx.x] = total;
    }
}

// --- examples of a data set -----------------------------------------------------------------------------------------------

// A picture as a batch has it: moved, mirrored, blanked. Blank rows are top ... bottom - 1, columns left ... end - 1.
struct Augmented { unsigned picture; int down, right, flip, top, bottom, left, end; };

// y (b, c, h, w) from bytes (picture, c, h, w): what `tables` (c, 256) has for them. A block per plane of y.
extern "C" __global__ void augment(const unsigned char *pictures, const Augmented *steps, const float *tables, float *y, int c,
                                   int h, int w) {
    Augmented a = steps[blockIdx.x / c];
    int ch = blockIdx.x % c, plane = h * w;
    pictures += ((u64)a.picture * c + ch) * plane;
    tables += ch * 256;
    y += (u64)blockIdx.x * plane;
    for (int i = threadIdx.x; i < plane; i += blockDim.x) {
        int row = i / w, x = i % w;
        int down = row + a.down, across = (a.flip ? w - 1 - x : x) + a.right;
        unsigned char byte = 0;
        if (down >= 0 && down < h && across >= 0 && across < w) byte = pictures[down * w + across];
        bool blank = row >= a.top && row < a.bottom && x >= a.left && x < a.end;
        y[i] = blank ? 0.0f : tables[byte];
    }
}

// Where a sequence lies among all ids.
struct Span { unsigned start, length; };

// The sequences at `spans`, rows of l, 0 after their ends; mask is 1 at tokens and 0 behind them.
extern "C" __global__ void pad_tokens(const unsigned *ids, const Span *spans, unsigned *rows, float *mask, int l, u64 n) {
    for (u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += (u64)gridDim.x * blockDim.x) {
        Span span = spans[i / l];
        unsigned at = (unsigned)(i % l);
        bool token = at < span.length;
        rows[i] = token ? ids[(u64)span.start + at] : 0u;
        mask[i] = token ? 1.0f : 0.0f;
    }
}
