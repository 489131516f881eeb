//! What a profile may say: every value is checked, and refused with its key, itself and what is allowed.

use super::{
    ConductanceRange, CurrentLaw, DeviceProfile, Drift, Flicker, Imperfections, Profile, ProfileError,
    PulseResponse, Relaxation, SPREAD_CUT, Switching, Telegraph,
};
use crate::aging::LogLine;
use alloc::borrow::Cow;

fn require(
    key: &'static str,
    value: f64,
    holds: bool,
    allowed: impl Into<Cow<'static, str>>,
) -> Result<(), ProfileError> {
    // NaN fails every comparison that `holds` is made of.
    if holds { Ok(()) } else { Err(ProfileError::OutOfRange { key, value, allowed: allowed.into() }) }
}

impl Profile {
    /// Checks every value.
    ///
    /// # Errors
    /// The first value that no array could have.
    pub fn validate(&self) -> Result<(), ProfileError> {
        let lines = |key, value| require(key, f64::from(value), (1..=256).contains(&value), "1 to 256");
        lines("rows", self.rows)?;
        lines("columns", self.columns)?;
        if let Some(defects) = &self.device.lines {
            defects.validate(self.rows.into(), self.columns.into())?;
        }
        self.validate_board()?;
        self.device.validate()
    }

    fn validate_board(&self) -> Result<(), ProfileError> {
        let is_shield = self.board.imperfections == Imperfections::OpenMena;
        let sections = f64::from(u8::from(self.board.openmena.is_some()));
        require(
            "board.openmena",
            sections,
            self.board.openmena.is_some() == is_shield,
            "one such section with imperfections = \"openmena\", and none without",
        )?;
        let Some(shield) = &self.board.openmena else { return Ok(()) };
        let eight = "8: the shield has lines for 8 × 8";
        require("rows", self.rows.into(), self.rows == 8, eight)?;
        require("columns", self.columns.into(), self.columns == 8, eight)?;
        let allowed = "0.1 to 5 V";
        for (key, value) in [
            ("board.openmena.reference_v", shield.reference_v),
            ("board.openmena.virtual_ground_v", shield.virtual_ground_v),
            ("board.openmena.output_reference_v", shield.output_reference_v),
            ("board.openmena.supply_v", shield.supply_v),
            ("board.openmena.bias_lowest_v", shield.bias_lowest_v),
            ("board.openmena.bias_width_v", shield.bias_width_v),
        ] {
            require(key, value, (0.1..=5.0).contains(&value), allowed)?;
        }
        for (key, value) in [
            ("board.openmena.row_ohm", shield.row_ohm),
            ("board.openmena.shunt_ohm", shield.shunt_ohm),
            ("board.openmena.switch_ohm", shield.switch_ohm),
            ("board.openmena.gain_ohm", shield.gain_ohm),
        ] {
            require(key, value, (1.0..=1e6).contains(&value), "1 Ω to 1 MΩ")?;
        }
        let least = shield.switch_ohm * 0.9;
        let error = shield.switch_error_ohm;
        require(
            "board.openmena.switch_error_ohm",
            error,
            (0.0..=least).contains(&error),
            "0 to 0.9 of switch_ohm",
        )?;
        let ohm = shield.bias_ohm;
        require("board.openmena.bias_ohm", ohm, (0.0..=1e4).contains(&ohm), "0 to 10 kΩ")?;
        let hz = shield.gain_bandwidth_hz;
        require("board.openmena.gain_bandwidth_hz", hz, (1e3..=1e9).contains(&hz), "1 kHz to 1 GHz")?;
        let slew = shield.slew_v_per_s;
        require("board.openmena.slew_v_per_s", slew, (1e3..=1e9).contains(&slew), "1 kV/s to 1 GV/s")?;
        for (key, value) in [
            ("board.openmena.resistor_error", shield.resistor_error),
            ("board.openmena.dac_gain_error", shield.dac_gain_error),
            ("board.openmena.adc_gain_error", shield.adc_gain_error),
        ] {
            require(key, value, (0.0..=0.5).contains(&value), "0 to 0.5")?;
        }
        for (key, value) in [
            ("board.openmena.virtual_ground_error_v", shield.virtual_ground_error_v),
            ("board.openmena.amplifier_offset_v", shield.amplifier_offset_v),
            ("board.openmena.amplifier_noise_v_per_root_hz", shield.amplifier_noise_v_per_root_hz),
            ("board.openmena.headroom_v", shield.headroom_v),
            ("board.openmena.output_reference_error_v", shield.output_reference_error_v),
            ("board.openmena.dac_offset_v", shield.dac_offset_v),
            ("board.openmena.adc_offset_v", shield.adc_offset_v),
        ] {
            require(key, value, (0.0..=1.0).contains(&value), "0 to 1 (V, or V/√Hz)")?;
        }
        for (key, value) in [
            ("board.openmena.dac_inl_lsb", shield.dac_inl_lsb),
            ("board.openmena.adc_inl_lsb", shield.adc_inl_lsb),
            ("board.openmena.adc_noise_lsb", shield.adc_noise_lsb),
            ("board.openmena.temperature_k", shield.temperature_k),
        ] {
            require(key, value, (0.0..=100.0).contains(&value), "0 to 100")?;
        }
        Ok(())
    }
}

