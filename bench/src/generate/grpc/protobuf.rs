//! Owns the wire format of protobuf: fields are appended to bytes, and found in them, within their
//! bounds. It knows no message. Nothing is allocated for a field, since a load has to cost less
//! than what it is for.

/// Appends a number: an integer, a boolean or an enumeration.
pub fn number(out: &mut Vec<u8>, field: u32, value: u64) {
    varint(out, u64::from(field) << 3 | VARINT);
    varint(out, value);
}

/// Appends a number of eight bytes.
pub fn fixed(out: &mut Vec<u8>, field: u32, value: u64) {
    varint(out, u64::from(field) << 3 | EIGHT_BYTES);
    out.extend_from_slice(&value.to_le_bytes());
}

/// Appends text or bytes.
pub fn bytes(out: &mut Vec<u8>, field: u32, value: &[u8]) {
    head(out, field, value.len());
    out.extend_from_slice(value);
}

/// Appends what stands before so many bytes, which are to follow.
pub fn head(out: &mut Vec<u8>, field: u32, length: usize) {
    varint(out, u64::from(field) << 3 | LENGTH_DELIMITED);
    varint(out, length as u64);
}

/// Appends a message that `write` appends the fields of.
pub fn nested(out: &mut Vec<u8>, field: u32, write: impl FnOnce(&mut Vec<u8>)) {
    varint(out, u64::from(field) << 3 | LENGTH_DELIMITED);
    let start = out.len();
    write(out);
    let end = out.len();
    // The length is known now: it is written behind the fields, and takes its place before them.
    varint(out, (end - start) as u64);
    let width = out.len() - end;
    out[start..].rotate_right(width);
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// The value of one field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'b> {
    Number(u64),
    /// Text, bytes, a message, or numbers that are packed.
    Bytes(&'b [u8]),
    /// Four or eight bytes.
    Fixed(u64),
}

/// The bytes are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// The fields of a message, one after the other; none follows one that makes no sense.
pub struct Fields<'b> {
    rest: &'b [u8],
}

impl<'b> Fields<'b> {
    pub fn of(message: &'b [u8]) -> Fields<'b> {
        Fields { rest: message }
    }

    /// The last field of this number that has bytes: a field that is there twice counts once.
    pub fn last(self, field: u64) -> Result<Option<&'b [u8]>, Malformed> {
        let mut last = None;
        for found in self {
            match found? {
                (number, Value::Bytes(bytes)) if number == field => last = Some(bytes),
                _ => {}
            }
        }
        Ok(last)
    }

    fn read(&mut self) -> Result<(u64, Value<'b>), Malformed> {
        let key = self.varint()?;
        let value = match key & 7 {
            VARINT => Value::Number(self.varint()?),
            EIGHT_BYTES => Value::Fixed(u64::from_le_bytes(self.array()?)),
            FOUR_BYTES => Value::Fixed(u64::from(u32::from_le_bytes(self.array()?))),
            LENGTH_DELIMITED => {
                let length = usize::try_from(self.varint()?).map_err(|_| Malformed)?;
                let (bytes, rest) = self.rest.split_at_checked(length).ok_or(Malformed)?;
                self.rest = rest;
                Value::Bytes(bytes)
            }
            _ => return Err(Malformed),
        };
        // No field has the number 0.
        if key >> 3 == 0 { Err(Malformed) } else { Ok((key >> 3, value)) }
    }

    fn varint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0;
        // At most ten bytes; what does not fit into the last is dropped, as other readers do.
        for shift in (0..70).step_by(7) {
            let (byte, rest) = self.rest.split_first().ok_or(Malformed)?;
            self.rest = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Malformed)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or(Malformed)?;
        self.rest = rest;
        Ok(*bytes)
    }
}

impl<'b> Iterator for Fields<'b> {
    type Item = Result<(u64, Value<'b>), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let read = self.read();
        if read.is_err() {
            self.rest = &[];
        }
        Some(read)
    }
}

const VARINT: u64 = 0;
const EIGHT_BYTES: u64 = 1;
const LENGTH_DELIMITED: u64 = 2;
const FOUR_BYTES: u64 = 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_as_they_were_appended_and_never_beyond_a_cut() {
        let mut out = Vec::new();
        number(&mut out, 1, u64::MAX);
        fixed(&mut out, 16, 7);
        nested(&mut out, 3, |out| bytes(out, 2, &[9; 300]));
        let fields: Result<Vec<_>, Malformed> = Fields::of(&out).collect();
        let inner = Fields::of(&out).last(3).unwrap().unwrap();
        let found = [(1, Value::Number(u64::MAX)), (16, Value::Fixed(7)), (3, Value::Bytes(inner))];
        assert_eq!(fields.unwrap(), found);
        assert_eq!(Fields::of(inner).last(2).unwrap(), Some(&[9; 300][..]));
        // Between two fields a message may end.
        let whole = [0, 11, 11 + 10, out.len()];
        for cut in 0..out.len() {
            let fields: Result<Vec<_>, Malformed> = Fields::of(&out[..cut]).collect();
            assert_eq!(fields.is_ok(), whole.contains(&cut), "{cut}");
        }
    }

    #[test]
    fn what_is_no_field_is_refused() {
        // Field 0, a kind of value that is not there, a length beyond the end, eleven bytes.
        for bytes in [&[0, 0][..], &[0x0b], &[0x0a, 5, 1], &[0x08; 1], &[0xff; 11]] {
            assert_eq!(Fields::of(bytes).next(), Some(Err(Malformed)), "{bytes:?}");
        }
    }

    #[test]
    fn of_a_field_that_is_there_twice_the_last_counts_and_nothing_follows_nonsense() {
        let mut out = Vec::new();
        bytes(&mut out, 2, b"first");
        number(&mut out, 2, 5);
        bytes(&mut out, 2, b"last");
        bytes(&mut out, 3, b"other");
        assert_eq!(Fields::of(&out).last(2), Ok(Some(&b"last"[..])));
        assert_eq!(Fields::of(&out).last(4), Ok(None));
        // A kind of value that is not there, and then a field that would make sense.
        let nonsense = [&[0x0b][..], &out].concat();
        let found: Vec<_> = Fields::of(&nonsense).collect();
        assert_eq!(found, [Err(Malformed)]);
    }
}
