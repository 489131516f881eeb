//! One direction of a misbehaving link: bytes go in, pieces come out. Faults are drawn frame by frame, so that they
//! depend on the frames and the seed and not on how a system cuts or times them.

use super::{Fault, Inject, Tally};
use ohmrig_emulator::random::Random;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Bytes without a delimiter that are passed on as they are: no frame is that long.
const NO_FRAME: usize = 1 << 16;

/// When a device is power-cycled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reset {
    /// It never sees the piece.
    Before,
    /// It has dealt with the piece; its answers are lost.
    After,
}

/// Bytes that arrive together.
#[derive(Debug, Default)]
pub(crate) struct Piece {
    pub(crate) bytes: Vec<u8>,
    pub(crate) reset: Option<Reset>,
    /// Not before.
    due: Option<Instant>,
    /// Waits for the next piece to arrive with it.
    merges: bool,
}

/// A frame held back until so many more have passed.
#[derive(Debug)]
struct Held {
    frames: u64,
    bytes: Vec<u8>,
}

/// A direction.
#[derive(Debug)]
pub(crate) struct Lane {
    inject: Inject,
    dice: Random,
    tally: Arc<Tally>,
    /// Bytes of a frame that isn't whole yet, leading delimiters included.
    partial: Vec<u8>,
    /// Whether `partial` has more than delimiters.
    begun: bool,
    held: Vec<Held>,
    pieces: VecDeque<Piece>,
}

impl Lane {
    /// The direction to the device.
    pub(crate) fn to_device(inject: Inject, tally: Arc<Tally>) -> Self {
        Self::new(inject, 1, tally)
    }

    /// The direction to the host; power cycles happen on the other one.
    pub(crate) fn to_host(mut inject: Inject, tally: Arc<Tally>) -> Self {
        inject.rates[Fault::Reset as usize] = 0.0;
        Self::new(inject, 2, tally)
    }

    fn new(inject: Inject, direction: u64, tally: Arc<Tally>) -> Self {
        Self {
            inject,
            dice: Random::new(inject.seed, direction),
            tally,
            partial: Vec::new(),
            begun: false,
            held: Vec::new(),
            pieces: VecDeque::new(),
        }
    }

    /// Takes bytes in.
    pub(crate) fn feed(&mut self, bytes: &[u8], now: Instant) {
        for &byte in bytes {
            self.partial.push(byte);
            if byte != 0 {
                self.begun = true;
            }
            if byte == 0 && self.begun {
                let frame = std::mem::take(&mut self.partial);
                self.begun = false;
                self.frame(frame, now);
            }
        }
        if self.partial.len() > NO_FRAME {
            let bytes = std::mem::take(&mut self.partial);
            self.begun = false;
            self.pieces.push_back(Piece { bytes, ..Piece::default() });
        }
    }

    /// The next piece that has arrived. A piece that is to be merged waits for another one unless `hurry`.
    pub(crate) fn take(&mut self, now: Instant, hurry: bool) -> Option<Piece> {
        let mut joined: Option<Piece> = None;
        loop {
            let last = self.pieces.len() == 1;
            let here = self.pieces.front().is_some_and(|piece| piece.due.is_none_or(|due| due <= now));
            if !here || joined.is_none() && last && !hurry && self.pieces[0].merges {
                return joined;
            }
            let piece = self.pieces.pop_front()?;
            let merges = piece.merges && piece.reset.is_none();
            match &mut joined {
                Some(joined) => {
                    joined.bytes.extend(piece.bytes);
                    joined.reset = piece.reset;
                }
                None => joined = Some(piece),
            }
            if !merges {
                return joined;
            }
        }
    }

    /// Until when nothing arrives, if it is stalled.
    pub(crate) fn stalled_until(&self, now: Instant) -> Option<Instant> {
        self.pieces.front().and_then(|piece| piece.due).filter(|&due| due > now)
    }