impl DeviceProfile {
    /// Checks every value.
    ///
    /// # Errors
    /// The first value that no device could have.
    pub fn validate(&self) -> Result<(), ProfileError> {
        let range = &self.conductance;
        require(
            "device.conductance.minimum_s",
            range.minimum_s,
            range.minimum_s > 0.0 && range.minimum_s <= 1.0,
            "above 0 and at most 1 S",
        )?;
        require(
            "device.conductance.maximum_s",
            range.maximum_s,
            range.maximum_s > range.minimum_s && range.maximum_s <= 1.0,
            alloc::format!("above minimum_s, which is {}, and at most 1 S", range.minimum_s),
        )?;
        let spread = range.bound_spread;
        require(
            "device.conductance.bound_spread",
            spread,
            (0.0..1.0 / SPREAD_CUT).contains(&spread)
                && range.minimum_s * (1.0 + SPREAD_CUT * spread)
                    < range.maximum_s * (1.0 - SPREAD_CUT * spread),
            "0 to below 0.25 (four standard deviations must not reach 0), with the bounds of every device apart",
        )?;
        let initial = &self.initial;
        require(
            "device.initial.position",
            initial.position,
            (0.0..=1.0).contains(&initial.position),
            "0 to 1",
        )?;
        require(
            "device.initial.spread",
            initial.spread,
            initial.spread >= 0.0
                && initial.position - SPREAD_CUT * initial.spread >= 0.0
                && initial.position + SPREAD_CUT * initial.spread <= 1.0,
            "0 or more, with position ± 4 spreads inside 0 to 1",
        )?;
        match self.current {
            CurrentLaw::Linear => {}
            CurrentLaw::Sinh { v0_v } => {
                require("device.current.v0_v", v0_v, (0.02..=100.0).contains(&v0_v), "0.02 to 100 V")?;
            }
            CurrentLaw::Cubic { coefficient_per_v2: c } => {
                require("device.current.coefficient_per_v2", c, (0.0..=1e3).contains(&c), "0 to 1000 1/V²")?;
            }
            CurrentLaw::Milo => {
                // The fit of Milo et al. holds from 50 to 225 µS.
                let (low, high) = (range.minimum_s, range.maximum_s);
                let (least, most) = (low * (1.0 - SPREAD_CUT * spread), high * (1.0 + SPREAD_CUT * spread));
                let allowed = "50e-6 or more for every device with current = \"milo\"";
                require("device.conductance.minimum_s", low, least >= 50e-6, allowed)?;
                let allowed = "225e-6 or less for every device with current = \"milo\"";
                require("device.conductance.maximum_s", high, most <= 225e-6, allowed)?;
            }
        }
        let noise = &self.read_noise;
        require(
            "device.read_noise.relative",
            noise.relative,
            (0.0..=0.2).contains(&noise.relative),
            "0 to 0.2",
        )?;
        require(
            "device.read_noise.exponent",
            noise.exponent,
            (0.0..=2.0).contains(&noise.exponent),
            "0 to 2",
        )?;
        require(
            "device.read_noise.ceiling",
            noise.ceiling,
            noise.ceiling >= noise.relative && noise.ceiling <= 0.2,
            "`relative` to 0.2 (five standard deviations must not make a conductance negative)",
        )?;
        if let Some(pulse) = &self.pulse {
            pulse.validate()?;
        }
        if let Some(flicker) = &self.flicker {
            validate_flicker(flicker)?;
        }
        if let Some(telegraph) = &self.telegraph {
            validate_telegraph(telegraph)?;
        }
        if let Some(relaxation) = &self.relaxation {
            validate_relaxation(relaxation, range)?;
        }
        if let Some(drift) = &self.drift {
            validate_drift(drift)?;
        }
        self.validate_writing()?;
        self.validate_wear_and_tear()?;
        let segment = |key, ohm: f64| {
            require(key, ohm, ohm == 0.0 || (1e-3..=1e6).contains(&ohm), "0, or 0.001 to 1000000 Ω")
        };
        let wires = &self.wires;
        segment("device.wires.row_segment_ohm", wires.row_segment_ohm)?;
        segment("device.wires.column_segment_ohm", wires.column_segment_ohm)?;
        require(
            "device.wires.column_segment_ohm",
            wires.column_segment_ohm,
            (wires.row_segment_ohm == 0.0) == (wires.column_segment_ohm == 0.0),
            "0 exactly when row_segment_ohm is 0",
        )
    }
}

