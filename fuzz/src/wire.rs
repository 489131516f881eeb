//! An emulated instrument, frame by frame, held to ground truth.

use ohmrig::bench::{Emulation, profile};
use ohmrig::device::{EmulatedDevice, Wish};
use ohmrig_protocol::frame::{self, Decoder, Header, Kind, SessionId};
use ohmrig_protocol::message::{Pulse, Reply, Request};
use ohmrig_protocol::session::{Hello, Welcome};
use ohmrig_protocol::version;

/// Most steps to one answer: 4096 conversions, the most of a request, take some ten each.
pub const MOST_STEPS: u32 = 200_000;

/// A small array of a profile, both by number.
///
/// # Panics
/// Never: the profiles are built in.
#[must_use]
pub fn emulation(number: u8, rows: u8, columns: u8) -> Emulation {
    let names = ["rram-cmo", "ideal", "pcm", "resistor", "ecram", "rram-hfox"];
    let name = names[usize::from(number) % names.len()];
    let mut emulation = Emulation::new(profile(Some(name)).expect("a built-in profile"), u64::from(number));
    (emulation.rows, emulation.columns) = (1 + u16::from(rows % 9), 1 + u16::from(columns % 9));
    emulation
}

/// The wire to an instrument.
pub struct Wire {
    /// The board.
    pub device: EmulatedDevice,
    link_ns: u64,
    session: SessionId,
    next: u32,
}

impl Wire {
    /// Powers it up and opens a session.
    ///
    /// # Panics
    /// It doesn't answer.
    #[must_use]
    pub fn open(emulation: &Emulation) -> Self {
        let device = EmulatedDevice::power_up(emulation).expect("an emulated board");
        let mut wire = Self { device, link_ns: 0, session: SessionId::NONE, next: 0 };
        wire.hello();
        wire
    }

    /// Opens another session.
    ///
    /// # Panics
    /// No welcome comes.
    pub fn hello(&mut self) {
        let hello = postcard::to_allocvec(&Hello { host_nonce: self.link_ns }).expect("a hello");
        // The delimiter in front ends whatever came before.
        let mut bytes = vec![0];
        bytes.extend(self.frame(Kind::Hello, SessionId::NONE, 0, &hello));
        let mut session = None;
        self.exchange(&bytes, |header, body| {
            if header.kind == Kind::Welcome {
                session = frame::decode_body::<Welcome>(body).ok().map(|welcome| welcome.session());
            }
        });
        self.session = session.expect("every hello is answered");
        self.next = 0;
    }

    /// A whole frame around a body.
    ///
    /// # Panics
    /// The body is larger than any frame.
    #[must_use]
    pub fn frame(&self, kind: Kind, session: SessionId, sequence: u32, body: &[u8]) -> Vec<u8> {
        let mut out = vec![0; frame::encoded_bytes(body.len())];
        let header = Header { version: version::CURRENT, kind, session, sequence };
        let length = frame::encode(header, &frame::Serialized(body), &mut out).expect("room for a frame");
        out.truncate(length);
        out
    }

