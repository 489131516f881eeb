//! `ohmrig demo`: handwritten digits on the crossbar, from weights to accuracy, through everything there is.

use super::mvm::set_errors;
use super::open::{Opened, open};
use super::output::{percent, si};
use super::program::{CHECK_CONVERSIONS, rms};
use super::settings::{RecipeArgs, recipe_settings};
use super::work::Work;
use super::{Failure, Global, Output};
use crate::digits::Digits;
use crate::error_metrics::{MvmErrors, errors, noise_rms};
use crate::instrument::{ProductSettings, ProgramOrder, ReadSettings};
use crate::mapping::{Pairs, Tile};
use crate::recipe::Recipe;
use crate::run_file::MeasurementOrder;
use clap::Args;
use indicatif::ProgressBar;
use ndarray::{Array1, Array2, Axis, s};
use ohmrig_protocol::message::Region;
use serde_json::{Value, json};
use std::time::Instant;

#[derive(Debug, Args)]
pub(super) struct Demo {
    /// Classify only the first N of the 449 test images
    #[arg(long, value_name = "N")]
    images: Option<usize>,
    /// Use only the first N tiles of the weight matrix (the accuracy then means little)
    #[arg(long, value_name = "N")]
    tiles: Option<usize>,
    /// Conversions averaged per MVM
    #[arg(long, default_value_t = 1, value_name = "N")]
    conversions: u16,
    #[command(flatten)]
    recipe: RecipeArgs,
}

/// Conversions of the zero vector that tells the board's offsets.
const ZERO_CONVERSIONS: u16 = 64;

/// Vectors taken twice, to tell noise from nonlinearity.
const REPEATED: usize = 16;

/// What is summed up over tiles.
#[derive(Default)]
struct Tally {
    cells: usize,
    inside: usize,
    pulses: u64,
    squared_error: f64,
    vectors: u64,
    wall_s: f64,
    bytes: u64,
    saturated: u64,
    /// Per output and image: measured and exact signed products, A.
    measured: Vec<Array2<f64>>,
    exact: Vec<Array2<f64>>,
    errors: Vec<MvmErrors>,
}

impl Demo {
    pub(super) fn run(&self, global: &Global, output: &mut Output) -> Result<(), Failure> {
        let mut digits = Digits::embedded().map_err(Failure::failed)?;
        let all = digits.images.nrows();
        let count = self.images.unwrap_or(all);
        if !(1..=all).contains(&count) {
            return Err(Failure::usage(format!("--images {count}: there are 1 to {all}")));
        }
        if self.tiles == Some(0) {
            return Err(Failure::usage("--tiles 0: it must be 1 at least"));
        }
        digits.images = digits.images.slice(s![..count, ..]).to_owned();
        digits.classes = digits.classes.slice(s![..count]).to_owned();
        let start = Instant::now();
        let mut opened = open(global, output)?;
        let recipe = self.recipe.apply(opened.recipe(self.recipe.recipe.as_deref())?)?;
        let pairs = Pairs::fit(digits.weights.view(), recipe.g_min, recipe.g_max)?;
        let targets = pairs.conductances(digits.weights.view());
        let device = opened.instrument.device();
        let array = (usize::from(device.rows), usize::from(device.columns));
        let mut tiles = Tile::cut(targets.dim(), array)?;
        let cut = tiles.len();
        tiles.truncate(self.tiles.unwrap_or(cut));
        output.say(format_args!(
            "task     {count} images of digits, {} × {} weights as pairs of conductances from {} to {}, in {} of {cut} tiles",
            digits.weights.ncols(),
            digits.weights.nrows(),
            si(recipe.g_min, "S"),
            si(recipe.g_max, "S"),
            tiles.len(),
        ));
        let asked = json!({
            "images": count, "tiles": tiles.len(), "conversions": self.conversions, "recipe": recipe_settings(&recipe),
        });
        // A tile is programmed and multiplied with, whatever the array was before.
        let order = MeasurementOrder { kind: "demo", settings: &asked, inputs: &[], changes_array: false };
        let Some(mut work) = opened.begin(global, &order, output)? else { return Ok(()) };
        let mut scores = Array2::<f64>::zeros((count, digits.weights.nrows()));
        let mut tally = Tally::default();
        for (number, tile) in tiles.iter().enumerate() {
            let name = format!("tile {}", number + 1);
            let whole = s![tile.row..tile.row + tile.rows, tile.column..tile.column + tile.columns];
            let targets = targets.slice(whole).to_owned();
            let (value, signed) = match work.done_piece(&name)? {
                Some(value) => (value, work.array(&name, "product_a")?),
                None => {
                    let label = format!("tile {} of {}", number + 1, tiles.len());
                    self.tile(
                        &mut opened,
                        &mut work,
                        (&name, &label),
                        tile,
                        &targets,
                        &digits,
                        &recipe,
                        output,
                    )?
                }
            };
            tally.add(tile, &targets, &digits, &recipe, &value, signed.clone());
            let outputs = s![.., tile.column / 2..(tile.column + tile.columns) / 2];
            let mut part = scores.slice_mut(outputs);
            part += &(&signed / (pairs.scale * recipe.read_volts));
        }
        opened.instrument.safe()?;
        let wall_s = start.elapsed().as_secs_f64();
        let float = digits.images.dot(&digits.weights.t());
        let report = Report::new(&tally, &opened, self.conversions);
        let accuracy = digits.accuracy(&scores);
        let accuracy_float = digits.accuracy(&float);
        report.say(output, &recipe);
        output.say(format_args!(
            "accuracy {} on {count} images (float: {}){}",
            percent(accuracy),
            percent(accuracy_float),
            if tiles.len() < cut { ", with part of the weights only" } else { "" }
        ));
        output.say(format_args!("time     {wall_s:.1} s"));
        report.set(output);
        output.set("accuracy", accuracy);
        output.set("accuracy_float", accuracy_float);
        output.set("images", count);
        output.set("tiles", tiles.len());
        output.set("wall_s", wall_s);
        output.set("classes", digits.classify(&scores));
        output.set("scores", scores.rows().into_iter().map(|row| row.to_vec()).collect::<Vec<_>>());
        output.set("recipe", &recipe.name);
        output.say("next     try other devices with `ohmrig --port emulated:pcm demo`, or see what there is: `ohmrig list`");
        let value = json!({"accuracy": accuracy, "accuracy_float": accuracy_float, "wall_s": wall_s});
        work.done(&mut opened, output, &value, &[("scores", scores.view())])
    }

