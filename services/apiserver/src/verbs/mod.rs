//! What is asked: a file per verb, generic over the kind.
