//! Configuration: flags, environment and file become one checked value.
