use std::borrow::Cow;

/// The value of the first parameter with this name, both decoded: `+` is a space, `%` and two
/// hexadecimal digits are a byte; anything else stands for itself. A parameter without `=` has an
/// empty value. Allocates only where a value has something to decode.
pub(super) fn parameter<'q>(query: &'q str, name: &str) -> Option<Cow<'q, [u8]>> {
    query.split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (!pair.is_empty() && decoded(key).eq(name.bytes())).then(|| match value.contains(['%', '+']) {
            true => decoded(value).collect(),
            false => Cow::Borrowed(value.as_bytes()),
        })
    })
}

fn decoded(text: &str) -> impl Iterator<Item = u8> {
    let mut rest = text.as_bytes();
    std::iter::from_fn(move || {
        let (byte, after) = match rest {
            [] => return None,
            [b'+', after @ ..] => (b' ', after),
            [b'%', high, low, after @ ..] => match (digit(*high), digit(*low)) {
                (Some(high), Some(low)) => (high << 4 | low, after),
                _ => (b'%', &rest[1..]),
            },
            [byte, after @ ..] => (*byte, after),
        };
        rest = after;
        Some(byte)
    })
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).map(|digit| digit as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_values_are_decoded() {
        for (query, expected) in [
            ("a=1", Some("1")),
            ("a=1=2", Some("1=2")),
            ("a", Some("")),
            ("a=", Some("")),
            ("b=1&a=2&a=3", Some("2")),
            ("&&a=1", Some("1")),
            ("%61=1", Some("1")),
            ("%4a=1", None),
            ("a=%2B+%2b", Some("+ +")),
            ("a=%zz%4%", Some("%zz%4%")),
            ("a=%C3%A4", Some("ä")),
            ("aa=1", None),
            ("", None),
        ] {
            let found = parameter(query, "a");
            assert_eq!(found.as_deref(), expected.map(str::as_bytes), "{query}");
        }
        assert_eq!(parameter("&=1&", "").as_deref(), Some(&b"1"[..]));
    }

    #[test]
    fn a_value_without_escapes_is_borrowed() {
        assert!(matches!(parameter("%61=bcd", "a"), Some(Cow::Borrowed(b"bcd"))));
        assert!(matches!(parameter("a=%62", "a"), Some(Cow::Owned(_))));
    }
}
