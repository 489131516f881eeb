//! Conjugate gradients on the column voltages of a factorised [`Network`], for several input vectors side by side.

use alloc::vec;
use alloc::vec::Vec;

use super::{Convergence, Network, PANEL, Source};
use crate::circuit::CircuitError;

const MOST_ITERATIONS: u32 = 1_000;
/// An output smaller than this part of the largest one is held to the tolerance of this part.
const SMALLEST_OUTPUT: f64 = 1e-5;
/// Corrections below this part of the voltages they correct are rounding.
const ROUNDING: f64 = 4.0 * f64::EPSILON;
/// A ratio of corrections means nothing where the later one is below this part of the largest source.
const TELLING: f64 = 1_000.0 * ROUNDING;
/// What the estimate of the error left after the last correction is multiplied with.
const CAUTION: f64 = 4.0;

/// Column voltages with what conjugate gradients need to move them.
pub(super) struct Nodes<const L: usize> {
    pub(super) volts: Vec<[f64; L]>,
    correction: Vec<[f64; L]>,
    direction: Vec<[f64; L]>,
}

/// Conjugate gradients for `L` right-hand sides of one network.
pub(super) struct Iteration<'a, const L: usize> {
    network: &'a Network,
    /// Largest |source voltage| of each vector (V).
    scale: [f64; L],
    residual: Vec<[f64; L]>,
    /// S times the search direction.
    image: Vec<[f64; L]>,
    /// In turn the forward-eliminated residual and S times the correction.
    work: Vec<[f64; L]>,
    pub(super) nodes: Nodes<L>,
    panel: Vec<[[f64; L]; PANEL]>,
    column_sums: Vec<[f64; L]>,
    below: Vec<[f64; L]>,
    /// correctionᵀ·T_c·correction.
    gamma: [f64; L],
}

impl<'a, const L: usize> Iteration<'a, L> {
    /// Room for one solution after another.
    pub(super) fn new(network: &'a Network) -> Self {
        let columns = network.columns;
        let cells = network.rows * columns;
        Self {
            network,
            scale: [0.0; L],
            residual: vec![[0.0; L]; cells],
            image: vec![[0.0; L]; cells],
            work: vec![[0.0; L]; cells],
            nodes: Nodes {
                volts: vec![[0.0; L]; cells],
                correction: vec![[0.0; L]; cells],
                direction: vec![[0.0; L]; cells],
            },
            panel: vec![[[0.0; L]; PANEL]; columns],
            column_sums: vec![[0.0; L]; columns],
            below: vec![[0.0; L]; columns],
            gamma: [0.0; L],
        }
    }

    /// Starts at 0 V on every column: the residual is the right-hand side. What an earlier solution left in the other
    /// fields is multiplied by zero in the first step.
    fn start(&mut self, left_volts: &[[f64; L]], injected: Option<&[f64]>) {
        let network = self.network;
        let (rows, columns) = (network.rows, network.columns);
        let cells = rows * columns;
        let fixed =
            |sources: &[Source]| sources.iter().map(|source| libm::fabs(source.volts)).fold(0.0, f64::max);
        let others = fixed(&network.right).max(fixed(&network.top)).max(fixed(&network.bottom));
        self.scale = [others; L];
        for (volts, source) in left_volts.iter().zip(&network.left) {
            for l in 0..L {
                if source.siemens != 0.0 {
                    self.scale[l] = self.scale[l].max(libm::fabs(volts[l]));
                }
            }
        }
        self.gamma = [0.0; L];
        self.nodes.volts.fill([0.0; L]);
        for panel in 0..rows.div_ceil(PANEL) {
            network.row_sources(panel, left_volts, injected, &mut self.panel);
            network.row_forward(panel, &mut self.panel);
            network.row_back(panel, &mut self.panel);
            let device = &network.device[panel * columns..][..columns];
            for k in 0..PANEL.min(rows - panel * PANEL) {
                let row = (panel * PANEL + k) * columns;
                for ((residual, volts), g) in
                    self.residual[row..][..columns].iter_mut().zip(&self.panel).zip(device)
                {
                    for l in 0..L {
                        residual[l] = g[k] * volts[k][l];
                    }
                }
            }
        }
        for j in 0..columns {
            for l in 0..L {
                self.residual[j][l] += network.top[j].amperes();
                self.residual[cells - columns + j][l] += network.bottom[j].amperes();
            }
        }
        if let Some(injected) = injected {
            for (residual, current) in self.residual.iter_mut().zip(injected) {
                for l in 0..L {
                    residual[l] += current;
                }
            }
        }
    }

