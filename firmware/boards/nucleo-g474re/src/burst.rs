//! Bursts of DAC frames on SPI1. Those that only write leave without the processor: TIM8 paces four DMA channels, which lower
//! the chip select, hand over the frame's two halves, and raise the chip select; the burst goes on while the caller works on.
//! Those that answer are the processor's: two halves at once in the FIFO, where the HAL's driver turns round after every byte.
//!
//! Registers: ST RM0440, "TIM1/TIM8", "DMA", "DMAMUX" (request numbers: table "DMAMUX: assignment of multiplexer
//! inputs to resources"), "SPI", "GPIO". Arithmetic and order of the events: `ohmrig_firmware::board::frame_timer`.

use core::sync::atomic::{Ordering, compiler_fence};

use embassy_stm32::pac::bdma::vals::{Dir, Pl, Size};
use embassy_stm32::pac::spi::vals::{Br, Ds, Frxth};
use embassy_stm32::pac::timer::vals::Urs;
use embassy_stm32::pac::{DMA1, DMAMUX1, GPIOC, SPI1, TIM8};
use embassy_stm32::{peripherals, rcc};
use ohmrig_firmware::board::frame_timer::{halves, joined};
use static_cell::StaticCell;

use crate::board::{CLOCK_HZ, DAC_WRITE_BR, FRAMES};

/// Frames of the longest burst.
pub(crate) const CAPACITY: usize = 64;

/// DMAMUX inputs TIM8_CH1 to TIM8_CH4.
const REQUESTS: [u8; 4] = [49, 50, 51, 52];
/// DMA1 channels 1 to 4, in the order of their events in a frame.
const CHANNELS: usize = 4;

/// Between a chip select and its frame, and after it: turns of `asm::delay`'s loop of three clocks, so that it is 50 ns as
/// [`FRAMES`] has. Between two selects more instructions pass than that.
const SELECT_TURNS: u32 = CLOCK_HZ / 20_000_000 / 3;

/// The memory the DMA reads while a burst runs.
struct Frames {
    /// GPIOC_BSRR: chip select low, chip select high.
    edges: [u32; 2],
    high: [u16; CAPACITY],
    low: [u16; CAPACITY],
}

/// The engine. SPI1 is the HAL's between bursts.
pub(crate) struct Burst {
    frames: &'static mut Frames,
    /// What SPI1 was set to before the burst on its way.
    settings: Option<(u32, u32)>,
}

impl Burst {
    /// The engine, idle. `None` the second time.
    pub(crate) fn new() -> Option<Self> {
        static FRAMES: StaticCell<Frames> = StaticCell::new();
        rcc::enable_and_reset::<peripherals::TIM8>();
        let frames = FRAMES.try_init(Frames { edges: [0; 2], high: [0; CAPACITY], low: [0; CAPACITY] })?;
        Some(Self { frames, settings: None })
    }

    /// Starts `out`, 3-byte frames, at most [`CAPACITY`] of them, with the chip select on pin `select` of port C. Ends
    /// the burst before, if there is one.
    pub(crate) fn start(&mut self, select: u8, out: &[u8]) {
        self.finish();
        let (frames, _) = out.as_chunks::<3>();
        let count = frames.len().min(CAPACITY);
        if count == 0 {
            return;
        }
        let halves_of = self.frames.high.iter_mut().zip(self.frames.low.iter_mut());
        for (frame, (high, low)) in frames.iter().zip(halves_of) {
            [*high, *low] = halves(*frame);
        }
        self.frames.edges = edges(select);
        // The DMA reads memory behind the compiler's back: everything is written before it starts.
        compiler_fence(Ordering::SeqCst);

        self.settings = Some(halve());
        SPI1.cr1().modify(|w| w.set_br(Br::from_bits(DAC_WRITE_BR)));
        SPI1.cr1().modify(|w| w.set_spe(true));

        let edges = (&raw const self.frames.edges).cast::<u32>();
        let spi = SPI1.dr16().as_ptr() as u32;
        let bsrr = GPIOC.bsrr().as_ptr() as u32;
        let words = [
            (edges as u32, bsrr, Size::BITS32, false),
            (self.frames.high.as_ptr() as u32, spi, Size::BITS16, true),
            (self.frames.low.as_ptr() as u32, spi, Size::BITS16, true),
            (edges.wrapping_add(1) as u32, bsrr, Size::BITS32, false),
        ];
        let transfers = words.into_iter().zip(REQUESTS).enumerate();
        for (channel, ((memory, peripheral, size, increment), request)) in transfers {
            let dma = DMA1.ch(channel);
            dma.cr().write(|_| {});
            DMAMUX1.ccr(channel).write(|w| w.set_dmareq_id(request));
            dma.par().write_value(peripheral);
            dma.mar().write_value(memory);
            // At most CAPACITY.
            #[allow(clippy::cast_possible_truncation)]
            dma.ndtr().write(|w| w.set_ndt(count as u16));
            dma.cr().write(|w| {
                w.set_dir(Dir::FROM_MEMORY);
                w.set_minc(increment);
                w.set_msize(size);
                w.set_psize(size);
                w.set_pl(Pl::VERY_HIGH);
                w.set_en(true);
            });
        }

        TIM8.cr1().write(|w| {
            w.set_opm(true);
            w.set_urs(Urs::COUNTER_ONLY);
        });
        let compare = [FRAMES.select, FRAMES.high, FRAMES.low, FRAMES.release];
        for (n, counts) in compare.into_iter().enumerate() {
            TIM8.ccr(n).write(|w| w.set_ccr(counts));
        }
        TIM8.arr().write(|w| w.set_arr(FRAMES.period - 1));
        // The counter stops after so many periods and one.
        #[allow(clippy::cast_possible_truncation)]
        TIM8.rcr().write(|w| w.set_rep(count as u16 - 1));
        TIM8.egr().write(|w| w.set_ug(true));
        TIM8.dier().write(|w| (0..CHANNELS).for_each(|n| w.set_ccde(n, true)));
        TIM8.cr1().modify(|w| w.set_cen(true));
    }

