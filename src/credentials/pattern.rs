//! Matching a configuration key against an image's repository: `URLsMatch` in `pkg/credentialprovider/keyring.go`.

use super::url::{InvalidUrl, Url};

/// Whether the key of an entry, without a scheme, names this target.
///
/// The ports are equal as text; the hosts have as many labels, and each label of the key matches that of the
/// target by Go's `filepath.Match`; the target's path starts with the key's, wherever in a component that ends.
/// Of the characters with a meaning in `filepath.Match` only `*` can be part of a host (`super::documented` has the others), but for the brackets of an
/// IPv6 address: without a port they make a character class, so the key `[::1]` does not match the host `[::1]`.
pub fn urls_match(glob: &str, target: &str) -> Result<bool, InvalidPattern> {
    matches(
        &Url::parse(glob.as_bytes())?,
        &Url::parse(target.as_bytes())?,
    )
}

/// [`urls_match`] of what has been parsed already.
pub(super) fn matches(glob: &Url<'_>, target: &Url<'_>) -> Result<bool, InvalidPattern> {
    let (glob_host, glob_port) = glob.split_host();
    let (target_host, target_port) = target.split_host();
    let is_dot = |b: &u8| *b == b'.';
    let labels = |host: &[u8]| host.split(is_dot).count();
    if glob_port != target_port
        || labels(glob_host) != labels(target_host)
        || !target.path.starts_with(&glob.path)
    {
        return Ok(false);
    }
    for (glob, target) in glob_host.split(is_dot).zip(target_host.split(is_dot)) {
        if !glob_matches(glob, target)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// A key that can match nothing, or a target that is no URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPattern {
    /// Go's `net/url` refuses it.
    #[error("it is not a URL")]
    Url,
    /// Go's `filepath.Match` refuses a label of its host.
    #[error("a label of its host is not a pattern")]
    Label,
}

impl From<InvalidUrl> for InvalidPattern {
    fn from(InvalidUrl: InvalidUrl) -> Self {
        Self::Url
    }
}

/// `filepath.Match` of Go, for a text without separators.
pub(super) fn glob_matches(pattern: &[u8], text: &[u8]) -> Result<bool, InvalidPattern> {
    let (mut pattern, mut text) = (pattern, text);
    'chunks: while !pattern.is_empty() {
        let (star, chunk, rest) = scan_chunk(pattern);
        pattern = rest;
        if star && chunk.is_empty() {
            return Ok(true);
        }
        // The last chunk has to reach the end; an earlier one takes the first place where it fits.
        let fits = |left: &[u8]| left.is_empty() || !rest.is_empty();
        let last_start = if star { text.len() } else { 0 };
        for start in 0..=last_start {
            match match_chunk(chunk, &text[start..])? {
                Some(left) if fits(left) => {
                    text = left;
                    continue 'chunks;
                }
                _ => {}
            }
        }
        return Ok(false);
    }
    Ok(text.is_empty())
}

/// Whether [`glob_matches`] can read all of a pattern.
pub(super) fn is_glob(pattern: &[u8]) -> bool {
    let mut rest = pattern;
    while !rest.is_empty() {
        let (_, chunk, after) = scan_chunk(rest);
        if match_chunk(chunk, b"").is_err() {
            return false;
        }
        rest = after;
    }
    true
}

/// `scanChunk`: whether stars come first, what follows up to the next star, and the rest.
fn scan_chunk(pattern: &[u8]) -> (bool, &[u8], &[u8]) {
    let stars = pattern.iter().take_while(|b| **b == b'*').count();
    let pattern = &pattern[stars..];
    let (mut in_class, mut escaped) = (false, false);
    let end = pattern.iter().position(|b| {
        if std::mem::take(&mut escaped) {
            return false;
        }
        match b {
            b'\\' => escaped = true,
            b'[' => in_class = true,
            b']' => in_class = false,
            _ => {}
        }
        *b == b'*' && !in_class
    });
    let (chunk, rest) = pattern.split_at(end.unwrap_or(pattern.len()));
    (stars > 0, chunk, rest)
}