    /// Solves for `L` vectors of left voltages (V) and a current injected in parallel to every device (A).
    pub(super) fn run(
        &mut self,
        left_volts: &[[f64; L]],
        injected: Option<&[f64]>,
        tolerance: f64,
    ) -> Result<Convergence, CircuitError> {
        self.start(left_volts, injected);
        let (mut alpha, mut beta) = ([0.0; L], [0.0; L]);
        // Largest Rayleigh quotient of I − T_c⁻¹·S met so far: the factor that one more correction gains at least.
        let mut contraction = 0.0_f64;
        // Of the last correction, relative to the sources.
        let mut largest_before = f64::INFINITY;
        let mut iterations = 0;
        loop {
            self.descend(alpha, beta);
            let gamma_before = self.gamma;
            self.gamma = self.reduce_columns();
            let coupling = self.ascend();
            // Quotients weigh each column by its conductances: one that floats hardly counts, and may converge more slowly.
            // What the corrections themselves do shows it.
            let largest = self.largest_correction();
            let slowest =
                if largest > TELLING { contraction.max(largest / largest_before) } else { contraction };
            largest_before = largest;
            let left_over = CAUTION * slowest / (1.0 - slowest.min(0.999_999));
            if iterations > 0 {
                let residual = self.error(left_over);
                if residual <= tolerance {
                    self.apply();
                    return Ok(Convergence { residual, iterations });
                }
            }
            let gamma = self.gamma;
            let stuck = gamma.iter().any(|gamma| !gamma.is_finite());
            if iterations == MOST_ITERATIONS || stuck {
                let residual = self.error(left_over);
                return Err(CircuitError::NotConverged { residual, tolerance, iterations });
            }
            for l in 0..L {
                if gamma[l] == 0.0 {
                    (alpha[l], beta[l]) = (0.0, 0.0);
                    continue;
                }
                contraction = contraction.max(coupling[l] / gamma[l]);
                let delta = gamma[l] - coupling[l];
                beta[l] = if gamma_before[l] > 0.0 { gamma[l] / gamma_before[l] } else { 0.0 };
                let carried = if beta[l] > 0.0 { beta[l] * gamma[l] / alpha[l] } else { 0.0 };
                alpha[l] = gamma[l] / (delta - carried);
            }
            iterations += 1;
        }
    }

    /// Takes the step, and eliminates the columns of the new residual from top to bottom.
    fn descend(&mut self, alpha: [f64; L], beta: [f64; L]) {
        let columns = self.network.columns;
        for ((volts, direction), correction) in
            self.nodes.volts.iter_mut().zip(&mut self.nodes.direction).zip(&self.nodes.correction)
        {
            for l in 0..L {
                direction[l] = correction[l] + beta[l] * direction[l];
                volts[l] += alpha[l] * direction[l];
            }
        }
        self.column_sums.fill([0.0; L]);
        self.below.fill([0.0; L]);
        for i in 0..self.network.rows {
            let row = i * columns..(i + 1) * columns;
            let residual = &mut self.residual[row.clone()][..columns];
            let image = &mut self.image[row.clone()][..columns];
            let work = &mut self.work[row.clone()][..columns];
            let inverse = &self.network.column_inverse[row.clone()][..columns];
            let ratio = &self.network.column_ratio[row][..columns];
            let above = &mut self.below[..columns];
            let sums = &mut self.column_sums[..columns];
            for j in 0..columns {
                for l in 0..L {
                    let step = work[j][l] + beta[l] * image[j][l];
                    let left = residual[j][l] - alpha[l] * step;
                    let eliminated = left + ratio[j] * above[j][l];
                    image[j][l] = step;
                    residual[j][l] = left;
                    above[j][l] = eliminated;
                    work[j][l] = eliminated;
                    sums[j][l] += eliminated * eliminated * inverse[j];
                }
            }
        }
    }

    fn reduce_columns(&self) -> [f64; L] {
        let mut total = [0.0; L];
        for sums in &self.column_sums {
            for l in 0..L {
                total[l] += sums[l];
            }
        }
        total
    }

