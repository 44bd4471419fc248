// The PTX instructions of instructions.cuh, which this file's macro keeps out.
#pragma once
#define LRLAB_INSTRUCTIONS

#include <deque>
#include <vector>

namespace emulated {
// Copies are performed as late as they may be, so that a read before the wait sees the old contents.
struct Copy {
    float *to;
    const float *from;
    int count;
    bool real;
};
struct Copies {
    uint64_t block;
    std::vector<Copy> open;
    std::deque<std::vector<Copy>> groups;
};
// Of this thread; what it left in an earlier block is dropped.
inline Copies &copies() {
    static Copies of_threads[1024];
    Copies &mine = of_threads[threadIdx.x];
    if (mine.block != emulated_block_count) {
        mine.block = emulated_block_count;
        mine.open.clear();
        mine.groups.clear();
    }
    return mine;
}
} // namespace emulated

template <int V> inline void fetch(float *to, const float *from, bool real) {
    if ((uintptr_t)to % (4 * V) != 0 || (real && (uintptr_t)from % (4 * V) != 0)) emulated_fail("a copy of a misaligned address");
    emulated::copies().open.push_back({to, from, V, real});
}
inline void end_group() {
    emulated::Copies &mine = emulated::copies();
    mine.groups.push_back(std::move(mine.open));
    mine.open.clear();
}
template <int N> inline void wait_for_groups() {
    emulated::Copies &mine = emulated::copies();
    for (; mine.groups.size() > N; mine.groups.pop_front())
        for (const emulated::Copy &copy : mine.groups.front())
            for (int i = 0; i < copy.count; i++) copy.to[i] = copy.real ? copy.from[i] : 0.0f;
}

inline float flushed(float x) { return fpclassify(x) == FP_SUBNORMAL ? copysignf(0.0f, x) : x; }

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
    const char *all = emulated_exchange(&mine, sizeof mine, emulated::MULTIPLY);
    auto held = [&](int lane, int i) {
        uint32_t bits;
        memcpy(&bits, all + lane * EMULATED_SLOT + i * sizeof bits, sizeof bits);
        // The low bits are ignored.
        return (double)__uint_as_float(bits & 0xffffe000u);
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
