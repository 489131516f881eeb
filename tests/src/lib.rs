//! What the end-to-end tests in `tests/` share: the wire of an emulated board, frame by frame, and the command line
//! as a process.

pub mod coverage;
pub mod marks;
pub mod parasitics;
pub mod product_timing;
pub mod shield_timing;
pub mod soak;

use ndarray::Array2;
use ohmrig::bench::{Emulation, profile};
use ohmrig::client::Device;
use ohmrig::device::{EmulatedDevice, Wish};
use ohmrig::instrument::ProgramOrder;
use ohmrig::recipe::Recipe;
use ohmrig_emulator::board::Board;
use ohmrig_emulator::truth::CellTruth;
use ohmrig_protocol::frame::{self, Decoder, Header, Kind, SessionId};
use ohmrig_protocol::message::*;
use ohmrig_protocol::session::{Hello, Unexecuted, Welcome};
use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

/// The wire itself: frames in, frames out, link time by hand.
pub struct Wire {
    /// The board.
    pub device: EmulatedDevice,
    /// The link clock, ns; each step adds 1 µs.
    pub link_ns: u64,
}

/// What came back.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// A session.
    Welcome(Welcome),
    /// Executed.
    Done,
    /// A pulse was applied.
    Pulsed,
    /// Executed as a refusal.
    Refused(Refusal),
    /// Not executed.
    Unexecuted(Unexecuted),
    /// Another version.
    Mismatch,
    /// The condition.
    Status(Status),
    /// Who it is.
    Identity(Box<Device>),
    /// A record is in force.
    RecordStored(u32),
    /// What a job is doing.
    Job(JobState),
    /// Samples of a trace: the first one's number, how many had been taken, their codes.
    Samples {
        /// First sample.
        offset: u32,
        /// Taken so far.
        taken: u32,
        /// Codes.
        codes: Vec<u8>,
    },
    /// Any other reply, its bulk data as bytes.
    Other(Vec<u8>),
}

impl Wire {
    /// An emulated board with a fresh array of a built-in profile, nothing sent yet.
    pub fn new(name: &str, seed: u64) -> Self {
        let emulation = Emulation::new(profile(Some(name)).unwrap(), seed);
        Self { device: EmulatedDevice::power_up(&emulation).unwrap(), link_ns: 0 }
    }

    /// Hands in bytes, runs until the device wants more, and takes its answers apart.
    pub fn exchange(&mut self, bytes: &[u8]) -> Vec<Answer> {
        self.exchange_while(bytes, |_| {})
    }

    /// As [`exchange`](Self::exchange), with a look at the board, or a hand on it, before every step.
    pub fn exchange_while(&mut self, bytes: &[u8], mut meanwhile: impl FnMut(&mut Board)) -> Vec<Answer> {
        let mut out = Vec::new();
        let mut rest = bytes;
        loop {
            self.link_ns += 1000;
            meanwhile(self.device.board());
            let (taken, wish) = self.device.step(rest, self.link_ns, &mut out).unwrap();
            rest = &rest[taken..];
            if rest.is_empty() && wish == Wish::Bytes {
                break;
            }
        }
        answers(&out)
    }

    /// Opens a session.
    pub fn open(&mut self, host_nonce: u64) -> SessionId {
        let hello = encode(Kind::Hello, SessionId::NONE, 0, &Hello { host_nonce });
        match self.exchange(&hello).as_slice() {
            [Answer::Welcome(welcome)] => welcome.session(),
            other => panic!("{other:?}"),
        }
    }

    /// What the devices themselves have seen.
    pub fn truth(&mut self) -> Vec<CellTruth> {
        self.device.board().truth().unwrap()
    }

    /// Pulses that all devices together have seen.
    pub fn pulses(&mut self) -> u64 {
        self.truth().iter().map(|cell| cell.pulses).sum()
    }
}

/// Takes a device's answers apart.
pub fn answers(mut rest: &[u8]) -> Vec<Answer> {
    let mut buffer = [0; 4096];
    let mut decoder = Decoder::new(&mut buffer);
    let mut answers = Vec::new();
    while !rest.is_empty() {
        let (taken, found) = decoder.feed(rest);
        rest = &rest[taken..];
        if let Some(found) = found {
            let (header, body) = frame::decode(found).expect("the device's frames are whole");
            answers.push(match header.kind {
                Kind::Welcome => Answer::Welcome(frame::decode_body(body).unwrap()),
                Kind::Unexecuted => Answer::Unexecuted(frame::decode_body(body).unwrap()),
                Kind::Mismatch => Answer::Mismatch,
                Kind::Reply => match frame::decode_body(body).unwrap() {
                    Reply::Done | Reply::Started { .. } => Answer::Done,
                    Reply::Pulsed { .. } => Answer::Pulsed,
                    Reply::Refused(refusal) => Answer::Refused(refusal),
                    Reply::Status(status) => Answer::Status(status),
                    Reply::Identity(identity) => Answer::Identity(Box::new(identity.into())),
                    Reply::RecordStored { number, .. } => Answer::RecordStored(number),
                    Reply::Job(state) => Answer::Job(state),
                    Reply::Samples(samples) => Answer::Samples {
                        offset: samples.offset,
                        taken: samples.taken,
                        codes: samples.codes.to_vec(),
                    },
                    Reply::Budgets { cells: bytes }
                    | Reply::Records { entries: bytes }
                    | Reply::Record { data: bytes, .. }
                    | Reply::Arrays { names: bytes, .. } => Answer::Other(bytes.to_vec()),
                    Reply::Cells { sums } | Reply::Reference { sums } => Answer::Other(sums.to_vec()),
                    Reply::Mvm { codes, .. } | Reply::Column { codes, .. } => Answer::Other(codes.to_vec()),
                    Reply::Results { cells, .. } => Answer::Other(cells.to_vec()),
                },
                Kind::Hello | Kind::Request | Kind::Log => panic!("{header:?} is not a device's"),
            });
        }
    }
    answers
}

