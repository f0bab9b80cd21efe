//! Strings and names as Go's `encoding/json` reads them, for a reader on `serde_json`.

use std::borrow::Cow;
use std::fmt;

use secrecy::zeroize::Zeroizing;
use serde::de::{Deserialize, Deserializer, Visitor};

/// The document in UTF-8: Go takes each byte that is not part of UTF-8 as U+FFFD.
pub(super) fn to_utf8(document: &[u8]) -> Cow<'_, [u8]> {
    if str::from_utf8(document).is_ok() {
        return Cow::Borrowed(document);
    }
    let mut text = Vec::with_capacity(document.len() * 2);
    for chunk in document.utf8_chunks() {
        text.extend_from_slice(chunk.valid().as_bytes());
        for _ in chunk.invalid() {
            text.extend_from_slice(REPLACEMENT);
        }
    }
    Cow::Owned(text)
}

const REPLACEMENT: &[u8] = "\u{fffd}".as_bytes();

/// A string of a document that has been through [`to_utf8`]; may be a secret.
pub(super) struct Text(pub(super) Zeroizing<Vec<u8>>);

impl Text {
    /// Whether this names the field, for which Go folds case: also `ſ` to `s` and the kelvin sign to `k`.
    pub(super) fn is_name(&self, field: &str) -> bool {
        let fold = |c: char| match c {
            '\u{17f}' => 's',
            '\u{212a}' => 'k',
            c => c.to_ascii_lowercase(),
        };
        str::from_utf8(&self.0).is_ok_and(|name| name.chars().map(fold).eq(field.chars().map(fold)))
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_bytes(TextVisitor)
    }
}

struct TextVisitor;

impl Visitor<'_> for TextVisitor {
    type Value = Text;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    /// A lone surrogate that was escaped arrives as three bytes, which no string in UTF-8 has; Go takes it as U+FFFD.
    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Text, E> {
        let mut text = Zeroizing::new(bytes.to_vec());
        let mut start = 0;
        while let Some(found) = text[start..]
            .windows(3)
            .position(|three| three[0] == 0xed && three[1] >= 0xa0)
        {
            start += found + 3;
            text[start - 3..start].copy_from_slice(REPLACEMENT);
        }
        Ok(Text(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(document: &[u8]) -> Option<String> {
        let document = to_utf8(document);
        let text: Text = serde_json::from_slice(&document).ok()?;
        String::from_utf8(text.0.to_vec()).ok()
    }

    #[test]
    fn strings() {
        for (document, text) in [
            (&br#""a\u0062\n""#[..], Some("ab\n")),
            (br#""\ud83d\ude00""#, Some("\u{1f600}")),
            (br#""\ud83d""#, Some("\u{fffd}")),
            (br#""\ude00x""#, Some("\u{fffd}x")),
            (br#""\ud83d\ud83d\ude00""#, Some("\u{fffd}\u{1f600}")),
            (br#""\ud83d\u0041""#, Some("\u{fffd}A")),
            (br#""\ud83d\n""#, Some("\u{fffd}\n")),
            (br#""\udc00\udc00""#, Some("\u{fffd}\u{fffd}")),
            (b"\"\xff\"", Some("\u{fffd}")),
            (b"\"\xe2\x98\"", Some("\u{fffd}\u{fffd}")),
            (b"\"\xed\xa0\x80\"", Some("\u{fffd}\u{fffd}\u{fffd}")),
            ("\"\u{d7ff}\u{fffd}\"".as_bytes(), Some("\u{d7ff}\u{fffd}")),
            (b"\"\x7f\"", Some("\u{7f}")),
            (br#""\x""#, None),
            (b"\"", None),
            (b"1", None),
            (b"[1]", None),
        ] {
            assert_eq!(read(document).as_deref(), text, "{document:?}");
        }
    }

    #[test]
    fn names() {
        for (name, field, expected) in [
            ("auths", "auths", true),
            ("AUTHS", "auths", true),
            ("auth\u{17f}", "auths", true),
            ("httpheaders", "HttpHeaders", true),
            ("\u{212a}ey", "key", true),
            ("auth", "auths", false),
            ("authss", "auths", false),
            ("\u{e1}uths", "auths", false),
        ] {
            let text = Text(Zeroizing::new(name.into()));
            assert_eq!(text.is_name(field), expected, "{name}");
        }
    }
}
