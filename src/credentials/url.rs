//! As much of Go 1.26's `net/url` as decides which host and path a configuration key names.

use std::borrow::Cow;
use std::net::Ipv6Addr;

/// The host (with its port, as written) and the decoded path of an `https` or `http` URL.
///
/// Bytes, as `%XX` may stand for any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Url<'a> {
    pub(super) host: Cow<'a, [u8]>,
    pub(super) path: Cow<'a, [u8]>,
}

/// A text that `url.Parse` of Go refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct InvalidUrl;

/// Where an escape stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    /// Only bytes above ASCII, and `%` itself, may be escaped; other bytes must be legal in a host.
    Host,
    /// As in a host, but what is legal there may be escaped, and a space too.
    Zone,
    /// Any byte may be escaped.
    Path,
}

impl<'a> Url<'a> {
    /// `url.Parse` of the text with `https://` or `http://` in front.
    pub(super) fn parse(schemeless: &'a [u8]) -> Result<Self, InvalidUrl> {
        let (url, fragment) = cut(schemeless, b'#');
        if url.iter().any(u8::is_ascii_control) {
            return Err(InvalidUrl);
        }
        let (hierarchy, _query) = cut(url, b'?');
        let slash = hierarchy.iter().position(|b| *b == b'/');
        let (authority, path) = hierarchy.split_at(slash.unwrap_or(hierarchy.len()));
        let (userinfo, host) = match authority.iter().rposition(|b| *b == b'@') {
            Some(at) => (&authority[..at], &authority[at + 1..]),
            None => (&b""[..], authority),
        };
        if !userinfo.iter().all(|b| is_userinfo(*b)) {
            return Err(InvalidUrl);
        }
        unescape(userinfo, Part::Path)?;
        unescape(fragment, Part::Path)?;
        Ok(Self {
            host: parse_host(host)?,
            path: unescape(path, Part::Path)?,
        })
    }

    /// The host's name and the port; the port is empty where there is none, the brackets of an IPv6 address are
    /// gone where there is one. `SplitURL` of `keyring.go`, which asks `net.SplitHostPort`.
    pub(super) fn split_host(&self) -> (&[u8], &[u8]) {
        split_host_port(&self.host).unwrap_or((&self.host, b""))
    }
}

/// `net.SplitHostPort` of Go; `None` where that is an error.
fn split_host_port(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = text.iter().rposition(|b| *b == b':')?;
    let port = &text[colon + 1..];
    let name = if text.first() == Some(&b'[') {
        let end = text.iter().position(|b| *b == b']')?;
        if end + 1 != colon {
            return None;
        }
        &text[1..end]
    } else if text[..colon].contains(&b':') || text.contains(&b']') {
        return None;
    } else {
        &text[..colon]
    };
    let clean = !name.contains(&b'[') && !port.contains(&b'[') && !port.contains(&b']');
    clean.then_some((name, port))
}

fn cut(text: &[u8], at: u8) -> (&[u8], &[u8]) {
    match text.iter().position(|b| *b == at) {
        Some(position) => (&text[..position], &text[position + 1..]),
        None => (text, b""),
    }
}

/// `parseHost`.
fn parse_host(host: &[u8]) -> Result<Cow<'_, [u8]>, InvalidUrl> {
    match host.iter().rposition(|b| *b == b'[') {
        None => {
            let colon = host.iter().position(|b| *b == b':');
            if !is_optional_port(&host[colon.unwrap_or(host.len())..]) {
                return Err(InvalidUrl);
            }
            unescape(host, Part::Host)
        }
        Some(0) => parse_ip_literal(host),
        Some(_) => Err(InvalidUrl),
    }
}

/// An address in brackets: `%25` introduces a zone, in which more may be escaped.
fn parse_ip_literal(host: &[u8]) -> Result<Cow<'_, [u8]>, InvalidUrl> {
    let close = host.iter().rposition(|b| *b == b']').ok_or(InvalidUrl)?;
    let (address, port) = (&host[1..close], &host[close + 1..]);
    if !is_optional_port(port) {
        return Err(InvalidUrl);
    }
    let zone = address.windows(3).position(|escape| escape == b"%25");
    let (address, zone) = address.split_at(zone.unwrap_or(address.len()));
    let (address, zone) = (unescape(address, Part::Host)?, unescape(zone, Part::Zone)?);
    let whole = [b"[", &*address, &*zone, b"]", port].concat();
    if !is_ipv6([&*address, &*zone].concat().as_slice()) {
        return Err(InvalidUrl);
    }
    Ok(Cow::Owned(whole))
}

/// `netip.ParseAddr`, IPv4 excluded; a zone may follow, after `%`.
fn is_ipv6(text: &[u8]) -> bool {
    let percent = text.iter().position(|b| *b == b'%');
    let (address, zone) = text.split_at(percent.unwrap_or(text.len()));
    zone.len() != 1
        && str::from_utf8(address).is_ok_and(|address| address.parse::<Ipv6Addr>().is_ok())
}

fn is_optional_port(text: &[u8]) -> bool {
    match text {
        [] => true,
        [b':', digits @ ..] => digits.iter().all(u8::is_ascii_digit),
        _ => false,
    }
}

fn is_userinfo(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._:~!$&'()*+,;=%@".contains(&byte)
}

