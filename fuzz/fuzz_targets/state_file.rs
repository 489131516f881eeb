//! State files (`--state`): any text is refused with a reason, or makes a board that can be stepped and looked at. `@` in
//! the input stands for an erased flash, which is too long for a corpus.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ohmrig_fuzz::{Asked, Volt, Wire, emulation};

/// As many bytes as the flash of an emulated board has.
const FLASH_BYTES: usize = 64 * 1024;

fuzz_target!(|text: &str| {
    let text = match text.split_once('@') {
        Some((before, after)) => {
            let mut whole = String::with_capacity(text.len() + 4 * FLASH_BYTES);
            whole.push_str(before);
            whole.push('[');
            whole.push_str(&"255,".repeat(FLASH_BYTES));
            whole.pop();
            whole.push(']');
            whole.push_str(after);
            whole
        }
        None => text.to_owned(),
    };
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
