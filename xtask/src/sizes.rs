//! Flash, static RAM and panic sites of the board images, against budgets that only a commit can raise.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use object::{
    Object, ObjectSection, ObjectSymbol, SectionFlags, SymbolKind, elf::SHF_ALLOC, elf::SHF_WRITE,
    elf::SHT_NOBITS,
};

use crate::{Result, images};

/// What an image may use.
struct Budget {
    image: &'static str,
    /// Bytes of code, constants and the initial values of data.
    flash: u64,
    /// Bytes of data and zeroed memory; the stack comes on top.
    static_ram: u64,
    /// Calls of panicking functions that the optimiser left.
    panic_sites: usize,
}

/// One per image, in KiB of flash and RAM. `nucleo-g474re` is to have 96 and 24. Those of Raspberry Pi's boards and of images
/// with the emulator, which solves batches in two precisions, are what there is and a little. `mps2-an386` has memory for 48 ×
/// 48 cells. Nearly all panic sites are the overflow checks that board images keep; the number is what the image has and
/// room for another compiler's taste, so that new ones are looked at.
const BUDGETS: [Budget; 7] = [
    budget("mps2-an386", 102, 128, 160),
    budget("mps2-an386-emulated", 352, 320, 760),
    budget("nucleo-g474re", 96, 24, 155),
    budget("nucleo-g474re-emulated", 357, 90, 770),
    budget("pico", 400, 128, 965),
    budget("pico2", 114, 48, 250),
    budget("pico2-emulated", 371, 128, 800),
];

const fn budget(image: &'static str, flash_kib: u64, ram_kib: u64, panic_sites: usize) -> Budget {
    Budget { image, flash: flash_kib * 1024, static_ram: ram_kib * 1024, panic_sites }
}

/// What an image uses.
struct Size {
    flash: u64,
    static_ram: u64,
    /// Panic sites per function.
    panics: BTreeMap<String, usize>,
}

/// Prints the table; fails where an image is missing, without a budget or beyond it.
pub(crate) fn check(root: &Path) -> Result<()> {
    let mut beyond = Vec::new();
    println!("{:<24}{:>20}{:>20}{:>16}", "image", "flash / B", "static RAM / B", "panic sites");
    for image in images::images(root, None)? {
        let name = image.name();
        let budget = BUDGETS.iter().find(|budget| budget.image == name);
        let budget = budget.ok_or_else(|| format!("no budget for {name} in xtask/src/sizes.rs"))?;
        let image = images::path(root, &name);
        let elf = fs::read(&image)
            .map_err(|error| format!("{}: {error}; build it with `cargo xtask images`", image.display()))?;
        let size = measure(&elf)?;
        let sites = size.panics.values().sum::<usize>();
        println!(
            "{name:<24}{:>20}{:>20}{:>16}",
            format!("{} of {}", size.flash, budget.flash),
            format!("{} of {}", size.static_ram, budget.static_ram),
            format!("{sites} of {}", budget.panic_sites),
        );
        for (function, count) in &size.panics {
            println!("  {count:>3} in {function}");
        }
        beyond.extend(excesses(&size, budget));
    }
    if beyond.is_empty() { Ok(()) } else { Err(beyond.join("\n").into()) }
}

fn excesses(size: &Size, budget: &Budget) -> Vec<String> {
    let sites = size.panics.values().sum::<usize>();
    [
        ("bytes of flash", size.flash, budget.flash),
        ("bytes of static RAM", size.static_ram, budget.static_ram),
        ("panic sites", sites as u64, budget.panic_sites as u64),
    ]
    .into_iter()
    .filter(|(_, used, allowed)| used > allowed)
    .map(|(what, used, allowed)| {
        format!("{}: {used} {what}, {allowed} allowed (xtask/src/sizes.rs)", budget.image)
    })
    .collect()
}

fn measure(elf: &[u8]) -> Result<Size> {
    let elf = object::read::elf::ElfFile32::<object::Endianness>::parse(elf)?;
    let (mut flash, mut static_ram) = (0, 0);
    for section in elf.sections() {
        let SectionFlags::Elf { sh_flags, .. } = section.flags() else { continue };
        if !sh_flags.contains(SHF_ALLOC) {
            continue;
        }
        let zeroed = section.elf_section_header().sh_type.get(elf.endian()) == SHT_NOBITS;
        flash += if zeroed { 0 } else { section.size() };
        static_ram += if zeroed || sh_flags.contains(SHF_WRITE) { section.size() } else { 0 };
    }

    let functions = || elf.symbols().filter(|symbol| symbol.kind() == SymbolKind::Text && symbol.size() > 0);
    let text = |symbol: &object::read::elf::ElfSymbol32<'_, '_, object::Endianness>| {
        let section = elf.section_by_index(symbol.section_index()?).ok()?;
        // Bit 0 of a function's address says Thumb (Arm IHI 0044, "Symbol values").
        section.data_range(symbol.address() & !1, symbol.size()).ok()?
    };
    let panicking: BTreeSet<u64> = functions()
        .filter(|symbol| symbol.name().is_ok_and(|name| is_panicking(&demangled(name))))
        .map(|symbol| symbol.address() & !1)
        .collect();
    let mut panics = BTreeMap::new();
    for symbol in functions() {
        let address = symbol.address() & !1;
        let (Some(code), false) = (text(&symbol), panicking.contains(&address)) else { continue };
        let count = branch_targets(address, code).filter(|target| panicking.contains(target)).count();
        if count > 0 {
            *panics.entry(demangled(symbol.name()?)).or_default() += count;
        }
    }
    Ok(Size { flash, static_ram, panics })
}

