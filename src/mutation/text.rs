//! Texts as JSON.

/// Writes a text as a JSON string. Most texts have nothing to escape, and a fold over all of one is faster than a loop
/// that may end early.
pub(crate) fn json_text(out: &mut Vec<u8>, text: &str) {
    let escapes = text.bytes().fold(false, |found, byte| {
        found | matches!(byte, ..0x20 | b'"' | b'\\')
    });
    if escapes {
        serde_json::to_writer(out, text).expect("text can be written to memory");
    } else {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
    }
}
