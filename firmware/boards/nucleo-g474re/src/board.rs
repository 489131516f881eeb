//! NUCLEO-G474RE with an OR-16: what is fitted, which pin does what, clocks, limits. Change this file for another
//! wiring; what doesn't add up doesn't compile.

use embassy_stm32::rcc::{
    self, AHBPrescaler, APBPrescaler, Hse, HseMode, Pll, PllMul, PllPreDiv, PllRDiv, PllSource, Sysclk,
};
use embassy_stm32::time::Hertz;
use embassy_stm32::{Config, Peri, Peripherals, peripherals};
use ohmrig_firmware::board::frame_timer::FrameTimer;
use ohmrig_firmware::board::pins::conflict;
use ohmrig_firmware::board::pulse_timer::PulseTimer;
use ohmrig_firmware::board::spi_clock::{AD7606C, ADGS1414D, LTC2688, divided, power_of_two};
use ohmrig_firmware::or16::{LIMITS, Or16Config, SPAN_VOLTS};

/// Name in the identity.
pub(crate) const NAME: &str = "nucleo-g474re";

/// What is fitted. `gates`: a third DAC at `select_gates`.
pub(crate) const OR16: Or16Config = Or16Config { rows: 16, columns: 16, gates: false };

ohmrig_firmware::pin_table! {
    /// The processor's own: link, watchdog, entropy, storage.
    pub(crate) struct StationParts {
        // The ST-Link's virtual COM port. The button, held at reset, chooses the slow rate.
        link: LPUART1,
        link_tx: PA2,
        link_rx: PA3,
        slow_link_button: PC13,

        watchdog: IWDG,
        rng: RNG,
        flash: FLASH,
    }

    /// The OR-16. Connector names of the pins: ST UM2505, "Extension connectors".
    pub(crate) struct AnalogParts {
        // DACs, each with its own chip select; bursts of frames are DMA's, paced by the frame timer.
        dac_spi: SPI1,
        dac_sck: PB3,
        dac_miso: PB4,
        dac_mosi: PB5,
        select_rows: PC5,
        select_bias: PC6,
        select_gates: PC7,
        frame_timer: TIM8,
        frame_dma_select: DMA1_CH1,
        frame_dma_high: DMA1_CH2,
        frame_dma_low: DMA1_CH3,
        frame_dma_release: DMA1_CH4,

        // ADCs.
        adc_spi: SPI2,
        adc_sck: PB13,
        adc_miso: PB14,
        adc_mosi: PB15,
        select_adc0: PB11,
        select_adc1: PB12,
        convst: PB6,
        convst_timer: TIM4,
        busy0: PA6,
        busy1: PA7,

        // Sixteen switch chips behind a 4-to-16 decoder (74HC154: outputs low-active, one enable used).
        switch_spi: SPI3,
        switch_sck: PC10,
        switch_miso: PC11,
        switch_mosi: PC12,
        decoder_a0: PC0,
        decoder_a1: PC1,
        decoder_a2: PC2,
        decoder_a3: PC3,
        decoder_enable: PC4,

        // Write pulses: TGP0 of all DACs on one net, which comes back to be measured.
        tgp0: PA0,
        pulse_timer: TIM2,
        tgp0_sense: PB2,
        sense_timer: TIM5,

        // Supervisor of the analog supplies, low while one is bad. A falling edge stays in the EXTI until it is asked for.
        supply_good: PA11,

        // Reset lines, all low-active with pull-downs on the analog board.
        dac_clear: PA8,
        switch_reset: PA9,
        adc_reset: PA10,

        // TMP117. Not on PB8: that is BOOT0 at reset, and a pull-up there starts ST's boot loader.
        i2c: I2C3,
        i2c_scl: PC8,
        i2c_sda: PC9,
    }
}

/// What the board itself uses: debugger, 32 kHz and 24 MHz crystals.
const TAKEN: &[&str] = &["PA13", "PA14", "PC14", "PC15", "PF0", "PF1"];
const _: () = assert!(!conflict(PINS, TAKEN), "two uses of one pin");

