//! What a device was told to keep, it keeps: power is cut at every single flash operation of a scripted history, in four
//! ways each, and what comes back is what was committed or, for the one request in the air, what it asked for; never a
//! mixture, and budgets never under what ground truth says.

use ohmrig::bench::{Emulation, profile};
use ohmrig::client::{Client, Device};
use ohmrig::device::{EmulatedDevice, Wish};
use ohmrig::instrument::{Instrument, InstrumentError};
use ohmrig::transport::InProcess;
use ohmrig_emulator::board::{Board, BoardOptions};
use ohmrig_emulator::crossbar::Crossbar;
use ohmrig_emulator::flash::{Flash, PowerCut, SECTOR_BYTES, Tear};
use ohmrig_firmware::bench_hardware::BenchHardware;
use ohmrig_firmware::board::last_words::{LastWords, Word};
use ohmrig_firmware::core::{Boot, CellCount, Core, JobCell, Nameplate, Next, Now, Storage, flash_bytes};
use ohmrig_firmware::or16::{Or16, Or16Config};
use ohmrig_firmware::store::STORE_BYTES;
use ohmrig_protocol::frame::{SessionId, crc32};
use ohmrig_protocol::message::*;
use ohmrig_protocol::units::{Seconds, Siemens, Volts};
use ohmrig_tests::{Answer, Scratch, Talk, Wire, request};
use std::collections::HashMap;

const PULSE: Pulse =
    Pulse { row: 0, column: 0, volts: Volts(1.6), width: Seconds(50e-6), scheme: Scheme::Half, gate: None };
const ARM: Request<'_> = Request::Arm { milliseconds: 60_000 };
const ROWS: u16 = 4;
const COLUMNS: u16 = 3;
const WHOLE: Region = Region { row: 0, column: 0, rows: ROWS, columns: COLUMNS };
const CELLS: usize = 12;

/// The largest number of pulses that is reserved for a cell at once: singles, and a job of the history.
const AHEAD: u32 = 32 + JOB_PULSES as u32;
const JOB_PULSES: u16 = 20;

fn small_array() -> Talk {
    let mut emulation = Emulation::new(profile(Some("rram-cmo")).unwrap(), 5);
    (emulation.rows, emulation.columns) = (ROWS, COLUMNS);
    let device = EmulatedDevice::power_up(&emulation).unwrap();
    Talk::new(Wire { device, link_ns: 0 })
}

fn flash(talk: &mut Talk) -> &mut Flash {
    talk.wire.device.board().flash()
}

/// A record's data, different for each kind and tag.
fn data(kind: u8, tag: u8) -> Vec<u8> {
    (0..1200u32).map(|n| (n as u8).wrapping_mul(tag).wrapping_add(kind)).collect()
}

/// One thing to do. Each ends in one answer that commits it, or in none.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    Arm,
    Pulse(u16, u16),
    /// Writes row 1 until done.
    Job,
    Safe,
    /// Pulses per cell.
    Tighten(u32),
    Store(u8, u8),
    RollBack,
    Plug(&'static str),
}

const HISTORY: [Step; 44] = [
    Step::Arm,
    Step::Pulse(0, 0),
    Step::Pulse(0, 0),
    Step::Pulse(2, 1),
    Step::Safe,
    Step::Tighten(900_000),
    Step::Store(1, 1),
    Step::Store(1, 2),
    Step::Plug("wafer 7"),
    Step::Arm,
    Step::Pulse(0, 0),
    Step::Job,
    Step::Pulse(1, 1),
    Step::Safe,
    Step::RollBack,
    Step::Store(2, 3),
    Step::Tighten(800_000),
    Step::Plug("wafer 8"),
    Step::Arm,
    Step::Pulse(3, 2),
    Step::Pulse(2, 2),
    Step::Pulse(1, 2),
    Step::Pulse(0, 2),
    Step::Pulse(3, 1),
    Step::Pulse(2, 1),
    Step::Pulse(1, 1),
    Step::Pulse(0, 1),
    // The ninth cell: what eight were reserved is settled.
    Step::Pulse(3, 0),
    Step::Plug("wafer 7"),
    Step::Store(1, 4),
    Step::Store(1, 5),
    Step::Arm,
    Step::Job,
    Step::Safe,
    Step::Plug("wafer 8"),
    Step::Plug("wafer 7"),
    Step::Plug("wafer 8"),
    Step::Plug("wafer 7"),
    Step::Plug("wafer 8"),
    Step::Plug("wafer 7"),
    Step::Plug("wafer 8"),
    Step::Plug("wafer 7"),
    Step::Plug("wafer 8"),
    Step::Plug("wafer 7"),
];

