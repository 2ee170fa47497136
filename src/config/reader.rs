//! Walks a parsed document key by key and notes every error. Knows no key and no kind of value.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use toml::de::{DeTable, DeValue};

use super::error::ConfigError;
use super::field::{Field, Read, quoted};
use super::names::nearest;

/// What is shared by all of one document: its errors, and which keys it was asked for.
pub(super) struct Reader {
    /// The offset at which each line starts.
    line_starts: Vec<usize>,
    /// Lines that are no TOML. What is read from them is a guess of the parser.
    damaged_lines: BTreeSet<usize>,
    errors: RefCell<Vec<ConfigError>>,
    /// By path of the section, the keys it was asked for. Those are all the keys there are.
    asked: RefCell<BTreeMap<String, BTreeSet<&'static str>>>,
}

/// Where a key or a value stands.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub path: String,
    pub line: usize,
}

impl Reader {
    pub fn new(text: &str, syntax_errors: &[toml::de::Error]) -> Self {
        let line_starts = [0].into_iter().chain(text.match_indices('\n').map(|(at, _)| at + 1));
        let mut reader = Self {
            line_starts: line_starts.collect(),
            damaged_lines: BTreeSet::new(),
            errors: RefCell::default(),
            asked: RefCell::default(),
        };
        for error in syntax_errors {
            let span = error.span().unwrap_or_default();
            let line = reader.line(span.clone());
            let found = text.get(span).filter(|found| !found.is_empty());
            let at = found.map(|found| format!(" at {}", quoted(found))).unwrap_or_default();
            reader.damaged_lines.insert(line);
            reader.note(line, String::new(), format!("not TOML{at}: {}", error.message()));
        }
        reader
    }

    /// Reads the whole document, which is a section without a name.
    pub fn document<T>(&self, table: &DeTable<'_>, read: impl FnOnce(&Section<'_>) -> T) -> T {
        let place = Place { path: String::new(), line: 1 };
        Section { reader: self, place, table }.read(read)
    }

    /// Notes an error in something the file says.
    pub fn refuse(&self, place: &Place, message: String) {
        if !self.damaged_lines.contains(&place.line) {
            self.note(place.line, place.path.clone(), message);
        }
    }

    /// Notes that the file does not say something. A damaged file may have lost it, so that
    /// nothing is known to be missing until the damage is repaired.
    pub fn refuse_absence(&self, place: &Place, message: String) {
        if self.damaged_lines.is_empty() {
            self.note(place.line, place.path.clone(), message);
        }
    }

    /// Every error so far, in the order in which they were met.
    pub fn into_errors(self) -> Vec<ConfigError> {
        self.errors.into_inner()
    }

    pub fn line(&self, span: Range<usize>) -> usize {
        self.line_starts.partition_point(|start| *start <= span.start)
    }

    fn note(&self, line: usize, path: String, message: String) {
        self.errors.borrow_mut().push(ConfigError { line: Some(line), path, message });
    }

    /// Every key that was asked for, as a full path, for the test of the reference.
    #[cfg(test)]
    pub fn asked(&self) -> Vec<String> {
        let asked = self.asked.borrow();
        let paths = asked.iter().flat_map(|(path, keys)| keys.iter().map(|key| join(path, key)));
        paths.collect()
    }
}

/// One table of the document.
pub(super) struct Section<'a> {
    pub reader: &'a Reader,
    pub place: Place,
    pub table: &'a DeTable<'a>,
}

