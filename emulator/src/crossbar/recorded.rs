//! Which reads need no look at the cells' voltages, because none of them can be a new largest one.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::Lines;
use crate::circuit::Line;

/// Row voltages, all driven, between which every cell's |V| was recorded for these columns.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Recorded {
    columns: Vec<Line>,
    lowest: Vec<f64>,
    highest: Vec<f64>,
}

impl Recorded {
    pub(super) fn covers(&self, lines: &Lines<'_>) -> bool {
        self.columns == lines.columns
            && lines.rows.iter().zip(&self.lowest).zip(&self.highest).all(|((line, lowest), highest)| {
                line.volts().is_some_and(|volts| (*lowest..=*highest).contains(&volts))
            })
    }

    /// Adds lines whose cell voltages have just been recorded.
    pub(super) fn extend(known: Option<Self>, lines: &Lines<'_>) -> Option<Self> {
        let volts: Option<Vec<f64>> = lines.rows.iter().map(Line::volts).collect();
        let volts = volts?;
        match known {
            Some(mut known) if known.columns == lines.columns => {
                for ((volts, lowest), highest) in volts.iter().zip(&mut known.lowest).zip(&mut known.highest)
                {
                    (*lowest, *highest) = (lowest.min(*volts), highest.max(*volts));
                }
                Some(known)
            }
            _ => Some(Self { columns: lines.columns.to_vec(), lowest: volts.clone(), highest: volts }),
        }
    }
}
