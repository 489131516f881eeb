//! Golden bytes of every message of wire version 0, as whole frames. From the first tag on this file and
//! `golden/v0.txt` only ever grow: a line that has to change means a new wire version.
//!
//! `OHMRIG_WRITE_GOLDEN=1 cargo test -p ohmrig-tests --test golden` writes the file anew (before the first tag, or to
//! append).

use ohmrig_protocol::bench::ChipKind;
use ohmrig_protocol::frame::{self, Header, Kind, SessionId};
use ohmrig_protocol::log::LogRecords;
use ohmrig_protocol::message::*;
use ohmrig_protocol::serial;
use ohmrig_protocol::session::{Hello, Mismatch, Unexecuted, Welcome};
use ohmrig_protocol::units::*;
use std::fmt::{Debug, Write};

const REGION: Region = Region { row: 1, column: 2, rows: 3, columns: 300 };
const LIMITS: Limits = Limits {
    cell: Volts(5.0),
    half_select: Volts(2.6),
    read: Volts(0.5),
    width_min: Seconds(5e-6),
    width_max: Seconds(1.0),
    current: Amperes(5e-3),
    pulses_per_cell: 1_000_000,
    dose_per_cell: VoltSeconds(5e3),
    energy_per_cell: Joules(25.0),
};
const STAIRS: Staircase = Staircase { start: Volts(1.0), step: Volts(0.05), stop: Volts(1.8) };

const LABEL: RecordLabel =
    RecordLabel { kind: 1, date: 1_800_000_000, length: 915, crc: 0xDEAD_BEEF, hash: [7; 32] };
const TRACE: Trace = Trace {
    job: JobId(7),
    source: TraceSource::Row(3),
    volts: Volts(0.2),
    column: 1,
    columns: 2,
    range: 1,
    samples: 1_000_000,
    interval_ns: 50_000,
    summed: 1,
};
const PROGRAM: Program<'static> = Program {
    job: JobId(5),
    region: Region { row: 0, column: 0, rows: 1, columns: 1 },
    targets: &[0, 0, 0x80, 0x3F],
    window: Siemens(1e-6),
    algorithm: Algorithm::Incremental { set: STAIRS, reset: STAIRS },
    width: Seconds(1e-4),
    scheme: Scheme::Half,
    read_volts: Volts(0.2),
    range: 1,
    conversions: 4,
    max_conversions: 64,
    confirm: 8,
    max_pulses: 100,
    max_reversals: 30,
};

/// The other rules by which pulses can follow reads; the match makes a new one impossible to forget.
fn algorithms() -> Vec<Algorithm> {
    let law = DoseLaw {
        threshold: Volts(1.0),
        reference: Volts(1.5),
        dose: 0.25,
        exponent: 2.0,
        stop: Volts(1.75),
    };
    let (floor, ceiling) = (Siemens(1e-6), Siemens(1e-4));
    let forming = Forming { volts: STAIRS, widest: Seconds(1e-3), gap: Seconds(1e-4) };
    let all = [
        PROGRAM.algorithm,
        Algorithm::Identical { set: Volts(1.5), reset: Volts(1.25) },
        Algorithm::Seeking { stairs: STAIRS },
        Algorithm::Model(Model { set: law, reset: law, floor, ceiling, melting: true }),
        Algorithm::Form(forming),
    ];
    for (index, algorithm) in all.iter().enumerate() {
        let at = match algorithm {
            Algorithm::Incremental { .. } => 0,
            Algorithm::Identical { .. } => 1,
            Algorithm::Seeking { .. } => 2,
            Algorithm::Model(_) => 3,
            Algorithm::Form(_) => 4,
        };
        assert_eq!(at, index);
    }
    all[1..].to_vec()
}

fn program(algorithm: Algorithm) -> Request<'static> {
    Request::Program(Program { algorithm, ..PROGRAM })
}

