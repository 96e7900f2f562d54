//! Heads and bodies, cut anywhere.
