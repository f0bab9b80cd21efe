//! Reading without insisting: what does not fit is passed over, not refused.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::object::Text;

/// Something to be read from a value that may be of any type. Each method is told the type that was found; what a
/// reader does not override is passed over as [`Lenient::unfit`].
pub(super) trait Lenient<'de>: Sized {
    type Value;

    fn unfit(self) -> Self::Value;

    fn null(self) -> Self::Value {
        self.unfit()
    }

    fn truth(self, _: bool) -> Self::Value {
        self.unfit()
    }

    fn text(self, _: Cow<'de, str>) -> Self::Value {
        self.unfit()
    }

    fn map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(self.unfit())
    }

    fn seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(self.unfit())
    }
}

/// The one serde visitor and seed for every [`Lenient`] reader.
pub(super) struct Read<L>(pub(super) L);

impl<'de, L: Lenient<'de>> DeserializeSeed<'de> for Read<L> {
    type Value = L::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<L::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, L: Lenient<'de>> Visitor<'de> for Read<L> {
    type Value = L::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_bool<E>(self, truth: bool) -> Result<L::Value, E> {
        Ok(self.0.truth(truth))
    }

    fn visit_i64<E>(self, _: i64) -> Result<L::Value, E> {
        Ok(self.0.unfit())
    }

    fn visit_i128<E>(self, _: i128) -> Result<L::Value, E> {
        Ok(self.0.unfit())
    }

    fn visit_u64<E>(self, _: u64) -> Result<L::Value, E> {
        Ok(self.0.unfit())
    }

    fn visit_u128<E>(self, _: u128) -> Result<L::Value, E> {
        Ok(self.0.unfit())
    }

    fn visit_f64<E>(self, _: f64) -> Result<L::Value, E> {
        Ok(self.0.unfit())
    }

    fn visit_bytes<E>(self, _: &[u8]) -> Result<L::Value, E> {
        Ok(self.0.unfit())
    }

    fn visit_str<E>(self, text: &str) -> Result<L::Value, E> {
        Ok(self.0.text(Cow::Owned(text.to_owned())))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<L::Value, E> {
        Ok(self.0.text(Cow::Borrowed(text)))
    }

    fn visit_string<E>(self, text: String) -> Result<L::Value, E> {
        Ok(self.0.text(Cow::Owned(text)))
    }

    fn visit_unit<E>(self) -> Result<L::Value, E> {
        Ok(self.0.null())
    }

    fn visit_none<E>(self) -> Result<L::Value, E> {
        Ok(self.0.null())
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<L::Value, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(
        self,
        deserializer: D,
    ) -> Result<L::Value, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<L::Value, A::Error> {
        self.0.map(map)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<L::Value, A::Error> {
        self.0.seq(seq)
    }
}

/// The key of a map.
pub(super) struct Key;

impl<'de> Lenient<'de> for Key {
    type Value = Cow<'de, str>;

    fn unfit(self) -> Self::Value {
        Cow::Borrowed("")
    }

    fn text(self, text: Cow<'de, str>) -> Self::Value {
        text
    }
}

/// Stores the value of a key that may stand in its map but once.
pub(super) fn once<'de, A: MapAccess<'de>, T>(
    place: &mut Option<T>,
    map: &mut A,
    key: &'static str,
    read: impl DeserializeSeed<'de, Value = T>,
) -> Result<(), A::Error> {
    if place.is_some() {
        return Err(A::Error::duplicate_field(key));
    }
    *place = Some(map.next_value_seed(read)?);
    Ok(())
}

/// A member that should be text.
pub(super) struct TextReader;

impl<'de> Lenient<'de> for TextReader {
    type Value = Text<'de>;

    fn unfit(self) -> Text<'de> {
        Text::Unfit
    }

    fn null(self) -> Text<'de> {
        Text::Null
    }

    fn text(self, text: Cow<'de, str>) -> Text<'de> {
        Text::Is(text)
    }
}
