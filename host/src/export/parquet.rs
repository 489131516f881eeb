//! An array as an Apache Parquet file: columns `row` and `column` (counted from 0) and the array's own name, whose end is its
//! unit; where it is from stands in the file's key-value metadata. Not compressed, so that every reader opens it.

use super::Labels;
use ndarray::ArrayView2;
use parquet::basic::{Repetition, Type as Physical};
use parquet::data_type::{DataType, DoubleType, Int32Type};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::Type;
use std::io::Write;
use std::sync::Arc;

/// Keys of the metadata begin with this, since other programs have theirs beside them.
const KEYS: &str = "ohmrig.";

/// The whole file.
pub(super) fn bytes(name: &str, array: ArrayView2<'_, f64>, labels: &Labels) -> Result<Vec<u8>> {
    let field = |name: &str, physical| {
        Type::primitive_type_builder(name, physical)
            .with_repetition(Repetition::REQUIRED)
            .build()
            .map(Arc::new)
    };
    let fields = vec![
        field("row", Physical::INT32)?,
        field("column", Physical::INT32)?,
        field(name, Physical::DOUBLE)?,
    ];
    let schema = Arc::new(Type::group_type_builder("array").with_fields(fields).build()?);
    let mut metadata: Vec<KeyValue> =
        labels.iter().map(|(key, value)| KeyValue::new(format!("{KEYS}{key}"), value.clone())).collect();
    let (rows, columns) = array.dim();
    metadata.push(KeyValue::new(format!("{KEYS}shape"), format!("[{rows}, {columns}]")));
    let properties = Arc::new(WriterProperties::builder().set_key_value_metadata(Some(metadata)).build());
    let mut file = SerializedFileWriter::new(Vec::new(), schema, properties)?;
    let mut group = file.next_row_group()?;
    let at = |index: fn((usize, usize)) -> usize| -> Result<Vec<i32>> {
        let places = array.indexed_iter().map(|(both, _)| i32::try_from(index(both)));
        places
            .collect::<std::result::Result<_, _>>()
            .map_err(|error| ParquetError::General(error.to_string()))
    };
    column::<Int32Type, _>(&mut group, &at(|(row, _)| row)?)?;
    column::<Int32Type, _>(&mut group, &at(|(_, column)| column)?)?;
    column::<DoubleType, _>(&mut group, &array.iter().copied().collect::<Vec<_>>())?;
    group.close()?;
    file.into_inner()
}

/// The next column of a row group.
fn column<T: DataType, W: Write + Send>(
    group: &mut SerializedRowGroupWriter<'_, W>,
    values: &[T::T],
) -> Result<()> {
    if let Some(mut column) = group.next_column()? {
        column.typed::<T>().write_batch(values, None, None)?;
        column.close()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;
    use parquet::file::reader::{FileReader, SerializedFileReader};
    use parquet::record::RowAccessor;

    fn reader(file: &[u8]) -> SerializedFileReader<std::fs::File> {
        let mut kept = tempfile::tempfile().unwrap();
        kept.write_all(file).unwrap();
        SerializedFileReader::new(kept).unwrap()
    }

    #[test]
    fn every_element_comes_back_at_its_place_with_its_unit_and_where_it_is_from() {
        let written = array![[1.0 / 3.0, f64::NAN, -4.7e-5], [0.0, f64::MAX, 5e-324]];
        let labels = vec![("board", "or16-emulated".to_owned()), ("seed", "7".to_owned())];
        let file = bytes("conductance_s", written.view(), &labels).unwrap();
        let reader = reader(&file);
        let metadata = reader.metadata().file_metadata();
        let kept = metadata.key_value_metadata().unwrap();
        let of = |key: &str| {
            kept.iter().find(|pair| pair.key == key).and_then(|pair| pair.value.as_deref()).unwrap()
        };
        assert_eq!((of("ohmrig.board"), of("ohmrig.seed")), ("or16-emulated", "7"));
        assert_eq!(of("ohmrig.shape"), "[2, 3]");
        let names: Vec<_> =
            metadata.schema_descr().columns().iter().map(|column| column.name().to_owned()).collect();
        assert_eq!(names, ["row", "column", "conductance_s"]);
        let mut count = 0;
        for row in reader.get_row_iter(None).unwrap() {
            let row = row.unwrap();
            let at = (row.get_int(0).unwrap() as usize, row.get_int(1).unwrap() as usize);
            assert_eq!(row.get_double(2).unwrap().to_bits(), written[at].to_bits(), "{at:?}");
            count += 1;
        }
        assert_eq!(count, written.len());
    }

    #[test]
    fn an_array_of_nothing_is_a_file_of_no_lines() {
        let file = bytes("current_a", ndarray::Array2::zeros((0, 4)).view(), &Vec::new()).unwrap();
        let reader = reader(&file);
        assert_eq!(reader.metadata().file_metadata().num_rows(), 0);
    }
}