    /// Sends a body as the next request of the session and hands its reply on.
    pub fn request(&mut self, body: &[u8], mut reply: impl FnMut(&Reply<'_>)) {
        let bytes = self.frame(Kind::Request, self.session, self.next, body);
        let next = self.next;
        let mut answered = false;
        self.exchange(&bytes, |header, body| {
            if header.sequence == next && matches!(header.kind, Kind::Reply | Kind::Unexecuted) {
                answered = true;
                if header.kind == Kind::Reply {
                    reply(&frame::decode_body(body).expect("the device's replies can be read"));
                }
            }
        });
        if answered {
            self.next += 1;
        }
    }

    /// Hands in bytes and runs until the device wants more, or has answered and works on a job.
    ///
    /// # Panics
    /// It takes more steps than any request may, or its own frames can't be decoded.
    pub fn exchange(&mut self, bytes: &[u8], mut each: impl FnMut(Header, &[u8])) {
        let mut out = Vec::new();
        let mut rest = bytes;
        let mut steps = 0;
        loop {
            self.link_ns += 1_000;
            let (taken, wish) =
                self.device.step(rest, self.link_ns, &mut out).expect("a circuit with a solution");
            rest = &rest[taken..];
            if taken > 0 {
                steps = 0;
            }
            if rest.is_empty() && (wish == Wish::Bytes || !out.is_empty() && steps > 2_000) {
                break;
            }
            steps += 1;
            // A job may take long; the link must answer while it does.
            if steps > MOST_STEPS {
                assert!(rest.is_empty() && self.works(), "no answer after {steps} steps");
                break;
            }
        }
        let mut buffer = [0; 4096];
        let mut decoder = Decoder::new(&mut buffer);
        let mut rest = out.as_slice();
        while !rest.is_empty() {
            let (taken, found) = decoder.feed(rest);
            rest = &rest[taken..];
            if let Some(found) = found {
                let (header, body) = frame::decode(found).expect("the device's frames are whole");
                each(header, body);
            }
        }
    }

    /// Whether a job keeps it busy.
    fn works(&mut self) -> bool {
        let mut out = Vec::new();
        let status = postcard::to_allocvec(&Request::Status).expect("a request");
        let bytes = self.frame(Kind::Request, self.session, self.next, &status);
        let mut rest = bytes.as_slice();
        for _ in 0..MOST_STEPS {
            self.link_ns += 1_000;
            let (taken, _) =
                self.device.step(rest, self.link_ns, &mut out).expect("a circuit with a solution");
            rest = &rest[taken..];
            if !out.is_empty() {
                return true;
            }
        }
        false
    }

    /// Lets link time pass.
    pub fn wait(&mut self, ms: u16) {
        self.link_ns += u64::from(ms) * 1_000_000;
        self.exchange(&[], |_, _| {});
    }
}

/// What cells may have seen.
pub struct Bounds {
    columns: u16,
    /// Selected by a pulse or a job that was accepted.
    selected: Vec<bool>,
    written: bool,
    limits: ohmrig_protocol::message::Limits,
}

impl Bounds {
    /// Of a fresh array.
    #[must_use]
    pub fn new(emulation: &Emulation) -> Self {
        use ohmrig_protocol::message::Limits;
        use ohmrig_protocol::units::{Amperes, Joules, Seconds, VoltSeconds, Volts};
        let cells = usize::from(emulation.rows) * usize::from(emulation.columns);
        // The board's own, from its description: none may be passed whatever is asked.
        let limits = Limits {
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
        Self { columns: emulation.columns, selected: vec![false; cells], written: false, limits }
    }

    /// A request was accepted.
    pub fn accepted(&mut self, request: &Request<'_>) {
        match request {
            Request::Pulse(Pulse { row, column, .. }) => self.select(*row, *column),
            Request::Program(program) => {
                for row in 0..program.region.rows {
                    for column in 0..program.region.columns {
                        self.select(program.region.row + row, program.region.column + column);
                    }
                }
            }
            _ => {}
        }
    }

    fn select(&mut self, row: u16, column: u16) {
        self.written = true;
        self.selected[usize::from(row) * usize::from(self.columns) + usize::from(column)] = true;
    }

    /// Holds ground truth against them.
    ///
    /// # Panics
    /// A cell saw more.
    pub fn check(&self, wire: &mut Wire) {
        for (cell, selected) in wire.device.board().truth().expect("ground truth").iter().zip(&self.selected)
        {
            let most = match (selected, self.written) {
                (true, _) => self.limits.cell,
                (false, true) => self.limits.half_select,
                (false, false) => self.limits.read,
            };
            assert!(cell.max_abs_v <= f64::from(most.0), "{cell:?} beyond {most:?}");
        }
    }
}
