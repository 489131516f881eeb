//! SPI clocks: the fastest a divider makes that a chip still stands.

/// What a chip stands, Hz, on its bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChipClock {
    /// While it is written to.
    pub write_hz: u32,
    /// While it is read from.
    pub read_hz: u32,
}

/// LTC2688: 50 MHz to write, 20 MHz to read (the board's design; Linux `ltc2688.c` leaves it to the device tree).
pub const LTC2688: ChipClock = ChipClock { write_hz: 50_000_000, read_hz: 20_000_000 };
/// AD7606C-16: 23.5 MHz (Linux `ad7606_spi.c`, `MAX_SPI_FREQ_HZ`).
pub const AD7606C: ChipClock = ChipClock { write_hz: 23_500_000, read_hz: 23_500_000 };
/// ADGS1414D: 50 MHz (data sheet rev. 0, table 6, t1); 10 MHz for what it shifts out. Its data are there 30 ns after the
/// falling edge at the latest (t9) and are taken at the rising one, half a period later; multiplexer, cable and the
/// processor's set-up time take some 15 ns more.
pub const ADGS1414D: ChipClock = ChipClock { write_hz: 50_000_000, read_hz: 10_000_000 };

/// The smallest power of two (2 to 256) by which `bus_hz` must be divided to stay within `limit_hz`: its exponent
/// less one, as in BR of an STM32's SPI_CR1 (RM0440, SPI_CR1). `None` if even 256 is too fast.
pub const fn power_of_two(bus_hz: u32, limit_hz: u32) -> Option<u8> {
    let mut exponent = 0;
    while exponent < 8 {
        if bus_hz >> (exponent + 1) <= limit_hz {
            return Some(exponent);
        }
        exponent += 1;
    }
    None
}

/// The clock that [`power_of_two`]'s answer makes, Hz.
pub const fn divided(bus_hz: u32, exponent: u8) -> u32 {
    bus_hz >> (exponent as u32 + 1)
}

/// The fastest clock within `limit_hz` that an even divider makes of `bus_hz`, Hz (PL022: CPSDVSR is even).
pub const fn even_division(bus_hz: u32, limit_hz: u32) -> u32 {
    bus_hz / (2 * bus_hz.div_ceil(2 * limit_hz))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_a_switch_chip_shifts_out_is_there_before_it_is_taken() {
        let half_period_ns = 500_000_000 / ADGS1414D.read_hz;
        let (valid_ns, multiplexer_ns, cable_ns, set_up_ns) = (30, 8, 2, 5);
        assert!(valid_ns + multiplexer_ns + cable_ns + set_up_ns <= half_period_ns);
    }

    #[test]
    fn every_chip_gets_the_fastest_clock_it_stands() {
        let exponent = |limit| power_of_two(160_000_000, limit).unwrap();
        assert_eq!(divided(160_000_000, exponent(LTC2688.write_hz)), 40_000_000);
        assert_eq!(divided(160_000_000, exponent(LTC2688.read_hz)), 20_000_000);
        assert_eq!(divided(160_000_000, exponent(AD7606C.read_hz)), 20_000_000);
        assert_eq!(divided(160_000_000, exponent(ADGS1414D.read_hz)), 10_000_000);
        assert_eq!(power_of_two(160_000_000, 600_000), None);
        assert_eq!(even_division(150_000_000, 20_000_000), 18_750_000);
        assert_eq!(even_division(150_000_000, 37_500_000), 37_500_000);
    }
}
