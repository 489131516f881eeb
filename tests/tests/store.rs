//! The flash's store against a plain map, while power is lost again and again: in writes, in erases, in the start after it.
//! And what no loss of power explains is damage, told and not skipped.

use ohmrig_emulator::flash::{Flash as Nor, FlashError, PowerCut, SECTOR_BYTES, Tear};
use ohmrig_firmware::hardware::Flash;
use ohmrig_firmware::store::{Area, BLOCK_BYTES, MAX_ITEM_BYTES, STORE_BYTES, Store};
use ohmrig_protocol::message::StorageProblem;
use proptest::prelude::*;
use std::collections::HashMap;

/// Blocks of budgets of one array.
const BLOCKS: u32 = 9;
const BYTES: u32 = ohmrig_firmware::store::flash_bytes(BLOCKS, 1);
/// In a flash of that size. The keys are as many as the layout promises room for, of the longest items there are.
const MAPS: [(Area, u16, usize); 3] =
    [(Area::Settings, 7, 400), (Area::Records, 45, MAX_ITEM_BYTES), (Area::Budgets(0), 25, BLOCK_BYTES)];

/// The emulated flash with what an STM32's does beyond it: words of 8 bytes carry a checksum, so that what has been programmed
/// can't be programmed again, not even if it was with ones and looks erased.
struct Chip {
    nor: Nor,
    programmed: Vec<bool>,
}

const CHECKED_BYTES: usize = 8;

impl Chip {
    fn new(contents: &[u8]) -> Self {
        let programmed =
            contents.chunks(CHECKED_BYTES).map(|word| word.iter().any(|byte| *byte != 0xFF)).collect();
        Self { nor: Nor::from_contents(contents.to_vec()).unwrap(), programmed }
    }

    fn blank() -> Self {
        Self::new(&[0xFF; BYTES as usize])
    }

    /// Power is back.
    fn restart(&mut self) {
        self.nor = Nor::from_contents(self.nor.contents().to_vec()).unwrap();
    }

    /// Words of an operation on these bytes that were reached, however it ended.
    fn reached(&mut self, offset: u32, bytes: usize) -> &mut [bool] {
        let (first, words) = (offset as usize / CHECKED_BYTES, bytes / CHECKED_BYTES);
        let reached = match self.nor.cut.filter(|_| self.nor.has_lost_power()).map(|cut| cut.tear) {
            None => 0..words,
            Some(Tear::Nothing) => 0..0,
            Some(Tear::FirstHalf | Tear::Zeros) => 0..words / 2,
            Some(Tear::SecondHalf) => words / 2..words,
        };
        &mut self.programmed[first + reached.start..first + reached.end]
    }
}

impl Flash for Chip {
    type Error = FlashError;

    fn capacity(&self) -> u32 {
        self.nor.contents().len() as u32
    }

    fn erase_bytes(&self) -> u32 {
        SECTOR_BYTES
    }

    fn read(&mut self, offset: u32, into: &mut [u8]) -> Result<(), FlashError> {
        self.nor.read(offset, into)
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), FlashError> {
        assert!(offset.is_multiple_of(32) && bytes.len().is_multiple_of(32), "{offset}, {}", bytes.len());
        let had_power = !self.nor.has_lost_power();
        let there = offset as usize..offset as usize + bytes.len();
        let words = there.start / CHECKED_BYTES..there.end / CHECKED_BYTES;
        if had_power && self.programmed[words].contains(&true) {
            // Only what looks erased may be taken for erased.
            assert!(self.nor.contents()[there].iter().all(|byte| *byte == 0xFF), "{offset} is written twice");
            return Err(FlashError::Alignment { offset });
        }
        let done = self.nor.write(offset, bytes);
        if had_power {
            self.reached(offset, bytes.len()).fill(true);
        }
        done
    }

    fn erase(&mut self, offset: u32) -> Result<(), FlashError> {
        let had_power = !self.nor.has_lost_power();
        let done = self.nor.erase(offset);
        if had_power && done.is_ok() {
            self.reached(offset, SECTOR_BYTES as usize).fill(false);
        }
        done
    }
}

type Contents = HashMap<u16, Vec<u8>>;

fn read_all(flash: &mut Chip, area: Area) -> Result<Contents, StorageProblem> {
    let mut scratch = [0; STORE_BYTES];
    let mut store = Store::new(&mut scratch);
    store.open(flash, BLOCKS)?;
    let mut found = HashMap::new();
    store.each(flash, area, &mut |key, value| {
        assert!(found.insert(key, value.to_vec()).is_none(), "key {key} twice");
    })?;
    Ok(found)
}

/// Values that look nothing like each other; but every fifth looks erased.
fn value(n: u32, length: usize) -> Vec<u8> {
    if n.is_multiple_of(5) {
        return vec![0xFF; length];
    }
    (0..length as u32)
        .map(|index| (n.wrapping_mul(2_654_435_761).rotate_left(index % 32) ^ index) as u8)
        .collect()
}

#[derive(Clone, Debug)]
struct Put {
    key: u16,
    length: usize,
    /// Power is lost so many operations ahead, if at all, and again so many operations into the next start.
    cut: Option<(u64, Tear, Option<u64>)>,
}

