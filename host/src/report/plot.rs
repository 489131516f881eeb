//! Pictures of a report: SVG text, each with a title that says what to conclude, axes and units.

mod axis;
mod series;

pub(super) use axis::Scale;
pub(super) use plotters::style::RGBColor;
pub(super) use series::{Series, compared, shade};

use axis::{around, chart, tick};
use ndarray::ArrayView2;
use plotters::coord::Shift;
use plotters::prelude::*;

/// Width of every picture, px.
const WIDTH: u32 = 720;

/// The font; readers without it take their own sans-serif.
const FONT: &str = "sans-serif";

/// A colour that carries data, and one that marks bounds.
pub(super) const DATA: RGBColor = RGBColor(31, 90, 160);
pub(super) const BOUND: RGBColor = RGBColor(190, 60, 20);
const MISSING: RGBColor = RGBColor(200, 200, 200);

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = Result<(), Box<dyn std::error::Error>>;

/// Axis titles with units.
#[derive(Clone, Copy, Debug)]
pub(super) struct Axes<'a> {
    /// Horizontal.
    pub(super) x: &'a str,
    /// Vertical.
    pub(super) y: &'a str,
}

/// How values become colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Colours {
    /// From the smallest (dark) to the largest (light).
    Sequential,
    /// From −max (blue) over 0 (white) to +max (red).
    Diverging,
}

/// A unit that suits values: they are divided by `scale`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Unit {
    /// Value of one, in the SI unit.
    pub(super) scale: f64,
    /// With its prefix.
    pub(super) name: String,
}

impl Unit {
    /// The prefix with which the largest of `values` has one to three digits before the point.
    #[must_use]
    pub(super) fn of(values: impl IntoIterator<Item = f64>, unit: &str) -> Self {
        let largest = values.into_iter().filter(|v| v.is_finite()).fold(0.0_f64, |l, v| l.max(v.abs()));
        let prefixes = [
            (1e6, "M"),
            (1e3, "k"),
            (1.0, ""),
            (1e-3, "m"),
            (1e-6, "µ"),
            (1e-9, "n"),
            (1e-12, "p"),
            (1e-15, "f"),
        ];
        let found = prefixes.into_iter().find(|(scale, _)| largest >= *scale);
        let (scale, prefix) = if largest > 0.0 { found.unwrap_or((1e-15, "f")) } else { (1.0, "") };
        Self { scale, name: format!("{prefix}{unit}") }
    }

    /// In this unit, with four significant digits.
    #[must_use]
    pub(super) fn show(&self, value: f64) -> String {
        format!("{} {}", digits(value / self.scale), self.name)
    }
}

/// A number with four significant digits.
#[must_use]
pub(super) fn digits(value: f64) -> String {
    if !value.is_finite() {
        return "–".to_owned();
    }
    let magnitude = value.abs();
    if magnitude != 0.0 && !(1e-3..1e5).contains(&magnitude) {
        return format!("{value:.3e}");
    }
    let before = if magnitude >= 1.0 { magnitude.log10().floor() as usize + 1 } else { 1 };
    format!("{value:.*}", 4_usize.saturating_sub(before))
}

/// Draws a picture of so many pixels in height; a failure becomes a text in its place.
fn picture(title: &str, height: u32, draw: impl FnOnce(&Area<'_>) -> Drawn) -> String {
    let mut svg = String::new();
    let drawn = {
        let root = SVGBackend::with_string(&mut svg, (WIDTH, height)).into_drawing_area();
        (|| {
            root.fill(&WHITE)?;
            let lines = wrapped(title, 84);
            let style = (FONT, 16).into_font().style(FontStyle::Bold).color(&BLACK);
            for (number, line) in lines.iter().enumerate() {
                root.draw(&Text::new(line.as_str(), (12, 10 + 20 * number as i32), style.clone()))?;
            }
            let (_, below) = root.split_vertically(16 + 20 * lines.len() as u32);
            draw(&below)?;
            root.present()?;
            Ok::<(), Box<dyn std::error::Error>>(())
        })()
    };
    match drawn {
        Ok(()) => svg,
        Err(error) => format!("<p>This picture could not be drawn: {error}</p>"),
    }
}

/// Lines of at most so many characters.
fn wrapped(text: &str, most: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let last = lines.len() - 1;
        if !lines[last].is_empty() && lines[last].chars().count() + 1 + word.chars().count() > most {
            lines.push(word.to_owned());
        } else {
            if !lines[last].is_empty() {
                lines[last].push(' ');
            }
            lines[last].push_str(word);
        }
    }
    lines
}

/// A label for lines that are counted; none between them.
fn line_number(value: &f64) -> String {
    if (value - value.round()).abs() < 1e-6 { format!("{value:.0}") } else { String::new() }
}

