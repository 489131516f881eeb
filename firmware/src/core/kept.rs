//! What survives power loss, and the work of keeping it: read at the start, written one item a step, only while no
//! cell can get a pulse.

use super::arrays::{ARRAYS_BYTES, Arrays, Name};
use super::budgets::{self, Budgets};
use super::records::{RECORDS_BYTES, Records, Upload};
use super::request;
use super::reservation::{RESERVATION_BYTES, Reservations};
use crate::front_end::Description;
use crate::hardware::Flash;
use crate::store::{Area, Store};
use ohmrig_protocol::bytes::put;
use ohmrig_protocol::frame;
use ohmrig_protocol::message::{Fault, Limits, MAX_PANIC_BYTES, Refusal, Request, StorageProblem};
use ohmrig_protocol::serial;

/// Keys of the small things.
mod key {
    pub(super) const BOOTS: u16 = 1;
    pub(super) const LIMITS: u16 = 2;
    pub(super) const FAULT: u16 = 3;
    pub(super) const PANIC: u16 = 4;
    pub(super) const ARRAYS: u16 = 5;
    pub(super) const RESERVATIONS: u16 = 6;
    pub(super) const RECORDS: u16 = 7;
}

/// Room for any of the small things that are written as in a body.
const SMALL_BYTES: usize = 64;

/// Something to do with the flash.
#[derive(Clone, Copy, Debug)]
pub(super) enum Task {
    /// Open it and count the start.
    Boot,
    /// Read the plugged array's budgets from this map on.
    Load(u16),
    /// Write down what is reserved.
    Reserve,
    /// Write the budgets from this block on, then end the epoch.
    Settle(u32),
    /// Write down the last fault.
    Fault,
    /// Keep these limits.
    Limits(Limits),
    /// Plug in the array of this name.
    Plug(Name),
    /// Forget the array of this name.
    Forget(Name),
    /// Store the chunk that the pending request carries.
    Chunk,
    /// Check the record on its way and put it in force.
    Commit,
    /// Put this record in force again.
    RollBack(u32),
    /// Read a chunk of a record into the reply.
    ReadRecord(u32, u32),
}

/// How a task went on.
pub(super) enum Kept {
    /// This next.
    Next(Task),
    /// All done.
    Done,
    /// A record is in force.
    Stored { number: u32, dropped: Option<u32> },
    /// The request can't be executed.
    Refused(Refusal),
    /// A record's data, as many bytes, are in the reply's buffer.
    Data { offset: u32, bytes: usize },
}

/// The last fault of all.
#[derive(Clone, Copy, Debug, PartialEq)]
struct LastFault {
    fault: Fault,
    /// The start it happened in.
    boot: u32,
    cleared: bool,
}

/// What the last panic said.
#[derive(Clone, Copy, Debug)]
struct LastPanic {
    text: [u8; MAX_PANIC_BYTES],
    length: usize,
    /// The start that followed it.
    boot: u32,
}

impl LastPanic {
    #[inline(never)]
    fn new(text: &str, boot: u32) -> Self {
        let mut length = text.len().min(MAX_PANIC_BYTES);
        while !text.is_char_boundary(length) {
            length -= 1;
        }
        let mut panic = Self { text: [0; MAX_PANIC_BYTES], length, boot };
        panic.text.iter_mut().zip(text.bytes().take(length)).for_each(|(to, from)| *to = from);
        panic
    }

    fn text(&self) -> &str {
        core::str::from_utf8(self.text.get(..self.length).unwrap_or_default()).unwrap_or_default()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (boot, text) = bytes.split_first_chunk::<4>()?;
        Some(Self::new(core::str::from_utf8(text).ok()?, u32::from_le_bytes(*boot)))
    }

    fn to_bytes(self, into: &mut [u8; 4 + MAX_PANIC_BYTES]) -> &[u8] {
        put(into, &[&self.boot.to_le_bytes(), &self.text]);
        into.get(..4 + self.length).unwrap_or_default()
    }
}