    /// Programs a tile, reads it again and multiplies with it: one piece of the run file.
    #[allow(clippy::too_many_arguments)]
    fn tile(
        &self,
        opened: &mut Opened,
        work: &mut Work,
        (name, label): (&str, &str),
        tile: &Tile,
        targets: &Array2<f64>,
        digits: &Digits,
        recipe: &Recipe,
        output: &mut Output,
    ) -> Result<(Value, Array2<f64>), Failure> {
        let bar = output
            .bar(tile.rows * tile.columns * usize::from(recipe.passes), &format!("programming {label}"));
        let order = ProgramOrder::new(recipe, (0, 0), targets.clone());
        let programmed = opened
            .program(work, name, &order, output, |progress| bar.set_position(u64::from(progress.cells)))?;
        bar.finish_and_clear();
        let region = Region { row: 0, column: 0, rows: tile.rows as u16, columns: tile.columns as u16 };
        let settings = ReadSettings { volts: recipe.read_volts, range: None, conversions: CHECK_CONVERSIONS };
        let map = opened.instrument.read_cells(region, &settings)?;
        let bar = output.bar(digits.images.nrows(), &format!("multiplying {label}"));
        let Multiplied { signed, noise, wall_s, bytes, saturated } =
            self.multiply(opened, tile, targets, digits, recipe, &bar)?;
        bar.finish_and_clear();
        let value = json!({
            "row": tile.row, "column": tile.column, "inside_window": programmed.inside(), "window_s": recipe.window,
            "pulses": programmed.pulses.iter().map(|&pulses| u64::from(pulses)).sum::<u64>(),
            "error_rms_s": rms(&(&map.conductance - targets)), "noise_rms_a": noise, "wall_s": wall_s,
            "bytes": bytes, "saturated": saturated,
        });
        let pulses = programmed.pulses.mapv(f64::from);
        let exact = exact(digits, tile, targets, recipe);
        let arrays = [
            ("target_s", targets.view()),
            ("conductance_s", map.conductance.view()),
            ("uncertainty_s", map.uncertainty.view()),
            ("pulses", pulses.view()),
            ("product_a", signed.view()),
            ("exact_a", exact.view()),
        ];
        work.keep(opened, name, &value, &arrays)?;
        Ok((value, signed))
    }