    /// Substitutes the columns back from bottom to top (the correction z), and sweeps the rows both ways, which leaves
    /// S·z. Returns zᵀ·D·T_r⁻¹·D·z.
    fn ascend(&mut self) -> [f64; L] {
        let network = self.network;
        let (rows, columns) = (network.rows, network.columns);
        let mut coupling = [[0.0; L]; PANEL];
        self.below.fill([0.0; L]);
        for panel in (0..rows.div_ceil(PANEL)).rev() {
            let first = panel * PANEL;
            let height = PANEL.min(rows - first);
            let cells = &mut self.panel[..columns];
            for k in (0..height).rev() {
                let row = (first + k) * columns;
                let work = &self.work[row..][..columns];
                let inverse = &network.column_inverse[row..][..columns];
                let ratio = &network.column_ratio[row + columns..][..columns];
                let below = &mut self.below[..columns];
                for j in 0..columns {
                    for l in 0..L {
                        let correction = work[j][l] * inverse[j] + ratio[j] * below[j][l];
                        below[j][l] = correction;
                        cells[j][k][l] = correction;
                    }
                }
                self.nodes.correction[row..][..columns].copy_from_slice(below);
            }
            let device = &network.device[panel * columns..][..columns];
            let inverse = &network.row_inverse[panel * columns..][..columns];
            let ratio = &network.row_ratio[panel * (columns + 1)..][..columns + 1];
            let mut before = [[0.0; L]; PANEL];
            for j in 0..columns {
                for k in 0..PANEL {
                    for l in 0..L {
                        let eliminated = device[j][k] * cells[j][k][l] + ratio[j][k] * before[k][l];
                        coupling[k][l] += eliminated * eliminated * inverse[j][k];
                        before[k][l] = eliminated;
                        cells[j][k][l] = eliminated;
                    }
                }
            }
            let mut after = [[0.0; L]; PANEL];
            for j in (0..columns).rev() {
                for k in 0..PANEL {
                    for l in 0..L {
                        after[k][l] = cells[j][k][l] * inverse[j][k] + ratio[j + 1][k] * after[k][l];
                        cells[j][k][l] = device[j][k] * after[k][l];
                    }
                }
            }
            for k in 0..height {
                let row = (first + k) * columns;
                let work = &mut self.work[row..][..columns];
                let residual = &self.residual[row..][..columns];
                for j in 0..columns {
                    for l in 0..L {
                        work[j][l] = residual[j][l] - cells[j][k][l];
                    }
                }
            }
        }
        let mut total = [0.0; L];
        for sums in coupling {
            for l in 0..L {
                total[l] += sums[l];
            }
        }
        total
    }

    /// Largest correction of any column voltage, relative to the largest source of its vector.
    fn largest_correction(&self) -> f64 {
        let mut largest = [0.0_f64; L];
        for correction in &self.nodes.correction {
            for l in 0..L {
                largest[l] = largest[l].max(libm::fabs(correction[l]));
            }
        }
        let relative = largest.iter().zip(self.scale).filter(|(_, scale)| *scale > 0.0);
        relative.fold(0.0, |worst, (largest, scale)| worst.max(largest / scale))
    }

    /// Estimated relative error after the correction is applied, given the part of it that is then still missing.
    fn error(&self, left_over: f64) -> f64 {
        let tracked = self.nodes.volts.len() - self.network.columns;
        let mut worst = 0.0_f64;
        let mut largest = [0.0_f64; L];
        let outputs = || {
            self.nodes.volts[tracked..]
                .iter()
                .zip(&self.nodes.correction[tracked..])
                .zip(&self.network.bottom)
                .filter(|(_, source)| source.siemens != 0.0)
        };
        for ((volts, _), source) in outputs() {
            for l in 0..L {
                largest[l] = largest[l].max(libm::fabs(volts[l] - source.volts));
            }
        }
        for ((volts, correction), source) in outputs() {
            for l in 0..L {
                let rounding = ROUNDING * (libm::fabs(volts[l]) + libm::fabs(source.volts));
                let missing = libm::fabs(correction[l]) * left_over - rounding;
                let size = libm::fabs(volts[l] - source.volts).max(SMALLEST_OUTPUT * largest[l]);
                if missing > 0.0 {
                    worst = worst.max(missing / size);
                }
            }
        }
        for correction in &self.nodes.correction {
            for l in 0..L {
                let missing = libm::fabs(correction[l]) * left_over - ROUNDING * self.scale[l];
                if missing > 0.0 {
                    worst = worst.max(missing / self.scale[l]);
                }
            }
        }
        worst
    }

    fn apply(&mut self) {
        for (volts, correction) in self.nodes.volts.iter_mut().zip(&self.nodes.correction) {
            for l in 0..L {
                volts[l] += correction[l];
            }
        }
    }

    pub(super) fn bottom_currents(&self) -> Vec<[f64; L]> {
        let tracked = self.nodes.volts.len() - self.network.columns;
        let nodes = self.nodes.volts[tracked..].iter().zip(&self.network.bottom);
        nodes.map(|(volts, source)| volts.map(|volts| (volts - source.volts) * source.siemens)).collect()
    }
}
