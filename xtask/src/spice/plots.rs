//! Pictures of the runs: SVG, the conclusion as title, axes with units.

use plotters::coord::ranged1d::{AsRangedCoord, ValueFormatter};
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;

use super::{DESIGN_PF, Edge, LINES_PF, Overload, RANGES, READ, STEP_S, Settled, waves::Waves};
use crate::Result;

const SIZE: (u32, u32) = (760, 440);
const FONT: &str = "sans-serif";
/// One per curve.
const COLOURS: [RGBColor; 4] =
    [RGBColor(31, 90, 160), RGBColor(190, 60, 20), RGBColor(40, 130, 60), RGBColor(120, 80, 160)];
const BOUND: RGBColor = RGBColor(110, 110, 110);
/// Most points of a curve.
const POINTS: usize = 400;

struct Curve {
    name: String,
    points: Vec<(f64, f64)>,
    colour: RGBColor,
    dashed: bool,
}

/// Axis titles with units, and the window.
struct Axes<X, Y> {
    x: &'static str,
    y: &'static str,
    across: X,
    up: Y,
}

fn picture<X, Y>(title: &str, axes: Axes<X, Y>, curves: &[Curve]) -> Result<String>
where
    X: AsRangedCoord<Value = f64>,
    Y: AsRangedCoord<Value = f64>,
    X::CoordDescType: ValueFormatter<f64>,
    Y::CoordDescType: ValueFormatter<f64>,
{
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        root.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&root)
            .margin(12)
            .margin_right(32)
            .caption(title, (FONT, 16).into_font().style(FontStyle::Bold))
            .x_label_area_size(44)
            .y_label_area_size(64)
            .build_cartesian_2d(axes.across, axes.up)?;
        chart
            .configure_mesh()
            .x_desc(axes.x)
            .y_desc(axes.y)
            .label_style((FONT, 13))
            .light_line_style(WHITE)
            .draw()?;
        for curve in curves {
            let style = curve.colour.stroke_width(2);
            let points = || curve.points.iter().copied();
            let drawn = if curve.dashed {
                chart.draw_series(DashedLineSeries::new(points(), 6, 4, style))?
            } else {
                chart.draw_series(LineSeries::new(points(), style))?
            };
            drawn
                .label(curve.name.clone())
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style));
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperRight)
            .background_style(WHITE.mix(0.85))
            .border_style(BLACK.mix(0.3))
            .label_font((FONT, 13))
            .draw()?;
        root.present()?;
    }
    Ok(svg)
}

/// At most [`POINTS`] of them, the same time apart.
fn thinned(waves: &Waves, trace: usize, until_s: f64, value: impl Fn(f64) -> f64) -> Vec<(f64, f64)> {
    let mut next_s = 0.0;
    let mut points = Vec::new();
    for (at_s, v) in waves.points(trace).take_while(|point| point.0 <= until_s) {
        if at_s >= next_s {
            points.push(((at_s - STEP_S) * 1e6, value(v)));
            next_s = at_s + until_s / POINTS as f64;
        }
    }
    points
}

fn of_range(settled: &[Settled], range: usize) -> impl Iterator<Item = &Settled> {
    settled.iter().filter(move |row| row.range == range)
}

/// Phase margin against the line's capacitance.
pub(super) fn margins(settled: &[Settled]) -> Result<String> {
    let least = settled.iter().map(|row| row.margin_deg).fold(f64::INFINITY, f64::min);
    let curves: Vec<Curve> = RANGES
        .iter()
        .enumerate()
        .map(|(range, setting)| Curve {
            name: setting.name.to_owned(),
            points: of_range(settled, range).map(|row| (f64::from(row.line_pf), row.margin_deg)).collect(),
            colour: COLOURS[range],
            dashed: false,
        })
        .collect();
    let axes = Axes {
        x: "capacitance of wires and array on a column (pF)",
        y: "phase margin (°)",
        across: (10.0..1000.0).log_scale(),
        up: RangedCoordf64::from(0.0..100.0),
    };
    picture(
        &format!("Every feedback is stable with up to 1 nF of line: phase margin {least:.0}° or more"),
        axes,
        &curves,
    )
}

/// What is left of a step, against time.
pub(super) fn steps(steps: &[(usize, u32, Waves)]) -> Result<String> {
    let shown = steps.iter().filter(|(range, line, _)| *line == DESIGN_PF || (*range == 0 && *line == 1000));
    let mut longest_us: f64 = 0.0;
    let mut curves = Vec::new();
    for (number, (range, line_pf, waves)) in shown.enumerate() {
        let last = waves.points(2).last().map_or(1.0, |point| point.1);
        if *line_pf == DESIGN_PF {
            longest_us = longest_us.max(waves.settled_s(2, STEP_S, 1e-3)? * 1e6);
        }
        curves.push(Curve {
            name: format!("{}, {line_pf} pF", RANGES[*range].name),
            points: thinned(waves, 2, 41e-6, |v| (1.0 - v / last).abs().clamp(1e-5, 2.0)),
            colour: COLOURS[number],
            dashed: false,
        });
    }
    curves.push(Curve {
        name: "2⁻¹⁴, where a read is over".to_owned(),
        points: vec![(0.0, READ), (40.0, READ)],
        colour: BOUND,
        dashed: true,
    });
    let axes = Axes {
        x: "time since the row's code changed (µs)",
        y: "left of the step",
        across: RangedCoordf64::from(0.0..40.0),
        up: (1e-5..2.0).log_scale(),
    };
    picture(
        &format!(
            "With the design's 250 pF a column is within 0.1 % of a step after {longest_us:.1} µs at most"
        ),
        axes,
        &curves,
    )
}

