//! The grammar of image references: `regexp.go` of `github.com/distribution/reference` v0.6.0, written out by hand.
//!
//! Every class is ASCII and every function asks about a whole text.

/// `domainAndPort`: a host name or an IPv6 address in brackets, and perhaps a port of any number of digits.
pub(super) fn is_domain(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, port)) => {
            let hex_or_colon = |b: u8| b.is_ascii_hexdigit() || b == b':';
            if address.is_empty() || !address.bytes().all(hex_or_colon) {
                return false;
            }
            (None, port)
        }
        None => match text.find(':') {
            Some(colon) => (Some(&text[..colon]), &text[colon..]),
            None => (Some(text), ""),
        },
    };
    host.is_none_or(|host| host.split('.').all(is_label)) && is_optional_port(port)
}

/// `domainNameComponent`: letters of either case and digits, with `-` inside.
fn is_label(text: &str) -> bool {
    let bytes = text.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else {
        return false;
    };
    first.is_ascii_alphanumeric()
        && last.is_ascii_alphanumeric()
        && bytes
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || *b == b'-')
}

fn is_optional_port(text: &str) -> bool {
    text.is_empty()
        || text
            .strip_prefix(':')
            .is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()))
}

/// `remoteName`: one or more components, parted by `/`.
pub(super) fn is_path(text: &str) -> bool {
    text.split('/').all(is_component)
}

/// `pathComponent`: lower-case letters and digits; between them `.`, `_`, `__` or any number of `-`.
pub(super) fn is_component(text: &str) -> bool {
    let mut rest = text.as_bytes();
    loop {
        let word = length(rest, |b| b.is_ascii_lowercase() || b.is_ascii_digit());
        if word == 0 {
            return false;
        }
        rest = &rest[word..];
        if rest.is_empty() {
            return true;
        }
        let (separator, tail) = rest.split_at(length(rest, |b| matches!(b, b'.' | b'_' | b'-')));
        let legal =
            matches!(separator, b"." | b"_" | b"__") || separator.iter().all(|b| *b == b'-');
        if !legal {
            return false;
        }
        rest = tail;
    }
}

/// `tag`: up to 128 word characters, `.` and `-`; the first is a word character.
pub(super) fn is_tag(text: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let bytes = text.as_bytes();
    bytes.len() <= 128
        && bytes.first().is_some_and(|b| word(*b))
        && bytes.iter().all(|b| word(*b) || matches!(b, b'.' | b'-'))
}

/// `digestPat`: an algorithm's name, `:`, and at least 32 hex digits of either case. Which digests are valid is
/// decided afterwards, by [`super::Digest::parse`].
pub(super) fn is_digest(text: &str) -> bool {
    let Some((algorithm, hex)) = text.split_once(':') else {
        return false;
    };
    algorithm.split(['-', '_', '+', '.']).all(|part| {
        part.starts_with(|c: char| c.is_ascii_alphabetic())
            && part.bytes().all(|b| b.is_ascii_alphanumeric())
    }) && hex.len() >= 32
        && hex.bytes().all(|b| b.is_ascii_hexdigit())
}

/// How many bytes from the start are of this class.
fn length(bytes: &[u8], class: impl Fn(u8) -> bool) -> usize {
    bytes.iter().position(|b| !class(*b)).unwrap_or(bytes.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn components() {
        for legal in [
            "a",
            "0",
            "a.b",
            "a_b",
            "a__b",
            "a-b",
            "a---b",
            "a.b_c-d__e",
            "9.9",
        ] {
            assert!(is_component(legal), "{legal}");
        }
        for illegal in [
            "", ".", "-a", "a-", "a.", "_a", "a_", "a..b", "a___b", "a.-b", "a-.b", "a_-b", "a-_b",
            "A", "aB", "a b", "a:b", "a@b", "é", "a\n", "a\0", "a+b", "~a", "a__", "a._b",
        ] {
            assert!(!is_component(illegal), "{illegal:?}");
        }
    }

    #[test]
    fn domains() {
        for legal in [
            "a",
            "A",
            "a.b",
            "A-b.C",
            "a--b",
            "1.2.3.4",
            "a:0",
            "a:65536",
            "a.b:05000",
            "[::1]",
            "[::1]:5000",
            "[:]",
            "[1]",
            "[aF0:]:1",
            "xn--a.b",
            "localhost",
            "0123456789012345678901234567890123456789012345678901234567890123456789.x",
        ] {
            assert!(is_domain(legal), "{legal}");
        }
        for illegal in [
            "",
            ".",
            "a.",
            ".a",
            "a..b",
            "-a",
            "a-",
            "a-.b",
            "a_b",
            "a:",
            "a:b",
            "a:1:2",
            "a:-1",
            "[]",
            "[::1",
            "::1",
            "[::1]a",
            "[::1]:",
            "[::1]x:1",
            "[g]",
            "[fe80::1%eth0]",
            "[::ffff:1.2.3.4]",
            "a[::1]",
            "é.io",
            "a.b ",
            "[[::1]]",
            "[::1]]",
            "a:1\n",
            "*.io",
        ] {
            assert!(!is_domain(illegal), "{illegal:?}");
        }
    }

    #[test]
    fn tags() {
        let longest = "a".repeat(128);
        for legal in ["a", "_", "A.b-c", "1", "__", "a..b", "a-", &longest] {
            assert!(is_tag(legal), "{legal}");
        }
        let too_long = "a".repeat(129);
        for illegal in [
            "", ".a", "-a", "a b", "a:b", "a/b", "é", "тег", "a+b", "a\n", &too_long,
        ] {
            assert!(!is_tag(illegal), "{illegal:?}");
        }
    }

    #[test]
    fn digests() {
        let hex = "0123456789abcdefABCDEF0123456789";
        for algorithm in ["sha256", "S", "a+b", "a.b-c_d+e", "md5"] {
            assert!(is_digest(&format!("{algorithm}:{hex}")), "{algorithm}");
        }
        for algorithm in ["", "1", "a+", "+a", "a++b", "a+1", "a b", "a/b", "é", "a:b"] {
            assert!(!is_digest(&format!("{algorithm}:{hex}")), "{algorithm}");
        }
        for illegal in [
            "",
            "sha256",
            "sha256:",
            &format!("a:{}", &hex[1..]),
            &format!("a:{hex}g"),
        ] {
            assert!(!is_digest(illegal), "{illegal}");
        }
    }
}
