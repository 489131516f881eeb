//! The demo's task: handwritten digits and a linear classifier for them (`data/digits`, CC BY 4.0: E. Alpaydin,
//! C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository, 1998).

use ndarray::{Array1, Array2, ArrayView1, Axis};
use ndarray_npy::{ReadNpyError, ReadNpyExt};

/// Largest pixel value in the data.
const PIXEL_MAX: f64 = 16.0;

/// Test images, their classes, and the trained classifier.
#[derive(Clone, Debug)]
pub struct Digits {
    /// (images, 64), 0 to 1.
    pub images: Array2<f64>,
    /// The digit on each image.
    pub classes: Array1<u8>,
    /// (10, 64): class scores are `weights · image + bias`.
    pub weights: Array2<f64>,
    /// (10).
    pub bias: Array1<f64>,
}

impl Digits {
    /// Everything there is: 449 images.
    ///
    /// # Errors
    /// Never for the embedded data (a test reads them).
    pub fn embedded() -> Result<Self, ReadNpyError> {
        let images = Array2::<u8>::read_npy(&include_bytes!("../data/digits/x_test.npy")[..])?;
        let classes = Array1::<u8>::read_npy(&include_bytes!("../data/digits/y_test.npy")[..])?;
        let weights = Array2::<f32>::read_npy(&include_bytes!("../data/digits/linear_w0.npy")[..])?;
        let bias = Array1::<f32>::read_npy(&include_bytes!("../data/digits/linear_b0.npy")[..])?;
        Ok(Self {
            images: images.mapv(|pixel| f64::from(pixel) / PIXEL_MAX),
            classes,
            weights: weights.mapv(f64::from),
            bias: bias.mapv(f64::from),
        })
    }

    /// Fraction of `scores` (images, 10), bias not included, whose largest is the right class.
    #[must_use]
    pub fn accuracy(&self, scores: &Array2<f64>) -> f64 {
        let classes = self.classify(scores);
        let right = classes.iter().zip(&self.classes).filter(|(found, class)| found == class).count();
        right as f64 / scores.nrows().max(1) as f64
    }

    /// The class of each row of `scores` (images, 10), bias not included.
    #[must_use]
    pub fn classify(&self, scores: &Array2<f64>) -> Vec<u8> {
        scores.axis_iter(Axis(0)).map(|scores| largest((&scores + &self.bias).view()) as u8).collect()
    }
}

/// Index of the largest element; the first of equals.
fn largest(values: ArrayView1<'_, f64>) -> usize {
    let mut best = 0;
    for (index, value) in values.iter().enumerate() {
        if *value > values[best] {
            best = index;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::Digits;

    #[test]
    fn the_float_classifier_is_as_good_as_its_data_sheet_says() {
        let digits = Digits::embedded().unwrap();
        assert_eq!(digits.images.dim(), (449, 64));
        let scores = digits.images.dot(&digits.weights.t());
        // 427 of 449, 95.10 %.
        assert_eq!((digits.accuracy(&scores) * 449.0).round(), 427.0);
    }

    #[test]
    fn pixels_are_fractions_of_full_scale() {
        let digits = Digits::embedded().unwrap();
        assert!(digits.images.iter().all(|pixel| (0.0..=1.0).contains(pixel)));
        assert!(digits.images.iter().any(|&pixel| pixel == 1.0));
    }
}