/// Every variant once; the match makes a new one impossible to forget.
fn requests() -> Vec<Request<'static>> {
    use Request as R;
    let all = vec![
        R::Identify,
        R::Status,
        R::ReadCells(ReadCells { region: REGION, volts: Volts(0.2), range: 1, conversions: 4 }),
        R::ReadColumn(ReadColumn {
            row: 3,
            column: 200,
            volts: Volts(-0.2),
            range: 1,
            samples: 1000,
            interval_ns: 100_000,
            delay_ns: None,
        }),
        R::ReadReference(ReadReference {
            row: 3,
            column: None,
            volts: Volts(1.0),
            range: 1,
            conversions: 16,
            interval_ns: 0,
        }),
        R::Mvm(Mvm { range: 1, conversions: 1, interval_ns: 0, codes: &[0x00, 0x80, 0xFF, 0xFF] }),
        R::CheckChips,
        R::JobStatus(JobId(0x0123_4567_89AB_CDEF)),
        R::JobResults { job: JobId(5), offset: 300 },
        R::Arm { milliseconds: 60_000 },
        R::Safe,
        R::ClearFault(FaultCode::Chip),
        R::TightenLimits(LIMITS),
        R::Pulse(Pulse {
            row: 3,
            column: 4,
            volts: Volts(-1.5),
            width: Seconds(1e-4),
            scheme: Scheme::Third,
            gate: Some(Volts(1.25)),
        }),
        R::Program(PROGRAM),
        R::AbortJob(JobId(5)),
        R::ReleaseJob(JobId(5)),
        R::Wait { job: JobId(6), until_ns: 31_557_600_000_000_000 },
        R::Trace(TRACE),
        R::FetchSamples { job: JobId(7), offset: 3000, arrived: 2000 },
        R::ReadBudgets(REGION),
        R::ListArrays,
        R::PlugArray { name: "wafer 7" },
        R::ForgetArray { name: "" },
        R::ListRecords,
        R::ReadRecord { number: 300, offset: 912 },
        R::BeginRecord(LABEL),
        R::RecordChunk { offset: 912, data: &[1, 2, 3] },
        R::CommitRecord,
        R::RollBackRecord { number: 300 },
    ];
    for (index, request) in all.iter().enumerate() {
        let at = match request {
            R::Identify => 0,
            R::Status => 1,
            R::ReadCells(_) => 2,
            R::ReadColumn(_) => 3,
            R::ReadReference(_) => 4,
            R::Mvm(_) => 5,
            R::CheckChips => 6,
            R::JobStatus(_) => 7,
            R::JobResults { .. } => 8,
            R::Arm { .. } => 9,
            R::Safe => 10,
            R::ClearFault(_) => 11,
            R::TightenLimits(_) => 12,
            R::Pulse(_) => 13,
            R::Program(_) => 14,
            R::AbortJob(_) => 15,
            R::ReleaseJob(_) => 16,
            R::Wait { .. } => 17,
            R::Trace(_) => 18,
            R::FetchSamples { .. } => 19,
            R::ReadBudgets(_) => 20,
            R::ListArrays => 21,
            R::PlugArray { .. } => 22,
            R::ForgetArray { .. } => 23,
            R::ListRecords => 24,
            R::ReadRecord { .. } => 25,
            R::BeginRecord(_) => 26,
            R::RecordChunk { .. } => 27,
            R::CommitRecord => 28,
            R::RollBackRecord { .. } => 29,
        };
        assert_eq!(at, index);
    }
    assert_eq!(all.len(), 30);
    all
}

