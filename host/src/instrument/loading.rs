//! What the resistance between a row's driver and its cells does: all cells of a row hang on it, so that what one of them
//! is set to changes how the others read. With columns at virtual ground it is exact: a row whose devices sum up to ΣG,
//! behind R, puts V / (1 + R·ΣG) on every one of them.

use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis, Zip};

/// Series resistance of a row of the OR-16, Ω: its protection resistor and one closed switch.
pub const ROW_OHMS: f64 = 101.5;

/// What is wanted of a cell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Target {
    /// Its current per volt of its row's driver when the whole array is as wanted: what a product computes with.
    #[default]
    InPlace,
    /// The device's own conductance.
    Device,
}

/// Rows of an array behind series resistance.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Loading {
    /// Ω between a row's driver and its cells.
    pub ohms: f64,
}

impl Loading {
    /// What part of a row's voltage is left on its devices, from what these read together (`read`, S): 1 − R·Σ.
    #[must_use]
    pub fn left(&self, read: ArrayView1<'_, f64>) -> f64 {
        1.0 - self.ohms * read.sum()
    }

    /// The devices' own conductances, S, from those read of whole rows.
    #[must_use]
    pub fn devices(&self, read: ArrayView2<'_, f64>) -> Array2<f64> {
        let mut devices = read.to_owned();
        for mut row in devices.rows_mut() {
            let left = self.left(row.view());
            row /= left;
        }
        devices
    }

    /// What devices of whole rows read as, S.
    #[must_use]
    pub fn read(&self, devices: ArrayView2<'_, f64>) -> Array2<f64> {
        let factors = devices.sum_axis(Axis(1)).mapv(|sum| 1.0 / (1.0 + self.ohms * sum));
        &devices * &factors.insert_axis(Axis(1))
    }

    /// Conductances that devices must have for targets, S, to read as they should once all are there, `others` being what
    /// the devices of each row sum up to that have no target.
    #[must_use]
    pub fn wanted(
        &self,
        target: Target,
        targets: ArrayView2<'_, f64>,
        others: ArrayView1<'_, f64>,
    ) -> Array2<f64> {
        if target == Target::Device {
            return targets.to_owned();
        }
        let sums: Array1<f64> = targets.sum_axis(Axis(1));
        // ΣG_read = Σtargets + others·(1 − R·ΣG_read).
        let left = Zip::from(&sums)
            .and(others)
            .map_collect(|sum, others| 1.0 - self.ohms * (sum + others) / (1.0 + self.ohms * others));
        &targets / &left.insert_axis(Axis(1))
    }

    /// What each cell has to read at the moment it is done, S, when an array is gone through column by column: by then the
    /// columns before it are as `wanted`, those behind it as they were (`before`).
    #[must_use]
    pub fn on_the_way(
        &self,
        wanted: ArrayView2<'_, f64>,
        before: ArrayView2<'_, f64>,
        others: ArrayView1<'_, f64>,
    ) -> Array2<f64> {
        let mut load = &before.sum_axis(Axis(1)) + &others;
        let mut read = Array2::zeros(wanted.dim());
        for (column, mut read) in read.columns_mut().into_iter().enumerate() {
            load += &(&wanted.column(column) - &before.column(column));
            read.assign(&(&wanted.column(column) / &load.mapv(|sum| 1.0 + self.ohms * sum)));
        }
        read
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    const LOADING: Loading = Loading { ohms: 1000.0 };

    fn close(a: &Array2<f64>, b: &Array2<f64>) {
        // Some dozen roundings.
        assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-13 * b.abs()), "{a} {b}");
    }

    #[test]
    fn devices_and_what_they_read_as_are_one_another_s_inverse() {
        let devices = array![[10e-6, 40e-6], [80e-6, 1e-6]];
        let read = LOADING.read(devices.view());
        close(&read.slice(ndarray::s![..1, ..]).to_owned(), &array![[10e-6 / 1.05, 40e-6 / 1.05]]);
        close(&LOADING.devices(read.view()), &devices);
    }

    #[test]
    fn targets_in_place_read_as_they_should_once_all_are_there() {
        let targets = array![[10e-6, 40e-6, 5e-6]];
        let others = array![30e-6];
        let wanted = LOADING.wanted(Target::InPlace, targets.view(), others.view());
        let whole = array![[wanted[(0, 0)], wanted[(0, 1)], wanted[(0, 2)], 30e-6]];
        let read = LOADING.read(whole.view());
        close(&read.slice(ndarray::s![.., ..3]).to_owned(), &targets);
    }

    #[test]
    fn on_the_way_each_column_sees_those_before_it_done_and_those_behind_it_not() {
        let (wanted, before) = (array![[20e-6, 60e-6]], array![[5e-6, 7e-6]]);
        let read = LOADING.on_the_way(wanted.view(), before.view(), array![3e-6].view());
        let at = |load: f64| 1.0 + 1000.0 * load;
        close(&read, &array![[20e-6 / at(30e-6), 60e-6 / at(83e-6)]]);
    }
}
