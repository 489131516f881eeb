//! Raspberry Pi Pico 2 with an OR-16: what is fitted, which pin does what, clocks, limits. Change this file for another
//! wiring; what doesn't add up doesn't compile.

use embassy_rp::{Peri, Peripherals, peripherals};
use ohmrig_firmware::board::pins::conflict;
use ohmrig_firmware::board::pulse_timer::PulseTimer;
use ohmrig_firmware::board::spi_clock::{AD7606C, ADGS1414D, LTC2688, even_division};
use ohmrig_firmware::or16::{LIMITS, Or16Config, SPAN_VOLTS};

/// Name in the identity.
pub(crate) const NAME: &str = "pico2";
/// Bytes of flash.
pub(crate) const FLASH_BYTES: usize = 4 * 1024 * 1024;

/// What is fitted.
pub(crate) const OR16: Or16Config = Or16Config { rows: 16, columns: 16, gates: false };

ohmrig_firmware::pin_table! {
    /// The processor's own: link, watchdog, storage.
    pub(crate) struct ProcessorParts {
        usb: USB,
        watchdog: WATCHDOG,
        flash: FLASH,
    }

    /// The OR-16. Pins by their numbers on the Pico's silk screen.
    pub(crate) struct AnalogParts {
        // ADCs, whose clock idles the other way round, have a bus of their own.
        adc_spi: SPI0,
        adc_miso: PIN_16,
        adc_sck: PIN_18,
        adc_mosi: PIN_19,
        select_adc0: PIN_22,
        select_adc1: PIN_26,

        // DACs, each with its own chip select, and sixteen switch chips behind a 4-to-16 decoder (74HC154: outputs
        // low-active, one enable used).
        drive_spi: SPI1,
        drive_sck: PIN_10,
        drive_mosi: PIN_11,
        drive_miso: PIN_12,
        select_rows: PIN_17,
        select_bias: PIN_20,
        select_gates: PIN_21,
        decoder_a0: PIN_2,
        decoder_a1: PIN_3,
        decoder_a2: PIN_4,
        decoder_a3: PIN_5,
        decoder_enable: PIN_6,

        // Edges, all by PIO. Write pulses: TGP0 of all DACs on one net, which comes back to be measured.
        pio: PIO0,
        tgp0: PIN_7,
        tgp0_sense: PIN_14,
        convst: PIN_8,
        // High while either ADC converts (both BUSY through an OR gate: this board is out of pins).
        busy: PIN_9,

        // Supervisor of the analog supplies, low while one is bad. A falling edge is latched until it is asked for.
        supply_good: PIN_13,

        // Reset lines, all low-active with pull-downs on the analog board.
        dac_clear: PIN_27,
        switch_reset: PIN_28,
        adc_reset: PIN_15,

        // TMP117.
        i2c: I2C0,
        i2c_sda: PIN_0,
        i2c_scl: PIN_1,
    }
}

/// What the board itself uses: power-supply mode, VBUS sense, LED, VSYS measurement.
const TAKEN: &[&str] = &["PIN_23", "PIN_24", "PIN_25", "PIN_29"];
const _: () = assert!(!conflict(PINS, TAKEN), "two uses of one pin");

/// System clock, the chip's default; PIO and SPI run at it.
pub(crate) const CLOCK_HZ: u32 = 150_000_000;

/// SPI clocks. Each chip is written no faster than it is read: the HAL's driver has one clock at a time.
pub(crate) const ADC_HZ: u32 = even_division(CLOCK_HZ, AD7606C.read_hz);
pub(crate) const DAC_HZ: u32 = even_division(CLOCK_HZ, LTC2688.read_hz);
pub(crate) const SWITCH_HZ: u32 = even_division(CLOCK_HZ, ADGS1414D.read_hz);
const _: () = assert!(ADC_HZ <= AD7606C.read_hz);
const _: () = assert!(DAC_HZ <= LTC2688.read_hz);
const _: () = assert!(SWITCH_HZ <= ADGS1414D.read_hz);

/// Write pulses as the PIO program counts them: high for X + 2 cycles (see `edges`).
pub(crate) const PULSES: PulseTimer =
    PulseTimer { clock_hz: CLOCK_HZ, min_counts: PULSE_OVERHEAD, max_counts: u32::MAX };
/// Cycles of a pulse whose count is 0.
pub(crate) const PULSE_OVERHEAD: u32 = 2;
/// The measuring program counts every second cycle.
pub(crate) const SENSE: PulseTimer =
    PulseTimer { clock_hz: CLOCK_HZ / 2, min_counts: 0, max_counts: u32::MAX };
const _: () = assert!(
    PULSES.covers((LIMITS.width_min.0 * 1e9) as u32, (LIMITS.width_max.0 * 1e9) as u32),
    "PIO doesn't make every width the limits allow"
);
const _: () =
    assert!(LIMITS.cell.0 <= SPAN_VOLTS && LIMITS.read.0 <= SPAN_VOLTS, "a limit beyond the DACs' span");

/// I²C of the TMP117.
pub(crate) const I2C_HZ: u32 = 400_000;