/// What the device has promised to keep.
#[derive(Clone, Debug, PartialEq)]
struct Promises {
    pulses_per_cell: u32,
    array: String,
    /// Number, kind, tag, in force.
    records: Vec<(u32, u8, u8, bool)>,
}

impl Promises {
    fn after(&self, step: Step) -> Self {
        let mut after = self.clone();
        match step {
            Step::Tighten(pulses) => after.pulses_per_cell = pulses,
            Step::Plug(name) => after.array = name.to_owned(),
            Step::Store(kind, tag) => {
                if after.records.len() == RECORD_HISTORY {
                    // The oldest that isn't in force; were all, the one of this kind.
                    let idle = after.records.iter().position(|record| !record.3);
                    let oldest = idle.or_else(|| after.records.iter().position(|record| record.1 == kind));
                    after.records.remove(oldest.unwrap());
                }
                after.records.iter_mut().filter(|r| r.1 == kind).for_each(|record| record.3 = false);
                let number = after.records.last().map_or(1, |record| record.0 + 1);
                after.records.push((number, kind, tag, true));
            }
            Step::RollBack => {
                after.records.iter_mut().filter(|r| r.1 == 1).for_each(|record| record.3 = record.0 == 1);
            }
            Step::Arm | Step::Pulse(..) | Step::Job | Step::Safe => {}
        }
        after
    }

    /// What the device says now, every record read back and compared.
    fn kept(talk: &mut Talk) -> Self {
        let device = talk.identity();
        let Answer::Other(entries) = talk.ask(&Request::ListRecords) else { panic!() };
        let entries = entries.as_chunks::<RECORD_ENTRY_BYTES>().0.iter().map(RecordEntry::from_bytes);
        let records = entries.map(|RecordEntry { number, in_force, label }| {
            let mut stored = Vec::new();
            for offset in (0..label.length).step_by(RECORD_CHUNK_BYTES) {
                match talk.ask(&Request::ReadRecord { number, offset }) {
                    Answer::Other(chunk) => stored.extend(chunk),
                    other => panic!("record {number}: {other:?}"),
                }
            }
            let tag = label.hash[0];
            assert_eq!(stored, data(label.kind, tag), "record {number}");
            (number, label.kind, tag, in_force)
        });
        Self {
            pulses_per_cell: device.limits.pulses_per_cell,
            array: device.array,
            records: records.collect(),
        }
    }
}