fn puts(map: (Area, u16, usize)) -> impl Strategy<Value = ((Area, u16, usize), Vec<Put>)> {
    let tear =
        prop_oneof![Just(Tear::Nothing), Just(Tear::FirstHalf), Just(Tear::SecondHalf), Just(Tear::Zeros)];
    let cut = proptest::option::weighted(0.15, (0_u64..12, tear, proptest::option::of(0_u64..4)));
    // Mostly the longest, which leave least room.
    let length = prop_oneof![2 => Just(map.2), 1 => 0..=map.2];
    let put = (0..map.1, length, cut).prop_map(|(key, length, cut)| Put { key, length, cut });
    (Just(map), proptest::collection::vec(put, 0..250))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn an_item_is_the_old_or_the_new_one_whenever_power_is_lost(
        (map, puts) in prop_oneof![puts(MAPS[0]), puts(MAPS[1]), puts(MAPS[2])],
    ) {
        let (area, keys, longest) = map;
        let mut flash = Chip::blank();
        let mut expected = Contents::new();
        let mut scratch = [0; STORE_BYTES];
        let mut store = Store::new(&mut scratch);
        store.open(&mut flash, BLOCKS).unwrap();
        // Something in the small map, so that the flash is ours; and a map as full as it may be.
        store.put(&mut flash, Area::Settings, 1, &[1]).unwrap();
        if area == Area::Settings {
            expected.insert(1, vec![1]);
        }
        for key in 0..keys {
            store.put(&mut flash, area, key, &value(key.into(), longest)).unwrap();
            expected.insert(key, value(key.into(), longest));
        }
        for (n, Put { key, length, cut }) in (1000..).zip(puts) {
            let new = value(n, length);
            flash.nor.cut = cut.map(|(ahead, tear, _)| PowerCut {
                operations_ahead: flash.nor.operations() + ahead,
                tear,
            });
            let done = store.put(&mut flash, area, key, &new);
            if !flash.nor.has_lost_power() {
                prop_assert_eq!(done, Ok(()));
                flash.nor.cut = None;
                expected.insert(key, new);
                continue;
            }
            prop_assert!(matches!(done, Err(StorageProblem::Failed { .. })), "{:?}", done);
            flash.restart();
            if let Some((_, tear, Some(ahead))) = cut {
                // The next start writes something first, and power is lost again.
                flash.nor.cut = Some(PowerCut { operations_ahead: ahead, tear });
                store.open(&mut flash, BLOCKS).unwrap();
                let _ = store.put(&mut flash, area, key, &new);
                flash.restart();
            }
            store.open(&mut flash, BLOCKS).unwrap();
            let found = read_all(&mut flash, area).unwrap();
            let is_new = found.get(&key) == Some(&new);
            if is_new {
                expected.insert(key, new);
            }
            prop_assert_eq!(&found, &expected);
        }
        prop_assert_eq!(&read_all(&mut flash, area).unwrap(), &expected);
        for (key, value) in &expected {
            prop_assert_eq!(store.get(&mut flash, area, *key).unwrap(), Some(value.as_slice()));
        }
    }
}

/// A flash in which the map of small things has gone through all its sectors.
fn worn_in() -> Vec<u8> {
    let mut flash = Chip::blank();
    let mut scratch = [0; STORE_BYTES];
    let mut store = Store::new(&mut scratch);
    store.open(&mut flash, BLOCKS).unwrap();
    store.put(&mut flash, Area::Settings, 2, b"of long ago").unwrap();
    for n in 0..600_u32 {
        store.put(&mut flash, Area::Settings, 1, &n.to_le_bytes()).unwrap();
    }
    flash.nor.contents().to_vec()
}

#[test]
fn what_was_never_replaced_is_still_there_after_every_sector_was_erased() {
    let found = read_all(&mut Chip::new(&worn_in()), Area::Settings).unwrap();
    let expected = Contents::from([(1, 599_u32.to_le_bytes().to_vec()), (2, b"of long ago".to_vec())]);
    assert_eq!(found, expected);
}

/// An older item in place of a newer one would be looser limits or smaller budgets: any bit turned over in a sector's head or
/// in a valid item is found. In what was replaced and in what is erased it makes no difference. The header of the very last
/// item is left out: without it, it looks like one that was being written when power was lost.
#[test]
fn a_bit_turned_over_is_damage_or_makes_no_difference() {
    let contents = worn_in();
    let whole = read_all(&mut Chip::new(&contents), Area::Settings).unwrap();
    let last = contents.windows(4).position(|bytes| bytes == 599_u32.to_le_bytes()).unwrap() - 32;
    let mut damaged = 0;
    for byte in (0..last).chain(last + 32..6 * SECTOR_BYTES as usize) {
        let mut turned = contents.clone();
        turned[byte] ^= 0x10;
        match read_all(&mut Chip::new(&turned), Area::Settings) {
            Ok(found) => assert_eq!(found, whole, "byte {byte}"),
            Err(StorageProblem::Damaged) => damaged += 1,
            Err(other) => panic!("byte {byte}: {other:?}"),
        }
    }
    assert!(damaged > 300, "{damaged}");
}

#[test]
fn a_store_that_was_not_opened_gives_and_takes_nothing() {
    let mut scratch = [0; STORE_BYTES];
    let mut store = Store::new(&mut scratch);
    let mut flash = Chip::blank();
    assert_eq!(store.get(&mut flash, Area::Settings, 1), Err(StorageProblem::Damaged));
    assert_eq!(store.put(&mut flash, Area::Settings, 1, &[1]), Err(StorageProblem::Damaged));
    assert_eq!(flash.nor.contents(), [0xFF; BYTES as usize]);
}
