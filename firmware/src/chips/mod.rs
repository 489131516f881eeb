//! Chip drivers, each generic over embedded-hal 1.0 traits.
