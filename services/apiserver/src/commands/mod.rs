//! Writes by bus command: the same verbs for services.