fn replies() -> Vec<Reply<'static>> {
    use Reply as R;
    let status = Status {
        mode: Mode::Busy,
        armed_ms: 300,
        fault: Some(Fault {
            code: FaultCode::Chip,
            chip: Some((ChipKind::ColumnBias, 1)),
            at_ns: 1_000_000,
            sequence: Some(9),
        }),
        job: Some(JobId(5)),
        temperature: Some(Kelvin(296.5)),
        at_ns: 2_000_000,
        link_ms: 77,
        counters: Counters {
            frames: 1,
            bad_frames: 2,
            repeated: 3,
            unexecuted: 4,
            pulses: 5,
            conversions: 6,
        },
        stack: Some(Stack { bytes: 100_000, used: 7_300 }),
    };
    let refusals = vec![
        Refusal::NotArmed,
        Refusal::Faulted(FaultCode::LinkSilent),
        Refusal::Faulted(FaultCode::Panic),
        Refusal::JobRuns(JobId(5)),
        Refusal::ResultsHeld(JobId(5)),
        Refusal::NoSuchJob { boot_nonce: 7 },
        Refusal::NoSuchFault,
        Refusal::Limit { limit: LimitName::HalfSelect, asked: 3.0, allowed: 2.6 },
        Refusal::Invalid { field: Field::Volts, asked: f32::INFINITY, min: 0.0, max: 0.5 },
        Refusal::OutsideArray { rows: 16, columns: 16 },
        Refusal::Fault(FaultCode::Timeout),
        Refusal::Unsupported(Field::Gate),
        Refusal::Unsupported(Field::Source),
        Refusal::Unsupported(Field::Algorithm),
        Refusal::Storage(StorageProblem::TooSmall { bytes: 8192, needed: 217_088 }),
        Refusal::Storage(StorageProblem::EraseUnit { found: 8192, own: 4096 }),
        Refusal::Storage(StorageProblem::Layout { found: 2, own: 1 }),
        Refusal::Storage(StorageProblem::Foreign),
        Refusal::Storage(StorageProblem::Failed { offset: 4096 }),
        Refusal::Storage(StorageProblem::Damaged),
        Refusal::Storage(StorageProblem::Geometry { rows: 16, columns: 16 }),
        Refusal::ArraysFull { slots: 5 },
        Refusal::NoSuchArray,
        Refusal::ArrayPlugged,
        Refusal::RecordsFull { records: 8 },
        Refusal::NoSuchRecord { newest: 7 },
        Refusal::RecordCrc { stored: 1, announced: 2 },
        Refusal::NoRecordBegun,
    ];
    let jobs = [
        JobState::Running { cells: 1, of: 256, pulses: 300 },
        JobState::Ended { end: JobEnd::Finished, cells: 256, of: 256, pulses: 2000 },
        JobState::Ended { end: JobEnd::Aborted, cells: 2, of: 256, pulses: 20 },
        JobState::Ended { end: JobEnd::Fault(FaultCode::OverCurrent), cells: 2, of: 256, pulses: 20 },
        JobState::Ended { end: JobEnd::Disarmed, cells: 2, of: 256, pulses: 20 },
        JobState::Unknown { boot_nonce: 7 },
        JobState::Ended { end: JobEnd::LostSample, cells: 2, of: 256, pulses: 0 },
    ];
    let mut all = vec![
        R::Identity(Identity {
            board: "emulated",
            emulated: true,
            front_end: "or16",
            firmware: "0.1.0",
            git: "0123456789ab",
            rows: 16,
            columns: 16,
            converters: Converters {
                dac_step: Volts(10.0 / 65536.0),
                dac_zero: 0x8000,
                adc_step: Volts(12.5 / 65536.0),
                adc_linear: 27262,
                feedback: [Ohms(100e3), Ohms(9090.9), Ohms(990.1), Ohms(0.0)],
                reference: Ohms(10e3),
            },
            limits: LIMITS,
            board_limits: LIMITS,
            reset: ResetReason::PowerOn,
            at_ns: 1_000_000,
            boots: 300,
            array: "wafer 7",
            storage: None,
            last_fault: status.fault.map(|fault| (fault, 299)),
            last_panic: Some(("out of range", 298)),
            build: &[0xB1, 0xD0, 3, 4, 5, 6, 7, 8],
        }),
        R::Status(status),
        R::Done,
        R::Cells { sums: &[1; CELL_SUMS_BYTES] },
        R::Column { at_ns: 5, codes: &[1, 2] },
        R::Reference { sums: &[2; CELL_SUMS_BYTES] },
        R::Mvm { saturated: 1, codes: &[0, 0x80] },
        R::Results { offset: 3, cells: &[1; CELL_RESULT_BYTES] },
        R::Pulsed { current: Some(Amperes(1e-4)), at_ns: 12, slew_limited: true, peak: Volts(1.5) },
        R::Started { current_limited: true },
        R::Samples(Samples {
            offset: 2000,
            taken: 3000,
            saturated: 1,
            first_at_ns: 12,
            codes: &[0xFF, 0x7F, 0, 0x80],
        }),
        R::Budgets { cells: &[1; BUDGET_BYTES] },
        R::Arrays { slots: 5, plugged: 1, names: b"\0\x07wafer 7" },
        R::Records { entries: &[2; RECORD_ENTRY_BYTES] },
        R::Record { offset: 912, data: &[1, 2, 3] },
        R::RecordStored { number: 300, dropped: Some(296) },
    ];
    all.extend(refusals.into_iter().map(R::Refused));
    all.extend(jobs.into_iter().map(R::Job));
    all
}