/// The answers of a step; stops short when power is lost.
fn take(talk: &mut Talk, step: Step) {
    let mut ask = |asked: &Request<'_>, expected: &dyn Fn(&Answer) -> bool| -> bool {
        let answer = talk.ask(asked);
        let lost = flash(talk).has_lost_power();
        assert!(lost || expected(&answer), "{step:?}: {answer:?}");
        !lost
    };
    let done = |answer: &Answer| *answer == Answer::Done;
    match step {
        Step::Arm => {
            ask(&ARM, &done);
        }
        Step::Pulse(row, column) => {
            ask(&Request::Pulse(Pulse { row, column, ..PULSE }), &|answer| *answer == Answer::Pulsed);
        }
        Step::Job => {
            let targets: Vec<u8> =
                [60e-6f32; COLUMNS as usize].iter().flat_map(|t| t.to_le_bytes()).collect();
            let stairs = Staircase { start: Volts(1.2), step: Volts(0.05), stop: Volts(1.6) };
            let program = Program {
                job: JobId(1),
                region: Region { row: 1, column: 0, rows: 1, columns: COLUMNS },
                targets: &targets,
                window: Siemens(2e-6),
                algorithm: Algorithm::Incremental { set: stairs, reset: stairs },
                width: Seconds(50e-6),
                scheme: Scheme::Half,
                read_volts: Volts(0.2),
                range: 1,
                conversions: 2,
                max_conversions: 4,
                confirm: 0,
                max_pulses: JOB_PULSES,
                max_reversals: 4,
            };
            let _ = ask(&Request::Program(program), &done) && ask(&Request::ReleaseJob(JobId(1)), &done);
        }
        Step::Safe => {
            ask(&Request::Safe, &done);
        }
        Step::Tighten(pulses_per_cell) => {
            let Answer::Identity(device) = talk.ask(&Request::Identify) else { panic!() };
            let limits = Limits { pulses_per_cell, ..device.limits };
            let answer = talk.ask(&Request::TightenLimits(limits));
            assert!(flash(talk).has_lost_power() || answer == Answer::Done, "{answer:?}");
        }
        Step::Store(kind, tag) => {
            let data = data(kind, tag);
            let label = RecordLabel {
                kind,
                date: 1_800_000_000,
                length: data.len() as u32,
                crc: crc32(&data),
                hash: [tag; 32],
            };
            let mut on = ask(&Request::BeginRecord(label), &done);
            for (offset, data) in (0..).step_by(RECORD_CHUNK_BYTES).zip(data.chunks(RECORD_CHUNK_BYTES)) {
                on = on && ask(&Request::RecordChunk { offset, data }, &done);
            }
            let _ = on && ask(&Request::CommitRecord, &|answer| matches!(answer, Answer::RecordStored(_)));
        }
        Step::RollBack => {
            ask(&Request::RollBackRecord { number: 1 }, &done);
        }
        Step::Plug(name) => {
            ask(&Request::PlugArray { name }, &done);
        }
    }
}

/// Ground truth of what each array has got: the same devices, whoever they are said to be.
type Got = HashMap<String, [u64; CELLS]>;

fn truth(talk: &mut Talk) -> [u64; CELLS] {
    let mut pulses = [0; CELLS];
    pulses.iter_mut().zip(talk.wire.truth()).for_each(|(to, cell)| *to = cell.pulses);
    pulses
}

/// Every array's budgets against ground truth: never under, and over only by what was reserved.
fn check_budgets(talk: &mut Talk, got: &Got, over: u32, why: &str) {
    let plugged = talk.identity().array;
    let mut names: Vec<&String> = got.keys().filter(|name| !name.is_empty()).collect();
    names.sort();
    names.push(&plugged);
    for name in names {
        if !name.is_empty() {
            assert_eq!(talk.ask(&Request::PlugArray { name }), Answer::Done, "{why}");
        }
        let got = got.get(name).copied().unwrap_or_default();
        for (index, (budget, got)) in talk.budgets(WHOLE).into_iter().zip(got).enumerate() {
            let counted = u64::from(budget.pulses);
            assert!(counted >= got, "{why}: `{name}`, cell {index}: {counted} counted of {got}");
            assert!(
                counted <= got + u64::from(over),
                "{why}: `{name}`, cell {index}: {counted} counted of {got}"
            );
            // The smallest pulse of the history is 1.2 V for 50 µs.
            assert!(budget.dose >= got * 60_000, "{why}: `{name}`, cell {index}: {budget:?}");
        }
    }
}

/// A flash in which every map has been through its pages, so that the history erases and moves things, some of them
/// promises of long ago.
fn aged(rounds: u8) -> Vec<u8> {
    let mut talk = small_array();
    for step in [Step::Tighten(950_000), Step::Store(1, 11), Step::Store(2, 12), Step::Arm] {
        take(&mut talk, step);
    }
    fall_silent(&mut talk);
    assert_eq!(talk.ask(&Request::ClearFault(FaultCode::LinkSilent)), Answer::Done);
    for round in 0..rounds {
        for name in ["aging", "aged"] {
            assert_eq!(talk.ask(&Request::PlugArray { name }), Answer::Done);
            assert_eq!(talk.ask(&ARM), Answer::Done);
            for column in 0..COLUMNS {
                assert_eq!(talk.ask(&Request::Pulse(Pulse { column, ..PULSE })), Answer::Pulsed, "{round}");
            }
            assert_eq!(talk.ask(&Request::Safe), Answer::Done);
        }
        // Begun and never committed.
        let label = RecordLabel { kind: 1, date: 0, length: MAX_RECORD_BYTES, crc: 0, hash: [0; 32] };
        assert_eq!(talk.ask(&Request::BeginRecord(label)), Answer::Done);
        for offset in (0..MAX_RECORD_BYTES / 2).step_by(RECORD_CHUNK_BYTES) {
            let data = &[round; RECORD_CHUNK_BYTES];
            assert_eq!(talk.ask(&Request::RecordChunk { offset, data }), Answer::Done);
        }
    }
    assert_eq!(talk.ask(&Request::PlugArray { name: "young" }), Answer::Done);
    flash(&mut talk).contents().to_vec()
}

