//! OR-16's amplifiers, switches and clamps in ngspice: runs the decks of `docs/hardware`, and makes tables and plots of
//! what comes out. `settling.csv` and `overload.csv` are what emulator and firmware hold their
//! constants against.

mod plots;
mod waves;

use std::{fmt::Write, fs, path::Path};

use crate::{
    Result,
    command::{command, output},
    debian,
    page::with_table,
};
use waves::Waves;

/// The simulator, and its package.
pub(crate) const NGSPICE: &str = "ngspice";

const FOLDER: &str = "docs/hardware";
const PAGE: &str = "docs/hardware.md";

/// What is left of a step when a read is over: 2⁻¹⁴ (`firmware/src/or16/settling.rs`).
const READ: f64 = 1.0 / 16384.0;
/// When the decks' step, overload and TGP0 begin, and how long the overload lasts, s.
const STEP_S: f64 = 1e-6;
const OVERLOAD_S: f64 = 20e-6;
/// Wires and array on a line, pF. With the board's own capacitance, 55 pF are the 250 pF of the design.
const LINES_PF: [u32; 7] = [10, 30, 55, 100, 200, 470, 1000];
/// Of them, the design's.
const DESIGN_PF: u32 = 55;

/// Open-loop output resistance of some amplifiers that would otherwise do, Ω.
const HIGH_OHMS: u32 = 375;

/// A feedback setting: its name, which branches are in, and the conductance of the stepping cell and of the others, S.
struct Range {
    name: &'static str,
    branches: [&'static str; 2],
    cell_s: f64,
    /// Column current beyond what the range takes, and within what the amplifier delivers, A.
    overload_a: f64,
}

const RANGES: [Range; 3] = [
    Range { name: "100 kΩ", branches: ["0", "0"], cell_s: 5e-6, overload_a: 0.5e-3 },
    Range { name: "9.1 kΩ", branches: ["1", "0"], cell_s: 55e-6, overload_a: 5e-3 },
    Range { name: "990 Ω", branches: ["0", "1"], cell_s: 500e-6, overload_a: 10e-3 },
];

/// What one setting does with one line.
struct Settled {
    range: usize,
    line_pf: u32,
    margin_deg: f64,
    /// The same if the amplifier's output resistance were [`HIGH_OHMS`].
    high_ohms_margin_deg: f64,
    /// The amplifier after a sudden step, to 0.1 and 0.01 %, s.
    amplifier_s: [f64; 2],
    /// DAC, amplifier and ADC filter, as the emulator takes the DAC (0.8 µs, 5 V/µs), to 0.1 %, 0.01 % and 2⁻¹⁴, s.
    path_s: [f64; 3],
    /// The same with the DAC as slow as the firmware takes it (1 µs, 2 V/µs), to 2⁻¹⁴, s.
    slow_path_s: f64,
}

/// What an overload does.
struct Overload {
    range: usize,
    clamped_v: f64,
    ground_v: f64,
    /// From the overload's end to 0.1 % and 0.01 % of 5 V, s.
    back_s: [f64; 2],
    waves: Waves,
}

/// A pulse as the cell sees it.
struct Edge {
    line_pf: u32,
    forming: bool,
    amplitude_v: f64,
    width_s: f64,
    /// At half of what the driver is told.
    seen_s: Option<f64>,
    peak_v: f64,
    waves: Waves,
}

/// Runs everything, and rewrites tables and plots.
pub(crate) fn simulate(root: &Path) -> Result<()> {
    ensure()?;
    let bench = Bench { root };
    let mut settled = Vec::new();
    let mut steps = Vec::new();
    for (range, setting) in RANGES.iter().enumerate() {
        for line_pf in LINES_PF {
            let (row, waves) = bench.settle(range, setting, line_pf)?;
            settled.push(row);
            steps.push((range, line_pf, waves));
        }
    }
    let overloads = RANGES
        .iter()
        .enumerate()
        .map(|(range, setting)| bench.overload(range, setting))
        .collect::<Result<Vec<_>>>()?;
    let clamp = bench.run("clamp", &[])?;
    let mut edges = Vec::new();
    for (amplitude_v, forming) in [(5.0, false), (-5.0, false), (5.0, true)] {
        for width_us in [5.0, 20.0, 40.0] {
            for line_pf in [DESIGN_PF, 1000] {
                edges.push(bench.edge(amplitude_v, forming, width_us * 1e-6, line_pf)?);
            }
        }
    }
    let folder = root.join(FOLDER);
    fs::write(folder.join("settling.csv"), csv(&settled))?;
    fs::write(folder.join("overload.csv"), overload_csv(&overloads))?;
    fs::write(folder.join("margin.svg"), plots::margins(&settled)?)?;
    fs::write(folder.join("settling.svg"), plots::steps(&steps)?)?;
    fs::write(folder.join("waits.svg"), plots::waits(&settled)?)?;
    fs::write(folder.join("overload.svg"), plots::overloads(&overloads)?)?;
    fs::write(folder.join("edge.svg"), plots::edges(&edges)?)?;
    let page = fs::read_to_string(root.join(PAGE))?;
    let page = with_table(&page, "settling", &settling_table(&settled))?;
    let page = with_table(&page, "overload", &overload_table(&overloads, &clamp)?)?;
    let page = with_table(&page, "edges", &edge_table(&edges))?;
    fs::write(root.join(PAGE), page)?;
    Ok(())
}

/// Makes ngspice available.
pub(crate) fn ensure() -> Result<()> {
    if output(command(NGSPICE).arg("--version")).is_ok() {
        return Ok(());
    }
    if !debian::can_install() {
        return Err(format!("not installed; on Debian as root: apt-get install {NGSPICE}").into());
    }
    debian::install(&[NGSPICE])
}

/// Where decks are run.
struct Bench<'a> {
    root: &'a Path,
}