/// Time to 2⁻¹⁴ against the line's capacitance, and what the firmware waits.
pub(super) fn waits(settled: &[Settled]) -> Result<String> {
    // `READ_NS` of `or16/settling.rs`.
    let waits_us = [18.7, 11.9, 11.7];
    let mut curves = Vec::new();
    let mut enough_pf = 0;
    for line_pf in LINES_PF {
        let mut rows = settled.iter().filter(|row| row.line_pf == line_pf);
        if rows.all(|row| row.slow_path_s * 1e6 <= waits_us[row.range]) {
            enough_pf = line_pf;
        }
    }
    for (range, setting) in RANGES.iter().enumerate() {
        let points = of_range(settled, range).map(|row| (f64::from(row.line_pf), row.slow_path_s * 1e6));
        curves.push(Curve {
            name: format!("{}: needed", setting.name),
            points: points.collect(),
            colour: COLOURS[range],
            dashed: false,
        });
        curves.push(Curve {
            name: format!("{}: waited", setting.name),
            points: vec![(10.0, waits_us[range]), (1000.0, waits_us[range])],
            colour: COLOURS[range],
            dashed: true,
        });
    }
    let axes = Axes {
        x: "capacitance of wires and array on a column (pF)",
        y: "time to 2⁻¹⁴ of a step (µs)",
        across: (10.0..1000.0).log_scale(),
        up: RangedCoordf64::from(0.0..40.0),
    };
    picture(&format!("What the firmware waits is enough up to {enough_pf} pF of line"), axes, &curves)
}

/// The amplifiers' outputs in and after an overload.
pub(super) fn overloads(overloads: &[Overload]) -> Result<String> {
    let highest = overloads.iter().map(|overload| overload.clamped_v).fold(0.0, f64::max);
    let longest = overloads.iter().map(|overload| overload.back_s[0] * 1e6).fold(0.0, f64::max);
    let curves: Vec<Curve> = overloads
        .iter()
        .map(|overload| Curve {
            name: format!("{}, {} mA", RANGES[overload.range].name, RANGES[overload.range].overload_a * 1e3),
            points: thinned(&overload.waves, 0, 41e-6, f64::abs),
            colour: COLOURS[overload.range],
            dashed: false,
        })
        .collect();
    let axes = Axes {
        x: "time since the overload began (µs)",
        y: "magnitude of the amplifier's output (V)",
        across: RangedCoordf64::from(-1.0..40.0),
        up: RangedCoordf64::from(0.0..8.0),
    };
    picture(
        &format!(
            "Overloaded outputs stop at {highest:.2} V and are back within 0.1 % of 5 V after {longest:.1} µs"
        ),
        axes,
        &curves,
    )
}

/// A pulse of 5 V and 5 µs at the cell.
pub(super) fn edges(edges: &[Edge]) -> Result<String> {
    let close = edges.iter().filter(|edge| !edge.forming).filter_map(|edge| Some((edge, edge.seen_s?)));
    let worst_ns = close.map(|(edge, s)| (s - edge.width_s).abs() * 1e9).fold(0.0, f64::max);
    let shown = edges.iter().filter(|edge| edge.amplitude_v == 5.0 && edge.width_s < 6e-6);
    let mut curves = Vec::new();
    for edge in shown {
        if edge.line_pf == 10 || (edge.forming && edge.line_pf == 1000) {
            continue;
        }
        let with = if edge.forming { ", forming resistor" } else { "" };
        curves.push(Curve {
            name: format!("{} pF{with}", edge.line_pf),
            points: thinned(&edge.waves, 1, 24e-6, |v| v)
                .into_iter()
                .map(|(us, v)| (us + 1.0 - 5.0, v))
                .collect(),
            colour: COLOURS[curves.len() % COLOURS.len()],
            dashed: edge.forming,
        });
    }
    let axes = Axes {
        x: "time since TGP0 rose (µs)",
        y: "voltage across the cell (V)",
        across: RangedCoordf64::from(-1.0..16.0),
        up: RangedCoordf64::from(-0.5..6.0),
    };
    picture(
        &format!("A pulse is as wide at the cell as asked, within {worst_ns:.0} ns, with up to 1 nF of line"),
        axes,
        &curves,
    )
}
