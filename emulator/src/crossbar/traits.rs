//! Parameters of single cells, for tests of what a metrology finds; never visible to firmware.

use alloc::vec::Vec;

use super::Crossbar;

/// What a cell's noise and drift really are.
#[derive(Clone, Debug, PartialEq)]
pub struct CellTraits {
    /// Square root of f·S_G/G² at the present conductance; `None` without 1/f noise.
    pub flicker_level: Option<f64>,
    /// Its traps.
    pub traps: Vec<TrapTraits>,
    /// ν since the last pulse; `None` for devices that don't drift or haven't been written.
    pub drift_exponent: Option<f64>,
    /// d(ln G)/dT at the present conductance (1/K); `None` for devices without one.
    pub temperature_per_k: Option<f64>,
}

/// What a trap really is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TrapTraits {
    /// Relative loss of conductance while filled.
    pub amplitude: f64,
    /// Mean times in the empty state (upper conductance) and in the filled one (s).
    pub dwell_s: [f64; 2],
}

impl Crossbar {
    /// Of one cell; nothing outside the array.
    pub fn traits(&self, row: usize, column: usize) -> Option<CellTraits> {
        let cell = row * self.columns + column;
        let device = self.devices.get(cell).filter(|_| column < self.columns)?;
        let maximum_s = self.profile.conductance.maximum_s;
        let level = self.profile.flicker.map(|flicker| flicker.level(self.conductance[cell], maximum_s));
        Some(CellTraits {
            flicker_level: level,
            traps: self.fluctuations.as_ref().map(|all| all.traps(cell)).unwrap_or_default(),
            drift_exponent: device.drift_exponent(&self.profile),
            temperature_per_k: device.temperature_per_k(&self.profile),
        })
    }
}
