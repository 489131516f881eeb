//! `ohmrig calibrate`: finds out what drivers, amplifiers and devices really do, or whether what was found still holds.

use super::noise::estimate;
use super::open::{Opened, open};
use super::output::si;
use super::{Failure, Global, Output};
use crate::calibration::{Calibration, Plan, calibrate, check, on_board};
use crate::report::utc;
use clap::Args;
use serde_json::json;
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
pub(super) struct CalibrateCommand {
    /// Compare the board with its own calibration, or with this one, instead of making one; exit status 1 if it
    /// doesn't hold any more
    #[arg(long, value_name = "FILE", num_args = 0..=1, conflicts_with_all = ["output", "no_array", "no_store"])]
    check: Option<Option<PathBuf>>,
    /// List the calibrations that the board keeps
    #[arg(long, conflicts_with_all = ["check", "roll_back", "no_array", "no_store"])]
    history: bool,
    /// Put an earlier calibration of the board in force again
    #[arg(long, value_name = "NUMBER", conflicts_with_all = ["check", "output", "no_array", "no_store"])]
    roll_back: Option<u32>,
    /// Don't put the calibration in force on the board
    #[arg(long)]
    no_store: bool,
    /// Write the calibration here (JSON); with --history the one in force
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Leave out what needs cells: settling, the devices' curvature, and series resistance, which takes pulses at the voltage of
    /// reads
    #[arg(long)]
    no_array: bool,
    /// Conversions at each polarity of each reference measurement
    #[arg(long, default_value_t = 64, value_name = "N", value_parser = clap::value_parser!(u16).range(2..=2048))]
    conversions: u16,
}

/// Reads a calibration from a file.
pub(super) fn read(path: &Path) -> Result<Calibration, Failure> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::usage(format!("{}: {error}", path.display())))?;
    serde_json::from_str(&text)
        .map_err(|error| Failure::usage(format!("{} is not a calibration: {error}", path.display())))
}

/// The board's own, if it has one in force.
pub(super) fn own(opened: &mut Opened) -> Result<Option<Calibration>, Failure> {
    let Some(kept) = on_board::in_force(&mut opened.instrument)? else { return Ok(None) };
    kept.read(&mut opened.instrument).map(Some).map_err(Failure::failed)
}

impl CalibrateCommand {
    pub(super) fn run(&self, global: &Global, output: &mut Output) -> Result<(), Failure> {
        let file = self.check.iter().flatten().map(|path| read(path)).next().transpose()?;
        let mut opened = open(global, output)?;
        if self.history {
            return self.history(&mut opened, output);
        }
        if let Some(number) = self.roll_back {
            on_board::roll_back(&mut opened.instrument, number)?;
            output.say(format_args!("calibration {number} is in force again"));
            output.set("number", number);
            return opened.record("calibrate roll back", &json!({"number": number}), &json!({}), &[]);
        }
        if self.check.is_some() {
            let stored = match file {
                Some(stored) => stored,
                None => own(&mut opened)?
                    .ok_or_else(|| Failure::failed("the board has no calibration; run `ohmrig calibrate`"))?,
            };
            return self.check(&stored, &mut opened, output);
        }
        let plan = Plan { conversions: self.conversions, array: !self.no_array };
        let bar = output.bar(1, "calibrating");
        let found = calibrate(&mut opened.instrument, plan, |done, of| {
            bar.set_length(of as u64);
            bar.set_position(done as u64);
        })?;
        bar.finish_and_clear();
        say(output, &found);
        output.set("id", found.id());
        output.set("calibration", &found);
        output.set("row_ohms", found.series.as_ref().map(|series| estimate(&series.row_ohms)));
        output.set("column_ohms", found.series.as_ref().map(|series| estimate(&series.column_ohms)));
        let settings = json!({"conversions": self.conversions, "array": !self.no_array});
        opened.record("calibrate", &settings, &json!({"id": found.id(), "calibration": found}), &[])?;
        self.write(&found)?;
        if !self.no_store {
            let stored = on_board::store(&mut opened.instrument, &found).map_err(Failure::failed)?;
            let dropped =
                stored.dropped.map_or(String::new(), |old| format!("; number {old} had to go for it"));
            output.say(format_args!(
                "kept      on the board as number {}, in force from now on{dropped}",
                stored.number
            ));
            output.set("number", stored.number);
            output.set("dropped", stored.dropped);
        }
        Ok(())
    }

    fn write(&self, calibration: &Calibration) -> Result<(), Failure> {
        let Some(path) = &self.output else { return Ok(()) };
        let text = serde_json::to_string_pretty(calibration).map_err(Failure::failed)?;
        std::fs::write(path, text).map_err(|error| Failure::failed(format!("{}: {error}", path.display())))
    }

    fn history(&self, opened: &mut Opened, output: &mut Output) -> Result<(), Failure> {
        let kept = on_board::history(&mut opened.instrument)?;
        if kept.is_empty() {
            output.say("the board keeps no calibration");
        }
        let mut list = Vec::new();
        for kept in &kept {
            let calibration = kept.read(&mut opened.instrument).map_err(Failure::failed)?;
            let date = utc(kept.unix_s() as f64);
            let warm = calibration.temperature_k.map_or(String::new(), |k| format!(", {:.2} °C", k - 273.15));
            let force = if kept.is_in_force() { "  in force" } else { "" };
            output.say(format_args!("{:>4}  {}  {date}{warm}{force}", kept.number(), kept.id()));
            list.push(json!({
                "number": kept.number(), "id": kept.id(), "unix_s": kept.unix_s(), "in_force": kept.is_in_force(),
                "temperature_k": calibration.temperature_k,
            }));
            if kept.is_in_force() {
                self.write(&calibration)?;
            }
        }
        output.set("calibrations", list);
        Ok(())
    }