impl Bench<'_> {
    /// What the deck `name` writes with these parameters in place of its own.
    fn run(&self, name: &str, parameters: &[(&str, String)]) -> Result<Waves> {
        let folder = self.root.join("target/spice");
        fs::create_dir_all(&folder)?;
        let data = folder.join(format!("{name}.data"));
        let deck = fs::read_to_string(self.root.join(FOLDER).join(format!("{name}.cir")))?;
        fs::write(folder.join("deck.cir"), with(&deck, parameters)?)?;
        fs::copy(self.root.join(FOLDER).join("or16.lib"), folder.join("or16.lib"))?;
        if data.exists() {
            fs::remove_file(&data)?;
        }
        output(command(NGSPICE).current_dir(&folder).args(["-b", "deck.cir"]))?;
        let text =
            fs::read_to_string(&data).map_err(|error| format!("{name}.cir with {parameters:?}: {error}"))?;
        Waves::parse(&text)
    }

    fn settle(&self, range: usize, setting: &Range, line_pf: u32) -> Result<(Settled, Waves)> {
        let [k10, k1] = setting.branches.map(str::to_owned);
        let line = || ("cline", format!("{line_pf}p"));
        let branches = || [("k10", k10.clone()), ("k1", k1.clone()), line()];
        let load = || ("load", format!("{:e}", setting.cell_s));
        let mut still = branches().to_vec();
        still.push(load());
        let margin_deg = self.run("loop", &still)?.phase_margin_deg()?;
        let mut high = still.clone();
        high.push(("ro", HIGH_OHMS.to_string()));
        let high_ohms_margin_deg = self.run("loop", &high)?.phase_margin_deg()?;
        let mut step = still;
        step.push(("cell", format!("{:e}", setting.cell_s)));
        let waves = self.run("settling", &step)?;
        let mut slow = step;
        slow.extend([("tau", "1u".to_owned()), ("slope", "2meg".to_owned())]);
        let slow = self.run("settling", &slow)?;
        let over = |waves: &Waves, trace, left| waves.settled_s(trace, STEP_S, left);
        let settled = Settled {
            range,
            line_pf,
            margin_deg,
            high_ohms_margin_deg,
            amplifier_s: [over(&waves, 0, 1e-3)?, over(&waves, 0, 1e-4)?],
            path_s: [over(&waves, 2, 1e-3)?, over(&waves, 2, 1e-4)?, over(&waves, 2, READ)?],
            slow_path_s: over(&slow, 2, READ)?,
        };
        Ok((settled, waves))
    }

    fn overload(&self, range: usize, setting: &Range) -> Result<Overload> {
        let [k10, k1] = setting.branches.map(str::to_owned);
        let high = ("high", format!("{:e}", setting.overload_a));
        let waves = self.run("overload", &[("k10", k10), ("k1", k1), high])?;
        let ends_s = STEP_S + OVERLOAD_S;
        let [output, ground] = [0, 1].map(|trace| waves.at(trace, ends_s - 0.1e-6));
        let back = |volts: f64| waves.within_s(0, ends_s, volts);
        let back_s = [back(5e-3)?, back(0.5e-3)?];
        Ok(Overload { range, clamped_v: output.abs(), ground_v: ground.abs(), back_s, waves })
    }

    fn edge(&self, amplitude_v: f64, forming: bool, width_s: f64, line_pf: u32) -> Result<Edge> {
        let waves = self.run(
            "edge",
            &[
                ("amplitude", amplitude_v.to_string()),
                ("forming", if forming { "10k" } else { "0" }.to_owned()),
                // A cell that is yet to be formed, or one that was.
                ("cell", if forming { "1u" } else { "100u" }.to_owned()),
                ("width", format!("{width_s:e}")),
                ("cline", format!("{line_pf}p")),
            ],
        )?;
        let (seen_s, peak_v) = (waves.width_s(1, 0.5), waves.peak(1));
        Ok(Edge { line_pf, forming, amplitude_v, width_s, seen_s, peak_v, waves })
    }
}

