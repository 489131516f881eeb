//! A link that misbehaves on purpose: any transport, with seeded faults at a rate per kind in both directions, so that
//! anyone can see what they do to a command (`--inject`).

mod faulty;
mod lane;

pub use faulty::Faulty;
pub(crate) use lane::Lane;

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};

/// What can happen to a frame on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The frame is lost.
    Drop,
    /// A run of 1 to 8 of its bytes is lost, perhaps its delimiter too.
    Gap,
    /// 1 to 3 of its bits are flipped, perhaps the delimiter's.
    Corrupt,
    /// It ends early, delimiter included, so that it runs into the next one.
    Truncate,
    /// It arrives twice.
    Duplicate,
    /// It is held back until 1 to 4 later frames have passed.
    Reorder,
    /// The receiver doesn't read for 20 to 300 ms.
    Stall,
    /// It arrives in one piece with the next one.
    Merge,
    /// It arrives in 2 to 6 pieces.
    Split,
    /// The device is power-cycled, before it has read the frame or after it has dealt with it; what it said is lost.
    Reset,
}

impl Fault {
    /// Every kind, in the order in which they are drawn.
    pub const ALL: [Self; 10] = [
        Self::Drop,
        Self::Gap,
        Self::Corrupt,
        Self::Truncate,
        Self::Duplicate,
        Self::Reorder,
        Self::Stall,
        Self::Merge,
        Self::Split,
        Self::Reset,
    ];

    /// Its key in `--inject` and in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Drop => "drop",
            Self::Gap => "gap",
            Self::Corrupt => "corrupt",
            Self::Truncate => "truncate",
            Self::Duplicate => "duplicate",
            Self::Reorder => "reorder",
            Self::Stall => "stall",
            Self::Merge => "merge",
            Self::Split => "split",
            Self::Reset => "reset",
        }
    }
}

/// `--inject`: the share of frames each fault happens to, in each direction, drawn for each kind by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Inject {
    rates: [f64; Fault::ALL.len()],
    /// Draws the faults.
    pub seed: u64,
}

impl Inject {
    /// The rate of a kind, 0 to 1.
    #[must_use]
    pub fn rate(&self, fault: Fault) -> f64 {
        self.rates[fault as usize]
    }
}

impl FromStr for Inject {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let keys = Fault::ALL.map(Fault::name).join(", ");
        let mut inject = Self::default();
        let mut seen = Vec::new();
        for part in text.split(',') {
            let Some((key, value)) = part.split_once('=') else {
                return Err(format!("`{part}` is not KEY=VALUE; keys are {keys} (each 0 to 1) and seed"));
            };
            if seen.contains(&key) {
                return Err(format!("{key} is given twice, the second time as {value}; once is allowed"));
            }
            seen.push(key);
            if key == "seed" {
                inject.seed = value
                    .parse()
                    .map_err(|_| format!("seed={value}: a seed is a whole number from 0 to {}", u64::MAX))?;
                continue;
            }
            let Some(fault) = Fault::ALL.into_iter().find(|fault| fault.name() == key) else {
                return Err(format!("{key}={value}: there is no fault `{key}`; keys are {keys} and seed"));
            };
            let rate = value.parse().ok().filter(|rate| (0.0..=1.0).contains(rate));
            inject.rates[fault as usize] =
                rate.ok_or_else(|| format!("{key}={value}: a rate is a number from 0 to 1"))?;
        }
        Ok(inject)
    }
}

impl fmt::Display for Inject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for fault in Fault::ALL {
            if self.rate(fault) > 0.0 {
                write!(f, "{}={},", fault.name(), self.rate(fault))?;
            }
        }
        write!(f, "seed={}", self.seed)
    }
}

/// What was injected so far, both directions together.
#[derive(Debug, Default)]
pub struct Tally {
    frames: AtomicU64,
    faults: [AtomicU64; Fault::ALL.len()],
}

impl Tally {
    /// Frames that came by.
    #[must_use]
    pub fn frames(&self) -> u64 {
        self.frames.load(Ordering::Relaxed)
    }

    /// Faults of a kind.
    #[must_use]
    pub fn count(&self, fault: Fault) -> u64 {
        self.faults[fault as usize].load(Ordering::Relaxed)
    }

    fn note_frame(&self) {
        self.frames.fetch_add(1, Ordering::Relaxed);
    }

    fn note(&self, fault: Fault) {
        self.faults[fault as usize].fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_specification_is_a_list_of_rates_and_a_seed() {
        let inject: Inject = "drop=0.05,corrupt=0.02,seed=7".parse().unwrap();
        assert_eq!((inject.rate(Fault::Drop), inject.rate(Fault::Corrupt), inject.seed), (0.05, 0.02, 7));
        assert_eq!(inject.rate(Fault::Stall), 0.0);
        assert_eq!(inject.to_string(), "drop=0.05,corrupt=0.02,seed=7");
        assert_eq!(inject.to_string().parse(), Ok(inject));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_value_and_what_is_allowed() {
        for (text, words) in [
            ("drop=1.5", ["drop", "1.5", "0 to 1"]),
            ("drop=-0.1", ["drop", "-0.1", "0 to 1"]),
            ("stall=NaN", ["stall", "NaN", "0 to 1"]),
            ("stall=inf", ["stall", "inf", "0 to 1"]),
            ("reorder=x", ["reorder", "x", "0 to 1"]),
            ("loss=0.1", ["loss", "0.1", "truncate"]),
            ("seed=-1", ["seed", "-1", "0 to 18446744073709551615"]),
            ("drop=0.1,drop=0.2", ["drop", "0.2", "once"]),
            ("", ["``", "KEY=VALUE", "seed"]),
        ] {
            let error = text.parse::<Inject>().unwrap_err();
            for word in words {
                assert!(error.contains(word), "{text}: {error}");
            }
        }
    }
}
