//! SI scalars as they travel: one `f32` each, the unit in the type's name.

use core::fmt;
use serde::{Deserialize, Serialize};

macro_rules! unit {
    ($($(#[$doc:meta])* $name:ident($symbol:literal);)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd, Serialize, Deserialize)]
        #[repr(transparent)]
        pub struct $name(pub f32);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)?;
                f.write_str(concat!(" ", $symbol))
            }
        }
    )*};
}

unit! {
    /// Electric potential.
    Volts("V");
    /// Current.
    Amperes("A");
    /// Conductance.
    Siemens("S");
    /// Resistance.
    Ohms("Ω");
    /// A span of time.
    Seconds("s");
    /// Voltage times time: a dose of stress, a flux linkage.
    VoltSeconds("V s");
    /// Energy.
    Joules("J");
    /// Absolute temperature.
    Kelvin("K");
}
