//! The figures that programming is held to, and how they are measured: whole arrays of uniform random targets, programmed
//! through the instrument, judged by reads that decided nothing and by ground truth.
//!
//! A cell is *inside* when the read that the device makes of it after its last pulse, within 10 ms and with conversions of
//! its own, is within the window; the verify read that stopped the cell isn't used. Ground truth can't take that
//! place: it is known when a job has ended, seconds after most cells' last pulse, and relaxation doesn't wait. It is used
//! for what it can tell: which cells are defective, and how far the array as it stands is from what was read.

use crate::Scratch;
use ndarray::Array2;
use ohmrig::bench::{Emulation, profile};
use ohmrig::client::Client;
use ohmrig::device::EmulatedDevice;
use ohmrig::instrument::{Instrument, Loading, NoBooks, ProgramOrder, ROW_OHMS, ReadSettings, Target};
use ohmrig::recipe::Recipe;
use ohmrig::transport::InProcess;
use ohmrig_emulator::profile::Profile;
use ohmrig_emulator::truth::Truth;
use ohmrig_protocol::message::Outcome;

/// One array to be programmed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mark {
    /// Built-in profile.
    pub profile: &'static str,
    /// Rows and columns.
    pub side: u16,
    /// Half width of the window, percent of the range of targets.
    pub window_percent: f64,
}

/// What came of one or several arrays.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tally {
    /// Cells.
    pub cells: usize,
    /// Inside by the read that decided nothing.
    pub inside: usize,
    /// Not brought into the window, and said so.
    pub excluded: usize,
    /// Stuck, open or worn by ground truth.
    pub defective: usize,
    /// Σ pulses and Σ pulses² over cells.
    pub pulses: (f64, f64),
    /// Σ error² of that read over cells that aren't excluded, S².
    pub error: f64,
    /// Σ error² of a read 1 s after the last cell over cells that aren't excluded, S².
    pub error_later: f64,
    /// What relaxation alone would make of that, S².
    pub relaxation: f64,
    /// Σ (read − truth)² at that time over sound cells, S².
    pub read_error: f64,
    /// Frames the device received for the job.
    pub frames: u32,
    /// Time programming took by the instrument's clock, s.
    pub seconds: f64,
}

/// A uniform number below 1 for cell `n` of an array of `seed` (SplitMix64, Steele et al., OOPSLA 2014).
pub(crate) fn uniform(seed: u64, n: u64) -> f64 {
    let mut z = (seed << 32 ^ n).wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((z ^ z >> 31) >> 11) as f64 / (1u64 << 53) as f64
}

