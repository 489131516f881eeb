//! Arrays of any size, by repeating chips: what is pulsed is what is read, at the corners, and a product agrees with
//! the devices' conductances.

use ndarray::{Array2, arr2};
use ohmrig::bench::{Emulation, profile};
use ohmrig::client::Client;
use ohmrig::device::EmulatedDevice;
use ohmrig::instrument::{Instrument, ProductSettings, ReadSettings};
use ohmrig::transport::InProcess;
use ohmrig_protocol::message::{Pulse, Region, Scheme};
use ohmrig_protocol::units::{Seconds, Volts};

fn instrument(rows: u16, columns: u16) -> Instrument {
    let mut emulation = Emulation::new(profile(Some("ideal")).unwrap(), 3);
    (emulation.rows, emulation.columns) = (rows, columns);
    let device = EmulatedDevice::power_up(&emulation).unwrap();
    Instrument::new(Client::connect(Box::new(InProcess::new(device)), "emulated").unwrap())
}

fn one(instrument: &mut Instrument, row: u16, column: u16) -> f64 {
    let region = Region { row, column, rows: 1, columns: 1 };
    let settings = ReadSettings { volts: 0.2, range: Some(1), conversions: 1 };
    instrument.read_cells(region, &settings).unwrap().conductance[[0, 0]]
}

#[test]
fn every_corner_of_arrays_of_any_size_is_written_and_read() {
    for (rows, columns) in [(1, 1), (1, 256), (256, 1), (17, 9), (33, 65), (256, 256)] {
        let mut instrument = instrument(rows, columns);
        let device = instrument.device();
        assert_eq!((device.rows, device.columns), (rows, columns));
        let mut corners =
            vec![(0, 0), (0, columns - 1), (rows - 1, 0), (rows - 1, columns - 1), (rows / 2, columns / 2)];
        corners.sort_unstable();
        corners.dedup();
        for (row, column) in corners {
            let before = one(&mut instrument, row, column);
            instrument.arm(10_000).unwrap();
            instrument
                .pulse(Pulse {
                    row,
                    column,
                    volts: Volts(1.5),
                    width: Seconds(1e-4),
                    scheme: Scheme::Half,
                    gate: None,
                })
                .unwrap();
            let after = one(&mut instrument, row, column);
            assert!(after > before, "{rows}×{columns}, cell {row}, {column}: {before} → {after}");
        }
    }
}

/// Ideal devices and board: what is left is the converters' resolution. An output is a sum over the rows; a row code is
/// off by half a step of 10 V/2¹⁶ at most, the ADC's by half a step of 12.5 V/2¹⁶ over the feedback. Series resistance
/// of row and column (100 Ω and switches) takes a share of each product that is linear in it: the matrix is therefore
/// taken from one-hot products, not from the conductances.
#[test]
fn products_are_linear_to_the_resolution_of_the_converters() {
    let (rows, columns) = (17, 9);
    let mut instrument = instrument(rows, columns);
    let settings = ProductSettings { range: 1, conversions: 1, interval_ns: 0 };
    let (n, m) = (usize::from(rows), usize::from(columns));
    let eye = Array2::from_shape_fn((n, n), |(i, j)| if i == j { 0.4 } else { 0.0 });
    let matrix = instrument.mvm(eye.view(), settings, |_| {}).unwrap().currents / 0.4;
    let volts = Array2::from_shape_fn((8, n), |(k, i)| 0.02 * ((k * 7 + i * 5) % 21) as f64 - 0.2);
    let got = instrument.mvm(volts.view(), settings, |_| {}).unwrap().currents;
    let expected = volts.dot(&matrix);
    let feedback = instrument.feedback(1).unwrap();
    let (dac, adc) = (10.0 / 65536.0 / 2.0, 12.5 / 65536.0 / feedback / 2.0);
    for ((k, j), &y) in got.indexed_iter() {
        // One rounding of this product, one of each one-hot product in proportion to its share of the 0.4 V.
        let shares: f64 = volts.row(k).iter().map(|v| v.abs() / 0.4).sum();
        let column: f64 = matrix.column(j).iter().map(|g| g.abs()).sum();
        let allowed = adc * (1.0 + shares) + dac * column * (1.0 + shares);
        assert!((y - expected[[k, j]]).abs() <= allowed, "{k}, {j}: {y} for {}", expected[[k, j]]);
    }
    assert_eq!(got.dim(), (8, m));
}

#[test]
fn a_voltage_halfway_between_two_codes_is_the_same_one_to_host_and_device() {
    let mut instrument = instrument(1, 1);
    instrument.arm(10_000).unwrap();
    for _ in 0..50 {
        let (volts, width) = (Volts(1.5), Seconds(1e-4));
        instrument
            .pulse(Pulse { row: 0, column: 0, volts, width, scheme: Scheme::Half, gate: None })
            .unwrap();
    }
    instrument.safe().unwrap();
    let mut read = |volts| {
        let settings = ReadSettings { volts, range: Some(0), conversions: 1 };
        instrument.read_cells(instrument.whole(), &settings).unwrap().conductance[[0, 0]]
    };
    // 1961.499994 codes of 153 µV, in single precision 1961.5; and one that is clear.
    let halfway_volts = 0.299_301_138_195_489_5;
    let (halfway, clear) = (read(halfway_volts), read(0.3));
    // Another code would be 0.051 % of difference; the converters' rounding is half a code of 153 µV in a volt or more, twice.
    assert!((halfway / clear - 1.0).abs() < 2.6e-4, "{halfway} {clear}");
    let settings = ProductSettings { range: 0, conversions: 1, interval_ns: 0 };
    let currents = instrument.mvm(arr2(&[[halfway_volts]]).view(), settings, |_| {}).unwrap().currents;
    let product = currents[[0, 0]] / instrument.applied_volts(halfway_volts);
    assert!((product / clear - 1.0).abs() < 2.6e-4, "{product} {clear}");
}
