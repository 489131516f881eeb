//! Arithmetic on values side by side, written such that every operation becomes one on registers of the target's width.

use alloc::vec::Vec;
use core::array;
use core::ops::{Add, Deref, DerefMut, Mul, Sub};

/// What fields are made of: double precision, or single for what is small beside what it is added to.
pub(super) trait Number:
    Copy + Default + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self>
{
    /// By how much a sum of changes may be off, relative to the largest; 0 for double precision.
    const ROUNDING: f64;
    /// The nearest one.
    fn of(value: f64) -> Self;
    /// The same value.
    fn double(self) -> f64;
}

impl Number for f64 {
    const ROUNDING: f64 = 0.0;

    #[inline(always)]
    fn of(value: f64) -> Self {
        value
    }

    #[inline(always)]
    fn double(self) -> f64 {
        self
    }
}

impl Number for f32 {
    const ROUNDING: f64 = 16.0 * f32::EPSILON as f64;

    #[inline(always)]
    fn of(value: f64) -> Self {
        value as f32
    }

    #[inline(always)]
    fn double(self) -> f64 {
        f64::from(self)
    }
}

/// Bytes of a cache line, and of the widest register.
const LINE: usize = 64;

/// `[T; L]` one after another, beginning with a cache line: a register's load or store that reaches across two lines takes
/// twice as long.
#[derive(Default)]
pub(super) struct Lanes<T, const L: usize> {
    values: Vec<T>,
    first: usize,
    count: usize,
}

impl<T: Number, const L: usize> Lanes<T, L> {
    /// Makes room; what is there before anything is written doesn't matter to anybody.
    pub(super) fn resize(&mut self, count: usize) {
        let spare = LINE / size_of::<T>();
        self.values.resize(count * L + spare, T::default());
        self.first = self.values.as_ptr().align_offset(LINE).min(spare);
        self.count = count;
    }
}

impl<T, const L: usize> Deref for Lanes<T, L> {
    type Target = [[T; L]];

    #[inline(always)]
    fn deref(&self) -> &Self::Target {
        self.values[self.first..][..self.count * L].as_chunks().0
    }
}

impl<T, const L: usize> DerefMut for Lanes<T, L> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut Self::Target {
        self.values[self.first..][..self.count * L].as_chunks_mut().0
    }
}

#[inline(always)]
pub(super) fn sum_of<T: Number, const L: usize>(a: [T; L], b: [T; L]) -> [T; L] {
    array::from_fn(|l| a[l] + b[l])
}

/// a − b.
#[inline(always)]
pub(super) fn difference<T: Number, const L: usize>(a: [T; L], b: [T; L]) -> [T; L] {
    array::from_fn(|l| a[l] - b[l])
}

#[inline(always)]
pub(super) fn product<T: Number, const L: usize>(a: [T; L], b: [T; L]) -> [T; L] {
    array::from_fn(|l| a[l] * b[l])
}

#[inline(always)]
pub(super) fn scaled<T: Number, const L: usize>(factor: T, values: [T; L]) -> [T; L] {
    values.map(|value| factor * value)
}

/// In the other precision.
#[inline(always)]
pub(super) fn converted<T: Number, U: Number, const L: usize>(values: [T; L]) -> [U; L] {
    values.map(|value| U::of(value.double()))
}
