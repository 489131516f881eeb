//! The heap of an image that carries the emulator: one arena of fixed size, whose exhaustion is a panic.

use core::alloc::{GlobalAlloc, Layout};
use core::cell::Cell;

use critical_section::Mutex;
use embedded_alloc::LlffHeap;

use crate::memory::Room;

/// A `#[global_allocator]` with `BYTES` of its own. [`start`](Self::start) it before the first allocation.
pub struct Arena<const BYTES: usize> {
    heap: LlffHeap,
    room: Room<BYTES>,
    started: Mutex<Cell<bool>>,
}

impl<const BYTES: usize> Arena<BYTES> {
    /// Not started.
    #[allow(clippy::new_without_default)] // A static can't be a `Default`.
    pub const fn new() -> Self {
        Self { heap: LlffHeap::empty(), room: Room::new(), started: Mutex::new(Cell::new(false)) }
    }

    /// Makes it usable; nothing the second time.
    pub fn start(&'static self) {
        if !critical_section::with(|cs| self.started.borrow(cs).replace(true)) {
            self.room.give(&self.heap);
        }
    }

    /// Bytes allocated now, an estimate.
    pub fn used_bytes(&self) -> usize {
        self.heap.used()
    }
}

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
