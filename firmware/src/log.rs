//! One way to log from the core and the drivers: defmt on targets, the `log` crate natively, nothing without either.

/// Words for a log line. With defmt a number for which the image's debug information has the words, so that they take no
/// flash.
#[cfg(feature = "defmt")]
pub(crate) type Words = ::defmt::Str;
/// Words for a log line.
#[cfg(not(feature = "defmt"))]
pub(crate) type Words = &'static str;

/// [`Words`] of a literal.
#[cfg(feature = "defmt")]
macro_rules! words {
    ($words:literal) => {
        ::defmt::intern!($words)
    };
}
/// [`Words`] of a literal.
#[cfg(not(feature = "defmt"))]
macro_rules! words {
    ($words:literal) => {
        $words
    };
}
pub(crate) use words;

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