fn demangled(name: &str) -> String {
    format!("{:#}", rustc_demangle::demangle(name))
}

/// Whether the function exists to panic: all of `core::panicking`, and what stands between it and a caller, such as
/// `core::option::unwrap_failed` or `core::slice::index::slice_index_fail`.
fn is_panicking(function: &str) -> bool {
    let Some(path) = function.strip_prefix("core::") else { return false };
    let name = path.rsplit("::").next().unwrap_or(path);
    path.starts_with("panicking::")
        || name.ends_with("_fail")
        || name.ends_with("_failed")
        || name.contains("panic")
}

/// Where the BL and B.W instructions in Thumb code at `address` lead (Armv7-M ARM DDI 0403E, A7.7.12 B T4 and A7.7.18
/// BL T1). Data between the code is read as code too: it can add a target, hardly one that is a function's first byte.
fn branch_targets(address: u64, code: &[u8]) -> impl Iterator<Item = u64> {
    let mut halfwords = code.as_chunks::<2>().0.iter().map(|bytes| u16::from_le_bytes(*bytes)).zip(0_u64..);
    std::iter::from_fn(move || {
        loop {
            let (first, index) = halfwords.next()?;
            // 32-bit instructions begin with 0b11101, 0b11110 or 0b11111 (A5.1).
            if first < 0xE800 {
                continue;
            }
            let (second, _) = halfwords.next()?;
            if first & 0xF800 == 0xF000 && second & 0x9000 == 0x9000 {
                return Some((address + 2 * index + 4).wrapping_add_signed(branch_offset(first, second)));
            }
        }
    })
}

fn branch_offset(first: u16, second: u16) -> i64 {
    let (first, second) = (i64::from(first), i64::from(second));
    let sign = first >> 10 & 1;
    let i1 = !(second >> 13 ^ sign) & 1;
    let i2 = !(second >> 11 ^ sign) & 1;
    (i1 << 23 | i2 << 22 | (first & 0x3FF) << 12 | (second & 0x7FF) << 1) - (sign << 24)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn targets(address: u64, halfwords: &[u16]) -> Vec<u64> {
        let code: Vec<u8> = halfwords.iter().flat_map(|halfword| halfword.to_le_bytes()).collect();
        branch_targets(address, &code).collect()
    }

    #[test]
    fn calls_are_found_forwards_and_backwards() {
        // nop; bl .+4 (F000 F800); bl . (F7FF FFFE)
        assert_eq!(targets(0x100, &[0xBF00, 0xF000, 0xF800, 0xF7FF, 0xFFFE]), [0x106, 0x106]);
    }

    #[test]
    fn tail_calls_count_as_calls() {
        // b.w .+4
        assert_eq!(targets(0x100, &[0xF000, 0xB800]), [0x104]);
    }

    #[test]
    fn other_wide_instructions_are_stepped_over_whole() {
        // ldr.w r0, [pc, #0x800]: its second halfword alone would look like the start of a branch.
        assert_eq!(targets(0x100, &[0xF8DF, 0xF000, 0xBF00]), [] as [u64; 0]);
    }

    #[test]
    fn functions_that_only_panic_are_told_from_those_that_may() {
        for name in [
            "core::panicking::panic_fmt",
            "core::option::unwrap_failed",
            "core::slice::index::slice_index_fail",
        ] {
            assert!(is_panicking(name), "{name}");
        }
        for name in ["core::fmt::write", "ohmrig_firmware::core::poll", "core::str::count::do_count_chars"] {
            assert!(!is_panicking(name), "{name}");
        }
    }

    #[test]
    fn growth_beyond_any_budget_is_named() {
        let budget = Budget { image: "b", flash: 100, static_ram: 100, panic_sites: 1 };
        let size = Size { flash: 101, static_ram: 100, panics: BTreeMap::from([("f".to_owned(), 2)]) };
        assert_eq!(
            excesses(&size, &budget),
            [
                "b: 101 bytes of flash, 100 allowed (xtask/src/sizes.rs)",
                "b: 2 panic sites, 1 allowed (xtask/src/sizes.rs)"
            ]
        );
    }
}
