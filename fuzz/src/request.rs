//! Requests made of arbitrary numbers that are often, not always, plausible.

use arbitrary::Arbitrary;
use ohmrig_protocol::message::{
    FaultCode, JobId, Limits, Mvm, Pulse, ReadCells, ReadColumn, ReadReference, Region, Request, Scheme,
};
use ohmrig_protocol::units::{Amperes, Joules, Seconds, VoltSeconds, Volts};

/// A voltage: most of what is drawn is one that a board could put out, the rest any number.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Volt {
    /// In steps of 0.2 mV.
    Plain(i16),
    /// In steps of 20 µV.
    Small(i16),
    /// Any bits.
    Any(u32),
}

impl Volt {
    fn volts(self) -> Volts {
        Volts(match self {
            Self::Plain(steps) => f32::from(steps) * 2e-4,
            Self::Small(steps) => f32::from(steps) * 2e-5,
            Self::Any(bits) => f32::from_bits(bits),
        })
    }
}

/// A time or a width: steps of 1 µs, or any number.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Time {
    /// In µs.
    Micro(u16),
    /// Any bits.
    Any(u32),
}

impl Time {
    fn seconds(self) -> Seconds {
        Seconds(match self {
            Self::Micro(us) => f32::from(us) * 1e-6,
            Self::Any(bits) => f32::from_bits(bits),
        })
    }
}

/// One of the schemes.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum AnyScheme {
    /// V/2.
    Half,
    /// ±V/2.
    SymmetricHalf,
    /// V/3.
    Third,
    /// 0 V.
    Grounded,
    /// Not connected.
    Floating,
}

impl From<AnyScheme> for Scheme {
    fn from(scheme: AnyScheme) -> Self {
        match scheme {
            AnyScheme::Half => Self::Half,
            AnyScheme::SymmetricHalf => Self::SymmetricHalf,
            AnyScheme::Third => Self::Third,
            AnyScheme::Grounded => Self::Grounded,
            AnyScheme::Floating => Self::Floating,
        }
    }
}

/// Something to ask for.
#[derive(Arbitrary, Clone, Debug)]
pub enum Asked {
    /// Identity.
    Identify,
    /// Condition.
    Status,
    /// Cells: row, column, rows, columns, volts, range, conversions.
    Read(u8, u8, u8, u8, Volt, u8, u16),
    /// A column: row, column, volts, range, samples, interval (ns).
    Column(u8, u8, Volt, u8, u16, u32),
    /// Reference resistors: row, volts, range, conversions.
    Reference(u8, Volt, u8, u16),
    /// Products: range, conversions, codes about zero.
    Products(u8, u8, Vec<i16>),
    /// All chips.
    CheckChips,
    /// A job's state.
    JobStatus(u8),
    /// A job's results.
    Results(u8, u16),
    /// Arming, ms.
    Arm(u32),
    /// SAFE.
    Safe,
    /// A fault, by number.
    Clear(u8),
    /// Limits in hundredths of the board's.
    Tighten([u8; 6]),
    /// A pulse: row, column, volts, width, scheme.
    Pulse(u8, u8, Volt, Time, AnyScheme),
    /// A pulse with a gate voltage.
    Gated(u8, u8, Volt, Time, AnyScheme, Volt),
    /// Whatever request this is the body of: nearly any bytes are one.
    Body(Vec<u8>),
    /// Ends a job.
    Abort(u8),
    /// Frees a job.
    Release(u8),
    /// Link time passes, ms.
    Wait(u16),
    /// Power goes and comes.
    PowerCycle,
    /// Another session.
    Hello,
}