    /// All images through a tile: signed products, A, (images, outputs of the tile).
    fn multiply(
        &self,
        opened: &mut Opened,
        tile: &Tile,
        targets: &Array2<f64>,
        digits: &Digits,
        recipe: &Recipe,
        bar: &ProgressBar,
    ) -> Result<Multiplied, Failure> {
        let instrument = &mut opened.instrument;
        let volts = inputs(digits, tile, usize::from(instrument.device().rows), recipe);
        // Cells of a tile narrower than the array, or not used, draw current too: the range is for the largest of all.
        let largest = targets.sum_axis(Axis(0)).iter().copied().fold(0.0, f64::max);
        let other = recipe.g_max * 1.1 * tile.rows as f64;
        let unused = tile.columns < usize::from(instrument.device().columns);
        let bound = if unused { largest.max(other) } else { largest };
        let range = instrument.range_for(1.1 * bound * recipe.read_volts)?;
        // Offsets of drivers, amplifiers and converters, to be taken off.
        let zero = ProductSettings { range, conversions: ZERO_CONVERSIONS, interval_ns: 0 };
        let zero = instrument.mvm(Array2::zeros((1, volts.ncols())).view(), zero, |_| {})?.currents;
        let settings = ProductSettings { range, conversions: self.conversions, interval_ns: 0 };
        let before = instrument.client().traffic();
        let start = Instant::now();
        let products = instrument.mvm(volts.view(), settings, |done| bar.set_position(done as u64))?;
        let wall_s = start.elapsed().as_secs_f64();
        let after = instrument.client().traffic();
        let repeated = volts.slice(s![..REPEATED.min(volts.nrows()), ..]);
        let again = instrument.mvm(repeated, settings, |_| {})?;
        let signed = |currents: &Array2<f64>| {
            let zeroed = currents - &zero.row(0);
            Pairs::differences(zeroed.slice(s![.., ..tile.columns]))
        };
        let (signed, again) = (signed(&products.currents), signed(&again.currents));
        let noise = noise_rms(signed.slice(s![..again.nrows(), ..]), again.view());
        let bytes = after.sent + after.received - before.sent - before.received;
        Ok(Multiplied { signed, noise, wall_s, bytes, saturated: products.saturated })
    }
}

/// Products of a tile and what they took.
struct Multiplied {
    signed: Array2<f64>,
    noise: f64,
    wall_s: f64,
    bytes: u64,
    saturated: u64,
}

/// Row voltages of all images for a tile, on an array of so many rows.
fn inputs(digits: &Digits, tile: &Tile, rows: usize, recipe: &Recipe) -> Array2<f64> {
    let part = digits.images.slice(s![.., tile.row..tile.row + tile.rows]);
    let mut volts = Array2::zeros((part.nrows(), rows));
    volts.slice_mut(s![.., ..tile.rows]).assign(&(&part * recipe.read_volts));
    volts
}

/// What a tile's signed products should be, A.
fn exact(digits: &Digits, tile: &Tile, targets: &Array2<f64>, recipe: &Recipe) -> Array2<f64> {
    Pairs::differences(inputs(digits, tile, tile.rows, recipe).dot(targets).view())
}

impl Tally {
    /// Adds a tile, measured now or by an earlier process.
    fn add(
        &mut self,
        tile: &Tile,
        targets: &Array2<f64>,
        digits: &Digits,
        recipe: &Recipe,
        value: &Value,
        measured: Array2<f64>,
    ) {
        let whole = |name: &str| value[name].as_u64().unwrap_or(0);
        let float = |name: &str| value[name].as_f64().unwrap_or(f64::NAN);
        self.cells += targets.len();
        self.inside += whole("inside_window") as usize;
        self.pulses += whole("pulses");
        self.squared_error += float("error_rms_s").powi(2) * targets.len() as f64;
        self.vectors += digits.images.nrows() as u64;
        self.wall_s += float("wall_s");
        self.bytes += whole("bytes");
        self.saturated += whole("saturated");
        let inputs = inputs(digits, tile, tile.rows, recipe);
        let exact = exact(digits, tile, targets, recipe);
        let full_scale = tile.rows as f64 * recipe.g_max * recipe.read_volts;
        let noise = Some(float("noise_rms_a"));
        self.errors.push(errors(inputs.view(), measured.view(), exact.view(), full_scale, noise));
        self.measured.push(measured);
        self.exact.push(exact);
    }
}

/// What the demo found.
struct Report {
    cells: usize,
    inside: usize,
    pulses_mean: f64,
    error_rms: f64,
    errors: MvmErrors,
    /// Of the tiles' residuals and linear parts, root mean square over tiles weighted by size.
    per_second: f64,
    bytes: f64,
    bytes_minimum: usize,
    saturated: u64,
}

