//! Electroforming, cell by cell: pulses through the row's 10 kΩ, higher and then wider, until a cell conducts. A job like
//! write-verify, so that it is armed, limited, counted and followed in the same way.

use super::{
    Books, Instrument, InstrumentError, PastJob, ProgramOrder, Programmed, Progress, ReadSettings, Target,
};
use ndarray::Array2;
use ohmrig_emulator::profile::Profile;
use ohmrig_protocol::message::{Algorithm, Forming, Limits, Outcome, Region, Scheme, Staircase};
use ohmrig_protocol::units::{Seconds, Volts};

/// When a cell counts as formed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Stop {
    /// From this conductance on, S.
    Absolute(f64),
    /// From this multiple of what it conducted before.
    Relative(f64),
}

/// Which cells to form, and how.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FormOrder {
    /// Which.
    pub region: Region,
    /// Amplitudes at each width, V, positive.
    pub volts: Staircase,
    /// First width, and the widest, s; ten times as wide after each staircase.
    pub widths: (f64, f64),
    /// Between a pulse and the read after it, s.
    pub gap: f64,
    /// When to stop.
    pub stop: Stop,
    /// Most pulses for one cell.
    pub max_pulses: u16,
    /// What unselected lines do.
    pub scheme: Scheme,
    /// Voltage of the reads, V.
    pub read_volts: f64,
    /// The largest conductance that a formed cell is expected to have, S.
    pub largest: f64,
}

/// Amplitude of a gentle step, V.
const STEP: f64 = 0.1;

impl FormOrder {
    /// For a profile's devices, if they need forming at all: from three quarters of the mean forming voltage as far as the
    /// limits go, for what neighbours that are formed already draw drops at the row's resistor and has to be made up for.
    /// Other cells see a third.
    #[must_use]
    pub fn for_profile(profile: &Profile, region: Region, limits: &Limits) -> Option<Self> {
        let forming = profile.device.forming?;
        let range = &profile.device.conductance;
        // As commanded + 20 mV + 0.5 %, and two thirds of that on others at worst: the bounds the device will apply.
        let commanded = |limit: f32| (f64::from(limit) - 0.02) / 1.005 - 1e-3;
        let most = commanded(limits.cell.0).min(1.5 * commanded(limits.half_select.0));
        Some(Self {
            region,
            volts: Staircase {
                start: Volts((0.75 * forming.voltage_v) as f32),
                step: Volts(STEP as f32),
                stop: Volts(most as f32),
            },
            widths: (forming.reference_width_s, 100.0 * forming.reference_width_s),
            gap: 1e-3,
            stop: Stop::Absolute((forming.pristine_s * range.minimum_s).sqrt()),
            max_pulses: 200,
            scheme: Scheme::Third,
            read_volts: 0.2,
            largest: range.maximum_s * (1.0 + 4.0 * range.bound_spread),
        })
    }
}

/// What forming did, (rows, columns) each.
#[derive(Clone, Debug, PartialEq)]
pub struct Formed {
    /// Before, S.
    pub before: Array2<f64>,
    /// Conductance from which on a cell counted as formed, S.
    pub threshold: Array2<f64>,
    /// Pulses, conductances afterwards, and why each cell was left; `Inside` is formed.
    pub cells: Programmed,
}

impl Formed {
    /// Cells that conduct.
    #[must_use]
    pub fn formed(&self) -> usize {
        self.cells.outcome.iter().filter(|&&outcome| outcome == Outcome::Inside).count()
    }
}

/// Conversions at each polarity of the read before forming.
const SURVEY_CONVERSIONS: u16 = 16;

impl Instrument {
    /// Forms a region. `past`, `books` and `progress` as in [`program`](Self::program).
    ///
    /// # Errors
    /// [`InstrumentError`].
    pub fn form(
        &mut self,
        order: &FormOrder,
        past: &[PastJob],
        books: &mut dyn Books,
        progress: impl FnMut(Progress),
    ) -> Result<Formed, InstrumentError> {
        self.check_region(order.region)?;
        let settings = ReadSettings { volts: order.read_volts, range: None, conversions: SURVEY_CONVERSIONS };
        let before = self.read_cells(order.region, &settings)?.conductance;
        let threshold = match order.stop {
            Stop::Absolute(siemens) => Array2::from_elem(before.dim(), siemens),
            // What reads as nothing or less is as little as the read can tell.
            Stop::Relative(factor) => before.mapv(|g| factor * g.max(order.largest * 1e-5)),
        };
        let lowest = threshold.iter().copied().fold(f64::INFINITY, f64::min);
        if !(lowest.is_finite() && lowest > 0.0) {
            return Err(InstrumentError::Argument(format!(
                "a cell is to count as formed from {lowest} S on; it must be more than 0"
            )));
        }
        let program = ProgramOrder {
            origin: (order.region.row, order.region.column),
            targets: threshold.clone(),
            target: Target::Device,
            row_ohms: 0.0,
            work: None,
            window: 0.1 * lowest,
            guard: 0.0,
            algorithm: Algorithm::Form(Forming {
                volts: order.volts,
                widest: Seconds(order.widths.1 as f32),
                gap: Seconds(order.gap as f32),
            }),
            width: order.widths.0,
            scheme: order.scheme,
            read_volts: order.read_volts,
            range: Some(self.range_for(1.5 * order.largest * order.read_volts)?),
            conversions: (8, 64),
            confirm: 16,
            max_pulses: order.max_pulses,
            max_reversals: 0,
            passes: 1,
            wait: 0.0,
        };
        let cells = self.program(&program, past, books, progress)?;
        Ok(Formed { before, threshold, cells })
    }
}
