//! Expands `agg-{0..11}.example` to the names it stands for. Knows nothing of what a name is.

use std::collections::BTreeSet;

/// Why a text is no template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TemplateError {
    NoBraces,
    LooseBrace,
    Choices,
    Backwards,
    TooMany,
    Twice,
}

impl TemplateError {
    /// Continues a sentence that starts with the text.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoBraces => "stands for one name alone, which is a dns source",
            Self::LooseBrace => "has a brace without its partner, or one within another",
            Self::Choices => {
                "has braces around neither a range such as 0..11 nor a list such as a,b"
            }
            Self::Backwards => "has a range that runs backwards",
            Self::TooMany => "stands for more than 10000 names",
            Self::Twice => "stands for a name twice",
        }
    }
}

/// The names, distinct without regard to case, in the order of counting: the last braces vary
/// first.
pub(super) fn expand(text: &str) -> Result<Vec<String>, TemplateError> {
    let mut names = vec![String::new()];
    let mut rest = text;
    while let Some((literal, after)) = rest.split_once('{') {
        let (inside, after) = after.split_once('}').ok_or(TemplateError::LooseBrace)?;
        if literal.contains('}') || inside.contains('{') {
            return Err(TemplateError::LooseBrace);
        }
        let choices = choices(inside)?;
        if names.len() * choices.len() > NAMES_MAX {
            return Err(TemplateError::TooMany);
        }
        names = product(&names, literal, &choices);
        rest = after;
    }
    if rest.contains('}') {
        return Err(TemplateError::LooseBrace);
    }
    if rest.len() == text.len() {
        return Err(TemplateError::NoBraces);
    }
    names.iter_mut().for_each(|name| name.push_str(rest));
    let distinct: BTreeSet<String> = names.iter().map(|name| name.to_ascii_lowercase()).collect();
    if distinct.len() == names.len() { Ok(names) } else { Err(TemplateError::Twice) }
}

/// Every beginning with every choice after it.
fn product(beginnings: &[String], literal: &str, choices: &[String]) -> Vec<String> {
    let mut longer = Vec::with_capacity(beginnings.len() * choices.len());
    for beginning in beginnings {
        longer.extend(choices.iter().map(|choice| format!("{beginning}{literal}{choice}")));
    }
    longer
}

/// What one pair of braces stands for: at least one text, at most `NAMES_MAX`.
fn choices(inside: &str) -> Result<Vec<String>, TemplateError> {
    let Some((first, last)) = inside.split_once("..") else {
        let words: Vec<String> = inside.split(',').map(str::to_owned).collect();
        return match words.len() {
            1 => Err(TemplateError::Choices),
            2..=NAMES_MAX => Ok(words),
            _ => Err(TemplateError::TooMany),
        };
    };
    // As a shell does it: who writes one end with leading zeros wants them in between as well.
    let padded = [first, last].iter().any(|end| end.len() > 1 && end.starts_with('0'));
    let width = if padded { first.len().max(last.len()) } else { 0 };
    let (first, last) = (number(first)?, number(last)?);
    if first > last {
        return Err(TemplateError::Backwards);
    }
    if (last - first) as usize >= NAMES_MAX {
        return Err(TemplateError::TooMany);
    }
    Ok((first..=last).map(|number| format!("{number:0width$}")).collect())
}

/// At most nine digits, so that it fits whatever they are.
fn number(text: &str) -> Result<u32, TemplateError> {
    if (1..=9).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().map_err(|_| TemplateError::Choices);
    }
    Err(TemplateError::Choices)
}

/// As many backends as a pool is made for.
const NAMES_MAX: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    use proptest::prelude::*;

    #[test]
    fn ranges_and_lists_are_counted_through() {
        let cases = [
            ("agg-{0..2}.a", vec!["agg-0.a", "agg-1.a", "agg-2.a"]),
            ("{7..7}", vec!["7"]),
            ("a{9..11}", vec!["a9", "a10", "a11"]),
            ("a{09..11}", vec!["a09", "a10", "a11"]),
            ("a{00..1}", vec!["a00", "a01"]),
            ("{a,b}-{0..1}", vec!["a-0", "a-1", "b-0", "b-1"]),
            ("a{,-old}.b", vec!["a.b", "a-old.b"]),
        ];
        for (text, names) in cases {
            assert_eq!(expand(text), Ok(names.into_iter().map(str::to_owned).collect()), "{text}");
        }
    }

    #[test]
    fn what_is_no_template_is_refused_with_its_reason() {
        let cases = [
            ("agg", TemplateError::NoBraces),
            ("", TemplateError::NoBraces),
            ("a{0..1", TemplateError::LooseBrace),
            ("a0..1}", TemplateError::LooseBrace),
            ("}{0..1}", TemplateError::LooseBrace),
            ("{0..1}}", TemplateError::LooseBrace),
            ("{{0..1}}", TemplateError::LooseBrace),
            ("{}", TemplateError::Choices),
            ("{a}", TemplateError::Choices),
            ("{0-3}", TemplateError::Choices),
            ("{0..}", TemplateError::Choices),
            ("{a..c}", TemplateError::Choices),
            ("{0...3}", TemplateError::Choices),
            ("{-1..3}", TemplateError::Choices),
            ("{+1..3}", TemplateError::Choices),
            ("{0..9999999999}", TemplateError::Choices),
            ("{3..1}", TemplateError::Backwards),
            ("{0..10000}", TemplateError::TooMany),
            ("{0..100}{0..100}", TemplateError::TooMany),
            ("{0..999999999}", TemplateError::TooMany),
            ("{a,A}", TemplateError::Twice),
            ("{1,11}{11,1}", TemplateError::Twice),
        ];
        for (text, error) in cases {
            assert_eq!(expand(text), Err(error), "{text:?}");
        }
        assert_eq!(expand("{0..9999}").map(|names| names.len()), Ok(10_000));
    }

    proptest! {
        #[test]
        fn two_ranges_stand_for_the_product(a in 0..500_u32, b in 0..500_u32, n in 0..20_u32) {
            let names = expand(&format!("x{{{a}..{}}}-{{{b}..{}}}.y", a + n, b + n)).unwrap();
            let count = usize::try_from((n + 1) * (n + 1)).unwrap();
            prop_assert_eq!(names.len(), count);
            prop_assert_eq!(&names[0], &format!("x{a}-{b}.y"));
            prop_assert_eq!(&names[count - 1], &format!("x{}-{}.y", a + n, b + n));
        }

        #[test]
        fn no_text_panics(text in "[{}.,0-2a]{0,24}") {
            if let Ok(names) = expand(&text) {
                prop_assert!(!names.is_empty() && names.len() <= NAMES_MAX);
            }
        }
    }
}