impl Asked {
    /// Calls `send` with the request, if it is one; bulk data live as long as the call.
    pub fn with<T>(&self, rows: u16, send: impl FnOnce(&Request<'_>) -> T) -> Option<T> {
        let mut data = Vec::new();
        let line = |n: u8| u16::from(n % 11);
        let request = match self {
            Self::Identify => Request::Identify,
            Self::Status => Request::Status,
            Self::Read(row, column, rows, columns, volts, range, conversions) => {
                let region = Region {
                    row: line(*row),
                    column: line(*column),
                    rows: line(*rows),
                    columns: line(*columns),
                };
                Request::ReadCells(ReadCells {
                    region,
                    volts: volts.volts(),
                    range: range % 5,
                    conversions: conversions % 600,
                })
            }
            Self::Column(row, column, volts, range, samples, interval_ns) => {
                Request::ReadColumn(ReadColumn {
                    row: line(*row),
                    column: line(*column),
                    volts: volts.volts(),
                    range: range % 5,
                    samples: samples % 1200,
                    interval_ns: *interval_ns,
                    delay_ns: None,
                })
            }
            Self::Reference(row, volts, range, conversions) => Request::ReadReference(ReadReference {
                row: line(*row),
                volts: volts.volts(),
                range: range % 5,
                conversions: conversions % 600,
                column: None,
                interval_ns: 0,
            }),
            Self::Products(range, conversions, codes) => {
                // Often whole vectors.
                let whole = codes.len() - codes.len() % usize::from(rows);
                let length = if *conversions % 8 == 7 { codes.len() } else { whole };
                data.extend(
                    codes[..length]
                        .iter()
                        .flat_map(|code| (i32::from(*code) / 10 + 0x8000).to_le_bytes()[..2].to_vec()),
                );
                Request::Mvm(Mvm {
                    range: range % 5,
                    conversions: u16::from(*conversions % 40),
                    codes: &data,
                    interval_ns: 0,
                })
            }
            Self::CheckChips => Request::CheckChips,
            Self::JobStatus(job) => Request::JobStatus(JobId(u64::from(job % 4))),
            Self::Results(job, offset) => {
                Request::JobResults { job: JobId(u64::from(job % 4)), offset: u32::from(*offset % 300) }
            }
            Self::Arm(milliseconds) => Request::Arm { milliseconds: milliseconds % 4_000_000 },
            Self::Safe => Request::Safe,
            Self::Clear(code) => {
                use FaultCode as F;
                let codes = [F::LinkSilent, F::OverCurrent, F::Chip, F::Timeout, F::Bus];
                Request::ClearFault(codes[usize::from(*code) % codes.len()])
            }
            Self::Tighten([cell, half, read, shortest, longest, current]) => {
                let share = |n: &u8| f32::from(*n) * 0.01;
                Request::TightenLimits(Limits {
                    cell: Volts(5.0 * share(cell)),
                    half_select: Volts(2.6 * share(half)),
                    read: Volts(0.5 * share(read)),
                    width_min: Seconds(5e-6 / share(shortest)),
                    width_max: Seconds(share(longest)),
                    current: Amperes(5e-3 * share(current)),
                    pulses_per_cell: u32::from(*current),
                    dose_per_cell: VoltSeconds(5e3 * share(longest)),
                    energy_per_cell: Joules(25.0 * share(current)),
                })
            }
            Self::Pulse(row, column, volts, width, scheme) => Request::Pulse(Pulse {
                row: line(*row),
                column: line(*column),
                volts: volts.volts(),
                width: width.seconds(),
                scheme: (*scheme).into(),
                gate: None,
            }),
            Self::Gated(row, column, volts, width, scheme, gate) => Request::Pulse(Pulse {
                row: line(*row),
                column: line(*column),
                volts: volts.volts(),
                width: width.seconds(),
                scheme: (*scheme).into(),
                gate: Some(gate.volts()),
            }),
            Self::Abort(job) => Request::AbortJob(JobId(u64::from(job % 4))),
            Self::Release(job) => Request::ReleaseJob(JobId(u64::from(job % 4))),
            Self::Body(_) | Self::Wait(_) | Self::PowerCycle | Self::Hello => return None,
        };
        Some(send(&request))
    }
}
