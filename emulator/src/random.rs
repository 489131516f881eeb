//! The emulator's only source of randomness: seeded, serialisable, and bit-identical on every target.

use rand_core::Rng;
use rand_pcg::Pcg64Mcg;
use serde::{Deserialize, Serialize};

/// A reproducible stream of random numbers (PCG XSL 128/64 MCG, O'Neill 2014).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Random {
    #[serde(with = "generator_state")]
    generator: Pcg64Mcg,
    /// The second number of the last normal pair, not yet handed out.
    spare: Option<f64>,
}

/// The generator as its state: `rand_pcg`'s own implementation of serde's traits needs `std`.
mod generator_state {
    use super::{Deserialize, Pcg64Mcg, Serialize};
    use serde::{Deserializer, Serializer};

    #[derive(Serialize, Deserialize)]
    struct Generator {
        state: u128,
    }

    pub(super) fn serialize<S: Serializer>(generator: &Pcg64Mcg, to: S) -> Result<S::Ok, S::Error> {
        Generator { state: generator.state() }.serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Pcg64Mcg, D::Error> {
        Generator::deserialize(from).map(|Generator { state }| Pcg64Mcg::new(state))
    }
}

impl Random {
    /// The stream number `stream` of `seed`: two streams of one seed have nothing to do with each other, so that one
    /// part of the instrument drawing more numbers doesn't change another part's.
    pub fn new(seed: u64, stream: u64) -> Self {
        let high = split_mix(seed ^ split_mix(stream ^ 0x6a09_e667_f3bc_c908));
        let low = split_mix(high ^ split_mix(seed.wrapping_add(stream)));
        Self { generator: Pcg64Mcg::new((u128::from(high) << 64) | u128::from(low)), spare: None }
    }

    /// 64 uniform random bits.
    pub fn next_u64(&mut self) -> u64 {
        self.generator.next_u64()
    }

    /// Uniform in [0, 1), a multiple of 2⁻⁵³.
    pub fn uniform(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 * (1.0 / (1_u64 << 53) as f64)
    }

    /// Standard normal, by Marsaglia's polar method (SIAM Review 6, 260, 1964) with `libm` alone.
    pub fn normal(&mut self) -> f64 {
        if let Some(spare) = self.spare.take() {
            return spare;
        }
        loop {
            let x = 2.0 * self.uniform() - 1.0;
            let y = 2.0 * self.uniform() - 1.0;
            let square = x * x + y * y;
            if square > 0.0 && square < 1.0 {
                let scale = libm::sqrt(-2.0 * libm::log(square) / square);
                self.spare = Some(y * scale);
                return x * scale;
            }
        }
    }
}

/// The finaliser of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014): spreads nearby seeds over all 64 bits.
fn split_mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::Random;

    #[test]
    fn the_same_seed_and_stream_give_the_same_numbers_and_others_do_not() {
        let draw = |seed, stream| {
            let mut random = Random::new(seed, stream);
            [random.normal(), random.normal(), random.uniform()]
        };
        assert_eq!(draw(7, 1), draw(7, 1));
        assert_ne!(draw(7, 1), draw(7, 2));
        assert_ne!(draw(7, 1), draw(8, 1));
        assert_ne!(draw(0, 1), draw(1, 0));
    }

    #[test]
    fn the_first_numbers_of_seed_1_never_change() {
        // Golden: every stored array and every published figure of the emulator hangs on these.
        let mut random = Random::new(1, 2);
        assert_eq!(random.next_u64(), GOLDEN_U64);
        assert_eq!(random.normal().to_bits(), GOLDEN_NORMAL_BITS);
    }
    const GOLDEN_U64: u64 = 16_557_085_294_332_118_602;
    const GOLDEN_NORMAL_BITS: u64 = 4_611_796_290_235_381_057;

    #[test]
    fn normal_numbers_have_the_moments_of_a_standard_normal() {
        // 2·10⁵ draws, seed 3: limits are five standard errors of mean (1/√n), variance (√(2/n)), skewness
        // (√(6/n)) and kurtosis (√(24/n)).
        let n = 200_000;
        let mut random = Random::new(3, 0);
        let mut sums = [0.0; 4];
        for _ in 0..n {
            let x = random.normal();
            sums[0] += x;
            sums[1] += x * x;
            sums[2] += x * x * x;
            sums[3] += x * x * x * x;
        }
        let n = f64::from(n);
        let error = |k: f64| 5.0 * libm::sqrt(k / n);
        assert!(libm::fabs(sums[0] / n) < error(1.0), "{}", sums[0] / n);
        assert!(libm::fabs(sums[1] / n - 1.0) < error(2.0), "{}", sums[1] / n);
        // The raw third moment has variance 15/n.
        assert!(libm::fabs(sums[2] / n) < error(15.0), "{}", sums[2] / n);
        // The raw fourth moment has variance 96/n.
        assert!(libm::fabs(sums[3] / n - 3.0) < error(96.0), "{}", sums[3] / n);
    }

    #[test]
    fn uniform_numbers_fill_the_unit_interval_evenly() {
        // 10⁵ draws into 20 bins, seed 4: χ² with 19 degrees of freedom stays below its 99.99 % point, 51.2.
        let mut random = Random::new(4, 0);
        let mut bins = [0_u32; 20];
        for _ in 0..100_000 {
            let x = random.uniform();
            assert!((0.0..1.0).contains(&x));
            bins[(x * 20.0) as usize] += 1;
        }
        let expected = 5_000.0;
        let chi_squared: f64 = bins
            .iter()
            .map(|&count| (f64::from(count) - expected) * (f64::from(count) - expected) / expected)
            .sum();
        assert!(chi_squared < 51.2, "{chi_squared}");
    }

    #[test]
    fn a_restored_generator_continues_where_it_was_saved() {
        let mut random = Random::new(5, 9);
        random.normal();
        let text = serde_json::to_string(&random).unwrap();
        let mut restored: Random = serde_json::from_str(&text).unwrap();
        for _ in 0..5 {
            assert_eq!(random.normal().to_bits(), restored.normal().to_bits());
        }
    }
}