/// The array as coloured cells, row 0 on top, with the scale beside it; `crossed` cells get a cross.
pub(super) fn heat_map(
    title: &str,
    cells: ArrayView2<'_, f64>,
    unit: &str,
    colours: Colours,
    crossed: impl Fn((usize, usize)) -> bool,
) -> String {
    let (rows, columns) = cells.dim();
    let side = (560.0 / columns.max(1) as f64).min(420.0 / rows.max(1) as f64).clamp(2.0, 34.0);
    let (width, height) = (side * columns as f64, side * rows as f64);
    let finite = || cells.iter().copied().filter(|v| v.is_finite());
    let (low, high) = match colours {
        Colours::Sequential => {
            let low = finite().fold(f64::INFINITY, f64::min);
            let high = finite().fold(f64::NEG_INFINITY, f64::max);
            // One value, or none: a scale all the same.
            if high > low { (low, high) } else { around(finite()) }
        }
        Colours::Diverging => {
            let most = finite().fold(0.0_f64, |most, v| most.max(v.abs()));
            let most = if most > 0.0 { most } else { 1.0 };
            (-most, most)
        }
    };
    let paint = |value: f64| {
        if !value.is_finite() {
            return MISSING;
        }
        let share = (value - low) / (high - low);
        match colours {
            Colours::Sequential => blend(&VIRIDIS, share),
            Colours::Diverging => blend(&BLUE_RED, share),
        }
    };
    picture(title, height as u32 + 110, |area| {
        let (left, right) = area.split_horizontally(width as u32 + 70);
        let lines = |n: usize| -0.5..n as f64 - 0.5;
        let down = rows as f64 - 0.5..-0.5;
        let mut chart = ChartBuilder::on(&left)
            .margin(5)
            .margin_right(10)
            .x_label_area_size(45)
            .y_label_area_size(50)
            .build_cartesian_2d(lines(columns), down)?;
        chart
            .configure_mesh()
            .disable_mesh()
            .x_desc("column")
            .y_desc("row")
            .x_labels(columns.min(16) + 1)
            .y_labels(rows.min(16) + 1)
            .x_label_formatter(&line_number)
            .y_label_formatter(&line_number)
            .label_style((FONT, 12))
            .axis_desc_style((FONT, 13))
            .draw()?;
        let corner = |row: usize, column: usize| (column as f64 - 0.5, row as f64 - 0.5);
        chart.draw_series(cells.indexed_iter().map(|((row, column), &value)| {
            Rectangle::new([corner(row, column), corner(row + 1, column + 1)], paint(value).filled())
        }))?;
        for ((row, column), _) in cells.indexed_iter().filter(|(index, _)| crossed(*index)) {
            let (from, to) = (corner(row, column), corner(row + 1, column + 1));
            chart.draw_series([
                PathElement::new(vec![from, to], BLACK),
                PathElement::new(vec![(from.0, to.1), (to.0, from.1)], BLACK),
            ])?;
        }
        // The scale, as a column of its own.
        let bar = right.margin(0, 0, 10, 0);
        let (bar, _) = bar.split_horizontally(100);
        let mut scale = ChartBuilder::on(&bar)
            .margin_top(5)
            .x_label_area_size(45)
            .y_label_area_size(70)
            .build_cartesian_2d(0.0..1.0, low..high)?;
        scale
            .configure_mesh()
            .disable_mesh()
            .disable_x_axis()
            .y_desc(unit)
            .y_labels(6)
            .y_label_formatter(&tick)
            .label_style((FONT, 12))
            .axis_desc_style((FONT, 13))
            .draw()?;
        let step = (high - low) / 100.0;
        scale.draw_series((0..100).map(|n| {
            let from = low + step * f64::from(n);
            Rectangle::new([(0.0, from), (1.0, from + step)], paint(from + 0.5 * step).filled())
        }))?;
        Ok(())
    })
}

/// How often values fall into each of equal bins; `bounds` are drawn as lines.
pub(super) fn histogram(title: &str, axes: Axes<'_>, values: &[f64], bounds: &[f64]) -> String {
    let values: Vec<f64> = values.iter().copied().filter(|v| v.is_finite()).collect();
    let (low, high) = around(values.iter().chain(bounds).copied());
    // As many bins as the square root of the values, within reason.
    let bins = ((values.len() as f64).sqrt().ceil() as usize).clamp(8, 60);
    let width = (high - low) / bins as f64;
    let mut counts = vec![0_u32; bins];
    for value in &values {
        let bin = (((value - low) / width) as usize).min(bins - 1);
        counts[bin] += 1;
    }
    let most = f64::from(counts.iter().copied().max().unwrap_or(1).max(1)) * 1.08;
    picture(title, 330, |area| {
        let mut chart = chart(area, axes, (low, high), (0.0, most))?;
        chart.draw_series(counts.iter().enumerate().map(|(bin, &count)| {
            let from = low + width * bin as f64;
            let inset = 0.06 * width;
            Rectangle::new([(from + inset, 0.0), (from + width - inset, f64::from(count))], DATA.filled())
        }))?;
        for &bound in bounds {
            chart
                .draw_series([PathElement::new(vec![(bound, 0.0), (bound, most)], BOUND.stroke_width(2))])?;
        }
        Ok(())
    })
}

