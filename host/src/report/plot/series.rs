//! Several quantities in one picture: measured points with uncertainties, lines, a legend beside them, and axes that may be logarithmic.

use super::axis::{Scale, chart, place, span};
use super::{Area, Axes, BOUND, Drawn, FONT, VIRIDIS, blend, picture, thinned};
use plotters::prelude::*;

/// One quantity.
#[derive(Clone, Debug)]
pub(in super::super) struct Series {
    /// In the legend; without a name it isn't there.
    name: String,
    colour: RGBColor,
    /// x, y and the uncertainty of y, which is drawn as a bar where it is larger than the point.
    points: Vec<(f64, f64, f64)>,
    line: Vec<(f64, f64)>,
    width: u32,
}

impl Series {
    pub(in super::super) fn new(name: impl Into<String>, colour: RGBColor) -> Self {
        Self { name: name.into(), colour, points: Vec::new(), line: Vec::new(), width: 2 }
    }

    /// Measured: x, y, and the uncertainty of y in its unit (0: none is shown).
    pub(in super::super) fn points(mut self, points: impl IntoIterator<Item = (f64, f64, f64)>) -> Self {
        self.points = points.into_iter().collect();
        self
    }

    /// A line through these.
    pub(in super::super) fn line(mut self, line: impl IntoIterator<Item = (f64, f64)>) -> Self {
        self.line = line.into_iter().collect();
        self
    }

    /// The points joined by a line.
    pub(in super::super) fn joined(self) -> Self {
        let line: Vec<(f64, f64)> = self.points.iter().map(|point| (point.0, point.1)).collect();
        self.line(line)
    }

    /// With a line one pixel wide: one of many.
    pub(in super::super) fn thin(mut self) -> Self {
        self.width = 1;
        self
    }

    /// Where it lies on axes of these scales.
    fn on(&self, scales: (Scale, Scale)) -> Self {
        let points = self.points.iter().filter_map(|&(x, y, u)| {
            let (x, at) = (place(scales.0, x)?, place(scales.1, y)?);
            // In decades what is below nothing has no end: as far down as up.
            let u = if scales.1 == Scale::Linear { u } else { (1.0 + u / y).log10() };
            Some((x, at, u))
        });
        let line = self.line.iter().filter_map(|&(x, y)| Some((place(scales.0, x)?, place(scales.1, y)?)));
        Self { points: points.collect(), line: thinned(&line.collect::<Vec<_>>()), ..self.clone() }
    }
}

/// The colour of number `index` of `count`: dark to light, none too light for white paper.
pub(in super::super) fn shade(index: usize, count: usize) -> RGBColor {
    blend(&VIRIDIS, 0.88 * index as f64 / (count.max(2) - 1) as f64)
}

/// Room for a legend, px: a letter's mean width, and what is beside the letters.
const LETTER: f64 = 6.6;
const BESIDE: u32 = 34;

/// All of them in one picture; `bounds` are horizontal lines.
pub(in super::super) fn compared(
    title: &str,
    axes: Axes<'_>,
    scales: (Scale, Scale),
    all: &[Series],
    bounds: &[f64],
) -> String {
    let all: Vec<Series> = all.iter().map(|series| series.on(scales)).collect();
    let bounds: Vec<f64> = bounds.iter().filter_map(|&bound| place(scales.1, bound)).collect();
    let xs = all.iter().flat_map(|s| s.points.iter().map(|p| p.0).chain(s.line.iter().map(|p| p.0)));
    let ends = |p: &(f64, f64, f64)| {
        let u = if p.2.is_finite() { p.2 } else { 0.0 };
        [p.1 - u, p.1 + u]
    };
    let ys = all.iter().flat_map(|s| s.points.iter().flat_map(ends).chain(s.line.iter().map(|p| p.1)));
    let (x, y) = (span(scales.0, xs), span(scales.1, ys.chain(bounds.iter().copied())));
    let named: Vec<&Series> = all.iter().filter(|series| !series.name.is_empty()).collect();
    picture(title, 400, |area| {
        let (width, _) = area.dim_in_pixel();
        let letters = named.iter().map(|series| series.name.chars().count()).max();
        let room = letters.map_or(0, |letters| (LETTER * letters as f64) as u32 + BESIDE);
        let (left, right) = area.split_horizontally(width.saturating_sub(room));
        legend(&right, &named)?;
        let mut chart = chart(&left, axes, x.clone(), y.clone())?;
        for &bound in &bounds {
            chart.draw_series([PathElement::new(vec![(x.low, bound), (x.high, bound)], BOUND)])?;
        }
        for series in &all {
            let style = series.colour.stroke_width(series.width);
            chart.draw_series(LineSeries::new(series.line.iter().copied(), style))?;
            let bars = series.points.iter().filter(|point| point.2.is_finite() && point.2 > 0.0);
            chart.draw_series(
                bars.map(|&(x, y, u)| PathElement::new(vec![(x, y - u), (x, y + u)], series.colour)),
            )?;
            chart.draw_series(
                series.points.iter().map(|&(x, y, _)| Circle::new((x, y), 3, series.colour.filled())),
            )?;
        }
        Ok(())
    })
}

/// The names, each behind what it looks like.
fn legend(area: &Area<'_>, named: &[&Series]) -> Drawn {
    for (index, series) in named.iter().enumerate() {
        let y = 16 + 18 * index as i32;
        if !series.line.is_empty() {
            area.draw(&PathElement::new(vec![(0, y), (18, y)], series.colour.stroke_width(series.width)))?;
        }
        if !series.points.is_empty() {
            area.draw(&Circle::new((9, y), 3, series.colour.filled()))?;
        }
        area.draw(&Text::new(series.name.as_str(), (24, y - 6), (FONT, 12)))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_has_a_legend_and_ticks_of_whole_decades() {
        let axes = Axes { x: "x", y: "y" };
        let series =
            Series::new("a name", shade(0, 1)).points([(1.0, 1e-5, 1e-6), (1e5, 3e-2, 0.0)]).joined();
        let svg = compared("t", axes, (Scale::Logarithmic, Scale::Logarithmic), &[series], &[1e-3]);
        for text in ["a name", "1e4", "100", "1e-5"] {
            assert!(svg.contains(&format!("\n{text}\n")), "no {text}: {svg}");
        }
    }

    #[test]
    fn a_logarithmic_axis_leaves_out_what_it_has_no_place_for() {
        let series =
            Series::new("", shade(1, 2)).points([(0.0, 1.0, 0.1), (10.0, -1.0, 0.1), (10.0, 100.0, 900.0)]);
        let placed = series.on((Scale::Logarithmic, Scale::Logarithmic));
        assert_eq!(placed.points, [(1.0, 2.0, 1.0)]);
    }

    #[test]
    fn nothing_and_one_point_make_a_picture() {
        let axes = Axes { x: "x", y: "y" };
        for scale in [Scale::Linear, Scale::Logarithmic] {
            for points in [vec![], vec![(1.0, 1.0, f64::INFINITY)], vec![(1.0, f64::NAN, 0.0)]] {
                let svg =
                    compared("t", axes, (scale, scale), &[Series::new("", shade(0, 1)).points(points)], &[]);
                assert!(svg.contains("</svg>"), "{svg}");
            }
        }
    }
}
