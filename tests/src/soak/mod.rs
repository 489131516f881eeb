//! The soak: random commands through the host's client to emulated boards of random profile and size, over a bad
//! link, with chips that fail and power that goes, held against ground truth after every command.
//!
//! | module | what it is |
//! | --- | --- |
//! | `rig` | the board, the wire to it, and what only a test may do to them |
//! | `command` | what is done, and how it is drawn |
//! | `ledger` | pulses and largest voltages: what each cell may have seen, and what it has |
//! | `prediction` | what a read of these cells should say, and how far off it may be |
//! | `campaign` | one board from power-up to scrap; lost sessions |
//! | `latch` | arming and faults |
//! | `reading`, `writing` | measurements, and pulses and jobs, against ground truth |
//! | `chips` | chips that aren't in order |
//!
//! Commands, chip faults and power cycles follow from the seed, and so do link faults frame by frame; session numbers are
//! entropy as always, so that a bit flip may hit another byte when a seed is run again.

mod campaign;
mod chips;
mod command;
mod latch;
mod ledger;
mod prediction;
mod reading;
mod rig;
mod writing;

use campaign::Campaign;
use ohmrig::transport::inject::Inject;
use ohmrig_emulator::random::Random;
use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, Instant};

/// Link faults of a soak unless others are asked for: a link that loses one frame in thirty, and every other kind of
/// fault, rarer where it takes time (a stall is 20 to 300 ms) or costs the session (a reset).
pub const INJECT: &str = "drop=0.03,gap=0.01,corrupt=0.02,truncate=0.01,duplicate=0.03,reorder=0.02,stall=0.0005,merge=0.02,\
                          split=0.02,reset=0.002";

/// Commands to one board before the next one is made.
const COMMANDS_PER_BOARD: u64 = 150;

/// Requests that a violation shows.
const REMEMBERED: usize = 30;

/// Growth of the process that is no leak: boards of 64 × 64 cells come and go, and an allocator keeps some of it.
const FLAT: u64 = 24 << 20;

/// When a soak is over.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Length {
    /// After a time.
    Time(Duration),
    /// After so many commands.
    Commands(u64),
}

/// What to do.
#[derive(Clone, Debug)]
pub struct Options {
    /// Of everything that is drawn.
    pub seed: u64,
    /// When it is over.
    pub length: Length,
    /// Rates of link faults; each board draws them anew.
    pub inject: Inject,
}

/// What was done, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Boards made.
    pub boards: u64,
    /// Commands.
    pub commands: u64,
    /// Requests that were refused, as they had to be.
    pub refused: u64,
    /// Single pulses whose reply came.
    pub acknowledged: u64,
    /// Single pulses that were reported as unknown, or ended in a fault.
    pub unknown: u64,
    /// Those of them that ground truth saw.
    pub unknown_applied: u64,
    /// Jobs whose results came.
    pub jobs: u64,
    /// Pulses in those results.
    pub job_pulses: u64,
    /// Jobs that ended otherwise.
    pub jobs_lost: u64,
    /// Pulses that ground truth saw of those.
    pub jobs_lost_pulses: u64,
    /// Conductances, currents and reference resistors that were compared with truth.
    pub values: u64,
    /// Chips spoiled.
    pub chip_faults: u64,
    /// Faults that devices reported.
    pub faults: u64,
    /// Power cycles, between commands and within them.
    pub power_cycles: u64,
    /// Sessions opened after the first one of a board.
    pub reconnects: u64,
    /// Frames on all links.
    pub frames: u64,
    /// Faults injected into them.
    pub link_faults: u64,
    /// Cells that were compared with what they may have seen.
    pub cells: u64,
}

/// What must not be, with what is needed to see it again.
#[derive(Clone, Debug)]
pub struct Violation {
    /// What is wrong.
    pub what: String,
    /// Of the soak.
    pub seed: u64,
    /// Board of the soak, from 1.
    pub board: u64,
    /// The last commands, oldest first.
    pub requests: Vec<String>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for request in &self.requests {
            writeln!(f, "  {request}")?;
        }
        write!(f, "violation with --seed {} on board {}: {}", self.seed, self.board, self.what)
    }
}

/// The last commands with what came of them; printed if the process panics, so that nothing is lost with it.
struct Journal {
    seed: u64,
    board: u64,
    lines: VecDeque<String>,
}

impl Journal {
    fn note(&mut self, line: String) {
        if self.lines.len() == REMEMBERED {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }

    fn violation(&self, what: String) -> Violation {
        let requests = self.lines.iter().cloned().collect();
        Violation { what, seed: self.seed, board: self.board, requests }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.violation("a panic".to_owned()));
        }
    }
}

