//! What cells have been through, kept per array and across power-ups.

use crate::bytes::joined;

/// Bytes of one [`CellBudget`] on the wire.
pub const BUDGET_BYTES: usize = 28;

/// Longest name of an array, bytes; 1 to this many of printable ASCII.
pub const MAX_ARRAY_NAME_BYTES: usize = 24;

/// What one cell has got so far; each number is at least what really happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CellBudget {
    /// Write pulses with this cell selected.
    pub pulses: u32,
    /// Σ |V|·width of those, V·ns.
    pub dose: u64,
    /// Their energy, fJ.
    pub energy: u64,
    /// Σ |V|·width while another cell was selected, V·ns.
    pub half_select: u64,
}

impl CellBudget {
    /// Little-endian, in the order of the fields.
    #[must_use]
    pub fn to_bytes(self) -> [u8; BUDGET_BYTES] {
        joined(&[
            &self.pulses.to_le_bytes(),
            &self.dose.to_le_bytes(),
            &self.energy.to_le_bytes(),
            &self.half_select.to_le_bytes(),
        ])
    }

    /// The reverse of [`to_bytes`](Self::to_bytes).
    #[must_use]
    pub fn from_bytes(bytes: &[u8; BUDGET_BYTES]) -> Self {
        let [a, b, c, d, rest @ ..] = *bytes;
        let word = |index: usize| {
            let (words, _) = rest.as_chunks::<8>();
            words.get(index).copied().map_or(0, u64::from_le_bytes)
        };
        Self {
            pulses: u32::from_le_bytes([a, b, c, d]),
            dose: word(0),
            energy: word(1),
            half_select: word(2),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_survives_the_wire() {
        let budget = CellBudget { pulses: 1, dose: u64::MAX, energy: 3 << 40, half_select: 4 };
        assert_eq!(CellBudget::from_bytes(&budget.to_bytes()), budget);
    }
}