/// The history on a device with this flash, until power is lost; what is promised then, and what was in the air.
fn live(contents: &[u8], cut: Option<PowerCut>) -> (Talk, Promises, Option<Step>, Got) {
    let mut talk = small_array();
    *flash(&mut talk) = Flash::from_contents(contents.to_vec()).unwrap();
    talk.power_cycle();
    let mut promises = Promises::kept(&mut talk);
    flash(&mut talk).cut = cut.map(|cut| PowerCut {
        operations_ahead: cut.operations_ahead + flash(&mut talk).operations(),
        ..cut
    });
    let mut got = Got::new();
    for step in HISTORY {
        let before = truth(&mut talk);
        let array = promises.array.clone();
        take(&mut talk, step);
        let after = truth(&mut talk);
        let cells = got.entry(array).or_insert([0; CELLS]);
        cells
            .iter_mut()
            .zip(before.iter().zip(after))
            .for_each(|(got, (before, after))| *got += after - before);
        if flash(&mut talk).has_lost_power() {
            return (talk, promises, Some(step), got);
        }
        promises = promises.after(step);
    }
    (talk, promises, None, got)
}

/// After power loss: everything promised is there, and the device works on.
fn check(talk: &mut Talk, promises: &Promises, in_the_air: Option<Step>, got: &Got, why: &str) -> Promises {
    let device = talk.identity();
    assert_eq!(device.storage, None, "{why}");
    // Of long ago, and cleared.
    assert_eq!(
        device.last_fault.map(|(fault, boot)| (fault.code, boot)),
        Some((FaultCode::LinkSilent, 1)),
        "{why}"
    );
    let Answer::Status(status) = talk.ask(&Request::Status) else { panic!() };
    assert_eq!(status.fault, None, "{why}");
    let kept = Promises::kept(talk);
    let asked_for = in_the_air.map(|step| promises.after(step));
    assert!(kept == *promises || Some(&kept) == asked_for.as_ref(), "{why}: {promises:?} became {kept:?}");
    check_budgets(talk, got, AHEAD, why);
    kept
}

fn cut_everywhere(tear: Tear) {
    for rounds in [24, 27] {
        cut(&aged(rounds), tear);
    }
}

fn cut(contents: &[u8], tear: Tear) {
    let (mut talk, promises, _, got) = live(contents, None);
    let operations = flash(&mut talk).operations();
    let first_words =
        |bytes: &[u8]| bytes.chunks(SECTOR_BYTES as usize).map(|s| s[..32].to_vec()).collect::<Vec<_>>();
    let (before, after) = (first_words(contents), first_words(flash(&mut talk).contents()));
    assert!(
        before.iter().zip(after).filter(|(before, after)| *before != after).count() > 2,
        "too little erased"
    );
    talk.power_cycle();
    assert_eq!(Promises::kept(&mut talk), promises);
    check_budgets(&mut talk, &got, 0, "no power loss");
    let mut cuts = 0;
    for operations_ahead in 0..operations {
        let why = format!("{tear:?} of operation {operations_ahead}");
        let (mut talk, promises, step, got) = live(contents, Some(PowerCut { operations_ahead, tear }));
        let Some(step) = step else { break };
        let boots = talk_boots(&mut talk);
        cuts += 1;
        talk.power_cycle();
        assert!(talk.identity().boots > boots, "{why}");
        let kept = check(&mut talk, &promises, Some(step), &got, &why);
        // And again: nothing more is charged, and it goes on working.
        talk.power_cycle();
        assert_eq!(Promises::kept(&mut talk), Promises { array: talk.identity().array, ..kept }, "{why}");
        check_budgets(&mut talk, &got, AHEAD, &why);
        assert_eq!(talk.ask(&ARM), Answer::Done, "{why}");
        assert_eq!(talk.ask(&Request::Pulse(PULSE)), Answer::Pulsed, "{why}");
    }
    assert!(cuts > 100, "{cuts} operations");
}

