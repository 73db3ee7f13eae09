//! What the rivals share: the data that they all hold, tokens, and a client to fill them with.

pub mod client;
pub mod data;
pub mod token;
