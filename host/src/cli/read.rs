//! `ohmrig read`: conductances cell by cell.

use super::open::{Opened, open};
use super::output::{percent, si};
use super::settings::{ReadArgs, RegionArgs};
use super::work::Work;
use super::{Failure, Global, Output, calibrate};
use crate::arrays;
use crate::calibration::{Calibration, Conductances, UNCALIBRATED};
use crate::instrument::{CellMap, ReadSettings};
use crate::run_file::MeasurementOrder;
use clap::Args;
use ndarray::{Array2, s};
use ohmrig_protocol::message::Region;
use serde_json::json;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(super) struct Read {
    #[command(flatten)]
    region: RegionArgs,
    #[command(flatten)]
    read: ReadArgs,
    /// Write the conductances here, S, float64 .npy of (rows, columns)
    #[arg(long, value_name = "NPY")]
    output: Option<PathBuf>,
    /// Don't correct with the board's calibration, even if it has one
    #[arg(long)]
    raw: bool,
    /// Write their standard uncertainties here, S
    #[arg(long, value_name = "NPY")]
    uncertainty: Option<PathBuf>,
}

/// Arrays up to this many cells are printed.
const PRINTED: usize = 16 * 16;

impl Read {
    pub(super) fn run(&self, global: &Global, output: &mut Output) -> Result<(), Failure> {
        let settings = self.read.settings()?;
        let mut opened = open(global, output)?;
        let region = self.region.region(&opened.instrument)?;
        let calibration = if self.raw { None } else { calibrate::own(&mut opened)? };
        if let Some(calibration) = &calibration {
            calibrate::require(calibration, &opened.instrument)?;
        }
        let asked = json!({
            "row": region.row, "column": region.column, "rows": region.rows, "columns": region.columns,
            "volts": settings.volts, "range": settings.range, "conversions": settings.conversions,
            "calibration": calibration.as_ref().map(Calibration::id),
        });
        let order = MeasurementOrder { kind: "read", settings: &asked, inputs: &[], changes_array: false };
        let Some(mut work) = opened.begin(global, &order, output)? else { return Ok(()) };
        let mut map = read_by_bands(&mut opened, &mut work, region, &settings)?;
        let repeatability = map.uncertainty.clone();
        let mut half_width_95 = None;
        if let Some(calibration) = &calibration {
            let first = (usize::from(region.row), usize::from(region.column));
            let volts = opened.instrument.applied_volts(settings.volts);
            let converters = &opened.instrument.device().converters;
            let Conductances { siemens, uncertainty, half_width_95: half_width } =
                calibration.conductances(&map, first, converters, volts);
            (map.conductance, map.uncertainty) = (siemens, uncertainty);
            half_width_95 = Some(half_width);
        }
        let cells = map.conductance.len();
        let saturated = map.saturated.iter().filter(|&&saturated| saturated).count();
        let mean = map.conductance.iter().sum::<f64>() / cells as f64;
        let (lowest, highest) = map
            .conductance
            .iter()
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), &g| (low.min(g), high.max(g)));
        let uncertainty = (map.uncertainty.iter().map(|u| u * u).sum::<f64>() / cells as f64).sqrt();
        if cells <= PRINTED {
            output.say("conductance in µS, row by row:");
            for row in map.conductance.rows() {
                let line: Vec<String> = row.iter().map(|g| format!("{:7.3}", g * 1e6)).collect();
                output.say(line.join(" "));
            }
        }
        output.say(format_args!(
            "{cells} cells at ±{} V: {} to {}, mean {}, standard uncertainty {} (rms){}",
            settings.volts,
            si(lowest, "S"),
            si(highest, "S"),
            si(mean, "S"),
            si(uncertainty, "S"),
            if saturated > 0 { format!("; {saturated} SATURATED") } else { String::new() }
        ));
        match &calibration {
            Some(calibration) => output.say(format_args!(
                "corrected by calibration {}, in force on the board; its uncertainty is in the one above",
                calibration.id()
            )),
            None => output.say(format_args!(
                "not calibrated: gains may be off by {} beside that, the same for all cells of a row or a column; run `ohmrig calibrate`",
                percent(UNCALIBRATED)
            )),
        }
        output.set("cells", cells);
        output.set("calibration", calibration.as_ref().map(Calibration::id));
        output.set("uncalibrated_gain_bound_relative", calibration.is_none().then_some(UNCALIBRATED));
        output.set("volts", settings.volts);
        output.set("conversions", settings.conversions);
        output.set("conductance_mean_s", mean);
        output.set("conductance_min_s", lowest);
        output.set("conductance_max_s", highest);
        output.set("uncertainty_rms_s", uncertainty);
        output.set("saturated", saturated);
        if cells <= PRINTED {
            let rows =
                |a: &ndarray::Array2<f64>| a.rows().into_iter().map(|r| r.to_vec()).collect::<Vec<_>>();
            output.set("conductance_s", rows(&map.conductance));
            output.set("uncertainty_s", rows(&map.uncertainty));
            output.set("repeatability_s", rows(&repeatability));
            output.set("half_width_95_s", half_width_95.as_ref().map(rows));
        }
        for (path, array) in [(&self.output, &map.conductance), (&self.uncertainty, &map.uncertainty)] {
            if let Some(path) = path {
                arrays::write(path, array.view()).map_err(Failure::failed)?;
            }
        }
        work.done(
            &mut opened,
            output,
            &json!({"saturated": saturated}),
            &[("conductance_s", map.conductance.view()), ("uncertainty_s", map.uncertainty.view())],
        )
    }
}

