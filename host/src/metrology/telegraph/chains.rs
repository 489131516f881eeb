//! Hidden Markov model of several independent two-state traps under normal noise (a factorial hidden Markov model,
//! Ghahramani & Jordan, Machine Learning 29, 245, 1997): forward–backward, Viterbi, and one step of Baum–Welch.
//!
//! Traps are few, so their joint states (2 to the number of traps) are gone through exactly.

use ohmrig_emulator::random::Random;

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

    /// Joint states of as many samples, drawn.
    pub(super) fn draw(&self, count: usize, seed: u64) -> Vec<usize> {
        let mut random = Random::new(seed, 4);
        let mut upper: Vec<bool> =
            self.leave.iter().map(|[up, down]| random.uniform() * (up + down) < *up).collect();
        (0..count)
            .map(|_| {
                for (upper, leave) in upper.iter_mut().zip(&self.leave) {
                    *upper ^= random.uniform() < leave[usize::from(*upper)];
                }
                upper.iter().enumerate().map(|(k, upper)| usize::from(*upper) << k).sum()
            })
            .collect()
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

    /// What the passes over the samples need, for a number of states that the compiler knows.
    fn prepared<const S: usize>(&self) -> Prepared<S> {
        let traps =
            |state: usize| self.leave.iter().enumerate().map(move |(k, leave)| (leave, state >> k & 1));
        Prepared {
            levels: std::array::from_fn(|state| self.level(state)),
            transitions: std::array::from_fn(|from| std::array::from_fn(|to| self.transition(from, to))),
            stationary: std::array::from_fn(|state| {
                let one = |([up, down], upper): (&[f64; 2], usize)| if upper == 1 { up } else { down } / (up + down);
                traps(state).map(one).product()
            }),
            precision: 0.5 / self.variance,
            normal: -0.5 * (2.0 * std::f64::consts::PI * self.variance).ln(),
        }
    }

    /// ln of the likelihood alone.
    pub(super) fn likelihood(&self, samples: &[f64]) -> f64 {
        match self.steps.len() {
            1 => self.prepared::<2>().forward(samples, |_, _| {}),
            2 => self.prepared::<4>().forward(samples, |_, _| {}),
            _ => self.prepared::<8>().forward(samples, |_, _| {}),
        }
    }

    /// Forward–backward (Rabiner, Proc. IEEE 77, 257, 1989, with scaling).
    pub(super) fn posterior(&self, samples: &[f64]) -> Posterior {
        match self.steps.len() {
            1 => self.prepared::<2>().posterior(samples),
            2 => self.prepared::<4>().posterior(samples),
            _ => self.prepared::<8>().posterior(samples),
        }
    }

    /// The most probable path (Viterbi), one joint state per sample.
    pub(super) fn path(&self, samples: &[f64]) -> Vec<u8> {
        match self.steps.len() {
            1 => self.prepared::<2>().path(samples),
            2 => self.prepared::<4>().path(samples),
            _ => self.prepared::<8>().path(samples),
        }
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

/// Parameters as the passes over the samples use them, for `S` joint states.
struct Prepared<const S: usize> {
    levels: [f64; S],
    transitions: [[f64; S]; S],
    /// Probability of each joint state before anything is seen.
    stationary: [f64; S],
    /// 1/(2σ²).
    precision: f64,
    /// ln of the normal density at its centre.
    normal: f64,
}

impl<const S: usize> Prepared<S> {
    /// Densities of a sample in every state, divided by the largest; and ln of that one.
    fn emissions(&self, sample: f64) -> ([f64; S], f64) {
        let exponents = self.levels.map(|level| -self.precision * (sample - level) * (sample - level));
        let largest = exponents.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        (exponents.map(|exponent| (exponent - largest).exp()), largest + self.normal)
    }

    /// Goes forward; `kept` gets the probabilities of the states given the samples so far, and the emissions. ln of the
    /// likelihood.
    fn forward(&self, samples: &[f64], mut kept: impl FnMut(&[f64; S], &[f64; S])) -> f64 {
        let mut forward = self.stationary;
        let mut likelihood = 0.0;
        for (index, &sample) in samples.iter().enumerate() {
            let (emissions, scale) = self.emissions(sample);
            if index > 0 {
                let mut next = [0.0; S];
                for (probability, row) in forward.iter().zip(&self.transitions) {
                    for (to, transition) in next.iter_mut().zip(row) {
                        *to += probability * transition;
                    }
                }
                forward = next;
            }
            let mut sum = 0.0;
            for (probability, emission) in forward.iter_mut().zip(&emissions) {
                *probability *= emission;
                sum += *probability;
            }
            let factor = 1.0 / sum;
            forward = forward.map(|probability| probability * factor);
            kept(&forward, &emissions);
            likelihood += sum.ln() + scale;
        }
        likelihood
    }

    fn posterior(&self, samples: &[f64]) -> Posterior {
        let mut all: Vec<[f64; S]> = Vec::with_capacity(samples.len());
        let mut emissions: Vec<[f64; S]> = Vec::with_capacity(samples.len());
        let likelihood = self.forward(samples, |forward, emission| {
            all.push(*forward);
            emissions.push(*emission);
        });
        // Backwards: probability of what follows, given the state, times the emission there.
        let mut pairs = [[0.0; S]; S];
        let mut backward = [1.0; S];
        for index in (0..samples.len()).rev() {
            let here = &mut all[index];
            let mut sum = 0.0;
            for (probability, backward) in here.iter_mut().zip(&backward) {
                *probability *= backward;
                sum += *probability;
            }
            let factor = 1.0 / sum;
            *here = here.map(|probability| probability * factor);
            if index == 0 {
                break;
            }
            let ahead: [f64; S] = std::array::from_fn(|s| emissions[index][s] * backward[s]);
            let previous = all[index - 1];
            let mut total = 0.0;
            let mut moves = [[0.0; S]; S];
            let mut next = [0.0; S];
            for from in 0..S {
                for to in 0..S {
                    let onward = self.transitions[from][to] * ahead[to];
                    next[from] += onward;
                    moves[from][to] = previous[from] * onward;
                    total += moves[from][to];
                }
            }
            let factor = 1.0 / total;
            for (pairs, moves) in pairs.iter_mut().zip(&moves) {
                for (pair, moved) in pairs.iter_mut().zip(moves) {
                    *pair += moved * factor;
                }
            }
            let factor = 1.0 / next.iter().copied().fold(0.0, f64::max);
            backward = next.map(|value| value * factor);
        }
        let pairs = std::array::from_fn(|from| {
            std::array::from_fn(|to| if from < S && to < S { pairs[from][to] } else { 0.0 })
        });
        Posterior { states: all.into_flattened(), likelihood, pairs }
    }

    fn path(&self, samples: &[f64]) -> Vec<u8> {
        let ln_transitions = self.transitions.map(|row| row.map(f64::ln));
        let mut score = self.stationary.map(f64::ln);
        let mut came_from = vec![[0_u8; S]; samples.len()];
        for (index, (&sample, from)) in samples.iter().zip(&mut came_from).enumerate() {
            let before = score;
            for to in 0..S {
                let emission = -self.precision * (sample - self.levels[to]) * (sample - self.levels[to]);
                if index == 0 {
                    score[to] = before[to] + emission;
                    continue;
                }
                let mut best = (f64::NEG_INFINITY, 0);
                for state in 0..S {
                    let value = before[state] + ln_transitions[state][to];
                    if value > best.0 {
                        best = (value, state);
                    }
                }
                score[to] = best.0 + emission;
                from[to] = best.1 as u8;
            }
        }
        let mut state = (0..S).max_by(|&a, &b| score[a].total_cmp(&score[b])).unwrap_or(0) as u8;
        let mut path = vec![0; samples.len()];
        for (slot, from) in path.iter_mut().zip(&came_from).rev() {
            *slot = state;
            state = from[usize::from(state)];
        }
        path
    }
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
