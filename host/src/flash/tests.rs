//! Flashing without a probe: what is checked when, and what is said.

use super::*;
use crate::image::Segment;
use std::cell::RefCell;
use std::rc::Rc;

/// What happened at the bench, in order.
type Diary = Rc<RefCell<Vec<String>>>;

/// A bench with probes, all at the same kind of chip.
struct Bench {
    probes: Vec<ProbeInfo>,
    attach: Result<(), ProbeError>,
    /// Registers by address; others can't be read.
    registers: Vec<(u32, u32)>,
    program: Result<(), ProbeError>,
    diary: Diary,
}

struct Chip {
    registers: Vec<(u32, u32)>,
    program: Result<(), ProbeError>,
    diary: Diary,
}

fn probe(serial: &str) -> ProbeInfo {
    ProbeInfo { selector: format!("0483:374e:{serial}"), name: "STLink V3".to_owned(), permitted: true }
}

/// An STM32G474 as it comes, behind one probe.
fn bench() -> Bench {
    Bench {
        probes: vec![probe("A1")],
        attach: Ok(()),
        registers: vec![(0xE004_2000, 0x2003_6469), (0x4002_2020, 0xFFEF_F8AA)],
        program: Ok(()),
        diary: Diary::default(),
    }
}

impl Probes for Bench {
    type Target = Chip;

    fn list(&mut self) -> Vec<ProbeInfo> {
        self.diary.borrow_mut().push("list".to_owned());
        self.probes.clone()
    }

    fn flash_of(&self, chip: &str) -> Option<Vec<Range<u64>>> {
        (chip == "STM32G474RETx" || chip == "Novel1")
            .then(|| std::iter::once(0x0800_0000..0x0808_0000).collect())
    }

    fn attach(&mut self, probe: &ProbeInfo, chip: &str) -> Result<Chip, ProbeError> {
        self.diary.borrow_mut().push(format!("attach {} {chip}", probe.selector));
        self.attach.clone()?;
        let Self { registers, program, diary, .. } = self;
        Ok(Chip { registers: registers.clone(), program: program.clone(), diary: Rc::clone(diary) })
    }
}

impl Target for Chip {
    fn read_word(&mut self, address: u32) -> Result<u32, ProbeError> {
        let found = self.registers.iter().find(|(register, _)| *register == address);
        found.map(|found| found.1).ok_or(ProbeError::Access("fault".to_owned()))
    }

    fn program(&mut self, image: &Image, progress: &mut OnProgress<'_>) -> Result<(), ProbeError> {
        self.diary.borrow_mut().push(format!("program {}", image.name()));
        for phase in [Phase::Erase, Phase::Program, Phase::Verify] {
            progress(phase, 4, 4);
        }
        self.program.clone()
    }

    fn reset(&mut self) -> Result<(), ProbeError> {
        self.diary.borrow_mut().push("reset".to_owned());
        Ok(())
    }
}

fn image() -> Image {
    Image {
        path: "nucleo.elf".into(),
        board: "nucleo-g474re".to_owned(),
        variant: "emulated".to_owned(),
        chip: Some("STM32G474RETx".to_owned()),
        firmware: "0.1.0".to_owned(),
        git: "0123456789ab".to_owned(),
        build: String::new(),
        segments: vec![Segment { address: 0x0800_0000, bytes: vec![1; 4] }],
    }
}

fn try_flash(
    bench: &mut Bench,
    image: &Image,
    board: Option<&str>,
    probe: Option<&str>,
) -> Result<Flashed, FlashError> {
    flash(bench, image, board, probe, &mut |_, _, _| {})
}

#[track_caller]
fn refused(bench: &mut Bench, image: &Image, board: Option<&str>, probe: Option<&str>, says: &[&str]) {
    let error = try_flash(bench, image, board, probe).unwrap_err().to_string();
    assert!(!error.contains('\n'), "{error}");
    for part in says {
        assert!(error.contains(part), "{part:?} is not in {error:?}");
    }
    assert!(!bench.diary.borrow().iter().any(|entry| entry.starts_with("program")), "{:?}", bench.diary);
}

#[test]
fn a_board_is_flashed_verified_and_started() {
    let mut bench = bench();
    let mut phases = Vec::new();
    let flashed =
        flash(&mut bench, &image(), None, None, &mut |phase, _, _| phases.push(phase.name())).unwrap();
    assert_eq!(
        flashed,
        Flashed { probe: probe("A1"), chip: "STM32G474RETx".into(), bytes: 4, identified: true }
    );
    assert_eq!(phases, ["erasing", "writing", "verifying"]);
    let diary = ["list", "attach 0483:374e:A1 STM32G474RETx", "program nucleo-g474re-emulated", "reset"];
    assert_eq!(*bench.diary.borrow(), diary);
}