/// `deck` with parameters set anew; each must be one of its own.
fn with(deck: &str, parameters: &[(&str, String)]) -> Result<String> {
    let mut lines: Vec<String> = deck.lines().map(str::to_owned).collect();
    let own = lines.iter_mut().find(|line| line.starts_with(".param "));
    let own = own.ok_or("a deck without .param")?;
    for (name, value) in parameters {
        let mut found = false;
        let words = own.split(' ').map(|word| match word.split_once('=') {
            Some((key, _)) if key == *name => {
                found = true;
                format!("{name}={value}")
            }
            _ => word.to_owned(),
        });
        let line = words.collect::<Vec<_>>().join(" ");
        if !found {
            return Err(format!("no parameter {name} in: {own}").into());
        }
        *own = line;
    }
    Ok(lines.join("\n") + "\n")
}

fn us(seconds: f64) -> String {
    format!("{:.2}", seconds * 1e6)
}

fn csv(settled: &[Settled]) -> String {
    let mut text =
        "range,line_pf,phase_margin_deg,amplifier_1e-3_us,amplifier_1e-4_us,path_1e-3_us,path_1e-4_us,\
                    path_2^-14_us,slow_path_2^-14_us\n"
            .to_owned();
    for row in settled {
        let Settled { range, line_pf, margin_deg, amplifier_s, path_s, slow_path_s, .. } = row;
        let times = amplifier_s.iter().chain(path_s).chain([slow_path_s]).map(|s| us(*s));
        let times = times.collect::<Vec<_>>().join(",");
        writeln!(text, "{range},{line_pf},{margin_deg:.1},{times}").unwrap_or_default();
    }
    text
}

fn overload_csv(overloads: &[Overload]) -> String {
    let mut text = "range,current_ma,clamped_v,back_1e-3_us,back_1e-4_us\n".to_owned();
    for Overload { range, clamped_v, back_s: [a, b], .. } in overloads {
        let milliamperes = RANGES[*range].overload_a * 1e3;
        writeln!(text, "{range},{milliamperes},{clamped_v:.2},{},{}", us(*a), us(*b)).unwrap_or_default();
    }
    text
}

fn settling_table(settled: &[Settled]) -> String {
    let mut table = format!(
        "| feedback | line | phase margin | with {HIGH_OHMS} Ω | amplifier to 0.1 %, 0.01 % | path to 0.1 %, 0.01 %, 2⁻¹⁴ | slow path to 2⁻¹⁴ |\n\
         | --- | --- | --- | --- | --- | --- | --- |\n"
    );
    for row in settled {
        let Settled { range, line_pf, margin_deg, high_ohms_margin_deg, amplifier_s, path_s, slow_path_s } =
            row;
        let ([a, b], [c, d, e]) = (amplifier_s, path_s);
        writeln!(
            table,
            "| {} | {line_pf} pF | {margin_deg:.0}° | {high_ohms_margin_deg:.0}° | {}, {} µs | {}, {}, {} µs | {} µs |",
            RANGES[*range].name,
            us(*a),
            us(*b),
            us(*c),
            us(*d),
            us(*e),
            us(*slow_path_s)
        )
        .unwrap_or_default();
    }
    table
}