/// Points; with `diagonal` also the line on which both are the same.
pub(super) fn scatter(title: &str, axes: Axes<'_>, points: &[(f64, f64)], diagonal: bool) -> String {
    let points = thinned(points);
    let x = around(points.iter().map(|p| p.0));
    let y = around(points.iter().map(|p| p.1));
    picture(title, 400, |area| {
        let mut chart = chart(area, axes, x, y)?;
        if diagonal {
            let (from, to) = (x.0.max(y.0), x.1.min(y.1));
            chart.draw_series([PathElement::new(vec![(from, from), (to, to)], BOUND)])?;
        }
        chart.draw_series(points.iter().map(|&point| Circle::new(point, 2, DATA.mix(0.45).filled())))?;
        Ok(())
    })
}

/// A line through points, in the order given; `bounds` are drawn as horizontal lines.
pub(super) fn line(title: &str, axes: Axes<'_>, points: &[(f64, f64)], bounds: &[f64]) -> String {
    let points = thinned(points);
    let x = around(points.iter().map(|p| p.0));
    let y = around(points.iter().map(|p| p.1).chain(bounds.iter().copied()));
    picture(title, 330, |area| {
        let mut chart = chart(area, axes, x, y)?;
        for &bound in bounds {
            chart.draw_series([PathElement::new(vec![(x.0, bound), (x.1, bound)], BOUND)])?;
        }
        chart.draw_series(LineSeries::new(points.iter().copied(), DATA.stroke_width(2)))?;
        Ok(())
    })
}

/// At most so many points, evenly taken: a page stays a page.
const POINTS: usize = 4000;

fn thinned(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let every = points.len().div_ceil(POINTS).max(1);
    points.iter().copied().filter(|(x, y)| x.is_finite() && y.is_finite()).step_by(every).collect()
}

/// Viridis at equal steps (van der Walt and Smith, matplotlib 1.5, CC0).
const VIRIDIS: [(u8, u8, u8); 5] =
    [(68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37)];

/// RdBu of ColorBrewer 2.0 (Brewer, Harrower), blue first.
const BLUE_RED: [(u8, u8, u8); 5] =
    [(5, 48, 97), (67, 147, 195), (247, 247, 247), (214, 96, 77), (103, 0, 31)];

fn blend(stops: &[(u8, u8, u8); 5], share: f64) -> RGBColor {
    let at = share.clamp(0.0, 1.0) * 4.0;
    let (from, to) = (stops[at.floor() as usize], stops[at.ceil() as usize]);
    let mix = |a: u8, b: u8| (f64::from(a) + (f64::from(b) - f64::from(a)) * at.fract()).round() as u8;
    RGBColor(mix(from.0, to.0), mix(from.1, to.1), mix(from.2, to.2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_suits_its_largest_value() {
        assert_eq!(Unit::of([4.7e-5, -1e-6], "S").show(4.7e-5), "47.00 µS");
        assert_eq!(Unit::of([0.0], "A").name, "A");
        assert_eq!(Unit::of([f64::NAN, 2e3], "Ω").show(1500.0), "1.500 kΩ");
    }

    #[test]
    fn a_colour_scale_runs_from_its_first_to_its_last_stop() {
        assert_eq!(blend(&VIRIDIS, 0.0), RGBColor(68, 1, 84));
        assert_eq!(blend(&VIRIDIS, 1.0), RGBColor(253, 231, 37));
        assert_eq!(blend(&BLUE_RED, 0.5), RGBColor(247, 247, 247));
    }

    #[test]
    fn pictures_of_nothing_and_of_one_value_are_pictures() {
        let axes = Axes { x: "x", y: "y" };
        for svg in [
            histogram("t", axes, &[], &[]),
            histogram("t", axes, &[1.0, 1.0, f64::NAN], &[0.5]),
            scatter("t", axes, &[], true),
            line("t", axes, &[(0.0, 0.0)], &[]),
            heat_map("t", ndarray::array![[f64::NAN]].view(), "S", Colours::Sequential, |_| true),
            heat_map("t", ndarray::array![[0.0, 0.0]].view(), "S", Colours::Diverging, |_| false),
        ] {
            assert!(svg.contains("<svg") && svg.contains("</svg>"), "{svg}");
        }
    }
}
