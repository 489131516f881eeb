//! The whole instrument over the tunnel: the firmware core and its front end give the same replies and leave the same
//! devices as with the bench called directly, and a pulse-verify stays within its budget of bytes.

use crate::pipe::{Pipe, Stream};
use ohmrig::bench::profile;
use ohmrig_emulator::board::{Board, BoardOptions};
use ohmrig_emulator::crossbar::Crossbar;
use ohmrig_emulator::truth::CellTruth;
use ohmrig_firmware::bench_hardware::BenchHardware;
use ohmrig_firmware::bench_link::BenchLink;
use ohmrig_firmware::core::{Boot, CellCount, Core, JobCell, Nameplate, Next, Now, Storage, flash_bytes};
use ohmrig_firmware::or16::{Or16, Or16Config};
use ohmrig_firmware::store::STORE_BYTES;
use ohmrig_protocol::bench::Bench;
use ohmrig_protocol::frame::{self, Header, Kind, SessionId};
use ohmrig_protocol::message::*;
use ohmrig_protocol::session::{Hello, session_id};
use ohmrig_protocol::units::{Seconds, Siemens, Volts};

const BOOT_NONCE: u64 = 42;
const HOST_NONCE: u64 = 1;
const SIDE: usize = 16;

fn board() -> Board {
    let profile = profile(Some("rram-cmo")).unwrap();
    let crossbar = Crossbar::new(SIDE, SIDE, &profile.device, 5).unwrap();
    let options = BoardOptions {
        imperfections: profile.board.into(),
        seed: 5,
        boot_nonce: BOOT_NONCE,
        flash_bytes: flash_bytes(SIDE as u16, SIDE as u16, 1),
    };
    Board::new(crossbar, options).unwrap()
}

/// Opens a session, arms and sends `requests`, one after another.
fn conversation(requests: &[Request<'_>]) -> Vec<u8> {
    // The first start that its flash has counted.
    let session = session_id(HOST_NONCE, 1 << 32 | BOOT_NONCE, 1);
    let mut bytes = Vec::new();
    let mut push = |kind, session, sequence, body: &dyn Fn(Header, &mut [u8]) -> usize| {
        let mut frame = [0; 2048];
        let length = body(Header { version: 0, kind, session, sequence }, &mut frame);
        bytes.extend_from_slice(&frame[..length]);
    };
    let hello = Hello { host_nonce: HOST_NONCE };
    push(Kind::Hello, SessionId::NONE, 0, &|header, out| frame::encode(header, &hello, out).unwrap());
    let arm = [Request::Arm { milliseconds: 600_000 }];
    for (sequence, request) in (0..).zip(arm.iter().chain(requests)) {
        push(Kind::Request, session, sequence, &|header, out| frame::encode(header, request, out).unwrap());
    }
    bytes
}

/// Runs a core on `bench` until it has dealt with `bytes` and nothing is left to do, calling `watch` after each step.
fn run<B: Bench>(bench: B, bytes: &[u8], mut watch: impl FnMut()) -> (Vec<u8>, Or16<BenchHardware<B>>) {
    const FRAME: usize = 2048;
    let (mut receive, mut transmit, mut data) = ([0; FRAME], [0; 2 * FRAME], [0; FRAME]);
    let (mut codes, mut cells) = ([0; SIDE], [CellCount::NONE; SIDE * SIDE]);
    let (mut lines, mut item) = ([0; 2 * SIDE + 1], [0; STORE_BYTES]);
    let mut job = vec![JobCell::EMPTY; SIDE * SIDE];
    let mut ring = [0; 4 * FRAME];
    let storage = Storage {
        receive: &mut receive,
        transmit: &mut transmit,
        data: &mut data,
        codes: &mut codes,
        cells: &mut cells,
        lines: &mut lines,
        item: &mut item,
        job: &mut job,
        ring: &mut ring,
    };
    let nameplate = Nameplate { board: "test", emulated: true, firmware: "0", git: "0", build: &[] };
    let mut core =
        Core::new(nameplate, Boot { nonce: BOOT_NONCE, reset: ResetReason::PowerOn, panic: None }, storage);
    let side = SIDE as u16;
    let config = Or16Config { rows: side, columns: side, gates: false };
    let mut front_end = Or16::new(BenchHardware::new(bench).unwrap(), config).unwrap();
    let mut out = Vec::new();
    let mut rest = bytes;
    loop {
        rest = &rest[core.receive(rest, 0)..];
        let instrument_ns = front_end.hardware_mut().now_ns().unwrap();
        let next = core.poll(Now { instrument_ns, link_ns: 0 }, &mut front_end);
        let sent = core.outgoing().len();
        out.extend_from_slice(core.outgoing());
        core.sent(sent);
        watch();
        match next {
            Next::Ready => {}
            Next::WaitUntil(at_ns) => front_end.hardware_mut().wait_until_ns(at_ns).unwrap(),
            Next::Idle if rest.is_empty() && sent == 0 => break,
            Next::Idle => {}
        }
    }
    (out, front_end)
}

fn program<'a>(targets: &'a [u8], region: Region, conversions: u16) -> Request<'a> {
    let stairs = Staircase { start: Volts(1.1), step: Volts(0.05), stop: Volts(1.8) };
    Request::Program(Program {
        job: JobId(9),
        region,
        targets,
        window: Siemens(1e-6),
        algorithm: Algorithm::Incremental { set: stairs, reset: stairs },
        width: Seconds(50e-6),
        scheme: Scheme::Half,
        read_volts: Volts(0.2),
        range: 1,
        conversions,
        max_conversions: 4 * conversions,
        confirm: conversions,
        max_pulses: 200,
        max_reversals: 30,
    })
}