fn overload_table(overloads: &[Overload], clamp: &Waves) -> Result<String> {
    let mut table =
        "| feedback | column current | output | virtual ground off by | back within 0.1 %, 0.01 % of 5 V after |\n\
                     | --- | --- | --- | --- | --- |\n"
            .to_owned();
    for Overload { range, clamped_v, ground_v, back_s: [a, b], .. } in overloads {
        writeln!(
            table,
            "| {} | {} mA | {clamped_v:.2} V | {:.1} mV | {}, {} µs |",
            RANGES[*range].name,
            RANGES[*range].overload_a * 1e3,
            ground_v * 1e3,
            us(*a),
            us(*b)
        )
        .unwrap_or_default();
    }
    // The current rises by 1 µA in 100 µs, so that the output lags; what it lags far from the clamp is taken off.
    let error_v = |volts: f64| {
        let at_s = volts / 100e3 / 1e-6 * 100e-6;
        clamp.at(0, at_s) + volts
    };
    let lag_v = error_v(2.0);
    table.push_str("\nWith 100 kΩ, where it matters most, the clamp takes from the output ");
    for (volts, before) in [(4.5, ""), (5.0, ", "), (5.2, " and ")] {
        let millivolts = 1e3 * (error_v(volts) - lag_v);
        write!(table, "{before}{millivolts:.2} mV at {volts} V").unwrap_or_default();
    }
    table.push_str(" (an LSB of the converter is 0.19 mV).\n");
    Ok(table)
}

fn edge_table(edges: &[Edge]) -> String {
    let mut table = "| amplitude | forming resistor | line | asked | width at the cell, 50 % | off by | peak at the cell |\n\
                     | --- | --- | --- | --- | --- | --- | --- |\n"
        .to_owned();
    for Edge { line_pf, forming, amplitude_v, width_s, seen_s, peak_v, .. } in edges {
        let seen = seen_s.map_or("not reached".to_owned(), |s| format!("{} µs", us(s)));
        let off = seen_s.map_or("–".to_owned(), |s| format!("{:.0} ns", (s - width_s) * 1e9));
        let forming = if *forming { "in" } else { "bypassed" };
        writeln!(
            table,
            "| {amplitude_v} V | {forming} | {line_pf} pF | {} µs | {seen} | {off} | {peak_v:.2} V |",
            us(*width_s)
        )
        .unwrap_or_default();
    }
    table
}

#[cfg(test)]
mod tests {
    use super::with;

    #[test]
    fn a_parameter_takes_the_place_of_the_deck_s_own_and_no_other() {
        let deck = "title\n.param cline=65p k1=0\nC 1 0 {cline}\n";
        let set = |name, value: &str| with(deck, &[(name, value.to_owned())]);
        assert_eq!(set("k1", "1").unwrap(), "title\n.param cline=65p k1=1\nC 1 0 {cline}\n");
        assert!(set("k10", "1").unwrap_err().to_string().contains("no parameter k10"));
    }

    #[test]
    fn every_deck_takes_the_parameters_that_are_set() {
        for (deck, names) in [
            (include_str!("../../../docs/hardware/loop.cir"), ["cline", "k10", "k1", "load"].as_slice()),
            (
                include_str!("../../../docs/hardware/settling.cir"),
                &["cline", "k10", "k1", "cell", "load", "tau", "slope"],
            ),
            (include_str!("../../../docs/hardware/overload.cir"), &["k10", "k1", "high"]),
            (
                include_str!("../../../docs/hardware/edge.cir"),
                &["amplitude", "forming", "cell", "width", "cline"],
            ),
        ] {
            for name in names {
                assert!(with(deck, &[(*name, "1".to_owned())]).is_ok(), "{name}");
            }
        }
    }
}
