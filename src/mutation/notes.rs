//! What people are told, within the bounds that the API server sets.

/// The API server cuts warnings to so many characters each, and then drops what is too much, where all of a request have
/// more than 4096 together (`pkg/endpoints/filters/warning.go` of the API server).
const WARNING_CHARACTERS: usize = 256;
const WARNINGS: usize = 15;
/// Where ours are few, the rest can be left to other webhooks, and each may be so long.
const FEW_CHARACTERS: usize = 2048;
const LONG_WARNING_CHARACTERS: usize = 512;
/// Audit back-ends cut what is too long; this is ours to choose.
const ANNOTATION_CHARACTERS: usize = 4096;

/// Warnings as the API server takes them: no control characters, each cut, and not too many.
pub(crate) fn warnings(sentences: &[String]) -> Vec<String> {
    let more = sentences.len().saturating_sub(WARNINGS);
    let cut = |limit| {
        sentences
            .iter()
            .take(WARNINGS)
            .map(move |sentence| clean(sentence, limit))
    };
    let mut warnings: Vec<String> = cut(LONG_WARNING_CHARACTERS).collect();
    let characters = warnings.iter().map(|warning| warning.chars().count());
    if characters.sum::<usize>() > FEW_CHARACTERS {
        warnings = cut(WARNING_CHARACTERS).collect();
    }
    if more > 0 {
        warnings.push(format!("surepull: {more} more warnings of this kind"));
    }
    warnings
}

/// One value for an audit annotation; none where there is nothing to say.
pub(crate) fn annotation_value(notes: impl IntoIterator<Item = impl AsRef<str>>) -> Option<String> {
    let mut value = String::new();
    for note in notes {
        if !value.is_empty() {
            value.push_str("; ");
        }
        value.push_str(note.as_ref());
        if value.len() > 4 * ANNOTATION_CHARACTERS {
            break;
        }
    }
    (!value.is_empty()).then(|| {
        if is_clean(&value, ANNOTATION_CHARACTERS) {
            value
        } else {
            clean(&value, ANNOTATION_CHARACTERS)
        }
    })
}

/// Whether [`clean`] would change nothing, as is the rule.
fn is_clean(text: &str, limit: usize) -> bool {
    text.len() <= limit
        && text
            .bytes()
            .all(|byte| byte.is_ascii_graphic() || byte == b' ')
}

/// The text without control characters, cut to a number of characters.
pub(crate) fn clean(text: &str, limit: usize) -> String {
    let mut characters = text.chars().map(|character| {
        if character.is_control() {
            ' '
        } else {
            character
        }
    });
    let mut clean: String = characters.by_ref().take(limit).collect();
    if characters.next().is_some() {
        clean.pop();
        clean.push('…');
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_fit_what_the_api_server_takes() {
        let long = "ü\n".repeat(500);
        let all = warnings(&vec![long; 40]);
        assert_eq!(all.len(), 16);
        assert!(
            all.iter()
                .map(|warning| warning.chars().count())
                .sum::<usize>()
                <= 4096
        );
        assert!(
            all.iter()
                .all(|warning| !warning.contains(char::is_control))
        );
        assert_eq!(all[15], "surepull: 25 more warnings of this kind");
        assert_eq!(all[0].chars().count(), 256);
        let few = warnings(&["ü".repeat(500), "ü".repeat(600)]);
        let lengths = few.iter().map(|warning| warning.chars().count());
        assert_eq!(lengths.collect::<Vec<_>>(), [500, 512]);
    }

    #[test]
    fn an_annotation_is_one_text_or_none() {
        assert_eq!(annotation_value(Vec::<String>::new()), None);
        assert_eq!(annotation_value(["a", "b"]).as_deref(), Some("a; b"));
        assert_eq!(
            annotation_value(["ü".repeat(20_000)]).map(|value| value.chars().count()),
            Some(4096)
        );
    }
}