    /// Whether everything that will arrive without another frame has arrived.
    pub(crate) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// What happens to a whole frame. The same number of draws for each, whatever the rates.
    fn frame(&mut self, mut bytes: Vec<u8>, now: Instant) {
        self.tally.note_frame();
        let hits = self.inject.rates.map(|rate| self.dice.uniform() < rate);
        let hit = |fault: Fault| hits[fault as usize];
        if hit(Fault::Drop) {
            self.tally.note(Fault::Drop);
        } else {
            if hit(Fault::Gap) {
                self.tally.note(Fault::Gap);
                let first = self.below(bytes.len() as u64) as usize;
                let end = (first + 1 + self.below(8) as usize).min(bytes.len());
                bytes.drain(first..end);
            }
            if hit(Fault::Corrupt) && !bytes.is_empty() {
                self.tally.note(Fault::Corrupt);
                // Different bits: two flips of one would be none.
                let first = self.below(bytes.len() as u64 * 8);
                for n in 0..=self.below(3) {
                    let bit = (first + n * 7) as usize % (bytes.len() * 8);
                    bytes[bit / 8] ^= 1 << (bit % 8);
                }
            }
            if hit(Fault::Truncate) && !bytes.is_empty() {
                self.tally.note(Fault::Truncate);
                let length = self.below(bytes.len() as u64) as usize;
                bytes.truncate(length);
            }
            let copies = if hit(Fault::Duplicate) {
                self.tally.note(Fault::Duplicate);
                2
            } else {
                1
            };
            let bytes = bytes.repeat(copies);
            if hit(Fault::Reorder) {
                self.tally.note(Fault::Reorder);
                // The frame itself passes below.
                let frames = 2 + self.below(4);
                self.held.push(Held { frames, bytes });
            } else {
                self.arrive(bytes, &hits, now);
            }
        }
        self.pass();
    }

    /// Puts a frame's bytes on their way, in pieces.
    fn arrive(&mut self, bytes: Vec<u8>, hits: &[bool; Fault::ALL.len()], now: Instant) {
        let hit = |fault: Fault| hits[fault as usize];
        let due = hit(Fault::Stall).then(|| {
            self.tally.note(Fault::Stall);
            now + Duration::from_millis(20 + self.below(281))
        });
        let reset = hit(Fault::Reset).then(|| {
            self.tally.note(Fault::Reset);
            if self.below(2) == 0 { Reset::Before } else { Reset::After }
        });
        let mut rest = bytes;
        if hit(Fault::Split) && rest.len() > 1 {
            self.tally.note(Fault::Split);
            for _ in 0..=self.below(4) {
                if rest.len() > 1 {
                    let tail = rest.split_off(1 + self.below(rest.len() as u64 - 1) as usize);
                    let bytes = std::mem::replace(&mut rest, tail);
                    self.pieces.push_back(Piece { bytes, due, ..Piece::default() });
                }
            }
        }
        let merges = hit(Fault::Merge);
        if merges {
            self.tally.note(Fault::Merge);
        }
        self.pieces.push_back(Piece { bytes: rest, reset, due, merges });
    }

    /// A frame has passed: those held back for it go next.
    fn pass(&mut self) {
        for held in &mut self.held {
            held.frames -= 1;
        }
        for held in self.held.extract_if(.., |held| held.frames == 0) {
            self.pieces.push_back(Piece { bytes: held.bytes, ..Piece::default() });
        }
    }

