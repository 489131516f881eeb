//! The soak: random commands through the host's client to an emulated board, over a bad link, with chips that fail
//! and power that goes, held against ground truth after every command.

/// Bytes of this process in memory; `None` where the system doesn't tell.
#[must_use]
pub fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    kib.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kib| kib * 1024)
}
