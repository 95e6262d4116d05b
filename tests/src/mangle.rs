//! Texts that are nearly right: what fuzzing makes of examples.

use std::path::Path;

use proptest::prelude::*;
use proptest::sample::Index;

/// One of the examples, with some slips of the pen in it.
pub fn mangled(examples: Vec<String>) -> impl Strategy<Value = String> {
    (any::<Index>(), prop::collection::vec(Slip::any(), 0..5)).prop_map(move |(which, slips)| {
        let example = which.get(examples.as_slice()).clone();
        slips.iter().fold(example, |text, slip| slip.apply(text, &examples))
    })
}

/// Places are given as shares of the text, whatever its length.
#[derive(Clone, Debug)]
enum Slip {
    /// A stretch is left out.
    Drop(Index, u8),
    /// A stretch is there twice.
    Double(Index, u8),
    /// Something else comes in between.
    Insert(Index, String),
    /// A line is left out.
    DropLine(Index),
    /// A line stands somewhere else.
    MoveLine(Index, Index),
    /// It goes on as another example does, from some place in that.
    GoOn(Index, Index, Index),
}

impl Slip {
    fn any() -> impl Strategy<Value = Self> {
        let tokens = prop::sample::select(TOKENS.to_vec()).prop_map(str::to_owned);
        let text = prop_oneof![3 => tokens, 1 => "\\PC{0,8}"];
        prop_oneof![
            (any::<Index>(), 1..40_u8).prop_map(|(at, length)| Self::Drop(at, length)),
            (any::<Index>(), 1..40_u8).prop_map(|(at, length)| Self::Double(at, length)),
            (any::<Index>(), text).prop_map(|(at, text)| Self::Insert(at, text)),
            any::<Index>().prop_map(Self::DropLine),
            (any::<Index>(), any::<Index>()).prop_map(|(from, to)| Self::MoveLine(from, to)),
            (any::<Index>(), any::<Index>(), any::<Index>()).prop_map(|(at, which, from)| Self::GoOn(at, which, from)),
        ]
    }

    fn apply(&self, mut text: String, examples: &[String]) -> String {
        match self {
            Self::Drop(at, length) => drop(text.drain(stretch(&text, at, *length))),
            Self::Double(at, length) => {
                let stretch = stretch(&text, at, *length);
                let again = text[stretch.clone()].to_owned();
                text.insert_str(stretch.start, &again);
            }
            Self::Insert(at, other) => text.insert_str(place(&text, at), other),
            Self::DropLine(_) | Self::MoveLine(..) => return self.apply_to_lines(&text),
            Self::GoOn(at, which, from) => {
                text.truncate(place(&text, at));
                let other = which.get(examples);
                text.push_str(&other[place(other, from)..]);
            }
        }
        text
    }

    fn apply_to_lines(&self, text: &str) -> String {
        let mut lines: Vec<&str> = text.split_inclusive('\n').collect();
        if let (Self::DropLine(from) | Self::MoveLine(from, _), false) = (self, lines.is_empty()) {
            let line = lines.remove(from.index(lines.len()));
            if let Self::MoveLine(_, to) = self {
                lines.insert(to.index(lines.len() + 1), line);
            }
        }
        lines.concat()
    }
}

/// What has a meaning to someone.
const TOKENS: &[&str] = &[
    "---\n",
    "\n",
    "\r\n",
    "\r\n\r\n",
    ": ",
    "- ",
    "  ",
    "\t",
    "{",
    "}",
    "[",
    "]",
    "*",
    "*a",
    "&a",
    "!!binary ",
    "!t ",
    "|",
    ">",
    "\"",
    "'",
    "#",
    "%",
    "0",
    "-1",
    "1e9",
    "65536",
    "99999999999999999999",
    "null",
    "~",
    "true",
    ".nan",
    "<<: ",
    "? ",
    "é",
    "\u{feff}",
    "\0",
    ",",
    "4, 4",
    "chunked",
    "Content-Length: 3\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Host: b\r\n",
];

/// A border of characters.
fn place(text: &str, at: &Index) -> usize {
    text.floor_char_boundary(at.index(text.len() + 1))
}

fn stretch(text: &str, at: &Index, length: u8) -> std::ops::Range<usize> {
    let start = place(text, at);
    start..text.floor_char_boundary((start + usize::from(length)).min(text.len()))
}

/// The texts of all files below a folder whose names end like this, in the order of their paths.
pub fn texts(folder: &Path, ending: &str) -> Vec<String> {
    let mut texts = Vec::new();
    let mut entries: Vec<_> = std::fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.expect("the folder can be read").path())
        .collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            texts.extend(self::texts(&path, ending));
        } else if path.to_string_lossy().ends_with(ending) {
            texts.push(std::fs::read_to_string(&path).expect("the file is text"));
        }
    }
    texts
}
