//! The lines, written and read.