/// Every bus and timer runs at this: 160 MHz and not 170, because its eighth is the 20 MHz at which an LTC2688 can be read.
pub(crate) const CLOCK_HZ: u32 = 160_000_000;
/// The crystal of the board (X3).
const CRYSTAL_HZ: u32 = 24_000_000;
const _: () = assert!(CRYSTAL_HZ / 3 * 40 / 2 == CLOCK_HZ, "the PLL's settings don't make that clock");

/// The clock tree.
pub(crate) fn clocks() -> Config {
    let mut config = Config::default();
    config.rcc.hse = Some(Hse { freq: Hertz(CRYSTAL_HZ), mode: HseMode::Oscillator });
    config.rcc.pll = Some(Pll {
        source: PllSource::HSE,
        prediv: PllPreDiv::DIV3,
        mul: PllMul::MUL40,
        divp: None,
        divq: None,
        divr: Some(PllRDiv::DIV2),
    });
    config.rcc.sys = Sysclk::PLL1_R;
    config.rcc.boost = true;
    config.rcc.ahb_pre = AHBPrescaler::DIV1;
    config.rcc.apb1_pre = APBPrescaler::DIV1;
    config.rcc.apb2_pre = APBPrescaler::DIV1;
    config.rcc.mux.clk48sel = rcc::mux::Clk48sel::HSI48;
    config
}

/// SPI clocks: the divider's exponent as in SPI_CR1.BR.
pub(crate) const DAC_WRITE_BR: u8 = fastest(LTC2688.write_hz);
pub(crate) const DAC_HZ: u32 = divided(CLOCK_HZ, fastest(LTC2688.read_hz));
pub(crate) const ADC_HZ: u32 = divided(CLOCK_HZ, fastest(AD7606C.read_hz));
pub(crate) const SWITCH_HZ: u32 = divided(CLOCK_HZ, fastest(ADGS1414D.read_hz));
const _: () = assert!(DAC_HZ <= LTC2688.read_hz && divided(CLOCK_HZ, DAC_WRITE_BR) <= LTC2688.write_hz);
const _: () = assert!(ADC_HZ <= AD7606C.read_hz);
const _: () = assert!(SWITCH_HZ <= ADGS1414D.read_hz);

const fn fastest(limit_hz: u32) -> u8 {
    match power_of_two(CLOCK_HZ, limit_hz) {
        Some(exponent) => exponent,
        None => panic!("no divider is slow enough"),
    }
}

/// DMA bursts of DAC frames.
pub(crate) const FRAMES: FrameTimer = FrameTimer::new(CLOCK_HZ, divided(CLOCK_HZ, DAC_WRITE_BR));

/// TIM2 and TIM5: 32 bits.
pub(crate) const PULSES: PulseTimer = PulseTimer { clock_hz: CLOCK_HZ, min_counts: 2, max_counts: u32::MAX };
const _: () = assert!(
    PULSES.covers((LIMITS.width_min.0 * 1e9) as u32, (LIMITS.width_max.0 * 1e9) as u32),
    "the pulse timer doesn't make every width the limits allow"
);
const _: () =
    assert!(LIMITS.cell.0 <= SPAN_VOLTS && LIMITS.read.0 <= SPAN_VOLTS, "a limit beyond the DACs' span");

/// CONVST stays high so long, ns: more than the AD7606C-16 asks for, less than a conversion.
const CONVST_NS: u32 = 100;
pub(crate) const CONVST_COUNTS: u16 = (CONVST_NS as u64 * CLOCK_HZ as u64 / 1_000_000_000) as u16;

/// The link's rates; the slow one for adapters and cables that don't do the fast one.
pub(crate) const BAUD: u32 = 2_000_000;
pub(crate) const SLOW_BAUD: u32 = 115_200;
/// I²C of the TMP117.
pub(crate) const I2C_HZ: u32 = 400_000;
/// A loop that hasn't come round in this time is reset: longer than the erasure of two flash pages (22 ms each).
pub(crate) const WATCHDOG_US: u32 = 200_000;
/// Storage: the end of bank 2, which memory.x keeps free.
pub(crate) const STORAGE_OFFSET: u32 = 388 * 1024;
pub(crate) const STORAGE_BYTES: u32 = 124 * 1024;
