//! Hum of the mains in a sampled trace: where its lines stand, so that fits can leave them out.

/// Harmonics looked out for.
const HARMONICS: u32 = 9;
/// How far the mains may be from its nominal frequency: 0.2 Hz in 50, the bounds of the European grid's normal operation
/// (Commission Regulation (EU) 2017/1485, annex III: standard frequency range ±50 mHz, maximum steady-state deviation
/// ±200 mHz).
const WANDER: f64 = 0.2 / 50.0;

/// The mains.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mains {
    /// Nominal frequency, Hz; 0 for none.
    pub nominal_hz: f64,
}

impl Mains {
    /// Whether a harmonic, folded back by sampling every `spacing_s`, can stand at `hz` in a spectrum that resolves
    /// `resolution_hz`.
    #[must_use]
    pub fn stands_at(&self, hz: f64, spacing_s: f64, resolution_hz: f64) -> bool {
        if self.nominal_hz == 0.0 {
            return false;
        }
        let rate = 1.0 / spacing_s;
        (1..=HARMONICS).any(|harmonic| {
            let line = f64::from(harmonic) * self.nominal_hz;
            let folded = (line - rate * (line / rate).round()).abs();
            (hz - folded).abs() <= WANDER * line + 4.0 * resolution_hz
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_found_where_sampling_folds_them() {
        let mains = Mains { nominal_hz: 50.0 };
        // At 1 kHz: 50, 100, … 450 Hz; at 60 Hz: 50 → 10, 100 → 20, 150 → 30.
        assert!(mains.stands_at(100.3, 1e-3, 0.1) && !mains.stands_at(75.0, 1e-3, 0.1));
        assert!(mains.stands_at(10.0, 1.0 / 60.0, 0.01) && !mains.stands_at(15.0, 1.0 / 60.0, 0.01));
        assert!(!Mains { nominal_hz: 0.0 }.stands_at(50.0, 1e-3, 0.1));
    }
}