    /// Waits for the burst on its way, if any, and gives SPI1 back.
    pub(crate) fn finish(&mut self) {
        let Some((cr1, cr2)) = self.settings.take() else { return };
        while TIM8.cr1().read().cen()
            || DMA1.ch(CHANNELS - 1).ndtr().read().ndt() != 0
            || SPI1.sr().read().bsy()
        {}
        TIM8.dier().write(|_| {});
        for channel in 0..CHANNELS {
            DMA1.ch(channel).cr().write(|_| {});
        }
        restore((cr1, cr2));
    }

    /// Sends `out`, 3-byte frames, at the rate of reading, with the chip select on pin `select` of port C, and puts what comes
    /// back into `input`. After the burst on its way.
    pub(crate) fn exchange(&mut self, select: u8, out: &[u8], input: &mut [u8]) {
        self.finish();
        let settings = halve();
        SPI1.cr1().modify(|w| w.set_spe(true));
        let [selected, released] = edges(select);
        let mut back = input.as_chunks_mut::<3>().0.iter_mut();
        for frame in out.as_chunks::<3>().0 {
            let [high, low] = halves(*frame);
            GPIOC.bsrr().write(|w| w.0 = selected);
            cortex_m::asm::delay(SELECT_TURNS);
            // Both fit the FIFO (RM0440, "SPI": 32 bits each way, RXNE from 16 bits on).
            SPI1.dr16().write_value(high);
            SPI1.dr16().write_value(low);
            let halves = [received(), received()];
            if let Some(place) = back.next() {
                *place = joined(halves);
            }
            cortex_m::asm::delay(SELECT_TURNS);
            GPIOC.bsrr().write(|w| w.0 = released);
        }
        restore(settings);
    }
}

/// What lowers and what raises the chip select on pin `select` of port C, as GPIOC_BSRR takes it.
fn edges(select: u8) -> [u32; 2] {
    [1 << (select + 16), 1 << select]
}

/// The next half that has come back.
fn received() -> u16 {
    while !SPI1.sr().read().rxne() {}
    SPI1.dr16().read()
}

/// SPI1 off, for frames in two halves; what it was set to.
fn halve() -> (u32, u32) {
    let settings = (SPI1.cr1().read().0, SPI1.cr2().read().0);
    SPI1.cr1().modify(|w| w.set_spe(false));
    SPI1.cr2().modify(|w| {
        w.set_ds(Ds::BITS12);
        w.set_frxth(Frxth::HALF);
    });
    settings
}

/// SPI1 as it was.
fn restore((cr1, cr2): (u32, u32)) {
    SPI1.cr1().modify(|w| w.set_spe(false));
    // What came back meanwhile, and the overrun it left.
    while SPI1.sr().read().rxne() {
        let _ = SPI1.dr16().read();
    }
    let _ = SPI1.sr().read();
    SPI1.cr2().write(|w| w.0 = cr2);
    SPI1.cr1().write(|w| w.0 = cr1);
}
