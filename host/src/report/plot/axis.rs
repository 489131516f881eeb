//! Axes of pictures: from where to where, linear or in decades, and their ticks.

use super::{Area, Axes, FONT};
use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint, Ranged};
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use std::ops::Range;

/// How values lie on an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Scale {
    Linear,
    /// What isn't positive isn't shown.
    Logarithmic,
}

/// Where a value lies on an axis of this scale, if it has a place there.
pub(super) fn place(scale: Scale, value: f64) -> Option<f64> {
    let at = if scale == Scale::Linear { value } else { value.log10() };
    at.is_finite().then_some(at)
}

/// A range that is not empty, a little wider than its values.
pub(super) fn around(values: impl IntoIterator<Item = f64>) -> (f64, f64) {
    let (low, high) = values
        .into_iter()
        .filter(|v| v.is_finite())
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
    if low > high {
        return (0.0, 1.0);
    }
    let margin = if high > low { 0.04 * (high - low) } else { 0.5 * low.abs().max(1.0) };
    (low - margin, high + margin)
}

/// A tick's label without trailing zeros.
pub(super) fn tick(value: &f64) -> String {
    if *value != 0.0 && !(1e-3..1e6).contains(&value.abs()) {
        return format!("{value:.1e}");
    }
    let text = format!("{value:.4}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

/// From where to where an axis goes, and where its ticks are; on a logarithmic one in decades.
#[derive(Clone, Debug)]
pub(super) struct Span {
    pub(super) low: f64,
    pub(super) high: f64,
    ticks: Vec<f64>,
    label: fn(&f64) -> String,
}

impl From<(f64, f64)> for Span {
    fn from((low, high): (f64, f64)) -> Self {
        let ticks = RangedCoordf64::from(low..high).key_points(10).into_iter();
        // Steps that add up to nearly nothing mean 0.
        let ticks = ticks.map(|at| if at.abs() < 1e-9 * (high - low) { 0.0 } else { at });
        Self { low, high, ticks: ticks.collect(), label: tick }
    }
}

/// A little wider than its values.
pub(super) fn span(scale: Scale, values: impl IntoIterator<Item = f64>) -> Span {
    let (low, high) = around(values);
    match scale {
        Scale::Linear => (low, high).into(),
        // Less than a decade: ticks as on a linear axis, where they lie here.
        Scale::Logarithmic if high - low < 1.0 => {
            let values = RangedCoordf64::from(10_f64.powf(low)..10_f64.powf(high)).key_points(8);
            Span {
                low,
                high,
                ticks: values.into_iter().map(f64::log10).collect(),
                label: |at| tick(&10_f64.powf(*at)),
            }
        }
        Scale::Logarithmic => {
            let steps: &[f64] = if high - low < 2.5 { &[1.0, 2.0, 5.0] } else { &[1.0] };
            let every = ((high - low) / 9.0).ceil().max(1.0) as usize;
            let decades = (low.floor() as i32..=high.floor() as i32).step_by(every);
            let ticks = decades.flat_map(|decade| steps.iter().map(move |s| f64::from(decade) + s.log10()));
            Span { low, high, ticks: ticks.filter(|at| (low..=high).contains(at)).collect(), label: decade }
        }
    }
}

/// A label of a logarithmic axis: one digit, and the power of ten where there would be many zeros.
fn decade(at: &f64) -> String {
    let value = 10_f64.powf(*at);
    if (0.99e-3..9.9e3).contains(&value) { tick(&value) } else { format!("{value:.0e}") }
}

impl Ranged for Span {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        RangedCoordf64::from(self.low..self.high).map(value, limit)
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        self.ticks.clone()
    }

    fn range(&self) -> Range<f64> {
        self.low..self.high
    }
}

pub(super) type Chart<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<Span, Span>>;

pub(super) fn chart<'a, 'b>(
    area: &'a Area<'b>,
    axes: Axes<'_>,
    x: impl Into<Span>,
    y: impl Into<Span>,
) -> Result<Chart<'a, 'b>, Box<dyn std::error::Error>>
where
    'b: 'a,
{
    let (x, y) = (x.into(), y.into());
    let labels = (x.label, y.label);
    let mut chart = ChartBuilder::on(area)
        .margin(5)
        .margin_right(20)
        .x_label_area_size(45)
        .y_label_area_size(70)
        .build_cartesian_2d(x, y)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(RGBColor(225, 225, 225))
        .x_desc(axes.x)
        .y_desc(axes.y)
        .x_label_formatter(&labels.0)
        .y_label_formatter(&labels.1)
        .label_style((FONT, 12))
        .axis_desc_style((FONT, 13))
        .draw()?;
    Ok(chart)
}