    fn check(&self, stored: &Calibration, opened: &mut Opened, output: &mut Output) -> Result<(), Failure> {
        require(stored, &opened.instrument)?;
        let bar = output.bar(1, "checking");
        let found = check(&mut opened.instrument, stored, self.conversions, |done, of| {
            bar.set_length(of as u64);
            bar.set_position(done as u64);
        })?;
        bar.finish_and_clear();
        let id = stored.id();
        output.set("id", &id);
        output.set("check", &found);
        let settings = json!({"check": id, "conversions": self.conversions});
        opened.record("calibrate check", &settings, &json!(found), &[])?;
        let worst =
            format!("{} comparisons, the worst by {:.1} standard uncertainties", found.of, found.worst);
        match found.moved.as_slice() {
            [] => {
                output.say(format_args!("calibration {id} holds: {worst}"));
                Ok(())
            }
            [first, ..] => Err(Failure::failed(format_args!(
                "calibration {id} doesn't hold: {} of {worst}; the first is {}, {:+.4} % ± {:.4} %: run `ohmrig calibrate`",
                found.moved.len(),
                first.line,
                100.0 * first.relative,
                100.0 * first.u
            ))),
        }
    }
}

/// Refuses a calibration of another board.
pub(super) fn require(
    calibration: &Calibration,
    instrument: &crate::instrument::Instrument,
) -> Result<(), Failure> {
    let device = instrument.device();
    let ranges = device.converters.feedback.iter().take_while(|ohms| ohms.0 > 0.0).count();
    calibration
        .require(&device.board, usize::from(device.rows), usize::from(device.columns), ranges)
        .map_err(Failure::usage)
}

/// For people.
fn say(output: &Output, found: &Calibration) {
    let temperature =
        found.temperature_k.map_or(String::new(), |k| format!(", array at {:.2} °C", k - 273.15));
    output.say(format_args!("calibration {}{temperature}; standard uncertainties behind ±", found.id()));
    match found.hum.mains_hz {
        Some(hz) => output.say(format_args!(
            "hum       {hz} Hz, {} at an amplifier's output: conversions are spread over its period",
            si(found.hum.amplitude_v, "V")
        )),
        None => output.say(format_args!(
            "hum       none above {} at an amplifier's output",
            si(found.hum.floor_v, "V")
        )),
    }
    let spread = |values: &mut dyn Iterator<Item = f64>| {
        values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)))
    };
    let (low, high) = spread(&mut found.drivers.iter().map(|d| 100.0 * (d.gain.value - 1.0)));
    let u = found.drivers.iter().map(|d| d.gain.u).fold(0.0, f64::max);
    output.say(format_args!(
        "drivers   gain {low:+.3} to {high:+.3} % of the mean driver's, ± {:.4} %",
        100.0 * u
    ));
    let (low, high) = spread(&mut found.drivers.iter().map(|d| 1e3 * d.offset_v.value));
    output.say(format_args!("          offset {low:+.3} to {high:+.3} mV against the mean driver's"));
    for (range, amplifiers) in found.ranges.iter().enumerate() {
        let (low, high) = spread(&mut amplifiers.iter().map(|a| a.ohms.value));
        let u = amplifiers.iter().map(|a| a.ohms.u / a.ohms.value).fold(0.0, f64::max);
        let filled = amplifiers.iter().map(|a| a.filled).fold(f64::INFINITY, f64::min);
        output.say(format_args!(
            "range {range}   {} to {}, ± {:.4} %; R_cal fills {:.0} % of it",
            si(low, "Ω"),
            si(high, "Ω"),
            100.0 * u,
            100.0 * filled
        ));
    }
    let linearity = &found.linearity;
    let peak = |values: &[f64]| values.iter().copied().fold(0.0, f64::max);
    output.say(format_args!(
        "linearity drivers {:.1} and converters {:.1} codes peak against their means, the means together {:.1}, ± {:.1}",
        peak(&linearity.drivers),
        peak(&linearity.converters),
        linearity.mean,
        linearity.u
    ));
    for settling in &found.settling {
        output.say(format_args!(
            "settling  range {}: within {:.2} % after {}; when sampled by itself {:+.3} % are left",
            settling.range,
            100.0 * settling.resolution.max(1e-3),
            si(settling.seconds, "s"),
            100.0 * settling.left_when_sampled
        ));
    }
    match found.curvature {
        None => output.say("devices   none conducts enough to tell the curve of its current"),
        Some(curvature) => match curvature.characteristic_v() {
            Some(v0) => output.say(format_args!(
                "devices   I ∝ sinh(V/V0) with V0 = {:.4} ± {:.4} V up to {:.2} V (χ² {:.1})",
                v0.value, v0.u, curvature.fitted_to_v, curvature.chi_square
            )),
            None => output.say(format_args!(
                "devices   current proportional to voltage up to {:.2} V (1/V0² = {:.4} ± {:.4} V⁻²)",
                curvature.fitted_to_v, curvature.inverse_square.value, curvature.inverse_square.u
            )),
        },
    }
    match &found.series {
        None => output
            .say("lines     series resistance not told: the array conducts too little, or may not be pulsed"),
        Some(series) => output.say(format_args!(
            "lines     in series with a row {:.2} ± {:.2} Ω, with a column {:.2} ± {:.2} Ω (means of all)",
            series.row_ohms.value,
            series.row_ohms.standard_uncertainty,
            series.column_ohms.value,
            series.column_ohms.standard_uncertainty
        )),
    }
}