/// Starts counted so far; asked of the flash, for the device has lost power.
fn talk_boots(talk: &mut Talk) -> u32 {
    match talk.ask(&Request::Identify) {
        Answer::Identity(device) => device.boots,
        other => panic!("{other:?}"),
    }
}

#[test]
fn power_lost_before_an_operation_loses_nothing() {
    cut_everywhere(Tear::Nothing);
}

#[test]
fn power_lost_after_half_of_an_operation_loses_nothing() {
    cut_everywhere(Tear::FirstHalf);
}

#[test]
fn power_lost_after_the_other_half_of_an_operation_loses_nothing() {
    cut_everywhere(Tear::SecondHalf);
}

#[test]
fn power_lost_while_an_erase_has_everything_at_zero_loses_nothing() {
    cut_everywhere(Tear::Zeros);
}

#[test]
fn power_lost_at_the_very_first_start_is_no_loss() {
    for tear in [Tear::Nothing, Tear::FirstHalf, Tear::SecondHalf, Tear::Zeros] {
        for operations_ahead in 0..12 {
            let mut talk = small_array();
            let size = flash(&mut talk).contents().len() as u32;
            *flash(&mut talk) = Flash::new(size).unwrap();
            restart_with_cut(&mut talk, PowerCut { operations_ahead, tear });
            talk.power_cycle();
            let device = talk.identity();
            assert_eq!((device.storage, device.array.as_str()), (None, ""), "{tear:?} of {operations_ahead}");
        }
    }
}

/// Power is lost again while the device recovers from losing it: at each operation of a start.
#[test]
fn power_lost_in_the_start_after_a_power_loss_loses_nothing() {
    let contents = aged(25);
    for operations_ahead in (3..120).step_by(9) {
        let tear = Tear::FirstHalf;
        let (mut talk, promises, step, got) = live(&contents, Some(PowerCut { operations_ahead, tear }));
        let left = flash(&mut talk).contents().to_vec();
        for again in 0..40 {
            *flash(&mut talk) = Flash::from_contents(left.clone()).unwrap();
            let why = format!("operation {operations_ahead}, then {again} of the start");
            let lost =
                restart_with_cut(&mut talk, PowerCut { operations_ahead: again, tear: Tear::SecondHalf });
            talk.power_cycle();
            check(&mut talk, &promises, step, &got, &why);
            if !lost {
                break;
            }
        }
    }
}

/// Silence while armed, for longer than the device takes it.
fn fall_silent(talk: &mut Talk) {
    talk.wire.link_ns += 3_000_000_000;
    let mut out = Vec::new();
    while talk.wire.device.step(&[], talk.wire.link_ns, &mut out).unwrap().1 != Wish::Bytes {}
}

/// Starts the device with a flash that will lose power, and lets it run until it has nothing to do. Whether it was lost.
fn restart_with_cut(talk: &mut Talk, cut: PowerCut) -> bool {
    talk.wire.device.power_cycle().unwrap();
    flash(talk).cut = Some(cut);
    let mut out = Vec::new();
    while talk.wire.device.step(&[], 0, &mut out).unwrap().1 != Wish::Bytes {}
    flash(talk).has_lost_power()
}

#[test]
fn no_two_starts_have_the_same_nonce() {
    let mut wire = small_array().wire;
    let mut nonces = Vec::new();
    for host_nonce in 0..20 {
        wire.device.power_cycle().unwrap();
        wire.open(host_nonce);
        let answers = wire.exchange(&request(SessionId::NONE, 0, &Request::Status));
        let [Answer::Unexecuted(ohmrig_protocol::session::Unexecuted::NoSession { boot_nonce })] =
            answers[..]
        else {
            panic!("{answers:?}")
        };
        nonces.push(boot_nonce);
    }
    assert!(nonces.windows(2).all(|pair| pair[1] >> 32 == (pair[0] >> 32) + 1), "{nonces:?}");
}

