//! Our blocking flash as `sequential-storage` wants it: asynchronous in form, done when first polled.

use super::journal::{self, Journal};
use super::layout::{SECTOR_BYTES, WORD_BYTES};
use crate::hardware::Flash;
use core::future::Future;
use core::pin::pin;
use core::task::{Context, Poll, Waker};
use embedded_storage_async::nor_flash::{
    ErrorType, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash,
};
use ohmrig_protocol::message::StorageProblem;

/// The result of a future that never waits; `None` if it did all the same.
pub(super) fn at_once<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => Some(result),
        Poll::Pending => None,
    }
}

/// Why an access failed.
#[derive(Debug)]
pub(super) struct NorError(pub(super) StorageProblem);

impl NorFlashError for NorError {
    fn kind(&self) -> NorFlashErrorKind {
        NorFlashErrorKind::Other
    }
}

/// A flash whose writes are read back and whose erases go through the journal.
#[derive(Debug)]
pub(super) struct Nor<'f, F> {
    pub(super) flash: &'f mut F,
    pub(super) journal: &'f mut Journal,
}

impl<F> ErrorType for Nor<'_, F> {
    type Error = NorError;
}

impl<F: Flash> ReadNorFlash for Nor<'_, F> {
    const READ_SIZE: usize = 1;

    async fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), NorError> {
        journal::read(self.flash, offset, bytes).map_err(NorError)
    }

    fn capacity(&self) -> usize {
        self.flash.capacity() as usize
    }
}

impl<F: Flash> NorFlash for Nor<'_, F> {
    const WRITE_SIZE: usize = WORD_BYTES as usize;
    const ERASE_SIZE: usize = SECTOR_BYTES as usize;

    async fn erase(&mut self, from: u32, to: u32) -> Result<(), NorError> {
        for sector in from / SECTOR_BYTES..to / SECTOR_BYTES {
            self.journal.erase(self.flash, sector).map_err(NorError)?;
        }
        Ok(())
    }

    async fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), NorError> {
        journal::program(self.flash, offset, bytes).map_err(NorError)
    }
}
