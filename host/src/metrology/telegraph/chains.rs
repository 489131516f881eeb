//! Hidden Markov model of several independent two-state traps under normal noise (a factorial hidden Markov model,
//! Ghahramani & Jordan, Machine Learning 29, 245, 1997): forward–backward, Viterbi, and one step of Baum–Welch.
//!
//! Traps are few, so their joint states (2 to the number of traps) are gone through exactly.

/// Most traps of one model.
pub(super) const MOST_TRAPS: usize = 3;
const MOST_STATES: usize = 1 << MOST_TRAPS;

/// Parameters. Bit k of a joint state says whether trap k is in its upper state.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Chains {
    /// Level with every trap in its lower state.
    pub(super) base: f64,
    /// What each trap adds in its upper state.
    pub(super) steps: Vec<f64>,
    /// Of leaving the lower and the upper state from one sample to the next, per trap.
    pub(super) leave: Vec<[f64; 2]>,
    /// Variance of the noise.
    pub(super) variance: f64,
}

/// What the samples say about the states.
#[derive(Clone, Debug)]
pub(super) struct Posterior {
    /// Probability of every joint state at every sample, sample by sample.
    pub(super) states: Vec<f64>,
    /// ln of the likelihood.
    pub(super) likelihood: f64,
    /// Expected moves from joint state to joint state.
    pairs: [[f64; MOST_STATES]; MOST_STATES],
}

impl Chains {
    pub(super) fn states(&self) -> usize {
        1 << self.steps.len()
    }

    pub(super) fn level(&self, state: usize) -> f64 {
        self.base
            + self.steps.iter().enumerate().filter(|(k, _)| state >> k & 1 == 1).map(|(_, d)| d).sum::<f64>()
    }

    fn transition(&self, from: usize, to: usize) -> f64 {
        self.leave
            .iter()
            .enumerate()
            .map(|(k, leave)| {
                let (a, b) = (from >> k & 1, to >> k & 1);
                if a == b { 1.0 - leave[a] } else { leave[a] }
            })
            .product()
    }

    fn transitions(&self) -> [[f64; MOST_STATES]; MOST_STATES] {
        let states = self.states();
        std::array::from_fn(|from| {
            std::array::from_fn(
                |to| if from < states && to < states { self.transition(from, to) } else { 0.0 },
            )
        })
    }

    /// Probability of each joint state before anything is seen.
    fn stationary(&self) -> [f64; MOST_STATES] {
        std::array::from_fn(|state| {
            let one = |(k, [up, down]): (usize, &[f64; 2])| {
                let upper = up / (up + down);
                if state >> k & 1 == 1 { upper } else { 1.0 - upper }
            };
            if state < self.states() { self.leave.iter().enumerate().map(one).product() } else { 0.0 }
        })
    }

    /// Densities of a sample in every state, divided by the largest; and ln of that one.
    fn emissions(&self, sample: f64) -> ([f64; MOST_STATES], f64) {
        let mut exponents = [f64::NEG_INFINITY; MOST_STATES];
        let mut largest = f64::NEG_INFINITY;
        for (state, exponent) in exponents.iter_mut().enumerate().take(self.states()) {
            let off = sample - self.level(state);
            *exponent = -0.5 * off * off / self.variance;
            largest = largest.max(*exponent);
        }
        let scale = largest - 0.5 * (2.0 * std::f64::consts::PI * self.variance).ln();
        (exponents.map(|exponent| (exponent - largest).exp()), scale)
    }

    /// ln of the likelihood alone.
    pub(super) fn likelihood(&self, samples: &[f64]) -> f64 {
        let (states, transitions) = (self.states(), self.transitions());
        let mut forward = self.stationary();
        let mut likelihood = 0.0;
        for (index, &sample) in samples.iter().enumerate() {
            let (emissions, scale) = self.emissions(sample);
            if index > 0 {
                forward = step(&forward, &transitions, states);
            }
            let mut sum = 0.0;
            for (probability, emission) in forward.iter_mut().zip(&emissions).take(states) {
                *probability *= emission;
                sum += *probability;
            }
            forward.iter_mut().for_each(|probability| *probability /= sum);
            likelihood += sum.ln() + scale;
        }
        likelihood
    }

    /// Forward–backward (Rabiner, Proc. IEEE 77, 257, 1989, with scaling).
    pub(super) fn posterior(&self, samples: &[f64]) -> Posterior {
        let (states, transitions) = (self.states(), self.transitions());
        let mut all = vec![0.0; samples.len() * states];
        let mut forward = self.stationary();
        let mut likelihood = 0.0;
        for (index, (&sample, kept)) in samples.iter().zip(all.chunks_exact_mut(states)).enumerate() {
            let (emissions, scale) = self.emissions(sample);
            if index > 0 {
                forward = step(&forward, &transitions, states);
            }
            let mut sum = 0.0;
            for (probability, emission) in forward.iter_mut().zip(&emissions).take(states) {
                *probability *= emission;
                sum += *probability;
            }
            forward.iter_mut().for_each(|probability| *probability /= sum);
            kept.copy_from_slice(&forward[..states]);
            likelihood += sum.ln() + scale;
        }
        // Backwards: probability of what follows, given the state, times the emission there.
        let mut pairs = [[0.0; MOST_STATES]; MOST_STATES];
        let mut backward = [1.0; MOST_STATES];
        for index in (0..samples.len()).rev() {
            let here = &mut all[index * states..(index + 1) * states];
            let mut sum = 0.0;
            for (probability, backward) in here.iter_mut().zip(&backward) {
                *probability *= backward;
                sum += *probability;
            }
            here.iter_mut().for_each(|probability| *probability /= sum);
            if index == 0 {
                break;
            }
            let (emissions, _) = self.emissions(samples[index]);
            let ahead: [f64; MOST_STATES] = std::array::from_fn(|s| emissions[s] * backward[s]);
            let previous = &all[(index - 1) * states..index * states];
            let mut total = 0.0;
            let mut moves = [[0.0; MOST_STATES]; MOST_STATES];
            let mut next = [0.0; MOST_STATES];
            for from in 0..states {
                for to in 0..states {
                    let onward = transitions[from][to] * ahead[to];
                    next[from] += onward;
                    moves[from][to] = previous[from] * onward;
                    total += moves[from][to];
                }
            }
            for from in 0..states {
                for to in 0..states {
                    pairs[from][to] += moves[from][to] / total;
                }
            }
            let largest = next.iter().copied().fold(0.0, f64::max);
            backward = next.map(|value| value / largest);
        }
        Posterior { states: all, likelihood, pairs }
    }

