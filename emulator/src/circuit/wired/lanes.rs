//! Arithmetic on values side by side, written such that every operation becomes one on registers of the target's width.

use alloc::vec::Vec;
use core::array;
use core::ops::{Deref, DerefMut};

/// Bytes of a cache line, and of the widest register.
const LINE: usize = 64;
const VALUES: usize = LINE / size_of::<f64>();

/// `[f64; L]` one after another, beginning with a cache line: a register's load or store that reaches across two lines takes
/// twice as long.
#[derive(Default)]
pub(super) struct Lanes<const L: usize> {
    values: Vec<f64>,
    first: usize,
    count: usize,
}

impl<const L: usize> Lanes<L> {
    /// Makes room; what is there before anything is written doesn't matter to anybody.
    pub(super) fn resize(&mut self, count: usize) {
        self.values.resize(count * L + VALUES, 0.0);
        self.first = self.values.as_ptr().align_offset(LINE).min(VALUES);
        self.count = count;
    }
}

impl<const L: usize> Deref for Lanes<L> {
    type Target = [[f64; L]];

    #[inline(always)]
    fn deref(&self) -> &Self::Target {
        self.values[self.first..][..self.count * L].as_chunks().0
    }
}

impl<const L: usize> DerefMut for Lanes<L> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut Self::Target {
        self.values[self.first..][..self.count * L].as_chunks_mut().0
    }
}

#[inline(always)]
pub(super) fn sum_of<const L: usize>(a: [f64; L], b: [f64; L]) -> [f64; L] {
    array::from_fn(|l| a[l] + b[l])
}

/// a − b.
#[inline(always)]
pub(super) fn difference<const L: usize>(a: [f64; L], b: [f64; L]) -> [f64; L] {
    array::from_fn(|l| a[l] - b[l])
}

#[inline(always)]
pub(super) fn product<const L: usize>(a: [f64; L], b: [f64; L]) -> [f64; L] {
    array::from_fn(|l| a[l] * b[l])
}

#[inline(always)]
pub(super) fn scaled<const L: usize>(factor: f64, values: [f64; L]) -> [f64; L] {
    values.map(|value| factor * value)
}