impl DeviceProfile {
    /// What only some devices do when written.
    fn validate_writing(&self) -> Result<(), ProfileError> {
        let range = &self.conductance;
        let fraction = |key, value: f64| require(key, value, (0.0..=1.0).contains(&value), "0 to 1");
        if let Some(law) = &self.phase_change {
            let most = "0 to 1000";
            require("device.phase_change.gain", law.gain, (0.0..=1e3).contains(&law.gain), most)?;
            require("device.phase_change.rate", law.rate, (0.0..=50.0).contains(&law.rate), "0 to 50")?;
            fraction("device.phase_change.cycle_floor", law.cycle_floor)?;
            fraction("device.phase_change.cycle_slope", law.cycle_slope)?;
            fraction("device.phase_change.residue", law.residue)?;
            fraction("device.phase_change.residue_spread", law.residue_spread)?;
        }
        if let Some(law) = &self.disturb {
            fraction("device.disturb.at_threshold", law.at_threshold)?;
            let per_decade = law.volts_per_decade;
            let key = "device.disturb.volts_per_decade";
            require(key, per_decade, (1e-3..=10.0).contains(&per_decade), "0.001 to 10 V")?;
            require("device.disturb.from_v", law.from_v, (0.0..=10.0).contains(&law.from_v), "0 to 10 V")?;
        }
        if let Some(law) = &self.forming {
            let pristine = law.pristine_s;
            let allowed = "above 0 S and at most maximum_s";
            require(
                "device.forming.pristine_s",
                pristine,
                pristine > 0.0 && pristine <= range.maximum_s,
                allowed,
            )?;
            let fits = law.formed || (self.current != CurrentLaw::Milo && self.phase_change.is_none());
            let allowed = "true with current = \"milo\" or phase_change";
            require("device.forming.formed", f64::from(u8::from(law.formed)), fits, allowed)?;
            let lowest = self.pulse.map_or(0.0, |pulse| pulse.set.threshold_v);
            let allowed = "the SET threshold to 20 V, in a profile with device.pulse";
            let possible = self.pulse.is_some() && (lowest..=20.0).contains(&law.voltage_v);
            require("device.forming.voltage_v", law.voltage_v, possible, allowed)?;
            let spread = law.voltage_spread;
            let allowed = "0 to below 0.25 (four standard deviations must not reach 0)";
            let possible = (0.0..1.0 / SPREAD_CUT).contains(&spread);
            require("device.forming.voltage_spread", spread, possible, allowed)?;
            let width = law.reference_width_s;
            require(
                "device.forming.reference_width_s",
                width,
                (1e-9..=10.0).contains(&width),
                "1e-9 to 10 s",
            )?;
            let slope = law.volts_per_decade;
            require("device.forming.volts_per_decade", slope, (0.0..=5.0).contains(&slope), "0 to 5 V")?;
            fraction("device.forming.position", law.position)?;
            fraction("device.forming.position_spread", law.position_spread)?;
        }
        Ok(())
    }