/// A session on a [`Wire`], one request after the other.
pub struct Talk {
    /// The wire.
    pub wire: Wire,
    session: SessionId,
    sequence: u32,
    hellos: u64,
}

impl Talk {
    /// Opens a session.
    pub fn new(wire: Wire) -> Self {
        let mut talk = Self { wire, session: SessionId::NONE, sequence: 0, hellos: 0 };
        talk.open();
        talk
    }

    fn open(&mut self) {
        self.hellos += 1;
        self.session = self.wire.open(self.hellos);
        self.sequence = 0;
    }

    /// The answer to a request.
    pub fn ask(&mut self, asked: &Request<'_>) -> Answer {
        self.ask_while(asked, |_| {})
    }

    /// As [`ask`](Self::ask), with a look at the board, or a hand on it, before every step.
    pub fn ask_while(&mut self, asked: &Request<'_>, meanwhile: impl FnMut(&mut Board)) -> Answer {
        let answers = self.wire.exchange_while(&request(self.session, self.sequence, asked), meanwhile);
        self.sequence += 1;
        match <[Answer; 1]>::try_from(answers) {
            Ok([answer]) => answer,
            Err(answers) => panic!("{asked:?}: {answers:?}"),
        }
    }

    /// Power off and on, and a new session.
    pub fn power_cycle(&mut self) {
        self.wire.device.power_cycle().unwrap();
        self.open();
    }

    /// Who it is.
    pub fn identity(&mut self) -> Device {
        match self.ask(&Request::Identify) {
            Answer::Identity(device) => *device,
            other => panic!("{other:?}"),
        }
    }

    /// What cells have been through, row by row.
    pub fn budgets(&mut self, region: Region) -> Vec<CellBudget> {
        match self.ask(&Request::ReadBudgets(region)) {
            Answer::Other(bytes) => {
                bytes.as_chunks::<BUDGET_BYTES>().0.iter().map(CellBudget::from_bytes).collect()
            }
            other => panic!("{other:?}"),
        }
    }
}

/// A whole frame.
pub fn encode(kind: Kind, session: SessionId, sequence: u32, body: &impl serde::Serialize) -> Vec<u8> {
    let header = Header { version: 0, kind, session, sequence };
    let mut bytes = [0; 2048];
    let length = frame::encode(header, body, &mut bytes).unwrap();
    bytes[..length].to_vec()
}

/// A request's frame.
pub fn request(session: SessionId, sequence: u32, request: &Request<'_>) -> Vec<u8> {
    encode(Kind::Request, session, sequence, request)
}

/// The command line's binary, built beside the tests of this profile.
///
/// # Panics
/// If it isn't there: `cargo test` builds it, `cargo test -p ohmrig-tests` alone does not.
pub fn ohmrig() -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let profile = tests.parent().and_then(Path::parent).unwrap();
    let binary = profile.join(if cfg!(windows) { "ohmrig.exe" } else { "ohmrig" });
    assert!(binary.exists(), "{} is missing; run `cargo build -p ohmrig` in this profile", binary.display());
    binary
}

/// A directory that is removed in the end.
pub struct Scratch(PathBuf);

impl Scratch {
    /// A new one.
    pub fn new(name: &str) -> Self {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("ohmrig-{name}-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// A path in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Runs `ohmrig` and gives its standard output.
///
/// # Panics
/// If it fails; what it said on standard error is in the message.
pub fn run<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> String {
    let output = Command::new(ohmrig()).args(arguments).stdin(Stdio::null()).output().unwrap();
    assert!(
        output.status.success(),
        "status {:?}: {}{}",
        output.status.code(),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// `ohmrig emulate` in the background, and the port it prints; asked to end when dropped.
pub struct Emulated {
    child: Child,
    /// What `--port` takes.
    pub port: String,
}

impl Emulated {
    /// Starts one on `listen` with more arguments.
    pub fn start<S: AsRef<OsStr>>(listen: &str, arguments: impl IntoIterator<Item = S>) -> Self {
        let mut child = Command::new(ohmrig())
            .args(["emulate", "--listen", listen])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut port = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut port).unwrap();
        Self { child, port: port.trim().to_owned() }
    }

    /// Ends it as Ctrl-C would and waits until it is gone.
    pub fn end(mut self) {
        self.signal();
        assert!(self.child.wait().unwrap().success());
    }

    fn signal(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = Command::new("kill").args(["-INT", &self.child.id().to_string()]).status();
        }
    }
}

impl Drop for Emulated {
    fn drop(&mut self) {
        self.signal();
        let _ = self.child.wait();
    }
}

/// A programming order for a built-in profile's devices, with targets all over their range.
///
/// # Panics
/// If the profile's devices can't be written.
pub fn order(name: &str, (rows, columns): (usize, usize)) -> ProgramOrder {
    let recipe = Recipe::for_profile(&profile(Some(name)).unwrap()).unwrap();
    let span = recipe.g_max - recipe.g_min;
    let targets = Array2::from_shape_fn((rows, columns), |(i, j)| {
        recipe.g_min + span * ((i * 5 + j * 3) % 10) as f64 / 10.0
    });
    ProgramOrder::new(&recipe, (0, 0), targets)
}
