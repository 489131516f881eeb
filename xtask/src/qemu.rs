//! QEMU's ARM machines: having them, and what an image's end looks like there.

use std::{
    io::Read,
    path::Path,
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use crate::{
    Result,
    command::{command, output},
    debian, images,
    toolchain::Toolchain,
};

const PROGRAM: &str = "qemu-system-arm";
const BOARD: &str = "mps2-an386";
/// They end within milliseconds, the one with the watchdog after two seconds; this is for a machine that is busy with something else.
const PATIENCE: Duration = Duration::from_secs(30);

/// Makes `qemu-system-arm` available and returns the first line of its version.
pub(crate) fn ensure() -> Result<String> {
    if let Ok(version) = version() {
        return Ok(version);
    }
    if !debian::can_install() {
        return Err(refusal().into());
    }
    debian::install(&[PROGRAM])?;
    version()
}

fn version() -> Result<String> {
    let text = output(command(PROGRAM).arg("--version"))?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

fn refusal() -> String {
    format!(
        "no {PROGRAM} here, so the ARM image can't be tested. Install QEMU for ARM (7.2 or later), \
         on Debian as root: apt-get install {PROGRAM}\nthen run this again."
    )
}

/// Runs the images that end by themselves, most of them badly and on purpose: QEMU must end with their status and words.
pub(crate) fn check_endings(root: &Path, toolchain: &Toolchain) -> Result<()> {
    const PANIC: &str = "panic on purpose";
    const FAULT: &str = "HardFault at 0x";
    // Statuses: `EXIT_PANIC` and `EXIT_HARD_FAULT` of the board's hal.rs, `BITTEN`, `TOLD` and `RIGHT` of the examples.
    let endings: [(&str, &[&str], i32, &[&str]); 5] = [
        ("panic", &[], 101, &[PANIC]),
        ("hardfault", &[], 102, &[FAULT]),
        ("hang", &[], 103, &["reset by the watchdog"]),
        ("last_words", &["--features", "reset-on-panic"], 104, &[PANIC, "examples/last_words.rs:15", FAULT]),
        ("memory_functions", &[], 105, &["checks of memory functions"]),
    ];
    for (example, options, status, words) in endings {
        let image = images::example(root, toolchain, BOARD, example, options)?;
        let (ended, said) = run_image(&image, &[])?;
        if ended != Some(status) || !words.iter().all(|words| said.contains(words)) {
            return Err(format!(
                "{} in QEMU: exit status {ended:?} and {said:?}; expected {status} and {words:?}",
                image.display()
            )
            .into());
        }
        println!("{example} ends QEMU with status {status}");
    }
    Ok(())
}

/// Checks that the stack's high-water mark is that of the stack.
pub(crate) fn check_stack(root: &Path, toolchain: &Toolchain) -> Result<()> {
    let image = images::example(root, toolchain, BOARD, "stack", &[])?;
    let (ended, said) = run_image(&image, &[])?;
    print!("{said}");
    if ended == Some(0) {
        Ok(())
    } else {
        Err(format!("stack in QEMU: exit status {ended:?} and {said:?}").into())
    }
}

/// Most instructions of the firmware per 8 × 8 product, core and drivers, without chips: what there are and a tenth.
const INSTRUCTIONS: u64 = 10_600;

/// Counts the instructions of products, exactly repeatable, and fails on growth.
pub(crate) fn check_instructions(root: &Path, toolchain: &Toolchain) -> Result<()> {
    let image = images::example(root, toolchain, BOARD, "instructions", &["--features", "emulated"])?;
    let (ended, said) = run_image(&image, &["-icount", "shift=0,sleep=off"])?;
    print!("{said}");
    let count = firmware_instructions(&said).filter(|_| ended == Some(0));
    match count {
        Some(count) if count <= INSTRUCTIONS => Ok(()),
        Some(count) => {
            Err(format!("{count} instructions per product, {INSTRUCTIONS} allowed (xtask/src/qemu.rs)")
                .into())
        }
        None => Err(format!("instructions in QEMU: exit status {ended:?} and {said:?}").into()),
    }
}

/// The number behind `firmware`.
fn firmware_instructions(said: &str) -> Option<u64> {
    said.split_whitespace().skip_while(|word| *word != "firmware").nth(1)?.parse().ok()
}

/// Exit status (`None`: ended after [`PATIENCE`] or by a signal) and standard error of an image that ends by itself.
fn run_image(image: &Path, options: &[&str]) -> Result<(Option<i32>, String)> {
    let mut qemu = command(PROGRAM)
        .args([
            "-machine", BOARD, "-display", "none", "-monitor", "none", "-serial", "null", "-serial", "null",
        ])
        .args(options)
        .args(["-semihosting-config", "enable=on,target=native", "-kernel"])
        .arg(image)
        .stderr(Stdio::piped())
        .spawn()?;
    let start = Instant::now();
    let status = loop {
        match qemu.try_wait()? {
            Some(status) => break status,
            None if start.elapsed() > PATIENCE => {
                qemu.kill()?;
                break qemu.wait()?;
            }
            None => thread::sleep(Duration::from_millis(10)),
        }
    };
    let mut said = String::new();
    if let Some(mut stderr) = qemu.stderr.take() {
        stderr.read_to_string(&mut said)?;
    }
    Ok((status.code(), said))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_refusal_says_what_to_install() {
        assert!(super::refusal().contains("apt-get install qemu-system-arm"));
    }
}
