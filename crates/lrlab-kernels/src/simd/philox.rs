//! Philox4x32-10 (as `lrlab_random`), many blocks at a time.

pub(super) const ROUNDS: usize = 10;
pub(super) const MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
pub(super) const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];

/// Words 0 … 3 of the blocks `first` … `first` + N − 1, side by side so that the compiler vectorises it.
#[inline(always)]
pub(super) fn blocks<const N: usize>(first: u64, key: [u32; 2]) -> [[u32; N]; 4] {
    let [mut a, mut b, mut c, mut d] = [[0_u32; N]; 4];
    for i in 0..N {
        let counter = first + i as u64;
        (a[i], b[i]) = (counter as u32, (counter >> 32) as u32);
    }
    let [mut k0, mut k1] = key;
    for _ in 0..ROUNDS {
        for i in 0..N {
            let p0 = u64::from(MULTIPLIERS[0]) * u64::from(a[i]);
            let p1 = u64::from(MULTIPLIERS[1]) * u64::from(c[i]);
            a[i] = (p1 >> 32) as u32 ^ b[i] ^ k0;
            b[i] = p1 as u32;
            c[i] = (p0 >> 32) as u32 ^ d[i] ^ k1;
            d[i] = p0 as u32;
        }
        k0 = k0.wrapping_add(WEYL[0]);
        k1 = k1.wrapping_add(WEYL[1]);
    }
    [a, b, c, d]
}
