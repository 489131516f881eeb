//! `ohmrig tempco`: temperature coefficients of cells, from reads over the time in which the board's own temperature wanders.

use super::noise::estimate;
use super::open::{Opened, open};
use super::retention::read_settings;
use super::settings::{ReadArgs, RegionArgs};
use super::work::Work;
use super::{Failure, Global, Output};
use crate::instrument::ReadSettings;
use crate::metrology::drift::Read;
use crate::metrology::population::Population;
use crate::metrology::temperature::{LEAST_SPAN_K, coefficient};
use crate::run_file::MeasurementOrder;
use clap::Args;
use ndarray::{Array2, Array3, Axis};
use ohmrig_protocol::message::Region;
use serde_json::{Value, json};

/// Read cells again and again while the temperature wanders, and find d(ln G)/dT of each. Cells are not written.
#[derive(Debug, Args)]
pub(super) struct Tempco {
    #[command(flatten)]
    region: RegionArgs,
    #[command(flatten)]
    read: ReadArgs,
    /// How long, s; a room's temperature takes hours
    #[arg(long, default_value_t = 86_400.0, value_name = "S")]
    for_s: f64,
    /// Number of reads, evenly spaced
    #[arg(long, default_value_t = 96, value_name = "N", value_parser = clap::value_parser!(u16).range(8..=1000))]
    reads: u16,
}

/// Drift that goes on while reading is taken as logarithmic from this long before the first read, s; published t₀ are 20 to 300 s.
const T0_S: f64 = 50.0;

/// Longer than a conversion of the thermometer (TMP117: 1 s with its default averaging), s.
const THERMOMETER_S: f64 = 2.0;

/// Everything read.
struct Series {
    times_s: Vec<f64>,
    kelvin: Vec<f64>,
    /// (reads, rows, columns), S.
    conductance: Array3<f64>,
    uncertainty: Array3<f64>,
    saturated: Array2<bool>,
    read_s: f64,
}

impl Tempco {
    pub(super) fn run(&self, global: &Global, output: &mut Output) -> Result<(), Failure> {
        // 292 years fit the clock.
        if !(self.for_s > 0.0 && self.for_s <= 9e9) {
            return Err(Failure::usage(format!("--for-s {}: a time of up to 9e9 s", self.for_s)));
        }
        let settings = self.read.settings()?;
        let mut opened = open(global, output)?;
        let region = self.region.region(&opened.instrument)?;
        // The thermometer's first conversion after power-up takes a second, and the device asks it when a measurement begins.
        opened.instrument.wait(THERMOMETER_S, |_| {})?;
        opened.instrument.read_cells(Region { rows: 1, columns: 1, ..region }, &settings)?;
        if opened.instrument.status()?.temperature.is_none() {
            return Err(Failure::failed(
                "the board's thermometer says nothing, so there is no temperature to relate conductances to; `ohmrig selftest` shows what \
                 is wrong with it",
            ));
        }
        let asked = json!({
            "row": region.row, "column": region.column, "rows": region.rows, "columns": region.columns,
            "for_s": self.for_s, "reads": self.reads, "read": read_settings(&self.read)?,
        });
        let order = MeasurementOrder { kind: "tempco", settings: &asked, inputs: &[], changes_array: false };
        let Some(mut work) = opened.begin(global, &order, output)? else { return Ok(()) };
        let series = self.collect(&mut opened, &mut work, region, &settings, output)?;
        self.report(&mut opened, work, region, &series, output)
    }

    fn collect(
        &self,
        opened: &mut Opened,
        work: &mut Work,
        region: Region,
        settings: &ReadSettings,
        output: &Output,
    ) -> Result<Series, Failure> {
        let shape = (usize::from(region.rows), usize::from(region.columns));
        let cube = (usize::from(self.reads), shape.0, shape.1);
        let mut series = Series {
            times_s: Vec::new(),
            kelvin: Vec::new(),
            conductance: Array3::from_elem(cube, f64::NAN),
            uncertainty: Array3::from_elem(cube, f64::NAN),
            saturated: Array2::from_elem(shape, false),
            read_s: 0.0,
        };
        const BEGUN: &str = "begun";
        let now_ns = opened.instrument.status()?.at_ns;
        let since_ns = match work.done_piece(BEGUN)? {
            Some(value) => value["at_ns"].as_u64().unwrap_or(now_ns),
            None => {
                work.keep(opened, BEGUN, &json!({"at_ns": now_ns}), &[])?;
                now_ns
            }
        };
        if now_ns < since_ns {
            return Err(Failure::failed(
                "the instrument's clock was reset since the first read, so times since then are lost; use another --run file",
            ));
        }
        let bar = output.bar(usize::from(self.reads), "reading");
        for index in 0..usize::from(self.reads) {
            let name = format!("read {index}");
            if let Some(value) = work.done_piece(&name)? {
                let [conductance, uncertainty, saturated] =
                    ["conductance_s", "uncertainty_s", "saturated"].map(|array| work.array(&name, array));
                let number = |key: &str| value[key].as_f64().unwrap_or(f64::NAN);
                let of = [number("time_s"), number("read_s"), number("temperature_k")];
                series.take(index, of, &conductance?, &uncertainty?, &saturated?.mapv(|s| s != 0.0));
            } else {
                let due_s = self.for_s * index as f64 / f64::from(self.reads - 1);
                opened.instrument.wait_until(since_ns + (due_s * 1e9) as u64, |_| {})?;
                let before_ns = opened.instrument.status()?.at_ns;
                let map = opened.instrument.read_cells(region, settings)?;
                let status = opened.instrument.status()?;
                let kelvin = status.temperature.map(|kelvin| f64::from(kelvin.0)).ok_or_else(|| {
                    Failure::failed(
                        "the board's thermometer stopped answering; run the same command again to go on",
                    )
                })?;
                // A cell's time is the middle of the region's read.
                let time_s = (0.5 * (before_ns + status.at_ns) as f64 - since_ns as f64) * 1e-9;
                let read_s = (status.at_ns - before_ns) as f64 * 1e-9;
                series.take(
                    index,
                    [time_s, read_s, kelvin],
                    &map.conductance,
                    &map.uncertainty,
                    &map.saturated,
                );
                let saturated = map.saturated.mapv(|saturated| f64::from(u8::from(saturated)));
                work.keep(
                    opened,
                    &name,
                    &json!({"time_s": time_s, "read_s": read_s, "temperature_k": kelvin}),
                    &[
                        ("conductance_s", map.conductance.view()),
                        ("uncertainty_s", map.uncertainty.view()),
                        ("saturated", saturated.view()),
                    ],
                )?;
            }
            bar.inc(1);
        }
        bar.finish_and_clear();
        Ok(series)
    }

