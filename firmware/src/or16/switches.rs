//! The switch matrix: what is closed, and how it gets from one arrangement to another without ever making before
//! it has broken.

use super::faults;
use super::population::{MAX_OCTALS, Population, SWITCHES};
use crate::chips::adgs1414d::Adgs1414d;
use crate::front_end::{FrontEndError, Path, Selection};
use crate::hardware::Hardware;
use crate::log::words;
use ohmrig_protocol::bench::{ChipKind, ChipSelect};
use ohmrig_protocol::message::Scheme;

/// Which lines of a group are closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lines {
    None,
    All,
    Only(u16),
    AllBut(u16),
}

impl Lines {
    fn has(self, line: u16) -> bool {
        match self {
            Self::None => false,
            Self::All => true,
            Self::Only(one) => line == one,
            Self::AllBut(one) => line != one,
        }
    }

    /// The switches of chip `index` to close; lines beyond `count` have none.
    fn byte(self, index: u8, count: u16) -> u8 {
        (0..8u16)
            .filter(|bit| {
                let line = 8 * u16::from(index) + bit;
                line < count && self.has(line)
            })
            .fold(0, |byte, bit| byte | 1 << bit)
    }
}

/// A state of all groups that carry array or reference currents (feedback resistors are set on their own).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Arrangement {
    row_connect: Lines,
    forming_bypass: Lines,
    row_calibrate: Lines,
    column_sense: Lines,
    column_bias: Lines,
    calibrate: Lines,
}

impl Arrangement {
    /// Rows on their drivers through 100 Ω, columns on their amplifiers.
    pub(super) const SAFE: Self = Self {
        row_connect: Lines::All,
        forming_bypass: Lines::All,
        row_calibrate: Lines::None,
        column_sense: Lines::All,
        column_bias: Lines::None,
        calibrate: Lines::None,
    };

    /// One column on its amplifier, the others on their bias drivers.
    pub(super) fn selected(column: u16) -> Self {
        Self { column_sense: Lines::Only(column), column_bias: Lines::AllBut(column), ..Self::SAFE }
    }

    /// Of a path to measure through.
    pub(super) fn of(path: Path) -> Self {
        let open = Self { row_connect: Lines::None, ..Self::SAFE };
        match path {
            Path::Open => open,
            Path::Reference { row, column } => Self {
                row_calibrate: Lines::Only(row),
                column_sense: Lines::None,
                calibrate: column.map_or(Lines::All, Lines::Only),
                ..open
            },
            Path::Bias(column) => {
                Self { column_sense: Lines::AllBut(column), column_bias: Lines::Only(column), ..open }
            }
            Path::Alone(row) => Self { row_connect: Lines::Only(row), ..open },
            Path::Forming(row) => Self { forming_bypass: Lines::AllBut(row), ..Self::SAFE },
        }
    }

    /// As it must be while a pulse is loaded: with the selected column driven, or with the other lines open, or as
    /// [`selected`](Self::selected); for forming, with the selected row's 10 kΩ not bypassed.
    pub(super) fn loaded(selection: Selection) -> Self {
        let bypass = if selection.forming { Lines::AllBut(selection.row) } else { Lines::All };
        let selected = Self { forming_bypass: bypass, ..Self::selected(selection.column) };
        match selection.scheme {
            Scheme::Half | Scheme::Third | Scheme::Grounded => selected,
            Scheme::SymmetricHalf => Self { column_sense: Lines::None, column_bias: Lines::All, ..selected },
            Scheme::Floating => {
                Self { row_connect: Lines::Only(selection.row), column_bias: Lines::None, ..selected }
            }
        }
    }

    /// Groups in the order in which they close: columns have a place to go to before rows are driven, and a row
    /// is connected through its 10 kΩ before these are bypassed. They open in the reverse order.
    fn groups(&self) -> [(ChipKind, Lines); 6] {
        [
            (ChipKind::ColumnSense, self.column_sense),
            (ChipKind::ColumnBias, self.column_bias),
            (ChipKind::Calibrate, self.calibrate),
            (ChipKind::RowConnect, self.row_connect),
            (ChipKind::FormingBypass, self.forming_bypass),
            (ChipKind::RowCalibrate, self.row_calibrate),
        ]
    }
}

/// What each switch chip was last set to and read back as.
#[derive(Debug)]
pub(super) struct Switches {
    closed: [[u8; MAX_OCTALS]; SWITCHES.len()],
}

impl Switches {
    /// After a reset.
    pub(super) const OPEN: Self = Self { closed: [[0; MAX_OCTALS]; SWITCHES.len()] };

    /// The switches of a chip that are closed; none of a chip that isn't one of switches.
    pub(super) fn closed(&self, select: ChipSelect) -> u8 {
        self.place(select).copied().unwrap_or(0)
    }

    fn place(&self, select: ChipSelect) -> Option<&u8> {
        let group = SWITCHES.iter().position(|&kind| kind == select.kind)?;
        self.closed.get(group)?.get(usize::from(select.index))
    }

    /// Sets one chip and reads it back. Free if it is so already; whether it was not.
    fn put<H: Hardware>(
        &mut self,
        hardware: &mut H,
        select: ChipSelect,
        byte: u8,
    ) -> Result<bool, FrontEndError> {
        let group = SWITCHES.iter().position(|&kind| kind == select.kind);
        let place = group
            .and_then(|group| self.closed.get_mut(group))
            .and_then(|chips| chips.get_mut(usize::from(select.index)))
            .ok_or_else(|| faults::misuse(words!("no such switch chip")))?;
        if *place == byte {
            return Ok(false);
        }
        Adgs1414d::new(hardware.chip(select)).set(byte).map_err(|error| faults::switch(select, error))?;
        *place = byte;
        Ok(true)
    }

    /// Opens what isn't among `lines` of one group, and if `close`, closes what is; whether any chip changed.
    #[inline(never)]
    pub(super) fn set_group<H: Hardware>(
        &mut self,
        hardware: &mut H,
        population: &Population,
        (kind, lines): (ChipKind, Lines),
        close: bool,
    ) -> Result<bool, FrontEndError> {
        let count = population.lines(kind);
        let mut moved = false;
        for select in population.chips(kind) {
            let closed = lines.byte(select.index, count);
            let staying = if close { closed } else { closed & self.closed(select) };
            moved |= self.put(hardware, select, staying)?;
        }
        Ok(moved)
    }

    /// Opens everything that `to` has open, reads that back, and only then closes what `to` has closed. Writes only
    /// chips that change; whether any did.
    ///
    /// A switch opens in well under the time of the frames that read it back.
    pub(super) fn arrange<H: Hardware>(
        &mut self,
        hardware: &mut H,
        population: &Population,
        to: &Arrangement,
    ) -> Result<bool, FrontEndError> {
        let mut moved = false;
        for group in to.groups().into_iter().rev() {
            moved |= self.set_group(hardware, population, group, false)?;
        }
        for group in to.groups() {
            moved |= self.set_group(hardware, population, group, true)?;
        }
        Ok(moved)
    }
}