    /// Uniform in 0..n; the bias of the remainder is below n / 2^64.
    fn below(&mut self, n: u64) -> u64 {
        self.dice.next_u64() % n.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAMES: u64 = 20_000;

    fn lane(spec: &str) -> (Lane, Arc<Tally>) {
        let tally = Arc::new(Tally::default());
        (Lane::to_device(spec.parse().unwrap(), Arc::clone(&tally)), tally)
    }

    /// A frame that tells its number.
    fn frame(number: u64) -> Vec<u8> {
        let mut bytes: Vec<u8> = number.to_le_bytes().map(|byte| byte | 1).to_vec();
        bytes.extend(number.to_string().bytes());
        bytes.push(0);
        bytes
    }

    /// Everything that arrives, piece by piece, long after any stall.
    fn arrived(lane: &mut Lane) -> Vec<Vec<u8>> {
        let late = Instant::now() + Duration::from_secs(60);
        std::iter::from_fn(|| lane.take(late, true)).map(|piece| piece.bytes).collect()
    }

    fn sent_through(spec: &str, frames: u64) -> (Vec<Vec<u8>>, Arc<Tally>) {
        let (mut lane, tally) = lane(spec);
        for number in 0..frames {
            lane.feed(&frame(number), Instant::now());
        }
        (arrived(&mut lane), tally)
    }

    #[test]
    fn each_fault_happens_as_often_as_its_rate_says() {
        // A binomial count of 20,000 is within 4.5 standard deviations of its mean but for 7 in a million seeds.
        for fault in Fault::ALL {
            for rate in [0.01, 0.3] {
                let (_, tally) = sent_through(&format!("{}={rate},seed=5", fault.name()), FRAMES);
                let mean = FRAMES as f64 * rate;
                let bound = 4.5 * (mean * (1.0 - rate)).sqrt();
                let count = tally.count(fault) as f64;
                assert!((count - mean).abs() <= bound, "{fault:?} at {rate}: {count} of {FRAMES}");
                assert_eq!(tally.frames(), FRAMES);
                assert!(Fault::ALL.iter().all(|&other| other == fault || tally.count(other) == 0));
            }
        }
    }

    #[test]
    fn without_faults_bytes_pass_as_they_are() {
        let (pieces, _) = sent_through("seed=1", 50);
        assert_eq!(pieces, (0..50).map(frame).collect::<Vec<_>>());
    }

    #[test]
    fn a_seed_repeats_itself_however_the_bytes_are_cut_and_another_differs() {
        let spec = "drop=0.1,gap=0.1,corrupt=0.1,truncate=0.1,duplicate=0.1,reorder=0.1,split=0.1,merge=0.1";
        let all: Vec<u8> = (0..500).flat_map(frame).collect();
        let run = |seed: u64, cut: usize| {
            let (mut lane, _) = lane(&format!("{spec},seed={seed}"));
            for part in all.chunks(cut) {
                lane.feed(part, Instant::now());
            }
            arrived(&mut lane)
        };
        assert_eq!(run(3, 1), run(3, 1000));
        assert_ne!(run(3, 7), run(4, 7));
    }

    #[test]
    fn the_two_directions_draw_for_themselves() {
        let inject: Inject = "drop=0.5,seed=1".parse().unwrap();
        let tally = Arc::new(Tally::default());
        let mut lanes = [Lane::to_device(inject, Arc::clone(&tally)), Lane::to_host(inject, tally)];
        let [there, back] = lanes.each_mut().map(|lane| {
            (0..64).for_each(|number| lane.feed(&frame(number), Instant::now()));
            arrived(lane)
        });
        assert_ne!(there, back);
    }

    #[test]
    fn a_dropped_frame_takes_its_leading_delimiters_with_it() {
        let (mut lane, tally) = lane("drop=1");
        lane.feed(&[0, 0, 1, 2, 0], Instant::now());
        assert!(lane.is_empty() && arrived(&mut lane).is_empty());
        assert_eq!((tally.frames(), tally.count(Fault::Drop)), (1, 1));
    }

    #[test]
    fn damage_is_what_its_name_says() {
        let whole = frame(77);
        let only = |spec: &str| sent_through_one(spec, &whole);
        assert_eq!(only("duplicate=1"), [whole.clone(), whole.clone()].concat());
        for seed in 0..50 {
            let corrupt = only(&format!("corrupt=1,seed={seed}"));
            let flipped: u32 = corrupt.iter().zip(&whole).map(|(a, b)| (a ^ b).count_ones()).sum();
            assert!(corrupt.len() == whole.len() && (1..=3).contains(&flipped), "{corrupt:?}");
            let short = only(&format!("truncate=1,seed={seed}"));
            assert!(short.len() < whole.len() && whole.starts_with(&short), "{short:?}");
            let gap = whole.len() - only(&format!("gap=1,seed={seed}")).len();
            assert!((1..=8).contains(&gap), "{gap}");
        }
    }

    fn sent_through_one(spec: &str, bytes: &[u8]) -> Vec<u8> {
        let (mut lane, _) = lane(spec);
        lane.feed(bytes, Instant::now());
        arrived(&mut lane).concat()
    }

    #[test]
    fn reordered_frames_all_arrive_a_few_places_later() {
        let (pieces, tally) = sent_through("reorder=0.2,seed=2", 200);
        assert!(tally.count(Fault::Reorder) > 10);
        let order: Vec<usize> =
            (0..190).map(|number| pieces.iter().position(|piece| *piece == frame(number)).unwrap()).collect();
        assert!(!order.is_sorted());
        assert!(order.iter().enumerate().all(|(sent, &came)| came.abs_diff(sent) <= 5), "{order:?}");
    }

    #[test]
    fn a_split_frame_comes_in_pieces_and_merged_ones_in_one() {
        let (pieces, _) = sent_through("split=1,seed=3", 1);
        assert!((2..=6).contains(&pieces.len()));
        assert_eq!(pieces.concat(), frame(0));
        let (mut lane, _) = lane("merge=1");
        lane.feed(&frame(0), Instant::now());
        assert!(lane.take(Instant::now(), false).is_none(), "it waits for the next one");
        lane.feed(&frame(1), Instant::now());
        assert_eq!(arrived(&mut lane), [[frame(0), frame(1)].concat()]);
    }

    #[test]
    fn a_stall_holds_up_everything_behind_it() {
        let (mut lane, _) = lane("stall=1,seed=1");
        let start = Instant::now();
        lane.feed(&frame(0), start);
        lane.feed(&frame(1), start);
        assert!(lane.take(start + Duration::from_millis(19), true).is_none());
        let until = lane.stalled_until(start).unwrap();
        assert!(until <= start + Duration::from_millis(300));
        assert_eq!(lane.take(until, true).unwrap().bytes, frame(0));
    }
}