/// What the core hands to a task.
pub(super) struct Desk<'a, 'b> {
    pub(super) budgets: &'a mut Budgets<'b>,
    pub(super) board: &'a Description,
    /// The pending request's body.
    pub(super) body: &'a [u8],
    /// The reply's buffer.
    pub(super) data: &'a mut [u8],
    /// What the panic before this start said, if that is how the last one ended.
    pub(super) panic: Option<&'a str>,
}

/// Everything in flash that the core works with, as it is in flash.
#[derive(Debug)]
pub(super) struct Keep<'b> {
    store: Store<'b>,
    /// The start is over: what can be known is known.
    booted: bool,
    problem: Option<StorageProblem>,
    /// Arrays there is room for.
    slots: usize,
    boots: u32,
    limits: Option<Limits>,
    arrays: Arrays,
    pub(super) reservations: Reservations,
    records: Records,
    upload: Option<Upload>,
    fault: Option<LastFault>,
    /// It isn't in flash yet.
    fault_is_new: bool,
    panic: Option<LastPanic>,
}

type Outcome<T> = Result<T, StorageProblem>;

impl<'b> Keep<'b> {
    pub(super) fn new(scratch: &'b mut [u8]) -> Self {
        Self {
            store: Store::new(scratch),
            booted: false,
            problem: None,
            slots: 0,
            boots: 0,
            limits: None,
            arrays: Arrays::new((0, 0)),
            reservations: Reservations::default(),
            records: Records::default(),
            upload: None,
            fault: None,
            fault_is_new: false,
            panic: None,
        }
    }

    pub(super) fn has_booted(&self) -> bool {
        self.booted
    }

    /// Why nothing can be kept, if so.
    pub(super) fn problem(&self) -> Option<StorageProblem> {
        self.problem
    }

    pub(super) fn boots(&self) -> u32 {
        self.boots
    }

    /// The limits that were tightened for good.
    pub(super) fn limits(&self) -> Option<Limits> {
        self.limits
    }

    pub(super) fn array(&self) -> &str {
        self.arrays.name()
    }

    pub(super) fn last_fault(&self) -> Option<(Fault, u32)> {
        self.fault.map(|last| (last.fault, last.boot))
    }

    /// The fault that was latched when the last start ended.
    pub(super) fn latched_fault(&self) -> Option<Fault> {
        self.fault.filter(|last| !last.cleared).map(|last| last.fault)
    }

    pub(super) fn last_panic(&self) -> Option<(&str, u32)> {
        self.panic.as_ref().map(|panic| (panic.text(), panic.boot))
    }

    /// Takes down a fault that has just been latched.
    pub(super) fn note_fault(&mut self, fault: Fault) {
        self.fault = Some(LastFault { fault, boot: self.boots, cleared: false });
        self.fault_is_new = true;
    }

    /// Takes down that the latched fault was cleared.
    pub(super) fn note_cleared(&mut self) {
        if let Some(last) = &mut self.fault {
            last.cleared = true;
            self.fault_is_new = true;
        }
    }

    /// What has to be written before anything else: a fault, and in SAFE what was reserved, once `may_settle`.
    pub(super) fn due(&self, may_settle: bool) -> Option<Task> {
        if !self.booted || self.problem.is_some() {
            return None;
        }
        if self.fault_is_new {
            return Some(Task::Fault);
        }
        (may_settle && !self.reservations.is_empty()).then_some(Task::Settle(0))
    }

    /// Refuses whatever needs a flash in order.
    pub(super) fn usable(&self) -> Result<(), Refusal> {
        self.problem.map_or(Ok(()), |problem| Err(Refusal::Storage(problem)))
    }

    pub(super) fn plug(&self, name: &str) -> Result<(Name, bool), Refusal> {
        let name = Name::new(name)?;
        self.arrays.plug(name, self.slots)?;
        Ok((name, self.arrays.is_plugged(&name)))
    }

