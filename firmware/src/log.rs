//! One way to log from the core and the drivers: defmt on targets, the `log` crate natively, nothing without either.

/// Logs at a level: `log!(warn, "chip {} answered {}", chip, code)`. The placeholders are `{}` only.
macro_rules! log {
    ($level:ident, $format:literal $(, $argument:expr)* $(,)?) => {{
        #[cfg(feature = "defmt")]
        ::defmt::$level!($format $(, $argument)*);
        #[cfg(all(feature = "log", not(feature = "defmt")))]
        ::log::$level!($format $(, $argument)*);
        #[cfg(not(any(feature = "defmt", feature = "log")))]
        { $(let _ = &$argument;)* }
    }};
}
pub(crate) use log;
