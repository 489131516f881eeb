//! A serde serializer of `postcard`'s format in which writing a piece never fails: see [`Writer::end`].

use super::{Never, unknown};
use crate::frame::RunningCrc;
use cobs::CobsEncoder;
use core::fmt::Display;
use serde::Serialize;
use serde::ser::{
    SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant, Serializer,
};

/// Writes values into a buffer: bytes as they are, or straight through COBS, so that no second buffer is needed. One type
/// for both, that an image has one serializer for what it sends and for what it keeps.
pub struct Writer<'a> {
    to: Destination<'a>,
    wrong: bool,
}

enum Destination<'a> {
    Frame { cobs: CobsEncoder<'a>, crc: RunningCrc },
    Bytes { free: &'a mut [u8], used: usize },
}

impl<'a> Writer<'a> {
    /// Of a frame, which its CRC ends.
    pub(crate) fn frame(out: &'a mut [u8]) -> Self {
        let to = Destination::Frame { cobs: CobsEncoder::new(out), crc: RunningCrc::default() };
        Self { to, wrong: false }
    }

    /// Of bytes.
    pub(super) fn bytes(out: &'a mut [u8]) -> Self {
        Self { to: Destination::Bytes { free: out, used: 0 }, wrong: false }
    }

    #[inline(never)]
    pub(crate) fn write(&mut self, data: &[u8]) {
        self.wrong |= match &mut self.to {
            Destination::Frame { cobs, crc } => {
                crc.update(data);
                cobs.push(data).is_err()
            }
            Destination::Bytes { free, used } => {
                let written = crate::bytes::put(free.get_mut(*used..).unwrap_or_default(), &[data]);
                *used += written;
                written < data.len()
            }
        };
    }

    /// How many bytes the values and, in a frame, their CRC have become; `None` if they don't fit.
    pub(crate) fn end(mut self) -> Option<usize> {
        if let Destination::Frame { crc, .. } = &self.to {
            let crc = crc.clone().value();
            self.write(&crc.to_le_bytes());
        }
        match self.to {
            _ if self.wrong => None,
            Destination::Frame { cobs, .. } => Some(cobs.finalize()),
            Destination::Bytes { used, .. } => Some(used),
        }
    }

    #[inline(never)]
    fn byte(&mut self, byte: u8) {
        self.write(&[byte]);
    }

    /// The lowest seven bits first; a byte's top bit says that more follow.
    #[inline(never)]
    fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.byte(number as u8 | 0x80);
            number >>= 7;
        }
        self.byte(number as u8);
    }

    #[inline(never)]
    fn word(&mut self, number: u32) {
        self.number(number.into());
    }

    #[inline(never)]
    fn float(&mut self, number: f32) {
        self.write(&number.to_le_bytes());
    }

    /// Bytes behind their number.
    #[inline(never)]
    fn counted(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.write(bytes);
    }
}

/// Kinds of values that no message has.
macro_rules! refused {
    ($($method:ident($type:ty);)*) => {$(
        fn $method(self, _: $type) -> Result<(), Never> {
            self.wrong = true;
            Ok(())
        }
    )*};
}

impl Serializer for &mut Writer<'_> {
    type Ok = ();
    type Error = Never;
    type SerializeSeq = Self;
    type SerializeTuple = Self;
    type SerializeTupleStruct = Self;
    type SerializeTupleVariant = Self;
    type SerializeMap = Self;
    type SerializeStruct = Self;
    type SerializeStructVariant = Self;

    refused! {
        serialize_i8(i8);
        serialize_i16(i16);
        serialize_i32(i32);
        serialize_i64(i64);
        serialize_f64(f64);
        serialize_char(char);
    }

    fn collect_str<T: Display + ?Sized>(self, _: &T) -> Result<(), Never> {
        unknown!()
    }

    fn is_human_readable(&self) -> bool {
        false
    }

    #[inline(always)]
    fn serialize_bool(self, value: bool) -> Result<(), Never> {
        self.byte(value.into());
        Ok(())
    }

    #[inline(always)]
    fn serialize_u8(self, value: u8) -> Result<(), Never> {
        self.byte(value);
        Ok(())
    }

    #[inline(always)]
    fn serialize_u16(self, value: u16) -> Result<(), Never> {
        self.word(value.into());
        Ok(())
    }

    #[inline(always)]
    fn serialize_u32(self, value: u32) -> Result<(), Never> {
        self.word(value);
        Ok(())
    }

    #[inline(always)]
    fn serialize_u64(self, value: u64) -> Result<(), Never> {
        self.number(value);
        Ok(())
    }

    #[inline(always)]
    fn serialize_f32(self, value: f32) -> Result<(), Never> {
        self.float(value);
        Ok(())
    }

    #[inline(always)]
    fn serialize_str(self, value: &str) -> Result<(), Never> {
        self.counted(value.as_bytes());
        Ok(())
    }

    #[inline(always)]
    fn serialize_bytes(self, value: &[u8]) -> Result<(), Never> {
        self.counted(value);
        Ok(())
    }

    #[inline(always)]
    fn serialize_none(self) -> Result<(), Never> {
        self.byte(0);
        Ok(())
    }

    #[inline(always)]
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Never> {
        self.byte(1);
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), Never> {
        Ok(())
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), Never> {
        Ok(())
    }

    #[inline(always)]
    fn serialize_unit_variant(self, _: &'static str, index: u32, _: &'static str) -> Result<(), Never> {
        self.word(index);
        Ok(())
    }

    #[inline(always)]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), Never> {
        value.serialize(self)
    }

    #[inline(always)]
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        index: u32,
        _: &'static str,
        value: &T,
    ) -> Result<(), Never> {
        self.word(index);
        value.serialize(self)
    }

    fn serialize_seq(self, length: Option<usize>) -> Result<Self, Never> {
        match length {
            Some(length) => self.number(length as u64),
            None => self.wrong = true,
        }
        Ok(self)
    }

    fn serialize_map(self, length: Option<usize>) -> Result<Self, Never> {
        self.serialize_seq(length)
    }

    #[inline(always)]
    fn serialize_tuple(self, _: usize) -> Result<Self, Never> {
        Ok(self)
    }

    #[inline(always)]
    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Self, Never> {
        Ok(self)
    }

    #[inline(always)]
    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Self, Never> {
        Ok(self)
    }

    #[inline(always)]
    fn serialize_tuple_variant(
        self,
        _: &'static str,
        index: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self, Never> {
        self.word(index);
        Ok(self)
    }

    #[inline(always)]
    fn serialize_struct_variant(
        self,
        _: &'static str,
        index: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self, Never> {
        self.word(index);
        Ok(self)
    }
}

/// What consists of parts: they stand one behind the other.
macro_rules! compound {
    ($($compound:ident { $($part:ident($($key:ident)?))* })*) => {$(
        impl $compound for &mut Writer<'_> {
            type Ok = ();
            type Error = Never;

            $(
                #[inline(always)]
                fn $part<T: Serialize + ?Sized>(
                    &mut self,
                    $($key: &'static str,)?
                    value: &T,
                ) -> Result<(), Never> {
                    value.serialize(&mut **self)
                }
            )*

            #[inline(always)]
            fn end(self) -> Result<(), Never> {
                Ok(())
            }
        }
    )*};
}

compound! {
    SerializeTuple { serialize_element() }
    SerializeTupleStruct { serialize_field() }
    SerializeTupleVariant { serialize_field() }
    SerializeStruct { serialize_field(_key) }
    SerializeStructVariant { serialize_field(_key) }
    SerializeSeq { serialize_element() }
    SerializeMap { serialize_key() serialize_value() }
}