impl Report {
    fn new(tally: &Tally, opened: &Opened, conversions: u16) -> Self {
        let flatten = |parts: &[Array2<f64>]| parts.iter().flatten().copied().collect::<Array1<f64>>();
        let (measured, exact) = (flatten(&tally.measured), flatten(&tally.exact));
        let norm = |a: &Array1<f64>| a.dot(a).sqrt();
        let size = norm(&exact);
        // Tiles are fitted one by one; their parts add up as squares, each with its own ‖y0‖.
        let combine = |part: &dyn Fn(&MvmErrors) -> Option<f64>| -> Option<f64> {
            let mut sum = 0.0;
            for (errors, exact) in tally.errors.iter().zip(&tally.exact) {
                let weight = exact.iter().map(|y| y * y).sum::<f64>();
                let value = part(errors)?;
                // A tile that nothing should come out of has no relative error.
                sum += if weight > 0.0 { value * value * weight } else { 0.0 };
            }
            Some(sum.sqrt() / size)
        };
        let worst = |part: &dyn Fn(&MvmErrors) -> Option<f64>| -> Option<f64> {
            tally.errors.iter().map(part).try_fold(0.0_f64, |worst, value| Some(worst.max(value?)))
        };
        let parts = combine(&|e| e.parts.map(|p| p.linear_l2)).map(|linear_l2| crate::error_metrics::Parts {
            linear_l2,
            residual_l2: combine(&|e| e.parts.map(|p| p.residual_l2)).unwrap_or(f64::NAN),
            linear_full_scale_worst: worst(&|e| e.parts.map(|p| p.linear_full_scale_worst))
                .unwrap_or(f64::NAN),
            residual_full_scale_worst: worst(&|e| e.parts.map(|p| p.residual_full_scale_worst))
                .unwrap_or(f64::NAN),
            noise_l2: combine(&|e| e.parts.and_then(|p| p.noise_l2)),
            nonlinear_l2: combine(&|e| e.parts.and_then(|p| p.nonlinear_l2)),
        });
        let rms = tally.errors.iter().map(|e| e.full_scale_rms * e.full_scale_rms).sum::<f64>();
        let errors = MvmErrors {
            vectors: tally.vectors as usize,
            l2_relative: norm(&(&measured - &exact)) / size,
            full_scale_worst: worst(&|e| Some(e.full_scale_worst)).unwrap_or(f64::NAN),
            full_scale_rms: (rms / tally.errors.len().max(1) as f64).sqrt(),
            parts,
        };
        Self {
            cells: tally.cells,
            inside: tally.inside,
            pulses_mean: tally.pulses as f64 / tally.cells.max(1) as f64,
            error_rms: (tally.squared_error / tally.cells.max(1) as f64).sqrt(),
            errors,
            per_second: tally.vectors as f64 / tally.wall_s,
            bytes: tally.bytes as f64 / tally.vectors.max(1) as f64,
            bytes_minimum: opened.instrument.mvm_payload_bytes(conversions),
            saturated: tally.saturated,
        }
    }

    fn say(&self, output: &Output, recipe: &Recipe) {
        output.say(format_args!(
            "cells    {} programmed, {} inside their window of ±{} ({}), {:.1} pulses per cell",
            self.cells,
            self.inside,
            si(recipe.window, "S"),
            percent(self.inside as f64 / self.cells.max(1) as f64),
            self.pulses_mean
        ));
        output.say(format_args!(
            "error    {} rms between target and an independent read right after programming ({} of the range)",
            si(self.error_rms, "S"),
            percent(self.error_rms / (recipe.g_max - recipe.g_min))
        ));
        super::mvm::say_errors(output, &self.errors);
        if self.saturated > 0 {
            output.say(format_args!("WARNING  {} samples were saturated", self.saturated));
        }
        output.say(format_args!(
            "link     {:.0} MVM/s, {:.1} bytes per MVM both ways ({} are its inputs and outputs)",
            self.per_second, self.bytes, self.bytes_minimum
        ));
    }

    fn set(&self, output: &mut Output) {
        output.set("programming.cells", self.cells);
        output.set("programming.inside_window", self.inside);
        output.set("programming.pulses_per_cell_mean", self.pulses_mean);
        output.set("programming.error_rms_s", self.error_rms);
        set_errors(output, "mvm.", &self.errors);
        output.set("mvm.vectors", self.errors.vectors);
        output.set("mvm.per_second", self.per_second);
        output.set("mvm.saturated", self.saturated);
        output.set("link.bytes_per_mvm", self.bytes);
        output.set("link.bytes_per_mvm_minimum", self.bytes_minimum);
    }
}
