//! State files (`--state`): any text is refused with a reason, or makes a board that can be stepped and looked at.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ohmrig_fuzz::{Asked, Volt, Wire, emulation};

fuzz_target!(|text: &str| {
    let file = ohmrig_fuzz::file(text.as_bytes(), ".json");
    let mut emulation = emulation(0, 0, 0);
    (emulation.rows, emulation.columns, emulation.seed) = (2, 2, 0);
    emulation.state = Some(file.path().to_owned());
    let accepted = emulation.power_up().is_ok();
    if accepted {
        let mut wire = Wire::open(&emulation);
        let read = Asked::Read(0, 0, 2, 2, Volt::Plain(1000), 1, 2);
        read.with(2, |request| wire.request(&postcard::to_allocvec(request).expect("a request"), |_| {}));
        wire.device.board().truth().expect("ground truth");
    }
    let mut lock = file.path().as_os_str().to_owned();
    lock.push(".lock");
    let _ = std::fs::remove_file(lock);
});