impl Mark {
    /// Programs one array. `adjust` may change the order before it is carried out.
    ///
    /// # Panics
    /// If anything on the way fails.
    pub fn evaluate(&self, seed: u64, adjust: impl FnOnce(&mut ProgramOrder)) -> Tally {
        let scratch = Scratch::new("marks");
        let profile = profile(Some(self.profile)).unwrap();
        let recipe = Recipe::for_profile(&profile).unwrap();
        let mut emulation = Emulation::new(profile.clone(), seed);
        (emulation.rows, emulation.columns) = (self.side, self.side);
        emulation.truth = Some(scratch.path("truth.json"));
        let device = EmulatedDevice::power_up(&emulation).unwrap();
        let mut instrument =
            Instrument::new(Client::connect(Box::new(InProcess::new(device)), "emulated").unwrap());
        let side = usize::from(self.side);
        let span = recipe.g_max - recipe.g_min;
        let targets = Array2::from_shape_fn((side, side), |(row, column)| {
            recipe.g_min + span * uniform(seed, (row * side + column) as u64)
        });
        let mut order = ProgramOrder::new(&recipe, (0, 0), targets.clone());
        order.target = Target::Device;
        order.window = self.window_percent / 100.0 * span;
        order.guard *= order.window / recipe.window;
        adjust(&mut order);
        let before = instrument.status().unwrap();
        let done = instrument.program(&order, &[], &mut NoBooks, |_| {}).unwrap();
        let after = instrument.status().unwrap();
        instrument.wait(1.0, |_| {}).unwrap();
        let settings = ReadSettings { volts: order.read_volts, range: None, conversions: 64 };
        let read = instrument.read_cells(instrument.whole(), &settings).unwrap().conductance;
        let later = Loading { ohms: ROW_OHMS }.devices(read.view());
        drop(instrument);
        let truth: Truth =
            serde_json::from_str(&std::fs::read_to_string(scratch.path("truth.json")).unwrap()).unwrap();
        let mut tally = Tally {
            cells: targets.len(),
            frames: after.counters.frames - before.counters.frames,
            seconds: (after.at_ns - before.at_ns) as f64 * 1e-9,
            ..Tally::default()
        };
        for (index, &target) in targets.indexed_iter() {
            let cell = &truth.cells[index.0 * side + index.1];
            let defective = format!("{:?}", cell.condition) != "Sound";
            let pulses = f64::from(done.pulses[index]);
            let excluded = done.outcome[index] != Outcome::Inside;
            let error = done.conductance[index] - target;
            tally.defective += usize::from(defective);
            tally.excluded += usize::from(excluded);
            tally.inside += usize::from(error.abs() <= order.window);
            tally.pulses.0 += pulses;
            tally.pulses.1 += pulses * pulses;
            if !defective {
                tally.read_error += (later[index] - cell.conductance_s).powi(2);
            }
            if !excluded {
                tally.error += error * error;
                tally.error_later += (later[index] - target).powi(2);
                // Columns one after another, as the job goes.
                let age = 1.0 + tally.seconds * (1.0 - (index.1 as f64 + 0.5) / side as f64);
                tally.relaxation += relaxation(&profile, target, age);
            }
        }
        tally
    }
}

/// Mean square distance from the programmed value that a profile's relaxation alone makes after `age` s, S².
fn relaxation(profile: &Profile, conductance: f64, age: f64) -> f64 {
    profile.device.relaxation.map_or(0.0, |law| {
        let spread = law.spread(conductance / profile.device.conductance.maximum_s, age);
        let mean = law.mean_per_e_fold_s * age.ln().max(0.0);
        spread * spread + mean * mean
    })
}

impl Tally {
    /// Adds another array's.
    pub fn add(&mut self, other: &Self) {
        self.cells += other.cells;
        self.inside += other.inside;
        self.excluded += other.excluded;
        self.defective += other.defective;
        self.pulses.0 += other.pulses.0;
        self.pulses.1 += other.pulses.1;
        self.error += other.error;
        self.error_later += other.error_later;
        self.relaxation += other.relaxation;
        self.read_error += other.read_error;
        self.frames = self.frames.max(other.frames);
        self.seconds += other.seconds;
    }

    /// Mean pulses per cell and the standard error of that mean.
    #[must_use]
    pub fn pulses_mean(&self) -> (f64, f64) {
        let n = self.cells as f64;
        let mean = self.pulses.0 / n;
        (mean, ((self.pulses.1 / n - mean * mean).max(0.0) / n).sqrt())
    }

    /// Fraction inside of the cells that aren't excluded, with its 95 % interval (Wilson, JASA 22, 209, 1927).
    #[must_use]
    pub fn inside_fraction(&self) -> (f64, f64, f64) {
        let n = (self.cells - self.excluded) as f64;
        let p = self.inside as f64 / n;
        let z2 = 1.96_f64 * 1.96;
        let middle = (p + z2 / (2.0 * n)) / (1.0 + z2 / n);
        let half = 1.96 / (1.0 + z2 / n) * (p * (1.0 - p) / n + z2 / (4.0 * n * n)).max(0.0).sqrt();
        (p, middle - half, middle + half)
    }

    /// Root mean square error right after the last pulse and one second after the last cell's, and of relaxation alone, S.
    #[must_use]
    pub fn errors(&self) -> (f64, f64, f64) {
        let n = (self.cells - self.excluded) as f64;
        ((self.error / n).sqrt(), (self.error_later / n).sqrt(), (self.relaxation / n).sqrt())
    }
}