#[test]
fn a_latched_fault_survives_a_reset_and_is_cleared_only_by_name() {
    let mut talk = small_array();
    assert_eq!(talk.ask(&ARM), Answer::Done);
    fall_silent(&mut talk);
    for _ in 0..2 {
        talk.power_cycle();
        let Answer::Status(status) = talk.ask(&Request::Status) else { panic!() };
        assert_eq!(status.fault.map(|fault| fault.code), Some(FaultCode::LinkSilent));
        assert_eq!(talk.ask(&ARM), Answer::Refused(Refusal::Faulted(FaultCode::LinkSilent)));
    }
    assert_eq!(talk.ask(&Request::ClearFault(FaultCode::Chip)), Answer::Refused(Refusal::NoSuchFault));
    assert_eq!(talk.ask(&Request::ClearFault(FaultCode::LinkSilent)), Answer::Done);
    talk.power_cycle();
    let Answer::Status(status) = talk.ask(&Request::Status) else { panic!() };
    assert_eq!(status.fault, None);
    // It is still told that there was one.
    let (fault, boot) = talk.identity().last_fault.unwrap();
    assert_eq!((fault.code, boot), (FaultCode::LinkSilent, 1));
}

#[test]
fn a_worn_flash_is_a_named_fault_and_the_instrument_still_reads() {
    let mut talk = small_array();
    flash(&mut talk).worn = (0..1000).collect();
    let limits = Limits { pulses_per_cell: 7, ..talk.identity().limits };
    assert_eq!(talk.ask(&Request::TightenLimits(limits)), Answer::Refused(Refusal::Fault(FaultCode::Flash)));
    assert_ne!(talk.identity().limits, limits);
    assert_eq!(talk.ask(&ARM), Answer::Refused(Refusal::Faulted(FaultCode::Flash)));
    let read = ReadCells { region: WHOLE, volts: Volts(0.2), range: 1, conversions: 1 };
    assert!(
        matches!(talk.ask(&Request::ReadCells(read)), Answer::Other(sums) if sums.len() == CELLS * CELL_SUMS_BYTES)
    );
    assert_eq!(talk.ask(&Request::ClearFault(FaultCode::Flash)), Answer::Done);
    assert_eq!(talk.ask(&ARM), Answer::Done);
    assert!(matches!(
        talk.ask(&Request::Pulse(PULSE)),
        Answer::Refused(Refusal::Storage(StorageProblem::Failed { .. }))
    ));
    assert_eq!(talk.wire.pulses(), 0);
    // A new flash: the board of before.
    talk.power_cycle();
    assert_eq!(talk.identity().storage, None);
}

