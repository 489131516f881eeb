//! All that the compiler can't check: memory that Rust doesn't know the life of (what a reset leaves alone, the stack as
//! painted before the start, the heap's arena), and the end by a panic or a fault. Either ends in a reset at once: the
//! pins let go, and the pull resistors of the analog board bring it to DEAD.

#[cfg(feature = "heap")]
use core::alloc::{GlobalAlloc, Layout};
use core::arch::asm;
#[cfg(feature = "heap")]
use core::cell::Cell;
use core::cell::UnsafeCell;
use core::mem::MaybeUninit;
#[cfg(feature = "reset-on-panic")]
use core::panic::PanicInfo;
use core::ptr;

#[cfg(feature = "reset-on-panic")]
use cortex_m::peripheral::SCB;
#[cfg(feature = "reset-on-panic")]
use cortex_m_rt::{ExceptionFrame, exception};
#[cfg(feature = "heap")]
use critical_section::Mutex;
#[cfg(feature = "heap")]
use embedded_alloc::LlffHeap;

#[cfg(feature = "reset-on-panic")]
use ohmrig_firmware::board::last_words::Word;
use ohmrig_firmware::board::last_words::{LastWords, Message};
use ohmrig_firmware::board::stack::{PAINT, high_water_bytes};
use ohmrig_protocol::message::{BUILD_BYTES, Stack};

const _: () = assert!(PAINT == cortex_m_rt::STACK_PAINT_VALUE);

struct Kept(UnsafeCell<MaybeUninit<LastWords>>);

// SAFETY: only touched in `with_last_words`, whose callers run before interrupts matter or after they are off.
unsafe impl Sync for Kept {}

/// cortex-m-rt leaves `.uninit` alone at the start.
#[unsafe(link_section = ".uninit.LAST_WORDS")]
static KEPT: Kept = Kept(UnsafeCell::new(MaybeUninit::uninit()));

fn with_last_words<T>(work: impl FnOnce(&mut LastWords) -> T) -> T {
    cortex_m::interrupt::free(|_| {
        let kept = KEPT.0.get().cast::<LastWords>();
        // The compiler takes what is there for uninitialised, and what is written there for never read. Assembly that may read
        // and write it tells it otherwise; copying by volatile accesses instead would be 7 KB of code.
        // SAFETY: no instruction at all.
        unsafe { asm!("/* {0} */", in(reg) kept, options(nostack, preserves_flags)) };
        // SAFETY: the pointer is to a static of that size and alignment, every bit pattern is a `LastWords`, and with
        // interrupts off on a single core nobody else has it.
        let result = work(unsafe { &mut *kept });
        // SAFETY: no instruction at all.
        unsafe { asm!("/* {0} */", in(reg) kept, options(nostack, preserves_flags)) };
        result
    })
}

/// The message of the panic that caused this start, if one did; once.
pub fn take_last_words() -> Option<Message> {
    with_last_words(LastWords::take)
}

#[cfg(feature = "reset-on-panic")]
#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    let message = info.message().as_str().unwrap_or("panicked");
    let (file, line) = info.location().map_or(("?", 0), |place| (place.file(), place.line()));
    with_last_words(|kept| {
        kept.keep(&[
            Word::Text(message),
            Word::Text(" at "),
            Word::Text(file),
            Word::Text(":"),
            Word::Decimal(line),
        ]);
    });
    SCB::sys_reset()
}

#[cfg(feature = "reset-on-panic")]
#[exception]
unsafe fn HardFault(frame: &ExceptionFrame) -> ! {
    let (at, from) = (frame.pc(), frame.lr());
    with_last_words(|kept| {
        kept.keep(&[
            Word::Text("HardFault at 0x"),
            Word::Hexadecimal(at),
            Word::Text(", called from 0x"),
            Word::Hexadecimal(from),
        ]);
    });
    SCB::sys_reset()
}

/// What the linker's hash over the image begins with, as the board's build script has it placed; empty if the linker left it
/// out.
pub fn build_id() -> &'static [u8] {
    /// An ELF note: length of its owner's name and of its content, its type, then the name "GNU" and the content.
    #[repr(C)]
    struct Note {
        name_bytes: u32,
        content_bytes: u32,
        kind: u32,
        name: [u8; 4],
        content: [u8; BUILD_BYTES],
    }
    /// `NT_GNU_BUILD_ID` (elf.h).
    const BUILD_ID: u32 = 3;
    unsafe extern "C" {
        static __ohmrig_build_id: Note;
    }
    // SAFETY: the symbol is where the linker script puts the note, aligned to 4 bytes, in memory that nothing writes. Without
    // a note it would be other constants of the image, and the check fails.
    let note = unsafe { &__ohmrig_build_id };
    let is_note =
        note.kind == BUILD_ID && note.name == *b"GNU\0" && note.content_bytes as usize >= BUILD_BYTES;
    if is_note && note.name_bytes == 4 { &note.content } else { &[] }
}

/// The stack, lowest address first.
fn stack_words() -> (*const u32, usize) {
    unsafe extern "C" {
        static _stack_start: u32;
        static _stack_end: u32;
    }
    let (end, start) = (&raw const _stack_end, &raw const _stack_start);
    (end, (start as usize - end as usize) / size_of::<u32>())
}

/// The stack and its high-water mark. Looks at every word that was never used: some 0.5 ms for 100 KiB at 170 MHz.
pub fn stack() -> Stack {
    let (lowest, words) = stack_words();
    // SAFETY: the linker script's bounds of the stack, all of it RAM; volatile, because it may change meanwhile.
    let used = high_water_bytes((0..words).map(|word| unsafe { ptr::read_volatile(lowest.add(word)) }));
    // No microcontroller has 4 GiB.
    Stack { bytes: (words * size_of::<u32>()) as u32, used: used as u32 }
}

/// A `#[global_allocator]` with `BYTES` of its own. [`start`](Self::start) it before the first allocation.
#[cfg(feature = "heap")]
pub struct Arena<const BYTES: usize> {
    heap: LlffHeap,
    room: UnsafeCell<MaybeUninit<[u8; BYTES]>>,
    started: Mutex<Cell<bool>>,
}

#[cfg(feature = "heap")]
// SAFETY: the room is only the allocator's, which has a lock of its own.
unsafe impl<const BYTES: usize> Sync for Arena<BYTES> {}

#[cfg(feature = "heap")]
impl<const BYTES: usize> Arena<BYTES> {
    /// Not started.
    #[allow(clippy::new_without_default)] // A static can't be a `Default`.
    pub const fn new() -> Self {
        Self {
            heap: LlffHeap::empty(),
            room: UnsafeCell::new(MaybeUninit::uninit()),
            started: Mutex::new(Cell::new(false)),
        }
    }

    /// Makes it usable; nothing the second time.
    pub fn start(&'static self) {
        if !critical_section::with(|cs| self.started.borrow(cs).replace(true)) {
            // SAFETY: the room of a static, that nobody else touches; once, as `started` was false.
            unsafe { self.heap.init(self.room.get() as usize, BYTES) }
        }
    }

    /// Bytes allocated now, an estimate.
    pub fn used_bytes(&self) -> usize {
        self.heap.used()
    }
}

#[cfg(feature = "heap")]
// SAFETY: every call goes to an allocator, unchanged.
unsafe impl<const BYTES: usize> GlobalAlloc for Arena<BYTES> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        unsafe { self.heap.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { self.heap.dealloc(pointer, layout) }
    }
}