fn line(text: &mut String, name: &str, kind: Kind, sequence: u32, body: &impl serde::Serialize) {
    let header = Header { version: 0, kind, session: SessionId::from_bits(0x00C0_FFEE), sequence };
    let mut bytes = [0; 1024];
    let length = frame::encode(header, body, &mut bytes).expect("1 KiB is enough for a golden frame");
    write!(text, "{name}: ").unwrap();
    for byte in &bytes[..length] {
        write!(text, "{byte:02x}").unwrap();
    }
    text.push('\n');
}

fn variant(debug: &str) -> String {
    debug.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default().to_owned()
}

/// The other things that a trace can sample; the match makes a new one impossible to forget.
fn sources() -> Vec<TraceSource> {
    let all = [
        TRACE.source,
        TraceSource::Open,
        TraceSource::Reference(3),
        TraceSource::Bias(5),
        TraceSource::Forming { row: 4, driven: 300 },
        TraceSource::RowAlone(6),
    ];
    for (index, source) in all.iter().enumerate() {
        let at = match source {
            TraceSource::Row(_) => 0,
            TraceSource::Open => 1,
            TraceSource::Reference(_) => 2,
            TraceSource::Bias(_) => 3,
            TraceSource::Forming { .. } => 4,
            TraceSource::RowAlone(_) => 5,
        };
        assert_eq!(at, index);
    }
    all[1..].to_vec()
}

fn golden() -> String {
    let mut text = String::new();
    line(&mut text, "Hello", Kind::Hello, 0, &Hello { host_nonce: 0x0123_4567_89AB_CDEF });
    let welcome = Welcome {
        host_nonce: 0x0123_4567_89AB_CDEF,
        boot_nonce: 7,
        sessions: 1,
        max_frame: 2048,
        window: 8,
        job_cells: 256,
    };
    line(&mut text, "Welcome", Kind::Welcome, 0, &welcome);
    for (sequence, request) in (0..).zip(requests()) {
        line(
            &mut text,
            &format!("Request::{}", variant(&format!("{request:?}"))),
            Kind::Request,
            sequence,
            &request,
        );
    }
    for (sequence, algorithm) in (0..).zip(algorithms()) {
        let name = variant(&format!("{algorithm:?}")).to_string();
        line(&mut text, &format!("Request::Program::{name}"), Kind::Request, sequence, &program(algorithm));
    }
    for (sequence, source) in (0..).zip(sources()) {
        let name = variant(&format!("{source:?}")).to_string();
        let request = Request::Trace(Trace { source, ..TRACE });
        line(&mut text, &format!("Request::Trace::{name}"), Kind::Request, sequence, &request);
    }
    for (sequence, reply) in (0..).zip(replies()) {
        let debug = format!("{reply:?}");
        let name = match &reply {
            Reply::Refused(refusal) => format!("Reply::Refused::{}", variant(&format!("{refusal:?}"))),
            Reply::Job(state) => format!("Reply::Job::{}", variant(&format!("{state:?}"))),
            _ => format!("Reply::{}", variant(&debug)),
        };
        line(&mut text, &name, Kind::Reply, sequence, &reply);
    }
    for why in [
        Unexecuted::Expected { sequence: 300 },
        Unexecuted::Stale { oldest: 5 },
        Unexecuted::NoSession { boot_nonce: 7 },
        Unexecuted::Reused,
        Unexecuted::Malformed,
    ] {
        line(&mut text, &format!("Unexecuted::{}", variant(&format!("{why:?}"))), Kind::Unexecuted, 9, &why);
    }
    let records = LogRecords { dropped: 300, records: &[0x11, 0x22, 0x7C, 0x00] };
    line(&mut text, "LogRecords", Kind::Log, 3, &records);
    line(&mut text, "Mismatch", Kind::Mismatch, 0, &Mismatch { received: 9, min: 0, current: 0 });
    text
}

