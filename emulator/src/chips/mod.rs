//! Register-level models of the chips.