    fn report(
        &self,
        opened: &mut Opened,
        work: Work,
        region: Region,
        series: &Series,
        output: &mut Output,
    ) -> Result<(), Failure> {
        let (low, high) =
            series.kelvin.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), &k| (l.min(k), h.max(k)));
        output.say(format_args!(
            "tempco   {} reads over {:.0} s; the board was at {low:.2} to {high:.2} K",
            series.times_s.len(),
            self.for_s
        ));
        let mut population = Vec::new();
        let mut cells = Vec::new();
        let mut found = Array2::from_elem(series.saturated.dim(), f64::NAN);
        let mut uncertain = found.clone();
        for ((row, column), saturated) in series.saturated.indexed_iter() {
            let at = (usize::from(region.row) + row, usize::from(region.column) + column);
            let reads: Vec<Read> = (0..series.times_s.len())
                .map(|read| Read {
                    time_s: series.times_s[read],
                    conductance_s: series.conductance[(read, row, column)],
                    standard_uncertainty_s: series.uncertainty[(read, row, column)],
                })
                .collect();
            let read_s = series.read_s / series.saturated.nrows() as f64;
            let result = if *saturated {
                Err("saturated: no value".to_owned())
            } else {
                coefficient(&reads, &series.kelvin, read_s, T0_S).map_err(|error| error.to_string())
            };
            match &result {
                Ok(alpha) => {
                    population.push((reads[0].conductance_s.ln(), *alpha));
                    found[(row, column)] = alpha.value;
                    uncertain[(row, column)] = alpha.standard_uncertainty;
                    output.say(format_args!(
                        "cell     row {}, column {}: {:+.3e} ± {:.1e} /K",
                        at.0, at.1, alpha.value, alpha.standard_uncertainty
                    ));
                }
                Err(why) => {
                    output.say(format_args!("cell     row {}, column {}: no coefficient: {why}", at.0, at.1))
                }
            }
            cells.push(json!({
                "row": at.0, "column": at.1, "conductance_s": reads[0].conductance_s,
                "temperature_coefficient_per_k": result.as_ref().ok().map(estimate), "flag": result.err(),
            }));
        }
        let together = Population::fit(&population).map_or(Value::Null, |all| {
            output.say(format_args!(
                "together {:+.3e} ± {:.1e} /K at {:.3e} S, {} cells; between cells {:.1e} /K",
                all.level.value,
                all.level.standard_uncertainty,
                all.centre.exp(),
                all.cells,
                all.spread
            ));
            json!({"coefficient_per_k": estimate(&all.level), "slope_per_k_per_e_fold": all.slope.as_ref().map(estimate),
                   "at_s": all.centre.exp(), "spread_per_k": all.spread, "cells": all.cells})
        });
        const LIMITS: &str = "without a chamber this is the slope about the board's own temperature: no activation energy, no curvature, \
            and what changes with the time of day besides the temperature is in it; so is the instrument's own coefficient (R_cal 5 \
            ppm/K, references a few)";
        output.say(format_args!("limits   {LIMITS}"));
        output.set("cells", &cells);
        output.set("together", &together);
        output.set("temperature_k", &series.kelvin);
        output.set("span_k", high - low);
        output.set("measurable", high - low >= LEAST_SPAN_K);
        output.set("limits", LIMITS);
        work.done(
            opened,
            output,
            &json!({"cells": cells, "together": together, "limits": LIMITS}),
            &[("coefficient_per_k", found.view()), ("coefficient_uncertainty_per_k", uncertain.view())],
        )
    }
}

impl Series {
    /// One read: `of` is its time, how long it took, s, and the temperature, K.
    fn take(
        &mut self,
        index: usize,
        of: [f64; 3],
        conductance: &Array2<f64>,
        uncertainty: &Array2<f64>,
        saturated: &Array2<bool>,
    ) {
        self.times_s.push(of[0]);
        self.read_s = of[1];
        self.kelvin.push(of[2]);
        self.conductance.index_axis_mut(Axis(0), index).assign(conductance);
        self.uncertainty.index_axis_mut(Axis(0), index).assign(uncertainty);
        self.saturated.zip_mut_with(saturated, |a, b| *a |= *b);
    }
}