fn targets(cells: usize) -> Vec<u8> {
    (0..cells).flat_map(|k| (20e-6 + 40e-6 * (k % 7) as f32 / 7.0).to_le_bytes()).collect()
}

fn truth(board: &mut Board) -> Vec<CellTruth> {
    board.truth().unwrap()
}

#[test]
fn the_instrument_does_the_same_over_the_tunnel_as_on_the_bench_itself() {
    let region = Region { row: 3, column: 2, rows: 4, columns: 3 };
    let targets = targets(12);
    let mut codes = Vec::new();
    for k in 0..4 * SIDE as u16 {
        codes.extend_from_slice(&(0x8000 + 37 * (k % 30) - 500).to_le_bytes());
    }
    let whole = Region { row: 0, column: 0, rows: 4, columns: SIDE as u16 };
    let writing = [program(&targets, region, 2)];
    let measuring = [
        Request::Identify,
        Request::CheckChips,
        Request::ReadReference(ReadReference {
            row: 3,
            column: None,
            volts: Volts(1.0),
            range: 1,
            conversions: 4,
            interval_ns: 0,
        }),
        Request::ReadCells(ReadCells { region: whole, volts: Volts(0.2), range: 1, conversions: 2 }),
        Request::Mvm(Mvm { range: 1, conversions: 1, interval_ns: 0, codes: &codes }),
        Request::Mvm(Mvm { range: 2, conversions: 3, interval_ns: 0, codes: &codes }),
        Request::ReadColumn(ReadColumn {
            row: 3,
            column: 2,
            volts: Volts(-0.2),
            range: 1,
            samples: 20,
            interval_ns: 10_000,
            delay_ns: None,
        }),
        Request::Pulse(Pulse {
            row: 5,
            column: 6,
            volts: Volts(1.6),
            width: Seconds(50e-6),
            scheme: Scheme::Third,
            gate: None,
        }),
    ];
    // A job and measurements apart, since these are refused while it runs.
    for (requests, pulses_at_least) in [(writing.as_slice(), 12), (measuring.as_slice(), 1)] {
        let bytes = conversation(requests);
        let (direct, mut bare) = run(board(), &bytes, || {});
        let pipe = Pipe::new(board(), 64);
        let (tunnelled, _) =
            run(BenchLink::connect(Stream::new(&pipe), super::memory()).unwrap(), &bytes, || {});
        assert_eq!(direct, tunnelled);
        let devices = truth(bare.hardware_mut().bench());
        assert_eq!(devices, truth(&mut pipe.borrow_mut().bench));
        let pulses: u64 = devices.iter().map(|cell| cell.pulses).sum();
        assert!(pulses >= pulses_at_least, "{pulses} pulses");
    }
}

/// Step by step: bytes on the tunnel from one pulse's edge to the next one's, within one cell.
#[test]
fn a_pulse_verify_costs_at_most_300_bytes_on_the_tunnel() {
    let targets = 80e-6f32.to_le_bytes();
    let region = Region { row: 4, column: 7, rows: 1, columns: 1 };
    let bytes = conversation(&[program(&targets, region, 1)]);
    let pipe = Pipe::new(board(), usize::MAX);
    let mut edges = Vec::new();
    let watched = std::rc::Rc::clone(&pipe);
    run(BenchLink::connect(Stream::new(&pipe), super::memory()).unwrap(), &bytes, || {
        let mut pipe = watched.borrow_mut();
        let bytes = pipe.bytes();
        let cell = truth(&mut pipe.bench)[4 * SIDE + 7];
        if cell.pulses as usize > edges.len() {
            edges.push((bytes, cell.conductance_s));
        }
    });
    assert!(edges.len() >= 6, "pulses: {}", edges.len());
    // Bytes, and the conductance that was verified in between.
    let between: Vec<_> = edges.windows(2).map(|pair| (pair[1].0 - pair[0].0, pair[1].1)).collect();
    println!("bytes between pulses, and S: {between:?}");
    // The first step of its kind: nothing to recall yet.
    assert!(between[0].0 <= 450, "{between:?}");
    let far: Vec<_> = between[1..].iter().filter(|(_, g)| (g - 80e-6).abs() > 10e-6).collect();
    assert!(far.len() >= 4, "{far:?}");
    assert!(far.iter().all(|(bytes, _)| *bytes <= 300), "{far:?}");
    // Near its target a cell is read at both polarities.
    assert!(between[1..].iter().all(|(bytes, _)| *bytes <= 380), "{between:?}");
}