/// Memory over time.
#[derive(Debug, Default)]
struct Memory {
    /// Largest in the first third, the warming-up, and since.
    early: u64,
    late: u64,
}

impl Memory {
    fn sample(&mut self, done: f64) {
        let resident = resident_bytes().unwrap_or(0);
        let peak = if done < 1.0 / 3.0 { &mut self.early } else { &mut self.late };
        *peak = resident.max(*peak);
    }
}

/// Runs until the end or the first violation. `report` gets a line a minute and the table at the end.
///
/// # Errors
/// The violation.
pub fn run(options: &Options, mut report: impl FnMut(String)) -> Result<Totals, Box<Violation>> {
    let start = Instant::now();
    let mut journal = Journal { seed: options.seed, board: 0, lines: VecDeque::new() };
    let mut boards = Random::new(options.seed, 1);
    let mut totals = Totals::default();
    let mut memory = Memory::default();
    let mut minutes = 0;
    let done = |commands: u64| match options.length {
        Length::Time(time) => start.elapsed().as_secs_f64() / time.as_secs_f64(),
        Length::Commands(most) => commands as f64 / most as f64,
    };
    while done(totals.commands) < 1.0 {
        journal.board += 1;
        totals.boards += 1;
        let campaign = Campaign::new(boards.next_u64(), options.inject, &mut totals, &mut journal);
        let mut campaign = campaign.map_err(|what| journal.violation(what))?;
        for _ in 0..COMMANDS_PER_BOARD {
            if done(totals.commands) >= 1.0 {
                break;
            }
            totals.commands += 1;
            campaign.command(&mut totals, &mut journal).map_err(|what| journal.violation(what))?;
        }
        campaign.finish(&mut totals).map_err(|what| journal.violation(what))?;
        memory.sample(done(totals.commands));
        if start.elapsed().as_secs() / 60 > minutes {
            minutes = start.elapsed().as_secs() / 60;
            report(format!("{minutes:>4} min: {}", totals.line(resident_bytes())));
        }
    }
    if memory.early > 0 && memory.late > memory.early + FLAT {
        let Memory { early, late } = memory;
        return Err(journal
            .violation(format!("memory grew: at most {early} bytes in the first third, {late} since"))
            .into());
    }
    report(totals.table(options.seed, &memory, start.elapsed()));
    Ok(totals)
}

impl Totals {
    fn line(&self, resident: Option<u64>) -> String {
        let Self { boards, commands, acknowledged, unknown, job_pulses, faults, power_cycles, .. } = self;
        format!(
            "{boards} boards, {commands} commands, {acknowledged} pulses acknowledged, {unknown} unknown, {job_pulses} \
             in jobs, {faults} faults, {power_cycles} power cycles, {} MB resident",
            resident.unwrap_or(0) / 1_000_000
        )
    }

    fn table(&self, seed: u64, memory: &Memory, time: Duration) -> String {
        let mb = |bytes: u64| format!("{:.1} MB", bytes as f64 / 1e6);
        let rows = [
            ("seed", seed.to_string()),
            ("time", format!("{:.1} min", time.as_secs_f64() / 60.0)),
            ("boards", self.boards.to_string()),
            ("commands", self.commands.to_string()),
            ("requests refused as they had to be", self.refused.to_string()),
            ("frames on the link", self.frames.to_string()),
            ("link faults injected", self.link_faults.to_string()),
            ("chips spoiled", self.chip_faults.to_string()),
            ("faults reported", self.faults.to_string()),
            ("power cycles", self.power_cycles.to_string()),
            ("sessions opened again", self.reconnects.to_string()),
            ("single pulses acknowledged, each applied once", self.acknowledged.to_string()),
            ("single pulses reported unknown or faulted", self.unknown.to_string()),
            ("… of which applied (never twice)", self.unknown_applied.to_string()),
            ("jobs finished and fetched", self.jobs.to_string()),
            ("pulses in them, per cell as in truth", self.job_pulses.to_string()),
            ("jobs lost or faulted", self.jobs_lost.to_string()),
            ("pulses of theirs in truth", self.jobs_lost_pulses.to_string()),
            ("measured values compared with truth", self.values.to_string()),
            ("cells compared with what they may have seen", self.cells.to_string()),
            ("resident at most, first third", mb(memory.early)),
            ("resident at most, since", mb(memory.late)),
        ];
        rows.map(|(name, value)| format!("{name:<46}{value:>14}")).join("\n")
    }
}

/// Bytes of this process in memory; `None` where the system doesn't tell.
#[must_use]
pub fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    kib.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kib| kib * 1024)
}
