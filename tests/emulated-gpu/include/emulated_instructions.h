// The PTX instructions of instructions.cuh, which this file's macro keeps out.
#pragma once
#define LRLAB_INSTRUCTIONS

template <int V> inline void fetch(float *to, const float *from, bool real) {
    for (int i = 0; i < V; i++) to[i] = real ? from[i] : 0.0f;
}
inline void end_group() {}
template <int N> inline void wait_for_groups() {}

inline uint32_t tf32(float x) {
    uint32_t bits = __float_as_uint(x);
    // The nearest, ties away from zero; infinities and NaN stay.
    if ((bits & 0x7f800000u) != 0x7f800000u) bits += 0x1000u;
    return bits & 0xffffe000u;
}

// d (16, 8) += a (16, 8) b (8, 8): lane 4 r + c holds rows r and r + 8, columns c and c + 4 of a; rows c and c + 4 of
// column r of b; columns 2 c and 2 c + 1 of rows r and r + 8 of d. Sums are in f64, then rounded.
inline void multiply(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    struct { uint32_t a[4], b[2]; } mine = {{a[0], a[1], a[2], a[3]}, {b[0], b[1]}};
    static_assert(sizeof mine <= EMULATED_SLOT, "the slot has room");
    const char *all = emulated_exchange(&mine, sizeof mine);
    auto held = [&](int lane, int i) {
        float v;
        memcpy(&v, all + lane * EMULATED_SLOT + i * sizeof v, sizeof v);
        return (double)v;
    };
    int lane = emulated::lane(), r = lane / 4, c = lane % 4;
    double sums[4] = {d[0], d[1], d[2], d[3]};
    for (int k = 0; k < 8; k++) {
        int half = k / 4, across = k % 4;
        double low = held(4 * r + across, 2 * half), high = held(4 * r + across, 2 * half + 1);
        double left = held(4 * (2 * c) + across, 4 + half), right = held(4 * (2 * c + 1) + across, 4 + half);
        sums[0] += low * left;
        sums[1] += low * right;
        sums[2] += high * left;
        sums[3] += high * right;
    }
    for (int i = 0; i < 4; i++) d[i] = (float)sums[i];
}