#[test]
fn an_image_that_does_not_fit_what_was_asked_for_touches_no_probe() {
    let mut bench = bench();
    refused(&mut bench, &image(), Some("pico"), None, &["nucleo.elf", "nucleo-g474re-emulated", "pico"]);
    let qemu = Image { chip: None, board: "mps2-an386".into(), ..image() };
    refused(&mut bench, &qemu, None, None, &["mps2-an386", "--port qemu --firmware nucleo.elf"]);
    let unknown = Image { chip: Some("STM32Z9".into()), ..image() };
    refused(&mut bench, &unknown, None, None, &["STM32Z9", ".cargo/config.toml"]);
    let beyond = Segment { address: 0x0807_FFFE, bytes: vec![1; 4] };
    let large = Image { segments: vec![beyond], ..image() };
    refused(&mut bench, &large, None, None, &["0x0807fffe", "0x08080002", "memory.x"]);
    assert_eq!(*bench.diary.borrow(), [""; 0]);
    // Either name of the board is right.
    for board in ["nucleo-g474re", "nucleo-g474re-emulated"] {
        assert!(try_flash(&mut bench, &image(), Some(board), None).is_ok());
    }
}

#[test]
fn no_probe_two_probes_and_a_probe_that_is_not_there_are_told_apart() {
    let none = &mut Bench { probes: vec![], ..bench() };
    refused(none, &image(), None, None, &["no debug probe is plugged in", "USB"]);
    refused(none, &image(), None, Some("A1"), &["--probe A1", "plugged in: none"]);
    let two = &mut Bench { probes: vec![probe("A1"), probe("B2")], ..bench() };
    refused(
        two,
        &image(),
        None,
        None,
        &["2 debug probes", "--probe", "0483:374e:A1", "0483:374e:B2 (STLink V3)"],
    );
    refused(two, &image(), None, Some("0483:374E"), &["2 debug probes", "--probe"]);
    refused(two, &image(), None, Some("C3"), &["--probe C3", "0483:374e:A1"]);
    for selector in ["0483:374e:B2", "b2"] {
        assert_eq!(try_flash(two, &image(), None, Some(selector)).unwrap().probe, probe("B2"));
    }
}

#[test]
fn a_probe_this_user_may_not_open_names_the_rules_that_are_missing() {
    let mut locked_out = bench();
    locked_out.probes[0].permitted = false;
    refused(&mut locked_out, &image(), None, None, &["0483:374e:A1", "udev"]);
}

#[test]
fn what_a_probe_says_is_told_with_what_to_do() {
    for (error, says) in [
        (ProbeError::Open("busy".into()), ["can't be opened: busy", "another program"]),
        (ProbeError::Attach("no ACK".into()), ["no STM32G474RETx answers", "powered"]),
        (ProbeError::Locked("needs an erase".into()), ["is locked: needs an erase", "nothing was written"]),
    ] {
        refused(&mut Bench { attach: Err(error), ..bench() }, &image(), None, None, &says);
    }
}

#[test]
fn another_chip_and_a_locked_one_are_not_written_to() {
    // DEV_ID 0x468 is a G431 or G441 (RM0440, category 2).
    let other = &mut Bench { registers: vec![(0xE004_2000, 0x1001_6468)], ..bench() };
    refused(
        other,
        &image(),
        None,
        None,
        &["not a STM32G474RETx", "0x10016468", "0x469", "nothing was written"],
    );
    let protected = vec![(0xE004_2000, 0x2003_6469), (0x4002_2020, 0xFFEF_F8BB)];
    let locked = &mut Bench { registers: protected, ..bench() };
    refused(locked, &image(), None, None, &["is locked", "RDP", "erases", "nothing was written"]);
    let mute = &mut Bench { registers: vec![], ..bench() };
    refused(mute, &image(), None, None, &["no STM32G474RETx answers", "0xe0042000"]);
}

#[test]
fn a_chip_that_ohmrig_does_not_know_is_flashed_but_not_called_identified() {
    let novel = Image { chip: Some("Novel1".into()), ..image() };
    let flashed = try_flash(&mut Bench { registers: vec![], ..bench() }, &novel, None, None).unwrap();
    assert!(!flashed.identified);
}

#[test]
fn flash_that_reads_back_wrong_is_a_failure_and_the_board_is_not_started() {
    let mut bench = Bench { program: Err(ProbeError::Verify), ..bench() };
    let error = try_flash(&mut bench, &image(), None, None).unwrap_err().to_string();
    assert!(error.contains("read back") && error.contains("flash it again"), "{error}");
    assert!(!bench.diary.borrow().contains(&"reset".to_owned()));
}