/// Conversions of one piece of a read, about: a fraction of a second on a board.
const PIECE_CONVERSIONS: usize = 1 << 14;

/// Reads bands of rows, each kept in the run file when it is done.
fn read_by_bands(
    opened: &mut Opened,
    work: &mut Work,
    region: Region,
    settings: &ReadSettings,
) -> Result<CellMap, Failure> {
    let per_row = 2 * usize::from(settings.conversions.max(1)) * usize::from(region.columns);
    let band = u16::try_from((PIECE_CONVERSIONS / per_row).max(1)).unwrap_or(u16::MAX);
    let shape = (usize::from(region.rows), usize::from(region.columns));
    let mut map = CellMap {
        conductance: Array2::zeros(shape),
        uncertainty: Array2::zeros(shape),
        saturated: Array2::from_elem(shape, false),
        range: Array2::zeros(shape),
    };
    for first in (0..region.rows).step_by(usize::from(band)) {
        let part = Region { row: region.row + first, rows: band.min(region.rows - first), ..region };
        let name = format!("rows {}-{}", part.row, part.row + part.rows - 1);
        let lines = s![usize::from(first)..usize::from(first + part.rows), ..];
        let (conductance, uncertainty, saturated, range) = if work.done_piece(&name)?.is_some() {
            let saturated = work.array(&name, "saturated")?.mapv(|s| s != 0.0);
            let range = work.array(&name, "range")?.mapv(|range| range as u8);
            (work.array(&name, "conductance_s")?, work.array(&name, "uncertainty_s")?, saturated, range)
        } else {
            let CellMap { conductance, uncertainty, saturated, range } =
                opened.instrument.read_cells(part, settings)?;
            let flags = saturated.mapv(|saturated| f64::from(u8::from(saturated)));
            let ranges = range.mapv(f64::from);
            let arrays = [
                ("conductance_s", conductance.view()),
                ("uncertainty_s", uncertainty.view()),
                ("saturated", flags.view()),
                ("range", ranges.view()),
            ];
            work.keep(opened, &name, &json!({}), &arrays)?;
            (conductance, uncertainty, saturated, range)
        };
        map.conductance.slice_mut(lines).assign(&conductance);
        map.uncertainty.slice_mut(lines).assign(&uncertainty);
        map.saturated.slice_mut(lines).assign(&saturated);
        map.range.slice_mut(lines).assign(&range);
    }
    Ok(map)
}
