//! Owns the walk through a parsed profile, key by key, and notes every error. It knows no key.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::time::Duration;

use toml::de::{DeTable, DeValue};

use super::error::ProfileError;

/// What is shared by all of one document.
pub struct Notes {
    line_starts: Vec<usize>,
    errors: RefCell<Vec<ProfileError>>,
}

/// One table of the document.
pub struct Section<'a> {
    notes: &'a Notes,
    table: &'a DeTable<'a>,
    path: String,
    line: usize,
    known: RefCell<BTreeSet<&'static str>>,
}

/// One value, and where it stands.
pub struct Field<'a> {
    notes: &'a Notes,
    value: &'a DeValue<'a>,
    path: String,
    line: usize,
}

impl Notes {
    pub fn new(text: &str, syntax_errors: &[toml::de::Error]) -> Notes {
        let starts = [0].into_iter().chain(text.match_indices('\n').map(|(at, _)| at + 1));
        let notes = Notes { line_starts: starts.collect(), errors: RefCell::default() };
        for error in syntax_errors {
            let line = notes.line(error.span().unwrap_or_default().start);
            notes.refuse(line, "", format!("not TOML: {}; correct it", error.message()));
        }
        notes
    }

    pub fn document<'a>(&'a self, table: &'a DeTable<'a>) -> Section<'a> {
        Section { notes: self, table, path: String::new(), line: 1, known: RefCell::default() }
    }

    pub fn refuse(&self, line: usize, path: &str, message: String) {
        self.errors.borrow_mut().push(ProfileError { line, path: path.to_owned(), message });
    }

    pub fn into_errors(self) -> Vec<ProfileError> {
        let mut errors = self.errors.into_inner();
        errors.sort_by_key(|error| error.line);
        errors
    }

    fn line(&self, offset: usize) -> usize {
        self.line_starts.partition_point(|start| *start <= offset)
    }
}

impl<'a> Section<'a> {
    pub fn field(&self, key: &'static str) -> Option<Field<'a>> {
        self.known.borrow_mut().insert(key);
        self.child(key)
    }

    fn child(&self, key: &str) -> Option<Field<'a>> {
        let (name, value) = self.table.get_key_value(key)?;
        let dot = if self.path.is_empty() { "" } else { "." };
        let path = format!("{}{dot}{key}", self.path);
        let line = self.notes.line(name.span().start);
        Some(Field { notes: self.notes, value: value.get_ref(), path, line })
    }

    /// The value of a key, or what stands in for one that is left out or could not be read.
    pub fn value_or<T>(
        &self,
        key: &'static str,
        default: T,
        read: impl FnOnce(&Field<'a>) -> Option<T>,
    ) -> T {
        self.field(key).and_then(|field| read(&field)).unwrap_or(default)
    }

    /// The value of a key that has to be there.
    pub fn required<T>(
        &self,
        key: &'static str,
        read: impl FnOnce(&Field<'a>) -> Option<T>,
    ) -> Option<T> {
        let field = self.field(key);
        if field.is_none() {
            self.refuse(format!("`{key}` is missing, and it has no default; add it"));
        }
        read(&field?)
    }

    pub fn refuse(&self, message: String) {
        self.notes.refuse(self.line, &self.path, message);
    }

    /// Refuses the value of a key that can be read, and does not go with the others.
    pub fn refuse_key(&self, key: &str, message: String) {
        match self.child(key) {
            Some(field) => self.notes.refuse(field.line, &field.path, message),
            None => self.refuse(message),
        }
    }

    /// Every table in this one, with its name.
    pub fn sections(&self) -> Vec<(String, Section<'a>)> {
        let names = self.table.keys().map(|name| name.get_ref().to_string());
        let sections = names.filter_map(|name| Some((name.clone(), self.child(&name)?.section()?)));
        sections.collect()
    }

    /// Refuses the keys that were not asked for.
    pub fn finish(&self) {
        let known = self.known.borrow();
        for key in self.table.keys() {
            if !known.contains(key.get_ref().as_ref()) {
                let keys: Vec<&str> = known.iter().copied().collect();
                let dot = if self.path.is_empty() { "" } else { "." };
                let path = format!("{}{dot}{}", self.path, key.get_ref());
                let message = format!("unknown key; the keys here are {}", keys.join(", "));
                self.notes.refuse(self.notes.line(key.span().start), &path, message);
            }
        }
    }
}

impl<'a> Field<'a> {
    pub fn refuse<T>(&self, remedy: &str) -> Option<T> {
        let message = format!("its value can not be used; give {remedy}");
        self.notes.refuse(self.line, &self.path, message);
        None
    }

    pub fn section(&self) -> Option<Section<'a>> {
        let Some(table) = self.value.as_table() else { return self.refuse("a table") };
        let (notes, path, line) = (self.notes, self.path.clone(), self.line);
        Some(Section { notes, table, path, line, known: RefCell::default() })
    }

    pub fn is_table(&self) -> bool {
        self.value.is_table()
    }

    pub fn word(&self) -> Option<&'a str> {
        self.value.as_str()
    }

    /// A number without a fraction.
    pub fn whole(&self, range: RangeInclusive<f64>) -> Option<f64> {
        self.number_of("a whole number", range, |number| number.fract() == 0.0)
    }

    pub fn number(&self, range: RangeInclusive<f64>) -> Option<f64> {
        self.number_of("a number", range, |_| true)
    }

    fn number_of(
        &self,
        what: &str,
        range: RangeInclusive<f64>,
        fits: impl Fn(f64) -> bool,
    ) -> Option<f64> {
        let text = match self.value {
            DeValue::Integer(number) => number.to_string(),
            DeValue::Float(number) => number.to_string(),
            _ => String::new(),
        };
        let remedy = format!("{what} from {} to {}", range.start(), range.end());
        match text.replace('_', "").parse() {
            Ok(number) if range.contains(&number) && fits(number) => Some(number),
            _ => self.refuse(&remedy),
        }
    }

    pub fn duration(&self, range: RangeInclusive<Duration>) -> Option<Duration> {
        let parsed = self.word().and_then(|text| crate::generate::parse_duration(text).ok());
        match parsed {
            Some(time) if range.contains(&time) => Some(time),
            _ => self.refuse(&format!(
                "a time from {}s to {}s, such as \"30s\"",
                range.start().as_secs_f64(),
                range.end().as_secs_f64()
            )),
        }
    }
}
