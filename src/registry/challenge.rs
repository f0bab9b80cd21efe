//! The `WWW-Authenticate` header (RFC 9110, section 11.6.1): challenges and their parameters.

use http::HeaderMap;
use http::header::WWW_AUTHENTICATE;

/// One way in which a registry lets itself be convinced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    /// A token of the realm (distribution specification, "Token Authentication").
    Bearer {
        /// Where tokens are given.
        realm: String,
        /// For whom the token shall be.
        service: Option<String>,
        /// What the token shall allow, several separated by spaces.
        scope: Option<String>,
    },
    /// User name and password (RFC 7617).
    Basic,
}

/// The challenge to take up: Bearer before Basic, since a registry that offers both means Basic for its token service.
pub(super) fn choose(headers: &HeaderMap) -> Option<Challenge> {
    let offered: Vec<Raw> = headers
        .get_all(WWW_AUTHENTICATE)
        .iter()
        .filter_map(|value| std::str::from_utf8(value.as_bytes()).ok())
        .flat_map(parse)
        .collect();
    let bearer = offered
        .iter()
        .filter(|raw| raw.scheme.eq_ignore_ascii_case("bearer"))
        .find_map(|raw| {
            Some(Challenge::Bearer {
                realm: raw.parameter("realm")?,
                service: raw.parameter("service"),
                scope: raw.parameter("scope"),
            })
        });
    let basic = || {
        offered
            .iter()
            .any(|raw| raw.scheme.eq_ignore_ascii_case("basic"))
            .then_some(Challenge::Basic)
    };
    bearer.or_else(basic)
}

/// One challenge as written.
#[derive(Debug, PartialEq, Eq)]
struct Raw {
    scheme: String,
    parameters: Vec<(String, String)>,
}

impl Raw {
    fn parameter(&self, name: &str) -> Option<String> {
        let (_, value) = self
            .parameters
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))?;
        (!value.is_empty()).then(|| value.clone())
    }
}

/// All challenges of one header value. What does not follow the grammar is passed over, never an error.
fn parse(value: &str) -> Vec<Raw> {
    let mut rest = value;
    let mut challenges: Vec<Raw> = Vec::new();
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let name = take_token(&mut rest);
        if name.is_empty() {
            // Not a token: step over one character, so that the loop always ends.
            let mut characters = rest.chars();
            if characters.next().is_none() {
                return challenges;
            }
            rest = characters.as_str();
            continue;
        }
        let after = rest.trim_start_matches([' ', '\t']);
        match (after.strip_prefix('='), challenges.last_mut()) {
            (Some(text), Some(challenge)) => {
                rest = text.trim_start_matches([' ', '\t']);
                let value = take_value(&mut rest);
                challenge.parameters.push((name.to_owned(), value));
            }
            (Some(text), None) => rest = text,
            (None, _) => {
                challenges.push(Raw {
                    scheme: name.to_owned(),
                    parameters: Vec::new(),
                });
                rest = skip_token68(after);
            }
        }
    }
}

/// Steps over the one opaque text that may follow a scheme instead of parameters.
fn skip_token68(text: &str) -> &str {
    let opaque = |c: char| c.is_ascii_alphanumeric() || "-._~+/".contains(c);
    let after = text.trim_start_matches(opaque);
    let padded = after.trim_start_matches('=');
    let ended = padded.trim_start_matches([' ', '\t']);
    if after.len() < text.len() && (ended.is_empty() || ended.starts_with(',')) {
        ended
    } else {
        text
    }
}

fn take_token<'a>(rest: &mut &'a str) -> &'a str {
    let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    let end = rest.find(|c| !is_token(c)).unwrap_or(rest.len());
    let (token, after) = rest.split_at(end);
    *rest = after;
    token
}

/// A token, or a quoted string with its quoted pairs resolved. One that is never closed ends with the header.
fn take_value(rest: &mut &str) -> String {
    let Some(quoted) = rest.strip_prefix('"') else {
        // Lenient, as Go's clients are: an unquoted URL is not a token, and yet is sent.
        let end = rest.find([' ', '\t', ',']).unwrap_or(rest.len());
        let (value, after) = rest.split_at(end);
        *rest = after;
        return value.to_owned();
    };
    let mut value = String::new();
    let mut characters = quoted.chars();
    while let Some(c) = characters.next() {
        match c {
            '"' => break,
            '\\' => value.extend(characters.next()),
            c => value.push(c),
        }
    }
    *rest = characters.as_str();
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(values: &[&str]) -> Option<Challenge> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(WWW_AUTHENTICATE, value.parse().unwrap());
        }
        choose(&headers)
    }

    #[allow(clippy::unnecessary_wraps, reason = "the table reads better")]
    fn bearer(realm: &str, service: Option<&str>, scope: Option<&str>) -> Option<Challenge> {
        Some(Challenge::Bearer {
            realm: realm.into(),
            service: service.map(Into::into),
            scope: scope.map(Into::into),
        })
    }

    #[test]
    fn challenges_are_read_as_registries_write_them() {
        let hub = r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/nginx:pull""#;
        for (values, expected) in [
            (
                &[hub][..],
                bearer(
                    "https://auth.docker.io/token",
                    Some("registry.docker.io"),
                    Some("repository:library/nginx:pull"),
                ),
            ),
            (
                &[r#"bearer Realm = "https://a/t" , SCOPE="repository:a:pull,push""#],
                bearer("https://a/t", None, Some("repository:a:pull,push")),
            ),
            (
                &[r#"Basic realm="a, b", Bearer realm="https://a/t""#],
                bearer("https://a/t", None, None),
            ),
            (
                &[r#"Basic realm="x"#, r#"Bearer realm="https://a/t""#],
                bearer("https://a/t", None, None),
            ),
            (
                &[r#"Negotiate abc==, Basic realm="Bearer realm=\"https://evil/t\"""#],
                Some(Challenge::Basic),
            ),
            (
                &[r#"Bearer realm="https://a/\"q\\",service="""#],
                bearer(r#"https://a/"q\"#, None, None),
            ),
            (
                &["Bearer realm=https://a/t,service=s"],
                bearer("https://a/t", Some("s"), None),
            ),
            (
                &[r#"Bearer realm="https://a/t" service="s""#],
                bearer("https://a/t", Some("s"), None),
            ),
            (
                &[r#"Basic realm="Registry", Bearer realm="https://a/t",service="s,t", Negotiate"#],
                bearer("https://a/t", Some("s,t"), None),
            ),
            (
                &[r#"Negotiate, Bearer realm="https://a/t" , , scope="x" ,Basic"#],
                bearer("https://a/t", None, Some("x")),
            ),
            (
                &["NTLM TlRMTVNTUAAB/+==, BASIC realm=x", "Bearer service=s"],
                Some(Challenge::Basic),
            ),
            (
                &[
                    r#"Bearer error="invalid_token""#,
                    r#"Bearer realm="https://a/t",error="a, Basic realm=\"x\"""#,
                ],
                bearer("https://a/t", None, None),
            ),
            (&["Basic"], Some(Challenge::Basic)),
            (&["Digest realm=\"x\",nonce=\"y\""], None),
            (&["Bearer service=\"s\""], None),
            (&[""], None),
            (&["=,=\"\",\\"], None),
            (
                &["Bearer realm=\"https://never/closed"],
                bearer("https://never/closed", None, None),
            ),
        ] {
            assert_eq!(chosen(values), expected, "{values:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_header_makes_the_parser_panic_or_hang(value in "(?s).{0,80}") {
            let _ = parse(&value);
        }
    }
}