    /// What goes wrong, from the fab to old age.
    fn validate_wear_and_tear(&self) -> Result<(), ProfileError> {
        let fraction = |key, value: f64| require(key, value, (0.0..=1.0).contains(&value), "0 to 1");
        if let Some(defects) = &self.defects {
            fraction("device.defects.open_fraction", defects.open_fraction)?;
            let stuck = defects.stuck_fraction;
            let allowed = "0 to 1 - open_fraction";
            let possible = (0.0..=1.0 - defects.open_fraction).contains(&stuck);
            require("device.defects.stuck_fraction", stuck, possible, allowed)?;
            fraction("device.defects.stuck_lowest", defects.stuck_lowest)?;
            let highest = defects.stuck_highest;
            let possible = (defects.stuck_lowest..=1.0).contains(&highest);
            require("device.defects.stuck_highest", highest, possible, "stuck_lowest to 1")?;
        }
        if let Some(law) = &self.endurance {
            let pulses = law.pulses;
            require("device.endurance.pulses", pulses, (1.0..=1e18).contains(&pulses), "1 to 1e18")?;
            require("device.endurance.spread", law.spread, (0.0..=5.0).contains(&law.spread), "0 to 5")?;
            let exponent = law.exponent;
            require("device.endurance.exponent", exponent, (0.05..=20.0).contains(&exponent), "0.05 to 20")?;
            fraction("device.endurance.failure_position", law.failure_position)?;
        }
        if let Some(law) = &self.retention {
            let time = law.time_s;
            require("device.retention.time_s", time, (1e-6..=1e20).contains(&time), "1e-6 to 1e20 s")?;
            require("device.retention.spread", law.spread, (0.0..=5.0).contains(&law.spread), "0 to 5")?;
            let energy = law.activation_ev;
            require("device.retention.activation_ev", energy, (0.0..=5.0).contains(&energy), "0 to 5 eV")?;
            fraction("device.retention.rest_position", law.rest_position)?;
        }
        if let Some(law) = &self.temperature {
            let coefficient = |key, value: f64| {
                let allowed = "-0.05 to 0.05 1/K";
                require(key, value, (-0.05..=0.05).contains(&value), allowed)
            };
            coefficient("device.temperature.lowest_per_k", law.lowest_per_k)?;
            coefficient("device.temperature.highest_per_k", law.highest_per_k)?;
            let spread = law.spread_per_k;
            let allowed = "0 to 0.01 1/K";
            require("device.temperature.spread_per_k", spread, (0.0..=0.01).contains(&spread), allowed)?;
            // The law of Milo et al. is a fit between two conductances.
            let fits = self.current != CurrentLaw::Milo;
            let allowed = "absent with current = \"milo\"";
            require("device.temperature.lowest_per_k", law.lowest_per_k, fits, allowed)?;
        }
        Ok(())
    }
}

