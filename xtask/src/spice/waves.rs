//! What ngspice writes, and what is read off it: settling, widths, phase margin.

use crate::Result;

/// Columns of numbers over a common first one (time, s, or frequency, Hz).
#[derive(Debug)]
pub(super) struct Waves {
    x: Vec<f64>,
    traces: Vec<Vec<f64>>,
}

impl Waves {
    /// From `wrdata` with one scale.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let mut waves = Self { x: Vec::new(), traces: Vec::new() };
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            let row =
                line.split_whitespace().map(str::parse).collect::<std::result::Result<Vec<f64>, _>>()?;
            let (x, values) = row.split_first().ok_or("an empty line")?;
            waves.x.push(*x);
            waves.traces.resize_with(values.len(), Vec::new);
            for (trace, value) in waves.traces.iter_mut().zip(values) {
                trace.push(*value);
            }
        }
        if waves.x.len() < 2 || waves.traces.iter().any(|trace| trace.len() != waves.x.len()) {
            return Err("ngspice wrote no table".into());
        }
        Ok(waves)
    }

    /// The points of one trace.
    pub(super) fn points(&self, trace: usize) -> impl Iterator<Item = (f64, f64)> {
        self.x.iter().copied().zip(self.traces.get(trace).into_iter().flatten().copied())
    }

    /// A trace's value at the first point from `x` on.
    pub(super) fn at(&self, trace: usize, x: f64) -> f64 {
        self.points(trace)
            .find(|point| point.0 >= x)
            .or(self.points(trace).last())
            .map_or(0.0, |point| point.1)
    }

    /// A trace's value that is farthest from 0.
    pub(super) fn peak(&self, trace: usize) -> f64 {
        self.points(trace)
            .map(|point| point.1)
            .fold(0.0, |peak, v| if v.abs() > peak.abs() { v } else { peak })
    }

    /// Time from `from_s` until a trace stays within `left` of its last value, as a fraction of it.
    pub(super) fn settled_s(&self, trace: usize, from_s: f64, left: f64) -> Result<f64> {
        let last = self.points(trace).last().map_or(0.0, |point| point.1);
        self.last_beyond(trace, last, left * last.abs()).map(|at_s| at_s - from_s)
    }

    /// Time from `from_s` until a trace stays within `volts` of 0.
    pub(super) fn within_s(&self, trace: usize, from_s: f64, volts: f64) -> Result<f64> {
        self.last_beyond(trace, 0.0, volts).map(|at_s| at_s - from_s)
    }

    /// The last point that is farther than `by` from `around`; there must be as much quiet after it as before.
    fn last_beyond(&self, trace: usize, around: f64, by: f64) -> Result<f64> {
        let points = self.points(trace).filter(|point| (point.1 - around).abs() > by);
        let last = points.last().map_or(0.0, |point| point.0);
        let end = self.x.last().copied().unwrap_or_default();
        if last > 0.8 * end { Err(format!("still moving at {last} s").into()) } else { Ok(last) }
    }

    /// How long a trace is beyond `fraction` of the first trace's peak, between crossings in a straight line; nothing if
    /// it never is.
    pub(super) fn width_s(&self, trace: usize, fraction: f64) -> Option<f64> {
        let level = fraction * self.peak(0);
        let points: Vec<(f64, f64)> = self.points(trace).map(|(x, v)| (x, v / level - 1.0)).collect();
        let crossing = |rising: bool| {
            points.windows(2).find_map(|pair| {
                let [(x0, v0), (x1, v1)] = [pair[0], pair[1]];
                let crosses = if rising { v0 < 0.0 && v1 >= 0.0 } else { v0 >= 0.0 && v1 < 0.0 };
                crosses.then(|| x0 + (x1 - x0) * v0 / (v0 - v1))
            })
        };
        Some(crossing(false)? - crossing(true)?)
    }

    /// Of a loop gain in dB and radians, whose phase is 0 where the feedback is negative: what is left to ±180° where
    /// the gain crosses 1.
    pub(super) fn phase_margin_deg(&self) -> Result<f64> {
        let gains: Vec<(f64, f64)> = self.points(0).collect();
        let crossing = gains.windows(2).position(|pair| pair[0].1 >= 0.0 && pair[1].1 < 0.0);
        let at = crossing.ok_or("the loop gain doesn't cross 1")?;
        let [phase, next] = [at, at + 1].map(|k| self.traces.get(1).and_then(|t| t.get(k)).copied());
        let (phase, next) = (phase.unwrap_or_default(), next.unwrap_or_default());
        let share = gains[at].1 / (gains[at].1 - gains[at + 1].1);
        Ok((phase + (next - phase) * share).to_degrees())
    }
}

#[cfg(test)]
mod tests {
    use super::Waves;

    fn waves(rows: impl Iterator<Item = (f64, f64, f64)>) -> Waves {
        let lines: Vec<String> = rows.map(|(x, a, b)| format!(" {x:e} {a:e} {b:e} ")).collect();
        Waves::parse(&lines.join("\n")).unwrap()
    }

    #[test]
    fn an_exponential_settles_after_the_logarithm_of_what_may_be_left() {
        let wave = waves((0..5000).map(|k| {
            let t = f64::from(k) * 0.01;
            (t, 2.0 * (1.0 - (-t).exp()), 0.0)
        }));
        assert!((wave.settled_s(0, 0.0, 1e-3).unwrap() - 1000f64.ln()).abs() < 0.011);
        let short = waves((0..500).map(|k| (f64::from(k), f64::from(k), 0.0)));
        assert!(short.settled_s(0, 0.0, 1e-3).is_err());
    }

    #[test]
    fn a_width_is_between_the_halfway_points_whatever_the_sign() {
        for sign in [1.0, -1.0] {
            let trapezoid = |t: f64| sign * t.min(10.0 - t).clamp(0.0, 2.0);
            let wave = waves((0..=20).map(|k| {
                let t = f64::from(k) * 0.5;
                (t, trapezoid(t), trapezoid(t))
            }));
            assert!((wave.width_s(1, 0.5).unwrap() - 8.0).abs() < 1e-9);
        }
    }

    #[test]
    fn an_integrator_has_90_degrees_left() {
        let wave = waves((1..100).map(|k| {
            let f = f64::from(k);
            (f, 20.0 * (50.5 / f).log10(), std::f64::consts::FRAC_PI_2)
        }));
        assert!((wave.phase_margin_deg().unwrap() - 90.0).abs() < 1e-9);
    }
}