/// An instrument whose flash is anything.
fn start(contents: Vec<u8>, panic: Option<&'static str>) -> (Device, Vec<u8>, Answer, Answer) {
    let profile = profile(Some("ideal")).unwrap();
    let crossbar = Crossbar::new(ROWS.into(), COLUMNS.into(), &profile.device, 5).unwrap();
    let options = BoardOptions {
        imperfections: profile.board.into(),
        seed: 5,
        boot_nonce: 9,
        flash_bytes: contents.len() as u32,
    };
    let mut board = Board::new(crossbar, options).unwrap();
    *board.flash() = Flash::from_contents(contents).unwrap();
    const FRAME: usize = 2048;
    let storage = Storage {
        receive: vec![0; FRAME].leak(),
        transmit: vec![0; 2 * FRAME].leak(),
        data: vec![0; FRAME].leak(),
        codes: vec![0; COLUMNS.into()].leak(),
        cells: vec![CellCount::NONE; CELLS].leak(),
        lines: vec![0; usize::from(ROWS + COLUMNS) + 1].leak(),
        item: vec![0; STORE_BYTES].leak(),
        job: vec![JobCell::EMPTY; CELLS].leak(),
        ring: vec![0; 2 * FRAME].leak(),
    };
    let nameplate = Nameplate { board: "test", emulated: true, firmware: "0", git: "0", build: &[] };
    let reset = if panic.is_some() { ResetReason::Panic } else { ResetReason::PowerOn };
    let mut core = Core::new(nameplate, Boot { nonce: 9, reset, panic }, storage);
    let config = Or16Config { rows: ROWS, columns: COLUMNS, gates: false };
    let mut front_end = Or16::new(BenchHardware::new(board).unwrap(), config).unwrap();
    let mut exchange = |bytes: &[u8]| {
        let mut rest = bytes;
        let mut out = Vec::new();
        loop {
            rest = &rest[core.receive(rest, 0)..];
            let instrument_ns = front_end.hardware_mut().now_ns().unwrap();
            let next = core.poll(Now { instrument_ns, link_ns: 0 }, &mut front_end);
            let sent = core.outgoing().len();
            out.extend_from_slice(core.outgoing());
            core.sent(sent);
            match next {
                Next::WaitUntil(at_ns) => front_end.hardware_mut().wait_until_ns(at_ns).unwrap(),
                Next::Idle if rest.is_empty() && sent == 0 => break,
                Next::Ready | Next::Idle => {}
            }
        }
        ohmrig_tests::answers(&out)
    };
    let hello = ohmrig_protocol::session::Hello { host_nonce: 1 };
    let hello = ohmrig_tests::encode(ohmrig_protocol::frame::Kind::Hello, SessionId::NONE, 0, &hello);
    let [Answer::Welcome(welcome)] = exchange(&hello)[..] else { panic!() };
    let mut ask =
        |sequence, asked: &Request<'_>| exchange(&request(welcome.session(), sequence, asked)).remove(0);
    let Answer::Identity(device) = ask(0, &Request::Identify) else { panic!() };
    ask(1, &ARM);
    let pulse = ask(2, &Request::Pulse(PULSE));
    let read = ReadCells { region: WHOLE, volts: Volts(0.2), range: 1, conversions: 1 };
    let read = ask(3, &Request::ReadCells(read));
    let contents = front_end.hardware_mut().bench().flash().contents().to_vec();
    (*device, contents, pulse, read)
}

fn blank() -> Vec<u8> {
    vec![0xFF; flash_bytes(ROWS, COLUMNS, 1) as usize]
}

#[test]
fn a_flash_that_cannot_be_used_is_named_left_alone_and_no_hindrance_to_reading() {
    let (device, ours, pulse, _) = start(blank(), None);
    assert_eq!((device.storage, pulse), (None, Answer::Pulsed));
    // The layout's number is in the first word, under its CRC.
    let mut newer = ours.clone();
    newer[8] += 1;
    let crc = crc32(&newer[..28]).to_le_bytes();
    newer[28..32].copy_from_slice(&crc);
    let mut foreign = blank();
    foreign[..5].copy_from_slice(b"hello");
    let mut elsewhere = blank();
    elsewhere[3 * SECTOR_BYTES as usize] = 0;
    let needed = blank().len() as u32;
    for (contents, problem) in [
        (Vec::new(), StorageProblem::TooSmall { bytes: 0, needed }),
        (vec![0xFF; 8192], StorageProblem::TooSmall { bytes: 8192, needed }),
        (newer, StorageProblem::Layout { found: 3, own: 2 }),
        (foreign, StorageProblem::Foreign),
        (elsewhere, StorageProblem::Foreign),
    ] {
        let (device, after, pulse, read) = start(contents.clone(), None);
        assert_eq!(device.storage, Some(problem));
        assert_eq!(device.boots, 0);
        assert_eq!(after, contents, "{problem:?}");
        assert_eq!(pulse, Answer::Refused(Refusal::Storage(problem)));
        assert!(matches!(read, Answer::Other(sums) if sums.len() == CELLS * CELL_SUMS_BYTES), "{problem:?}");
    }
}

