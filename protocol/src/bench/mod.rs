//! The bench seam: everything below the chip drivers as one trait of plain calls, and (in [`wire`], [`runs`] and [`recall`]) the
//! bytes that carry those calls over a UART. `docs/bench-protocol.md` specifies those bytes for other languages.

pub mod recall;
pub mod runs;
pub mod wire;

/// Which chip an SPI transaction goes to. `index` counts chips of one kind: lines `16·index ..` for DACs,
/// `8·index ..` for ADCs and switches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ChipSelect {
    /// What the chip is for.
    pub kind: ChipKind,
    /// Which one of its kind, from 0.
    pub index: u8,
}

/// The OR-16's chips by function. The numbers are the wire encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[repr(u8)]
pub enum ChipKind {
    /// LTC2688 driving 16 rows.
    RowDac = 0,
    /// LTC2688 biasing 16 columns.
    BiasDac = 1,
    /// LTC2688 driving 16 gate lines (1T1R arrays only).
    GateDac = 2,
    /// AD7606C-16 sampling 8 column amplifiers.
    Adc = 3,
    /// ADGS1414D: row driver → row (8 rows).
    RowConnect = 4,
    /// ADGS1414D: column → its transimpedance amplifier (8 columns).
    ColumnSense = 5,
    /// ADGS1414D: column → its bias DAC (8 columns).
    ColumnBias = 6,
    /// ADGS1414D: R_cal of a column → CAL bus (8 columns).
    Calibrate = 7,
    /// ADGS1414D: 10 kΩ in parallel to a column's feedback resistor (8 columns).
    Feedback10k = 8,
    /// ADGS1414D: 1 kΩ in parallel to a column's feedback resistor (8 columns).
    Feedback1k = 9,
    /// ADGS1414D: row driver → CAL bus (8 rows).
    RowCalibrate = 10,
    /// ADGS1414D: bypass of a row's 10 kΩ forming resistor (8 rows).
    FormingBypass = 11,
}

/// Reset lines, all active low.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum OutputLine {
    /// CLR of every LTC2688: outputs to their reset value while low.
    DacClear = 0,
    /// RESET of every ADGS1414D: all switches open while low.
    SwitchReset = 1,
    /// RESET of every AD7606C-16 (its pin is active high; the net is inverted on the board).
    AdcReset = 2,
}

/// What a bench says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BenchInfo {
    /// Rows of the crossbar, 1 to 256.
    pub rows: u16,
    /// Columns of the crossbar, 1 to 256.
    pub columns: u16,
    /// Bytes of flash.
    pub flash_bytes: u32,
    /// Erase unit of the flash in bytes.
    pub flash_erase_bytes: u32,
    /// A number no earlier boot has had, from entropy, never from a seed.
    pub boot_nonce: u64,
}

/// Everything below the chip drivers, as plain calls: the emulator implements it directly, and a UART carries it to
/// one in another process. Calls take effect in order. Time is the instrument clock in ns; it advances only by waits
/// and by the bits of transactions over their clock rate.
pub trait Bench {
    /// What can go wrong (for the emulator: only calls that no board could make, such as an absent chip).
    type Error: core::fmt::Debug;

    /// Who this is.
    fn info(&mut self) -> Result<BenchInfo, Self::Error>;
    /// The instrument clock, ns.
    fn now_ns(&mut self) -> Result<u64, Self::Error>;
    /// Lets instrument time pass until `at_ns`; nothing if it already has.
    fn wait_until_ns(&mut self, at_ns: u64) -> Result<(), Self::Error>;
    /// `out` as consecutive chip-select frames of `frame` bytes (1–32); what comes back is dropped.
    fn spi_write(&mut self, select: ChipSelect, frame: usize, out: &[u8]) -> Result<(), Self::Error>;
    /// As `spi_write`, and what comes back is put into `input` (same length as `out`).
    fn spi_transfer(
        &mut self,
        select: ChipSelect,
        frame: usize,
        out: &[u8],
        input: &mut [u8],
    ) -> Result<(), Self::Error>;
    /// One I²C transaction: write, then (if `input` isn't empty) repeated start and read. `Ok(false)` if nothing acknowledged.
    fn i2c(&mut self, address: u8, out: &[u8], input: &mut [u8]) -> Result<bool, Self::Error>;
    /// Sets a reset line.
    fn set_output(&mut self, line: OutputLine, high: bool) -> Result<(), Self::Error>;
    /// TGP0 high now, low again by hardware after `width_ns`.
    fn start_pulse(&mut self, width_ns: u32) -> Result<(), Self::Error>;
    /// TGP0 low at once.
    fn stop_pulse(&mut self) -> Result<(), Self::Error>;
    /// Whether TGP0 is low.
    fn pulse_done(&mut self) -> Result<bool, Self::Error>;
    /// CONVST edge to every ADC.
    fn start_conversion(&mut self) -> Result<(), Self::Error>;
    /// Whether the supplies have been good ever since this was last asked, or since power-on.
    fn supply_good(&mut self) -> Result<bool, Self::Error>;
    /// Whether every BUSY is low.
    fn conversion_done(&mut self) -> Result<bool, Self::Error>;
    /// Reads flash.
    fn flash_read(&mut self, offset: u32, into: &mut [u8]) -> Result<(), Self::Error>;
    /// Programs flash (clears bits).
    fn flash_write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Self::Error>;
    /// Erases the sector at `offset` to `0xFF`.
    fn flash_erase(&mut self, offset: u32) -> Result<(), Self::Error>;
    /// Closes these of the switches on the microcontroller's own pins and opens the others: rows in the low byte, columns
    /// in the high one. Only for boards that have such switches, like the three below.
    fn set_switches(&mut self, closed: u16) -> Result<(), Self::Error>;
    /// Which of them are closed, instead of those of `set_switches`, from the next `start_pulse` to the pulse's end.
    fn arm_switches(&mut self, closed: u16) -> Result<(), Self::Error>;
    /// Code of the microcontroller's own DAC.
    fn set_dac(&mut self, code: u16) -> Result<(), Self::Error>;
    /// What the microcontroller's own ADC found in the last conversion, from column `first` on; at most
    /// [`MAX_ADC_CODES`](wire::MAX_ADC_CODES).
    fn read_adc(&mut self, first: u8, codes: &mut [u16]) -> Result<(), Self::Error>;
}