    pub(super) fn forget(&self, name: &str) -> Result<Name, Refusal> {
        let name = Name::new(name)?;
        self.arrays.forget(name).map(|_| name)
    }

    /// Slots, which name is plugged, bytes of names.
    pub(super) fn list_arrays(&self, into: &mut [u8]) -> (u8, u8, usize) {
        let (bytes, plugged) = self.arrays.list(into);
        (u8::try_from(self.slots).unwrap_or(u8::MAX), plugged, bytes)
    }

    pub(super) fn list_records(&self, into: &mut [u8]) -> usize {
        self.records.list(into)
    }

    pub(super) fn begin_record(
        &mut self,
        label: ohmrig_protocol::message::RecordLabel,
    ) -> Result<(), Refusal> {
        self.upload = Some(self.records.begin(label)?);
        Ok(())
    }

    /// Does one step of a task: at most one item is written.
    pub(super) fn work(&mut self, task: Task, flash: &mut impl Flash, desk: Desk<'_, 'b>) -> Outcome<Kept> {
        let result = self.step(task, flash, desk);
        match &result {
            Err(problem) => {
                self.booted = true;
                self.problem = Some(*problem);
            }
            Ok(Kept::Done) => self.booted = true,
            Ok(_) => {}
        }
        result
    }

    #[inline(never)]
    fn step(&mut self, task: Task, flash: &mut impl Flash, desk: Desk<'_, 'b>) -> Outcome<Kept> {
        let Desk { budgets, board, body, data, panic } = desk;
        let refused = |refusal| Ok(Kept::Refused(refusal));
        match task {
            Task::Boot => {
                self.boot(flash, board, panic)?;
                Ok(self.begin_load(budgets, board))
            }
            Task::Load(map) => {
                let area = Area::Budgets(map);
                self.load(area, flash, budgets, board)?;
                let (_, end) = self.block_range(board);
                let next = Area::Budgets(map + 1);
                Ok(if next.first_block() < end { Kept::Next(Task::Load(map + 1)) } else { Kept::Done })
            }
            Task::Reserve => {
                let reservations = self.reservations;
                self.put_reservations(flash, &reservations)?;
                Ok(Kept::Done)
            }
            Task::Settle(from) => {
                self.reservations.settle();
                let (first, end) = self.block_range(board);
                let concerned = |block: &u32| Budgets::concerns(*block, &self.reservations, board);
                let Some(block) = (from..end - first).find(concerned) else {
                    let settled = self.reservations.settled();
                    self.put_reservations(flash, &settled)?;
                    self.reservations = settled;
                    return Ok(Kept::Done);
                };
                let (_, array) = self.arrays.plugged();
                let bytes = budgets.block(block, array, self.reservations.epoch(), board);
                let (area, key) = Area::of_block(first + block);
                self.store.put(flash, area, key, &bytes)?;
                Ok(Kept::Next(Task::Settle(block + 1)))
            }
            Task::Fault => {
                if let Some(LastFault { fault, boot, cleared }) = self.fault {
                    self.put_small(flash, key::FAULT, &(fault, boot, cleared))?;
                }
                self.fault_is_new = false;
                Ok(Kept::Done)
            }
            Task::Limits(limits) => {
                self.put_small(flash, key::LIMITS, &limits)?;
                self.limits = Some(limits);
                Ok(Kept::Done)
            }
            Task::Plug(name) => {
                let arrays = match self.arrays.plug(name, self.slots) {
                    Ok(arrays) => arrays,
                    Err(refusal) => return refused(refusal),
                };
                self.put_arrays(flash, arrays)?;
                Ok(self.begin_load(budgets, board))
            }
            Task::Forget(name) => match self.arrays.forget(name) {
                Ok(arrays) => self.put_arrays(flash, arrays).map(|()| Kept::Done),
                Err(refusal) => refused(refusal),
            },
            Task::Chunk => self.store_chunk(flash, body),
            Task::Commit => self.commit(flash),
            Task::RollBack(number) => match self.records.roll_back(number) {
                Ok(records) => self.put_records(flash, records).map(|()| Kept::Done),
                Err(refusal) => refused(refusal),
            },
            Task::ReadRecord(number, offset) => {
                let key = match self.records.chunk(number, offset) {
                    Ok(key) => key,
                    Err(refusal) => return refused(refusal),
                };
                let chunk = self.store.get(flash, Area::Records, key)?.ok_or(StorageProblem::Damaged)?;
                data.get_mut(..chunk.len()).ok_or(StorageProblem::Damaged)?.copy_from_slice(chunk);
                Ok(Kept::Data { offset, bytes: chunk.len() })
            }
        }
    }

