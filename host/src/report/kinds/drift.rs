//! `drift`: conductance over time with the fitted power laws, and the exponent ν of every cell.

use super::super::page::Page;
use super::super::plot::{Axes, Colours, Scale, Series, Unit, compared, heat_map, shade};
use super::cells::{
    DRAWN, element, estimate, index, over_conductance, plus_minus, population, position, reads, spread_out,
};
use crate::metrology::Estimate;
use crate::run_file::Recorded;
use serde_json::Value;

/// A fitted drift as results have it.
struct Law {
    exponent: Estimate,
    conductance_s: f64,
    reference_s: f64,
    t0_s: f64,
}

impl Law {
    fn of(cell: &Value) -> Option<Self> {
        Some(Self {
            exponent: estimate(&cell["exponent"])?,
            conductance_s: cell["conductance_s"]["value"].as_f64()?,
            reference_s: cell["reference_s"].as_f64()?,
            t0_s: cell["t0_s"]["value"].as_f64()?,
        })
    }

    /// Conductance at a time after programming, S.
    fn at(&self, time_s: f64) -> f64 {
        let since = (time_s + self.t0_s) / (self.reference_s + self.t0_s);
        self.conductance_s * since.powf(-self.exponent.value)
    }
}

pub(super) fn show(recorded: &Recorded, page: &mut Page) {
    let Some(cells) = recorded.value["cells"].as_array() else { return };
    let mut fitted: Vec<(&Value, Law)> =
        cells.iter().filter_map(|cell| Some((cell, Law::of(cell)?))).collect();
    fitted.sort_by(|a, b| a.1.conductance_s.total_cmp(&b.1.conductance_s));
    let exponents: Vec<(f64, Estimate)> =
        fitted.iter().map(|(_, law)| (law.conductance_s, law.exponent)).collect();
    let Some(all) = population(&exponents) else {
        page.say(format_args!(
            "No drift exponent could be fitted to any of {} cells; their flags say why.",
            cells.len()
        ));
        return;
    };
    let moving = exponents.iter().filter(|(_, exponent)| !exponent.covers(0.0, 0.95)).count();
    let verdict = match (all.level.covers(0.0, 0.95), all.level.value > 0.0) {
        (true, _) => "No drift on average",
        (false, true) => "Cells lose conductance",
        (false, false) => "Cells gain conductance",
    };
    let conclusion = format!(
        "{verdict}: ν = {} over {} cells, ± {:.4} from cell to cell; in {moving} it is told from 0 (95 %)",
        plus_minus(all.level.value, all.level.standard_uncertainty),
        exponents.len(),
        all.spread,
    );
    page.say(format_args!(
        "{conclusion}. G(t) = G(t₁)·((t + t₀)/(t₁ + t₀))^−ν, t₁ the first read; bars are the standard uncertainty of single reads. The 1/f \
         noise that reads share isn't in the bars, but in the uncertainty of ν."
    ));
    traces(recorded, page, &conclusion, &fitted);
    over_conductance(page, "ν", "", 1.0, &exponents);
    if let Some(map) = recorded.arrays.get("exponent").filter(|map| map.nrows() > 1 && map.ncols() > 1) {
        let unfitted = map.iter().filter(|exponent| exponent.is_nan()).count();
        page.picture(&heat_map(
            &format!(
                "Where cells drift: ν of each{}",
                if unfitted > 0 { format!("; {unfitted} without a fit are grey") } else { String::new() }
            ),
            map.view(),
            "ν",
            Colours::Diverging,
            |_| false,
        ));
    }
}

/// Some cells, relative to their laws at the first read.
fn traces(recorded: &Recorded, page: &mut Page, conclusion: &str, fitted: &[(&Value, Law)]) {
    let reads = reads(recorded);
    let time = |read: usize| reads[read].value["time_s"].as_f64().unwrap_or(f64::NAN);
    let Some(last) = reads.len().checked_sub(1) else { return };
    let (first_s, last_s) = (time(0), time(last));
    let drawn = spread_out(fitted.len(), DRAWN);
    let series: Vec<Series> = drawn
        .iter()
        .enumerate()
        .map(|(number, &which)| {
            let (cell, law) = &fitted[which];
            let (at, start) = (index(recorded, cell), law.at(first_s));
            let points = (0..reads.len()).filter_map(|read| {
                let siemens = element(reads[read], "conductance_s", at)?;
                let uncertainty = element(reads[read], "uncertainty_s", at)?;
                Some((time(read), siemens / start, uncertainty / start))
            });
            let law_at = |n: usize| first_s * (last_s / first_s).powf(n as f64 / 100.0);
            let (row, column) = position(cell);
            let siemens = Unit::of([start], "S").show(start);
            let exponent = plus_minus(law.exponent.value, law.exponent.standard_uncertainty);
            Series::new(format!("[{row}, {column}] {siemens}: ν {exponent}"), shade(number, drawn.len()))
                .points(points)
                .line((0..=100).map(law_at).map(|time_s| (time_s, law.at(time_s) / start)))
        })
        .collect();
    page.picture(&compared(
        &format!("{conclusion} ({} cells drawn, with the fitted laws)", drawn.len()),
        Axes { x: "time since programming / s", y: "G(t) / G(t₁)" },
        (Scale::Logarithmic, Scale::Linear),
        &series,
        &[1.0],
    ));
}
