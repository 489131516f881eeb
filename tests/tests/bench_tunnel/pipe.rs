//! The byte stream between a link and a bench server, in memory: keeps a transcript, delivers in chunks of a chosen
//! size, and damages one byte on demand. A read with nothing to read ends the stream, as a time-out would.

use embedded_io::{ErrorType, Read, Write};
use ohmrig_emulator::bench_server::{BenchServer, ServerError};
use ohmrig_protocol::bench::Bench;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::rc::Rc;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    ToBench,
    FromBench,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Damage {
    Lost,
    Doubled,
    Flipped { bit: u8 },
}

/// What to do to the byte `at` (from 0, in one direction).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault {
    pub(crate) direction: Direction,
    pub(crate) at: usize,
    pub(crate) damage: Damage,
}

pub(crate) struct Pipe<B: Bench> {
    pub(crate) bench: B,
    pub(crate) server: BenchServer,
    pub(crate) server_errors: Vec<ServerError<B::Error>>,
    /// What was said, as sent; consecutive bytes in one direction together.
    pub(crate) transcript: Vec<(Direction, Vec<u8>)>,
    pub(crate) fault: Option<Fault>,
    chunk: usize,
    towards: Vec<u8>,
    back: VecDeque<u8>,
    moved: [usize; 2],
}

impl<B: Bench> Pipe<B> {
    /// A pipe that hands the server `chunk` bytes at a time.
    pub(crate) fn new(bench: B, chunk: usize) -> Rc<RefCell<Self>> {
        Rc::new(RefCell::new(Self {
            bench,
            server: BenchServer::new(),
            server_errors: Vec::new(),
            transcript: Vec::new(),
            fault: None,
            chunk,
            towards: Vec::new(),
            back: VecDeque::new(),
            moved: [0; 2],
        }))
    }

    /// Bytes in both directions.
    pub(crate) fn bytes(&self) -> usize {
        self.transcript.iter().map(|(_, bytes)| bytes.len()).sum()
    }

    /// How often the firmware had to wait for the bench.
    pub(crate) fn round_trips(&self) -> usize {
        self.transcript.iter().filter(|(direction, _)| *direction == Direction::FromBench).count()
    }

    /// Notes `bytes` and returns what arrives of them.
    fn carry(&mut self, direction: Direction, bytes: &[u8]) -> Vec<u8> {
        match self.transcript.last_mut() {
            Some((last, said)) if *last == direction => said.extend_from_slice(bytes),
            _ => self.transcript.push((direction, bytes.to_vec())),
        }
        let moved = &mut self.moved[direction as usize];
        let mut arrives = Vec::new();
        for &byte in bytes {
            match self.fault {
                Some(fault) if fault.direction == direction && fault.at == *moved => match fault.damage {
                    Damage::Lost => {}
                    Damage::Doubled => arrives.extend([byte, byte]),
                    Damage::Flipped { bit } => arrives.push(byte ^ 1 << bit),
                },
                _ => arrives.push(byte),
            }
            *moved += 1;
        }
        arrives
    }

    /// Hands the server what was written.
    pub(crate) fn deliver(&mut self) {
        let towards = std::mem::take(&mut self.towards);
        for chunk in towards.chunks(self.chunk) {
            let mut out = Vec::new();
            self.server_errors.extend(self.server.feed(chunk, &mut self.bench, &mut out).err());
            if !out.is_empty() {
                let arrives = self.carry(Direction::FromBench, &out);
                self.back.extend(arrives);
            }
        }
    }
}

/// The firmware's end of a pipe.
pub(crate) struct Stream<B: Bench>(Rc<RefCell<Pipe<B>>>);

impl<B: Bench> Stream<B> {
    pub(crate) fn new(pipe: &Rc<RefCell<Pipe<B>>>) -> Self {
        Self(Rc::clone(pipe))
    }
}

impl<B: Bench> ErrorType for Stream<B> {
    type Error = Infallible;
}

impl<B: Bench> Write for Stream<B> {
    /// Takes half of what is offered: a caller must not rely on whole writes.
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        let taken = &bytes[..bytes.len().div_ceil(2)];
        let pipe = &mut *self.0.borrow_mut();
        let arrives = pipe.carry(Direction::ToBench, taken);
        pipe.towards.extend(arrives);
        Ok(taken.len())
    }

    fn flush(&mut self) -> Result<(), Infallible> {
        self.0.borrow_mut().deliver();
        Ok(())
    }
}

impl<B: Bench> Read for Stream<B> {
    fn read(&mut self, into: &mut [u8]) -> Result<usize, Infallible> {
        let back = &mut self.0.borrow_mut().back;
        let count = into.len().min(back.len());
        for (into, byte) in into.iter_mut().zip(back.drain(..count)) {
            *into = byte;
        }
        Ok(count)
    }
}
