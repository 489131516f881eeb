//! Arithmetic on values side by side, written such that every operation becomes one on registers of the target's width.

use core::array;

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
