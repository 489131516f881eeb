//! A board's pin table: what each pin is for, checked when the board is compiled.

/// One line of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pin {
    /// What it is for, such as `tgp0`.
    pub signal: &'static str,
    /// Its name in the HAL, such as `PA0`.
    pub pin: &'static str,
}

/// Whether two lines have the same pin or the same signal, or a line has a pin of `taken`, which the board itself uses.
pub const fn conflict(pins: &[Pin], taken: &[&str]) -> bool {
    let mut i = 0;
    while let Some((line, rest)) = split(pins, i) {
        let mut j = 0;
        while let Some((other, _)) = split(rest, j) {
            if equal(line.pin, other.pin) || equal(line.signal, other.signal) {
                return true;
            }
            j += 1;
        }
        let mut j = 0;
        while let Some((other, _)) = split(taken, j) {
            if equal(line.pin, other) {
                return true;
            }
            j += 1;
        }
        i += 1;
    }
    false
}

/// The element at `index` and what follows it.
const fn split<T>(of: &[T], index: usize) -> Option<(&T, &[T])> {
    if index < of.len() { of.split_at(index).1.split_first() } else { None }
}

const fn equal(a: &str, b: &str) -> bool {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    loop {
        match (a.split_first(), b.split_first()) {
            (None, None) => return true,
            (Some((x, a_rest)), Some((y, b_rest))) if *x == *y => (a, b) = (a_rest, b_rest),
            _ => return false,
        }
    }
}

/// Makes of one table, `signal: PIN` per line (or a peripheral in place of a pin), the constant `PINS` for the checks,
/// structs that have every one under its signal's name, and `parts`, which makes these of the HAL's peripherals: what is
/// checked is what is used. `Peri`, `Peripherals` and `peripherals` are those of the HAL, in scope where the table is.
///
/// ```
/// # mod peripherals { pub struct PA0; pub struct PA1; }
/// # type Peri<'d, T> = core::marker::PhantomData<&'d T>;
/// # struct Peripherals { PA0: Peri<'static, peripherals::PA0>, PA1: Peri<'static, peripherals::PA1> }
/// ohmrig_firmware::pin_table! {
///     /// What makes edges.
///     pub struct Edges {
///         tgp0: PA0,
///     }
///     /// What converts.
///     pub struct Converters {
///         convst: PA1,
///     }
/// }
/// assert!(!ohmrig_firmware::board::pins::conflict(PINS, &["PA2"]));
/// assert!(ohmrig_firmware::board::pins::conflict(PINS, &["PA1"]));
/// # let _ = |all| { let (Edges { tgp0 }, Converters { convst }) = parts(all); (tgp0, convst) };
/// ```
#[macro_export]
macro_rules! pin_table {
    ($($(#[$doc:meta])* $vis:vis struct $name:ident { $($signal:ident: $pin:ident,)* })*) => {
        /// The pin table, for its checks.
        pub(crate) const PINS: &[$crate::board::pins::Pin] = &[$($(
            $crate::board::pins::Pin { signal: stringify!($signal), pin: stringify!($pin) }
        ),*),*];

        $(
            $(#[$doc])*
            #[allow(missing_docs)]
            $vis struct $name {
                $($vis $signal: Peri<'static, peripherals::$pin>,)*
            }
        )*

        /// The table's parts out of all the HAL has.
        pub(crate) fn parts(all: Peripherals) -> ($($name,)*) {
            ($($name { $($signal: all.$pin,)* },)*)
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn pin(signal: &'static str, pin: &'static str) -> Pin {
        Pin { signal, pin }
    }

    #[test]
    fn a_pin_or_a_signal_in_two_lines_is_a_conflict() {
        assert!(!conflict(&[pin("a", "PA1"), pin("b", "PA10")], &[]));
        assert!(conflict(&[pin("a", "PA1"), pin("b", "PA1")], &[]));
        assert!(conflict(&[pin("a", "PA1"), pin("a", "PA2")], &[]));
    }

    #[test]
    fn a_pin_that_the_board_itself_uses_is_a_conflict() {
        assert!(conflict(&[pin("a", "PA1"), pin("b", "PA13")], &["PA13", "PA14"]));
        assert!(!conflict(&[pin("a", "PA1")], &["PA13", "PA14"]));
    }

    #[test]
    fn it_can_be_asked_when_a_board_is_compiled() {
        const _: () = assert!(!conflict(&[pin("a", "PA1"), pin("b", "PA2")], &["PA3"]));
        const _: () = assert!(conflict(&[pin("a", "PA1"), pin("b", "PA1")], &[]));
    }
}