#[test]
fn every_message_of_version_0_has_the_bytes_it_always_had() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/golden/v0.txt");
    let text = golden();
    if std::env::var_os("OHMRIG_WRITE_GOLDEN").is_some() {
        std::fs::write(path, &text).unwrap();
    }
    let kept = std::fs::read_to_string(path).expect("tests/golden/v0.txt is committed");
    for (kept, now) in kept.lines().zip(text.lines()) {
        assert_eq!(kept, now);
    }
    assert_eq!(kept.lines().count(), text.lines().count());
}

#[test]
fn golden_requests_and_replies_decode_to_what_they_were_made_from() {
    for request in requests().into_iter().chain(algorithms().into_iter().map(program)) {
        let mut bytes = [0; 1024];
        let body = postcard::to_slice(&request, &mut bytes).unwrap();
        assert_eq!(frame::decode_body::<Request<'_>>(body), Ok(request));
    }
    for reply in replies() {
        let mut bytes = [0; 1024];
        let body = postcard::to_slice(&reply, &mut bytes).unwrap();
        assert_eq!(frame::decode_body::<Reply<'_>>(body), Ok(reply));
    }
}

/// Reads bytes as a body of one type, writes what came of it, and holds both against `postcard`. Whether it was a body.
fn as_postcard_does<'a, T: serde::Deserialize<'a> + serde::Serialize + Debug>(bytes: &'a [u8]) -> bool {
    let own = serial::take::<T>(bytes);
    // As text: NaN is no number, not even itself.
    assert_eq!(format!("{own:?}"), format!("{:?}", postcard::take_from_bytes::<T>(bytes).ok()), "{bytes:?}");
    let Some((value, _)) = own else { return false };
    let (mut own, mut other) = ([0; 1024], [0; 1024]);
    let length = serial::put(&value, &mut own).unwrap();
    assert_eq!(own[..length], *postcard::to_slice(&value, &mut other).unwrap());
    true
}

#[test]
fn golden_bodies_with_a_byte_changed_or_missing_are_read_or_refused_as_postcard_does() {
    let (mut read, mut refused) = (0, 0);
    for line in golden().lines() {
        let hex = line.rsplit(' ').next().unwrap().as_bytes().chunks_exact(2);
        let mut bytes: Vec<u8> =
            hex.map(|hex| u8::from_str_radix(str::from_utf8(hex).unwrap(), 16).unwrap()).collect();
        let without_delimiter = bytes.len() - 1;
        let (header, body) = frame::decode(&mut bytes[..without_delimiter]).unwrap();
        let mut compare = |body: &[u8]| {
            let is_one = match header.kind {
                Kind::Hello => as_postcard_does::<Hello>(body),
                Kind::Welcome => as_postcard_does::<Welcome>(body),
                Kind::Request => as_postcard_does::<Request<'_>>(body),
                Kind::Reply => as_postcard_does::<Reply<'_>>(body),
                Kind::Unexecuted => as_postcard_does::<Unexecuted>(body),
                Kind::Log => as_postcard_does::<LogRecords<'_>>(body),
                Kind::Mismatch => as_postcard_does::<Mismatch>(body),
            };
            *(if is_one { &mut read } else { &mut refused }) += 1;
        };
        for at in 0..body.len() {
            compare(&body[..at]);
            for value in 0..=u8::MAX {
                let mut changed = body.to_vec();
                changed[at] = value;
                compare(&changed);
                changed.insert(at, !value);
                compare(&changed);
            }
        }
    }
    assert!(read > 100_000 && refused > 10_000, "{read} read, {refused} refused");
}

/// Of a batch of 16 products of 16 × 16, all bytes besides the codes themselves.
#[test]
fn a_batch_of_16_products_of_16_by_16_costs_at_most_51_bytes_of_overhead() {
    let header = Header {
        version: 0,
        kind: Kind::Request,
        session: SessionId::from_bits(0x00FF_FFFF),
        sequence: u32::MAX - 1,
    };
    let codes = [0x55; 16 * 16 * 2];
    let mut bytes = [0; 1024];
    let request = Request::Mvm(Mvm { range: 1, conversions: 1, interval_ns: 0, codes: &codes });
    let there = frame::encode(header, &request, &mut bytes).unwrap();
    let reply = Reply::Mvm { saturated: 0, codes: &codes };
    let back = frame::encode(Header { kind: Kind::Reply, ..header }, &reply, &mut bytes).unwrap();
    let overhead = there + back - 2 * codes.len();
    assert!(overhead <= 51, "{overhead} bytes");
}
