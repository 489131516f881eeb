//! Profiles: any text is refused with a reason, or makes an array that can be powered up, read and pulsed.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ohmrig::bench::{Emulation, EmulationError};
use ohmrig_emulator::profile::Profile;
use ohmrig_fuzz::{Asked, Volt, Wire};
use ohmrig_protocol::message::{Pulse, Request, Scheme};
use ohmrig_protocol::units::{Seconds, Volts};

fuzz_target!(|text: &str| {
    let Ok(profile) = Profile::from_toml(text) else { return };
    let mut emulation = Emulation::new(profile, 3);
    (emulation.rows, emulation.columns) = (2, 3);
    match emulation.power_up() {
        Ok(_) => {}
        Err(EmulationError::Crossbar(_)) => return,
        Err(error) => panic!("an accepted profile makes no board: {error}"),
    }
    let mut wire = Wire::open(&emulation);
    let mut ask = |request: &Request<'_>| {
        wire.request(&postcard::to_allocvec(request).expect("a request"), |_| {});
    };
    let read = Asked::Read(0, 0, 2, 3, Volt::Plain(1000), 1, 3);
    read.with(2, &mut ask);
    ask(&Request::Arm { milliseconds: 60_000 });
    for volts in [1.8, -1.8, 4.5] {
        ask(&Request::Pulse(Pulse {
            row: 0,
            column: 1,
            volts: Volts(volts),
            width: Seconds(1e-3),
            scheme: Scheme::Half,
            gate: None,
        }));
    }
    read.with(2, &mut ask);
    wire.device.board().truth().expect("ground truth");
});
