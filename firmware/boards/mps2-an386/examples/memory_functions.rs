//! Copies, moves, fills and compares memory at every alignment, in every length up to some words and over every distance
//! between source and target, and checks each byte against what a plain loop gives.
#![no_std]
#![no_main]

#[allow(dead_code)]
#[path = "../src/hal.rs"]
mod hal;

use core::cmp::Ordering;
use core::hint::black_box;

/// Exit status when all is as it should be.
const RIGHT: u32 = 105;
const ROOM: usize = 40;
const LONGEST: usize = 19;

type Room = [u8; ROOM];

/// Byte by byte, in a way that no compiler takes for a copy.
fn expected(before: &Room, mut at: impl FnMut(usize) -> Option<u8>) -> Room {
    let mut after = *before;
    for (index, byte) in after.iter_mut().enumerate() {
        *byte = black_box(at(index).unwrap_or(*byte));
    }
    after
}

fn same(left: &Room, right: &Room) -> bool {
    left.iter().zip(right).all(|(left, right)| black_box(*left) == *right)
}

#[cortex_m_rt::entry]
fn main() -> ! {
    let mut before: Room = [0; ROOM];
    for (index, byte) in before.iter_mut().enumerate() {
        *byte = 0x35_u8.wrapping_mul(index as u8).wrapping_add(7);
    }
    let mut checks = 0_u32;
    for length in 0..=LONGEST {
        for to in 0..=ROOM - LONGEST {
            let target = black_box(to..to + length);
            let inside = |index: usize| target.contains(&index);
            for from in 0..=ROOM - LONGEST {
                let mut moved = before;
                moved.copy_within(black_box(from..from + length), to);
                let wanted = |index| inside(index).then(|| before[index - to + from]);
                assert!(same(&moved, &expected(&before, wanted)), "move of {length} from {from} to {to}");

                let mut copied = [0xAA; ROOM];
                copied[target.clone()].copy_from_slice(black_box(&before[from..from + length]));
                assert!(
                    same(&copied, &expected(&[0xAA; ROOM], wanted)),
                    "copy of {length} from {from} to {to}"
                );
                checks += 2;
            }
            for value in [0, 0xC3] {
                let mut filled = before;
                filled[target.clone()].fill(black_box(value));
                let wanted = |index| inside(index).then_some(value);
                assert!(same(&filled, &expected(&before, wanted)), "fill of {length} at {to} with {value}");
                checks += 1;
            }
            for index in target.clone() {
                let mut other = before;
                other[index] = other[index].wrapping_add(1);
                let (left, right) = (black_box(&before[target.clone()]), black_box(&other[target.clone()]));
                let order = before[index].cmp(&other[index]);
                assert!(
                    left.cmp(right) == order && right.cmp(left) == order.reverse(),
                    "compare {length} at {to}"
                );
                assert!(left != right && left.cmp(black_box(&before[target.clone()])) == Ordering::Equal);
                checks += 2;
            }
        }
    }
    hal::say(format_args!("{checks} checks of memory functions"));
    hal::exit(RIGHT)
}
