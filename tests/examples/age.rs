//! A population of devices of a built-in profile, for comparison with other device models (`cargo xtask peers`): a JSON object
//! on standard input, what the devices conduct later and how much that fluctuates on standard output.

use ohmrig_emulator::aging::{Age, Clock};
use ohmrig_emulator::fluctuation::Fluctuations;
use ohmrig_emulator::profile::{DeviceProfile, Profile};
use ohmrig_emulator::random::Random;
use serde::Deserialize;
use std::error::Error;

/// In between, so that reads a day apart are independent of the start.
const DAY_NS: u64 = 86_400_000_000_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Population {
    profile: String,
    /// Conductance right after the last pulse (S).
    programmed_s: f64,
    devices: usize,
    /// Times since then (s).
    after_s: Vec<f64>,
    seed: u64,
}

fn main() -> Result<(), Box<dyn Error>> {
    let asked: Population = serde_json::from_reader(std::io::stdin())?;
    // The peers' models have neither retention loss nor traps.
    let profile = Profile::built_in(&asked.profile)?.device;
    let profile = DeviceProfile { retention: None, telegraph: None, ..profile };
    let mut random = Random::new(asked.seed, 0);
    let clock = |at_ns: u64| Clock { at_ns, thermal_s: at_ns as f64 * 1e-9, acceleration: 1.0 };
    let mut devices: Vec<Age> =
        (0..asked.devices).map(|_| Age::start(asked.programmed_s, clock(0), None, &mut random)).collect();
    let mut later = Vec::new();
    for seconds in &asked.after_s {
        let now = clock((seconds * 1e9) as u64);
        later
            .push(devices.iter_mut().map(|age| age.conductance(&profile, now, 1.0, 0.0)).collect::<Vec<_>>());
    }
    // One column per device, read at 1 V: the current is the conductance, and what is added its fluctuation.
    let mut fluctuations =
        Fluctuations::new(profile.flicker, None, (1, asked.devices), Random::new(asked.seed, 1));
    fluctuations.advance(DAY_NS, &[true]);
    let conductance = vec![asked.programmed_s; asked.devices];
    let levels: Vec<f64> =
        conductance.iter().map(|&g| fluctuations.level(g, profile.conductance.maximum_s)).collect();
    let mut fluctuating = vec![0.0; asked.devices];
    if !levels.is_empty() {
        fluctuations.add(&conductance, &levels, &mut fluctuating);
    }
    println!("{}", serde_json::json!({"conductance_s": later, "fluctuation_s": fluctuating}));
    Ok(())
}