/// From the panic handler, over memory that outlives the reset, to the identity, the latched fault and the flash.
#[test]
fn the_last_panic_is_told_in_every_start_after_it_and_nothing_is_written_until_it_is_cleared() {
    let (device, contents, ..) = start(blank(), None);
    assert_eq!(device.last_panic, None);
    let long =
        "index 7 of 7 at firmware/src/core/measure.rs:12:34, and much more that nobody needs, said at length";
    let mut memory = LastWords::NONE;
    memory.keep(&[Word::Text(long)]);
    let words: &'static str = memory.take().unwrap().as_str().to_owned().leak();
    assert!(memory.take().is_none(), "told twice");
    let latched = Answer::Refused(Refusal::Faulted(FaultCode::Panic));
    let (device, contents, pulse, read) = start(contents, Some(words));
    assert_eq!(device.reset, ResetReason::Panic);
    assert_eq!(device.last_panic, Some((long[..MAX_PANIC_BYTES].to_owned(), 2)));
    assert_eq!(pulse, latched);
    assert!(matches!(read, Answer::Other(_)), "{read:?}");
    let (device, _, pulse, _) = start(contents, None);
    assert_eq!(device.last_panic, Some((long[..MAX_PANIC_BYTES].to_owned(), 2)));
    assert_eq!((device.reset, device.boots), (ResetReason::PowerOn, 3));
    assert_eq!(pulse, latched, "a power cycle is no answer to a panic");
    let fault = device.last_fault.unwrap().0;
    assert_eq!(fault.code, FaultCode::Panic);
}

fn instrument(emulation: &Emulation) -> Instrument {
    let device = EmulatedDevice::power_up(emulation).unwrap();
    Instrument::new(Client::connect(Box::new(InProcess::new(device)), "emulated").unwrap())
}

#[test]
fn records_come_back_whole_over_processes_and_can_be_rolled_back() {
    let scratch = Scratch::new("records");
    let mut emulation = Emulation::new(profile(Some("ideal")).unwrap(), 5);
    emulation.state = Some(scratch.path("array.json"));
    let record =
        |number: u32| -> Vec<u8> { (0..MAX_RECORD_BYTES).map(|n| ((n * number) >> 3) as u8).collect() };
    let mut board = instrument(&emulation);
    assert_eq!(board.record_in_force(1).unwrap(), None);
    for number in 1..=5 {
        let stored = board.store_record(1, 1_800_000_000 + u64::from(number), &record(number)).unwrap();
        assert_eq!((stored.number, stored.dropped), (number, (number == 5).then_some(1)));
    }
    drop(board);
    let mut board = instrument(&emulation);
    let (entry, data) = board.record_in_force(1).unwrap().unwrap();
    assert_eq!((entry.number, entry.label.date), (5, 1_800_000_005));
    assert_eq!(data, record(5));
    board.roll_back_record(2).unwrap();
    drop(board);
    let mut board = instrument(&emulation);
    let numbers: Vec<_> = board.records().unwrap().iter().map(|r| (r.number, r.in_force)).collect();
    assert_eq!(numbers, [(2, true), (3, false), (4, false), (5, false)]);
    assert_eq!(board.record_in_force(1).unwrap().unwrap().1, record(2));
    for entry in board.records().unwrap() {
        assert_eq!(board.read_record(&entry).unwrap(), record(entry.number));
    }
    assert!(matches!(
        board.roll_back_record(1),
        Err(InstrumentError::Refused { refusal: Refusal::NoSuchRecord { newest: 5 }, .. })
    ));
    assert!(matches!(
        board.store_record(1, 0, &vec![0; MAX_RECORD_BYTES as usize + 1]),
        Err(InstrumentError::Argument(_))
    ));
}

#[test]
fn a_record_that_is_not_what_was_announced_is_never_in_force() {
    let mut talk = small_array();
    take(&mut talk, Step::Store(1, 1));
    let data = data(1, 2);
    let label = RecordLabel { kind: 1, date: 0, length: data.len() as u32, crc: 7, hash: [2; 32] };
    assert_eq!(talk.ask(&Request::CommitRecord), Answer::Refused(Refusal::NoRecordBegun));
    assert_eq!(talk.ask(&Request::BeginRecord(label)), Answer::Done);
    assert!(matches!(
        talk.ask(&Request::CommitRecord),
        Answer::Refused(Refusal::Invalid { field: Field::Data, .. })
    ));
    for (offset, data) in (0..).step_by(RECORD_CHUNK_BYTES).zip(data.chunks(RECORD_CHUNK_BYTES)) {
        assert_eq!(talk.ask(&Request::RecordChunk { offset, data }), Answer::Done);
    }
    let stored = crc32(&data);
    assert_eq!(
        talk.ask(&Request::CommitRecord),
        Answer::Refused(Refusal::RecordCrc { stored, announced: 7 })
    );
    assert_eq!(Promises::kept(&mut talk).records, [(1, 1, 1, true)]);
}