    #[inline(never)]
    fn boot(&mut self, flash: &mut impl Flash, board: &Description, panic: Option<&str>) -> Outcome<()> {
        let Self { store, boots, limits, arrays, reservations, records, fault, panic: last_panic, .. } = self;
        self.slots = store.open(flash, budgets::blocks(board.rows, board.columns))?;
        let mut known = None;
        let mut makes_sense = true;
        store.each(flash, Area::Settings, &mut |key, bytes| {
            let understood = match key {
                key::BOOTS => bytes.as_array::<4>().map(|bytes| *boots = u32::from_le_bytes(*bytes)),
                key::LIMITS => serial::take(bytes).map(|(stored, _)| *limits = Some(stored)),
                key::FAULT => serial::take(bytes).map(|((stored, boot, cleared), _)| {
                    *fault = Some(LastFault { fault: stored, boot, cleared });
                }),
                key::PANIC => LastPanic::from_bytes(bytes).map(|stored| *last_panic = Some(stored)),
                key::ARRAYS => Arrays::from_bytes(bytes).map(|stored| known = Some(stored)),
                key::RESERVATIONS => Reservations::from_bytes(bytes).map(|stored| *reservations = stored),
                key::RECORDS => Records::from_bytes(bytes).map(|stored| *records = stored),
                _ => None,
            };
            makes_sense &= understood.is_some();
        })?;
        // Nothing that can't be understood is replaced by a default: limits and budgets hang on it.
        if !makes_sense {
            return Err(StorageProblem::Damaged);
        }
        let geometry = (board.rows, board.columns);
        *arrays = known.unwrap_or_else(|| Arrays::new(geometry));
        let (rows, columns) = arrays.geometry;
        if (rows, columns) != geometry {
            return Err(StorageProblem::Geometry { rows, columns });
        }
        *boots = boots.saturating_add(1);
        let count = boots.to_le_bytes();
        store.put(flash, Area::Settings, key::BOOTS, &count)?;
        if let Some(text) = panic {
            let said = LastPanic::new(text, *boots);
            *last_panic = Some(said);
            store.put(flash, Area::Settings, key::PANIC, said.to_bytes(&mut [0; 4 + MAX_PANIC_BYTES]))?;
        }
        if known.is_none() {
            let arrays = self.arrays;
            self.put_arrays(flash, arrays)?;
        }
        Ok(())
    }

    /// First and end of the blocks of the plugged array.
    fn block_range(&self, board: &Description) -> (u32, u32) {
        let blocks = budgets::blocks(board.rows, board.columns);
        let (place, _) = self.arrays.plugged();
        (place * blocks, (place + 1) * blocks)
    }

    /// Begins with what a block that was never written has: what is reserved for it.
    #[inline(never)]
    fn begin_load(&self, budgets: &mut Budgets<'_>, board: &Description) -> Kept {
        budgets.clear();
        let (first, end) = self.block_range(board);
        for block in 0..end - first {
            budgets.charge_block(block, 0, &self.reservations, board);
        }
        let Area::Budgets(map) = Area::of_block(first).0 else { return Kept::Done };
        Kept::Next(Task::Load(map))
    }

