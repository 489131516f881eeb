//! Memory that Rust doesn't know the life of: what a reset leaves alone, and the stack as painted before the start.

use core::cell::UnsafeCell;
use core::mem::MaybeUninit;
use core::ptr;

use ohmrig_firmware::board::last_words::{LastWords, Message};
use ohmrig_firmware::board::stack::{PAINT, high_water_bytes};

const _: () = assert!(PAINT == cortex_m_rt::STACK_PAINT_VALUE);

struct Kept(UnsafeCell<MaybeUninit<LastWords>>);

// SAFETY: only touched in `with_last_words`, whose callers run before interrupts matter or after they are off.
unsafe impl Sync for Kept {}

/// cortex-m-rt leaves `.uninit` alone at the start.
#[unsafe(link_section = ".uninit.LAST_WORDS")]
static KEPT: Kept = Kept(UnsafeCell::new(MaybeUninit::uninit()));

fn with_last_words<T>(work: impl FnOnce(&mut LastWords) -> T) -> T {
    critical(|| {
        let kept = KEPT.0.get().cast::<LastWords>();
        // SAFETY: the pointer is to a static of that size and alignment, every bit pattern is a `LastWords`, and with
        // interrupts off on a single core nobody else has it. Volatile, because the compiler takes it for uninitialised.
        let mut words = unsafe { ptr::read_volatile(kept) };
        let result = work(&mut words);
        // SAFETY: as above.
        unsafe { ptr::write_volatile(kept, words) };
        result
    })
}

fn critical<T>(work: impl FnOnce() -> T) -> T {
    cortex_m::interrupt::free(|_| work())
}

/// The message of the panic that caused this start, if one did; once.
pub fn take_last_words() -> Option<Message> {
    with_last_words(LastWords::take)
}

#[cfg(feature = "reset-on-panic")]
pub(crate) fn keep_last_words(words: core::fmt::Arguments<'_>) {
    with_last_words(|kept| kept.keep(words));
}

/// The stack, lowest address first.
fn stack() -> (*const u32, usize) {
    unsafe extern "C" {
        static _stack_start: u32;
        static _stack_end: u32;
    }
    let (end, start) = (&raw const _stack_end, &raw const _stack_start);
    (end, (start as usize - end as usize) / size_of::<u32>())
}

/// Bytes of the stack.
pub fn stack_bytes() -> usize {
    stack().1 * size_of::<u32>()
}

/// Bytes of the stack that were ever used: its high-water mark.
pub fn stack_used_bytes() -> usize {
    let (lowest, words) = stack();
    // SAFETY: the linker script's bounds of the stack, all of it RAM; volatile, because it may change meanwhile.
    high_water_bytes((0..words).map(|word| unsafe { ptr::read_volatile(lowest.add(word)) }))
}

/// An empty stretch of RAM for the heap.
#[cfg(feature = "heap")]
pub(crate) struct Room<const BYTES: usize>(UnsafeCell<MaybeUninit<[u8; BYTES]>>);

#[cfg(feature = "heap")]
// SAFETY: nobody reads or writes it but the allocator, which is given it once.
unsafe impl<const BYTES: usize> Sync for Room<BYTES> {}

#[cfg(feature = "heap")]
impl<const BYTES: usize> Room<BYTES> {
    pub(crate) const fn new() -> Self {
        Self(UnsafeCell::new(MaybeUninit::uninit()))
    }

    /// Gives it to `heap`, which must have none yet.
    pub(crate) fn give(&'static self, heap: &embedded_alloc::LlffHeap) {
        // SAFETY: a static of that size that nothing else refers to; called once, before the first allocation.
        unsafe { heap.init(self.0.get() as usize, BYTES) }
    }
}