/// The bytes that `net/url` does not escape in a host.
pub(super) fn is_host(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.~!$&'()*+,;=:[]<>\"".contains(&byte)
}

/// `unescape`: every `%` must be followed by two hex digits.
fn unescape(text: &[u8], part: Part) -> Result<Cow<'_, [u8]>, InvalidUrl> {
    let in_host = part != Part::Path;
    if !text.contains(&b'%') {
        let legal = !in_host || text.iter().all(|b| !b.is_ascii() || is_host(*b));
        return legal.then_some(Cow::Borrowed(text)).ok_or(InvalidUrl);
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first != b'%' {
            if in_host && first.is_ascii() && !is_host(*first) {
                return Err(InvalidUrl);
            }
            out.push(*first);
            continue;
        }
        let [high, low, tail @ ..] = tail else {
            return Err(InvalidUrl);
        };
        let byte = hex(*high)? << 4 | hex(*low)?;
        let legal = match part {
            Part::Path => true,
            Part::Host => !byte.is_ascii() || byte == b'%',
            Part::Zone => is_host(byte) || matches!(byte, b'%' | b' '),
        };
        if !legal {
            return Err(InvalidUrl);
        }
        out.push(byte);
        rest = tail;
    }
    Ok(Cow::Owned(out))
}

fn hex(digit: u8) -> Result<u8, InvalidUrl> {
    match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        b'A'..=b'F' => Ok(digit - b'A' + 10),
        _ => Err(InvalidUrl),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_paths() {
        for (text, host, path) in [
            ("", "", ""),
            ("r.io", "r.io", ""),
            ("r.io/", "r.io", "/"),
            ("r.io:/a", "r.io:", "/a"),
            ("r.io:99999/a", "r.io:99999", "/a"),
            ("r.io/a?b/c#d", "r.io", "/a"),
            ("r.io?a", "r.io", ""),
            ("r.io#a/b", "r.io", ""),
            ("r.io#\u{1}", "r.io", ""),
            ("r.io/?%zz", "r.io", "/"),
            ("user:pass@r.io/a", "r.io", "/a"),
            ("u@v:w@r.io", "r.io", ""),
            ("%zz@r.io", "!", ""),
            ("us er@r.io", "!", ""),
            ("us/er@r.io", "us", "/er@r.io"),
            ("\u{e9}@r.io", "!", ""),
            ("r.io/a%2fb%20c", "r.io", "/a/b c"),
            ("r.io/a b\\{|}^`", "r.io", "/a b\\{|}^`"),
            ("r.io/%", "!", ""),
            ("r.io/%2", "!", ""),
            ("r.io/%2g", "!", ""),
            ("r.io/a#%zz", "!", ""),
            ("r.io/\u{7f}", "!", ""),
            ("r.io/\t", "!", ""),
            ("r io", "!", ""),
            ("r\\io", "!", ""),
            ("r{}", "!", ""),
            ("r|", "!", ""),
            ("r^", "!", ""),
            ("r`", "!", ""),
            ("%41.io", "!", ""),
            ("%25.io", "%.io", ""),
            ("%c3%A9.io", "\u{e9}.io", ""),
            ("\u{e9}.io", "\u{e9}.io", ""),
            ("*.<a>!$&'()+,;=~_-\"", "*.<a>!$&'()+,;=~_-\"", ""),
            ("r.io:80:80", "!", ""),
            ("r.io:a", "!", ""),
            ("::1", "!", ""),
            ("r[a].io", "!", ""),
            ("[a-z].io", "!", ""),
            ("[::1", "!", ""),
            ("[::1]a", "!", ""),
            ("[1.2.3.4]", "!", ""),
            ("[::1]", "[::1]", ""),
            ("[::1]:", "[::1]:", ""),
            ("[::ffff:1.2.3.4]:5000/a", "[::ffff:1.2.3.4]:5000", "/a"),
            ("[fe80::1%eth0]", "!", ""),
            ("[fe80::1%25eth0]", "[fe80::1%eth0]", ""),
            ("[fe80::1%25e%20h%41]", "[fe80::1%e hA]", ""),
            ("[fe80::1%25e%2f]", "!", ""),
            ("[fe80::1%25]", "!", ""),
            ("a]b:80", "a]b:80", ""),
        ] {
            match Url::parse(text.as_bytes()) {
                Ok(url) => {
                    assert_eq!(String::from_utf8_lossy(&url.host), host, "{text}");
                    assert_eq!(String::from_utf8_lossy(&url.path), path, "{text}");
                }
                Err(InvalidUrl) => assert_eq!(host, "!", "{text}"),
            }
        }
    }

    #[test]
    fn ports() {
        for (text, host, port) in [
            ("r.io", "r.io", ""),
            ("r.io:", "r.io", ""),
            ("r.io:5", "r.io", "5"),
            ("[::1]", "[::1]", ""),
            ("[::1]:", "::1", ""),
            ("[::1]:5", "::1", "5"),
            ("a]b:80", "a]b:80", ""),
            ("", "", ""),
            (":5", "", "5"),
        ] {
            let url = Url::parse(text.as_bytes()).unwrap();
            assert_eq!(
                url.split_host(),
                (host.as_bytes(), port.as_bytes()),
                "{text}"
            );
        }
    }
}