/// `matchChunk`: what is left of the text where its start matches. The whole chunk is read even after a mismatch, so
/// that a malformed one is always an error.
fn match_chunk<'t>(chunk: &[u8], text: &'t [u8]) -> Result<Option<&'t [u8]>, InvalidPattern> {
    let mut chunk = chunk;
    let mut left = Some(text);
    while let [first, tail @ ..] = chunk {
        let next = left.and_then(first_char);
        (left, chunk) = match (first, tail) {
            (b'[', class) => {
                let (in_class, rest) = match_class(class, next.map(|(c, _)| c))?;
                (next.filter(|_| in_class).map(|(_, left)| left), rest)
            }
            (b'?', rest) => (next.map(|(_, left)| left), rest),
            (b'\\', []) => return Err(InvalidPattern::Label),
            (b'\\', [literal, rest @ ..]) | (literal, rest) => {
                (left.and_then(|text| text.strip_prefix(&[*literal])), rest)
            }
        };
    }
    Ok(left)
}

/// The rest of a character class after its `[`: whether the character is in it, and what follows.
fn match_class(class: &[u8], c: Option<char>) -> Result<(bool, &[u8]), InvalidPattern> {
    let (negated, mut class) = match class.strip_prefix(b"^") {
        Some(class) => (true, class),
        None => (false, class),
    };
    let mut found = false;
    let mut ranges = 0;
    loop {
        match class {
            [b']', rest @ ..] if ranges > 0 => return Ok((found != negated, rest)),
            _ => {}
        }
        let (low, rest) = class_char(class)?;
        let (high, rest) = match rest {
            [b'-', rest @ ..] => class_char(rest)?,
            _ => (low, rest),
        };
        found = found || c.is_some_and(|c| low <= c && c <= high);
        ranges += 1;
        class = rest;
    }
}

/// `getEsc`: one character of a class, which may not be the last of the pattern.
fn class_char(class: &[u8]) -> Result<(char, &[u8]), InvalidPattern> {
    let (class, literal) = match class.strip_prefix(b"\\") {
        Some(class) => (class, true),
        None => (class, false),
    };
    match (class, first_char(class)) {
        ([b'-' | b']', ..], _) if !literal => Err(InvalidPattern::Label),
        (_, None | Some((_, []))) => Err(InvalidPattern::Label),
        // A byte that is not UTF-8 is no character of a class.
        ([first, ..], Some((char::REPLACEMENT_CHARACTER, _))) if *first != 0xef => {
            Err(InvalidPattern::Label)
        }
        (_, Some(found)) => Ok(found),
    }
}

