//! A serde deserializer of `postcard`'s format in which reading a piece never fails: see [`Reader::end`].

use super::{Never, unknown};
use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, SeqAccess, VariantAccess,
    Visitor,
};
use serde::forward_to_deserialize_any;

/// Reads values. Bytes that end too soon read as if zeros followed, what is no value as another one, and both are told at
/// the end.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
    /// The slice of bytes read last. Read from here the compiler knows that there is one.
    bytes: &'a [u8],
    text: &'a str,
    wrong: bool,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, bytes: &[], text: "", wrong: false }
    }

    /// What is behind the values read; `None` if any of them was none.
    pub(super) fn end(self) -> Option<&'a [u8]> {
        if self.wrong { None } else { Some(self.rest) }
    }

    #[inline(never)]
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.rest.split_first() else {
            self.wrong = true;
            return 0;
        };
        self.rest = rest;
        *first
    }

    /// A number of so many bits, the lowest seven first; a byte's top bit says that more follow.
    #[inline(never)]
    fn number(&mut self, bits: u32) -> u64 {
        let (mut number, mut shift) = (0, 0);
        while shift < bits {
            let byte = self.byte();
            number |= u64::from(byte & 0x7F).unbounded_shl(shift);
            // Too large, or that more follow the last byte it can have.
            self.wrong |= byte.unbounded_shr(bits - shift) != 0;
            if byte < 0x80 {
                break;
            }
            shift += 7;
        }
        number
    }

    #[inline(never)]
    fn short(&mut self) -> u16 {
        self.number(u16::BITS) as u16
    }

    #[inline(never)]
    fn word(&mut self) -> u32 {
        self.number(u32::BITS) as u32
    }

    #[inline(never)]
    fn float(&mut self) -> f32 {
        let Some((bytes, rest)) = self.rest.split_first_chunk() else {
            self.wrong = true;
            return 0.0;
        };
        self.rest = rest;
        f32::from_le_bytes(*bytes)
    }

    #[inline(never)]
    fn bool(&mut self) -> bool {
        let byte = self.byte();
        self.wrong |= byte > 1;
        byte == 1
    }

    /// Bytes behind their number.
    #[inline(never)]
    fn bytes(&mut self) {
        let length = usize::try_from(self.number(usize::BITS)).unwrap_or(usize::MAX);
        if let Some((bytes, rest)) = self.rest.split_at_checked(length) {
            (self.bytes, self.rest) = (bytes, rest);
        } else {
            self.wrong = true;
        }
    }

    #[inline(never)]
    fn text(&mut self) {
        self.bytes();
        match core::str::from_utf8(self.bytes) {
            Ok(text) => self.text = text,
            Err(_) => self.wrong = true,
        }
    }
}

impl<'de> Deserializer<'de> for &mut Reader<'de> {
    type Error = Never;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Never> {
        unknown!()
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u128 f64 char string byte_buf unit unit_struct seq map identifier ignored_any
    }

    fn is_human_readable(&self) -> bool {
        false
    }

    #[inline(always)]
    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Never> {
        visitor.visit_bool(self.bool())
    }

    #[inline(always)]
    fn deserialize_u8<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Never> {
        visitor.visit_u8(self.byte())
    }

    #[inline(always)]
    fn deserialize_u16<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Never> {
        visitor.visit_u16(self.short())
    }

    #[inline(always)]
    fn deserialize_u32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Never> {
        visitor.visit_u32(self.word())
    }

    #[inline(always)]
    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Never> {
        visitor.visit_u64(self.number(u64::BITS))
    }

    #[inline(always)]
    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Never> {
        visitor.visit_f32(self.float())
    }

    #[inline(always)]
    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Never> {
        self.text();
        visitor.visit_borrowed_str(self.text)
    }

    #[inline(always)]
    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Never> {
        self.bytes();
        visitor.visit_borrowed_bytes(self.bytes)
    }

    #[inline(always)]
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Never> {
        if self.bool() { visitor.visit_some(self) } else { visitor.visit_none() }
    }

    #[inline(always)]
    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Never> {
        visitor.visit_newtype_struct(self)
    }

    #[inline(always)]
    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Never> {
        visitor.visit_seq(Fields(self))
    }

    #[inline(always)]
    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Never> {
        visitor.visit_seq(Fields(self))
    }

    #[inline(always)]
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Never> {
        visitor.visit_seq(Fields(self))
    }

    #[inline(always)]
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Never> {
        visitor.visit_enum(Variants { reader: self, count: variants.len() })
    }
}

/// What is behind each other without a number in front: whoever reads it knows how many there are.
struct Fields<'r, 'de>(&'r mut Reader<'de>);

impl<'de> SeqAccess<'de> for Fields<'_, 'de> {
    type Error = Never;

    #[inline(always)]
    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Never> {
        seed.deserialize(&mut *self.0).map(Some)
    }

    // As by default, but always inlined: that there is always one then goes without saying.
    #[inline(always)]
    fn next_element<T: Deserialize<'de>>(&mut self) -> Result<Option<T>, Never> {
        T::deserialize(&mut *self.0).map(Some)
    }
}

/// One of `count` variants.
struct Variants<'r, 'de> {
    reader: &'r mut Reader<'de>,
    count: usize,
}

impl<'r, 'de> EnumAccess<'de> for Variants<'r, 'de> {
    type Error = Never;
    type Variant = Fields<'r, 'de>;

    #[inline(always)]
    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self::Variant), Never> {
        let Self { reader, count } = self;
        let mut variant = reader.word();
        if variant as usize >= count {
            reader.wrong = true;
            variant = 0;
        }
        let Ok(variant) = seed.deserialize(IntoDeserializer::<Never>::into_deserializer(variant));
        Ok((variant, Fields(reader)))
    }
}

impl<'de> VariantAccess<'de> for Fields<'_, 'de> {
    type Error = Never;

    #[inline(always)]
    fn unit_variant(self) -> Result<(), Never> {
        Ok(())
    }

    #[inline(always)]
    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Never> {
        seed.deserialize(self.0)
    }

    #[inline(always)]
    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Never> {
        visitor.visit_seq(self)
    }

    #[inline(always)]
    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Never> {
        visitor.visit_seq(self)
    }
}