    #[inline(never)]
    fn load(
        &mut self,
        area: Area,
        flash: &mut impl Flash,
        budgets: &mut Budgets<'_>,
        board: &Description,
    ) -> Outcome<()> {
        let (first, end) = self.block_range(board);
        let (_, array) = self.arrays.plugged();
        let reservations = &self.reservations;
        self.store.each(flash, area, &mut |key, bytes| {
            let block = area.first_block() + u32::from(key);
            if !(first..end).contains(&block) {
                return;
            }
            if let Some(epoch) = budgets.take_block(block - first, array, bytes, board) {
                budgets.charge_block(block - first, epoch, reservations, board);
            }
        })
    }

    #[inline(never)]
    fn store_chunk(&mut self, flash: &mut impl Flash, body: &[u8]) -> Outcome<Kept> {
        let Some(Request::RecordChunk { offset, data }) = request::asked(body) else {
            return Err(StorageProblem::Damaged);
        };
        let Some(upload) = &mut self.upload else { return Ok(Kept::Refused(Refusal::NoRecordBegun)) };
        match upload.take(offset, data) {
            Ok(key) => self.store.put(flash, Area::Records, key, data)?,
            Err(refusal) => return Ok(Kept::Refused(refusal)),
        }
        Ok(Kept::Done)
    }

    #[inline(never)]
    fn commit(&mut self, flash: &mut impl Flash) -> Outcome<Kept> {
        let Some(upload) = self.upload else { return Ok(Kept::Refused(Refusal::NoRecordBegun)) };
        let keys = match upload.chunks() {
            Ok(keys) => keys,
            Err(refusal) => return Ok(Kept::Refused(refusal)),
        };
        let mut crc = frame::RunningCrc::default();
        for key in keys {
            crc.update(self.store.get(flash, Area::Records, key)?.ok_or(StorageProblem::Damaged)?);
        }
        let (stored, announced) = (crc.value(), upload.label.crc);
        if stored != announced {
            return Ok(Kept::Refused(Refusal::RecordCrc { stored, announced }));
        }
        match self.records.commit(&upload) {
            Ok((records, number, dropped)) => {
                self.put_records(flash, records)?;
                self.upload = None;
                Ok(Kept::Stored { number, dropped })
            }
            Err(refusal) => Ok(Kept::Refused(refusal)),
        }
    }

    fn put_small(&mut self, flash: &mut impl Flash, key: u16, value: &impl serde::Serialize) -> Outcome<()> {
        let mut bytes = [0; SMALL_BYTES];
        let length = serial::put(value, &mut bytes).ok_or(StorageProblem::Damaged)?;
        self.store.put(flash, Area::Settings, key, bytes.get(..length).unwrap_or_default())
    }

    fn put_arrays(&mut self, flash: &mut impl Flash, arrays: Arrays) -> Outcome<()> {
        let bytes: [u8; ARRAYS_BYTES] = arrays.to_bytes();
        self.store.put(flash, Area::Settings, key::ARRAYS, &bytes)?;
        self.arrays = arrays;
        Ok(())
    }

    fn put_records(&mut self, flash: &mut impl Flash, records: Records) -> Outcome<()> {
        let bytes: [u8; RECORDS_BYTES] = records.to_bytes();
        self.store.put(flash, Area::Settings, key::RECORDS, &bytes)?;
        self.records = records;
        Ok(())
    }

    fn put_reservations(&mut self, flash: &mut impl Flash, reservations: &Reservations) -> Outcome<()> {
        let mut bytes = [0; RESERVATION_BYTES];
        let bytes = reservations.write(&mut bytes).ok_or(StorageProblem::Damaged)?;
        self.store.put(flash, Area::Settings, key::RESERVATIONS, bytes)
    }
}