/// `utf8.DecodeRune`: a byte that is not UTF-8 is U+FFFD.
fn first_char(text: &[u8]) -> Option<(char, &[u8])> {
    let head = &text[..text.len().min(4)];
    let valid = match str::from_utf8(head) {
        Ok(valid) => valid,
        Err(error) => str::from_utf8(&head[..error.valid_up_to()]).unwrap_or_default(),
    };
    match valid.chars().next() {
        Some(c) => Some((c, &text[c.len_utf8()..])),
        None => text
            .split_first()
            .map(|(_, rest)| (char::REPLACEMENT_CHARACTER, rest)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs() {
        // Cases of Go's own `TestMatch`, separators aside.
        for (pattern, text, expected) in [
            ("abc", "abc", Ok(true)),
            ("*", "abc", Ok(true)),
            ("*", "", Ok(true)),
            ("*c", "abc", Ok(true)),
            ("a*", "a", Ok(true)),
            ("a*", "abc", Ok(true)),
            ("**a**", "bab", Ok(true)),
            ("a*b*c*d*e*", "axbxcxdxe", Ok(true)),
            ("a*b*c*d*e*", "axbxcxdxexxx", Ok(true)),
            ("a*b*c*d*e", "axbxcxdxexxx", Ok(false)),
            ("ab[c]", "abc", Ok(true)),
            ("ab[b-d]", "abc", Ok(true)),
            ("ab[e-g]", "abc", Ok(false)),
            ("ab[^c]", "abc", Ok(false)),
            ("ab[^e-g]", "abc", Ok(true)),
            ("a[^a]b", "a\u{263a}b", Ok(true)),
            ("a[^a][^a][^a]b", "a\u{263a}b", Ok(false)),
            ("[a-\u{3b6}]*", "\u{3b1}", Ok(true)),
            ("*[a-\u{3b6}]", "A", Ok(false)),
            ("[x-]", "x", Err(InvalidPattern::Label)),
            ("[-x]", "x", Err(InvalidPattern::Label)),
            ("[a-b-c]", "a", Err(InvalidPattern::Label)),
            ("[]a]", "]", Err(InvalidPattern::Label)),
            ("[", "a", Err(InvalidPattern::Label)),
            ("[^", "a", Err(InvalidPattern::Label)),
            ("[^bc", "a", Err(InvalidPattern::Label)),
            ("a[", "ab", Err(InvalidPattern::Label)),
            ("a[", "x", Err(InvalidPattern::Label)),
            ("*x", "xxx", Ok(true)),
            ("a\\*b", "a*b", Ok(true)),
            ("a\\*b", "ab", Ok(false)),
            ("a?b", "a\u{263a}b", Ok(true)),
            ("a???b", "a\u{263a}b", Ok(false)),
            ("[\\]a]", "]", Ok(true)),
            ("[\\-]", "-", Ok(true)),
            ("[x\\-]", "x", Ok(true)),
            ("[x\\-]", "-", Ok(true)),
            ("[x\\-]", "z", Ok(false)),
            ("[\\-x]", "a", Ok(false)),
            ("[*a]b", "*b", Ok(true)),
            ("a\\", "a", Err(InvalidPattern::Label)),
            ("[a\\", "a", Err(InvalidPattern::Label)),
            ("*.r.io", "a.b.r.io", Ok(true)),
            ("[::1]", ":", Ok(true)),
            ("[::1]", "1", Ok(true)),
            ("[::1]", "[::1]", Ok(false)),
            ("]", "]", Ok(true)),
            ("*[", "", Err(InvalidPattern::Label)),
            ("[\u{fffd}]", "\u{fffd}", Ok(true)),
        ] {
            let answer = glob_matches(pattern.as_bytes(), text.as_bytes());
            assert_eq!(answer, expected, "{pattern} {text}");
        }
        assert_eq!(glob_matches(b"[\xff]", b"a"), Err(InvalidPattern::Label));
        assert_eq!(glob_matches(b"[^a]", b"\xff"), Ok(true));
        assert_eq!(glob_matches(b"\xff*", b"\xffa"), Ok(true));
    }

    #[test]
    fn keys_and_targets() {
        for (glob, target, expected) in [
            ("r.io", "r.io/app", Ok(true)),
            ("r.io", "r.io:443/app", Ok(false)),
            ("r.io:", "r.io/app", Ok(true)),
            ("r.io/te", "r.io/team/app", Ok(true)),
            ("r.io/team/", "r.io/team", Ok(false)),
            ("r.io/app:1", "r.io/app", Ok(false)),
            ("*.io", "r.io/app", Ok(true)),
            ("*.io", "a.r.io/app", Ok(false)),
            ("*", "localhost/app", Ok(true)),
            ("R.io", "r.io/app", Ok(false)),
            ("fo?.io", "foo.io/app", Ok(false)),
            ("fo[o].io", "foo.io/app", Err(InvalidPattern::Url)),
            ("[::1]:5000", "[::1]:5000/app", Ok(true)),
            ("[::1]", "[::1]/app", Ok(false)),
            (
                "[::ffff:1.2.3.4]",
                "[::ffff:1.2.3.4]/app",
                Err(InvalidPattern::Label),
            ),
            ("[0::1]:5000", "[::1]:5000/app", Ok(false)),
            ("", "/app", Ok(true)),
        ] {
            assert_eq!(urls_match(glob, target), expected, "{glob} {target}");
        }
    }
}
