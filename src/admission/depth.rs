//! How deeply a body is nested.

/// Go's decoder, and so the API server, goes no deeper (`encoding/json/scanner.go`).
const MAX_DEPTH: usize = 10_000;

/// Whether arrays and maps are nested beyond what the API server itself can read. The text need not be JSON.
pub(super) fn is_too_deep(body: &str) -> bool {
    // That many brackets have to be opened and closed.
    if body.len() < 2 * MAX_DEPTH {
        return false;
    }
    let (mut depth, mut in_text, mut escaped) = (0_usize, false, false);
    for byte in body.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = in_text,
            b'"' => in_text = !in_text,
            _ if in_text => (),
            b'[' | b'{' => {
                depth += 1;
                if depth > MAX_DEPTH {
                    return true;
                }
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => (),
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_count_outside_texts() {
        let nest = |depth: usize, inner: &str| {
            format!("{}{inner}{}", "[".repeat(depth), "]".repeat(depth))
        };
        assert!(!is_too_deep(&nest(10_000, "")));
        assert!(is_too_deep(&nest(10_001, "")));
        let text = format!("\"\\\"{}\"", "[".repeat(20_000));
        assert!(!is_too_deep(&nest(9_000, &text)));
        assert!(!is_too_deep(&"[],".repeat(20_000)));
    }
}
