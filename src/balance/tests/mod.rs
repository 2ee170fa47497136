//! Tests of the policies as a whole, through pools and choosers.
