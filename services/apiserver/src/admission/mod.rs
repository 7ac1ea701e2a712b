//! May it be: the admission chain, a file per plugin.
