//! Bursts of 24-bit frames without the processor: one timer period per frame, whose compare events have DMA lower the
//! chip select, hand the two halves of the frame to the SPI, and raise the chip select.
//!
//! An STM32's SPI sends 4 to 16 bits and frames nothing longer, so a 24-bit frame goes as two of 12 bits. All DMA
//! latencies count as uncertain by [`DMA_COUNTS`]: whatever is drawn out of that, the order holds.

/// Longest time from a timer event to the DMA's write, in timer counts: request through the multiplexer, arbitration
/// among five channels, the AHB's and APB's bridges (RM0440, DMA and DMAMUX; the exact value is for silicon to show).
pub const DMA_COUNTS: u16 = 24;
/// From a chip select's edge to the first clock and from the last clock to the edge, and between frames, ns: more than
/// any of the three chips asks for.
const SELECT_NS: u32 = 50;

/// Compare values of the timer, counts from the start of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameTimer {
    /// Chip select falls.
    pub select: u16,
    /// First 12 bits.
    pub high: u16,
    /// Last 12 bits: into the SPI's FIFO while the first are being shifted out.
    pub low: u16,
    /// Chip select rises.
    pub release: u16,
    /// Counts of a whole frame.
    pub period: u16,
}

impl FrameTimer {
    /// For a timer of `timer_hz` and an SPI clock of `spi_hz`, which divides it.
    pub const fn new(timer_hz: u32, spi_hz: u32) -> Self {
        let gap = (SELECT_NS as u64 * timer_hz as u64).div_ceil(1_000_000_000) as u16;
        let bit = (timer_hz / spi_hz) as u16;
        let select = 1;
        let high = select + DMA_COUNTS + gap;
        // After the first half whatever the DMA does, and before it is out, so that the clock doesn't pause.
        let low = high + DMA_COUNTS;
        let release = high + DMA_COUNTS + 24 * bit + gap;
        let period = release + DMA_COUNTS + gap;
        Self { select, high, low, release, period }
    }

    /// Time of a burst of so many frames, ns.
    pub const fn burst_ns(&self, frames: u32, timer_hz: u32) -> u32 {
        (frames as u64 * self.period as u64 * 1_000_000_000).div_ceil(timer_hz as u64) as u32
    }
}

/// The two 12-bit halves of a 24-bit frame, most significant first.
pub const fn halves([first, middle, last]: [u8; 3]) -> [u16; 2] {
    let (first, middle, last) = (first as u16, middle as u16, last as u16);
    [first << 4 | middle >> 4, (middle & 0xF) << 8 | last]
}

/// The frame whose halves these are.
pub const fn joined([high, low]: [u16; 2]) -> [u8; 3] {
    [(high >> 4) as u8, ((high & 0xF) << 4 | low >> 8 & 0xF) as u8, low as u8]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TIMER_HZ: u32 = 160_000_000;
    const SPI_HZ: u32 = 40_000_000;

    #[test]
    fn whatever_the_dma_s_latency_the_frame_lies_within_its_chip_select() {
        let timer = FrameTimer::new(TIMER_HZ, SPI_HZ);
        let gap = 8; // 50 ns
        for (select, high, low, release) in
            [(0, 0, 0, 0), (DMA_COUNTS, 0, 0, 0), (0, DMA_COUNTS, DMA_COUNTS, 0), (0, 0, DMA_COUNTS, 0)]
        {
            let falls = timer.select + select;
            let starts = timer.high + high;
            assert!(
                starts <= timer.low + low && timer.low + low <= starts + 12 * 4 + DMA_COUNTS,
                "{timer:?}"
            );
            let ends = (timer.low + low).max(starts + 12 * 4) + 12 * 4;
            let rises = timer.release + release;
            assert!(falls + gap <= starts, "{timer:?}");
            assert!(ends + gap <= rises, "{timer:?}");
            assert!(rises + gap <= timer.period + timer.select, "{timer:?}");
        }
    }

    #[test]
    fn sixteen_frames_take_less_than_twenty_microseconds() {
        // 24 bits at 40 MHz are 0.6 µs; the rest is chip select and DMA.
        let timer = FrameTimer::new(TIMER_HZ, SPI_HZ);
        assert_eq!(timer.period, 193);
        assert_eq!(timer.burst_ns(16, TIMER_HZ), 19_300);
    }

    proptest! {
        #[test]
        fn a_frame_is_its_two_halves(frame: [u8; 3]) {
            let [high, low] = halves(frame);
            prop_assert!(high < 1 << 12 && low < 1 << 12);
            let word = u32::from_be_bytes([0, frame[0], frame[1], frame[2]]);
            prop_assert_eq!(u32::from(high) << 12 | u32::from(low), word);
            prop_assert_eq!(joined([high, low]), frame);
        }
    }
}
