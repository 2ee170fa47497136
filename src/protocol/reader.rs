//! The one way in which a parser reads bytes: from front to back, and never beyond the end. Knows
//! numbers and vectors as TLS writes them; what they mean is for the parser to say.

/// What is left to read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

/// There is less than what was to be read. The reader is left as it was, or past the length that
/// promised more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Short;

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { rest: bytes }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// All that is left.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(super) fn take(&mut self, length: usize) -> Result<&'a [u8], Short> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(Short)?;
        self.rest = rest;
        Ok(taken)
    }

    pub(super) fn u8(&mut self) -> Result<u8, Short> {
        self.array().map(u8::from_be_bytes)
    }

    pub(super) fn u16(&mut self) -> Result<u16, Short> {
        self.array().map(u16::from_be_bytes)
    }

    /// A vector whose length stands before it in one byte (RFC 8446, section 3.4).
    pub(super) fn vector8(&mut self) -> Result<Reader<'a>, Short> {
        let length = self.u8()?;
        self.take(length.into()).map(Reader::new)
    }

    /// A vector whose length stands before it in two bytes.
    pub(super) fn vector16(&mut self) -> Result<Reader<'a>, Short> {
        let length = self.u16()?;
        self.take(length.into()).map(Reader::new)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Short> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(Short)?;
        self.rest = rest;
        Ok(*taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_vectors_follow_each_other() {
        let mut reader = Reader::new(&[7, 1, 2, 2, 8, 9, 0, 1, 5, 6]);
        assert_eq!(reader.u8(), Ok(7));
        assert_eq!(reader.u16(), Ok(0x0102));
        assert_eq!(reader.vector8().unwrap().rest(), [8, 9]);
        assert_eq!(reader.vector16().unwrap().rest(), [5]);
        assert_eq!(reader.take(1), Ok(&[6][..]));
        assert!(reader.is_empty());
        assert_eq!(reader.take(0), Ok(&[][..]));
    }

    #[test]
    fn nothing_is_read_beyond_the_end() {
        assert_eq!(Reader::new(&[]).u8(), Err(Short));
        assert_eq!(Reader::new(&[1]).u16(), Err(Short));
        assert_eq!(Reader::new(&[1]).take(2), Err(Short));
        assert_eq!(Reader::new(&[2, 1]).vector8().unwrap_err(), Short);
        assert_eq!(Reader::new(&[0, 2, 1]).vector16().unwrap_err(), Short);
        assert_eq!(Reader::new(&[0xff, 0xff]).vector16().unwrap_err(), Short);
        let mut reader = Reader::new(&[1]);
        assert_eq!(reader.u16(), Err(Short));
        assert_eq!(reader.rest(), [1]);
    }

    #[test]
    fn a_vector_ends_where_its_length_says() {
        let mut reader = Reader::new(&[1, 5, 6]);
        let mut vector = reader.vector8().unwrap();
        assert_eq!((vector.u8(), vector.u8()), (Ok(5), Err(Short)));
        assert_eq!(reader.u8(), Ok(6));
    }
}
