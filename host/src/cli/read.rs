//! `ohmrig read`: conductances cell by cell.

use super::open::open;
use super::output::si;
use super::settings::{ReadArgs, RegionArgs};
use super::{Failure, Global, Output};
use crate::arrays;
use clap::Args;
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
        let map = opened.instrument.read_cells(region, &settings)?;
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
        output.set("cells", cells);
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
        }
        opened.record(
            "read",
            &json!({
                "row": region.row, "column": region.column, "volts": settings.volts,
                "range": settings.range, "conversions": settings.conversions,
            }),
            &json!({"saturated": saturated}),
            &[("conductance_s", map.conductance.view()), ("uncertainty_s", map.uncertainty.view())],
        )?;
        for (path, array) in [(&self.output, &map.conductance), (&self.uncertainty, &map.uncertainty)] {
            if let Some(path) = path {
                arrays::write(path, array.view()).map_err(Failure::failed)?;
            }
        }
        Ok(())
    }
}