impl<'a> Section<'a> {
    /// Runs `read`, then refuses the keys it did not ask for.
    pub fn read<T>(self, read: impl FnOnce(&Section<'a>) -> T) -> T {
        let result = read(&self);
        self.refuse_unknown_keys();
        result
    }

    /// The value of a key that may be left out, or that could not be read.
    pub fn value_or<T>(
        &self,
        key: &'static str,
        default: T,
        read: impl FnOnce(&Field<'a>) -> Read<T>,
    ) -> T {
        self.field(key).and_then(|field| field.accept(read)).unwrap_or(default)
    }

    /// The same, with nothing for a value that could not be read: for what other keys depend on.
    pub fn given_or<T>(
        &self,
        key: &'static str,
        default: T,
        read: impl FnOnce(&Field<'a>) -> Read<T>,
    ) -> Option<T> {
        match self.field(key) {
            Some(field) => field.accept(read),
            None => Some(default),
        }
    }

    /// Whether the file has the key, which is known from then on.
    pub fn gives(&self, key: &'static str) -> bool {
        self.field(key).is_some()
    }

    /// Refuses a key that is known, but has no place beside the others.
    pub fn refuse_if_given(&self, key: &'static str, message: &str) {
        if self.gives(key) {
            self.reader.refuse(&self.place_of(key), message.to_owned());
        }
    }

    /// The value of a key that has no default. What stands in for one that is missing or could not
    /// be read goes no further than the errors allow: with one, no `Config` leaves this module.
    pub fn required<T: Default>(
        &self,
        key: &'static str,
        read: impl FnOnce(&Field<'a>) -> Read<T>,
    ) -> T {
        let Some(field) = self.field(key) else {
            let message = "missing, and it has no default; add it".to_owned();
            self.reader.refuse_absence(&self.place_of(key), message);
            return T::default();
        };
        field.accept(read).unwrap_or_default()
    }

    /// Where a key stands, or would stand. A value begins on the line of its key, and unlike the
    /// value's the key's span is right even where the parser had to guess.
    pub fn place_of(&self, key: &str) -> Place {
        let line = self.table.get_key_value(key).map(|(name, _)| self.reader.line(name.span()));
        Place { path: join(&self.place.path, key), line: line.unwrap_or(self.place.line) }
    }

    /// A table inside this one; if it is left out, every key in it is.
    pub fn section<T>(&self, key: &'static str, read: impl FnOnce(&Section<'_>) -> T) -> T {
        let empty = DeTable::new();
        let left_out = Section { reader: self.reader, place: self.place_of(key), table: &empty };
        let field = self.field(key);
        let section = field.and_then(|field| field.section(&format!("[{}]", field.place.path)));
        section.unwrap_or(left_out).read(read)
    }

    /// A table inside this one that switches something on by being there, and may be empty.
    pub fn optional_section<T>(
        &self,
        key: &'static str,
        read: impl FnOnce(&Section<'_>) -> T,
    ) -> Option<T> {
        let field = self.field(key)?;
        let section = field.section(&format!("[{}]", field.place.path))?;
        Some(section.read(read))
    }

    /// Reads the tables in a table, such as every `[pool.NAME]` in `pool`, by order of their names.
    pub fn sections<T>(
        &self,
        key: &'static str,
        mut read: impl FnMut(&str, &Section<'_>) -> T,
    ) -> Vec<T> {
        let header = format!("[{key}.NAME]");
        let outer = self.field(key).and_then(|field| field.section(&header));
        let Some(outer) = outer else { return Vec::new() };
        let inner = outer.table.iter().filter_map(|(name, value)| {
            let section = outer.child(name.get_ref(), value.get_ref()).section(&header)?;
            Some(section.read(|section| read(name.get_ref(), section)))
        });
        inner.collect()
    }

    /// The names that `sections` would meet, those of broken sections included.
    pub fn names(&self, key: &str) -> BTreeSet<&'a str> {
        self.entries(key).map(|(name, _)| name).collect()
    }

    /// The names of those that are tables of which `holds` is true; for what has to be known
    /// before they are read.
    pub fn names_where(
        &self,
        key: &str,
        holds: impl Fn(&DeTable<'_>) -> bool,
    ) -> BTreeSet<&'a str> {
        self.tables(key).filter(|(_, table)| holds(table)).map(|(name, _)| name).collect()
    }

    /// Those that are tables, before they are read.
    pub fn tables(&self, key: &str) -> impl Iterator<Item = (&'a str, &'a DeTable<'a>)> {
        self.entries(key).filter_map(|(name, value)| Some((name, value.as_table()?)))
    }

    fn entries(&self, key: &str) -> impl Iterator<Item = (&'a str, &'a DeValue<'a>)> {
        let table = self.table.get(key).and_then(|value| value.get_ref().as_table());
        let entries = table.into_iter().flat_map(|table| table.iter());
        entries.map(|(name, value)| (name.get_ref().as_ref(), value.get_ref()))
    }

    fn field(&self, key: &'static str) -> Option<Field<'a>> {
        self.reader.asked.borrow_mut().entry(self.place.path.clone()).or_default().insert(key);
        Some(self.child(key, self.table.get(key)?.get_ref()))
    }

    fn child(&self, key: &str, value: &'a DeValue<'a>) -> Field<'a> {
        Field { reader: self.reader, place: self.place_of(key), value }
    }

    fn refuse_unknown_keys(&self) {
        let asked = self.reader.asked.borrow();
        let no_keys = BTreeSet::new();
        let known = asked.get(&self.place.path).unwrap_or(&no_keys);
        for key in self.table.keys().map(|key| key.get_ref().as_ref()) {
            if !known.contains(key) {
                let remedy = match nearest(key, known.iter().copied()) {
                    Some(meant) => format!("did you mean `{meant}`?"),
                    None => format!("the keys here are {}", list(known)),
                };
                self.reader.refuse(&self.place_of(key), format!("unknown key; {remedy}"));
            }
        }
    }
}

/// The path of a key in a section.
fn join(path: &str, key: &str) -> String {
    let bare = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    let quote = key.is_empty() || !key.bytes().all(bare);
    let key = if quote { quoted(key) } else { key.to_owned() };
    if path.is_empty() { key } else { format!("{path}.{key}") }
}

fn list(keys: &BTreeSet<&'static str>) -> String {
    let keys: Vec<String> = keys.iter().map(|key| format!("`{key}`")).collect();
    keys.join(", ")
}