fn validate_times(keys: [&'static str; 2], fastest_s: f64, slowest_s: f64) -> Result<(), ProfileError> {
    require(keys[0], fastest_s, (1e-9..=1e9).contains(&fastest_s), "1e-9 to 1e9 s")?;
    require(keys[1], slowest_s, (fastest_s..=1e9).contains(&slowest_s), "fastest_s to 1e9 s")
}

fn validate_flicker(flicker: &Flicker) -> Result<(), ProfileError> {
    let level = flicker.level;
    require("device.flicker.level", level, (0.0..=0.02).contains(&level), "0 to 0.02")?;
    let exponent = flicker.exponent;
    require("device.flicker.exponent", exponent, (0.0..=2.0).contains(&exponent), "0 to 2")?;
    // √(ln 10¹⁸) = 6.4 times the level is the whole noise of the widest band: five standard deviations stay below 1.
    let allowed = "`level` to 0.03 (noise must not make a conductance negative)";
    require("device.flicker.ceiling", flicker.ceiling, (level..=0.03).contains(&flicker.ceiling), allowed)?;
    let keys = ["device.flicker.fastest_s", "device.flicker.slowest_s"];
    validate_times(keys, flicker.fastest_s, flicker.slowest_s)
}

fn validate_telegraph(telegraph: &Telegraph) -> Result<(), ProfileError> {
    let traps = telegraph.traps_per_device;
    require("device.telegraph.traps_per_device", traps, (0.0..=5.0).contains(&traps), "0 to 5")?;
    let amplitude = telegraph.amplitude;
    let allowed = "above 0 and at most 0.1";
    require("device.telegraph.amplitude", amplitude, amplitude > 0.0 && amplitude <= 0.1, allowed)?;
    let keys = ["device.telegraph.fastest_s", "device.telegraph.slowest_s"];
    validate_times(keys, telegraph.fastest_s, telegraph.slowest_s)
}

fn validate_relaxation(relaxation: &Relaxation, range: &ConductanceRange) -> Result<(), ProfileError> {
    let span = range.maximum_s - range.minimum_s;
    for (key, t_s) in
        [("device.relaxation.spread_1_second_s", 1.0), ("device.relaxation.spread_1_day_s", 86_400.0)]
    {
        for tenth in 0..=10 {
            let r = (range.minimum_s + span * f64::from(tenth) / 10.0) / range.maximum_s;
            let coefficients =
                if t_s == 1.0 { relaxation.spread_1_second_s } else { relaxation.spread_1_day_s };
            let value = coefficients.iter().rev().fold(0.0, |sum, c| sum * r + c);
            let allowed = "a polynomial between 0 and half the conductance range wherever devices are";
            require(key, value, (0.0..=0.5 * span).contains(&value), allowed)?;
        }
    }
    let mean = relaxation.mean_per_e_fold_s;
    let allowed = "at most a hundredth of the conductance range either way";
    require("device.relaxation.mean_per_e_fold_s", mean, libm::fabs(mean) <= 0.01 * span, allowed)
}

fn validate_drift(drift: &Drift) -> Result<(), ProfileError> {
    require("device.drift.t0_s", drift.t0_s, (1e-9..=1e9).contains(&drift.t0_s), "1e-9 to 1e9 s")?;
    let line = |keys: [&'static str; 4], line: &LogLine| {
        require(keys[0], line.slope, (-1.0..=1.0).contains(&line.slope), "-1 to 1")?;
        require(keys[1], line.offset, (-1.0..=1.0).contains(&line.offset), "-1 to 1")?;
        require(keys[2], line.lowest, (0.0..=1.0).contains(&line.lowest), "0 to 1")?;
        require(keys[3], line.highest, (line.lowest..=1.0).contains(&line.highest), "`lowest` to 1")
    };
    line(
        [
            "device.drift.mean.slope",
            "device.drift.mean.offset",
            "device.drift.mean.lowest",
            "device.drift.mean.highest",
        ],
        &drift.mean,
    )?;
    line(
        [
            "device.drift.spread.slope",
            "device.drift.spread.offset",
            "device.drift.spread.lowest",
            "device.drift.spread.highest",
        ],
        &drift.spread,
    )
}

impl PulseResponse {
    fn validate(&self) -> Result<(), ProfileError> {
        let threshold = |key, v: f64| require(key, v, (0.01..=10.0).contains(&v), "0.01 to 10 V");
        threshold("device.pulse.set.threshold_v", self.set.threshold_v)?;
        threshold("device.pulse.reset.threshold_v", self.reset.threshold_v)?;
        let reference = |key, side: &Switching| {
            require(
                key,
                side.reference_v,
                side.reference_v > side.threshold_v * (1.0 + SPREAD_CUT * self.threshold_spread)
                    && side.reference_v <= 15.0,
                "above the threshold of every device (threshold_v · (1 + 4 threshold_spread)) and at most 15 V",
            )
        };
        require(
            "device.pulse.threshold_spread",
            self.threshold_spread,
            (0.0..1.0 / SPREAD_CUT).contains(&self.threshold_spread),
            "0 to below 0.25 (four standard deviations must not reach 0)",
        )?;
        reference("device.pulse.set.reference_v", &self.set)?;
        reference("device.pulse.reset.reference_v", &self.reset)?;
        let step = |key, v: f64| require(key, v, v > 0.0 && v <= 100.0, "above 0 and at most 100");
        step("device.pulse.set.step", self.set.step)?;
        step("device.pulse.reset.step", self.reset.step)?;
        require(
            "device.pulse.reference_width_s",
            self.reference_width_s,
            (1e-9..=10.0).contains(&self.reference_width_s),
            "1e-9 to 10 s",
        )?;
        let exponent = |key, v: f64| require(key, v, (0.05..=20.0).contains(&v), "0.05 to 20");
        exponent("device.pulse.amplitude_exponent", self.amplitude_exponent)?;
        exponent("device.pulse.width_exponent", self.width_exponent)?;
        let part = |key, v: f64| require(key, v, (0.0..=1.0).contains(&v), "0 to 1");
        part("device.pulse.set.step_at_bound", self.set.step_at_bound)?;
        part("device.pulse.reset.step_at_bound", self.reset.step_at_bound)?;
        let spread = |key, v: f64, highest, allowed| require(key, v, (0.0..=highest).contains(&v), allowed);
        spread("device.pulse.cycle_spread", self.cycle_spread, 10.0, "0 to 10")?;
        spread("device.pulse.step_spread", self.step_spread, 2.0, "0 to 2")
    }
}
