//! Random numbers that are a function of what they are for.
//!
//! A [`Rng`] is seeded by `(seed, purpose, step, sample)`, so that every draw of a run can be repeated on its
//! own, whatever was drawn before it and on whichever thread.

/// A small generator (SplitMix64, Steele, Lea and Flood 2014) for shuffling, probes and random inputs.
///
/// Not for secrets.
#[derive(Debug, Clone)]
pub struct Rng {
    state: u64,
}

impl Rng {
    /// The generator for one purpose, step and sample of the run with this `seed`.
    pub fn new(seed: u64, purpose: &str, step: u64, sample: u64) -> Rng {
        // FNV-1a of the purpose; the parts are then mixed one after another, so that their order matters.
        let purpose = purpose.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        let mut rng = Rng { state: seed };
        for part in [purpose, step, sample] {
            rng.state = rng.next_u64() ^ part;
        }
        rng
    }

    /// The next 64 uniform bits.
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.state;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// Uniform in `[0, 1)`.
    pub fn uniform(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Standard normal (Box–Muller).
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }

    /// A random sign, −1 or 1.
    pub fn sign(&mut self) -> f64 {
        if self.next_u64() >> 63 == 0 { 1.0 } else { -1.0 }
    }

    /// Random signs, −1 or 1, 64 of them from one draw.
    pub fn signs(&mut self, count: usize) -> Vec<f32> {
        let mut signs = Vec::with_capacity(count);
        while signs.len() < count {
            let bits = self.next_u64();
            let some = 64.min(count - signs.len());
            signs.extend((0..some).map(|bit| if bits >> bit & 1 == 0 { 1f32 } else { -1.0 }));
        }
        signs
    }

    /// Uniform in `0..bound`; `bound` is not 0.
    pub fn below(&mut self, bound: usize) -> usize {
        // The high half of a 128-bit product: biased by less than bound / 2⁶⁴.
        ((u128::from(self.next_u64()) * bound as u128) >> 64) as usize
    }

    /// Puts `items` into a random order (Fisher–Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_parts_give_the_same_numbers_and_others_do_not() {
        let first = |seed, purpose, step, sample| Rng::new(seed, purpose, step, sample).next_u64();
        assert_eq!(first(1, "shuffle", 2, 3), first(1, "shuffle", 2, 3));
        let all = [
            first(1, "shuffle", 2, 3),
            first(2, "shuffle", 2, 3),
            first(1, "probe", 2, 3),
            first(1, "shuffle", 3, 2),
            first(1, "shuffle", 2, 4),
        ];
        for (i, a) in all.iter().enumerate() {
            assert!(all[i + 1..].iter().all(|b| a != b));
        }
    }

    #[test]
    fn moments_are_those_of_the_distribution() {
        let mut rng = Rng::new(0, "test", 0, 0);
        let n = 200_000;
        let (mut uniform, mut normal, mut square, mut sign) = (0.0, 0.0, 0.0, 0.0);
        for _ in 0..n {
            uniform += rng.uniform();
            let z = rng.normal();
            normal += z;
            square += z * z;
            sign += rng.sign();
        }
        let n = f64::from(n);
        assert!((uniform / n - 0.5).abs() < 0.005);
        assert!((normal / n).abs() < 0.01);
        assert!((square / n - 1.0).abs() < 0.02);
        assert!((sign / n).abs() < 0.01);
    }

    #[test]
    fn a_shuffle_is_a_permutation() {
        let mut items: Vec<usize> = (0..1000).collect();
        Rng::new(7, "shuffle", 0, 0).shuffle(&mut items);
        assert_ne!(items, (0..1000).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..1000).collect::<Vec<_>>());
    }
}
