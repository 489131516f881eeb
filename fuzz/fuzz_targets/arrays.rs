//! `.npy` files and ground truth: any bytes are refused with a reason, or are an array of finite numbers, or the truth of
//! cells, that comes back as it was when written and read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ohmrig::arrays;
use ohmrig_emulator::truth::Truth;

fuzz_target!(|data: &[u8]| {
    if let Ok(truth) = serde_json::from_slice::<Truth>(data) {
        let written = serde_json::to_vec(&truth).expect("truth can be written");
        let again: Truth = serde_json::from_slice(&written).expect("and read");
        assert_eq!(truth.cells.len(), again.cells.len());
    }
    let file = ohmrig_fuzz::file(data, ".npy");
    if let Ok(array) = arrays::read(file.path(), "(rows, columns)") {
        assert!(array.iter().all(|value| value.is_finite()));
        arrays::write(file.path(), array.view()).expect("what was read can be written");
        assert_eq!(arrays::read(file.path(), "(rows, columns)").expect("and read again"), array);
    }
});