    /// The most probable path (Viterbi), one joint state per sample.
    pub(super) fn path(&self, samples: &[f64]) -> Vec<u8> {
        let states = self.states();
        let ln_transitions = self.transitions().map(|row| row.map(f64::ln));
        let mut score = self.stationary().map(f64::ln);
        let mut came_from = vec![[0_u8; MOST_STATES]; samples.len()];
        for (index, (&sample, from)) in samples.iter().zip(&mut came_from).enumerate() {
            let before = score;
            for to in 0..states {
                let off = sample - self.level(to);
                let emission = -0.5 * off * off / self.variance;
                if index == 0 {
                    score[to] = before[to] + emission;
                    continue;
                }
                let mut best = (f64::NEG_INFINITY, 0);
                for state in 0..states {
                    let value = before[state] + ln_transitions[state][to];
                    if value > best.0 {
                        best = (value, state);
                    }
                }
                score[to] = best.0 + emission;
                from[to] = best.1 as u8;
            }
        }
        let mut state = (0..states).max_by(|&a, &b| score[a].total_cmp(&score[b])).unwrap_or(0) as u8;
        let mut path = vec![0; samples.len()];
        for (slot, from) in path.iter_mut().zip(&came_from).rev() {
            *slot = state;
            state = from[usize::from(state)];
        }
        path
    }

    /// One step of expectation maximisation: the parameters that explain the samples best, given `posterior`.
    pub(super) fn improved(&self, samples: &[f64], posterior: &Posterior) -> Self {
        let states = self.states();
        let traps = self.steps.len();
        let mut next = self.clone();
        // Levels: regression of the samples on the expected states.
        let mut matrix = [[0.0; MOST_TRAPS + 1]; MOST_TRAPS + 1];
        let mut vector = [0.0; MOST_TRAPS + 1];
        let mut weights = [0.0; MOST_STATES];
        let mut sums = [0.0; MOST_STATES];
        for (&sample, probabilities) in samples.iter().zip(posterior.states.chunks_exact(states)) {
            for (state, &probability) in probabilities.iter().enumerate() {
                weights[state] += probability;
                sums[state] += probability * sample;
            }
        }
        let on = |state: usize, parameter: usize| parameter == 0 || state >> (parameter - 1) & 1 == 1;
        for state in 0..states {
            for i in (0..=traps).filter(|&i| on(state, i)) {
                vector[i] += sums[state];
                for j in (0..=traps).filter(|&j| on(state, j)) {
                    matrix[i][j] += weights[state];
                }
            }
        }
        for (i, row) in matrix.iter_mut().enumerate().skip(traps + 1) {
            row[i] = 1.0;
        }
        let normal = super::super::least_squares::Normal { matrix, vector };
        if let Ok((solution, _)) = normal.solve() {
            next.base = solution[0];
            next.steps.copy_from_slice(&solution[1..=traps]);
        }
        let mut square = 0.0;
        let levels: Vec<f64> = (0..states).map(|state| next.level(state)).collect();
        for (&sample, probabilities) in samples.iter().zip(posterior.states.chunks_exact(states)) {
            for (level, probability) in levels.iter().zip(probabilities) {
                square += probability * (sample - level) * (sample - level);
            }
        }
        next.variance = (square / samples.len() as f64).max(1e-12 * self.variance);
        // Moves of each trap alone.
        for (k, leave) in next.leave.iter_mut().enumerate() {
            let mut counts = [[0.0; 2]; 2];
            for from in 0..states {
                for to in 0..states {
                    counts[from >> k & 1][to >> k & 1] += posterior.pairs[from][to];
                }
            }
            for (side, leave) in leave.iter_mut().enumerate() {
                let moved = counts[side][1 - side];
                // A thousandth of a move more than was seen keeps a chain from freezing.
                *leave = ((moved + 1e-3) / (counts[side][0] + counts[side][1] + 2e-3)).clamp(1e-9, 0.9);
            }
        }
        next
    }
}

fn step(
    forward: &[f64; MOST_STATES],
    transitions: &[[f64; MOST_STATES]; MOST_STATES],
    states: usize,
) -> [f64; MOST_STATES] {
    let mut next = [0.0; MOST_STATES];
    for (probability, row) in forward.iter().zip(transitions).take(states) {
        for (to, transition) in next.iter_mut().zip(row).take(states) {
            *to += probability * transition;
        }
    }
    next
}

impl Posterior {
    /// Probability at every sample that trap `k` of `traps` is in its upper state.
    pub(super) fn upper(&self, k: usize, traps: usize) -> Vec<f64> {
        let sum = |states: &[f64]| {
            states.iter().enumerate().filter(|(state, _)| state >> k & 1 == 1).map(|(_, p)| p).sum()
        };
        self.states.chunks_exact(1 << traps).map(sum).collect()
    }
}
