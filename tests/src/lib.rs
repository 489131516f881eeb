//! End-to-end tests; the tests themselves live in `tests/`.
