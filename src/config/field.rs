//! One value of the document: its conversion to a type, or the sentence that refuses it.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use toml::de::DeValue;

use super::reader::{Place, Reader, Section};
use super::units::{self, UnitError};

/// A value, or what was found and, last in the sentence, what to give instead.
pub(super) type Read<T> = Result<T, String>;

pub(super) struct Field<'a> {
    pub reader: &'a Reader,
    pub place: Place,
    pub value: &'a DeValue<'a>,
}

impl<'a> Field<'a> {
    /// The value, or nothing once its error is noted.
    pub fn accept<T>(&self, read: impl FnOnce(&Self) -> Read<T>) -> Option<T> {
        read(self).map_err(|message| self.reader.refuse(&self.place, message)).ok()
    }

    /// `None` for `word`, which is `off`, `auto` or `all`; else what `read` makes of the value.
    pub fn unless<T>(&self, word: &str, read: impl FnOnce(&Self) -> Read<T>) -> Read<Option<T>> {
        if self.value.as_str() == Some(word) {
            return Ok(None);
        }
        read(self).map(Some).map_err(|message| format!("{message}, or {}", quoted(word)))
    }

    pub fn boolean(&self) -> Read<bool> {
        self.value.as_bool().ok_or_else(|| self.refusal("true or false"))
    }

    pub fn text(&self, remedy: &str) -> Read<&'a str> {
        self.value.as_str().ok_or_else(|| self.refusal(remedy))
    }

    pub fn absolute_path(&self, remedy: &str) -> Read<PathBuf> {
        let path = self.text(remedy)?;
        let absolute = path.starts_with('/') && !path.contains('\0');
        if absolute { Ok(path.into()) } else { Err(self.refusal(remedy)) }
    }

    /// The table that the value is, or nothing once the error is noted that it is none; `header`
    /// is how such a table is written.
    pub fn section(&self, header: &str) -> Option<Section<'a>> {
        let remedy = format!("a table, written {header}");
        let table =
            self.accept(|field| field.value.as_table().ok_or_else(|| field.refusal(&remedy)))?;
        Some(Section { reader: self.reader, place: self.place.clone(), table })
    }

    /// One value of a closed set, by its word.
    pub fn choice<T: Clone>(&self, choices: &[(&str, T)]) -> Read<T> {
        let chosen = choices.iter().find(|(word, _)| self.value.as_str() == Some(word));
        chosen.map(|(_, choice)| choice.clone()).ok_or_else(|| {
            let words: Vec<String> = choices.iter().map(|(word, _)| quoted(word)).collect();
            self.refusal(&words.join(" or "))
        })
    }

    pub fn integer<T>(&self, range: RangeInclusive<T>) -> Read<T>
    where
        T: TryFrom<i128> + PartialOrd + Display,
    {
        let number = self.whole_number().and_then(|number| T::try_from(number).ok());
        number.filter(|number| range.contains(number)).ok_or_else(|| {
            self.refusal(&format!("an integer from {} to {}", range.start(), range.end()))
        })
    }

    pub fn duration(&self, range: RangeInclusive<Duration>) -> Read<Duration> {
        let [start, end] = [range.start(), range.end()].map(|end| units::show_duration(*end));
        let remedy = format!("a duration from {start} to {end}");
        let duration = match self.value {
            DeValue::String(text) => units::duration(text),
            DeValue::Integer(_) => Err(UnitError::NoUnit),
            _ => return Err(self.refusal(&remedy)),
        };
        let duration = duration.map_err(|error| self.flaw(error.as_str(), &remedy))?;
        if range.contains(&duration) { Ok(duration) } else { Err(self.refusal(&remedy)) }
    }

    /// A number of bytes.
    pub fn size(&self, range: RangeInclusive<usize>) -> Read<usize> {
        let [start, end] = [range.start(), range.end()].map(|end| units::show_size(*end as u64));
        let remedy = format!("a size from {start} to {end}");
        let bytes = match self.value {
            DeValue::String(text) => units::size(text)
                .map(i128::from)
                .map_err(|error| self.flaw(error.as_str(), &remedy))?,
            _ => self.whole_number().ok_or_else(|| self.refusal(&remedy))?,
        };
        let size = usize::try_from(bytes).ok().filter(|size| range.contains(size));
        size.ok_or_else(|| self.refusal(&remedy))
    }

    pub fn items(&self, remedy: &str) -> Read<Vec<Field<'a>>> {
        let array = self.value.as_array().ok_or_else(|| self.refusal(remedy))?;
        let items = array.iter().enumerate().map(|(index, value)| {
            let path = format!("{}[{index}]", self.place.path);
            let place = Place { path, line: self.reader.line(value.span()) };
            Field { reader: self.reader, place, value: value.get_ref() }
        });
        Ok(items.collect())
    }

    /// The items of an array that must not be empty.
    pub fn some_items(&self, remedy: &str) -> Read<Vec<Field<'a>>> {
        let items = self.items(remedy)?;
        if items.is_empty() { Err(self.refusal(remedy)) } else { Ok(items) }
    }

    /// The items of an array with their places, but for those that repeat an earlier one.
    pub fn distinct_items<T: Ord + Clone>(
        &self,
        remedy: &str,
        read: impl Fn(&Field<'a>) -> Read<T>,
    ) -> Read<Vec<(T, Place)>> {
        let mut first_places: BTreeMap<T, String> = BTreeMap::new();
        let mut distinct = Vec::new();
        for item in self.items(remedy)? {
            let Some(value) = item.accept(&read) else { continue };
            if let Some(first) = first_places.get(&value) {
                let message = format!("{} stands at {first} already; take it out", item.shown());
                item.reader.refuse(&item.place, message);
                continue;
            }
            first_places.insert(value.clone(), item.place.path.clone());
            distinct.push((value, item.place));
        }
        Ok(distinct)
    }

    /// The value is of no use as a whole.
    pub fn refusal(&self, remedy: &str) -> String {
        format!("found {}; give {remedy}", self.shown())
    }

    /// The value has one flaw, which continues a sentence that starts with the value.
    pub fn flaw(&self, flaw: &str, remedy: &str) -> String {
        format!("{} {flaw}; give {remedy}", self.shown())
    }

    fn whole_number(&self) -> Option<i128> {
        let integer = self.value.as_integer()?;
        i128::from_str_radix(integer.as_str(), integer.radix()).ok()
    }

    fn shown(&self) -> String {
        match self.value {
            DeValue::String(text) => quoted(text),
            DeValue::Integer(integer) => shortened(&integer.to_string()),
            DeValue::Float(float) => shortened(float.as_str()),
            DeValue::Boolean(value) => value.to_string(),
            DeValue::Datetime(date) => date.to_string(),
            DeValue::Array(array) if array.is_empty() => "an empty array".to_owned(),
            DeValue::Array(_) => "an array".to_owned(),
            DeValue::Table(_) => "a table".to_owned(),
        }
    }
}

/// A text in quotes, on one line and of a length that can be read, whatever the file holds.
pub(super) fn quoted(text: &str) -> String {
    format!("{:?}", shortened(text))
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

/// Longer than any name or address.
const SHOWN_CHARS: usize = 80;
