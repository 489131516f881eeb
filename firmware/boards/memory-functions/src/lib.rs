//! The functions that compilers call to copy, move, fill and compare memory, in a third of a kilobyte. Those of
//! `compiler_builtins` are built for speed alone: with all their names, 3.8 KB, which an image of 96 KiB hasn't got.
//!
//! For processors that take unaligned words (Armv7-M, Armv8-M Mainline). Names and arguments: "Run-time ABI for the Arm
//! Architecture" (IHI 0043), "Memory copying, clearing, and setting", and the C standard.
#![no_std]
// Otherwise the loops would be recognised for what they are, and call themselves. Code of such a crate is compiled by itself,
// so that it may call nothing that is linked together with the rest: no checked arithmetic.
#![no_builtins]

#[inline(never)]
#[unsafe(no_mangle)]
unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, bytes: usize) -> *mut u8 {
    // SAFETY: the caller's promise: `bytes` bytes from `from` can be read, as many from `to` written. No address leaves them.
    unsafe {
        // Forwards, unless that would overwrite the end of the source before it is read.
        if (to as usize).wrapping_sub(from as usize) >= bytes {
            let (mut to, mut from) = (to, from);
            let end = to.add(bytes);
            let (blocks_end, words_end) = (to.add(bytes & !15), to.add(bytes & !3));
            while to < blocks_end {
                // Word by word: four in one value would be copied by a call to this function.
                let (word, source) = (to.cast::<u32>(), from.cast::<u32>());
                word.write_unaligned(source.read_unaligned());
                word.add(1).write_unaligned(source.add(1).read_unaligned());
                word.add(2).write_unaligned(source.add(2).read_unaligned());
                word.add(3).write_unaligned(source.add(3).read_unaligned());
                (to, from) = (to.add(16), from.add(16));
            }
            while to < words_end {
                to.cast::<u32>().write_unaligned(from.cast::<u32>().read_unaligned());
                (to, from) = (to.add(4), from.add(4));
            }
            while to < end {
                to.write(from.read());
                (to, from) = (to.add(1), from.add(1));
            }
        } else {
            let (mut end, mut from) = (to.add(bytes), from.add(bytes));
            let words_begin = to.add(bytes & 3);
            while end > words_begin {
                (end, from) = (end.sub(4), from.sub(4));
                end.cast::<u32>().write_unaligned(from.cast::<u32>().read_unaligned());
            }
            while end > to {
                (end, from) = (end.sub(1), from.sub(1));
                end.write(from.read());
            }
        }
    }
    to
}

#[inline(never)]
#[unsafe(no_mangle)]
unsafe extern "C" fn memset(to: *mut u8, value: i32, bytes: usize) -> *mut u8 {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // As the C standard says.
    let value = value as u8;
    let word = u32::from_ne_bytes([value; 4]);
    // SAFETY: the caller's promise: `bytes` bytes from `to` can be written. No address leaves them.
    unsafe {
        let mut next = to;
        let end = to.add(bytes);
        let (blocks_end, words_end) = (to.add(bytes & !15), to.add(bytes & !3));
        while next < blocks_end {
            let words = next.cast::<u32>();
            words.write_unaligned(word);
            words.add(1).write_unaligned(word);
            words.add(2).write_unaligned(word);
            words.add(3).write_unaligned(word);
            next = next.add(16);
        }
        while next < words_end {
            next.cast::<u32>().write_unaligned(word);
            next = next.add(4);
        }
        while next < end {
            next.write(value);
            next = next.add(1);
        }
    }
    to
}

#[inline(never)]
#[unsafe(no_mangle)]
unsafe extern "C" fn memcmp(left: *const u8, right: *const u8, bytes: usize) -> i32 {
    // SAFETY: the caller's promise: `bytes` bytes from both can be read. No address leaves them.
    unsafe {
        let (mut next, mut other) = (left, right);
        let end = left.add(bytes);
        while next < end {
            let difference = i32::from(next.read()).wrapping_sub(i32::from(other.read()));
            if difference != 0 {
                return difference;
            }
            (next, other) = (next.add(1), other.add(1));
        }
    }
    0
}

#[unsafe(no_mangle)]
unsafe extern "C" fn bcmp(left: *const u8, right: *const u8, bytes: usize) -> i32 {
    // SAFETY: the same promise.
    unsafe { memcmp(left, right, bytes) }
}

macro_rules! moving {
    ($($name:ident)*) => {$(
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $name(to: *mut u8, from: *const u8, bytes: usize) -> *mut u8 {
            // SAFETY: the same promise.
            unsafe { memmove(to, from, bytes) }
        }
    )*};
}
moving!(memcpy __aeabi_memcpy __aeabi_memcpy4 __aeabi_memcpy8 __aeabi_memmove __aeabi_memmove4 __aeabi_memmove8);

macro_rules! filling {
    ($($name:ident)*) => {$(
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $name(to: *mut u8, bytes: usize, value: i32) -> *mut u8 {
            // SAFETY: the same promise.
            unsafe { memset(to, value, bytes) }
        }
    )*};
}
filling!(__aeabi_memset __aeabi_memset4 __aeabi_memset8);

macro_rules! clearing {
    ($($name:ident)*) => {$(
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $name(to: *mut u8, bytes: usize) -> *mut u8 {
            // SAFETY: the same promise.
            unsafe { memset(to, 0, bytes) }
        }
    )*};
}
clearing!(__aeabi_memclr __aeabi_memclr4 __aeabi_memclr8);
