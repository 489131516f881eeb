//! The firmware's end of the bench protocol: on any bytes for answers, and on a bench that answers as it should until the
//! input spoils a byte. No panic, no end to errors once there was one, no call that waits for more than it gets.
#![no_main]

use arbitrary::Arbitrary;
use embedded_io::{ErrorType, Read, Write};
use libfuzzer_sys::fuzz_target;
use ohmrig_emulator::bench_server::BenchServer;
use ohmrig_emulator::board::Board;
use ohmrig_firmware::bench_link::{BenchLink, LinkError};
use ohmrig_fuzz::emulation;
use ohmrig_protocol::bench::recall::Memory;
use ohmrig_protocol::bench::{Bench, ChipKind, ChipSelect, OutputLine};
use std::convert::Infallible;

/// The stream to a bench that answers with given bytes, or with a real one's, some of them spoiled.
struct Stream {
    bench: Option<(BenchServer, Board)>,
    answers: Vec<u8>,
    read: usize,
    /// From one spoiled byte to the next, and what is done to it.
    spoil: Vec<(u16, u8)>,
    spoiled: usize,
}

impl ErrorType for Stream {
    type Error = Infallible;
}

impl Read for Stream {
    fn read(&mut self, into: &mut [u8]) -> Result<usize, Infallible> {
        let left = &self.answers[self.read..];
        let bytes = left.len().min(into.len());
        into[..bytes].copy_from_slice(&left[..bytes]);
        for byte in &mut into[..bytes] {
            if let Some((after, change)) = self.spoil.get_mut(self.spoiled) {
                if *after == 0 {
                    *byte ^= *change;
                    self.spoiled += 1;
                } else {
                    *after -= 1;
                }
            }
        }
        self.read += bytes;
        Ok(bytes)
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        if let Some((server, board)) = &mut self.bench {
            let _ = server.feed(bytes, board, &mut self.answers);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}

#[derive(Arbitrary, Debug)]
enum Call {
    Now,
    Wait(u32),
    WaitUntil(u64),
    Write(u8, u8, u8, Vec<u8>),
    Transfer(u8, u8, u8, Vec<u8>),
    I2c(u8, Vec<u8>, u8),
    Output(u8, bool),
    StartPulse(u32),
    StopPulse,
    PulseDone,
    StartConversion,
    ConversionDone,
    FlashRead(u32, u16),
    FlashWrite(u32, Vec<u8>),
    FlashErase(u32),
}

fn chip(kind: u8, index: u8) -> ChipSelect {
    let kinds =
        [ChipKind::RowDac, ChipKind::BiasDac, ChipKind::Adc, ChipKind::RowConnect, ChipKind::ColumnSense];
    ChipSelect {
        kind: kinds[usize::from(kind) % kinds.len()],
        index: if index < 200 { index % 2 } else { index },
    }
}

fn call(link: &mut BenchLink<Stream>, call: &Call) -> Result<(), LinkError<Infallible>> {
    match call {
        Call::Now => link.now_ns().map(drop),
        Call::Wait(ns) => {
            link.now_ns().and_then(|now| link.wait_until_ns(now.saturating_add(u64::from(*ns))))
        }
        Call::WaitUntil(at_ns) => link.wait_until_ns(*at_ns),
        Call::Write(kind, index, frame, out) => {
            link.spi_write(chip(*kind, *index), usize::from(*frame % 40), out)
        }
        Call::Transfer(kind, index, frame, out) => {
            let mut input = vec![0; out.len()];
            link.spi_transfer(chip(*kind, *index), usize::from(*frame % 40), out, &mut input)
        }
        Call::I2c(address, out, length) => {
            link.i2c(*address, out, &mut vec![0; usize::from(*length)]).map(drop)
        }
        Call::Output(line, high) => {
            let lines = [OutputLine::DacClear, OutputLine::SwitchReset, OutputLine::AdcReset];
            link.set_output(lines[usize::from(*line) % 3], *high)
        }
        Call::StartPulse(width_ns) => link.start_pulse(*width_ns),
        Call::StopPulse => link.stop_pulse(),
        Call::PulseDone => link.pulse_done().map(drop),
        Call::StartConversion => link.start_conversion(),
        Call::ConversionDone => link.conversion_done().map(drop),
        Call::FlashRead(offset, length) => link.flash_read(*offset, &mut vec![0; usize::from(*length)]),
        Call::FlashWrite(offset, bytes) => link.flash_write(*offset, bytes),
        Call::FlashErase(offset) => link.flash_erase(*offset),
    }
}

#[derive(Arbitrary, Debug)]
struct Input {
    /// A bench answers, or the bytes below do.
    real: bool,
    answers: Vec<u8>,
    spoil: Vec<(u16, u8)>,
    calls: Vec<Call>,
}

fuzz_target!(|input: Input| {
    let Input { real, answers, spoil, calls } = input;
    let bench = real.then(|| {
        let (board, _files) = emulation(0, 1, 1).power_up().expect("an emulated board");
        (BenchServer::new(), board)
    });
    let answers = if real { Vec::new() } else { answers };
    let mut bursts = Memory::new();
    let stream = Stream { bench, answers, read: 0, spoil, spoiled: 0 };
    let Ok(mut link) = BenchLink::connect(stream, &mut bursts) else {
        return;
    };
    let mut broken = false;
    for one in &calls {
        use LinkError as E;
        match call(&mut link, one) {
            // Refused before a byte was sent.
            Err(
                E::FrameSize { .. }
                | E::NotWholeFrames { .. }
                | E::UnequalLengths { .. }
                | E::I2cLength { .. }
                | E::AdcLength { .. }
                | E::FlashRange { .. },
            ) => {}
            Ok(()) => assert!(!broken, "{one:?} worked on a conversation that had ended"),
            Err(E::Broken) => assert!(broken, "{one:?} found a conversation ended that wasn't"),
            Err(_) => {
                assert!(!broken, "a second error ended the conversation");
                broken = true;
            }
        }
    }
});
